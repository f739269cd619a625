"""Messages that must come to be in a channel. Owns the SQL of `deliveries` and `discord_blocks`.

A delivery is out of date while `posted_rev` is below `wanted_rev`. Whoever leases it is its only writer: it renders the
message from the request as it is now and marks the revision that it read, so nothing stale overwrites.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from clips.domain import ChannelId, DeliveryId, GuildId, MessageId, RequestId, TakeId
from clips.postgres import Connection, Pool, retrying

CHANGED = "deliveries"
"""Notice: a delivery is out of date."""
LEASE = timedelta(seconds=15)
"""A courier that dies is followed after it; one that lives renews it for as long as its upload takes."""


class DeliveryKind(StrEnum):
    """`card` stands while the request waits and renders; `reply` carries the takes, or why there are none."""

    CARD = "card"
    REPLY = "reply"


@dataclass(frozen=True, slots=True)
class Delivery:
    """A leased message. `wanted_rev` is the revision to mark once what was read after leasing is posted.

    `posted_rev`: the revision that the channel shows. `sending`: a first send was begun and its outcome is not known.
    `attached`: Discord's attachment id by take.
    """

    delivery_id: DeliveryId
    request_id: RequestId
    kind: DeliveryKind
    guild_id: GuildId
    channel_id: ChannelId
    wanted_rev: int
    posted_rev: int
    message_id: MessageId | None
    sending: bool
    attached: dict[TakeId, int]
    mentioned_at: datetime | None
    limit_bytes: int | None
    attempts: int
    refusals: int
    owner: UUID


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a message is. `failure`: it can never be posted (any more), and why; `trouble`: it cannot before a person
    has mended this.
    """

    message_id: MessageId | None
    failure: str | None
    trouble: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """What the channel shows now. `message_id` None: nothing, and nothing need be."""

    message_id: MessageId | None
    attached: dict[TakeId, int]
    mentioned: bool
    closed: bool


# A first post goes before an edit, a reply before a card: progress can wait, a clip must not.
_LEASE = """
    UPDATE deliveries SET lease_owner = $1, lease_until = clock_timestamp() + $2
    WHERE delivery_id = (
        SELECT delivery_id FROM deliveries d
        WHERE posted_rev < wanted_rev AND failure IS NULL AND due_at(d) <= clock_timestamp()
        ORDER BY kind = 'card', message_id IS NOT NULL, next_at LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED)
    RETURNING *
"""
_KEEP = """
    UPDATE deliveries SET lease_until = clock_timestamp() + $3
    WHERE delivery_id = $1 AND lease_owner = $2 RETURNING true
"""
_SENDING = """
    UPDATE deliveries SET sending = true, lease_until = clock_timestamp() + $3
    WHERE delivery_id = $1 AND lease_owner = $2 RETURNING true
"""
_POSTED = """
    UPDATE deliveries SET posted_rev = greatest(posted_rev, $3), posted_at = clock_timestamp(), message_id = $4,
        sending = false, attached = $5, mentioned_at = CASE WHEN $6 THEN clock_timestamp() ELSE mentioned_at END,
        closed = $7, attempts = 0, refusals = 0, trouble = NULL, lease_owner = NULL, lease_until = NULL
    WHERE delivery_id = $1 AND lease_owner = $2 RETURNING true
"""
# The reply stands, or never will, and the card may go; or the card has to tell what keeps it.
_HAND_OVER = """
    UPDATE deliveries SET wanted_rev = wanted_rev + 1
    WHERE request_id = $1 AND kind = 'card' AND failure IS NULL
"""
_LATER = """
    UPDATE deliveries SET next_at = clock_timestamp() + $3, trouble = coalesce($4, trouble),
        attempts = attempts + ($4 IS NULL)::int, refusals = refusals + ($4 IS NOT NULL)::int,
        lease_owner = NULL, lease_until = NULL
    WHERE delivery_id = $1 AND lease_owner = $2
"""
_DEAD = """
    UPDATE deliveries SET failure = $3, closed = true, lease_owner = NULL, lease_until = NULL
    WHERE delivery_id = $1 AND lease_owner = $2
"""
_LIMIT = "UPDATE deliveries SET limit_bytes = $3 WHERE delivery_id = $1 AND lease_owner = $2"
_REFRESH = """
    WITH refreshed AS (UPDATE deliveries SET wanted_rev = wanted_rev + 1 WHERE delivery_id IN (
        SELECT delivery_id FROM deliveries d
        WHERE kind = 'card' AND message_id IS NOT NULL AND NOT closed AND failure IS NULL AND posted_rev = wanted_rev
          AND posted_at < clock_timestamp() - CASE
              WHEN EXISTS (SELECT FROM takes t WHERE t.request_id = d.request_id AND t.state = 'running')
              THEN interval '3 seconds' ELSE interval '60 seconds' END
        ORDER BY posted_at LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED) RETURNING true)
    SELECT pg_notify('deliveries', '') FROM refreshed LIMIT 1
"""
_WAIT = """
    SELECT extract(epoch FROM min(due_at(d)) - clock_timestamp())::double precision
    FROM deliveries d WHERE posted_rev < wanted_rev AND failure IS NULL
"""
_BLOCK = """
    INSERT INTO discord_blocks (scope, blocked_until) VALUES ($1, clock_timestamp() + $2)
    ON CONFLICT (scope) DO UPDATE SET blocked_until = greatest(discord_blocks.blocked_until, excluded.blocked_until)
"""
_STANDING = "SELECT message_id, failure, trouble FROM deliveries WHERE request_id = $1 AND guild_id = $2 AND kind = $3"
_NOTIFY = "SELECT pg_notify('deliveries', '')"


