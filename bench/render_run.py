"""A run of takes by the real worker: its Postgres, its blob store, its encoder. How much of the run the engine renders,
and how soon a reroll's first step begins.

Members ask at once, and the fair queue takes them in turns: every take has other words and another photo than the one
before it. The rerolls come one by one, to an idle worker that still knows the encodes.
"""

import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncGenerator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch.profiler import ProfilerActivity, profile

from bench.render_ways import PHOTO, PROMPT, Task
from clips import guilds, library, queue, requests
from clips.blobs import BlobStore
from clips.catalog import Model, Speed
from clips.checkpoints import Checkpoints
from clips.domain import ChannelId, ClipSpec, GuildId, Lane, RequestKind, TakeState, UserId
from clips.embedded import embedded
from clips.migrate import migrate
from clips.notices import listen
from clips.photo import PhotoLimits, read_photo
from clips.postgres import Pool, Session, connect, connect_pool, retrying
from clips.requests import Ask, Take
from generator.engines.base import Context, Job, Sink
from generator.engines.diffusers.engine import DiffusersEngine
from generator.engines.loading import Shelf
from generator.heartbeat import Heartbeat, Identity
from generator.stopping import Stopping
from generator.takes import Workshop
from generator.worker import Worker

MEMBERS = 4
TAKES = 2
"""Of each member."""
REROLLS = 3

_GUILD = GuildId(1)
_LEASE = timedelta(seconds=30)
_IDLE = 0.5
"""Seconds between two rerolls."""


@dataclass
class Span:
    """Moments of one render, in seconds of the system's clock."""

    begun: float
    first_step: float = 0.0
    last_frame: float = 0.0
    ended: float = 0.0


class TimedEngine(DiffusersEngine):
    """The engine as it is, with a note of when it did what."""

    spans: list[Span]

    async def render(self, job: Job, sink: Sink, context: Context) -> None:
        span = Span(time.time())
        self.spans.append(span)
        between = _Between(sink, context, span)
        await super().render(job, between, between)
        span.ended = time.time()


class _Between:
    """A sink and a context that note two moments and pass everything on."""

    def __init__(self, sink: Sink, context: Context, span: Span) -> None:
        self._sink = sink
        self._context = context
        self._span = span

    def report(self, phase: str, done: int, total: int) -> None:
        if phase == "step" and not self._span.first_step:  # told before it begins
            self._span.first_step = time.time()
        self._context.report(phase, done, total)

    def raise_if_cancelled(self) -> None:
        self._context.raise_if_cancelled()

    def frames(self, take: int, frames: NDArray[np.uint8]) -> None:
        self._span.last_frame = time.time()
        self._sink.frames(take, frames)

    def sound(self, take: int, samples: NDArray[np.float32], rate: int) -> None:
        self._sink.sound(take, samples, rate)

    def file(self, take: int, path: Path) -> None:
        self._sink.file(take, path)


@dataclass(frozen=True)
class _Place:
    """Where members ask and a generator works."""

    pool: Pool
    asks: list[Ask]
    """One of each member."""
    spans: list[Span]
    """The renders so far."""

    async def made(self, *asks: Ask) -> list[Take]:
        """Enqueue all at once, and wait until every take is made."""
        asked = [await retrying(self.pool, partial(queue.enqueue, ask=ask)) for ask in asks]
        while await self.pool.fetchval("SELECT count(*) FROM takes WHERE state NOT IN ('done', 'failed')"):  # noqa: ASYNC110 - told by Postgres
            await asyncio.sleep(0.05)
        wholes = [await requests.read(self.pool, _GUILD, request) for request, _ in asked]
        takes = [take for whole in wholes if whole for take in whole.takes]
        for take in takes:
            if take.state is not TakeState.DONE:
                raise RuntimeError(f"take {take.take_id} was not made: {take.error}")
        return takes


