"""Connections to Postgres: the pool, single connections, and transactions that are tried again.

Every session speaks UTC, gives jsonb as Python values, and is bounded in how long a statement runs or waits for a lock.
Where the server comes from is no matter here; one of our own comes from `clips.embedded`.

PgBouncer in transaction mode: `?pgbouncer=true` in the DSN. Statements are then not kept prepared, and the time-outs
cannot travel as start-up settings; give them to the role (`ALTER ROLE … SET statement_timeout = '30s'`). LISTEN needs a
direct DSN (`clips.notices`).
"""

import asyncio
import json
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from clips.errors import RetryableError, SetupError

Pool = asyncpg.Pool
Connection = asyncpg.Connection | PoolConnectionProxy
_Result = TypeVar("_Result")

OLDEST_SERVER = 15
_CLOSE_BOUND = 10.0
_PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
"""Seconds before each further attempt, ± half; together enough for a server to restart."""

OUTAGE = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What a statement outside `retrying` may raise while the server or the way to it fails; for those who wait it out."""

_CONFLICTS = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
# asyncpg may answer with InternalClientError once a backend has died. TimeoutError is an OSError.
_LOST = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.InternalClientError,
    asyncpg.InterfaceError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
)
_UNREACHABLE = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.InternalClientError,
    asyncpg.AdminShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
)


@dataclass(frozen=True, slots=True)
class Session:
    """What every connection is opened with. The bounds hold on the server; the client waits a little longer."""

    application_name: str
    statement_timeout: timedelta = timedelta(seconds=30)
    lock_timeout: timedelta = timedelta(seconds=10)
    idle_timeout: timedelta = timedelta(seconds=60)
    """Between two statements of a transaction: a client that froze or lost its network must not keep its locks."""


@asynccontextmanager
async def connect_pool(dsn: str, session: Session, *, max_size: int = 10) -> AsyncGenerator[Pool]:
    """A pool whose first connection stands, closed at the end. `SetupError` where no session can be had."""
    with _explained(dsn):
        arguments = _arguments(dsn, session)
        pool = asyncpg.create_pool(
            min_size=1, max_size=max_size, init=_greet, reset=_keep, connection_class=_Connection, **arguments
        )
        try:
            await pool
        except BaseException:
            pool.terminate()
            raise
    try:
        yield pool
    finally:
        try:
            async with asyncio.timeout(_CLOSE_BOUND):
                await pool.close()
        except TimeoutError:
            pool.terminate()


async def connect(dsn: str, session: Session) -> asyncpg.Connection:
    """One connection outside any pool, for the caller to close. `SetupError` where it cannot be had."""
    with _explained(dsn):
        arguments = _arguments(dsn, session)
        connection = await asyncpg.connect(**arguments)
        try:
            await _greet(connection)
        except BaseException:
            connection.terminate()
            raise
        return connection


async def retrying(
    pool: Pool, work: Callable[[Connection], Awaitable[_Result]], *, one_statement: bool = False
) -> _Result:
    """Runs `work` in a transaction, and again after a deadlock, a serialization failure or a lost connection.

    `one_statement`: it is a transaction by itself, which saves the two round trips of opening and committing one.
    A connection lost while committing leaves open whether the transaction counts: `work` must come out the same when it
    runs again after it has counted (insert on a key, match the lease). `RetryableError` once the attempts are used up.
    """
    for attempt in count():
        try:
            return await _attempt(pool, work, one_statement=one_statement)
        except _TryAgainError as again:
            if attempt == len(_PAUSES):
                raise RetryableError(f"Postgres did not carry this out in {attempt + 1} attempts: {again}") from again
            pause = _PAUSES[attempt]
        await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - spreads rivals, guards nothing
    raise AssertionError


class _TryAgainError(Exception):
    """The attempt failed for a reason that passes."""


async def _attempt(pool: Pool, work: Callable[[Connection], Awaitable[_Result]], *, one_statement: bool) -> _Result:
    try:
        connection = await pool.acquire()
    except _UNREACHABLE as error:
        raise _TryAgainError(_words(error)) from error
    try:
        async with nullcontext() if one_statement else connection.transaction():
            return await work(connection)
    except _CONFLICTS as error:
        raise _TryAgainError(_words(error)) from error
    except _LOST as error:
        # The same types come from a wrong call or from the work's own files: only a dead connection makes them ours.
        if not _is_dead(connection):
            raise
        raise _TryAgainError(_words(error)) from error
    finally:
        with suppress(*_LOST):  # the pool drops a connection that it cannot reset
            await pool.release(connection)


def _is_dead(connection: PoolConnectionProxy) -> bool:
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:  # it died so thoroughly that the pool took it back by itself
        return True


async def _greet(connection: Connection) -> None:
    major = connection.get_server_version().major
    if major < OLDEST_SERVER:
        raise SetupError(f"The database server is PostgreSQL {major}; Zoetrope needs {OLDEST_SERVER} or newer.")
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads)


class _Connection(asyncpg.Connection):
    """A connection that knows whether a cancel came between the preparing of a statement and its execution.

    asyncpg (0.32) then takes it for idle, and the server still waits in the transaction that the preparing opened.
    """

    half_prepared = False

    async def _get_statement(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - passed through
        try:
            return await super()._get_statement(*args, **kwargs)
        except asyncio.CancelledError:
            self.half_prepared = True
            raise


async def _keep(connection: Connection) -> None:
    """Nothing of ours sets anything in a session, so each use is spared the round trip of a reset, if none is due."""
    if isinstance(connection, _Connection) and connection.half_prepared:
        await connection.execute("SELECT")  # any statement ends what the server has open
        connection.half_prepared = False


def _arguments(dsn: str, session: Session) -> dict[str, Any]:
    """The arguments that asyncpg connects with."""
    parts = urlsplit(dsn)
    query = parse_qsl(parts.query, keep_blank_values=True)
    pooled = ("pgbouncer", "true") in query
    server_settings = {"application_name": session.application_name, "timezone": "UTC"}
    if not pooled:
        server_settings |= {
            "statement_timeout": _milliseconds(session.statement_timeout),
            "lock_timeout": _milliseconds(session.lock_timeout),
            "idle_in_transaction_session_timeout": _milliseconds(session.idle_timeout),
        }
    arguments: dict[str, Any] = {
        "dsn": parts._replace(query=urlencode([pair for pair in query if pair[0] != "pgbouncer"])).geturl(),
        "server_settings": server_settings,
        "command_timeout": session.statement_timeout.total_seconds() + 5,
        "timeout": 15,
    }
    if pooled:
        arguments["statement_cache_size"] = 0
    return arguments


def _milliseconds(duration: timedelta) -> str:
    return str(round(duration.total_seconds() * 1000))


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__


@contextmanager
def _explained(dsn: str) -> Generator[None]:
    """Turns a failure to connect into a sentence for the host; the DSN's password stays out of it."""
    try:
        yield
    except (asyncpg.ClientConfigurationError, ValueError) as error:
        raise SetupError(f"DATABASE_URL is not an address that Postgres understands: {error}.") from error
    except (asyncpg.InvalidPasswordError, asyncpg.InvalidAuthorizationSpecificationError) as error:
        raise SetupError(
            f"DATABASE_URL: {_where(dsn)} refused the user {urlsplit(dsn).username!r}: {error}."
        ) from error
    except asyncpg.InvalidCatalogNameError as error:
        raise SetupError(f"DATABASE_URL: {_where(dsn)} says: {error}. Create it, or name another one.") from error
    except asyncpg.ProtocolViolationError as error:
        raise SetupError(
            f"DATABASE_URL: {_where(dsn)} refused the session ({error}). If it is PgBouncer, add `pgbouncer=true` "
            "to the address, after a `?`."
        ) from error
    except _UNREACHABLE as error:
        raise SetupError(f"DATABASE_URL: {_where(dsn)} cannot be reached ({_words(error)}). Is it running?") from error


def _where(dsn: str) -> str:
    return f"the database server at {urlsplit(dsn).hostname or 'its local socket'}"
