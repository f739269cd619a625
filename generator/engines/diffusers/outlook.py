"""What a model would take on a GPU, before any of its weights are here: for the command line and the documentation."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from clips.catalog import Model
from generator.engines.diffusers.checkpoint import Checkpoint
from generator.engines.diffusers.estimate import largest, smallest
from generator.engines.diffusers.family import family_of
from generator.engines.diffusers.hub import describe
from generator.engines.diffusers.loading import choose_device, plans_of
from generator.engines.diffusers.memory import GIB, MemoryPlan, choose
from generator.engines.diffusers.published import published

CARDS = (8, 12, 16, 24, 32, 48, 80)
"""GiB of the usual GPUs."""
_RAM = 96 * GIB
"""Free, for what is written down."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """A model's components, and every way to place them on a GPU, the preferred first: for the largest clip that it can
    be asked for, and for the smallest.
    """

    checkpoint: Checkpoint
    plans: tuple[MemoryPlan, ...]
    least: tuple[MemoryPlan, ...]


def outlook(model: Model) -> Outlook:
    """Read headers only, from the model's folder or from the hub. Raises `SetupError`, `RetryableError`."""
    checkpoint, family, gpu = describe(model), family_of(model), torch.device("cuda")
    plans, least = (plans_of(model, family, checkpoint, gpu, clip) for clip in (largest(model), smallest(model)))
    return Outlook(checkpoint, plans, least)


def on_cards(model: Model) -> Mapping[int, MemoryPlan | None]:
    """How the largest clip of a built-in model would be placed on each of the usual GPUs, all of it free; None where it
    does not fit.
    """
    plans = plans_of(model, family_of(model), published(model.name), torch.device("cuda"))
    chosen = {card: choose(plans, card * GIB, _RAM) for card in CARDS}
    return {card: plan if plan.fits(card * GIB, _RAM) else None for card, plan in chosen.items()}


def memory_of(device: torch.device) -> int:
    """Bytes of a GPU's memory, free or not; 0 for a CPU."""
    return torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else 0


def this_gpu(wish: str) -> tuple[str, int] | None:
    """The name and bytes of the GPU that the setting of the device means, free or not; None where it means none here.

    Raises `SetupError` as `choose_device` does.
    """
    device = choose_device(wish)
    if device.type != "cuda":
        return None
    return torch.cuda.get_device_name(device), memory_of(device)
