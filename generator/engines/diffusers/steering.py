"""How a running pipeline is watched and stopped: functions of one of its objects replaced for a while."""

from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Self, cast

import torch

from generator.engines.base import Context


@contextmanager
def replaced(owner: object, name: str, value: object) -> Generator[None]:
    """Give this one object another function of that name; its class's own comes back at the end."""
    setattr(owner, name, value)
    try:
        yield
    finally:
        delattr(owner, name)


class StepBar:
    """In the place of a pipeline's progress bar: each step is told, and is where a cancel takes effect."""

    def __init__(self, context: Context, done: int, total: int, phase: str = "step") -> None:
        self._context = context
        self._done = done
        self._total = total
        self._phase = phase

    def __call__(self, iterable: object = None, total: int | None = None) -> Self:
        """What the pipeline calls to get its bar; how many steps there are is known already."""
        del iterable, total
        self.update(0)
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, n: int = 1) -> None:
        """Called by the pipeline after each step. Raises what `raise_if_cancelled` raises."""
        self._done += n
        self._context.report(self._phase, self._done, self._total)
        self._context.raise_if_cancelled()


class Encodes:
    """The encodes of the last job: the takes of a request, in one job or several, encode its text and photos once.

    The results are the very tensors of the first time, so that a take does not depend on which of them it came from.
    """

    def __init__(self, encoders: tuple[tuple[object, str], ...]) -> None:
        """`encoders` are functions by (owner, name); each is remembered with the arguments of its calls in a job."""
        self._encoders = encoders
        self._known: list[_Encode] = []

    def forget(self) -> None:
        """What is computed next may differ."""
        self._known.clear()

    @contextmanager
    def reused(self, context: Context) -> Generator[None]:
        """Within it the encoders give what is known, and tell what they compute. What it did not use is forgotten."""
        context.report("encode", 0, len(self._encoders))
        used: list[_Encode] = []
        with ExitStack() as stack:
            for done, (owner, name) in enumerate(self._encoders, start=1):
                encoder = self._reusing(getattr(owner, name), context, done, used)
                stack.enter_context(replaced(owner, name, encoder))
            try:
                yield
            finally:
                self._known = [encode.parked() for encode in used]

    def _reusing(
        self, function: Callable[..., object], context: Context, done: int, used: list["_Encode"]
    ) -> Callable[..., object]:
        def encode(*args: object, **kwargs: object) -> object:
            for known in (*used, *self._known):
                if known.encoder == done and _same(known.arguments, (args, kwargs)):
                    break
            else:
                context.raise_if_cancelled()
                known = _Encode(done, (args, kwargs), function(*args, **kwargs))
                context.report("encode", done, len(self._encoders))
            if not any(known is one for one in used):
                used.append(known)
            context.raise_if_cancelled()
            return known.made

        return encode


@dataclass(frozen=True, slots=True, eq=False)
class _Encode:
    encoder: int
    arguments: tuple[tuple[object, ...], dict[str, object]]
    made: object

    def parked(self) -> Self:
        """With its arguments off the GPU: the frames around a photo are a gigabyte there."""
        args, kwargs = self.arguments
        parked = tuple(map(_off_gpu, args)), {name: _off_gpu(value) for name, value in kwargs.items()}
        return replace(self, arguments=parked)


def _off_gpu(value: object) -> object:
    return value.cpu() if isinstance(value, torch.Tensor) else value


def _same(one: object, other: object) -> bool:
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return one.dtype == other.dtype and one.shape == other.shape and torch.equal(one.to(other.device), other)
    if isinstance(one, tuple | list) and isinstance(other, tuple | list):
        ones, others = cast("Sequence[object]", one), cast("Sequence[object]", other)
        return len(ones) == len(others) and all(map(_same, ones, others))
    if isinstance(one, dict) and isinstance(other, dict):
        named, renamed = cast("dict[str, object]", one), cast("dict[str, object]", other)
        return named.keys() == renamed.keys() and all(_same(named[name], renamed[name]) for name in named)
    return type(one) is type(other) and one == other
