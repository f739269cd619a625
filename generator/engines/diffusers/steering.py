"""How a running pipeline is watched and stopped: functions of one of its objects replaced for a while."""

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
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

    def __init__(self, context: Context, done: int, total: int) -> None:
        self._context = context
        self._done = done
        self._total = total

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
        self._context.report("step", self._done, self._total)
        self._context.raise_if_cancelled()


@contextmanager
def encoding_once(encoders: tuple[tuple[object, str], ...], context: Context) -> Generator[None]:
    """Within it each encoder computes once what it is asked for; every take after the first gets that again."""
    done = 0

    def told() -> None:
        nonlocal done
        done += 1
        context.report("encode", done, len(encoders))

    context.report("encode", 0, len(encoders))
    with ExitStack() as stack:
        for owner, name in encoders:
            stack.enter_context(replaced(owner, name, _Once(getattr(owner, name), context, told)))
        yield


class _Once:
    """A function that remembers its last arguments and what came of them."""

    def __init__(self, function: Callable[..., object], context: Context, told: Callable[[], None]) -> None:
        self._function = function
        self._context = context
        self._told = told
        self._known: tuple[object, object] | None = None

    def __call__(self, *args: object, **kwargs: object) -> object:
        if self._known is not None and _same(self._known[0], (args, kwargs)):
            return self._known[1]
        self._context.raise_if_cancelled()
        made = self._function(*args, **kwargs)
        self._known = (args, kwargs), made
        self._told()
        self._context.raise_if_cancelled()
        return made


def _same(one: object, other: object) -> bool:
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return one.device == other.device and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, tuple) and isinstance(other, tuple):
        ones, others = cast("tuple[object, ...]", one), cast("tuple[object, ...]", other)
        return len(ones) == len(others) and all(map(_same, ones, others))
    if isinstance(one, dict) and isinstance(other, dict):
        named, renamed = cast("dict[str, object]", one), cast("dict[str, object]", other)
        return named.keys() == renamed.keys() and all(_same(named[name], renamed[name]) for name in named)
    return type(one) is type(other) and one == other
