"""Tensors that have shapes and no numbers, so that gigabytes cost nothing, and how many bytes of them are alive."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any
from weakref import finalize

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Live(TorchDispatchMode):
    """Counts the bytes of the tensors that are alive, but for the numbers of a network."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.peak = 0
        held = (*network.parameters(), *network.buffers())
        self._sizes = {weight.untyped_storage()._cdata: 0 for weight in held}  # pyright: ignore[reportPrivateUsage]

    def __torch_dispatch__(
        self, func: Any, types: object, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> object:
        made = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(made):
            if isinstance(leaf, torch.Tensor):
                storage = leaf.untyped_storage()
                key = storage._cdata  # pyright: ignore[reportPrivateUsage] - views share it
                if key not in self._sizes:
                    self._sizes[key] = storage.nbytes()
                    finalize(storage, self._sizes.pop, key)
        self.peak = max(self.peak, sum(self._sizes.values()))
        return made


@contextmanager
def without_numbers(dtype: torch.dtype) -> Generator[None]:
    """What is made meanwhile is of this type, and has none."""
    usual = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
            yield
    finally:
        torch.set_default_dtype(usual)
