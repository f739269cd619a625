"""Cancel and Delete: the owner's and staff's, and nobody else's."""

import logging

from bot.application import Interaction, Member
from bot.panel import show
from clips import library, queue
from clips.domain import Sha256, TakeState
from clips.errors import MemberError, ZoetropeError
from clips.postgres import OUTAGE, Connection, retrying
from clips.requests import WholeRequest
from courier.buttons import Action, ButtonId
from courier.message import Button, Message, Style
from courier.wording import plural, sentence, takes_named

_log = logging.getLogger(__name__)


def may_end(member: Member, whole: WholeRequest) -> bool:
    return member.staff or member.user_id == whole.request.user_id


def _check_may_end(member: Member, whole: WholeRequest, doing: str) -> None:
    if not may_end(member, whole):
        raise MemberError(f"Only <@{whole.request.user_id}>, who asked for it, or the staff can {doing} it.")


async def cancel(interaction: Interaction, member: Member, whole: WholeRequest) -> None:
    _check_may_end(member, whole, "cancel")
    await interaction.response.defer(ephemeral=True, thinking=True)
    states = await queue.cancel(interaction.client.parts.pool, whole.request.request_id)
    await interaction.edit_original_response(content=cancelled(whole, states))


def cancelled(before: WholeRequest, now: list[TakeState]) -> str:
    """What a cancel did, from the request before it and the takes' states after it."""
    if before.ended:
        return "There is nothing left to cancel: it has ended already."
    stopping = now.count(TakeState.RUNNING)
    if stopping and all(take.cancel_requested for take in before.takes if not take.state.final):
        return "It is being cancelled already, and stops within a step."
    said: list[str] = []
    takes = list(zip(before.takes, now, strict=True))
    if unbegun := [was.index for was, state in takes if state is TakeState.CANCELLED and not was.state.final]:
        said.append(f"{_unbegun(unbegun, len(takes))} started: nothing is charged for that.")
    if stopping:
        said.append("The rendering stops within a step; the seconds that it has rendered are charged.")
    if done := [take.index for take in before.takes if take.state is TakeState.DONE]:
        kept = "was ready before, and stays" if len(done) == 1 else "were ready before, and stay"
        said.append(f"{sentence(takes_named(done))} {kept}.")
    return " ".join(said) or "There is nothing left to cancel: it ended just now."


def _unbegun(takes: list[int], of: int) -> str:
    """That they are cancelled before …; named, where others had begun."""
    if len(takes) == of:
        return "Cancelled before it"
    return f"{sentence(takes_named(takes))} {plural(len(takes), 'is cancelled before it', 'are cancelled before they')}"


async def ask_to_delete(interaction: Interaction, member: Member, whole: WholeRequest) -> None:
    """The last question before a deletion."""
    _check_may_end(member, whole, "delete")
    if not whole.clips:
        raise MemberError("There is nothing left to delete.")
    one = len(whole.clips) == 1
    what = "this clip" if one else f"all {len(whole.clips)} clips of this request"
    sure = Button("Delete for good", ButtonId(Action.DELETE_FOR_GOOD, whole.request.request_id), Style.DANGER)
    question = (
        f"**Delete {what}?** {'It goes' if one else 'They go'} from the channel and the library, for everyone, and "
        "cannot be brought back. Credits do not come back either."
    )
    await show(interaction, Message(question, rows=((sure,),)))


async def delete(interaction: Interaction, member: Member, whole: WholeRequest) -> None:
    _check_may_end(member, whole, "delete")
    if not whole.clips:
        raise MemberError("There is nothing left to delete.")
    await interaction.response.defer(ephemeral=True, thinking=True)

    parts = interaction.client.parts

    async def work(conn: Connection) -> list[Sha256]:
        return await library.delete_clips(conn, member.guild_id, whole.request.request_id)

    for sha256 in await retrying(parts.pool, work):
        try:
            await parts.blobs.delete(parts.pool, sha256)
        except (ZoetropeError, *OUTAGE) as error:  # nothing shows it any more; the hourly collection takes it
            _log.warning("blob %s stays for now: %s", sha256, error)
    done = "Deleted. The message in the channel follows in a moment."
    if not whole.ended:
        done += " What still renders will appear: cancel it on its card."
    await interaction.edit_original_response(content=done)
