"""Weights on their way from safetensors into a model, told tensor by tensor: a long load shows that it lives, and can
be ended.

Neither diffusers nor transformers has a hook for that. In each there is one place where every tensor passes, in the
calling thread, and `told` looks on there: what diffusers takes out of a file, and what transformers puts into a model.
"""

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from mmap import PAGESIZE
from pathlib import Path
from types import ModuleType

import safetensors.torch
import torch
from transformers import core_model_loading

from generator.engines.diffusers.download import Advance
from generator.engines.diffusers.weights import numbers, weight_files


def size_of(files: Iterable[Path]) -> int:
    """Bytes of files."""
    return sum(file.stat().st_size for file in files)


@contextmanager
def told(folder: Path, advance: Advance) -> Generator[None]:
    """In this block `from_pretrained` loads the component of a folder. Tells the bytes of its files, all of them by the
    end; what `advance` raises comes out of the block.
    """
    left, count = size_of(weight_files(folder)), numbers(folder)
    each = left / max(count, 1)
    load_file, set_param = safetensors.torch.load_file, core_model_loading.set_param_for_module

    def tell(tensor: torch.Tensor) -> None:
        nonlocal left
        _read(tensor)
        size = min(round(tensor.numel() * each), left)
        left -= size
        advance(size)

    def load_and_tell(*arguments: object, **named: object) -> dict[str, torch.Tensor]:
        return _Told(load_file(*arguments, **named), tell)  # pyright: ignore[reportArgumentType] - passed through

    def set_and_tell(model: object, name: str, tensor: torch.Tensor, *others: object, **named: object) -> None:
        set_param(model, name, tensor, *others, **named)  # pyright: ignore[reportArgumentType] - passed through
        tell(tensor)

    advance(0)
    with (
        _instead(safetensors.torch, "load_file", load_and_tell),
        _instead(core_model_loading, "set_param_for_module", set_and_tell),
    ):
        yield
    advance(left)


class _Told(dict[str, torch.Tensor]):
    """A file's tensors, each told once it was taken out and used."""

    def __init__(self, tensors: dict[str, torch.Tensor], tell: Callable[[torch.Tensor], None]) -> None:
        super().__init__(tensors)
        self._tell = tell

    def items(self) -> Iterator[tuple[str, torch.Tensor]]:  # pyright: ignore[reportIncompatibleMethodOverride] - diffusers only iterates
        for name, tensor in super().items():
            yield name, tensor
            self._tell(tensor)


def _read(tensor: torch.Tensor) -> None:
    """Have it read from the disk now. Weights that stay in RAM as they are in the file are only mapped by then, and
    would be read in the first render.
    """
    if tensor.device.type == "cpu":
        tensor.detach().reshape(-1).view(torch.uint8)[::PAGESIZE].sum()


@contextmanager
def _instead(module: ModuleType, name: str, function: object) -> Generator[None]:
    usual = getattr(module, name)
    setattr(module, name, function)
    try:
        yield
    finally:
        setattr(module, name, usual)
