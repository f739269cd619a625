"""A post office for each test. When it ends, the database keeps its promises and Discord knew every request."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from discord_schema import check_record
from office import Office, opened

from clips.postgres import Pool
from sandbox.server import running
from sandbox.world import Times


@pytest.fixture
def times(request: pytest.FixtureRequest) -> Times:
    """How long things last in the sandbox; as in Discord unless a test says otherwise."""
    return getattr(request, "param", None) or Times()


@pytest.fixture
async def office(pool: Pool, tmp_path: Path, times: Times) -> AsyncGenerator[Office]:
    async with running(tmp_path / "world", times=times) as box, opened(pool, box, tmp_path) as office:
        yield office
        await office.promises_hold()
    check_record(box.record)
