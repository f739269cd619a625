"""A provider on loopback, and a clip for it to give."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from clips import ffmpeg
from clips.postgres import Pool
from tests.generator.studio import Studio, studio
from tests.hosted.provider import Provider


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Two seconds of a test picture with a tone, 96 x 64, 12 frames a second."""
    path = tmp_path_factory.mktemp("provider") / "clip.mp4"
    picture = ("-f", "lavfi", "-i", "testsrc=size=96x64:rate=12:duration=2")
    sound = ("-f", "lavfi", "-i", "sine=duration=2")
    ffmpeg.run("making a clip", path, *picture, *sound, "-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "aac", path)
    return path.read_bytes()


@pytest.fixture
async def room(dsn: str, pool: Pool, tmp_path: Path) -> AsyncGenerator[Studio]:
    made = await studio(dsn, pool, tmp_path)
    yield made
    await made.promises_hold()


@pytest.fixture
async def provider(clip: bytes) -> AsyncGenerator[Provider]:
    async with Provider.running(clip) as running:
        yield running
