"""What the ephemeral answers say. Pure: sentences from facts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

from bot.plans import TAKES, count_takes
from clips.catalog import Accepts, EngineKind, Model
from clips.domain import ClipSpec, Lane, RequestKind
from clips.errors import MemberError
from clips.guilds import Rules
from clips.inputs import InputRole
from clips.intakes import Wish
from clips.paid import dollars_of
from clips.queue import Place
from clips.requests import Ask
from clips.wishes import wishes_named
from courier.message import MOST_CHARACTERS
from courier.wording import count_of_takes, credits_of, moment, plural, price_of, seconds_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """What is known of a request at the moment of its answer. `left`: the member's credits after the hold; `left_out`:
    what its parent had and its model does not take.
    """

    ask: Ask
    wish: Wish
    model: Model
    place: Place | None
    left: int
    left_out: Sequence[Accepts]
    rules: Rules
    now: datetime


def foretold(spec: ClipSpec, model: Model, wish: Wish, rules: Rules) -> str:
    """What is about to be made, before anything is fetched or set aside. Raises `MemberError` as `count_takes` does."""
    plan = model.plan(spec, None)
    takes = count_takes(wish, plan, rules)
    price = "free in the relaxed lane" if wish.lane is Lane.RELAXED else f"for {price_of(plan, takes)}"
    length = f"{seconds_of(plan.seconds)}{'' if takes == 1 else ' each'}"
    uploads = (wish.photo_url, wish.end_photo_url, *(one.url for one in wish.references))
    doing = "Reading what you sent…" if any(uploads) else "Getting in line…"
    what = f"{count_of_takes(takes)} with {titled(model)}, {length}, {model.size_of(spec)}, {price}"
    return f"**About to be made:** {what}. {doing}"


def accepted(facts: Accepted) -> str:
    """What will come, when and where, and what it costs."""
    ask, plan = facts.ask, facts.ask.plan
    one = ask.takes == 1
    clip = f"{seconds_of(plan.seconds)}{'' if one else ' each'}, {plan.width} × {plan.height}"
    where = f"{'It appears' if one else 'They appear'} in <#{ask.channel_id}>"
    sentences = [
        f"**On its way:** {count_of_takes(ask.takes)} with {titled(facts.model)}, {clip}. {where}{_when(facts)}."
    ]
    sentences += otherwise(ask, facts.wish, facts.model, facts.left_out) + _besides(ask, facts.model)
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
    if ask.provider is not None:
        price = dollars_of(ask.takes * plan.microdollars)
        each = "" if one else f" ({dollars_of(plan.microdollars)} a take)"
        sentences.append(
            f"{price}{each} of what this server may spend this month with {ask.provider} is set aside too."
        )
    return "\n".join(sentences)


def otherwise(ask: Ask, wish: Wish, model: Model, left_out: Sequence[Accepts]) -> list[str]:
    """What comes otherwise than it was asked for. `left_out`: what its parent had and the model does not take."""
    wished, comes = wish.seconds, ask.plan.seconds
    sentences: list[str] = []
    if model.length_from is Accepts.MOTION_VIDEO:
        sentences.append("It is as long as your motion video.")
    elif wished is not None and abs(wished - comes) > 0.25:
        nearest = f"{seconds_of(comes)} is the nearest that {model.title} can"
        sentences.append(f"You asked for {seconds_of(wished)}; {nearest}.")
    return sentences + _left_out(model, left_out)


def _left_out(model: Model, wishes: Sequence[Accepts]) -> list[str]:
    return [f"{model.title} does not take {wishes_named(wishes)}: left out."] if wishes else []


def _besides(ask: Ask, model: Model) -> list[str]:
    """What one may think otherwise."""
    sentences: list[str] = []
    if references := sum(one.role is InputRole.REFERENCE for one in ask.inputs):
        if references == 1:
            sentences.append("Your picture is a reference: who and what is on it appears, but it is no frame itself.")
        else:
            which = f"Your {references} pictures are references"
            sentences.append(f"{which}: who and what is on them appears, but none of them is a frame.")
    if ask.kind in {RequestKind.REROLL, RequestKind.RETRY} and Accepts.SEED not in model.accepts:
        sentences.append(
            f"{model.title} knows no seeds: what comes is new by chance, and cannot be made again exactly."
        )
    return sentences


def _when(facts: Accepted) -> str:
    if facts.place is None:
        return ""
    if facts.place.rest and facts.place.rest.until is None:
        return " once the host, who has paused the generators, lets them go on"
    ready = facts.now + timedelta(seconds=max(5, facts.place.ends_in))
    return f", ready about {moment(ready)}"


def refused(refusal: MemberError) -> str:
    """The reason, what to do, and when it ends by itself."""
    return refusal.sentence if refusal.until is None else f"{refusal.sentence} It ends {moment(refusal.until)}."


def too_long(wanted: int, possible: int, wait: float, rules: Rules, *, free: bool) -> str:
    """The queue is longer than the server lets members wait. Fewer takes may still fit. `free`: it could be relaxed."""
    limit = f"{rules.longest_wait.total_seconds() / 60:.0f} minutes"
    ready = f"{count_of_takes(wanted)} would be ready only in {ceil(wait / 60)} minutes"
    late = f"{ready}, and this server's limit is {limit}."
    if possible == 0:
        instead = ", or use `lane: relaxed`, which is free and may wait longer" if free else ""
        return f"{late} Nothing was charged. Try again later{instead}."
    return f"{late} Nothing was charged. {count_of_takes(possible)} would make it."


def price_asked(ask: Ask, model: Model, rules: Rules, otherwise: Sequence[str]) -> str:
    """A click that costs real money, and more of it than the server lets a click cost unasked."""
    each, price = dollars_of(ask.plan.microdollars), dollars_of(ask.takes * ask.plan.microdollars)
    seconds = seconds_of(ask.plan.seconds)
    takes = f"1 take of {seconds}" if ask.takes == 1 else f"{count_of_takes(ask.takes)} of {seconds}, each {each},"
    question = (
        f"**This costs {price} of real money:** {takes} with {model.title}. The host of this bot pays it, and this "
        f"server asks first above {dollars_of(rules.confirm_above)}. Nothing is charged yet."
    )
    return " ".join((question, *otherwise))


def length_asked(ask: Ask, model: Model, wished: float, left_out: Sequence[Accepts]) -> str:
    """The model renders no length near the one that the member asked for."""
    comes, takes = seconds_of(ask.plan.seconds), count_of_takes(ask.takes)
    if ask.lane is Lane.RELAXED:
        price = f"{plural(ask.takes, 'is', 'are')} free in the relaxed lane"
    else:
        price = f"{plural(ask.takes, 'costs', 'cost')} {price_of(ask.plan, ask.takes)}"
    question = (
        f"**You asked for {seconds_of(wished)}, and the nearest that {model.title} renders is {comes}.** {takes} of "
        f"that {price}. Nothing is charged yet. Take it so, or pick another model."
    )
    return " ".join((question, *_left_out(model, left_out)))


def needed(missing: Sequence[Accepts], model: Model) -> str:
    """What a model cannot do without, which a form can ask for."""
    return (
        f"{model.title} needs {wishes_named(missing)}. Nothing was charged. Add it in the form, or pick another model."
    )


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