async def lease(pool: Pool, owner: UUID) -> Delivery | None:
    """Take the most urgent delivery that is due; None if there is none."""
    row = await pool.fetchrow(_LEASE, owner, LEASE)
    if row is None:
        return None
    return Delivery(
        delivery_id=row["delivery_id"],
        request_id=row["request_id"],
        kind=DeliveryKind(row["kind"]),
        guild_id=row["guild_id"],
        channel_id=row["channel_id"],
        wanted_rev=row["wanted_rev"],
        posted_rev=row["posted_rev"],
        message_id=row["message_id"],
        sending=row["sending"],
        attached={TakeId(int(take)): int(attachment) for take, attachment in row["attached"].items()},
        mentioned_at=row["mentioned_at"],
        limit_bytes=row["limit_bytes"],
        attempts=row["attempts"],
        refusals=row["refusals"],
        owner=owner,
    )


async def begin_sending(pool: Pool, delivery: Delivery) -> bool:
    """Note durably that a message is about to be sent. False: the lease is gone, do not send."""
    return bool(await pool.fetchval(_SENDING, delivery.delivery_id, delivery.owner, LEASE))


async def keep(pool: Pool, delivery: Delivery) -> bool:
    """Renew the lease while a large file is made or sent. False: it is gone."""
    return bool(await pool.fetchval(_KEEP, delivery.delivery_id, delivery.owner, LEASE))


async def mark_posted(pool: Pool, delivery: Delivery, posted: Posted) -> bool:
    """Note what the channel shows, and let go. False: the lease was lost meanwhile; its new owner will see to it.

    A reply that stands for the first time has its card drawn again.
    """
    attached = {str(take): str(attachment) for take, attachment in posted.attached.items()}
    first_reply = delivery.kind is DeliveryKind.REPLY and None is delivery.message_id != posted.message_id

    async def mark(conn: Connection) -> bool:
        if first_reply:
            await _hand_over(conn, delivery)
        ours = await conn.fetchval(
            _POSTED,
            delivery.delivery_id,
            delivery.owner,
            delivery.wanted_rev,
            posted.message_id,
            attached,
            posted.mentioned,
            posted.closed,
        )
        return bool(ours)

    return await retrying(pool, mark)


async def try_later(pool: Pool, delivery: Delivery, pause: timedelta, *, trouble: str | None = None) -> None:
    """Let go after a failure that may pass. `trouble`: what a person has to mend first, for members to read."""

    async def mark(conn: Connection) -> None:
        if trouble is not None and delivery.kind is DeliveryKind.REPLY:
            await _hand_over(conn, delivery)
        await conn.execute(_LATER, delivery.delivery_id, delivery.owner, pause, trouble)

    await retrying(pool, mark)


async def give_up(pool: Pool, delivery: Delivery, why: str) -> None:
    """The message or its channel is gone for good; staff see `why`. The clips stay in the library."""

    async def mark(conn: Connection) -> None:
        if delivery.kind is DeliveryKind.REPLY:
            await _hand_over(conn, delivery)
        await conn.execute(_DEAD, delivery.delivery_id, delivery.owner, why)

    await retrying(pool, mark)


async def _hand_over(conn: Connection, delivery: Delivery) -> None:
    """Before the reply's own row, as every transition locks the two."""
    await conn.execute(_HAND_OVER, delivery.request_id)
    await conn.execute(_NOTIFY)


async def note_limit(pool: Pool, delivery: Delivery, limit_bytes: int) -> None:
    """The channel refused a file that Discord's figures allow: remember what it can take."""
    await pool.execute(_LIMIT, delivery.delivery_id, delivery.owner, limit_bytes)


async def refresh_cards(pool: Pool, most: int) -> None:
    """Have live cards drawn again: rendering ones every 3 s, waiting ones every 60 s, at most `most` a call."""
    await pool.execute(_REFRESH, most)


async def next_due(pool: Pool) -> float | None:
    """Seconds until a delivery is due, below zero if one is; None if none is out of date."""
    return await pool.fetchval(_WAIT)


async def block(pool: Pool, scope: str, pause: timedelta) -> None:
    """Discord answered 429: nothing of this scope, `global` or `channel ID`, is leased for that long."""
    await pool.execute(_BLOCK, scope, pause)


async def standing(pool: Pool, guild_id: GuildId, request_id: RequestId, kind: DeliveryKind) -> Standing | None:
    """Where a request's card or reply stands in its channel. None: there is no such request in this server."""
    row = await pool.fetchrow(_STANDING, request_id, guild_id, kind)
    return Standing(row["message_id"], row["failure"], row["trouble"]) if row else None
