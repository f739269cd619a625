"""What a model would take on a GPU, before any of its weights are here: for the command line."""

from dataclasses import dataclass

import torch

from clips.catalog import Model
from generator.engines.diffusers.checkpoint import Checkpoint
from generator.engines.diffusers.family import family_of
from generator.engines.diffusers.hub import describe
from generator.engines.diffusers.loading import plans_of
from generator.engines.diffusers.memory import MemoryPlan


@dataclass(frozen=True, slots=True)
class Outlook:
    """A model's components, and every way to place them on a GPU, the preferred first."""

    checkpoint: Checkpoint
    plans: tuple[MemoryPlan, ...]


def outlook(model: Model) -> Outlook:
    """Read headers only, from the model's folder or from the hub. Raises `SetupError`, `RetryableError`."""
    checkpoint = describe(model)
    return Outlook(checkpoint, plans_of(model, family_of(model), checkpoint, torch.device("cuda")))


def this_gpu() -> tuple[str, int] | None:
    """The name and bytes of the GPU here, free or not."""
    if not torch.cuda.is_available():
        return None
    return torch.cuda.get_device_name(), torch.cuda.get_device_properties(0).total_memory
