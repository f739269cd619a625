"""The catalogue: every model that a member can pick, as data, and the plan that its rules make of a wish.

Planning is here and not in the engine, because the bot quotes a price before any generator has loaded the model.
"""

import math
import re
from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from enum import StrEnum
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from clips.domain import ClipSpec, Fit, Plan, Size, Strength
from clips.entries import Entry, entries, read_tables
from clips.errors import MemberError, SetupError
from clips.hosting import Hosted, Tool
from clips.lengths import FrameRule, in_frames
from clips.repositories import Lora, Part
from clips.servers import HONOURED, Server
from clips.shapes import fitted
from clips.step_caches import StepCaches
from clips.wishes import Accepts, joined, wishes_named

USUAL_SECONDS = 5.0
"""Of a clip whose length nobody asks for."""


class EngineKind(StrEnum):
    """How a model runs. `sketch` is labelled as such wherever it shows."""

    SKETCH = "sketch"
    DIFFUSERS = "diffusers"
    REPLICATE = "replicate"
    VIDEOS_API = "videos-api"


class Placement(StrEnum):
    """How a local model shares its weights between GPU and RAM; the last two change the picture."""

    WHOLE = "whole"
    EVICTED = "evicted"
    OFFLOADED = "offloaded"
    GROUPED = "grouped"
    FP8 = "fp8"
    QUANTISED = "quantised"


class Speed(StrEnum):
    """How a local model trades exactness for time; `exact` is plain diffusers to the bit."""

    EXACT = "exact"
    BALANCED = "balanced"
    FAST = "fast"


