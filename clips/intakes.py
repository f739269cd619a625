"""What came in and is not a request yet: intakes, and the drafts behind modals. Owns the SQL of both tables.

An intake is written before the photo is downloaded. One that is still open after a restart is taken up again; the
interaction's id makes sure that it leads to one request at most.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import asyncpg
from pydantic import TypeAdapter

from clips.catalog import EngineKind
from clips.domain import (
    Camera,
    ChannelId,
    Fit,
    GuildId,
    Lane,
    RequestId,
    RequestKind,
    Sha256,
    Size,
    Strength,
    TakeId,
    UserId,
)
from clips.postgres import Connection, Pool

TOKEN_LIFE = timedelta(minutes=15)
"""How long an interaction's token edits its answer (Discord)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """An attachment still to be downloaded (`url`), or something that the server has (`sha256`)."""

    url: str | None = None
    sha256: Sha256 | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a member asked for in their own terms: None where they left the choice to us.

    `platform` narrows the choice of a model. A photo is either an attachment still to be downloaded (`photo_url`) or
    one that the server has (`photo`). `confirmed` is the price in micro-dollars that the member said yes to, in the
    question that the draft `confirmed_draft` is of.
    """

    kind: RequestKind = RequestKind.ANIMATE
    photo_url: str | None = None
    photo: Sha256 | None = None
    end_photo_url: str | None = None
    end_photo: Sha256 | None = None
    model: str | None = None
    platform: EngineKind | None = None
    motion: str = ""
    avoid: str = ""
    seconds: float | None = None
    size: Size = Size.NATIVE
    camera: Camera | None = None
    strength: Strength = Strength.MEDIUM
    consistency: float | None = None
    fit: Fit = Fit.CROP
    takes: int | None = None
    seed: int | None = None
    lane: Lane = Lane.FAST
    spoiler: bool = False
    variation: float | None = None
    parent_id: RequestId | None = None
    parent_take: TakeId | None = None
    references: tuple[Upload, ...] = ()
    motion_video: Upload | None = None
    sound: bool = False
    speech: str = ""
    ambient: str = ""
    camera_direction: str = ""
    subject: str = ""
    speed: str = ""
    confirmed: int = 0
    confirmed_draft: int | None = None
    roles: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """An interaction that asked for something. `token` None: it has expired, only the channel can be written to."""

    interaction_id: int
    guild_id: GuildId
    channel_id: ChannelId
    user_id: UserId
    token: str | None
    wish: Wish
    created_at: datetime


_wish = TypeAdapter(Wish)

_OPEN = """
    INSERT INTO intakes (interaction_id, guild_id, channel_id, user_id, token, wish) VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT DO NOTHING RETURNING *
"""
_UNFINISHED = "SELECT * FROM intakes WHERE finished_at IS NULL AND created_at < $1 ORDER BY created_at"
_ACCEPT = """
    UPDATE intakes SET finished_at = now(), request_id = $2 WHERE interaction_id = $1 AND finished_at IS NULL
    RETURNING true
"""
_REFUSE = """
    UPDATE intakes SET finished_at = now(), refusal = $2 WHERE interaction_id = $1 AND finished_at IS NULL
"""
_REFUSAL = "SELECT refusal FROM intakes WHERE interaction_id = $1"
_FORGET = """
    WITH tokens AS (UPDATE intakes SET token = NULL WHERE token IS NOT NULL AND created_at < now() - $1::interval)
    DELETE FROM drafts WHERE created_at < now() - interval '7 days'
"""
_DRAFT = "INSERT INTO drafts (guild_id, user_id, wish) VALUES ($1, $2, $3) RETURNING draft_id"
_USE_DRAFT = "UPDATE drafts SET request_id = $2 WHERE draft_id = $1 AND request_id IS NULL RETURNING true"
_READ_DRAFT = "SELECT wish FROM drafts WHERE draft_id = $1 AND guild_id = $2 AND user_id = $3"


async def open_intake(
    pool: Pool,
    *,
    interaction_id: int,
    guild_id: GuildId,
    channel_id: ChannelId,
    user_id: UserId,
    token: str,
    wish: Wish,
) -> Intake | None:
    """Write an intake down. None: this interaction has one already."""
    row = await pool.fetchrow(
        _OPEN, interaction_id, guild_id, channel_id, user_id, token, _wish.dump_python(wish, mode="json")
    )
    return _intake(row) if row else None


async def unfinished(pool: Pool, before: datetime) -> Sequence[Intake]:
    """Intakes that a process which is gone left open, oldest first. `before` is when this process began."""
    return [_intake(row) for row in await pool.fetch(_UNFINISHED, before)]


async def now(pool: Pool) -> datetime:
    """The database's clock, which dates intakes."""
    return await pool.fetchval("SELECT clock_timestamp()")


async def accept(conn: Connection, interaction_id: int, request_id: RequestId) -> bool:
    """The intake led to a request. In the transaction that enqueues. False: another process has ended it already."""
    return bool(await conn.fetchval(_ACCEPT, interaction_id, request_id))


async def refuse(pool: Pool, interaction_id: int, refusal: str) -> None:
    """The intake ended with a refusal, in the words that the member reads."""
    await pool.execute(_REFUSE, interaction_id, refusal)


async def refusal(conn: Connection | Pool, interaction_id: int) -> str | None:
    """What the member was told where the intake ended with a refusal."""
    return await conn.fetchval(_REFUSAL, interaction_id)


async def forget_old(pool: Pool) -> None:
    """Erase tokens that no longer work, and drafts nobody came back to in a week."""
    await pool.execute(_FORGET, TOKEN_LIFE)


async def save_draft(pool: Pool, guild_id: GuildId, user_id: UserId, wish: Wish) -> int:
    """Keep what a modal or a panel will need; its id goes into the custom_id."""
    return await pool.fetchval(_DRAFT, guild_id, user_id, _wish.dump_python(wish, mode="json"))


async def read_draft(pool: Pool, guild_id: GuildId, user_id: UserId, draft_id: int) -> Wish | None:
    """A member's own draft; None if it is another's, of another server, or too old."""
    value = await pool.fetchval(_READ_DRAFT, draft_id, guild_id, user_id)
    return None if value is None else _wish.validate_python(value)


async def use_draft(conn: Connection, draft_id: int, request_id: RequestId) -> bool:
    """Tie a draft to the one request that it is good for; False: it has led to one already."""
    return bool(await conn.fetchval(_USE_DRAFT, draft_id, request_id))


def _intake(row: asyncpg.Record) -> Intake:
    return Intake(
        interaction_id=row["interaction_id"],
        guild_id=row["guild_id"],
        channel_id=row["channel_id"],
        user_id=row["user_id"],
        token=row["token"],
        wish=_wish.validate_python(row["wish"]),
        created_at=row["created_at"],
    )
