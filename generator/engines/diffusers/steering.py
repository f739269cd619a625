"""How a running pipeline is watched and stopped: functions of one of its objects replaced for a while."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Self

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
