"""The life of an interaction: made by a member, acknowledged within seconds, answered by its token for minutes."""

import base64
import binascii
import secrets
from dataclasses import replace
from enum import IntEnum

from sandbox import refusals
from sandbox.drafts import SENDABLE, Draft, read_draft
from sandbox.events import InteractionChanged, InteractionMade
from sandbox.fields import Fields
from sandbox.forms import Form
from sandbox.modals import read_modal
from sandbox.posting import edit, files_of, post
from sandbox.records import (
    Channel,
    Interaction,
    InteractionState,
    InteractionType,
    Json,
    Message,
    MessageFlag,
    MessageType,
)
from sandbox.snowflakes import seconds_of
from sandbox.world import World

NO_RESPONSE = "The application did not respond"
ANSWERABLE = SENDABLE | MessageFlag.EPHEMERAL
_EXPIRED_UNTIL = "tokens expired until"


class Callback(IntEnum):
    """How an application answers first."""

    MESSAGE = 4
    DEFERRED_MESSAGE = 5
    DEFERRED_UPDATE = 6
    UPDATE = 7
    CHOICES = 8
    MODAL = 9


def make(
    world: World,
    kind: InteractionType,
    user_id: int,
    channel: Channel,
    data: Json,
    *,
    command_name: str = "",
    message_id: int | None = None,
    parent: int | None = None,
) -> Interaction:
    """Keeps a new interaction, tells the application, and starts the clock for its acknowledgement."""
    interaction_id = world.ids.next()
    interaction = world.store.interactions.put(
        Interaction(
            id=interaction_id,
            token=_token(interaction_id),
            type=kind,
            guild_id=channel.guild_id,
            channel_id=channel.id,
            user_id=user_id,
            data=data,
            command_name=command_name,
            message_id=message_id,
            parent=parent,
        )
    )
    world.events.publish(InteractionMade(interaction))

    def time_is_up() -> None:
        now = world.store.interactions.get(interaction_id)
        if now is not None and not now.answered_with:
            world.events.publish(InteractionChanged(now))

    # A moment later than the deadline, so that it has passed by the clock that counts it too.
    world.later(world.times.acknowledgement + 0.01, time_is_up)
    return interaction


def state_of(world: World, interaction: Interaction) -> InteractionState:
    """Where an interaction is by now."""
    if interaction.answered_with == Callback.MODAL:
        return InteractionState.MODAL
    if interaction.answered_with:
        return InteractionState.ACKNOWLEDGED
    return InteractionState.FAILED if _late(world, interaction) else InteractionState.WAITING


def expire_tokens(world: World) -> None:
    """As if the tokens' lifetime had passed for every interaction so far."""
    world.store.set(_EXPIRED_UNTIL, str(world.ids.next()))


def by_token(world: World, token: str) -> Interaction:
    """The acknowledged interaction of a token that still works. Raises `Refusal`."""
    interaction = world.store.interactions.get(_id_in(token))
    if interaction is None or not secrets.compare_digest(interaction.token.encode(), token.encode()):
        raise refusals.dead_token()
    expired_until = int(world.store.setting(_EXPIRED_UNTIL) or 0)
    if interaction.id <= expired_until or world.clock() - seconds_of(interaction.id) > world.times.token:
        raise refusals.dead_token()
    if not interaction.answered_with:
        raise refusals.unknown_webhook()
    return interaction


def respond(world: World, interaction_id: int, token: str, form: Form) -> tuple[Interaction, Message | None]:
    """An application's first answer: the interaction as it is then, and the message that it made or changed.

    Raises `Refusal`.
    """
    interaction = world.store.interactions.get(interaction_id)
    if interaction is None or not secrets.compare_digest(interaction.token.encode(), token.encode()):
        raise refusals.unknown_interaction()
    if interaction.answered_with:
        raise refusals.already_acknowledged()
    channel = world.store.channels.get(interaction.channel_id)
    if channel is None or _late(world, interaction):
        raise refusals.unknown_interaction()

    fields = Fields(form.payload)
    kind = Callback(fields.choice("type", _allowed(interaction)))
    body = fields.nested("data") or Fields({}, fields.problems, ("data",))
    fields.problems.check()
    answered = replace(interaction, answered_with=kind)
    message: Message | None = None
    if kind is Callback.MESSAGE:
        draft = read_draft(body, form.files, flags_allowed=ANSWERABLE)
        message = _answer(world, draft, channel, answered)
    elif kind is Callback.DEFERRED_MESSAGE:
        message = _answer(world, _deferral(body), channel, answered)
    elif kind is Callback.UPDATE:
        message = _update(world, answered, body, form, channel)
    elif kind is Callback.DEFERRED_UPDATE:
        world.store.interactions.put(replace(answered, original=interaction.message_id))
    else:
        answer = read_modal(body) if kind is Callback.MODAL else {"choices": _choices(body)}
        fields.problems.check()
        world.store.interactions.put(replace(answered, answer=answer))
    now = world.store.interactions.get(interaction_id) or answered
    world.events.publish(InteractionChanged(now))
    return now, message


