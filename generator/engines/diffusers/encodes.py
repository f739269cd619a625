"""What encoders made of texts and photos, remembered: the takes of a request encode theirs once.

The queue is fair, so that takes of several requests alternate. What their jobs have in common is known by small keys,
and waits in RAM between renders: the GPU holds none of it then.
"""

from collections import OrderedDict
from collections.abc import Callable, Generator, Hashable, Mapping
from contextlib import ExitStack, contextmanager
from copy import copy
from dataclasses import dataclass
from typing import Self, cast

import torch

from generator.engines.base import Context
from generator.engines.diffusers.fingerprints import fingerprint
from generator.engines.diffusers.steering import replaced

_LIMIT = 2 * 1024**3
"""Bytes. Most requests have some 20 MB; LTX-2, which reads every layer of its text encoder, nearly a gigabyte."""

_Key = tuple[int, Hashable]


class Encodes:
    """The encodes of the last jobs, those unused for longest forgotten where they become too many.

    The results are bit for bit those of the first time, so that a take does not depend on where they come from.
    """

    def __init__(self, encoders: tuple[tuple[object, str], ...], limit: int = _LIMIT) -> None:
        """`encoders` are functions by (owner, name). What the last job used stays, even above `limit` bytes."""
        self._encoders = encoders
        self._limit = limit
        self._known: OrderedDict[_Key, _Away] = OrderedDict()

    def forget(self) -> None:
        """What is computed next may differ."""
        self._known.clear()

    @contextmanager
    def reused(self, context: Context) -> Generator[None]:
        """Within it the encoders give what is known, and tell that they are done. What they computed is remembered,
        also where the render fails later; not of what has no fingerprint.
        """
        context.report("encode", 0, len(self._encoders))
        job = _Job(self._known, context, len(self._encoders))
        with ExitStack() as stack:
            for number, (owner, name) in enumerate(self._encoders, start=1):
                stack.enter_context(replaced(owner, name, job.reusing(number, getattr(owner, name))))
            try:
                yield
            finally:
                self._remember(job.made)

    def _remember(self, made: Mapping[_Key, object]) -> None:
        for key, encode in made.items():
            if key not in self._known:
                self._known[key] = _Away.of(encode)
            self._known.move_to_end(key)
        held = sum(away.size for away in self._known.values())
        while held > self._limit and (oldest := next(iter(self._known))) not in made:
            held -= self._known.pop(oldest).size


class _Job:
    """The encodes of one job, on the devices where they are used."""

    def __init__(self, known: Mapping[_Key, "_Away"], context: Context, encoders: int) -> None:
        self.made: dict[_Key, object] = {}
        self._known = known
        self._context = context
        self._encoders = encoders
        self._done = 0

    def reusing(self, number: int, function: Callable[..., object]) -> Callable[..., object]:
        def encode(*args: object, **kwargs: object) -> object:
            content = fingerprint((args, kwargs))
            if content is None:
                return function(*args, **kwargs)
            key = number, content
            if key not in self.made:
                known = self._known.get(key)
                if known is None:
                    self._context.raise_if_cancelled()
                    self.made[key] = function(*args, **kwargs)
                else:
                    self.made[key] = known.back()
                self._done = max(self._done, number)
                self._context.report("encode", self._done, self._encoders)
            self._context.raise_if_cancelled()
            return self.made[key]

        return encode


@dataclass(frozen=True, slots=True)
class _Away:
    """An encode with its tensors in RAM, and the bytes that they take."""

    encode: object
    size: int

    @classmethod
    def of(cls, encode: object) -> Self:
        """Views stay views of one memory: bits and strides decide what is computed from them."""
        storages: dict[int, torch.UntypedStorage] = {}

        def away(tensor: object) -> object:
            if not isinstance(tensor, torch.Tensor):
                return tensor
            there = tensor.untyped_storage()
            here = storages.get(there.data_ptr())
            if here is None:
                here = storages[there.data_ptr()] = there.cpu()
            offset = int(tensor.storage_offset())
            return _Tensor(here, tensor.dtype, offset, tensor.size(), tensor.stride(), tensor.device)

        return cls(_mapped(encode, away), sum(storage.nbytes() for storage in storages.values()))

    def back(self) -> object:
        """The encode where it was."""
        storages: dict[int, torch.UntypedStorage] = {}

        def here(tensor: object) -> object:
            return tensor.back(storages) if isinstance(tensor, _Tensor) else tensor

        return _mapped(self.encode, here)


@dataclass(frozen=True, slots=True)
class _Tensor:
    """One in RAM, and what it was."""

    storage: torch.UntypedStorage
    dtype: torch.dtype
    offset: int
    size: torch.Size
    stride: tuple[int, ...]
    device: torch.device

    def back(self, storages: dict[int, torch.UntypedStorage]) -> torch.Tensor:
        """As it was. `storages` are those that are back already."""
        known = storages.get(self.storage.data_ptr())
        if known is None:
            known = storages[self.storage.data_ptr()] = self.storage.to(device=self.device)
        return torch.empty(0, dtype=self.dtype, device=self.device).set_(known, self.offset, self.size, self.stride)


def _mapped(value: object, change: Callable[[object], object]) -> object:
    """What encoders give, with every part of it changed: tensors in tuples, outputs and distributions."""
    if isinstance(value, tuple | list):
        parts = [_mapped(part, change) for part in cast("tuple[object]", value)]
        return parts if isinstance(value, list) else tuple(parts)
    if isinstance(value, torch.Tensor) or not hasattr(value, "__dict__"):
        return change(value)
    twin = copy(value)
    for name, part in vars(value).items():
        setattr(twin, name, _mapped(part, change))
    return twin
