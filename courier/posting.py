"""The courier: leases deliveries as they fall due and has each brought to its channel. Couriers may be many."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import NoReturn
from uuid import uuid4

import asyncpg
import discord

from clips import deliveries
from clips.blobs import BlobStore
from clips.catalog import Catalog
from clips.checkpoints import Checkpoints
from clips.deliveries import Delivery
from clips.errors import RetryableError
from clips.notices import Hint, Notices
from clips.postgres import Pool
from courier.messenger import Messenger
from courier.troubles import Later, Never, judge
from courier.uploads import Uploads

log = logging.getLogger(__name__)

_POLL = 5.0
_GRACE = 10.0
"""Seconds that a message on its way gets when the courier stops."""
_FAULT = timedelta(minutes=5)
_TICK = 1.0
_EDITS_A_TICK = 10

_BROKEN = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
_DATABASE = (OSError, RetryableError, *_BROKEN)


async def tick_cards(pool: Pool) -> NoReturn:
    """Have live cards drawn again as they age, until cancelled. For one process: the bot."""
    while True:
        try:
            await deliveries.refresh_cards(pool, _EDITS_A_TICK)
        except _DATABASE as error:
            log.warning("Live cards could not be refreshed; trying again. %s", error)
        await asyncio.sleep(_TICK)


class Courier:
    """Brings messages to Discord. `client` is logged in and may never have connected."""

    def __init__(
        self,
        pool: Pool,
        blobs: BlobStore,
        client: discord.Client,
        catalog: Catalog,
        *,
        attachment_limit: int,
        checkpoints: Checkpoints | None = None,
        workers: int = 4,
    ) -> None:
        self._pool = pool
        self._workers = workers
        uploads = Uploads(pool, blobs, client, attachment_limit)
        self._messenger = Messenger(pool, client, catalog, uploads, checkpoints or Checkpoints())

    async def run(self, notices: Notices) -> None:
        """Deliver until cancelled; what is on its way then has ten seconds. `notices` hear `deliveries.CHANGED`."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._workers):
                group.create_task(self._work(notices.subscribe(deliveries.CHANGED)))

    async def deliver_one(self) -> bool:
        """See to the most urgent delivery. False: none is due. Raises what the database raises."""
        # An owner of its own for each lease: a sibling that takes over an expired one must not pass for us.
        delivery = await deliveries.lease(self._pool, uuid4())
        if delivery is None:
            return False
        async with self._holding(delivery):
            try:
                await self._messenger.bring(delivery)
            except asyncio.CancelledError:
                with suppress(*_DATABASE):
                    await deliveries.try_later(self._pool, delivery, timedelta(0))
                raise
            except _BROKEN:
                raise
            except Exception as error:  # noqa: BLE001 - judged, and logged with its trace where it is a fault
                await self._put_off(delivery, error)
        return True

    async def _work(self, hint: Hint) -> NoReturn:
        while True:
            delivering = asyncio.create_task(self.deliver_one())
            try:
                if await asyncio.shield(delivering):
                    continue
                due = await deliveries.next_due(self._pool)
            except asyncio.CancelledError:
                await asyncio.wait([delivering], timeout=_GRACE)
                delivering.cancel()
                await asyncio.wait([delivering])
                raise
            except _DATABASE as error:
                log.warning("Deliveries wait for the database: %s", error)
                due = 2.0
            await hint.wait(_POLL if due is None else min(max(due, 0.05), _POLL))

    @asynccontextmanager
    async def _holding(self, delivery: Delivery) -> AsyncGenerator[None]:
        """Renew the lease for as long as the block takes."""

        async def renew() -> None:
            while True:
                await asyncio.sleep(deliveries.LEASE.total_seconds() / 3)
                try:
                    await deliveries.keep(self._pool, delivery)
                except _DATABASE as error:
                    log.warning("The lease of delivery %s could not be renewed: %s", delivery.delivery_id, error)

        renewing = asyncio.create_task(renew())
        try:
            yield
        finally:
            renewing.cancel()
            await asyncio.wait([renewing])

    async def _put_off(self, delivery: Delivery, error: Exception) -> None:
        match judge(error, delivery.attempts, delivery.refusals):
            case Later(pause, why, refused):
                log.warning("Delivery %s waits %.0f s: %s", delivery.delivery_id, pause.total_seconds(), why)
                await deliveries.try_later(self._pool, delivery, pause, trouble=why if refused else None)
            case Never(why):
                log.warning("Delivery %s is given up: %s", delivery.delivery_id, why)
                await deliveries.give_up(self._pool, delivery, why)
            case None:
                log.error("Delivery %s failed.", delivery.delivery_id, exc_info=error)
                await deliveries.try_later(self._pool, delivery, _FAULT)
