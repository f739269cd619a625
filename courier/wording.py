"""Small words that every message shares: numbers, lists, moments, bars, and members' own text made safe."""

import re
import unicodedata
from collections.abc import Sequence
from datetime import datetime

from clips.catalog import EngineKind, Model
from clips.domain import Lane, Plan
from clips.paid import dollars_of
from clips.requests import Request

# Marks that turn the reading direction: one of them would rearrange our own words behind it.
_DIRECTION = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_MARKUP = re.compile(r"([\\*_~`|<>\[\]])")
_LONGEST_PROMPT = 200
_LONGEST_REASON = 300


def member_text(text: str, most: int = _LONGEST_PROMPT) -> str:
    """What a member wrote, to stand inside a line of ours: one line, cut, without markup and without mentions.

    It grows to twice `most` characters at worst.
    """
    spaced = "".join(" " if unicodedata.category(one) in {"Cc", "Zl", "Zp"} else one for one in text)
    line = cut(" ".join(_DIRECTION.sub("", spaced).split()), most)
    # A mention of everyone notifies nobody from us, but it would still look like one.
    return _MARKUP.sub(r"\\\1", line).replace("@", "@\u200b")


def cut(text: str, most: int) -> str:
    """At most so many characters, with an ellipsis where some are missing."""
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def reason(error: str | None) -> str:
    """Why a take failed, as its generator told it."""
    return cut(error or "The generator met a fault and left no word about it.", _LONGEST_REASON)


def plural(count: int, one: str, several: str) -> str:
    """The word that agrees with the count."""
    return one if count == 1 else several


def credits_of(amount: int) -> str:
    return f"{amount} {plural(amount, 'credit', 'credits')}"


def count_of_takes(count: int) -> str:
    return f"{count} {plural(count, 'take', 'takes')}"


def seconds_of(seconds: float) -> str:
    """A length to the hundredth, as a model renders it: `5.04 s`, `5 s`."""
    return f"{round(seconds, 2):g} s"


def takes_named(indexes: Sequence[int], *, of_several: bool = True) -> str:
    """`take 2`, `takes 1 and 3`; of a request with a single take: `it`."""
    if not of_several:
        return "it"
    words = [str(index) for index in indexes]
    listed = words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
    return f"{plural(len(words), 'take', 'takes')} {listed}"


def sentence(text: str) -> str:
    """The text with a capital first letter."""
    return text[:1].upper() + text[1:]


def moment(at: datetime, *, step: int = 1) -> str:
    """A moment that each reader's app shows as `in 2 minutes`.

    Rounded up to `step` seconds, so that a steady estimate stays the same text.
    """
    seconds = -(-int(at.timestamp()) // step) * step
    return f"<t:{seconds}:R>"


def bar(part: float, width: int = 16) -> str:
    """A text bar, filled for `part` (0-1)."""
    filled = round(min(max(part, 0.0), 1.0) * width)
    return f"`{'█' * filled}{'░' * (width - filled)}`"


def model_of(request: Request, model: Model | None) -> str:
    """What renders it. A sketch is told apart wherever it shows. `model` None: it left the catalogue meanwhile."""
    if model is None:
        return member_text(request.spec.model, 60)
    return "sketch, not a generated video" if model.engine is EngineKind.SKETCH else model.title


def made_with(request: Request, model: Model | None) -> str:
    """The same beside finished clips, which are marked as machine-made: several licences ask for that."""
    name = model_of(request, model)
    return name if model is not None and model.engine is EngineKind.SKETCH else f"AI-generated with {name}"


def prompt_of(request: Request) -> str:
    """The motion prompt in quotes, or that there is none."""
    words = member_text(request.spec.prompt)
    return f"“{words}”" if words else "no motion prompt"


def quote_of(request: Request) -> str:
    """What all its takes can cost at most."""
    if request.lane is Lane.RELAXED:
        return "relaxed lane, free"
    return f"at most {price_of(request.plan, request.takes)}"


def price_of(plan: Plan, takes: int) -> str:
    """What so many takes cost in credits, and in dollars where somebody bills them."""
    dollars = f" and {dollars_of(plan.microdollars * takes)}" if plan.microdollars else ""
    return f"{credits_of(plan.credits * takes)}{dollars}"
