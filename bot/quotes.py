"""What a wish comes to with a model, in the few words that a list has room for: real length, takes, price. Pure."""

from dataclasses import replace
from math import inf

from bot.plans import LONGEST, SHORTEST, count_takes, spec_of
from clips.catalog import Model
from clips.domain import Lane, Plan, Size
from clips.errors import MemberError
from clips.guilds import Rules
from clips.intakes import Wish
from clips.paid import dollars_of
from courier.wording import count_of_takes, cut, price_of, seconds_of

MOST = 25
"""Suggestions that Discord shows."""
_LONGEST_NAME = 100
"""Letters of a suggestion (Discord)."""
_SHORTEST_SUMMARY = 8
"""What is left of a summary below so many letters says nothing."""
_STEPS = (0.25, 0.5, 1.0)
"""Seconds between the lengths that are suggested: the finest that fits."""


def offer(wish: Wish, model: Model, rules: Rules, begin: str) -> str:
    """A model in a list: its name, what this wish costs with it, when it begins, and what it is good at, if that still
    fits.
    """
    facts = f" · {_price(wish, model, rules)} · {begin}"
    told = f"{cut(model.title, _LONGEST_NAME - len(facts))}{facts}"
    room = _LONGEST_NAME - len(f"{told} · ")
    return f"{told} · {cut(model.summary, room)}" if room >= _SHORTEST_SUMMARY else told


def lengths(wish: Wish, model: Model, rules: Rules) -> list[tuple[str, float]]:
    """Lengths that a model renders in the wished size: each with its price, and the seconds to ask for it with.

    The one nearest to the wish comes first. Nothing for a size that it does not render.
    """
    if not _renders(model, wish.size):
        return []
    if model.length_from is not None:
        return [(f"As long as your motion video · {_rate(wish, model)}", SHORTEST)]
    nearest = [] if wish.seconds is None else [wish.seconds]
    found: dict[int, tuple[str, float]] = {}
    for seconds in (*nearest, *_spread(wish, model, MOST - len(nearest))):
        plan = _plan(wish, model, seconds)
        asked = min(max(round(plan.seconds, 2), SHORTEST), LONGEST)
        # One that no number between the option's bounds leads to cannot be asked for.
        if plan.frames not in found and _plan(wish, model, asked).frames == plan.frames:
            found[plan.frames] = f"{seconds_of(plan.seconds)} · {_takes(wish, plan, rules)}", asked
    return list(found.values())


def _spread(wish: Wish, model: Model, most: int) -> list[float]:
    """Seconds from the shortest to the longest, of which no more than so many lengths come."""
    spreads = [[SHORTEST + step * number for number in range(int((LONGEST - SHORTEST) / step) + 1)] for step in _STEPS]
    return next(
        (one for one in spreads if len({_plan(wish, model, seconds).frames for seconds in one}) <= most), spreads[-1]
    )


def _price(wish: Wish, model: Model, rules: Rules) -> str:
    """What the wish costs, or why it is not rendered so."""
    if not _renders(model, wish.size):
        return f"not in {wish.size}"
    if model.length_from is not None:
        return _rate(wish, model)
    longest = _plan(wish, model, inf).seconds
    if (wish.seconds or 0) > longest + 0.5:
        return f"at most {seconds_of(longest)}"
    plan = _plan(wish, model, wish.seconds)
    takes = _affordable(wish, plan, rules)
    if takes == 0:
        return f"{_cost(wish, plan, wish.takes or 1)}, above the limit of {rules.click_limit} a click"
    each = seconds_of(plan.seconds)
    return f"{_cost(wish, plan, takes)} for {count_of_takes(takes)} of {each}"


def _takes(wish: Wish, plan: Plan, rules: Rules) -> str:
    """How many takes of a length, and what they cost."""
    takes = _affordable(wish, plan, rules)
    if takes:
        return f"{count_of_takes(takes)} · {_cost(wish, plan, takes)}"
    asked = wish.takes or 1
    return f"{count_of_takes(asked)} · {_cost(wish, plan, asked)}, above the limit of {rules.click_limit} a click"


def _affordable(wish: Wish, plan: Plan, rules: Rules) -> int:
    """How many takes the click will make; none where the server's limit does not allow what was asked for."""
    try:
        return count_takes(wish, plan, rules)
    except MemberError:
        return 0


def _cost(wish: Wish, plan: Plan, takes: int) -> str:
    return "free" if wish.lane is Lane.RELAXED else price_of(plan, takes)


def _rate(wish: Wish, model: Model) -> str:
    """What a second costs, where only the photo's companion says how many there are."""
    size = model.size_of(spec_of(wish, model))
    dollars = f"{dollars_of(model.hosted.microdollars(1, size))} and " if model.hosted else ""
    return f"{dollars}{model.price[size]:g} credits a second"


def _plan(wish: Wish, model: Model, seconds: float | None) -> Plan:
    return model.plan(spec_of(replace(wish, seconds=seconds), model), None)


def _renders(model: Model, size: Size) -> bool:
    return size is Size.NATIVE or size in model.sizes
