"""Whether this generator rests: paused by its host, or in its quiet hours. And the memory that its host asks back."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import NoReturn
from uuid import UUID

from clips import generators
from clips.errors import RetryableError
from clips.generators import Orders, Pause
from clips.notices import Notices
from clips.postgres import OUTAGE, Pool
from clips.quiet import QuietHours

log = logging.getLogger(__name__)

_LOOK_EVERY = 10.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a generator is: its host's name, and the device of the settings."""

    machine: str
    device: str


class Resting:
    """`keep` runs beside the worker and looks every ten seconds and at a notice; the worker reads the rest.

    During an outage of the database it stays as it was last told.
    """

    def __init__(
        self,
        pool: Pool,
        generator_id: UUID,
        place: Place,
        quiet: QuietHours | None,
        notices: Notices,
        free: Callable[[], Awaitable[int]],
    ) -> None:
        """`notices` listens to `generators.ORDERS`. `free` gives back the GPU's memory, once no take uses it."""
        self.due = asyncio.Event()
        """What renders has to stop."""
        self._pool = pool
        self._generator_id = generator_id
        self._place = place
        self._quiet = quiet
        self._notices = notices
        self._free = free
        self._asked_back = asyncio.Event()
        self._told: Orders | None = None
        self._quiet_until: datetime | None = None

    @property
    def at_rest(self) -> bool:
        """Claim nothing."""
        return self._quiet_until is not None or (self._told is not None and self._told.pause is not Pause.NO)

    async def look(self) -> None:
        """Once, before the first claim too: a paused generator that was started again shall not render."""
        now = datetime.now().astimezone()
        self._quiet_until = self._quiet.until(now) if self._quiet else None
        place = self._place
        try:
            told = await generators.obey(self._pool, self._generator_id, place.machine, place.device, self._quiet_until)
        except (RetryableError, *OUTAGE) as error:
            log.warning("Could not ask for orders; trying again. %s", error)
            return
        before, self._told = self._told, told
        if told.pause is Pause.NOW:
            self.due.set()
        else:
            self.due.clear()
        if before is not None and told.pause is not before.pause:
            log.warning("Pause: %s.", told.pause)
        if before is not None and told.free_at != before.free_at:
            self._asked_back.set()

    async def keep(self) -> None:
        """Look again and again, until cancelled; a look waits for no render, as memory that is given back does."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._looking())
            group.create_task(self._giving_back())

    async def _looking(self) -> NoReturn:
        while True:
            await self._notices.wait(generators.ORDERS, _LOOK_EVERY)
            await self.look()

    async def _giving_back(self) -> NoReturn:
        while True:
            await self._asked_back.wait()
            self._asked_back.clear()
            log.warning("%.1f GiB of GPU memory are free for others.", await self._free() / 1024**3)
