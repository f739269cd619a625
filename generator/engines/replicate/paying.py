"""Paying once: the one prediction of a take, whatever was lost between us and the provider.

The intent is durable before the provider is asked. Where its answer is lost (the connection cut, a process killed), the
provider's own list is searched for the mark of the take. Found, it is the one; certainly not there, it is asked for
again; neither, and the take is given up without another payment.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import TypeVar, cast

from pydantic import JsonValue

from clips.domain import TakeId
from clips.errors import LeaseLostError, RetryableError, ZoetropeError
from clips.hosted_jobs import HostedJob, Order
from generator.engines.base import Memory
from generator.engines.ends import see_out
from generator.engines.replicate.api import (
    AccountError,
    HasteError,
    OutcomeUnknownError,
    Prediction,
    RefusedError,
    Replicate,
)

log = logging.getLogger(__name__)

_SKEW = timedelta(minutes=10)
"""By how much the provider's clock may be behind ours."""
_HASTE = 900.0
"""Seconds for which a provider may put us off before the take goes back in line."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds. `fresh`: an intent older than that is written again before it is acted on, so that a process which slept
    in between asks nobody. `settles`: so long after an intent, what the provider does not list will not come: that is
    `fresh` and the longest that a create may take. `first`, `most`: between two looks. `longest`: for a prediction.
    `again`: before a request that failed is made again, longer each time. `notice`: until a cancel is noticed.
    """

    fresh: float = 5.0
    settles: float = 45.0
    first: float = 1.5
    most: float = 10.0
    longest: float = 3600.0
    again: float = 1.0
    notice: float = 0.5


class UndecidedError(ZoetropeError):
    """Nobody can tell whether the provider has a prediction of the take."""


_Answer = TypeVar("_Answer")


class Cashier:
    """Makes or finds the predictions of one account."""

    def __init__(
        self,
        api: Replicate,
        taken: Callable[[Sequence[str]], Awaitable[set[str]]],
        surplus: Callable[[TakeId, str], Awaitable[None]],
        pace: Pace,
    ) -> None:
        """`taken` tells which of some belong to takes already; `surplus` notes that a take has one too many."""
        self._api = api
        self._taken = taken
        self._surplus = surplus
        self._pace = pace

    async def predicted(self, memory: Memory, order: Order) -> Prediction:
        """A new take's prediction. Raises `UndecidedError`, `LeaseLostError`, `RetryableError`, and what
        `Replicate.create` raises where there is none.
        """
        put_off = 0.0
        lost = 0
        while True:
            began = monotonic()
            job = await memory.intend(order)
            if monotonic() - began > self._pace.fresh:
                continue  # we slept: somebody else may have the take by now
            try:
                return await _unbroken(self._created(memory, job, order))
            except OutcomeUnknownError as error:
                lost += 1
                log.warning("It is not known whether a prediction was created: %s. Looking for it.", error)
                if found := await self.found(memory, job):
                    return found
                if lost > 1:
                    raise RetryableError(str(error)) from error
            except HasteError as haste:
                put_off += haste.pause
                if put_off > _HASTE:
                    raise RetryableError(str(haste)) from haste
                await asyncio.sleep(haste.pause)

    async def found(self, memory: Memory, job: HostedJob) -> Prediction | None:
        """The prediction of an intent, now remembered. None: there is none. Raises `UndecidedError`."""
        found = await self.search(job)
        if found:
            await self._keep(memory, job, found)
        return found

    async def search(self, job: HostedJob) -> Prediction | None:
        """The prediction of an intent. None: there is none and will be none.

        Raises `UndecidedError`, `AccountError`, and `RetryableError` while the provider does not let us look.
        """
        try:
            return await self._searched(job)
        except RefusedError as error:
            raise RetryableError(str(error)) from error

    async def _searched(self, job: HostedJob) -> Prediction | None:
        began = monotonic()
        if found := await self._listed(job, began):
            return found
        if (rest := self._pace.settles - job.age.total_seconds()) > 0:
            await asyncio.sleep(rest)
            return await self._listed(job, began)
        return None

    async def _listed(self, job: HostedJob, began: float) -> Prediction | None:
        age = job.age + timedelta(seconds=monotonic() - began)
        listed = await patiently(lambda: self._api.since(datetime.now(UTC) - age - _SKEW), self._pace)
        found = [one for one in listed if one.input is not None and _is_of(one.input, job.order)]
        if job.order.mark is None and found:
            # Told apart by all its words: one that says the same for another take is known to be that take's.
            others = await self._taken([one.id for one in found])
            found = [one for one in found if one.id not in others]
            if len(found) > 1:
                raise UndecidedError(f"{len(found)} predictions say what the take asked for")
        for surplus in found[:-1]:
            await self._drop(job, surplus.id)
        if found:
            return found[-1]
        if any(one.input is None or one.data_removed for one in listed):
            raise UndecidedError("Replicate no longer tells what the predictions of that time were asked for")
        return None

    async def _created(self, memory: Memory, job: HostedJob, order: Order) -> Prediction:
        try:
            prediction = await self._api.create(order.body)
        except (AccountError, HasteError, RetryableError):
            await memory.withdraw()  # there is certainly none, and nobody should ever have to look for it
            raise
        await self._keep(memory, job, prediction)
        return prediction

    async def _keep(self, memory: Memory, job: HostedJob, prediction: Prediction) -> None:
        """Write it down. One that comes too late, because another attempt has the take and its own, is cancelled."""
        try:
            await memory.remember(prediction.id)
        except LeaseLostError:
            await self._drop(job, prediction.id)
            raise

    async def _drop(self, job: HostedJob, prediction_id: str) -> None:
        """End a prediction that its take has no use for, and note it: it may be charged for all the same."""
        log.critical("Take %d has another prediction than %s, which is cancelled.", job.take_id, prediction_id)
        try:
            await patiently(lambda: self._api.cancel(prediction_id), self._pace)
        except (RetryableError, RefusedError, AccountError) as error:
            log.critical("Replicate does not cancel %s: %s", prediction_id, error)
        await self._surplus(job.take_id, prediction_id)


async def _unbroken(work: Coroutine[None, None, _Answer]) -> _Answer:
    """Let what costs money come to its end though nobody waits for it any more: its answer must be written down."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await see_out(task)
        raise


async def patiently(ask: Callable[[], Awaitable[_Answer]], pace: Pace, *, attempts: int = 5) -> _Answer:
    """Ask again where the way to the provider fails, ever more slowly."""
    for attempt in range(attempts):
        try:
            return await ask()
        except (RetryableError, HasteError) as error:
            if attempt == attempts - 1:
                raise RetryableError(str(error)) from error
            await asyncio.sleep(error.pause if isinstance(error, HasteError) else pace.again * 2**attempt)
    raise AssertionError


def _is_of(given: dict[str, JsonValue], order: Order) -> bool:
    if order.mark is not None:
        return any(value == order.mark or (isinstance(value, list) and order.mark in value) for value in given.values())
    wanted = order.body.get("input")
    if not isinstance(wanted, dict):
        return False
    return all(given.get(name) == value for name, value in cast("dict[str, JsonValue]", wanted).items())
