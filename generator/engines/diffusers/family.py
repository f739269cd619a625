"""What differs from one family of models to the next. An adapter answers these questions; the runner does the rest."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

import torch
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from PIL import Image

from clips.domain import ClipSpec, Plan

Emit = Callable[[torch.Tensor], None]
"""Takes the next frames of a decode: (1, 3, n, height, width), RGB, -1 to 1."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What all takes of a job share. `photo` is RGB and has the plan's size already."""

    spec: ClipSpec
    plan: Plan
    photo: Image.Image
    steps: int
    guidance: float


class Family(Protocol):
    """An adapter, made with its loaded pipeline. Called from the engine's thread only, without gradients."""

    pipeline: ClassVar[type[DiffusionPipeline]]
    """Explicit: several repositories name another class than the one that takes a photo."""

    precise: ClassVar[frozenset[str]]
    """Components that stay in float32 on every device."""

    steps: ClassVar[int]
    """Where the catalogue gives none; so `guidance`."""

    guidance: ClassVar[float]

    def __init__(self, pipe: DiffusionPipeline) -> None: ...

    def encoders(self) -> tuple[tuple[object, str], ...]:
        """(owner, name) of the pipeline's functions that give every take of a job the same: each is run once a job."""
        ...

    def noise_shape(self, plan: Plan, inputs: Mapping[str, Path]) -> tuple[int, ...]:
        """The shape of a take's noise. Raises `SetupError` for a plan or `MemberError` for an input that the family
        would silently change or ignore.
        """
        ...

    def denoise(self, scene: Scene, noise: torch.Tensor) -> torch.Tensor:
        """Run the pipeline from this noise to latents, on the pipeline's device."""
        ...

    def decode(self, latents: torch.Tensor, emit: Emit) -> None:
        """Turn latents into the plan's frames, emitted in order and as soon as they are there."""
        ...

    def tile(self) -> None:
        """From now on encode and decode in tiles: far less memory, seams that are blended."""
        ...
