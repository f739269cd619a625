"""A provider's input as data: which of its fields is filled from which wish, and how. Pure.

A new hosted model is an entry of the catalogue with such fields, and no code.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from string import Formatter
from typing import Self

from pydantic import Field, model_validator

from clips.domain import Camera, Size, Strength
from clips.entries import Entry

Value = str | int | float | bool | Sequence[str]
"""What a provider's field may hold."""
_SEEDS = 2**31
"""Providers' schemas say “integer” and mean a signed one of 32 bits."""
_TAG = re.compile(r"</?[A-Z_]+>")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """All that a field can be filled from. Files are addresses that the provider can fetch. None and "": unasked."""

    photo: str | None = None
    end_photo: str | None = None
    references: Sequence[str] = ()
    motion_video: str | None = None
    video: str | None = None
    videos: Sequence[str] = ()
    prompt: str = ""
    avoid: str = ""
    speech: str = ""
    ambient: str = ""
    camera_direction: str = ""
    subject: str = ""
    speed: str = ""
    seconds: float | None = None
    frames: int | None = None
    fps: int | None = None
    size: Size | None = None
    aspect: float | None = None
    """Width by height."""
    seed: int | None = None
    sound: bool | None = None
    camera: Camera | None = None
    strength: Strength | None = None
    consistency: float | None = None
    factor: int | None = None
    """How many times larger a tool makes a video."""


class Source(StrEnum):
    """What a field is filled from: an attribute of `Wishes`."""

    PHOTO = "photo"
    END_PHOTO = "end_photo"
    REFERENCES = "references"
    MOTION_VIDEO = "motion_video"
    VIDEO = "video"
    VIDEOS = "videos"
    PROMPT = "prompt"
    AVOID = "avoid"
    SECONDS = "seconds"
    FRAMES = "frames"
    FPS = "fps"
    SIZE = "size"
    ASPECT = "aspect"
    SEED = "seed"
    SOUND = "sound"
    CAMERA = "camera"
    STRENGTH = "strength"
    CONSISTENCY = "consistency"
    FACTOR = "factor"


_WORDS = {"prompt", "avoid", "speech", "ambient", "camera_direction", "subject", "speed"}


class ProviderField(Entry):
    """How one field is filled: from a wish, out of several in `parts`, or with a constant `value`.

    `map`       the provider's word for each of ours; an unmapped wish leaves the field out
    `choices`   of `aspect`: the ratios there are, as `16:9`; the nearest is sent
    `parts`     sentences with wishes in braces; one with an unasked wish is left out
    `default`   sent where nothing is asked; without it the field is left out
    """

    source: Source | None = Field(default=None, alias="from")
    map: dict[str, str | int | float | bool] = Field(default_factory=dict[str, str | int | float | bool])
    choices: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    default: str | int | float | bool | None = None
    value: str | int | float | bool | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.source is not None) + bool(self.parts) + (self.value is not None) != 1:
            raise ValueError("a field has exactly one of from, parts and value")
        named = {name for part in self.parts for _, name, _, _ in Formatter().parse(part) if name is not None}
        if not named <= _WORDS:
            raise ValueError(f"parts name {', '.join(sorted(named - _WORDS))}; there are {', '.join(sorted(_WORDS))}")
        if bool(self.choices) != (self.source is Source.ASPECT):
            raise ValueError("choices and aspect come together")
        return self

    @property
    def sources(self) -> set[str]:
        """The wishes that it is filled from."""
        named = {name for part in self.parts for _, name, _, _ in Formatter().parse(part) if name}
        return named | ({str(self.source)} if self.source else set())

    def fill(self, wishes: Wishes) -> Value | None:
        """What is sent; None: nothing."""
        if self.value is not None:
            return self.value
        found = self._written(wishes) if self.parts else self._converted(wishes)
        return self.default if found is None or found in ("", ()) else found

    def _written(self, wishes: Wishes) -> str:
        """The parts, without what in members' words could pass for the provider's own marks."""
        words = {name: _TAG.sub(" ", str(getattr(wishes, name))).strip() for name in _WORDS}
        told = [part for part in self.parts if all(words[name] for _, name, _, _ in Formatter().parse(part) if name)]
        return " ".join(part.format_map(words) for part in told)

    def _converted(self, wishes: Wishes) -> Value | None:
        wished: Value | None = getattr(wishes, str(self.source))
        if self.map:
            return self.map.get(str(wished).lower())
        match wished:
            case float() if self.choices:
                return min(self.choices, key=lambda ratio: abs(_ratio(ratio) - wished))
            case int() if self.source is Source.SEED:
                return wished % _SEEDS
            case float() if wished.is_integer():
                return int(wished)
            case list():
                return tuple(wished)
            case _:
                return wished


def filled(provider_fields: Mapping[str, ProviderField], wishes: Wishes) -> dict[str, Value]:
    """A provider's whole input. A field of which nothing is asked is left out."""
    found = {name: field.fill(wishes) for name, field in provider_fields.items()}
    return {name: value for name, value in found.items() if value is not None}


def _ratio(text: str) -> float:
    across, _, down = text.partition(":")
    return int(across) / int(down)
