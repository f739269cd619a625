"""An attempt at a hosted take without a database: what the engine meets, and what outlives it."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from time import monotonic

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import SecretStr
from yarl import URL

from clips.catalog import Catalog, Model
from clips.domain import ClipSpec, TakeId
from clips.errors import LeaseLostError
from clips.ffmpeg import Encoded, probe
from clips.hosted_jobs import HostedJob, Order, Outcome
from generator.engines.base import Job, TakeSeed
from generator.engines.gates import Gate
from generator.engines.replicate.api import Replicate
from generator.engines.replicate.engine import ReplicateEngine
from generator.engines.replicate.paying import Cashier, Pace
from generator.engines.replicate.rendering import Bench
from generator.engines.wakes import Calls
from tests.hosted.provider import KEY, Provider

CATALOG = Catalog.load()
PACE = Pace(settles=0.2, first=0.01, most=0.02, longest=2.0, again=0.01, notice=0.01)


@dataclass
class Notebook:
    """A `Memory` that outlives attempts. `dies_at`: the attempt ends there, as by `kill -9`."""

    order: Order | None = None
    external_id: str | None = None
    outcome: Outcome | None = None
    microdollars: int | None = None
    intents: int = 0
    surplus: set[str] = field(default_factory=set[str])
    dies_at: str = ""
    lost_after: int | None = None
    slow: float = 0.0
    age: float = 0.0
    _intended_at: float = 0.0

    async def recall(self) -> HostedJob | None:
        if self.order is None:
            return None
        age = timedelta(seconds=monotonic() - self._intended_at + self.age)
        return HostedJob(TakeId(1), self.order, age, self.external_id, self.outcome)

    async def intend(self, order: Order) -> HostedJob:
        if self.intents == self.lost_after:
            raise LeaseLostError("take 1 belongs to another generator now")
        await asyncio.sleep(self.slow)
        self.order, self._intended_at, self.age, self.intents = order, monotonic(), 0.0, self.intents + 1
        self._reached("intended")
        job = await self.recall()
        assert job is not None
        return job

    async def remember(self, external_id: str) -> None:
        self._reached("created")
        if self.external_id != external_id and (self.external_id, self.outcome) != (None, None):
            raise LeaseLostError("take 1 waits for another job")
        self.external_id = external_id
        self._reached("remembered")

    async def forget(self, external_id: str) -> None:
        raise AssertionError("what is paid for is never forgotten")

    async def withdraw(self) -> None:
        assert (self.external_id, self.outcome) == (None, None)
        self.order = None

    async def settle(self, outcome: Outcome, microdollars: int) -> None:
        if self.outcome is None:
            self.outcome, self.microdollars = outcome, microdollars

    async def note_surplus(self, take_id: TakeId, external_id: str) -> None:
        assert take_id == TakeId(1)
        self.surplus.add(external_id)

    def _reached(self, moment: str) -> None:
        if self.dies_at == moment:
            self.dies_at = ""
            raise KilledError(moment)


class KilledError(Exception):
    """The process died here."""


@dataclass
class Attempt:
    """A `Context` and a `Sink`. `stop` is raised once `when` is true."""

    folder: Path
    stop: Exception | None = None
    when: Callable[[], object] = bool
    reports: list[tuple[str, int, int]] = field(default_factory=list[tuple[str, int, int]])
    made: Encoded | None = None

    def report(self, phase: str, done: int, total: int) -> None:
        self.reports.append((phase, done, total))

    def raise_if_cancelled(self) -> None:
        if self.stop is not None and self.when():
            raise self.stop

    def frames(self, take: int, frames: NDArray[np.uint8]) -> None:
        raise AssertionError("a hosted take comes as a file")

    def sound(self, take: int, samples: NDArray[np.float32], rate: int) -> None:
        raise AssertionError("its sound is in its file")

    def file(self, take: int, path: Path) -> None:
        self.made = probe(path)


@dataclass
class Rehearsal:
    """A provider, an account there, and one take with its memory."""

    provider: Provider
    api: Replicate
    folder: Path
    gate: Gate
    notebook: Notebook = field(default_factory=Notebook)
    pace: Pace = PACE
    taken: set[str] = field(default_factory=set[str])
    calls: Calls = field(default_factory=Calls)

    async def attempt(
        self,
        name: str = "wan-2.7-i2v",
        *,
        spec: ClipSpec | None = None,
        photo: bool = True,
        end_photo: bool = False,
        stop: Exception | None = None,
        at: str = "",
        when: Callable[[], object] | None = None,
    ) -> Attempt:
        """Render the take once; `stop` it `when`, or when its prediction has the status `at`.

        Raises what the engine raises.
        """
        model = CATALOG.find(name)
        wish = replace(spec or ClipSpec("", motion="waves roll in", seconds=min(2, model.longest)), model=name)
        attempt = Attempt(self.folder, stop, when or (lambda: self.status == at))
        names = [name for name, given in (("photo", photo), ("end_photo", end_photo)) if given]
        inputs = {name: _photo(self.folder) for name in names}
        job = Job(wish, model.plan(wish, (320, 240)), inputs, [TakeSeed(1, 7)], self.folder, self.notebook)
        await self._engine(model).render(job, attempt, attempt)
        return attempt

    @property
    def status(self) -> str | None:
        """The status of the take's prediction, once that is remembered."""
        prediction = self.provider.predictions.get(self.notebook.external_id or "")
        return prediction["status"] if prediction else None

    def _engine(self, model: Model) -> ReplicateEngine:
        assert model.hosted is not None
        cashier = Cashier(self.api, self._known, self.notebook.note_surplus, self.pace)
        return ReplicateEngine(Bench(model, model.hosted, self.api, cashier, self.gate, self.pace, self.calls))

    async def _known(self, external_ids: object) -> set[str]:
        return self.taken


@asynccontextmanager
async def rehearsing(provider: Provider, folder: Path) -> AsyncGenerator[Rehearsal]:
    async with Replicate.open(URL(provider.address), SecretStr(KEY)) as api:
        yield Rehearsal(provider, api, folder, Gate("Replicate", api.check))


def _photo(folder: Path) -> Path:
    path = folder / "photo.png"
    Image.new("RGB", (320, 240), (200, 120, 40)).save(path)
    return path