async def run(task: Task) -> dict[str, float]:
    """Figures by name; times in seconds."""
    with tempfile.TemporaryDirectory() as folder:
        async with _generator(Path(folder), task) as place:
            await place.made(replace(place.asks[0], takes=1))
            place.spans.clear()
            cuda = task.device.startswith("cuda")
            with profile(activities=[ProfilerActivity.CUDA]) if cuda else nullcontext() as kernels:
                takes = await place.made(*place.asks)
            spans = list(place.spans)
            rerolls = [await _reroll(place, number) for number in range(REROLLS)]
    first, last = spans[0].first_step, spans[-1].last_frame
    busy = _covered((max(span.begun, first), min(span.ended, last)) for span in spans)
    gaps = [later.begun - earlier.ended for earlier, later in pairwise(spans)]
    recorded = sorted(_seconds(take.finished_at) for take in takes)
    said = {
        "takes": len(spans),
        "rendering": busy / (last - first),
        "gap": statistics.median(gaps),
        "afterwards": statistics.median(end - span.ended for end, span in zip(recorded, spans, strict=True)),
        "to engine": max(to_engine for to_engine, _ in rerolls),
        "to step": max(to_step for _, to_step in rerolls),
    }
    return said if kernels is None else said | {"kernels": _share_of_kernels(kernels)}


async def _reroll(place: _Place, number: int) -> tuple[float, float]:
    """Seconds from the claim until the engine has the take, and until its first step begins."""
    await asyncio.sleep(_IDLE)
    [take] = await place.made(replace(place.asks[-1], takes=1, seed=1000 + number))
    claimed, span = _seconds(take.started_at), place.spans[-1]
    return span.begun - claimed, span.first_step - claimed


def _seconds(moment: datetime | None) -> float:
    if moment is None:
        raise RuntimeError("a take that was made has begun and ended")
    return moment.timestamp()


@asynccontextmanager
async def _generator(folder: Path, task: Task) -> AsyncGenerator[_Place]:
    """A generator at work, put together as the real one is, and members who each have a photo and a wish."""
    model, spans, session = task.model, list[Span](), Session("bench")

    async def load(model: Model, device: str, context: Context, _: int) -> TimedEngine:
        engine = await TimedEngine.load(model, device, context, Speed.EXACT)
        engine.spans = spans
        return engine

    async with AsyncExitStack() as stack:
        dsn = await stack.enter_async_context(embedded(folder / "postgres"))
        conn = await connect(dsn, session)
        await migrate(conn)
        await conn.close()
        pool = await stack.enter_async_context(connect_pool(dsn, session))
        notices = await stack.enter_async_context(listen(dsn, session, (queue.READY, queue.CANCELLED)))
        identity = Identity(uuid4(), "bench", [model.name])
        heartbeat = await stack.enter_async_context(
            Heartbeat(dsn, identity, lease=_LEASE, stall=timedelta(seconds=600))
        )
        blobs = BlobStore.from_url(str(folder / "blobs"))
        await guilds.know(pool, _GUILD)
        asks = [await _ask(pool, blobs, task, number) for number in range(MEMBERS)]
        shelf = Shelf(task.device, load=load)
        shop = Workshop(pool, blobs, {model.name: model}, shelf, folder, Checkpoints())
        stopping = Stopping(60)
        work = asyncio.create_task(Worker(shop, heartbeat, identity, notices, stopping, lease=_LEASE).run())
        yield _Place(pool, asks, spans)
        stopping.ask()
        await work


async def _ask(pool: Pool, blobs: BlobStore, task: Task, number: int) -> Ask:
    upload = BytesIO()
    with Image.open(PHOTO) as photo:
        photo.crop((8 * number, 0, *photo.size)).save(upload, "PNG")
    photo = read_photo(upload.getvalue(), PhotoLimits())
    member = UserId(11 + number)
    sha256 = await blobs.put(pool, photo.data, "image/png")
    await library.add_photo(pool, _GUILD, member, library.StoredPhoto(sha256, photo.width, photo.height))
    return Ask(
        guild_id=_GUILD,
        channel_id=ChannelId(1),
        user_id=member,
        kind=RequestKind.ANIMATE,
        lane=Lane.FAST,
        spec=ClipSpec(task.model.name, motion=f"{PROMPT}, as member {number} likes it"),
        plan=task.plan,
        photo=sha256,
        seed=10 * number,
        takes=TAKES,
    )


def _covered(spans: Iterable[tuple[float, float]]) -> float:
    """Length of the union of spans."""
    total, reached = 0.0, float("-inf")
    for begin, end in sorted(spans):
        total += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return total


def _share_of_kernels(kernels: profile) -> float:
    """Of the time from the first kernel to the last, the part in which at least one ran; copies do not count."""
    ran = [
        (event.time_range.start, event.time_range.end)
        for event in kernels.events() or ()
        if event.device_type.name == "CUDA" and not event.name.startswith(("Memcpy", "Memset"))
    ]
    return _covered(ran) / (max(end for _, end in ran) - min(begin for begin, _ in ran))