class Gpu(Entry):
    """GiB of GPU memory: the smallest usual card that will do, and the smallest that renders at full speed."""

    least: int = Field(ge=1)
    full: int = Field(ge=1)


Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Model(Entry):
    """One entry of the catalogue. See the head of `catalog.toml` for what each field means."""

    name: str
    title: str
    summary: str
    engine: EngineKind
    licence: str
    goals: tuple[str, ...]
    fps: int = Field(ge=1)
    multiple: int = Field(ge=2)
    frames: FrameRule
    sizes: dict[Size, tuple[int, int]]
    default_size: Size
    free_aspect: bool = True
    portrait: bool = True
    price: dict[Size, Price]
    accepts: frozenset[Accepts]
    needs: frozenset[Accepts] = frozenset({Accepts.PHOTO})
    frames_at: dict[Size, FrameRule] = Field(default_factory=dict[Size, FrameRule])
    length_from: Accepts | None = None
    hosted: Hosted | None = None
    family: str | None = None
    repo: str | None = None
    revision: str | None = None
    steps: int | None = Field(default=None, ge=1)
    guidance: float | None = None
    guidance_2: float | None = None
    flow_shift: float | None = Field(default=None, gt=0)
    sigmas: tuple[float, ...] = ()
    renoise: bool = False
    loras: tuple[Lora, ...] = ()
    parts: dict[str, Part] = Field(default_factory=dict[str, Part])
    server: Server | None = None
    memory: Placement | None = None
    cache: StepCaches | None = None
    forbids: str = ""
    weights: float | None = Field(default=None, gt=0)
    gpu: Gpu | None = None

    @model_validator(mode="before")
    @classmethod
    def _read_seconds(cls, entry: Mapping[str, Any]) -> Mapping[str, Any]:
        return in_frames(entry)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.default_size not in self.sizes:
            raise ValueError(f"default_size {self.default_size} is not among its sizes")
        if set(self.price) != set(self.sizes):
            raise ValueError("price and sizes must name the same sizes")
        if self.engine is EngineKind.DIFFUSERS and not (self.family and self.repo):
            raise ValueError("a diffusers model needs a family and a repo")
        if (self.engine is EngineKind.REPLICATE) != (self.hosted is not None):
            raise ValueError("a model on replicate, and no other, needs a table hosted")
        if (self.engine is EngineKind.VIDEOS_API) != (self.server is not None):
            raise ValueError("a model of videos-api, and no other, needs a table server")
        if self.server is not None and not self.accepts <= HONOURED:
            raise ValueError(f"a model of videos-api accepts no more than {', '.join(sorted(HONOURED))}")
        if self.hosted is not None and set(self.hosted.usd) != set(self.sizes):
            raise ValueError("usd and sizes must name the same sizes")
        if not self.needs - {Accepts.PHOTO} <= self.accepts or not set(self.frames_at) <= set(self.sizes):
            raise ValueError("needs must be among what it accepts, and seconds_at among its sizes")
        if (self.sigmas or self.renoise) and (self.steps != len(self.sigmas) or self.flow_shift is not None):
            raise ValueError("renoise needs sigmas, steps must be the number of these, and no flow_shift moves them")
        return self

    @model_validator(mode="after")
    def _to_be_asked_for(self) -> Self:
        if self.name != self.name.lower() or re.search(r"[\s,=]", self.name):
            raise ValueError("nobody could ask for a name with capitals, spaces, commas or equals signs")
        fixed = self.engine is EngineKind.DIFFUSERS and not self.free_aspect  # others are fitted, or a server's own
        sides = [side for size in self.sizes.values() for side in size]
        if any(side < self.multiple or (fixed and side % self.multiple) for side in sides):
            raise ValueError(f"the sides of its sizes must be multiples of `multiple`, which is {self.multiple}")
        return self

    @model_validator(mode="after")
    def _steps_to_leave_out(self) -> Self:
        if self.cache is not None:
            self.cache.check(self.steps, distilled=bool(self.sigmas))
        return self

    @property
    def paid(self) -> bool:
        """Does each take cost the host dollars?"""
        return self.hosted is not None

    @property
    def provider(self) -> str | None:
        """Who is paid for it."""
        return self.hosted.provider if self.hosted else None

    @property
    def renderer(self) -> str:
        """Where its jobs are known by name: its provider, or its own server."""
        return self.provider or self.name

    @property
    def terms(self) -> str:
        """The licence and what it forbids, in sentences."""
        return f"Licence: {self.licence}. {self.forbids}".rstrip()

    @property
    def honours(self) -> frozenset[Accepts]:
        """All that it takes. Where we fit the photo ourselves, padding too."""
        return self.accepts | self.needs | (frozenset() if self.hosted else {Accepts.PADDING})

    @property
    def takes_photo(self) -> bool:
        """Is there a first frame to give it?"""
        return Accepts.PHOTO in self.accepts | self.needs

    @property
    def shortest(self) -> float:
        """Seconds."""
        return self.frames.snap(0) / self.fps

    @property
    def longest(self) -> float:
        """Seconds."""
        return self.frames.snap(math.inf) / self.fps

    def seconds(self, wished: float | None, size: Size = Size.NATIVE) -> float:
        """The length to ask for: the one wished for; else the usual one, or as much of it as there is at that size."""
        if wished is not None and self.length_from is None:
            return wished
        rule = self._rule(self.default_size if size is Size.NATIVE else size)
        return min(USUAL_SECONDS, rule.snap(math.inf) / self.fps)

    def check(self, spec: ClipSpec, given: Collection[Accepts] = (Accepts.PHOTO,)) -> None:
        """Refuse what the model would ignore, lacks or cannot do. `given`: what comes beside the spec: photos, a seed,
        references … Raises `MemberError`.
        """
        asked = {wish for wish, wished in _wishes(spec).items() if wished} | set(given)
        if ignored := [wish for wish in Accepts if wish in asked - self.honours]:
            raise MemberError(
                f"{self.title} does not take {wishes_named(ignored)}. Leave that out, or pick a model that does."
            )
        if lacking := [wish for wish in Accepts if wish in self.needs - asked]:
            raise MemberError(f"{self.title} needs {wishes_named(lacking)} as well. Add that, or pick another model.")
        if Accepts.END_PHOTO in asked and Accepts.PHOTO not in asked:
            raise MemberError("An end photo needs a photo to begin with. Add that, or leave the end photo out.")
        if spec.size is not Size.NATIVE and spec.size not in self.sizes:
            sizes = joined([str(size) for size in self.sizes])
            raise MemberError(f"{self.title} renders {sizes}, not {spec.size}. Ask for that, or leave the size out.")
        longest = self._rule(self.size_of(spec)).snap(math.inf) / self.fps
        if spec.seconds > self.longest + 0.5:
            raise MemberError(
                f"{self.title} renders at most {self.longest:.1f} s in one go; {spec.seconds:g} s is too long. "
                "Ask for less, or pick another model."
            )
        if spec.seconds > longest + 0.5:
            raise MemberError(
                f"{self.title} renders {self.size_of(spec)} for at most {longest:g} s; {spec.seconds:g} s is too long. "
                "Ask for less, or for a smaller size."
            )

    def size_of(self, spec: ClipSpec) -> Size:
        """The size that will be rendered."""
        return self.default_size if spec.size is Size.NATIVE else spec.size

    def plan(self, spec: ClipSpec, photo: tuple[int, int] | None) -> Plan:
        """Snap a wish to what the model renders. `photo` is (width, height) in pixels; without one, it is landscape."""
        size = self.size_of(spec)
        width, height = self._shape(self.sizes[size], photo or self.sizes[size])
        frames = self._rule(size).snap(spec.seconds * self.fps)
        seconds = frames / self.fps
        quote = max(1, math.ceil(self.price[size] * seconds))
        dollars = self.hosted.microdollars(seconds, size, sound=spec.audible) if self.hosted else 0
        return Plan(width=width, height=height, frames=frames, fps=self.fps, credits=quote, microdollars=dollars)

    def _shape(self, landscape: tuple[int, int], photo: tuple[int, int]) -> tuple[int, int]:
        if self.free_aspect:
            return fitted(landscape, photo, self.multiple)
        width, height = landscape
        return (width, height) if photo[0] >= photo[1] or not self.portrait else (height, width)

    def _rule(self, size: Size) -> FrameRule:
        return self.frames_at.get(size, self.frames)


