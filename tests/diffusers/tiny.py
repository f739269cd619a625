"""Models of a few hundred kilobytes with random weights, in the form in which the real ones are published.

The same classes, the same components, the same rules; only the widths and depths are small. `Tiny` is what the tests of
all families know of one; `families` lists them.
"""

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clips.catalog import Catalog, Model
from clips.domain import Plan

LORA = "lora.safetensors"


@dataclass(frozen=True)
class Shot:
    """What a plain pipeline is given, to make what the engine makes of the same."""

    photo: Image.Image
    end_photo: Image.Image | None
    prompt: str
    avoid: str
    seed: int
    plan: Plan
    model: Model

    @property
    def steps(self) -> int:
        return self.model.steps or 0

    @property
    def guidance(self) -> float:
        return self.model.guidance or 0.0


@dataclass(frozen=True)
class Tiny:
    """A tiny model of a family, under the name of its entry in the catalogue.

    `plain` renders a shot with the pipeline alone: frames (n, height, width, 3) from 0 to 1. `changes` replaces fields
    of the entry. `needs` and `refuses` are inputs beside the photo. `streams`: frames come before all are decoded.
    `blurs`: with less memory, each frame is decoded without its neighbours and looks a little different. `sound` is the
    rate of the sound that comes with them, 0 for none.
    """

    entry: str
    save: Callable[[Path], Path]
    plain: Callable[[Path, Shot], NDArray[np.float32]]
    plan: Plan
    changes: Mapping[str, object] = field(default_factory=dict[str, object])
    needs: AbstractSet[str] = frozenset()
    refuses: AbstractSet[str] = frozenset({"end_photo"})
    streams: bool = False
    blurs: bool = False
    sound: int = 0

    def saved(self, shelf: Path) -> Path:
        """Its folder on the shelf, made the first time."""
        folder = shelf / self.entry
        return folder if folder.exists() else self.save(folder)

    def model(self, folder: Path) -> Model:
        """The catalogue's entry over the weights in a folder; its low-rank weights are there too, and its parts from
        elsewhere in `parts`.
        """
        entry = Catalog.load().find(self.entry)
        loras = tuple(lora.model_copy(update={"repo": str(folder), "file": LORA}) for lora in entry.loras)
        parts = {
            name: part.model_copy(update={"repo": str(folder / "parts" / name)}) for name, part in entry.parts.items()
        }
        return entry.model_copy(update={"repo": str(folder), "loras": loras, "parts": parts, **self.changes})
