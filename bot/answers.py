"""What the ephemeral answers say. Pure: sentences from facts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

from bot.plans import TAKES
from clips.catalog import EngineKind, Model
from clips.domain import Lane
from clips.errors import MemberError
from clips.guilds import Rules
from clips.intakes import Wish
from clips.queue import Place
from clips.requests import Ask
from courier.message import MOST_CHARACTERS
from courier.wording import count_of_takes, credits_of, moment


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """What is known of a request at the moment of its answer. `left`: the member's credits after the hold."""

    ask: Ask
    wish: Wish
    model: Model
    place: Place | None
    left: int
    rules: Rules
    now: datetime


def accepted(facts: Accepted) -> str:
    """What will come, when and where, and what it costs."""
    ask, plan = facts.ask, facts.ask.plan
    one = ask.takes == 1
    clip = f"{plan.seconds:.1f} s{'' if one else ' each'}, {plan.width} × {plan.height}"
    where = f"{'It appears' if one else 'They appear'} in <#{ask.channel_id}>"
    sentences = [
        f"**On its way:** {count_of_takes(ask.takes)} with {titled(facts.model)}, {clip}. {where}{_when(facts)}."
    ]
    if facts.wish.seconds is not None and abs(facts.wish.seconds - plan.seconds) > 0.25:
        sentences.append(
            f"You asked for {facts.wish.seconds:g} s; {plan.seconds:.1f} s is the nearest that {facts.model.title} can."
        )
    if ask.lane is Lane.RELAXED:
        sentences.append("It is free in the relaxed lane, and renders when no fast work waits.")
        return "\n".join(sentences)
    if ask.takes < (facts.wish.takes or TAKES):
        sentences.append(f"More takes would pass this server's limit of {facts.rules.click_limit} credits a click.")
    held = ask.takes * plan.credits
    each = "" if one else f" ({plan.credits} a take)"
    sentences.append(
        f"{credits_of(held)}{each} {'is' if held == 1 else 'are'} set aside, and you pay only for what is rendered. "
        f"{credits_of(facts.left)} left today."
    )
    return "\n".join(sentences)


def _when(facts: Accepted) -> str:
    if facts.place is None:
        return ""
    ready = facts.now + timedelta(seconds=max(5, facts.place.ends_in))
    return f", ready about {moment(ready)}"


def refused(refusal: MemberError) -> str:
    """The reason, what to do, and when it ends by itself."""
    return refusal.sentence if refusal.until is None else f"{refusal.sentence} It ends {moment(refusal.until)}."


def too_long(wanted: int, possible: int, wait: float, rules: Rules) -> str:
    """The queue is longer than the server lets members wait. Fewer takes may still fit."""
    limit = f"{rules.longest_wait.total_seconds() / 60:.0f} minutes"
    ready = f"{count_of_takes(wanted)} would be ready only in {ceil(wait / 60)} minutes"
    late = f"{ready}, and this server's limit is {limit}."
    if possible == 0:
        return (
            f"{late} Nothing was charged. Try again later, or use `lane: relaxed`, which is free and may wait longer."
        )
    return f"{late} Nothing was charged. {count_of_takes(possible)} would make it."


def cannot_post(missing: Sequence[str]) -> str:
    """The bot lacks permissions where the clip should appear."""
    named = missing[0] if len(missing) == 1 else f"{', '.join(missing[:-1])} and {missing[-1]}"
    return (
        f"I may not post clips in this channel: I lack {named} here. "
        "Ask in another channel, or have the staff allow it under Edit Channel, Permissions."
    )


def apology(trace: str) -> str:
    """A fault of ours."""
    return (
        "Something broke on our side, and nothing was charged. Please try again. "
        f"If it happens again, give the staff this number: `{trace}`."
    )


def fitting(lines: Sequence[str]) -> str:
    """As many whole lines, from the first on, as one message holds."""
    text = ""
    for line in lines:
        if len(text) + len(line) + 1 > MOST_CHARACTERS:
            break
        text = f"{text}\n{line}" if text else line
    return text


def titled(model: Model) -> str:
    """The model's name, and what it is not."""
    return f"{model.title} (a sketch, not a generated video)" if model.engine is EngineKind.SKETCH else model.title