def _wishes(spec: ClipSpec) -> dict[Accepts, bool]:
    return {
        Accepts.MOTION: bool(spec.motion.strip()),
        Accepts.AVOID: bool(spec.avoid.strip()),
        Accepts.CAMERA: spec.camera is not None,
        Accepts.STRENGTH: spec.strength is not Strength.MEDIUM,
        Accepts.CONSISTENCY: spec.consistency is not None,
        Accepts.PADDING: spec.fit is not Fit.CROP,
        Accepts.SPEECH: bool(spec.speech.strip()),
        Accepts.AMBIENT: bool(spec.ambient.strip()),
        Accepts.CAMERA_DIRECTION: bool(spec.camera_direction.strip()),
        Accepts.SUBJECT: bool(spec.subject.strip()),
        Accepts.SPEED: bool(spec.speed.strip()),
        Accepts.SOUND: spec.sound,
    }


class Catalog:
    """The models by name, in the order of the files; and the tools."""

    def __init__(self, models: dict[str, Model], tools: dict[str, Tool] | None = None) -> None:
        self._models = models
        self.tools: Mapping[str, Tool] = tools or {}

    @classmethod
    def load(cls, own: Path | None = None) -> Self:
        """Read the built-in catalogue, then the host's. Raises `SetupError` that names file, entry and field."""
        models: dict[str, Model] = {}
        tools: dict[str, Tool] = {}
        sources = {f"the built-in {name}": files("clips").joinpath(name) for name in ("catalog.toml", "hosted.toml")}
        for where, source in (sources | ({} if own is None else {str(own): own})).items():
            try:
                content = source.read_bytes()
            except OSError as error:
                raise SetupError(f"ZOETROPE_CATALOG: cannot read {where}: {error.strerror}.") from error
            tables = read_tables(content, where, ("models", "tools"))
            models |= entries(tables["models"], where, Model)
            tools |= entries(tables["tools"], where, Tool)
        return cls(models, tools)

    def __iter__(self) -> Iterator[Model]:
        return iter(self._models.values())

    def get(self, name: str) -> Model | None:
        return self._models.get(name)

    def find(self, name: str) -> Model:
        """A model by the name that a member wrote. Raises `MemberError` with the names there are."""
        model = self._models.get(name.strip().lower())
        if model is None:
            raise MemberError(f"There is no model “{name}”. {instead_of(name, self._models)}")
        return model


def instead_of(name: str, names: Collection[str]) -> str:
    """A sentence for who wrote a name that is not among these: those that it may have meant, or else all there are."""
    bare = {one: _letters(one) for one in names}
    typed = _letters(name)
    near = [one for one in names if typed and typed in bare[one]] or get_close_matches(name.strip().lower(), names, n=2)
    return f"Did you mean {' or '.join(near)}?" if near else f"There are: {', '.join(names)}."


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
