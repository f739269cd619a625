"""Photos come from Discord's own hosts, as large as they may be, and from nowhere that an address leads on to."""

from collections.abc import AsyncGenerator
from datetime import timedelta

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from bot.download import Downloads
from clips.errors import PhotoError
from clips.photo import PhotoLimits

LIMITS = PhotoLimits(max_bytes=100_000)


class Host:
    """A web server that counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.address = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path_qs)
        match request.path:
            case "/photo.png":
                return web.Response(body=b"photo")
            case "/away.png":
                raise web.HTTPFound("/photo.png")
            case "/large.png":
                return web.Response(body=bytes(100_001))
            case "/endless.png":
                response = web.StreamResponse()
                response.enable_chunked_encoding()
                await response.prepare(request)
                for _ in range(100):
                    await response.write(bytes(10_000))
                return response
            case _:
                raise web.HTTPNotFound


@pytest.fixture
async def host() -> AsyncGenerator[Host]:
    host = Host()
    app = web.Application()
    app.router.add_get("/{any:.*}", host.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host.address = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield host
    await runner.cleanup()


@pytest.fixture
async def downloads(host: Host) -> AsyncGenerator[Downloads]:
    async with aiohttp.ClientSession() as session:
        yield Downloads(session, {URL(host.address)}, LIMITS, bound=timedelta(seconds=5))


async def test_the_address_goes_out_as_discord_signed_it(host: Host, downloads: Downloads):
    assert await downloads.fetch(f"{host.address}/photo.png?ex=66%2f&hm=a+b") == b"photo"
    assert host.asked == ["/photo.png?ex=66%2f&hm=a+b"]


@pytest.mark.parametrize("path", ["/large.png", "/endless.png"])
async def test_what_is_too_large_is_refused_before_it_is_here(host: Host, downloads: Downloads, path: str):
    with pytest.raises(PhotoError, match="at most"):
        await downloads.fetch(host.address + path)
    assert len(host.asked) == 1


async def test_an_address_that_leads_on_is_not_followed(host: Host, downloads: Downloads):
    with pytest.raises(PhotoError, match="could not be fetched"):
        await downloads.fetch(f"{host.address}/away.png")
    assert set(host.asked) == {"/away.png"}


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1:1/photo.png",
        "https://cdn.discordapp.com.example.com/photo.png",
        "http://user@127.0.0.1/photo.png",
        "file:///etc/passwd",
        "photo.png",
        "",
    ],
)
async def test_other_places_are_never_asked(host: Host, downloads: Downloads, address: str):
    assert not downloads.allows(address)
    with pytest.raises(PhotoError, match="not an upload in Discord"):
        await downloads.fetch(address)
    assert host.asked == []


async def test_what_is_gone_is_told_to_be_gone(host: Host, downloads: Downloads):
    with pytest.raises(PhotoError, match="link has expired"):
        await downloads.fetch(f"{host.address}/gone.png")
    assert len(host.asked) == 1
