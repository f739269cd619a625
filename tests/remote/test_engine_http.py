"""What engines share of HTTP: nobody leads them inwards, nothing endless is downloaded, a wait ends with the take."""

from collections.abc import AsyncGenerator
from itertools import islice
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from clips.errors import CancelledError, RetryableError
from generator.engines.http import (
    ForbiddenAddressError,
    GoneError,
    UnusableError,
    download,
    guarded_connector,
    part_after,
    pauses,
    rest,
)
from tests.remote.rehearsal import Circumstances


async def _answer(request: web.Request) -> web.StreamResponse:
    match request.path:
        case "/clip.mp4":
            return web.Response(body=b"clip", content_type="video/mp4")
        case "/inwards":
            raise web.HTTPFound("http://10.0.0.1/latest/meta-data")
        case "/sideways":
            raise web.HTTPFound("http://127.0.0.1:9/")
        case "/by-name":
            raise web.HTTPFound("http://localhost:9/")
        case "/mapped":
            raise web.HTTPFound("http://[::ffff:169.254.169.254]/")
        case "/busy":
            return web.Response(status=503)
        case "/endless":
            response = web.StreamResponse(headers={"Content-Type": "video/mp4"})
            response.enable_chunked_encoding()
            await response.prepare(request)
            for _ in range(100):
                await response.write(bytes(1000))
            return response
        case _:
            raise web.HTTPGone


@pytest.fixture
async def address() -> AsyncGenerator[URL]:
    app = web.Application()
    app.router.add_get("/{any:.*}", _answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield URL(f"http://127.0.0.1:{runner.addresses[0][1]}")
    await runner.cleanup()


@pytest.fixture
async def session(address: URL) -> AsyncGenerator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(connector=guarded_connector(address)) as session:
        yield session


async def test_a_clip_becomes_a_file(session: aiohttp.ClientSession, address: URL, tmp_path: Path):
    await download(session, address / "clip.mp4", tmp_path / "clip.mp4")
    assert names_in(tmp_path) == ["clip.mp4"]
    assert (tmp_path / "clip.mp4").read_bytes() == b"clip"


@pytest.mark.parametrize("path", ["inwards", "sideways", "by-name", "mapped"])
async def test_an_address_that_leads_inwards_is_not_followed(
    session: aiohttp.ClientSession, address: URL, tmp_path: Path, path: str
):
    with pytest.raises(ForbiddenAddressError, match="private network"):
        await download(session, address / path, tmp_path / "clip.mp4")


@pytest.mark.parametrize(
    ("path", "error", "says"),
    [
        ("gone", GoneError, "status 410"),
        ("busy", RetryableError, "status 503"),
        ("endless", UnusableError, "more than the 50000 bytes"),
    ],
)
async def test_what_is_no_clip_leaves_no_file(
    session: aiohttp.ClientSession, address: URL, tmp_path: Path, path: str, error: type[Exception], says: str
):
    with pytest.raises(error, match=says) as caught:
        await download(session, address / path, tmp_path / "clip.mp4", most=50_000)
    assert names_in(tmp_path) == []
    assert str(address) not in str(caught.value)


async def test_a_wait_ends_when_the_take_is_not_wanted_any_more():
    context = Circumstances(CancelledError("by its member"), after=-1)
    with pytest.raises(CancelledError):
        await rest(context, 3600)


def test_looks_become_rarer_up_to_a_bound():
    waits = list(islice(pauses(first=0.5, most=4.0, growth=2.0), 6))
    assert waits == [0.5, 1.0, 2.0, 4.0, 4.0, 4.0]


def test_a_guess_at_progress_rises_and_never_arrives():
    parts = [part_after(seconds, 60) for seconds in range(0, 600, 10)]
    assert parts[0] == 0
    assert parts == sorted(set(parts))
    assert part_after(60, 60) == pytest.approx(0.9, abs=0.001)
    assert parts[-1] < 1


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]
