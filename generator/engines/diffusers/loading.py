"""From a folder of weights to a pipeline on its device: component by component, so that progress can be told."""

from collections.abc import Callable
from enum import StrEnum
from importlib import import_module
from inspect import signature

import torch
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

from clips.errors import SetupError
from generator.engines.diffusers.family import Family
from generator.engines.diffusers.weights import Advance, Sources, numbers

_ROOM = 1.2  # the share of the weights that a render needs beside them, roughly; too little is mended by offloading


class Placement(StrEnum):
    """Where the weights are while nothing renders."""

    WHOLE = "whole"
    OFFLOADED = "offloaded"


def choose_device(wish: str) -> torch.device:
    """`auto` is a CUDA GPU if there is one. Raises `SetupError` where the wish cannot be had."""
    if wish == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wish)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise SetupError(
            f"ZOETROPE_DEVICE: {wish} cannot be used here ({reason}). Take `auto`, `cpu`, or a GPU that torch sees."
        ) from error
    return device


def usual_type(device: torch.device) -> torch.dtype:
    """What weights are loaded as where the family does not ask for more."""
    return torch.bfloat16 if device.type == "cuda" else torch.float32


def load_pipeline(
    family: type[Family[DiffusionPipeline]], sources: Sources, device: torch.device, begin: Callable[[int], Advance]
) -> tuple[DiffusionPipeline, Placement]:
    """Load every component, the family's precise ones in float32, the others in the device's own type.

    The weights go to the device if they fit into what is free, with room to render; else each goes there for its own
    part of a render. `begin` is told how many bytes that is. Raises `SetupError` where the folder does not fit.
    """
    folder = sources.folder
    for logging in (diffusers_logging, transformers_logging):
        logging.disable_progress_bar()
        logging.set_verbosity_error()  # they warn at each render of what is meant so
    taken = signature(family.pipeline).parameters  # a safety checker, for one, is of no use to PIA
    index = {name: kind for name, kind in sources.components().items() if name in taken}
    dtypes = {name: torch.float32 if name in family.precise else usual_type(device) for name in index}
    sizes = {name: numbers(sources.at(name)) * dtypes[name].itemsize for name in index}
    placement = choose_placement(device, sum(sizes.values()))
    advance = begin(sum(sizes.values()))
    parts: dict[str, object] = {}
    try:
        for name, (library, kind) in index.items():
            if not sizes[name] and name not in sources.parts:
                continue  # tokenizer, scheduler …: small, and the pipeline's to load where they are its own
            loader = getattr(import_module(_package(library)), kind)
            if not sizes[name]:
                parts[name] = loader.from_pretrained(sources.at(name))
                continue
            advance(0)
            part = loader.from_pretrained(sources.at(name), dtype=dtypes[name], use_safetensors=True)
            parts[name] = part.to(device) if placement is Placement.WHOLE else part
            advance(sizes[name])
        pipe = family.assemble(sources, parts)
    except torch.OutOfMemoryError as error:
        raise SetupError(f"The GPU is too full for {folder.name}. End what else runs on it, and try again.") from error
    except (OSError, ValueError, KeyError, AttributeError, ImportError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise SetupError(f"{folder} cannot be loaded as {family.pipeline.__name__}: {reason}") from error
    if placement is Placement.OFFLOADED:
        pipe.enable_model_cpu_offload(device=device)
    return pipe, placement


def _package(library: str) -> str:
    """Where an index's library is: a few pipelines have components of their own, such as the vocoder of LTX-2."""
    return library if library in {"diffusers", "transformers"} else f"diffusers.pipelines.{library}"


def choose_placement(device: torch.device, weights: int) -> Placement:
    """Whole, where the weights (in bytes) and a render fit into the GPU memory that is free now."""
    if device.type != "cuda":
        return Placement.WHOLE
    free, _ = torch.cuda.mem_get_info(device)
    return Placement.WHOLE if weights * _ROOM <= free else Placement.OFFLOADED
