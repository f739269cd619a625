"""The catalogue: every model that a member can pick, as data, and the plan that its rules make of a wish.

Planning is here and not in the engine, because the bot quotes a price before any generator has loaded the model.
"""

import math
import tomllib
from collections.abc import Iterator
from enum import StrEnum
from importlib.resources import files
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from clips.domain import ClipSpec, Plan, Size
from clips.errors import MemberError, SetupError


class EngineKind(StrEnum):
    """How a model runs. `sketch` is labelled as such wherever it shows."""

    SKETCH = "sketch"
    DIFFUSERS = "diffusers"


class Accepts(StrEnum):
    """What a model honours beside the photo."""

    MOTION = "motion"
    AVOID = "avoid"
    CAMERA = "camera"
    STRENGTH = "strength"
    CONSISTENCY = "consistency"
    SEED = "seed"
    VARIATION = "variation"
    END_PHOTO = "end_photo"


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FrameRule(_Entry):
    """A clip has `offset + n * step` frames, between `min` and `max`."""

    offset: int = Field(ge=0)
    step: int = Field(ge=1)
    min: int = Field(ge=1)
    max: int = Field(ge=1)

    def snap(self, wished: float) -> int:
        """The allowed number of frames nearest to the wish."""
        steps = round((min(max(wished, self.min), self.max) - self.offset) / self.step)
        return self.offset + min(steps, (self.max - self.offset) // self.step) * self.step


class Lora(_Entry):
    """Low-rank weights, merged into one component of the model when it is loaded. `file` is a path in `repo`."""

    repo: str
    file: str
    revision: str | None = None
    into: str = "transformer"
    strength: float = 1.0


class Model(_Entry):
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
    price: dict[Size, float]
    accepts: frozenset[Accepts]
    family: str | None = None
    repo: str | None = None
    revision: str | None = None
    steps: int | None = Field(default=None, ge=1)
    guidance: float | None = None
    loras: tuple[Lora, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.default_size not in self.sizes:
            raise ValueError(f"default_size {self.default_size} is not among its sizes")
        if set(self.price) != set(self.sizes):
            raise ValueError("price and sizes must name the same sizes")
        if self.engine is EngineKind.DIFFUSERS and not (self.family and self.repo):
            raise ValueError("a diffusers model needs a family and a repo")
        return self

    @property
    def shortest(self) -> float:
        """Seconds."""
        return self.frames.snap(0) / self.fps

    @property
    def longest(self) -> float:
        """Seconds."""
        return self.frames.snap(math.inf) / self.fps

    def check(self, spec: ClipSpec, *, end_photo: bool = False) -> None:
        """Refuse what the model would ignore or cannot do. Raises `MemberError`."""
        wishes = {
            Accepts.MOTION: bool(spec.motion.strip()),
            Accepts.AVOID: bool(spec.avoid.strip()),
            Accepts.CAMERA: spec.camera is not None,
            Accepts.CONSISTENCY: spec.consistency is not None,
            Accepts.END_PHOTO: end_photo,
        }
        ignored = [wish.replace("_", " ") for wish, wished in wishes.items() if wished and wish not in self.accepts]
        if ignored:
            raise MemberError(f"{self.title} does not take {_and(ignored)}. Leave that out, or pick a model that does.")
        if spec.size is not Size.NATIVE and spec.size not in self.sizes:
            sizes = _and([str(size) for size in self.sizes])
            raise MemberError(f"{self.title} renders {sizes}, not {spec.size}. Ask for that, or leave the size out.")
        if spec.seconds > self.longest + 0.5:
            raise MemberError(
                f"{self.title} renders at most {self.longest:.1f} s in one go; {spec.seconds:g} s is too long. "
                "Ask for less, or pick another model."
            )

    def plan(self, spec: ClipSpec, photo: tuple[int, int]) -> Plan:
        """Snap a wish to what the model renders. `photo` is (width, height) in pixels."""
        size = self.default_size if spec.size is Size.NATIVE else spec.size
        width, height = self._fit(self.sizes[size], photo)
        frames = self.frames.snap(spec.seconds * self.fps)
        quote = max(1, math.ceil(self.price[size] * frames / self.fps))
        return Plan(width=width, height=height, frames=frames, fps=self.fps, credits=quote)

    def _fit(self, landscape: tuple[int, int], photo: tuple[int, int]) -> tuple[int, int]:
        """Width and height with the photo's aspect and at most the area of `landscape`, in multiples."""
        width, height = landscape
        if not self.free_aspect:
            return (width, height) if photo[0] >= photo[1] else (height, width)
        widest = width / height
        aspect = min(max(photo[0] / photo[1], 1 / widest), widest)
        exact = math.sqrt(width * height * aspect)
        # Both neighbours of the exact width, each with the tallest height that keeps the area: the truest aspect wins.
        candidates = [
            (
                across,
                max(
                    self.multiple,
                    min(round(across / aspect / self.multiple), width * height // across // self.multiple)
                    * self.multiple,
                ),
            )
            for across in {
                max(self.multiple, math.floor(exact / self.multiple) * self.multiple),
                max(self.multiple, math.ceil(exact / self.multiple) * self.multiple),
            }
        ]
        return min(candidates, key=lambda fit: (abs(math.log(fit[0] / fit[1] / aspect)), -fit[0] * fit[1]))


class Catalog:
    """The models by name, in the order of the files."""

    def __init__(self, models: dict[str, Model]) -> None:
        self._models = models

    @classmethod
    def load(cls, own: Path | None = None) -> Self:
        """Read the built-in catalogue, then the host's. Raises `SetupError` that names file, entry and field."""
        built_in = files("clips").joinpath("catalog.toml")
        models = _read(built_in.read_text(encoding="utf-8"), "the built-in catalogue")
        if own is not None:
            try:
                models |= _read(own.read_text(encoding="utf-8"), str(own))
            except OSError as error:
                raise SetupError(f"ZOETROPE_CATALOG: cannot read {own}: {error.strerror}.") from error
        return cls(models)

    def __iter__(self) -> Iterator[Model]:
        return iter(self._models.values())

    def get(self, name: str) -> Model | None:
        return self._models.get(name)

    def find(self, name: str) -> Model:
        """A model by the name that a member wrote. Raises `MemberError` with the names there are."""
        model = self._models.get(name.strip().lower())
        if model is None:
            raise MemberError(f"There is no model “{name}”. There are: {', '.join(self._models)}.")
        return model


def _read(text: str, where: str) -> dict[str, Model]:
    try:
        entries = tomllib.loads(text).get("models", {})
        return {name: Model.model_validate({"name": name, **entry}) for name, entry in entries.items()}
    except tomllib.TOMLDecodeError as error:
        raise SetupError(f"{where}: {error}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        name = first["input"].get("name", "?") if isinstance(first["input"], dict) else ""
        field = ".".join(str(part) for part in first["loc"])
        raise SetupError(f"{where}: model {name} {field}: {first['msg']}.") from error


def _and(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
