"""Photos and clips: what was uploaded and what was rendered. Owns the SQL of `photos`, `clips` and `copies`.

The bytes are in the blob store; a row here is what keeps them from being collected.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from clips.domain import GuildId, Sha256, TakeId, UserId
from clips.postgres import Connection, Pool, retrying


@dataclass(frozen=True, slots=True)
class StoredPhoto:
    """A photo that a server's member uploaded, normalised. Size in pixels."""

    sha256: Sha256
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Clip:
    """A finished take's video."""

    take_id: TakeId
    master: Sha256
    bytes: int
    width: int
    height: int
    frames: int
    fps: float
    has_sound: bool
    recipe: dict[str, Any]

    @property
    def seconds(self) -> float:
        return self.frames / self.fps


_ADD_PHOTO = """
    INSERT INTO photos (guild_id, sha256, width, height, user_id) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING
"""
_PHOTO = "SELECT sha256, width, height FROM photos WHERE guild_id = $1 AND sha256 = $2"
_CLIP = """
    SELECT c.*, b.bytes FROM clips c JOIN blobs b ON b.sha256 = c.master
    WHERE c.guild_id = $1 AND c.take_id = $2 AND c.deleted_at IS NULL
"""
_COPY = "SELECT copy FROM copies WHERE take_id = $1 AND limit_bytes <= $2 ORDER BY limit_bytes DESC LIMIT 1"
_ADD_COPY = "INSERT INTO copies (take_id, limit_bytes, copy) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING"
_FORGET_UPLOADS = "SELECT forget_uploads($1)"
_DELETE = """
    WITH gone AS (
        UPDATE clips c SET deleted_at = now(), master = NULL FROM takes t, clips before
        WHERE t.take_id = c.take_id AND t.guild_id = $1 AND t.request_id = $2 AND c.deleted_at IS NULL
            AND before.take_id = c.take_id
        RETURNING c.take_id, before.master),
    smaller AS (DELETE FROM copies WHERE take_id IN (SELECT take_id FROM gone) RETURNING copy)
    SELECT master AS sha256 FROM gone UNION SELECT copy FROM smaller
"""


async def add_photo(conn: Connection | Pool, guild_id: GuildId, user_id: UserId, photo: StoredPhoto) -> None:
    """Note a photo that is in the blob store. Uploaded before: nothing changes."""
    await conn.execute(_ADD_PHOTO, guild_id, photo.sha256, photo.width, photo.height, user_id)


async def photo(pool: Pool, guild_id: GuildId, sha256: Sha256) -> StoredPhoto | None:
    """A photo of this server."""
    row = await pool.fetchrow(_PHOTO, guild_id, sha256)
    return StoredPhoto(row["sha256"], row["width"], row["height"]) if row else None


async def forget_uploads(pool: Pool, grace: timedelta) -> int:
    """Forget photos and motion videos put before then that no request, draft or open intake names; how many.

    The grace has to cover the time between a put and the request. The bytes are for `BlobStore.collect`.
    """
    return await retrying(pool, lambda conn: conn.fetchval(_FORGET_UPLOADS, grace), one_statement=True) or 0


async def clip(pool: Pool, guild_id: GuildId, take_id: TakeId) -> Clip | None:
    """A finished take's clip; None if it has none or its member deleted it."""
    row = await pool.fetchrow(_CLIP, guild_id, take_id)
    if row is None:
        return None
    return Clip(
        take_id=row["take_id"],
        master=row["master"],
        bytes=row["bytes"],
        width=row["width"],
        height=row["height"],
        frames=row["frames"],
        fps=row["fps"],
        has_sound=row["has_sound"],
        recipe=row["recipe"],
    )


async def smaller_copy(pool: Pool, take_id: TakeId, limit_bytes: int) -> Sha256 | None:
    """The largest copy made before that fits the limit."""
    return await pool.fetchval(_COPY, take_id, limit_bytes)


async def add_copy(conn: Connection | Pool, take_id: TakeId, limit_bytes: int, copy: Sha256) -> None:
    """Note a smaller copy that is in the blob store."""
    await conn.execute(_ADD_COPY, take_id, limit_bytes, copy)


async def delete_clips(conn: Connection, guild_id: GuildId, request_id: int) -> list[Sha256]:
    """Delete a request's clips and have its messages drawn again. The record stays. Returns the blobs let go.

    Whoever calls deletes those once this is committed; what a crash leaves is collected later.
    """
    rows = await conn.fetch(_DELETE, guild_id, request_id)
    await conn.execute("SELECT touch_request($1)", request_id)
    return [row["sha256"] for row in rows]
