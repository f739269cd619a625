"""What engines that reach a model over HTTP share: connections that no stranger can point inwards, capped downloads,
and polling with patience. It knows no provider and no protocol.
"""

import asyncio
import socket
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from ipaddress import ip_address
from math import exp
from pathlib import Path

import aiohttp
from yarl import URL

from clips.errors import RetryableError, ZoetropeError
from clips.ffmpeg import growing
from generator.engines.base import Context

LARGEST = 512 * 1024 * 1024
"""Bytes of a clip that an engine downloads at most: fifteen seconds of 1080p are a tenth of it."""
TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=60)
"""A large body may take its time; a server that sends nothing for a minute has gone."""
_PIECE = 256 * 1024
_SLICE = 0.5  # seconds between two looks at whether the take is still wanted
_NO_VIDEO = ("text/", "application/json", "application/xml", "image/", "audio/")
_AddressInfo = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[object, ...]]


class GoneError(ZoetropeError):
    """The file is not where it was said to be, or not any more."""


class UnusableError(ZoetropeError):
    """What came is no clip: too large, or of another type."""


class ForbiddenAddressError(ZoetropeError):
    """An address or a redirect led into a private network."""


def guarded_connector(trusted: URL) -> aiohttp.TCPConnector:
    """Connections to the public internet, and to the host and port of `trusted`, which the host of the bot wrote down.

    Checked where the socket is made, so that no redirect, no literal address and no name that resolves to a private
    one gets around it.
    """

    def opened(info: _AddressInfo) -> socket.socket:
        family, kind, protocol, _, address = info
        host, port = str(address[0]), address[1]
        if not (_public(host) or (_names(trusted, host) and port == trusted.port)):
            raise ForbiddenAddressError(f"an address led into a private network ({host}) and was not followed")
        return socket.socket(family, kind, protocol)

    return aiohttp.TCPConnector(socket_factory=opened)


async def download(
    session: aiohttp.ClientSession,
    url: URL,
    target: Path,
    *,
    most: int = LARGEST,
    headers: Mapping[str, str] | None = None,
) -> None:
    """Fetch a clip into a file, which appears whole or not at all.

    Raises `RetryableError` where the connection or the server failed, `GoneError`, `UnusableError`,
    `ForbiddenAddressError`. No address gets into a message: it may be signed.
    """
    with transport("the download of the clip"):
        async with session.get(url, headers=headers, timeout=TIMEOUT) as response:
            if response.status in {403, 404, 410}:
                raise GoneError(f"the clip is not there to download (status {response.status})")
            if response.status != 200:
                raise RetryableError(f"the download of the clip was answered with status {response.status}")
            if response.content_type.startswith(_NO_VIDEO):
                raise UnusableError(f"the clip came as {response.content_type}, which is no video")
            if (response.content_length or 0) > most:
                raise UnusableError(f"the clip has {response.content_length} bytes, more than the {most} allowed")
            with growing(target) as unfinished:
                written = 0
                with await asyncio.to_thread(unfinished.open, "wb") as file:
                    async for piece in response.content.iter_chunked(_PIECE):
                        written += len(piece)
                        if written > most:
                            raise UnusableError(f"the clip has more than the {most} bytes allowed")
                        await asyncio.to_thread(file.write, piece)


@contextmanager
def transport(doing: str) -> Generator[None]:
    """Turn every failure of a connection into a `RetryableError`."""
    try:
        yield
    except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
        # Not the error's own text: it holds the address.
        raise RetryableError(f"{doing} failed: {type(error).__name__}") from error


def pauses(*, first: float = 0.5, most: float = 5.0, growth: float = 1.4) -> Iterator[float]:
    """Seconds to wait before each next look, ever longer, for ever."""
    pause = first
    while True:
        yield pause
        pause = min(most, pause * growth)


async def rest(context: Context, seconds: float) -> None:
    """Wait, but no longer than the take is wanted. Raises what `context` raises."""
    until = asyncio.get_running_loop().time() + seconds
    while (left := until - asyncio.get_running_loop().time()) > 0:
        context.raise_if_cancelled()
        await asyncio.sleep(min(_SLICE, left))
    context.raise_if_cancelled()


def part_after(elapsed: float, expected: float) -> float:
    """How much is probably done (0 to 1) after so many seconds of a render that usually takes `expected`.

    Nine tenths at the expected end, and ever slower after it: a bar that stands still or waits at its end says nothing.
    """
    return 1 - exp(-2.303 * max(elapsed, 0.0) / max(expected, 1.0))


def retry_after(response: aiohttp.ClientResponse, otherwise: float, most: float = 60.0) -> float:
    """Seconds to wait before another try, as the server asks for them in its header."""
    said = response.headers.get("Retry-After", "")
    return min(float(said), most) if said.isdecimal() else otherwise


def _public(host: str) -> bool:
    address = ip_address(host.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_global


def _names(trusted: URL, host: str) -> bool:
    """Is this the address that the host of the bot wrote down? A name of theirs may resolve to anything private."""
    written = trusted.host or ""
    try:
        return ip_address(written) == ip_address(host)
    except ValueError:
        return written == "localhost" and ip_address(host).is_loopback
