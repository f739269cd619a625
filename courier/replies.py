"""The reply: the message that mentions the member and carries the takes, or says why there are none. Pure.

It appears with the first finished take, and later takes join it; so it is drawn from all of them every time.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

from clips.catalog import Accepts, Model
from clips.domain import Lane, RequestStatus, TakeId, TakeState
from clips.requests import Take, WholeRequest
from courier.buttons import Action, ButtonId
from courier.message import Button, File, Message, Style
from courier.wording import (
    count_of_takes,
    credits_of,
    made_with,
    model_of,
    plural,
    prompt_of,
    reason,
    seconds_of,
    sentence,
    takes_named,
)

LATE = timedelta(minutes=2)
"""A last take that comes later than this after the mention gets one of its own: an edit notifies nobody."""


def reply(
    whole: WholeRequest, *, model: Model | None, posted: bool, unattached: Mapping[TakeId, str] | None = None
) -> Message | None:
    """The reply to a request as it is now; None while there is nothing to tell.

    `posted`: the channel has one already, so that even a deletion is something to tell. `unattached`: takes whose file
    the channel cannot have, with the reason.
    """
    if whole.clips:
        return _takes(whole, model, unattached or {})
    if any(take.state is TakeState.DONE for take in whole.takes):
        return _deleted(whole) if posted else None
    if whole.ended and whole.status is RequestStatus.FAILED:
        return _failed(whole, model)
    return None


def late_mention(whole: WholeRequest, mentioned_at: datetime | None) -> Message | None:
    """The short message under the reply for a last take that came late; None where it is not called for."""
    if mentioned_at is None or not whole.ended:
        return None
    late = [take for take in whole.clips if take.finished_at and take.finished_at > mentioned_at + LATE]
    if not late:
        return None
    which = sentence(takes_named([take.index for take in late]))
    request = whole.request
    return Message(
        f"<@{request.user_id}> {which} {plural(len(late), 'is', 'are')} ready too: "
        f"{count_of_takes(len(whole.clips))} in all, in the message above.",
        mention=request.user_id,
    )


def file_of(whole: WholeRequest, take: Take) -> File:
    """How a take's clip is named where it is attached, the mark of a spoiler apart."""
    return File(take.take_id, f"zoetrope-{whole.request.request_id}-take-{take.index}.mp4")


def _takes(whole: WholeRequest, model: Model | None, unattached: Mapping[TakeId, str]) -> Message:
    request, clips = whole.request, whole.clips
    lines = [
        f"<@{request.user_id}> **{_ready(whole)}** · {prompt_of(request)}",
        " · ".join(
            (
                made_with(request, model),
                seconds_of(request.plan.seconds),
                f"{request.plan.width} \N{MULTIPLICATION SIGN} {request.plan.height}",
                _cost(whole),
            )
        ),
        *_missing(whole),
        *(
            f"Take {take.index} is not attached: {unattached[take.take_id]}"
            for take in clips
            if take.take_id in unattached
        ),
    ]
    if len(clips) > 1:
        lines.append("-# ★ is the take that the buttons act on.")
    return Message(
        "\n".join(lines),
        mention=request.user_id,
        rows=_buttons(whole, model),
        files=tuple(file_of(whole, take) for take in clips if take.take_id not in unattached),
        spoiler=request.spoiler,
    )


def _ready(whole: WholeRequest) -> str:
    done, asked = len(whole.clips), len(whole.takes)
    if asked == 1:
        return "Your clip is ready"
    if done == asked:
        return f"{done} takes are ready"
    return f"{done} of {asked} takes {plural(done, 'is', 'are')} ready"


def _cost(whole: WholeRequest) -> str:
    if whole.request.lane is Lane.RELAXED:
        return "relaxed lane, free"
    return credits_of(whole.charged) + ("" if whole.ended else " so far")


def _missing(whole: WholeRequest) -> list[str]:
    """A line for each way in which takes are not here: still to come, failed, cancelled, deleted."""
    lines: list[str] = []
    if coming := [take for take in whole.takes if not take.state.final]:
        lines.append(f"Still rendering: {_named(coming)}.")
    if failed := [take for take in whole.takes if take.state is TakeState.FAILED]:
        lines.append(f"{sentence(_named(failed))} failed; nothing was charged for {_them(failed)}. {_reasons(failed)}")
    if cancelled := [take for take in whole.takes if take.state is TakeState.CANCELLED]:
        charged = sum(take.charged or 0 for take in cancelled)
        cost = (
            f"{credits_of(charged)} for what had rendered" if charged else f"nothing was charged for {_them(cancelled)}"
        )
        lines.append(f"{sentence(_named(cancelled))} {plural(len(cancelled), 'was', 'were')} cancelled; {cost}.")
    if deleted := [take for take in whole.takes if take.clip_deleted]:
        lines.append(f"{sentence(_named(deleted))} {plural(len(deleted), 'was', 'were')} deleted.")
    return lines


def _buttons(whole: WholeRequest, model: Model | None) -> tuple[tuple[Button, ...], ...]:
    request_id, chosen = whole.request.request_id, whole.chosen
    choices = tuple(
        Button(
            f"{take.index} ★" if take is chosen else str(take.index),
            ButtonId(Action.CHOOSE, request_id, take.index),
            Style.PRIMARY if take is chosen else Style.SECONDARY,
        )
        for take in whole.clips
    )
    actions = [
        Button("Reroll", ButtonId(Action.REROLL, request_id)),
        Button("Remix…", ButtonId(Action.REMIX, request_id)),
    ]
    if model is not None and Accepts.VARIATION in model.accepts:
        actions.append(Button("Vary…", ButtonId(Action.VARY, request_id)))
    actions += [
        Button("On my photo…", ButtonId(Action.ON_MY_PHOTO, request_id)),
        Button("More…", ButtonId(Action.MORE, request_id)),
    ]
    return ((choices,) if len(choices) > 1 else ()) + (tuple(actions),)


def _failed(whole: WholeRequest, model: Model | None) -> Message:
    request = whole.request
    failed = [take for take in whole.takes if take.state is TakeState.FAILED]
    what = "Your clip could not be made" if len(whole.takes) == 1 else "None of your takes could be made"
    charged = whole.charged
    cost = "Nothing was charged."
    if charged:
        cost = (
            f"{credits_of(charged)} {plural(charged, 'was', 'were')} charged for what had rendered before the cancel."
        )
    return Message(
        f"<@{request.user_id}> **{what}.** {_reasons(failed)} {cost}\n"
        f"{prompt_of(request)} · {model_of(request, model)}\n"
        "Try again asks for the same; Change… lets you alter it first.",
        mention=request.user_id,
        rows=(
            (
                Button("Try again", ButtonId(Action.TRY_AGAIN, request.request_id), Style.PRIMARY),
                Button("Change…", ButtonId(Action.CHANGE, request.request_id)),
            ),
        ),
    )


def _deleted(whole: WholeRequest) -> Message:
    what = plural(len(whole.takes), "The clip was", "The clips were")
    return Message(
        f"{what} deleted and cannot be brought back. <@{whole.request.user_id}> can ask for new ones with `/animate`."
    )


def _reasons(failed: list[Take]) -> str:
    """Each different reason once; two say enough."""
    return " ".join(list(dict.fromkeys(reason(take.error) for take in failed))[:2])


def _named(takes: list[Take]) -> str:
    return takes_named([take.index for take in takes])


def _them(takes: list[Take]) -> str:
    return plural(len(takes), "it", "them")
