"""Parts of a model that wait in RAM and come to the GPU for their turn, one at a time."""

from collections.abc import Callable, Sequence
from itertools import chain

import torch
from torch import nn


def tensors_of(part: nn.Module) -> list[torch.Tensor]:
    """What moves with a part, each once however many layers share it."""
    return list(chain(part.parameters(), part.buffers()))


class Turns:
    """A part's turn begins when it is called and ends when another's begins, or all of them are over.

    Its weights stay in RAM meanwhile, and nothing is copied back. Copies and kernels share the thread's stream: a copy
    is through before what reads it, and memory that a part leaves is used anew only by what comes later there.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._whose: Sequence[torch.Tensor] | None = None
        self._lent: list[tuple[torch.Tensor, torch.Tensor]] = []

    def take(self, part: nn.Module, tensors: Sequence[torch.Tensor]) -> None:
        """Let a part have turns, for which these tensors of it leave the RAM, until the pipeline loses its hooks. They
        have to stay its own: `Module.to` makes other buffers where it changes their type.
        """
        vars(part)["_hf_hook"] = _Turn(part, self, tensors)

    def begin(self, tensors: Sequence[torch.Tensor]) -> None:
        """Bring a part's tensors to the GPU, in place of those that are there. Raises where the GPU is too full."""
        if self._whose is tensors:
            return
        self.end()
        for tensor in tensors:
            self._lent.append((tensor, tensor.data))
            tensor.data = tensor.data.to(self.device, non_blocking=True)
        self._whose = tensors

    def end(self) -> None:
        """Leave the GPU."""
        for tensor, kept in self._lent:
            tensor.data = kept
        self._lent.clear()
        self._whose = None

    def ended_by(self, function: Callable[[], object]) -> Callable[[], None]:
        """The function, with the end of all turns after it."""

        def ending() -> None:
            try:
                function()
            finally:
                self.end()

        return ending


class _Turn:
    """Begins a part's turn where torch and diffusers do something with it. As accelerate's hooks are, which diffusers
    looks for. Not around `forward`: its streaming, once it has seen in which order layers run, puts that back.
    """

    def __init__(self, part: nn.Module, turns: Turns, tensors: Sequence[torch.Tensor]) -> None:
        self._turns = turns
        self._tensors = tensors
        self._hook = part.register_forward_pre_hook(self.pre_forward)
        self.execution_device = turns.device
        """By which a pipeline knows where it computes."""

    def pre_forward(self, *_: object) -> None:
        """Called before the part runs, and before a VAE encodes or decodes."""
        self._turns.begin(self._tensors)

    def detach_hook(self, _: nn.Module) -> None:
        """Called when the pipeline's hooks are removed."""
        self._hook.remove()
        self._turns.end()
