"""Dollars: what the host approved for whom, and what is reserved and spent. Owns the SQL of these tables.

Reserving and settling are not here: they happen inside the queue's transitions, in the same transaction. All amounts
are micro-dollars; a month is a calendar month in UTC.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from clips.domain import GuildId, TakeId
from clips.postgres import Connection, Pool

DOLLAR = 1_000_000


@dataclass(frozen=True, slots=True)
class Approval:
    """A provider whose bills the host pays for a server, with this month's sums."""

    guild_id: GuildId
    provider: str
    monthly_cap: int
    reserved: int
    spent: int

    @property
    def left(self) -> int:
        """What may still be reserved this month."""
        return max(0, self.monthly_cap - self.reserved - self.spent)


_APPROVE = """
    INSERT INTO approvals (guild_id, provider, monthly_cap) VALUES ($1, $2, coalesce($3, 0))
    ON CONFLICT (guild_id, provider) DO UPDATE SET monthly_cap = coalesce($3, approvals.monthly_cap)
    RETURNING monthly_cap
"""
_WITHDRAW = "DELETE FROM approvals WHERE guild_id = $1 AND provider = $2 RETURNING true"
_LIST = """
    SELECT a.guild_id, a.provider, a.monthly_cap, coalesce(s.reserved, 0) AS reserved, coalesce(s.spent, 0) AS spent
    FROM approvals a LEFT JOIN spending s ON (s.guild_id, s.provider) = (a.guild_id, a.provider)
        AND s.month = date_trunc('month', now() AT TIME ZONE 'UTC')::date
    WHERE $1::bigint IS NULL OR a.guild_id = $1 ORDER BY a.guild_id, a.provider
"""
_PROVIDERS = "SELECT provider FROM approvals WHERE guild_id = $1"
_UNDER_WAY = "SELECT count(*) FROM charges WHERE guild_id = $1 AND provider = $2 AND settled_at IS NULL"
_NOTE = "SELECT note_cost($1, $2)"


def dollars_of(amount: int) -> str:
    """An amount as people write it: cents, and below a dollar the parts of one that prices have."""
    whole, _, parts = f"{amount / DOLLAR:.{2 if amount >= DOLLAR else 4}f}".partition(".")
    return f"${whole}.{parts.rstrip('0'):0<2}"


async def approve(conn: Connection | Pool, guild_id: GuildId, provider: str, monthly_cap: int | None) -> int:
    """Let a server use a provider's models up to a sum a month, and return that. None: as before, at first nothing."""
    return await conn.fetchval(_APPROVE, guild_id, provider, monthly_cap) or 0


async def withdraw(conn: Connection | Pool, guild_id: GuildId, provider: str) -> bool:
    """Take an approval back; False: there was none. What was asked for before is still made and paid."""
    return bool(await conn.fetchval(_WITHDRAW, guild_id, provider))


async def approvals(conn: Connection | Pool, guild_id: GuildId | None) -> Sequence[Approval]:
    """What is approved for a server, or with None everywhere."""
    return [
        Approval(row["guild_id"], row["provider"], row["monthly_cap"], row["reserved"], row["spent"])
        for row in await conn.fetch(_LIST, guild_id)
    ]


async def providers(conn: Connection | Pool, guild_id: GuildId) -> frozenset[str]:
    """The providers whose models a server may use."""
    return frozenset(row["provider"] for row in await conn.fetch(_PROVIDERS, guild_id))


async def under_way(conn: Connection | Pool, guild_id: GuildId, provider: str) -> int:
    """How many takes of a server wait or render whose price is reserved."""
    return await conn.fetchval(_UNDER_WAY, guild_id, provider) or 0


async def note_cost(conn: Connection | Pool, take_id: TakeId, cost: int) -> None:
    """Note what an attempt at a take is known to have cost: its charge is settled at the sum of these, or put right.

    Not repeatable: call it in the transaction that learns the cost.
    """
    await conn.execute(_NOTE, take_id, cost)
