"""Models of a few hundred kilobytes with random weights, in the form in which the real ones are published.

The same classes, the same components, the same rules; only the widths and depths are small. `Tiny` is what the tests of
all families know of one; `families` lists them.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np
import torch
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from numpy.typing import NDArray
from PIL import Image

from clips.catalog import Catalog, Model
from clips.domain import Plan

LORA = "lora.safetensors"

Made = tuple[Sequence[NDArray[np.float32]], ...]


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


def plain(
    pipeline: type[DiffusionPipeline],
    parts: Callable[[Path], Mapping[str, object]] = lambda _: {},
    frames: Callable[[int], int] = lambda planned: planned,
) -> Callable[[Path, Shot], NDArray[np.float32]]:
    """See `Tiny`. `parts` are those from beside the folder, `frames` how many to ask for to get the planned ones."""

    def render(folder: Path, shot: Shot) -> NDArray[np.float32]:
        pipe = cast("Callable[..., Made]", pipeline.from_pretrained(folder, **parts(folder)))
        called = inspect.signature(pipe).parameters
        wishes = {
            "image": shot.photo,
            "last_image": shot.end_photo,
            "prompt": shot.prompt,
            "negative_prompt": shot.avoid,
            "height": shot.plan.height,
            "width": shot.plan.width,
            "num_frames": frames(shot.plan.frames),
            "num_inference_steps": shot.steps,
            "guidance_scale": shot.guidance,
            "generator": torch.Generator("cpu").manual_seed(shot.seed),
            "output_type": "np",
            "return_dict": False,
        }
        return pipe(**{name: wish for name, wish in wishes.items() if name in called})[0][0]

    return render
