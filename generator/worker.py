"""The generator's work: claim the fairest take, make it, settle how it ended, and so on until told to stop."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

from clips import queue
from clips.errors import CancelledError, FatalEngineError, LeaseLostError, RetryableError, StoppingError
from clips.notices import Hint, Notices
from clips.postgres import OUTAGE
from clips.queue import Claim, Ended
from generator.engines.gates import Gate
from generator.faults import judge
from generator.heartbeat import Heartbeat, Identity
from generator.insisting import insist
from generator.resting import Resting
from generator.stopping import Stopping
from generator.takes import Workshop, make
from generator.watch import Watch

log = logging.getLogger(__name__)

_POLL = 5.0
"""Seconds after which the queue is asked again though no notice came."""
GRACE = 5.0
"""Seconds that an engine has for noticing that it is to stop, and a rendered take for being stored and recorded."""


class _StuckError(StoppingError):
    """The engine does not notice that it is to stop: its thread ends only with the process."""


class Worker:
    """`at_once` takes at a time, of the workshop's models and while its gate is open. During a rest nothing new: what
    is rendered elsewhere, behind a gate, is paid for and lies there for an hour only, so it is fetched all the same.

    What is rendered here makes room for the next take as soon as its engine is free, and is encoded to the end, stored
    and recorded beside that one; no more than `at_once` takes of the kind, so that a blob store which is away holds up
    the work instead of drowning in it.

    The heartbeat keeps their leases; whoever announces the generator is none of its business.
    """

    def __init__(
        self,
        shop: Workshop,
        heartbeat: Heartbeat,
        identity: Identity,
        notices: Notices,
        stopping: Stopping,
        *,
        lease: timedelta,
        at_once: int = 1,
        gate: Gate | None = None,
        resting: Resting | None = None,
        offered: Callable[[], Sequence[str]] | None = None,
    ) -> None:
        """`notices` listens to `queue.READY` and `queue.CANCELLED`. `offered`: which of the workshop's models can be
        rendered just now, where that may be fewer than all.
        """
        self._shop = shop
        self._heartbeat = heartbeat
        self._identity = identity
        self._notices = notices
        self._stopping = stopping
        self._lease = lease
        self._at_once = at_once
        self._gate = gate
        self._working: dict[asyncio.Task[None], Watch] = {}
        self._resting = resting
        self._offered = offered or (lambda: list(shop.models))

    async def run(self) -> None:
        """Work until told to stop. Raises `FatalEngineError` if this process can render no more."""
        ready = self._notices.subscribe(queue.READY)
        forget = self._notices.call(queue.CANCELLED, lambda _: self._heartbeat.hurry())
        try:
            while not self._stopping.asked.is_set():
                claim = await self._claim() if self._has_room and self._open else None
                if claim is None:
                    await self._pause(ready)
                else:
                    watch = Watch(claim)
                    self._working[asyncio.create_task(self._work(watch), name=f"take {claim.take_id}")] = watch
                self._raise_what_failed()
            await self._finish()
        except FatalEngineError:
            if not self._stopping.asked.is_set():
                self._stopping.ask()
            await self._finish()  # what is rendered already is worth as much as at any other end
            raise
        finally:
            forget()
            for task in self._working:
                task.cancel()
            if self._working:
                await asyncio.wait(self._working)

    async def _finish(self) -> None:
        """Until all takes under way have ended."""
        while self._working:
            await asyncio.wait(self._working, return_when=asyncio.FIRST_COMPLETED)
            self._raise_what_failed()

    @property
    def _has_room(self) -> bool:
        if self._gate:  # no GPU of ours stands idle meanwhile
            return len(self._working) < self._at_once
        return len(self._rendering) < self._at_once and len(self._working) < 2 * self._at_once

    @property
    def _rendering(self) -> list[Watch]:
        return [watch for watch in self._working.values() if not watch.rendered.is_set()]

    @property
    def _open(self) -> bool:
        return self._gate.open if self._gate else not self._rests

    @property
    def _rests(self) -> bool:
        return self._resting is not None and self._resting.at_rest

    def _raise_what_failed(self) -> None:
        ended = [task for task in self._working if task.done()]
        for task in ended:
            del self._working[task]
        for task in ended:
            task.result()

    async def _claim(self) -> Claim | None:
        offered = self._offered()
        try:
            return await queue.claim(
                self._shop.pool,
                self._identity.generator_id,
                offered,
                [model for model in self._shop.shelf.loaded if model in offered],  # a gate closes on what is loaded too
                self._lease,
                begun=self._rests,
            )
        except (RetryableError, *OUTAGE) as error:
            log.warning("Could not ask for work; trying again. %s", error)
            return None

    async def _pause(self, ready: Hint) -> None:
        """Until there may be work and room for it, or an end."""
        waits: set[asyncio.Task[object]] = {asyncio.create_task(self._stopping.asked.wait())}
        if self._gate and not self._gate.open:
            waits.add(asyncio.create_task(self._gate.opens()))
        elif self._has_room:
            waits.add(asyncio.create_task(ready.wait(_POLL)))
        else:
            waits |= {asyncio.create_task(watch.rendered.wait()) for watch in self._rendering}
        await asyncio.wait(waits | self._working.keys(), return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    async def _work(self, watch: Watch) -> None:
        """Make a take, and tell the queue how it ended."""
        pool, claim = self._shop.pool, watch.claim
        with self._heartbeat.watching(watch):
            try:
                ended = await self._bounded(watch)
            except LeaseLostError as lost:
                log.warning("%s; dropped.", lost)
            except CancelledError:
                await self._settle(watch, lambda: queue.stop(pool, claim, watch.gpu))
            except StoppingError as stopped:
                await self._settle(watch, lambda: queue.give_back(pool, claim))
                if isinstance(stopped, _StuckError):
                    raise FatalEngineError(str(stopped)) from stopped
            except Exception as error:
                fault = judge(error)
                log.exception("Take %d failed.", claim.take_id)
                await self._settle(
                    watch,
                    lambda: queue.fail(pool, claim, retry=fault.retry, error=fault.error, fault=fault.trace),
                )
                if isinstance(error, FatalEngineError):
                    raise
            else:
                log.info("Take %d ended: %s, %.1f s.", claim.take_id, ended, watch.gpu.total_seconds())
            if loaded := self._shop.shelf.loaded:  # what runs elsewhere is not
                self._heartbeat.loaded = loaded

    async def _bounded(self, watch: Watch) -> Ended:
        """Make the take, but no longer than the process may last or its host lets it. Raises as `make` does."""
        making = asyncio.create_task(make(self._shop, watch))
        due = asyncio.create_task(self._stopping.due.wait())
        rest = self._resting.due if self._resting and self._gate is None else asyncio.Event()
        paused = asyncio.create_task(rest.wait())
        try:
            await asyncio.wait({making, due, paused}, return_when=asyncio.FIRST_COMPLETED)
            if paused.done():
                if not watch.rendered.is_set():
                    watch.stop()
                await asyncio.wait({making, due}, return_when=asyncio.FIRST_COMPLETED)
            if not making.done():
                watch.stop()
                await asyncio.wait({making}, timeout=GRACE)
            if not making.done() and watch.rendered.is_set():
                raise StoppingError(f"what was rendered was not stored within {GRACE:g} s")
            if not making.done():
                raise _StuckError(f"the engine did not stop within {GRACE:g} s")
            return making.result()
        finally:
            for task in (due, paused, making):
                task.cancel()

    async def _settle(self, watch: Watch, write: Callable[[], Awaitable[Ended]]) -> None:
        try:
            ended = await insist(watch, write, last=True)
        except (StoppingError, LeaseLostError, RetryableError, *OUTAGE) as error:
            log.warning("Take %d is left to its lease: %s", watch.claim.take_id, error)
        else:
            log.info("Take %d ended: %s.", watch.claim.take_id, ended)
