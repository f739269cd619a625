"""A worker's side of the engine protocol: frames are collected, progress is noted, cancels are planned."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np
from diffusers.pipelines.wan.pipeline_wan_i2v import WanImageToVideoPipeline
from numpy.typing import NDArray

from clips.domain import ClipSpec, Plan
from clips.errors import CancelledError
from generator.engines.base import Job, TakeSeed
from generator.engines.diffusers.engine import DiffusersEngine

PLAN = Plan(width=96, height=64, frames=13, fps=24, credits=1)


class Collected:
    """A sink that keeps what it gets."""

    def __init__(self) -> None:
        self.chunks: dict[int, list[NDArray[np.uint8]]] = {}

    def frames(self, take: int, frames: NDArray[np.uint8]) -> None:
        self.chunks.setdefault(take, []).append(frames)

    def file(self, take: int, path: Path) -> None:
        raise AssertionError(f"take {take} comes as frames, not as {path}")

    def clip(self, take: int = 0) -> NDArray[np.uint8]:
        return np.concatenate(self.chunks[take])


@dataclass
class Told:
    """A context that notes what it is told, and is cancelled once `cancel_at` says so of the last report."""

    cancel_at: Callable[[tuple[str, int, int]], bool] = field(default=lambda _: False)
    reports: list[tuple[str, int, int]] = field(default_factory=list[tuple[str, int, int]])

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
