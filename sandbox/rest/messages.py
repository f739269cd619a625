"""Messages in channels, sent with the bot's own token."""

from collections.abc import Iterator
from itertools import islice

from aiohttp import web

from sandbox import refusals
from sandbox.drafts import EDITABLE, SENDABLE, Draft, read_draft
from sandbox.events import Typing
from sandbox.fields import Fields
from sandbox.forms import read_form
from sandbox.permissions import Permission
from sandbox.posting import delete, earlier_with_nonce, edit, files_of, post
from sandbox.records import Channel, Json, Message, MessageType
from sandbox.replies import reply
from sandbox.rest.places import number, visible_channel
from sandbox.wire_messages import message
from sandbox.world import World

MOST_LISTED = 100


class Messages:
    """Routes under `/channels/{channel_id}`."""

    def __init__(self, world: World) -> None:
        self._world = world

    def routes(self) -> list[web.RouteDef]:
        of_channel = "/channels/{channel_id}/messages"
        return [
            web.get(of_channel, self.list),
            web.post(of_channel, self.create),
            web.get(of_channel + "/{message_id}", self.get),
            web.patch(of_channel + "/{message_id}", self.edit),
            web.delete(of_channel + "/{message_id}", self.delete),
            web.post("/channels/{channel_id}/typing", self.typing),
        ]

    async def list(self, request: web.Request) -> web.Response:
        """Newest first, before, after or around an id. Ephemeral messages are not in a channel."""
        channel = visible_channel(self._world, request)
        limit = Fields(dict(request.query)).integer("limit", least=1, most=MOST_LISTED)
        if limit is None:
            limit = 50
        if not self._may(channel, Permission.READ_MESSAGE_HISTORY):
            return reply([])
        listed = self._window(channel, request, limit)
        return reply([message(self._world, one, for_bot=True) for one in listed])

    async def create(self, request: web.Request) -> web.Response:
        world = self._world
        channel = visible_channel(world, request)
        self._need(channel, Permission.SEND_MESSAGES)
        guild = world.guild(channel.guild_id)
        with await read_form(request, world.store.files, guild.attachment_limit) as form:
            draft = read_draft(Fields(form.payload), form.files, flags_allowed=SENDABLE)
            self._check_contents(channel, draft)
            earlier = None
            if draft.enforce_nonce and draft.nonce is not None:
                earlier = earlier_with_nonce(world, channel, world.bot.id, draft.nonce)
            if earlier is not None:
                return reply(_sent(world, earlier))
            reference = self._replied_to(channel, draft)
            kind = MessageType.DEFAULT if reference is None else MessageType.REPLY
            made = post(world, draft, channel, world.bot.id, type=kind, reference=reference)
        return reply(_sent(world, made))

    async def get(self, request: web.Request) -> web.Response:
        channel = visible_channel(self._world, request)
        self._need(channel, Permission.READ_MESSAGE_HISTORY)
        return reply(message(self._world, self._message(request), for_bot=True))

    async def edit(self, request: web.Request) -> web.Response:
        world = self._world
        channel = visible_channel(world, request)
        found = self._message(request)
        if found.author_id != world.bot.id:
            raise refusals.not_the_author()
        limit = world.guild(channel.guild_id).attachment_limit
        with await read_form(request, world.store.files, limit) as form:
            # Read again: while the files came in, the message may have changed or gone.
            found = self._message(request)
            draft = read_draft(
                Fields(form.payload),
                form.files,
                flags_allowed=EDITABLE,
                before=found,
                attachments_before=files_of(world, found),
            )
            self._check_contents(channel, draft)
            changed = edit(world, found, draft, channel)
        return reply(message(world, changed, for_bot=True))

    async def delete(self, request: web.Request) -> web.Response:
        channel = visible_channel(self._world, request)
        found = self._message(request)
        if found.author_id != self._world.bot.id:
            self._need(channel, Permission.MANAGE_MESSAGES)
        delete(self._world, found)
        return web.Response(status=204)

    async def typing(self, request: web.Request) -> web.Response:
        channel = visible_channel(self._world, request)
        self._need(channel, Permission.SEND_MESSAGES)
        self._world.events.publish(Typing(channel, self._world.bot.id))
        return web.Response(status=204)

    def _message(self, request: web.Request) -> Message:
        found = self._world.store.messages.get(number(request, "message_id"))
        if found is None or found.channel_id != number(request, "channel_id") or found.only_for:
            raise refusals.unknown_message()
        return found

    def _window(self, channel: Channel, request: web.Request, limit: int) -> "list[Message]":
        messages, query = self._world.store.messages, request.query
        around, after, before = (int(query.get(name, "0") or 0) for name in ("around", "after", "before"))
        if around:
            older = islice(_shown(messages.before(channel.id, around + 1)), limit // 2 + 1)
            newer = islice(_shown(messages.after(channel.id, around)), limit // 2)
            return [*reversed([*newer]), *older][:limit]
        if after:
            return [*reversed([*islice(_shown(messages.after(channel.id, after)), limit)])]
        return [*islice(_shown(messages.before(channel.id, before or 2**63 - 1)), limit)]

    def _may(self, channel: Channel, permission: Permission) -> bool:
        return self._world.may(self._world.bot.id, channel, permission)

    def _need(self, channel: Channel, permission: Permission) -> None:
        if not self._may(channel, permission):
            raise refusals.missing_permissions()

    def _check_contents(self, channel: Channel, draft: Draft) -> None:
        if draft.new:
            self._need(channel, Permission.ATTACH_FILES)
        if draft.embeds:
            self._need(channel, Permission.EMBED_LINKS)

    def _replied_to(self, channel: Channel, draft: Draft) -> int | None:
        """The message that a reply replies to; none where it is gone and the sender accepts that."""
        if draft.reference is None:
            return None
        if not self._may(channel, Permission.READ_MESSAGE_HISTORY):
            raise refusals.no_history_to_reply()
        found = self._world.store.messages.get(draft.reference.message_id)
        if found is not None and found.channel_id == channel.id and not found.only_for:
            return found.id
        if draft.reference.fail_if_not_exists:
            fields = Fields({})
            fields.wrong("message_reference", "REPLIES_UNKNOWN_MESSAGE", "Unknown message")
            fields.problems.check()
        return None


def _sent(world: World, made: Message) -> Json:
    """A message as its sender gets it, with the nonce that it was sent with."""
    shown = message(world, made, for_bot=True)
    return shown if made.nonce is None else shown | {"nonce": made.nonce}


def _shown(messages: Iterator[Message]) -> Iterator[Message]:
    """Without the ephemeral ones: those are in no channel."""
    return (one for one in messages if not one.only_for)
