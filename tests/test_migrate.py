import asyncio
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from clips.errors import SetupError
from clips.migrate import migrate, pending
from clips.postgres import Session, connect

CREATE = "CREATE TABLE frames (id int);"
FILL = "INSERT INTO frames SELECT generate_series(1, 3);"


@pytest.fixture
async def empty(server: str, dsn: str) -> AsyncGenerator[asyncpg.Connection]:
    """A connection whose schema holds nothing, in a database that goes after the test."""
    connection = await connect(dsn, Session("zoetrope tests"))
    schema = f"empty_{uuid4().hex[:8]}"
    await connection.execute(f"CREATE SCHEMA {schema}; SET search_path = {schema}")
    yield connection
    await connection.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "0001_create.sql").write_text(CREATE)
    (tmp_path / "0002_fill.sql").write_text(FILL)
    (tmp_path / "__init__.py").write_text("")
    return tmp_path


async def test_applies_in_order_and_once(empty: asyncpg.Connection, folder: Path):
    assert [m.name for m in await pending(empty, folder)] == ["0001_create.sql", "0002_fill.sql"]
    assert [m.number for m in await migrate(empty, folder)] == [1, 2]
    assert await migrate(empty, folder) == ()
    assert await pending(empty, folder) == ()
    assert await empty.fetchval("SELECT count(*) FROM frames") == 3
    records = await empty.fetch("SELECT number, name, length(checksum), applied_at IS NOT NULL FROM applied_migrations")
    assert [tuple(record) for record in records] == [(1, "0001_create.sql", 64, True), (2, "0002_fill.sql", 64, True)]


async def test_a_new_file_is_all_that_is_applied(empty: asyncpg.Connection, folder: Path):
    await migrate(empty, folder)
    (folder / "0003_more.sql").write_text(FILL)
    assert [m.name for m in await migrate(empty, folder)] == ["0003_more.sql"]
    assert await empty.fetchval("SELECT count(*) FROM frames") == 6


async def test_an_empty_folder_is_fine(empty: asyncpg.Connection, tmp_path: Path):
    assert await migrate(empty, tmp_path) == ()


async def test_line_ends_of_a_checkout_change_nothing(empty: asyncpg.Connection, folder: Path):
    (folder / "0001_create.sql").write_bytes(b"-- one\nCREATE TABLE frames (id int);\n")
    await migrate(empty, folder)
    (folder / "0001_create.sql").write_bytes(b"-- one\r\nCREATE TABLE frames (id int);\r\n")
    assert await migrate(empty, folder) == ()


async def test_a_failing_file_leaves_nothing_of_itself(empty: asyncpg.Connection, folder: Path):
    (folder / "0003_broken.sql").write_text("INSERT INTO frames VALUES (9);\n\nINSERT INTO nowhere VALUES (1);")
    with pytest.raises(SetupError, match=r"0003_broken\.sql failed at line 3: .*nowhere"):
        await migrate(empty, folder)
    assert await empty.fetchval("SELECT count(*) FROM frames") == 3
    assert [m.number for m in await pending(empty, folder)] == [3]


DISAGREEMENTS: list[tuple[Callable[[Path], object], str]] = [
    (lambda f: (f / "0001_create.sql").write_text(CREATE + " "), "0001_create.sql is not the one"),
    (lambda f: (f / "0001_create.sql").rename(f / "0001_make.sql"), "0001_create.sql is not the one"),
    (lambda f: (f / "0002_fill.sql").unlink(), "migrated by a newer Zoetrope .*0002_fill"),
    (lambda f: (f / "0001_create.sql").unlink(), "0002_fill.sql should be number 0001"),
    (lambda f: (f / "0004_gap.sql").write_text(FILL), "0004_gap.sql should be number 0003"),
    (lambda f: (f / "0002_twice.sql").write_text(FILL), "0002_twice.sql should be number 0003"),
    (lambda f: (f / "3_short.sql").write_text(FILL), "3_short.sql is not named like"),
]


@pytest.mark.parametrize(("change", "sentence"), DISAGREEMENTS)
async def test_files_that_disagree_with_the_record_are_refused(
    empty: asyncpg.Connection, folder: Path, change: Callable[[Path], object], sentence: str
):
    await migrate(empty, folder)
    change(folder)
    for deed in (migrate, pending):
        with pytest.raises(SetupError, match=sentence):
            await deed(empty, folder)


async def test_a_record_with_a_hole_is_refused(empty: asyncpg.Connection, folder: Path):
    await migrate(empty, folder)
    await empty.execute("DELETE FROM applied_migrations WHERE number = 1")
    with pytest.raises(SetupError, match="lacks number 0001"):
        await migrate(empty, folder)


async def test_many_processes_may_start_at_once(empty: asyncpg.Connection, dsn: str, folder: Path):
    (folder / "0001_create.sql").write_text(CREATE + "SELECT pg_sleep(0.2);")
    schema = await empty.fetchval("SELECT current_schema()")
    connections = [await connect(dsn, Session("zoetrope tests")) for _ in range(6)]
    try:
        for connection in connections:
            await connection.execute(f"SET search_path = {schema}")
        applied = await asyncio.gather(*(migrate(connection, folder) for connection in connections))
    finally:
        for connection in connections:
            await connection.close()
    assert sorted(m.number for some in applied for m in some) == [1, 2]
    assert await empty.fetchval("SELECT count(*) FROM frames") == 3


async def test_the_database_of_a_test_has_every_migration(dsn: str):
    connection = await connect(dsn, Session("zoetrope tests"))
    try:
        assert await pending(connection) == ()
    finally:
        await connection.close()
