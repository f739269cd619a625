"""The pool and the retries, against a real server whose connections are cut and whose transactions collide."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import asyncpg
import pytest

from clips import postgres
from clips.embedded import embedded
from clips.errors import RetryableError, SetupError
from clips.postgres import Connection, Pool, Session, connect, connect_pool, retrying

SESSION = Session("zoetrope tests")


@pytest.fixture
async def numbers(pool: Pool) -> Pool:
    """A pool on a database with a table `numbers (id, value)` that holds (1, 0) and (2, 0)."""
    await pool.execute("CREATE TABLE numbers (id int PRIMARY KEY, value int NOT NULL)")
    await pool.execute("INSERT INTO numbers VALUES (1, 0), (2, 0)")
    return pool


async def test_a_session_speaks_utc_and_json_and_has_a_name(pool: Pool):
    assert await pool.fetchval("SHOW timezone") == "UTC"
    assert await pool.fetchval("SHOW application_name") == "zoetrope tests"
    value = {"motion": "a slow sway, ü", "seeds": [1, 2**40], "avoid": None}
    assert await pool.fetchval("SELECT $1::jsonb", value) == value
    assert await pool.fetchval("SELECT $1::timestamptz", datetime(2026, 1, 2, tzinfo=UTC)) == datetime(
        2026, 1, 2, tzinfo=UTC
    )


async def test_statements_and_waits_for_locks_are_bounded(pool: Pool, dsn: str):
    # Long enough for the statements that a connection begins with, on any machine.
    short = Session("short", statement_timeout=timedelta(seconds=2), lock_timeout=timedelta(seconds=0.5))
    await pool.execute("CREATE TABLE held (id int)")
    async with connect_pool(dsn, short) as bounded, pool.acquire() as holder, holder.transaction():
        with pytest.raises(asyncpg.QueryCanceledError):
            await bounded.execute("SELECT pg_sleep(60)")
        await holder.execute("LOCK TABLE held")
        with pytest.raises(asyncpg.LockNotAvailableError):
            await bounded.execute("SELECT * FROM held")


async def test_a_pool_closes_though_a_connection_is_out(dsn: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(postgres, "_CLOSE_BOUND", 0.1)
    async with connect_pool(dsn, SESSION) as pool:
        connection = await pool.acquire()
    with pytest.raises(asyncpg.InterfaceError, match="released back to the pool"):
        await connection.execute("SELECT 1")


async def test_a_cancel_between_preparing_and_executing_leaves_no_transaction_open(
    dsn: str, monkeypatch: pytest.MonkeyPatch
):
    prepare = asyncpg.Connection._get_statement  # pyright: ignore[reportPrivateUsage] - nothing public is so narrow

    async def cancelled_when_done(*args: Any, **kwargs: Any) -> None:
        await prepare(*args, **kwargs)
        raise asyncio.CancelledError

    async with connect_pool(dsn, SESSION, max_size=1) as pool:
        with monkeypatch.context() as patched:
            patched.setattr(asyncpg.Connection, "_get_statement", cancelled_when_done)
            with pytest.raises(asyncio.CancelledError):
                await pool.fetchval("SELECT count(*) FROM pg_class")
        async with pool.acquire() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
            assert await conn.fetchval("SHOW transaction_isolation") == "repeatable read"


async def test_the_result_and_the_commit(numbers: Pool):
    async def work(connection: Connection) -> object:
        return await connection.fetchval("UPDATE numbers SET value = value + 1 WHERE id = 1 RETURNING value")

    assert await retrying(numbers, work) == 1
    assert await numbers.fetchval("SELECT value FROM numbers WHERE id = 1") == 1


async def test_a_deadlock_is_tried_again(numbers: Pool):
    both_hold = asyncio.Barrier(2)
    attempts = 0

    async def crossing(first: int, second: int) -> None:
        met = False

        async def work(connection: Connection) -> None:
            nonlocal met, attempts
            attempts += 1
            await connection.execute("SET LOCAL deadlock_timeout = '50ms'")
            await connection.execute("UPDATE numbers SET value = value + 1 WHERE id = $1", first)
            if not met:
                met = True
                await both_hold.wait()
            await connection.execute("UPDATE numbers SET value = value + 1 WHERE id = $1", second)

        await retrying(numbers, work)

    await asyncio.gather(crossing(1, 2), crossing(2, 1))
    assert attempts == 3
    assert [record["value"] for record in await numbers.fetch("SELECT value FROM numbers")] == [2, 2]


async def test_a_serialization_failure_is_tried_again(numbers: Pool):
    attempts = 0

    async def work(connection: Connection) -> None:
        nonlocal attempts
        attempts += 1
        await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        seen = await connection.fetchval("SELECT value FROM numbers WHERE id = 1") or 0
        if attempts == 1:
            await numbers.execute("UPDATE numbers SET value = 10 WHERE id = 1")
        await connection.execute("UPDATE numbers SET value = $1 WHERE id = 1", seen + 1)

    await retrying(numbers, work)
    assert attempts == 2
    assert await numbers.fetchval("SELECT value FROM numbers WHERE id = 1") == 11


@pytest.mark.parametrize("moment", ["before a statement", "in a statement"])
async def test_a_lost_connection_is_tried_again(numbers: Pool, moment: str):
    attempts = 0

    async def work(connection: Connection) -> None:
        nonlocal attempts
        attempts += 1
        await connection.execute("UPDATE numbers SET value = value + 1 WHERE id = 1")
        if attempts > 1:
            return
        backend = connection.get_server_pid()
        if moment == "before a statement":
            await numbers.fetchval("SELECT pg_terminate_backend($1, 5000)", backend)
            await connection.execute("SELECT 1")
        else:
            await asyncio.gather(
                connection.execute("SELECT pg_sleep(20)"), numbers.fetchval("SELECT pg_terminate_backend($1)", backend)
            )

    await retrying(numbers, work)
    assert attempts == 2
    assert await numbers.fetchval("SELECT value FROM numbers WHERE id = 1") == 1


async def test_a_client_that_freezes_in_a_transaction_lets_go_of_its_locks(numbers: Pool, dsn: str):
    attempts = 0
    holds, thawed = asyncio.Event(), asyncio.Event()

    async def work(connection: Connection) -> None:
        nonlocal attempts
        attempts += 1
        await connection.execute("UPDATE numbers SET value = value + 1 WHERE id = 1")
        if not thawed.is_set():
            holds.set()
            await thawed.wait()

    # Longer than a busy machine takes from one statement to the next.
    session = Session("frozen", idle_timeout=timedelta(seconds=1))
    async with connect_pool(dsn, session) as frozen, asyncio.TaskGroup() as group:
        group.create_task(retrying(frozen, work))
        await holds.wait()
        # It waits for the lock until the frozen transaction is gone.
        await numbers.execute("UPDATE numbers SET value = value + 10 WHERE id = 1")
        thawed.set()
    assert attempts >= 2
    assert await numbers.fetchval("SELECT value FROM numbers WHERE id = 1") == 11


async def test_work_goes_on_when_the_server_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    # As long as the usual ones or longer, for a start on a busy machine.
    monkeypatch.setattr(postgres, "_PAUSES", (*postgres._PAUSES, *[1.0] * 30))  # pyright: ignore[reportPrivateUsage]

    async def one(connection: Connection) -> object:
        return await connection.fetchval("SELECT 1")

    async with embedded(tmp_path) as dsn:
        pools = connect_pool(dsn, SESSION)
        pool = await pools.__aenter__()
        assert await retrying(pool, one) == 1
    try:
        waiting = asyncio.create_task(retrying(pool, one))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        async with embedded(tmp_path):
            assert await waiting == 1
    finally:
        await pools.__aexit__(None, None, None)


async def test_attempts_are_bounded(numbers: Pool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(postgres, "_PAUSES", (0.01, 0.01))
    attempts = 0

    async def work(connection: Connection) -> None:
        nonlocal attempts
        attempts += 1
        connection.terminate()
        await connection.execute("SELECT 1")

    with pytest.raises(RetryableError, match="in 3 attempts"):
        await retrying(numbers, work)
    assert attempts == 3


@pytest.mark.parametrize(
    "error", [OSError("the disk"), asyncpg.InterfaceError("a wrong call"), TimeoutError(), ValueError("ours")]
)
async def test_errors_of_the_work_itself_are_not_tried_again(numbers: Pool, error: Exception):
    attempts = 0

    async def work(connection: Connection) -> None:
        nonlocal attempts
        attempts += 1
        await connection.execute("UPDATE numbers SET value = 5")
        raise error

    with pytest.raises(type(error)):
        await retrying(numbers, work)
    assert attempts == 1
    assert await numbers.fetchval("SELECT sum(value) FROM numbers") == 0


async def test_a_refused_statement_is_not_tried_again(numbers: Pool):
    with pytest.raises(asyncpg.UniqueViolationError):
        await retrying(numbers, lambda connection: connection.execute("INSERT INTO numbers VALUES (1, 1)"))


async def test_behind_pgbouncer_nothing_is_kept_prepared(dsn: str):
    pooled = dsn + "&pgbouncer=true"
    async with connect_pool(pooled, SESSION) as pool:
        assert await pool.fetchval("SELECT $1::jsonb", {"a": 1}) == {"a": 1}
        assert await pool.fetchval("SELECT count(*) FROM pg_prepared_statements") == 0
        assert await pool.fetchval("SHOW timezone") == "UTC"
        assert await pool.fetchval("SHOW statement_timeout") == "0"  # as the role says


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("postgresql://ann:secret@127.0.0.1:1/zoetrope", "server at 127.0.0.1 cannot be reached"),
        ("postgresql://ann:secret@nowhere.invalid/zoetrope", "server at nowhere.invalid cannot be reached"),
        ("postgresql://ann:secret@/zoetrope?host=/nowhere", "its local socket cannot be reached"),
        ("mysql://ann:secret@localhost/zoetrope", "not an address that Postgres understands"),
        ("postgresql://ann:secret@localhost:port/zoetrope", "not an address that Postgres understands"),
    ],
)
async def test_an_address_that_leads_nowhere(address: str, sentence: str):
    with pytest.raises(SetupError, match=sentence) as told:
        await connect(address, SESSION)
    assert "secret" not in str(told.value)
    with pytest.raises(SetupError, match=sentence):
        async with connect_pool(address, SESSION):
            pass


async def test_a_database_or_user_that_does_not_exist(server: str):
    with pytest.raises(SetupError, match='database "lost" does not exist'):
        await connect(server.replace("/postgres?", "/lost?"), SESSION)
    with pytest.raises(SetupError, match="refused the user 'ann'"):
        await connect(server.replace("//zoetrope@", "//ann@"), SESSION)


async def test_pgbouncer_without_being_named():
    """As PgBouncer 1.18 answers a session that wants its time-outs set."""
    fields = b"SFATAL\0C08P01\0Munsupported startup parameter: statement_timeout\0\0"

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(8)
        writer.write(b"N")  # no TLS
        await reader.read(1000)
        writer.write(b"E" + (len(fields) + 4).to_bytes(4) + fields)
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1") as pooler:
        port = pooler.sockets[0].getsockname()[1]
        with pytest.raises(SetupError, match="add `pgbouncer=true` to the address"):
            await connect(f"postgresql://ann@127.0.0.1:{port}/zoetrope", SESSION)


async def test_a_server_too_old_is_refused(monkeypatch: pytest.MonkeyPatch):
    old = create_autospec(asyncpg.Connection, instance=True)
    old.get_server_version.return_value = asyncpg.ServerVersion(14, 9, 0, "final", 0)
    monkeypatch.setattr(asyncpg, "connect", create_autospec(asyncpg.connect, return_value=old))
    with pytest.raises(SetupError, match="PostgreSQL 14; Zoetrope needs 15 or newer"):
        await connect("postgresql://localhost/zoetrope", SESSION)
    old.terminate.assert_called_once_with()
