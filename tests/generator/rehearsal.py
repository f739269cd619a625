"""A worker in the test's process around an engine that does what the test says, on a real database and blob store."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import uuid4

import numpy as np

from clips import queue
from clips.blobs import BlobStore
from clips.catalog import Catalog, Model
from clips.checkpoints import Checkpoints
from clips.notices import listen
from clips.postgres import Session
from clips.reaper import keep_order
from generator.engines.base import Context, Engine, Job, Sink
from generator.engines.gates import Gate
from generator.engines.loading import Shelf
from generator.heartbeat import Heartbeat, Identity
from generator.resting import Resting
from generator.stopping import Stopping
from generator.takes import Workshop
from generator.worker import Worker
from tests.generator.studio import Studio
from tests.library_of import ask_for

SKETCH = Catalog.load().find("sketch")
SPEC = ask_for(1, 1).spec
Render = Callable[[Job, Sink, Context], None]


class Rehearsed:
    """An engine that renders as it is told, in a thread."""

    def __init__(self, render: Render) -> None:
        self._render = render
        self.closed = False

    async def render(self, job: Job, sink: Sink, context: Context) -> None:
        await asyncio.to_thread(self._render, job, sink, context)

    async def close(self) -> None:
        self.closed = True


def frames(job: Job, sink: Sink, context: Context) -> None:
    """Grey frames, one at a time."""
    for number in range(job.plan.frames):
        context.raise_if_cancelled()
        sink.frames(job.takes[0].index, np.full((1, job.plan.height, job.plan.width, 3), number, np.uint8))
        context.report("step", number + 1, job.plan.frames)


def endless(_: Job, __: Sink, context: Context) -> None:
    """Renders until it is stopped."""
    context.report("step", 1, 2)
    while True:
        context.raise_if_cancelled()
        time.sleep(0.01)


def raising(error: Exception) -> Render:
    def render(job: Job, sink: Sink, context: Context) -> None:
        sink.frames(1, np.zeros((1, job.plan.height, job.plan.width, 3), np.uint8))
        context.report("step", 1, 2)
        raise error

    return render


@asynccontextmanager
async def working(
    room: Studio,
    render: Render = frames,
    *,
    shelf: Shelf | None = None,
    blobs: BlobStore | None = None,
    models: dict[str, Model] | None = None,
    lease: timedelta = timedelta(seconds=6),
    stop_seconds: float = 5,
    gate: Gate | None = None,
    resting: Resting | None = None,
    offered: Callable[[], Sequence[str]] | None = None,
) -> AsyncGenerator[Stopping]:
    """A worker at work in this process. At the end it is told to stop and waited for."""

    async def load(_: Model, __: str, ___: Context, ____: int) -> Engine:
        return Rehearsed(render)

    models = models or {"sketch": SKETCH}
    identity = Identity(uuid4(), "test", list(models))
    shop = Workshop(
        room.pool, blobs or room.blobs, models, shelf or Shelf("cpu", load=load), room.folder, Checkpoints()
    )
    stopping = Stopping(stop_seconds)
    async with (
        listen(room.dsn, Session("test"), (queue.READY, queue.CANCELLED)) as notices,
        Heartbeat(room.dsn, identity, lease=lease, stall=timedelta(seconds=60)) as heartbeat,
    ):
        order = asyncio.create_task(keep_order(room.pool, lease))
        worker = Worker(
            shop, heartbeat, identity, notices, stopping, lease=lease, gate=gate, resting=resting, offered=offered
        )
        work = asyncio.create_task(worker.run())
        try:
            yield stopping
        finally:
            stopping.ask()
            await asyncio.wait([work], timeout=60)
            order.cancel()
            await asyncio.wait([order])
            work.result()
