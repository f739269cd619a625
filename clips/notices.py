"""Postgres notices on a connection of their own: hints that spare a poller its pause. Polling stays the truth.

A notice may be lost (a connection that breaks) and never arrives through PgBouncer, which needs a direct DSN here. So
whoever waits, waits with a bound and looks anyway; and after a reconnection everybody is told to look.
"""

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg

from clips.errors import SetupError
from clips.postgres import OUTAGE, Session, connect

log = logging.getLogger(__name__)

Callback = Callable[[str | None], object]
"""Called in the event loop with a notice's payload, or None after a time in which notices may have been missed."""

_LONGEST_PAUSE = 5.0
_PROBE_EVERY = 30.0
"""Seconds of silence after which the connection is tried: a cut cable says nothing."""


class Hint:
    """One waiter's view of a channel: whether something was said since it last waited."""

    def __init__(self) -> None:
        self._said = asyncio.Event()

    def give(self) -> None:
        self._said.set()

    async def wait(self, timeout: float) -> bool:  # noqa: ASYNC109 - to run out of time is an answer, not an error
        """Returns at the first notice since the last call returned, or after `timeout` seconds; whether there was one.

        Notices that came between two calls count, so looking first and waiting then misses nothing.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._said.wait()
        said = self._said.is_set()
        self._said.clear()
        return said


class Notices:
    """The channels that this process listens to. Made by `listen`."""

    def __init__(self, dsn: str, session: Session, channels: Iterable[str]) -> None:
        self._dsn = dsn
        self._session = session
        self._callbacks: dict[str, list[Callback]] = {channel: [] for channel in channels}
        self._hints = {channel: self.subscribe(channel) for channel in self._callbacks}

    def subscribe(self, channel: str) -> Hint:
        """A hint of the caller's own. It lasts as long as the notices: for a worker, not for a request."""
        hint = Hint()
        self._callbacks[channel].append(lambda _: hint.give())
        return hint

    async def wait(self, channel: str, timeout: float) -> bool:  # noqa: ASYNC109 - as for a hint
        """`Hint.wait` for a channel that has one waiter in this process; several subscribe, each for itself."""
        return await self._hints[channel].wait(timeout)

    def call(self, channel: str, callback: Callback) -> Callable[[], None]:
        """Calls back at every notice from now on, until the returned function is called."""
        self._callbacks[channel].append(callback)
        return lambda: self._callbacks[channel].remove(callback)

    async def open(self) -> asyncpg.Connection:
        """A connection that listens. `SetupError` or what Postgres says."""
        connection = await connect(self._dsn, self._session)
        try:
            for channel in self._callbacks:
                await connection.add_listener(channel, self._notified)
        except BaseException:
            connection.terminate()
            raise
        return connection

    async def keep(self, connection: asyncpg.Connection) -> None:
        """Holds the connection open, and replaces it when it breaks, until cancelled."""
        try:
            while True:
                await _broken(connection)
                connection.terminate()
                log.warning("The connection for notices broke; connecting again.")
                connection = await self._reopened()
                for channel in self._callbacks:
                    self._tell(channel, None)
        finally:
            connection.terminate()

    async def _reopened(self) -> asyncpg.Connection:
        pause = 0.1
        while True:
            try:
                return await self.open()
            except (SetupError, *OUTAGE):
                await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - spreads rivals, guards nothing
                pause = min(pause * 2, _LONGEST_PAUSE)

    def _notified(self, _connection: Any, _process: int, channel: str, payload: object) -> None:  # noqa: ANN401 - asyncpg's
        self._tell(channel, str(payload))

    def _tell(self, channel: str, payload: str | None) -> None:
        for callback in tuple(self._callbacks[channel]):
            try:
                callback(payload)
            except Exception:
                log.exception("A callback for %s failed.", channel)


@asynccontextmanager
async def listen(dsn: str, session: Session, channels: Iterable[str]) -> AsyncGenerator[Notices]:
    """Listens from the start to the end of the block, whatever happens to the connection.

    `dsn` leads to Postgres itself, not to PgBouncer. `SetupError` if the first connection cannot be had.
    """
    notices = Notices(dsn, session, channels)
    keeper = asyncio.create_task(notices.keep(await notices.open()))
    await asyncio.sleep(0)  # begun, it closes its connection however soon it is cancelled
    try:
        yield notices
    finally:
        keeper.cancel()
        await asyncio.wait([keeper])


async def _broken(connection: asyncpg.Connection) -> None:
    """Returns once the connection is of no more use."""
    ended = asyncio.Event()
    connection.add_termination_listener(lambda _: ended.set())
    while not connection.is_closed():
        try:
            async with asyncio.timeout(_PROBE_EVERY):
                await ended.wait()
        except TimeoutError:
            try:
                await connection.execute("SELECT 1", timeout=10)
            except OUTAGE:
                return
