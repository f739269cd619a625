"""Low-rank weights, merged into a model when it is loaded: afterwards a render costs what it costs without them."""

from collections.abc import Generator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self, cast

import torch
from safetensors.torch import load_file
from torch import nn

from clips.errors import SetupError
from clips.repositories import Lora
from generator.engines.diffusers.gpu_memory import is_out_of_memory


class ReadsLoras(Protocol):
    """A pipeline's class that knows in which forms the low-rank weights of its models are published."""

    @classmethod
    def lora_state_dict(cls, weights: dict[str, torch.Tensor], /) -> dict[str, torch.Tensor]: ...


@dataclass(frozen=True, slots=True)
class LowRank:
    """A file's weights, by component and then by the path of what each changes there."""

    lora: Lora
    weights: Mapping[str, Mapping[str, torch.Tensor]]

    @classmethod
    def read(cls, pipeline: type, lora: Lora, file: Path, components: AbstractSet[str]) -> Self:
        """Raises `SetupError` where it holds none, or some for what is not among the components."""
        with _refusing(lora):
            named = cast("type[ReadsLoras]", pipeline).lora_state_dict(load_file(file))
            weights: dict[str, dict[str, torch.Tensor]] = {}
            for name, tensor in named.items():
                owner, _, path = name.partition(".")
                weights.setdefault(lora.into if owner == "transformer" else owner, {})[path] = tensor
            changed = {component for component, named in weights.items() if _ups(named)}
            if not changed:
                raise ValueError("it holds no low-rank weights")
            if strangers := changed - components:
                raise ValueError(f"the model has no {' or '.join(sorted(strangers))}")
            return cls(lora, weights)

    def merge(self, name: str, component: object) -> None:
        """Add what is for this component to its own weights, in float32. Raises `SetupError` where it does not fit."""
        named = self.weights.get(name, {})
        with _refusing(self.lora):
            for up in _ups(named):
                path, _, kind = up.rpartition(".lora_B.")
                down = named[up.replace(".lora_B.", ".lora_A.")] if kind == "weight" else None
                module = cast("nn.Module", component).get_submodule(path)
                _add(getattr(module, kind), named[up], down, self.lora.strength)


def _ups(named: Mapping[str, torch.Tensor]) -> list[str]:
    return sorted(name for name in named if name.endswith((".lora_B.weight", ".lora_B.bias")))


@contextmanager
def _refusing(lora: Lora) -> Generator[None]:
    try:
        yield
    except (AttributeError, KeyError, RuntimeError, ValueError, OSError) as error:
        if is_out_of_memory(error):
            raise
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise SetupError(
            f"{lora.file} of {lora.repo} does not fit into {lora.into} ({reason}). Mend `loras` in the catalogue."
        ) from error


@torch.no_grad()
def _add(parameter: object, up: torch.Tensor, down: torch.Tensor | None, strength: float) -> None:
    """Multiplied where the parameter is: on a GPU that is nothing, on a processor a minute for the largest."""
    if not isinstance(parameter, nn.Parameter):
        raise KeyError("it has no such weights")
    change = up.to(parameter.device, torch.float32)
    if down is not None:
        change = change.flatten(1) @ down.to(parameter.device, torch.float32).flatten(1)
    parameter.copy_(parameter.float() + change.reshape(parameter.shape) * strength)