def follow_up(world: World, interaction: Interaction, draft: Draft, channel: Channel) -> Message:
    """A further message by an interaction's token. The first one after a deferral takes the deferral's place."""
    original = None if interaction.original is None else world.store.messages.get(interaction.original)
    if original is not None and original.loading:
        filled = replace(draft, flags=draft.flags & ~MessageFlag.EPHEMERAL | original.flags)
        return edit(world, original, filled, channel)
    reference = interaction.original
    kind = MessageType.DEFAULT if reference is None else MessageType.REPLY
    return post(world, draft, channel, world.bot.id, type=kind, reference=reference, interaction=interaction)


def _answer(world: World, draft: Draft, channel: Channel, interaction: Interaction) -> Message:
    kind = MessageType.DEFAULT
    reference = None
    if interaction.type == InteractionType.COMPONENT:
        kind, reference = MessageType.REPLY, interaction.message_id
    elif interaction.type == InteractionType.COMMAND:
        kind = MessageType.SLASH_COMMAND if interaction.data.get("type") == 1 else MessageType.MENU_COMMAND
    return post(world, draft, channel, world.bot.id, type=kind, reference=reference, interaction=interaction)


def _update(world: World, interaction: Interaction, body: Fields, form: Form, channel: Channel) -> Message:
    """Changes the message whose component was used."""
    message = world.store.messages.get(interaction.message_id or 0)
    if message is None:
        raise refusals.unknown_message()
    files = files_of(world, message)
    draft = read_draft(body, form.files, flags_allowed=SENDABLE, before=message, attachments_before=files)
    world.store.interactions.put(replace(interaction, original=message.id))
    return edit(world, message, draft, channel)


def _deferral(body: Fields) -> Draft:
    """“… is thinking”: only the choice of who will see the answer can be made here."""
    asked = body.integer("flags", most=2**31) or 0
    if asked & ~MessageFlag.EPHEMERAL:
        body.wrong("flags", "BITFIELD_TYPE_INVALID", "A deferral can only carry the ephemeral flag")
    body.problems.check()
    return Draft("", [], [], asked & MessageFlag.EPHEMERAL | MessageFlag.LOADING)


def _choices(body: Fields) -> list[Json]:
    """Up to 25 suggestions, each with a name of 1 to 100 letters and a value."""
    read: list[Json] = []
    for each in body.objects("choices", most=25):
        value = each.given.get("value")
        if isinstance(value, str):
            each.required_text("value", most=100)
        elif each.number("value") is None:
            each.missing("value")
        read.append({"name": each.required_text("name", most=100), "value": value})
    return read


def _allowed(interaction: Interaction) -> set[int]:
    """The callbacks that suit what the member did."""
    if interaction.type == InteractionType.AUTOCOMPLETE:
        return {Callback.CHOICES}
    allowed = {Callback.MESSAGE, Callback.DEFERRED_MESSAGE}
    if interaction.type != InteractionType.MODAL:
        allowed.add(Callback.MODAL)
    if interaction.message_id is not None and interaction.type != InteractionType.COMMAND:
        allowed |= {Callback.UPDATE, Callback.DEFERRED_UPDATE}
    return {int(one) for one in allowed}


def _late(world: World, interaction: Interaction) -> bool:
    return world.clock() - seconds_of(interaction.id) >= world.times.acknowledgement


def _token(interaction_id: int) -> str:
    """A token that leads to its interaction, as Discord's do."""
    text = f"interaction:{interaction_id}:{secrets.token_urlsafe(48)}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _id_in(token: str) -> int:
    try:
        text = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return 0
    number = text.removeprefix("interaction:").partition(":")[0]
    return int(number) if number.isdigit() else 0
