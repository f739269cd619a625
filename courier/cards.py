"""The card: what a channel sees of a request while it waits and renders. Pure: request → message.

Once the last take has ended the reply takes over and the card goes; only a cancelled request leaves its card behind.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from clips.catalog import Model
from clips.domain import RequestStatus, TakeState
from clips.queue import Place
from clips.requests import Take, WholeRequest
from courier.buttons import Action, ButtonId
from courier.message import Button, Message, Style
from courier.wording import (
    bar,
    bytes_of,
    count_of_takes,
    credits_of,
    model_of,
    moment,
    plural,
    prompt_of,
    quote_of,
    seconds_of,
    sentence,
    takes_named,
)

_PHASES = {
    "load": "loading the model",
    "warm": "warming the model up",
    "queue": "in line where it is rendered",
    "encode": "reading the photo",
    "decode": "drawing the frames",
    "store": "saving the clip",
}
"""What an engine does between its steps, in words."""
_ALL_STEPS_DONE = {"decode", "store"}
_SOON = 5.0
"""Seconds below which an estimate says nothing that the next look will not say."""


@dataclass(frozen=True, slots=True)
class ReplyState:
    """What came of the reply: the card stays until it is there. `failure`: it can never be posted, and why;
    `trouble`: it cannot before this is mended.
    """

    posted: bool = False
    failure: str | None = None
    trouble: str | None = None


def card(
    whole: WholeRequest, *, model: Model | None, place: Place | None, reply: ReplyState, now: datetime
) -> Message | None:
    """The card of a request as it is now. None: there is nothing (more) for a card to say."""
    if whole.status is RequestStatus.CANCELLED:
        return _cancelled(whole, model)
    if not whole.ended:
        return _live(whole, model, place, now)
    if reply.failure is not None and whole.clips:
        return _unposted(whole, model, reply.failure)
    if reply.posted or reply.failure is not None:
        return None
    if reply.trouble is not None:
        head = (
            f"**Finished, but the answer cannot be posted yet.** {reply.trouble} It is tried again for about an hour."
        )
        return Message(_lines(head, whole, model))
    return Message(_lines("**Finished.** The answer is being posted.", whole, model))


def _live(whole: WholeRequest, model: Model | None, place: Place | None, now: datetime) -> Message:
    by_state = {state: [take for take in whole.takes if take.state is state] for state in TakeState}
    running = by_state[TakeState.RUNNING]
    stopping = bool(running) and all(take.cancel_requested for take in running)
    lines = [_rendering(whole, take, now) for take in running]
    in_line = by_state[TakeState.READY] + by_state[TakeState.WAITING]
    if in_line and not running:
        lines.append(_waiting(place, now))
    if backoff := by_state[TakeState.BACKOFF]:
        lines.append(_faulty(whole, backoff, now))
    if parked := by_state[TakeState.PARKED]:
        lines.append(_parked(whole, parked, model, now))
    lines += _others(whole, in_line if running else [], by_state)
    cancel = Button(
        "Cancelling…" if stopping else "Cancel",
        ButtonId(Action.CANCEL, whole.request.request_id),
        Style.DANGER,
        disabled=stopping,
    )
    return Message(_lines("\n".join(lines), whole, model), rows=((cancel,),))


def _waiting(place: Place | None, now: datetime) -> str:
    if place is None:
        return "**Waiting.**"
    ahead = "Next in line." if place.ahead == 0 else f"{count_of_takes(place.ahead)} ahead."
    if place.rest is not None:
        if place.rest.until is None:
            return f"**Paused by the host.** {ahead} It keeps its place and renders once they go on."
        return (
            f"**Quiet hours.** {ahead} Rendering goes on {moment(place.rest.until)}, ready {_at(now, place.ends_in)}."
        )
    if place.starts_in < _SOON:
        return f"**{ahead}** Starts any moment, ready {_at(now, place.ends_in)}."
    return f"**{ahead}** Starts {_at(now, place.starts_in)}, ready {_at(now, place.ends_in)}."


def _rendering(whole: WholeRequest, take: Take, now: datetime) -> str:
    which = f"take {take.index} of {len(whole.takes)} · " if len(whole.takes) > 1 else ""
    if take.cancel_requested:
        return f"**Cancelling** · {which}stops after this step"
    ready = "" if take.seconds_left is None else f" · ready {_at(now, take.seconds_left)}"
    return f"**Rendering** · {which}{doing(take)}{ready}\n{bar(_part(take))}"


def doing(take: Take) -> str:
    """What a running take is at, in words."""
    if take.phase == "step" and take.total:
        return f"step {take.done} of {take.total}"
    if take.phase == "part" and take.total:
        return f"about {100 * take.done // take.total} %"
    if take.phase == "load" and take.total:
        return f"{_PHASES['load']}: {bytes_of(take.done, take.total)}"
    return _PHASES.get(take.phase or "", "starting")


def _part(take: Take) -> float:
    """How much of a running take is done, or of its model's load before that, 0-1."""
    if take.phase in {"load", "step", "part"} and take.total:
        return min(take.done / take.total, 1.0)
    return 1.0 if take.phase in _ALL_STEPS_DONE else 0.0


