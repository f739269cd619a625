"""What a press does. A press reads its request again, and is the clicker's own: their rules, their credits."""

from dataclasses import replace
from re import Match
from typing import Any, Literal, Self, assert_never

from discord import ui

from bot import endings, errors, lineage, modals, offers, plans
from bot.application import Interaction, Member, Parts, member_of
from bot.panel import show
from clips import guilds, intakes, library, requests
from clips.domain import RequestKind
from clips.errors import MemberError
from clips.intakes import Wish
from clips.postgres import Connection, retrying
from clips.requests import Take, WholeRequest
from courier import panels
from courier.buttons import DRAFT_PATTERN, PATTERN, Action, ButtonId, ModalId, Purpose


class Press(ui.DynamicItem[ui.Button[Any]], template=PATTERN):
    """A button of a request, from any process and any time."""

    def __init__(self, item: ui.Button[Any], button: ButtonId) -> None:
        super().__init__(item)
        self._button = button

    @classmethod
    async def from_custom_id(cls, interaction: Interaction, item: ui.Item[Any], match: Match[str], /) -> Self:  # pyright: ignore[reportIncompatibleMethodOverride] - our interactions are those of our client
        del interaction
        button = ButtonId.parse(match[0])
        if button is None or not isinstance(item, ui.Button):
            raise ValueError(f"{match[0]} is no button of ours")
        return cls(item, button)

    async def callback(self, interaction: Interaction) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] - as above
        try:
            await _press(interaction, self._button)
        except Exception as error:  # noqa: BLE001 - the handler tells the member and the log
            await errors.report(interaction, error)


class Offer(ui.DynamicItem[ui.Button[Any]], template=DRAFT_PATTERN):
    """A button that goes on with a draft: with what was too much, made smaller or said yes to, or with what lacked."""

    def __init__(self, item: ui.Button[Any], draft: ModalId) -> None:
        super().__init__(item)
        self._draft = draft

    @classmethod
    async def from_custom_id(cls, interaction: Interaction, item: ui.Item[Any], match: Match[str], /) -> Self:  # pyright: ignore[reportIncompatibleMethodOverride] - as above
        del interaction
        draft = ModalId.parse(match[0])
        if draft is None or not isinstance(item, ui.Button):
            raise ValueError(f"{match[0]} is no button of ours")
        return cls(item, draft)

    async def callback(self, interaction: Interaction) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] - as above
        try:
            await _accept(interaction, self._draft)
        except Exception as error:  # noqa: BLE001 - the handler tells the member and the log
            await errors.report(interaction, error)


async def _accept(interaction: Interaction, draft: ModalId) -> None:
    member, parts = member_of(interaction), interaction.client.parts
    wish = await intakes.read_draft(parts.pool, member.guild_id, member.user_id, draft.draft_id)
    if wish is None:
        raise MemberError("That offer is more than a week old. Ask anew with `/animate`.")
    match draft.purpose:
        case Purpose.FURTHER:
            await modals.ask_further(interaction, wish)
        case Purpose.CONFIRM | Purpose.CONFIRM_ONE:
            await parts.intake.take(interaction, offers.confirmed(wish, draft.purpose, draft.draft_id))
        case _:
            await parts.intake.take(interaction, replace(wish, confirmed_draft=draft.draft_id))


async def _press(interaction: Interaction, button: ButtonId) -> None:
    member, parts = member_of(interaction), interaction.client.parts
    whole = await requests.read(parts.pool, member.guild_id, button.request_id)
    if whole is None:
        raise MemberError("That request is not known here any more. `/animate` makes a new one.")
    match button.action:
        case Action.REROLL | Action.TRY_AGAIN | Action.SUBTLE | Action.STRONG:
            await parts.intake.take(interaction, _wish(whole, button, button.action))
        case Action.REMIX | Action.CHANGE | Action.ON_MY_PHOTO:
            await _ask(interaction, whole, button.action)
        case Action.CHOOSE:
            await _choose(interaction, whole, _take(whole, button))
        case Action.VARY | Action.MORE | Action.RECIPE:
            await show(interaction, await _panel(parts, member, whole, _take(whole, button), button.action))
        case Action.CANCEL:
            await endings.cancel(interaction, member, whole)
        case Action.DELETE:
            await endings.ask_to_delete(interaction, member, whole)
        case Action.DELETE_FOR_GOOD:
            await endings.delete(interaction, member, whole)
        case _:
            assert_never(button.action)


def _take(whole: WholeRequest, button: ButtonId) -> Take:
    """The take that a button names, else the chosen one. Raises `MemberError` where its clip is not there any more."""
    named = next((take for take in whole.clips if take.index == button.take), None)
    take = named if button.take else whole.chosen
    if take is None:
        raise MemberError("That clip has been deleted. `/animate` makes a new one.")
    return take


def _wish(
    whole: WholeRequest,
    button: ButtonId,
    action: Literal[Action.REROLL, Action.TRY_AGAIN, Action.SUBTLE, Action.STRONG],
) -> Wish:
    """What the buttons ask for that need no form."""
    match action:
        case Action.REROLL:
            return lineage.same_again(whole.request, RequestKind.REROLL)
        case Action.TRY_AGAIN:
            return lineage.retry(whole.request)
        case Action.SUBTLE:
            return lineage.vary(whole.request, _take(whole, button), lineage.SUBTLE)
        case Action.STRONG:
            return lineage.vary(whole.request, _take(whole, button), lineage.STRONG)


async def _ask(
    interaction: Interaction,
    whole: WholeRequest,
    action: Literal[Action.REMIX, Action.CHANGE, Action.ON_MY_PHOTO],
) -> None:
    """Open the form of a button."""
    match action:
        case Action.REMIX:
            await modals.ask(interaction, Purpose.REMIX, lineage.same_again(whole.request, RequestKind.REMIX))
        case Action.CHANGE:
            await modals.ask(interaction, Purpose.CHANGE, lineage.same_again(whole.request, RequestKind.RETRY))
        case Action.ON_MY_PHOTO:
            await modals.ask(interaction, Purpose.ON_MY_PHOTO, lineage.on_another_photo(whole.request))


async def _panel(
    parts: Parts,
    member: Member,
    whole: WholeRequest,
    take: Take,
    action: Literal[Action.VARY, Action.MORE, Action.RECIPE],
) -> panels.Message:
    """What a button shows to its presser alone."""
    match action:
        case Action.VARY:
            wish = lineage.vary(whole.request, take, lineage.SUBTLE)
            rules = await guilds.rules(parts.pool, member.guild_id)
            takes = plans.count_takes(wish, whole.request.plan, rules)
            return panels.vary(whole, take, takes=takes)
        case Action.MORE:
            return panels.more(whole, take, may_delete=endings.may_end(member, whole))
        case Action.RECIPE:
            clip = await library.clip(parts.pool, member.guild_id, take.take_id)
            model = parts.catalog.get(whole.request.spec.model)
            return panels.recipe(whole, take, model, clip.recipe if clip else {})


async def _choose(interaction: Interaction, whole: WholeRequest, take: Take) -> None:
    """Give a take the star. The message itself is drawn again by the courier."""
    await interaction.response.defer()

    async def work(conn: Connection) -> None:
        await requests.choose(conn, whole.request, take.take_id)

    await retrying(interaction.client.parts.pool, work)
