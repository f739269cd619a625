"""Low-rank weights, merged into a model when it is loaded: afterwards a render costs what it costs without them."""

from collections.abc import Generator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self, cast

import torch
from torch import nn

from clips.errors import SetupError, first_line
from clips.repositories import Lora
from generator.engines.diffusers.gpu_memory import is_out_of_memory
from generator.engines.diffusers.low_rank import DOWN, UP, low_rank


@dataclass(frozen=True, slots=True)
class LowRank:
    """A file's weights, by component and then by the path of what each changes there."""

    lora: Lora
    weights: Mapping[str, Mapping[str, torch.Tensor]]

    @classmethod
    def read(cls, pipeline: type, lora: Lora, file: Path, components: AbstractSet[str]) -> Self:
        """Raises `SetupError` where it holds none, or some for what is not among the components."""
        with _refusing(lora):
            weights: dict[str, dict[str, torch.Tensor]] = {}
            for name, tensor in low_rank(pipeline, file).items():
                owner, _, path = name.partition(".")
                weights.setdefault(lora.into if owner == "transformer" else owner, {})[path] = tensor
            if strangers := weights.keys() - components:
                raise ValueError(f"the model has no {' or '.join(sorted(strangers))}")
            return cls(lora, weights)

    def merge(self, name: str, component: object) -> None:
        """Add what is for this component to its own weights, in float32. Raises `SetupError` where it does not fit."""
        named = self.weights.get(name, {})
        with _refusing(self.lora):
            for change, up in named.items():
                if change.endswith(DOWN):
                    continue
                path, _, kind = change.rpartition(".lora_B.")
                module = cast("nn.Module", component).get_submodule(path)
                down = named[change.removesuffix(UP) + DOWN] if change.endswith(UP) else None
                _add(getattr(module, kind), up, down, self.lora.strength)


@contextmanager
def _refusing(lora: Lora) -> Generator[None]:
    try:
        yield
    except (AttributeError, KeyError, RuntimeError, ValueError, OSError) as error:
        if is_out_of_memory(error):
            raise
        raise SetupError(
            f"{lora.file} of {lora.repo} does not fit into {lora.into} ({first_line(error)}). Mend `loras` in the "
            "catalogue."
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
