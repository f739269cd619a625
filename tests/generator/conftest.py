"""One studio a test; whatever happened in it, the promises of the database hold at the end."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from clips.postgres import Pool
from tests.generator.studio import Studio, studio


@pytest.fixture
async def room(dsn: str, pool: Pool, tmp_path: Path) -> AsyncGenerator[Studio]:
    made = await studio(dsn, pool, tmp_path)
    yield made
    await made.promises_hold()
