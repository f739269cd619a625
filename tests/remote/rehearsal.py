"""What an engine meets in the tests: a context that remembers, and a sink that keeps what it is given."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clips.catalog import Model
from clips.domain import ClipSpec, Plan, Size, TakeId
from clips.ffmpeg import Encoded, probe
from clips.hosted_jobs import HostedJob, Order, Outcome
from clips.servers import Server
from generator.engines.base import Job, TakeSeed

PLAN = Plan(width=64, height=48, frames=17, fps=16, credits=80)


@dataclass
class Circumstances:
    """A `Context`. `stop` is raised at the first look at whether to go on that comes `after` so many reports."""

    stop: Exception | None = None
    after: int = 0
    reports: list[tuple[str, int, int]] = field(default_factory=list[tuple[str, int, int]])

    def report(self, phase: str, done: int, total: int) -> None:
        self.reports.append((phase, done, total))

    def raise_if_cancelled(self) -> None:
        if self.stop is not None and len(self.reports) > self.after:
            raise self.stop

    @property
    def steps(self) -> list[int]:
        return [done for phase, done, _ in self.reports if phase == "step"]


@dataclass
class Notes:
    """A `Memory`, for as long as the test lasts. `said` is what was written into it, in order."""

    external_id: str | None = None
    order: Order | None = None
    said: list[str] = field(default_factory=list[str])

    async def recall(self) -> HostedJob | None:
        return self._job(self.order) if self.order else None

    async def intend(self, order: Order) -> HostedJob:
        assert self.external_id is None
        self.order = order
        self.said.append("intend")
        return self._job(order)

    async def remember(self, external_id: str) -> None:
        assert self.external_id is None
        self.external_id = external_id
        self.said.append(f"remember {external_id}")

    async def forget(self, external_id: str) -> None:
        assert self.external_id == external_id
        self.external_id = None
        self.said.append(f"forget {external_id}")

    async def withdraw(self) -> None:
        raise AssertionError("nothing is paid for, so nothing has to be certain")

    async def settle(self, outcome: Outcome, microdollars: int) -> None:
        assert (outcome, microdollars) == (Outcome.SUCCEEDED, 0)
        self.said.append("settle")

    def _job(self, order: Order) -> HostedJob:
        return HostedJob(TakeId(1), order, timedelta(0), self.external_id, None)


@dataclass
class Kept:
    """A `Sink`."""

    made: dict[int, Encoded] = field(default_factory=dict[int, Encoded])

    def frames(self, take: int, frames: NDArray[np.uint8]) -> None:
        raise AssertionError("a finished file comes as a file")

    def sound(self, take: int, samples: NDArray[np.float32], rate: int) -> None:
        raise AssertionError("its sound is in its file")

    def file(self, take: int, path: Path) -> None:
        self.made[take] = probe(path)


def model_on(server: Server) -> Model:
    return Model.model_validate(
        {
            "name": "wan-cluster",
            "title": "Wan 2.2 A14B on the cluster",
            "summary": "the strongest open motion",
            "engine": "videos-api",
            "licence": "Apache-2.0",
            "goals": ["quality"],
            "fps": 16,
            "multiple": 16,
            "frames": {"offset": 1, "step": 4, "min": 17, "max": 81},
            "sizes": {Size.P480: (832, 480)},
            "default_size": "480p",
            "price": {Size.P480: 16.0},
            "steps": 40,
            "guidance": 3.5,
            "accepts": ["motion", "avoid", "seed"],
            "server": server,
        }
    )


def job_in(folder: Path, seed: int, memory: Notes) -> Job:
    """A job of one take, with a photo of another shape than the clip's."""
    photo = folder / "photo.png"
    Image.new("RGB", (300, 200), (200, 120, 40)).save(photo)
    spec = ClipSpec("wan-cluster", motion="she smiles", avoid="text")
    return Job(spec, PLAN, {"photo": photo}, [TakeSeed(1, seed)], folder, memory)


def at_once() -> Iterator[float]:
    """No pause between looks."""
    while True:
        yield 0.0
