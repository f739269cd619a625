"""What a model would take on a GPU, before any of its weights are here: for the command line."""

from dataclasses import dataclass

import torch

from clips.catalog import Model
from generator.engines.diffusers.checkpoint import Checkpoint
from generator.engines.diffusers.family import family_of
from generator.engines.diffusers.hub import describe
from generator.engines.diffusers.loading import choose_device, plans_of
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


def this_gpu(wish: str) -> tuple[str, int] | None:
    """The name and bytes of the GPU that the setting of the device means, free or not; None where it means none here.

    Raises `SetupError` as `choose_device` does.
    """
    device = choose_device(wish)
    if device.type != "cuda":
        return None
    return torch.cuda.get_device_name(device), torch.cuda.get_device_properties(device).total_memory
