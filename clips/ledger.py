"""Credits: what a member and a server have, and what staff give. Owns the SQL of `accounts` and `entries`.

Holding and settling are not here: they happen inside the queue's transitions, in the same transaction.
"""

from dataclasses import dataclass
from datetime import datetime

from clips.domain import GuildId, TakeId, UserId
from clips.postgres import Connection, Pool, retrying


@dataclass(frozen=True, slots=True)
class Balance:
    """Credits by bucket. `allowance` is what `available` is topped up to each day (UTC)."""

    available: int
    held: int
    spent: int
    allowance: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One movement between two buckets of an account."""

    at: datetime
    debit: str
    credit: str
    amount: int
    reason: str
    take_id: TakeId | None
    actor_id: UserId | None
    note: str | None


_BALANCE = """
    SELECT a.available, a.held, a.spent,
        CASE WHEN $2::bigint IS NULL THEN g.daily_budget ELSE coalesce(a.allowance, g.daily_allowance) END AS allowance
    FROM open_account($1, $2) a JOIN guilds g ON g.guild_id = $1
"""
_GRANT = "SELECT grant_credits($1, $2, $3, $4, $5, $6)"
_ALLOWANCE = """
    INSERT INTO accounts (guild_id, user_id, allowance) VALUES ($1, $2, $3)
    ON CONFLICT (guild_id, user_id) DO UPDATE SET allowance = $3
"""
_HISTORY = """
    SELECT e.* FROM entries e JOIN accounts a USING (account_id)
    WHERE a.guild_id = $1 AND a.user_id IS NOT DISTINCT FROM $2 ORDER BY entry_id DESC LIMIT $3
"""


async def balance(pool: Pool, guild_id: GuildId, user_id: UserId | None) -> Balance:
    """A member's credits, or with `user_id` None the server's. Tops up the account if this is its first use today."""
    return await retrying(pool, lambda conn: balance_within(conn, guild_id, user_id))


async def balance_within(conn: Connection, guild_id: GuildId, user_id: UserId | None) -> Balance:
    """The same as a part of the caller's transaction, which then holds the account's lock."""
    row = await conn.fetchrow(_BALANCE, guild_id, user_id)
    if row is None:
        raise LookupError(f"server {guild_id} is not known")
    return Balance(row["available"], row["held"], row["spent"], row["allowance"])


async def grant(
    pool: Pool,
    guild_id: GuildId,
    user_id: UserId | None,
    amount: int,
    *,
    by: UserId,
    note: str | None,
    interaction_id: int | None = None,
) -> int:
    """Give credits, or take back with an amount below zero as far as they are still there. Returns what moved.

    One interaction moves credits once, however often it is tried.
    """
    arguments = (guild_id, user_id, amount, by, note, interaction_id)
    return await retrying(pool, lambda conn: conn.fetchval(_GRANT, *arguments)) or 0


async def set_allowance(conn: Connection | Pool, guild_id: GuildId, user_id: UserId, credits_a_day: int | None) -> None:
    """A member's own daily allowance from the next top-up on; None: the server's default again."""
    await conn.execute(_ALLOWANCE, guild_id, user_id, credits_a_day)


async def history(pool: Pool, guild_id: GuildId, user_id: UserId | None, limit: int) -> list[Entry]:
    """The last movements of an account, newest first."""
    rows = await pool.fetch(_HISTORY, guild_id, user_id, limit)
    return [
        Entry(
            row["at"],
            row["debit"],
            row["credit"],
            row["amount"],
            row["reason"],
            row["take_id"],
            row["actor_id"],
            row["note"],
        )
        for row in rows
    ]
