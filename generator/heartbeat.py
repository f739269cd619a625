"""The pulse of a generator, in a thread with a loop and connections of its own: no render can hold it up.

It renews the leases of the takes under way and writes down its progress, hears of cancels and losses, tells that the
generator is alive and what it runs, and ends the process if the engine shows no progress for too long. During an outage
of the database it tries again and again; the render goes on.
"""

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Coroutine, Generator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from threading import Thread
from time import monotonic
from types import TracebackType
from typing import Any, NoReturn, Self
from uuid import UUID

from clips import queue
from clips.domain import Progress
from clips.errors import RetryableError
from clips.postgres import OUTAGE, Pool, Session, connect_pool
from generator.watch import Watch

log = logging.getLogger(__name__)

EXIT_AGAIN = 75
"""EX_TEMPFAIL: start the generator again."""
_ANNOUNCE_EVERY = 10.0
_LOOK_EVERY = 1.0
_TROUBLE = (RetryableError, *OUTAGE)


def name_of(pid: int) -> str:
    """What a generator is called that is a process of this machine."""
    return f"{socket.gethostname()}:{pid}"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a generator is: an id for each start, a name for people, the models that it was told to run."""

    generator_id: UUID
    name: str
    models: Sequence[str]


@dataclass(frozen=True, slots=True)
class Offer:
    """What a generator can do just now. `rooms`: how many takes of each model at once, one where that is not said.

    `troubles`: why that is less than it was told to, in sentences for the host.
    """

    models: Sequence[str]
    rooms: Sequence[int] = ()
    troubles: Sequence[str] = ()


class Heartbeat:
    """`async with Heartbeat(…) as heart`: announced from the first moment to the last.

    `loaded` names the models in memory; the worker sets it. `offer` is asked every second, in another thread;
    without it all of the generator's models are offered.
    """

    def __init__(
        self,
        dsn: str,
        identity: Identity,
        *,
        lease: timedelta,
        stall: timedelta,
        offer: Callable[[], Offer] | None = None,
    ) -> None:
        self.loaded: Sequence[str] = ()
        self._offer = offer or (lambda: Offer(identity.models))
        self._dsn = dsn
        self._identity = identity
        self._lease = lease
        self._stall = stall
        self._told: Offer | None = None
        self._told_at = 0.0
        self._watches: tuple[Watch, ...] = ()
        self._started: Future[asyncio.AbstractEventLoop] = Future()
        self._thread = Thread(target=self._run, name="heartbeat", daemon=True)

    async def __aenter__(self) -> Self:
        """Start, and return once the generator is announced. `SetupError` if the database cannot be reached."""
        self._thread.start()
        self._loop = await asyncio.wrap_future(self._started)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        await asyncio.to_thread(self._thread.join, 15.0)

    @contextmanager
    def watching(self, watch: Watch) -> Generator[None]:
        """Keep the lease of a take for the length of the block. From one thread."""
        self._watches = (*self._watches, watch)
        try:
            yield
        finally:
            self._watches = tuple(other for other in self._watches if other is not watch)

    def hurry(self) -> None:
        """Beat now: there may be a cancel to hear of. From any thread."""
        self._loop.call_soon_threadsafe(self._wake.set)

    def _run(self) -> None:
        try:
            asyncio.run(self._live())
        except BaseException as error:
            if not self._started.done():
                self._started.set_exception(error)
            else:
                log.critical("The heartbeat failed; the generator ends.", exc_info=error)
                _end_process(1)

    async def _live(self) -> None:
        self._end = asyncio.Event()
        self._wake = asyncio.Event()
        bound = max(self._lease / 3, timedelta(seconds=1))
        session = Session("zoetrope heartbeat", statement_timeout=bound, lock_timeout=bound)
        async with connect_pool(self._dsn, session, max_size=4) as pool:
            await self._announce(pool)
            self._started.set_result(asyncio.get_running_loop())
            lives: list[Coroutine[Any, Any, None]] = [self._beats(pool), self._announcements(pool), self._patience()]
            tasks = [asyncio.create_task(life) for life in lives]
            ended = asyncio.create_task(self._end.wait())
            done, _ = await asyncio.wait([*tasks, ended], return_when=asyncio.FIRST_COMPLETED)
            for task in (*tasks, ended):
                task.cancel()
            await asyncio.wait([*tasks, ended])
            for task in done - {ended}:
                task.result()
            await self._leave(pool)

    async def _beats(self, pool: Pool) -> None:
        """Renew every third of the lease; with news, at most once a second."""
        every = self._lease.total_seconds() / 3
        told: dict[Watch, tuple[Progress, float]] = {}
        while True:
            watches, hurried = self._watches, self._wake.is_set()
            self._wake.clear()
            told = {watch: told[watch] for watch in watches if watch in told}
            due = [watch for watch in watches if hurried or _is_due(watch, told.get(watch), every)]
            # All at once: one that hangs must not cost the others their leases.
            for watch, progress in zip(due, await asyncio.gather(*(self._beat(pool, one) for one in due)), strict=True):
                if progress is not None:
                    told[watch] = progress, monotonic()
            await self._rest(min(1.0, every))

    async def _beat(self, pool: Pool, watch: Watch) -> Progress | None:
        """Renew a lease, and return the progress that was told with it; None: it could not be."""
        progress = watch.progress
        try:
            watch.learn(await queue.beat(pool, watch.claim, progress, self._lease))
        except _TROUBLE as error:
            log.warning("Could not renew the lease of take %d; trying again. %s", watch.claim.take_id, error)
            return None
        return progress

    async def _rest(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _announcements(self, pool: Pool) -> None:
        """Every ten seconds, and within one when something else is offered."""
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            if self._offer() == self._told and monotonic() < self._told_at + _ANNOUNCE_EVERY:
                continue
            try:
                await self._announce(pool)
            except _TROUBLE as error:
                log.warning("Could not tell that this generator is alive; trying again. %s", error)

    async def _announce(self, pool: Pool) -> None:
        identity, offer, self._told_at = self._identity, self._offer(), monotonic()
        await queue.announce(
            pool,
            identity.generator_id,
            identity.name,
            offer.models,
            self.loaded,
            rooms=offer.rooms,
            troubles=offer.troubles,
            gained=self._told is not None and not set(offer.models) <= set(self._told.models),
        )
        self._told = offer

    async def _leave(self, pool: Pool) -> None:
        try:
            async with asyncio.timeout(5):
                await queue.leave(pool, self._identity.generator_id)
        except _TROUBLE as error:
            log.warning("Could not take this generator off the list; it drops out by itself. %s", error)

    async def _patience(self) -> None:
        """End the process once the engine has shown no progress for its bound: its lease runs out, the take goes on."""
        while True:
            await asyncio.sleep(min(5.0, self._stall.total_seconds() / 4))
            for watch in self._watches:
                if watch.idle > self._stall.total_seconds():
                    log.critical(
                        "Take %d showed no progress for %.0f s (%s); the generator ends, and the take goes on "
                        "elsewhere.",
                        watch.claim.take_id,
                        watch.idle,
                        watch.progress.phase,
                    )
                    _end_process(EXIT_AGAIN)


def _is_due(watch: Watch, told: tuple[Progress, float] | None, every: float) -> bool:
    """Is there news, or is it time again? `told`: the last progress written down, and when."""
    return told is None or told[0] != watch.progress or monotonic() - told[1] >= every


def _end_process(code: int) -> NoReturn:
    logging.shutdown()
    os._exit(code)
