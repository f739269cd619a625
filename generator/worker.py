"""The generator's work: claim the fairest take, make it, settle how it ended, and so on until told to stop."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta

from clips import queue
from clips.errors import CancelledError, FatalEngineError, LeaseLostError, RetryableError, StoppingError
from clips.notices import Hint, Notices
from clips.postgres import OUTAGE
from clips.queue import Claim, Ended
from generator.faults import judge
from generator.heartbeat import Heartbeat, Identity
from generator.stopping import Stopping
from generator.takes import Workshop, insist, make
from generator.watch import Watch

log = logging.getLogger(__name__)

_POLL = 5.0
"""Seconds after which the queue is asked again though no notice came."""
GRACE = 5.0
"""Seconds that an engine has for noticing that it is to stop."""


class _StuckError(StoppingError):
    """The engine does not notice that it is to stop: its thread ends only with the process."""


class Worker:
    """One take at a time. The heartbeat keeps its lease; whoever announces the generator is none of its business."""

    def __init__(
        self,
        shop: Workshop,
        heartbeat: Heartbeat,
        identity: Identity,
        notices: Notices,
        stopping: Stopping,
        *,
        lease: timedelta,
    ) -> None:
        """`notices` listens to `queue.READY` and `queue.CANCELLED`."""
        self._shop = shop
        self._heartbeat = heartbeat
        self._identity = identity
        self._notices = notices
        self._stopping = stopping
        self._lease = lease

    async def run(self) -> None:
        """Work until told to stop. Raises `FatalEngineError` if this process can render no more."""
        ready = self._notices.subscribe(queue.READY)
        forget = self._notices.call(queue.CANCELLED, lambda _: self._heartbeat.hurry())
        try:
            while not self._stopping.asked.is_set():
                claim = await self._claim()
                if claim is None:
                    await self._pause(ready)
                else:
                    await self._work(claim)
        finally:
            forget()

    async def _claim(self) -> Claim | None:
        try:
            return await queue.claim(
                self._shop.pool,
                self._identity.generator_id,
                self._identity.models,
                self._shop.shelf.loaded,
                self._lease,
            )
        except (RetryableError, *OUTAGE) as error:
            log.warning("Could not ask for work; trying again. %s", error)
            return None

    async def _pause(self, ready: Hint) -> None:
        waits = [asyncio.create_task(ready.wait(_POLL)), asyncio.create_task(self._stopping.asked.wait())]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    async def _work(self, claim: Claim) -> None:
        """Make a take, and tell the queue how it ended."""
        pool = self._shop.pool
        with self._heartbeat.watching(claim) as watch:
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
            self._heartbeat.loaded = self._shop.shelf.loaded

    async def _bounded(self, watch: Watch) -> Ended:
        """Make the take, but no longer than the process may last. Raises as `make` does."""
        making = asyncio.create_task(make(self._shop, watch))
        due = asyncio.create_task(self._stopping.due.wait())
        try:
            await asyncio.wait({making, due}, return_when=asyncio.FIRST_COMPLETED)
            if not making.done():
                watch.stop()
                await asyncio.wait({making}, timeout=GRACE)
            if not making.done():
                raise _StuckError(f"the engine did not stop within {GRACE:g} s")
            return making.result()
        finally:
            due.cancel()
            making.cancel()

    async def _settle(self, watch: Watch, write: Callable[[], Awaitable[Ended]]) -> None:
        try:
            ended = await insist(watch, write, last=True)
        except (StoppingError, LeaseLostError, RetryableError, *OUTAGE) as error:
            log.warning("Take %d is left to its lease: %s", watch.claim.take_id, error)
        else:
            log.info("Take %d ended: %s.", watch.claim.take_id, ended)
