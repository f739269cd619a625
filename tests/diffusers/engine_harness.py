"""A worker's side of the engine protocol: frames are collected, progress is noted, cancels are planned."""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np
from diffusers.pipelines.wan.pipeline_wan_i2v import WanImageToVideoPipeline
from numpy.typing import NDArray
from torch import nn

from clips.domain import ClipSpec, Plan
from clips.errors import CancelledError
from generator.engines.base import Job, TakeSeed
from generator.engines.diffusers.engine import DiffusersEngine
from generator.engines.diffusers.family import Grid

PLAN = Plan(width=96, height=64, frames=13, fps=24, credits=1)


Report = tuple[str, int, int]
"""Phase, done, total."""


@dataclass(frozen=True)
class Heard:
    """The sound of a take."""

    samples: NDArray[np.float32]
    rate: int


class Collected:
    """A sink that keeps what it gets."""

    def __init__(self) -> None:
        self.chunks: dict[int, list[NDArray[np.uint8]]] = {}
        self.sounds: dict[int, Heard] = {}

    def frames(self, take: int, frames: NDArray[np.uint8]) -> None:
        self.chunks.setdefault(take, []).append(frames)

    def file(self, take: int, path: Path) -> None:
        raise AssertionError(f"take {take} comes as frames, not as {path}")

    def sound(self, take: int, samples: NDArray[np.float32], rate: int) -> None:
        assert take not in self.sounds, "the whole of it at once"
        self.sounds[take] = Heard(samples, rate)

    def clip(self, take: int = 0) -> NDArray[np.uint8]:
        return np.concatenate(self.chunks[take])


@dataclass
class Told:
    """A context that notes what it is told, and is cancelled once `cancel_at` says so of the last report."""

    cancel_at: Callable[[Report], bool] = field(default=lambda _: False)
    reports: list[Report] = field(default_factory=list[Report])

    def report(self, phase: str, done: int, total: int) -> None:
        self.reports.append((phase, done, total))

    def raise_if_cancelled(self) -> None:
        if self.reports and self.cancel_at(self.reports[-1]):
            raise CancelledError("the member cancelled")

    @property
    def phases(self) -> list[str]:
        """The phases in their order, each run of reports once."""
        names = [phase for phase, _, _ in self.reports]
        return [name for position, name in enumerate(names) if position == 0 or names[position - 1] != name]


def job_of(
    photo: Path, *seeds: int, spec: ClipSpec | None = None, plan: Plan = PLAN, takes: Sequence[TakeSeed] = ()
) -> Job:
    """A job with a take a seed, or with these takes."""
    return Job(
        spec=spec or ClipSpec(model="tiny", motion="the leaves rustle", avoid="blur"),
        plan=plan,
        inputs={"photo": photo},
        takes=takes or [TakeSeed(index=index, seed=seed) for index, seed in enumerate(seeds)],
    )


def pipe_of(engine: DiffusersEngine) -> WanImageToVideoPipeline:
    """The pipeline inside, for tests that break it."""
    return cast("WanImageToVideoPipeline", engine._runner._pipe)  # pyright: ignore[reportPrivateUsage]


def grid_of(engine: DiffusersEngine) -> Grid:
    """What the loaded model renders."""
    return engine._runner._family.grid  # pyright: ignore[reportPrivateUsage]


def network_of(engine: DiffusersEngine) -> nn.Module:
    """What the pipeline inside calls in every step."""
    parts = pipe_of(engine).components
    return parts.get("unet") or parts["transformer"]


@contextmanager
def failing(module: nn.Module, errors: list[RuntimeError], after: int = 0) -> Generator[list[int]]:
    """Raise the errors, one a call, from the call after the first `after` on; then work again. Counts the calls."""
    calls: list[int] = []

    def fail(*_: object) -> None:
        calls.append(1)
        if len(calls) > after and errors:
            raise errors.pop(0).with_traceback(None)  # as one that was never raised before

    hook = module.register_forward_pre_hook(fail)
    try:
        yield calls
    finally:
        hook.remove()
