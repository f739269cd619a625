"""What goes on beside takes that are rendered elsewhere: the gate is kept, and what they left there is tidied up."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from clips.errors import ZoetropeError
from clips.postgres import OUTAGE
from generator.engines.gates import Gate

log = logging.getLogger(__name__)

_EVERY = 60.0
"""Seconds between two looks for jobs whose takes are over."""


async def keep(gate: Gate, tidy: Callable[[], Awaitable[None]]) -> None:
    """Open the gate when it can be, and tidy up while it is open, for ever."""
    async with asyncio.TaskGroup() as group:
        group.create_task(gate.keep())
        group.create_task(_tidying(gate, tidy))


async def _tidying(gate: Gate, tidy: Callable[[], Awaitable[None]]) -> None:
    while True:
        await asyncio.sleep(_EVERY)
        await gate.opens()
        try:
            await tidy()
        except (ZoetropeError, *OUTAGE) as error:
            log.warning("%s: what takes left behind is looked at again later: %s", gate.name, error)
