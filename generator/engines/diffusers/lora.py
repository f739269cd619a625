"""Low-rank weights, merged into a model when it is loaded: afterwards a render costs what it costs without them."""

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch
from torch import nn

from clips.errors import SetupError, first_line
from clips.repositories import Lora
from generator.engines.diffusers.low_rank import DOWN, UP, low_rank


def merge(pipeline: type, parts: Mapping[str, object], lora: Lora, file: Path) -> None:
    """Add the file's weights to a component's own, in float32. Raises `SetupError` where they are not for it."""
    try:
        _merge(low_rank(pipeline, file), parts, lora)
    except (AttributeError, KeyError, RuntimeError, ValueError, OSError) as error:
        raise SetupError(
            f"{lora.file} of {lora.repo} does not fit into {lora.into} ({first_line(error)}). Mend `loras` in the "
            "catalogue."
        ) from error


def _merge(named: Mapping[str, torch.Tensor], parts: Mapping[str, object], lora: Lora) -> None:
    for name in named:
        if name.endswith(DOWN):
            continue
        owner, _, path = name.partition(".")
        path, _, kind = path.rpartition(".lora_B.")
        module = cast("nn.Module", parts[lora.into if owner == "transformer" else owner]).get_submodule(path)
        down = named[name.removesuffix(UP) + DOWN] if name.endswith(UP) else None
        _add(getattr(module, kind), named[name], down, lora.strength)


@torch.no_grad()
def _add(parameter: object, up: torch.Tensor, down: torch.Tensor | None, strength: float) -> None:
    """Multiplied where the parameter is: on a GPU that is nothing, on a processor a minute for the largest."""
    if not isinstance(parameter, nn.Parameter):
        raise KeyError("it has no such weights")
    change = up.to(parameter.device, torch.float32)
    if down is not None:
        change = change.flatten(1) @ down.to(parameter.device, torch.float32).flatten(1)
    parameter.copy_(parameter.float() + change.reshape(parameter.shape) * strength)
