"""A stage for each test of the bot. When it ends, the database keeps its promises and Discord knew every request."""

from collections.abc import AsyncGenerator
from pathlib import Path

import aiohttp
import pytest
from discord_schema import check_record
from people import Person

from clips.blobs import BlobStore
from clips.postgres import Pool
from sandbox import seed
from sandbox.server import running
from tests.bot.stage import PATIENT, Stage


@pytest.fixture
async def empty(dsn: str, pool: Pool, tmp_path: Path) -> AsyncGenerator[Stage]:
    """Everything but the bot; a generator that runs `sketch` is announced."""
    async with running(tmp_path / "world", times=PATIENT) as box, aiohttp.ClientSession(box.address) as session:
        stage = Stage(box, session, dsn, pool, BlobStore.from_url(str(tmp_path / "blobs")), tmp_path)
        await stage.announce("sketch")
        yield stage
        await stage.promises_hold()
    check_record(box.record)


@pytest.fixture
async def stage(empty: Stage) -> AsyncGenerator[Stage]:
    """A stage with the bot on it."""
    async with empty.playing():
        yield empty


@pytest.fixture
def mara(empty: Stage) -> Person:
    """The moderator and owner."""
    return empty.person(seed.MARA)


@pytest.fixture
def juno(empty: Stage) -> Person:
    """A member like many."""
    return empty.person(seed.JUNO)


@pytest.fixture
def theo(empty: Stage) -> Person:
    """Another one."""
    return empty.person(seed.THEO)


@pytest.fixture
async def lobby(juno: Person) -> str:
    return await juno.channel("lobby")
