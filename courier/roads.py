"""The road to Discord for a process without a gateway, and the rate limits that all who share the token keep."""

import logging
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from types import SimpleNamespace

import aiohttp
import asyncpg
import discord

from clips import deliveries
from clips.errors import SetupError
from clips.postgres import Pool

log = logging.getLogger(__name__)

LONGEST_LIMIT = 30.0
"""Seconds of rate limit that discord.py sleeps through by itself; of longer ones it tells (`RateLimited`)."""

_CHANNEL = re.compile(r"/channels/(\d+)/")


def share_limits(pool: Pool) -> aiohttp.TraceConfig:
    """Writes down every 429 that a client meets, so that no courier runs into it again. For `Client(http_trace=…)`."""

    async def note(
        _session: aiohttp.ClientSession, _context: SimpleNamespace, ended: aiohttp.TraceRequestEndParams
    ) -> None:
        scope = _blocked(ended.response)
        if scope is None:
            return
        try:
            await deliveries.block(pool, scope, timedelta(seconds=_seconds(ended.response)))
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            log.warning("A rate limit of Discord could not be shared: %s", error)

    trace = aiohttp.TraceConfig()
    trace.on_request_end.append(note)
    return trace


@asynccontextmanager
async def logged_in(token: str, pool: Pool) -> AsyncGenerator[discord.Client]:
    """A client that posts, edits and deletes but hears nothing: for a generator. Raises `SetupError`."""
    client = discord.Client(
        intents=discord.Intents(guilds=True), max_ratelimit_timeout=LONGEST_LIMIT, http_trace=share_limits(pool)
    )
    async with client:
        try:
            await client.login(token)
        except discord.LoginFailure as error:
            raise SetupError(
                "DISCORD_TOKEN: Discord does not know this token. Copy it anew from the application's page."
            ) from error
        except (discord.HTTPException, aiohttp.ClientError, OSError) as error:
            raise SetupError(
                f"Discord cannot be reached: {error}. Try again, or check ZOETROPE_DISCORD_URL."
            ) from error
        yield client


def _blocked(response: aiohttp.ClientResponse) -> str | None:
    """The scope of a 429 as deliveries know it."""
    if response.status != 429:
        return None
    if "X-RateLimit-Global" in response.headers or response.headers.get("X-RateLimit-Scope") == "global":
        return "global"
    channel = _CHANNEL.search(response.url.path)
    return f"channel {channel[1]}" if channel else None


def _seconds(response: aiohttp.ClientResponse) -> float:
    try:
        return min(max(float(response.headers.get("Retry-After", "")), 0.0), 86400.0)
    except ValueError:
        return 1.0
