"""How a take outlasts what is away for a while: the database, the blob store."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import TypeVar

from clips.errors import RetryableError
from clips.postgres import OUTAGE
from generator.watch import Watch

log = logging.getLogger(__name__)

_PATIENCE = 300.0
"""Seconds: a render is worth a wait for the blob store."""
_Result = TypeVar("_Result")


async def insist(watch: Watch, step: Callable[[], Awaitable[_Result]], *, last: bool = False) -> _Result:
    """Repeat a step while the database or the blob store is away: for five minutes, the last one for however long.

    Between attempts it raises `LeaseLostError` or `StoppingError` where the take is no longer to be finished here.
    """
    began = monotonic()
    while True:
        try:
            return await step()
        except (RetryableError, *OUTAGE) as error:
            watch.raise_if_over()
            # An error of the statement itself would come for ever; the last step outlasts nothing but outages.
            if monotonic() - began > _PATIENCE and not (last and isinstance(error, RetryableError)):
                raise
            log.warning("Take %d waits for what is away: %s", watch.claim.take_id, error)
            watch.stir()
        await asyncio.sleep(0.5)
