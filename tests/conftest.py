"""A real Postgres for the whole run, migrated once, and a copy of that database for each test that asks for one.

`ZOETROPE_TEST_DATABASE_URL` names another server (a user who may create databases) to run against.
"""

import os
import signal
import subprocess
from collections.abc import AsyncGenerator, Generator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import hypothesis
import pytest
import pytest_asyncio

from clips.embedded import embedded
from clips.migrate import migrate
from clips.postgres import Pool, Session, connect, connect_pool

# What is committed outlives the server's processes; only a crash of the machine may lose it.
KILLABLE = {"fsync": "off", "full_page_writes": "off"}
# A killed server may lose this data: it is made again in a second.
CARELESS = {**KILLABLE, "synchronous_commit": "off"}

# A busy machine may take its time for one example, and for making them up. Every run tries the same ones, so that a
# change is what makes one fail; `--hypothesis-profile=exploring` tries others each time.
hypothesis.settings.register_profile(
    "exploring", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.register_profile("steady", hypothesis.settings.get_profile("exploring"), derandomize=True)
hypothesis.settings.load_profile("steady")

# A shell that starts us in the background has us ignore Ctrl-C, and so would all that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
# pytest-xdist tells its workers a width of the terminal; our consoles would keep to it in tests that ask for another.
os.environ.pop("COLUMNS", None)


async def _drop(administrator: asyncpg.Connection, name: str) -> None:
    """A session that is told to end may take longer for it, on a busy machine, than Postgres waits."""
    for _ in range(10):
        with suppress(asyncpg.ObjectInUseError):
            await administrator.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            return
    raise AssertionError(f"the database {name} cannot be dropped")


def _database(dsn: str, name: str) -> str:
    return urlsplit(dsn)._replace(path=f"/{name}").geturl()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[str]:
    """The DSN of a server on which databases can be made."""
    if given := os.environ.get("ZOETROPE_TEST_DATABASE_URL"):
        yield given
        return
    async with embedded(tmp_path_factory.mktemp("postgres"), settings=CARELESS) as dsn:
        yield dsn


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def template(server: str) -> AsyncGenerator[str]:
    """The name of a migrated, otherwise empty database that nobody is connected to."""
    name = f"zoetrope_template_{uuid4().hex[:12]}"
    administrator = await asyncpg.connect(server)
    await administrator.execute(f"CREATE DATABASE {name}")
    connection = await connect(_database(server, name), Session("zoetrope tests"))
    try:
        await migrate(connection)
    finally:
        await connection.close()
    yield name
    await _drop(administrator, name)
    await administrator.close()


@pytest.fixture
async def dsn(server: str, template: str) -> AsyncGenerator[str]:
    """A database of the test's own, migrated."""
    name = f"zoetrope_test_{uuid4().hex[:12]}"
    administrator = await asyncpg.connect(server)
    await administrator.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
    yield _database(server, name)
    await _drop(administrator, name)
    await administrator.close()


@pytest.fixture
async def pool(dsn: str) -> AsyncGenerator[Pool]:
    async with connect_pool(dsn, Session("zoetrope tests")) as connections:
        yield connections


@pytest.fixture
def small_disk(tmp_path: Path) -> Generator[Path]:
    """A disk of 16 MB: too small for a Postgres or a few clips."""
    disk = tmp_path / "disk"
    disk.mkdir()
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", disk], check=True, capture_output=True)
    except subprocess.CalledProcessError:
        pytest.skip("no right to mount a small disk")
    yield disk
    subprocess.run(["umount", disk], check=True)
