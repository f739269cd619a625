"""Low-rank weights, merged into a model when it is loaded: afterwards a render costs what it costs without them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, cast

import torch
from safetensors.torch import load_file
from torch import nn

from clips.errors import SetupError
from clips.repositories import Lora


class ReadsLoras(Protocol):
    """A pipeline's class that knows in which forms the low-rank weights of its models are published."""

    @classmethod
    def lora_state_dict(cls, weights: dict[str, torch.Tensor], /) -> dict[str, torch.Tensor]: ...


def merge(pipeline: type, parts: Mapping[str, object], lora: Lora, file: Path) -> None:
    """Add the file's weights to a component's own, in float32. Raises `SetupError` where they are not for it."""
    try:
        named = cast("type[ReadsLoras]", pipeline).lora_state_dict(load_file(file))
        for name in sorted(named):
            owner, _, path = name.partition(".")
            path, _, kind = path.rpartition(".lora_")
            module = cast("nn.Module", parts[lora.into if owner == "transformer" else owner])
            if kind == "B.weight":
                up, down = named[name].float(), named[name.replace(".lora_B.", ".lora_A.")].float()
                _add(module.get_submodule(path).weight, up.flatten(1) @ down.flatten(1), lora.strength)
            elif kind == "B.bias":
                _add(module.get_submodule(path).bias, named[name], lora.strength)
    except (AttributeError, KeyError, RuntimeError, ValueError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise SetupError(
            f"{lora.file} of {lora.repo} does not fit into {lora.into} ({reason}). Mend `loras` in the catalogue."
        ) from error


@torch.no_grad()
def _add(parameter: object, change: torch.Tensor, strength: float) -> None:
    if not isinstance(parameter, nn.Parameter):
        raise KeyError("it has no such weights")
    added = change.to(parameter.device, torch.float32).reshape(parameter.shape) * strength
    parameter.copy_(parameter.float() + added)
