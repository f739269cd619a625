"""A real discord.py client against a local server: where it is pointed, and until when it runs."""

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager

import discord
import yarl
from discord.gateway import DiscordWebSocket
from discord.http import Route


@contextmanager
def pointed_at(address: str) -> Generator[None]:
    """Sends every discord.py client of this process to a local server, and back to Discord after the block."""
    before = Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY
    Route.BASE = f"{address}/api/v10"
    DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(f"{address}/gateway").with_scheme("ws")
    try:
        yield
    finally:
        Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY = before


@asynccontextmanager
async def online(client: discord.Client, token: str = "sandbox") -> AsyncGenerator[None]:
    """Runs a client from ready to closed."""
    running = asyncio.create_task(client.start(token))
    ready = asyncio.create_task(_ready(client, running))
    try:
        async with asyncio.timeout(15):
            await asyncio.wait({running, ready}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
        yield
    finally:
        ready.cancel()
        await client.close()
        await asyncio.gather(running, ready, return_exceptions=True)


async def _ready(client: discord.Client, running: asyncio.Task[None]) -> None:
    # `wait_until_ready` works only after the client's own set-up, which happens in `start`.
    while not client.http.token and not running.done():
        await asyncio.sleep(0)
    await client.wait_until_ready()
