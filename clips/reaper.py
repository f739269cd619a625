"""Keeps the queue in order, in any process that cares to: what died, waits for too long or may go on is seen to."""

import asyncio
import logging
import time
from datetime import timedelta
from itertools import count
from typing import NoReturn

from clips import queue
from clips.postgres import OUTAGE, Connection, Pool

log = logging.getLogger(__name__)

_EVERY = 2.0
_MOST = 200
"""Steps in a row; the rest comes next time."""


async def keep_order(pool: Pool, lease: timedelta) -> NoReturn:
    """Look after the queue every two seconds until cancelled, on one connection of the pool.

    A lost lease counts as lost only after this connection has stood for one lease: whatever kept us from the database
    may have kept the generators from it, and their renders go on.
    """
    while True:
        try:
            async with pool.acquire() as conn:
                await _look_after(conn, lease)
        except OUTAGE as error:
            log.warning("Could not look after the queue; trying again. %s", error)
            await asyncio.sleep(1)


async def _look_after(conn: Connection, lease: timedelta) -> NoReturn:
    pause = min(_EVERY, lease.total_seconds() / 2)
    # By the wall: the monotonic clock sleeps with the machine, and the database's does not.
    since, last = time.time(), time.time()
    while True:
        if abs(time.time() - last) > pause + lease.total_seconds() / 2:
            since = time.time()
        for step_number in count():
            trusted = time.time() - since > lease.total_seconds()
            if step_number == _MOST or (step := await queue.reap_one(conn, lease if trusted else None)) is None:
                break
            log.info("Queue: %s.", step)
        last = time.time()
        await asyncio.sleep(pause)