def _faulty(whole: WholeRequest, takes: list[Take], now: datetime) -> str:
    which = sentence(takes_named([take.index for take in takes], of_several=len(whole.takes) > 1))
    due = _due(takes, now)
    again = "soon" if due is None else moment(due, step=5)
    be = plural(len(takes), "is", "are")
    return f"**A fault, trying again.** {which} {be} tried again {again}; the lost attempt costs nothing."


def _parked(whole: WholeRequest, takes: list[Take], model: Model | None, now: datetime) -> str:
    title = model_of(whole.request, model)
    due = _due(takes, now)
    until = "up to 15 minutes" if due is None else f"up to 15 minutes (it gives up {moment(due)})"
    which = sentence(takes_named([take.index for take in takes], of_several=len(whole.takes) > 1))
    return (
        f"**No generator runs this model right now:** {title}. {which} {plural(len(takes), 'waits', 'wait')} for one "
        f"{until}; if none comes, nothing is charged. Cancel to pick another model."
    )


def _due(takes: list[Take], now: datetime) -> datetime | None:
    dues = [take.due_at for take in takes if take.due_at is not None and take.due_at > now]
    return min(dues, default=None)


def _others(whole: WholeRequest, in_line: list[Take], by_state: dict[TakeState, list[Take]]) -> list[str]:
    """What became of the takes that no line has told of yet."""
    told: list[str] = []
    for takes, word in (
        (in_line, "waiting"),
        (by_state[TakeState.DONE], "ready"),
        (by_state[TakeState.FAILED], "failed, nothing charged"),
        (by_state[TakeState.CANCELLED], "cancelled"),
    ):
        if takes and len(whole.takes) > 1:
            told.append(f"{takes_named([take.index for take in takes])} {word}")
    return [sentence(" · ".join(told))] if told else []


def _cancelled(whole: WholeRequest, model: Model | None) -> Message:
    charged = whole.charged
    cost = "Nothing was charged."
    if charged:
        cost = f"{credits_of(charged)} {plural(charged, 'was', 'were')} charged for the seconds that it had rendered."
    again = Button("Try again", ButtonId(Action.TRY_AGAIN, whole.request.request_id), Style.PRIMARY)
    return Message(_lines(f"**Cancelled.** {cost} Try again starts it anew.", whole, model), rows=((again,),))


def _unposted(whole: WholeRequest, model: Model | None, failure: str) -> Message:
    count = len(whole.clips)
    what = f"the {plural(count, 'clip', 'clips')} could not be posted here"
    kept = f"{plural(count, 'It is', 'They are')} kept: see `/my clips`."
    return Message(_lines(f"**Finished, but {what}.** {failure} {kept}", whole, model))


def _lines(head: str, whole: WholeRequest, model: Model | None) -> str:
    request = whole.request
    details = [model_of(request, model), seconds_of(request.plan.seconds)]
    details.append(count_of_takes(request.takes))
    if not whole.ended:
        details.append(quote_of(request))
    return f"{head}\n<@{request.user_id}> · {prompt_of(request)}\n{' · '.join(details)}"


def _at(now: datetime, seconds: float) -> str:
    return moment(now + timedelta(seconds=max(seconds, _SOON)), step=10 if seconds < 300 else 60)
