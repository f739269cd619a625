"""How long a model's clips may be: in frames, or in whole seconds where a provider counts so. Pure."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import inf
from typing import Any, Self

from pydantic import Field, model_validator

from clips.entries import Entry


class FrameRule(Entry):
    """A clip has `offset + n * step` frames, between `min` and `max`."""

    offset: int = Field(ge=0)
    step: int = Field(ge=1)
    min: int = Field(ge=1)
    max: int = Field(ge=1)

    @model_validator(mode="after")
    def _has_lengths(self) -> Self:
        if self.snap(inf) < self.min:
            raise ValueError(f"no offset + n × step lies between min and max: {self.min} and {self.max}")
        return self

    def snap(self, wished: float) -> int:
        """The allowed number of frames nearest to the wish."""
        steps = round((min(max(wished, self.min), self.max) - self.offset) / self.step)
        return self.offset + min(steps, (self.max - self.offset) // self.step) * self.step


def in_frames(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """An entry that tells its lengths in whole seconds, `[5, 10]` or `{ min = 2, max = 15 }`, with its frame rules.

    Raises `ValueError`; not for the rate, which is looked at later.
    """
    told = dict(entry)
    try:
        rate = max(int(entry.get("fps", 1)), 1)
    except (TypeError, ValueError, OverflowError):
        rate = 1
    try:
        if "seconds" in told:
            told["frames"] = _frames(told.pop("seconds"), rate)
        if "seconds_at" in told:
            told["frames_at"] = {size: _frames(seconds, rate) for size, seconds in told.pop("seconds_at").items()}
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            "lengths in seconds are [5, 10] or { min = 2, max = 15 }; seconds_at has one a size"
        ) from error
    return told


def _frames(seconds: Mapping[str, int] | Sequence[int], fps: int) -> Mapping[str, int]:
    lengths = list(range(seconds["min"], seconds["max"] + 1)) if isinstance(seconds, Mapping) else sorted(seconds)
    steps = {later - sooner for sooner, later in pairwise(lengths)} or {1}
    if not lengths or len(steps) != 1:
        raise ValueError("the lengths in seconds must be evenly spaced")
    first, last, step = lengths[0] * fps, lengths[-1] * fps, steps.pop() * fps
    return {"offset": first % step, "step": step, "min": first, "max": last}
