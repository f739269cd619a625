"""What the tests of the core need in the database before they can begin: a server, a photo, an ask."""

from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

from clips import guilds, library
from clips.catalog import Catalog
from clips.domain import ChannelId, ClipSpec, GuildId, Lane, RequestId, RequestKind, Sha256, UserId
from clips.ffmpeg import Encoded
from clips.postgres import Pool, retrying
from clips.queue import enqueue
from clips.requests import Ask

PHOTO = Sha256("a" * 64)
MASTER = Sha256("b" * 64)
CHANNEL = ChannelId(77)
PRICE = 300_000
CLIP = Encoded(path=Path("nowhere.mp4"), width=738, height=554, frames=120, fps=24, seconds=5, bytes=1, has_sound=False)
_PLAN = Catalog.load().find("sketch").plan(ClipSpec("sketch"), (640, 480))


async def settle_in(pool: Pool, *guild_ids: int) -> None:
    """Servers with the default rules, and one photo and one clip's bytes that all of them refer to."""
    await pool.execute("INSERT INTO blobs VALUES ($1, 1, 'image/png'), ($2, 1, 'video/mp4')", PHOTO, MASTER)
    for guild_id in guild_ids:
        await guilds.know(pool, GuildId(guild_id))
        await library.add_photo(pool, GuildId(guild_id), UserId(1), library.StoredPhoto(PHOTO, 640, 480))


async def stays(pool: Pool, generator_id: UUID) -> None:
    """A generator that is played by hand beats no heart: it counts as alive for an hour from now."""
    await pool.execute(
        "UPDATE generators SET seen_at = clock_timestamp() + interval '1 hour' WHERE generator_id = $1", generator_id
    )


def ask_for(guild_id: int, user_id: int, **changes: Any) -> Ask:
    """A plain ask: three sketches of 5 s, 2 credits each; with a provider, each costs `PRICE` besides."""
    spec = ClipSpec(changes.pop("model", "sketch"), motion="zoom in")
    fields: dict[str, Any] = {
        "guild_id": GuildId(guild_id),
        "channel_id": CHANNEL,
        "user_id": UserId(user_id),
        "kind": RequestKind.ANIMATE,
        "lane": Lane.FAST,
        "spec": spec,
        "plan": replace(_PLAN, microdollars=PRICE if changes.get("provider") else 0),
        "photo": PHOTO,
        "seed": 7,
        "takes": 3,
    }
    return Ask(**(fields | changes))


async def enqueued(pool: Pool, ask: Ask, *, role_weight: float = 1.0) -> RequestId:
    request_id, _ = await retrying(pool, lambda conn: enqueue(conn, ask, role_weight=role_weight))
    return request_id
