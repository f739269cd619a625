"""Servers and their rules: limits, role weights, the block list. Owns the SQL of `guilds`, `role_weights`, `blocks`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from clips.domain import GuildId, UserId
from clips.postgres import Connection, Pool

COMMAND_LINE = GuildId(0)
"""What is asked for from the command line belongs to no server: no budget, no messages."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What a server allows. Credits are GPU-seconds. `confirm_above`: micro-dollars above which a click asks first."""

    daily_allowance: int
    daily_budget: int
    click_limit: int
    max_waiting: int
    max_running: int
    longest_wait: timedelta
    default_model: str | None
    confirm_above: int


@dataclass(frozen=True, slots=True)
class Block:
    """A member whom staff keep from asking. `until` None: until staff lift it."""

    reason: str
    until: datetime | None


_KNOW = "INSERT INTO guilds (guild_id) VALUES ($1) ON CONFLICT DO NOTHING"
_RULES = "SELECT * FROM guilds WHERE guild_id = $1"
_WEIGHT = "SELECT coalesce(max(weight), 1) FROM role_weights WHERE guild_id = $1 AND role_id = ANY ($2)"
_BLOCK = "SELECT * FROM blocks WHERE guild_id = $1 AND user_id = $2 AND (until IS NULL OR until > now())"
_ALLOWANCE = "UPDATE guilds SET daily_allowance = $2 WHERE guild_id = $1"
_BUDGET = "UPDATE guilds SET daily_budget = $2 WHERE guild_id = $1"
_CONFIRM = "UPDATE guilds SET confirm_above = $2 WHERE guild_id = $1"


async def know(conn: Connection | Pool, guild_id: GuildId) -> None:
    """Make sure that a server has its row, with the default rules."""
    await conn.execute(_KNOW, guild_id)


async def rules(pool: Pool, guild_id: GuildId) -> Rules:
    """A server's rules; a server seen for the first time gets the defaults."""
    await know(pool, guild_id)
    row = await pool.fetchrow(_RULES, guild_id)
    if row is None:
        raise LookupError(f"server {guild_id} vanished")
    return Rules(
        daily_allowance=row["daily_allowance"],
        daily_budget=row["daily_budget"],
        click_limit=row["click_limit"],
        max_waiting=row["max_waiting"],
        max_running=row["max_running"],
        longest_wait=row["longest_wait"],
        default_model=row["default_model"],
        confirm_above=row["confirm_above"],
    )


async def role_weight(pool: Pool, guild_id: GuildId, roles: Sequence[int]) -> float:
    """The largest weight among a member's roles; 1 where staff set none."""
    return await pool.fetchval(_WEIGHT, guild_id, roles)


async def block(pool: Pool, guild_id: GuildId, user_id: UserId) -> Block | None:
    """The block that holds for a member now, if any."""
    row = await pool.fetchrow(_BLOCK, guild_id, user_id)
    return Block(row["reason"], row["until"]) if row else None


async def set_daily_allowance(pool: Pool, guild_id: GuildId, credits_a_day: int) -> None:
    """What each member without an allowance of their own is topped up to, from the next time on."""
    await pool.execute(_ALLOWANCE, guild_id, credits_a_day)


async def set_daily_budget(pool: Pool, guild_id: GuildId, credits_a_day: int) -> None:
    """What the whole server is topped up to, from the next time on."""
    await pool.execute(_BUDGET, guild_id, credits_a_day)


async def set_confirm_above(pool: Pool, guild_id: GuildId, microdollars: int) -> None:
    """The price above which a click on a paid model asks first."""
    await pool.execute(_CONFIRM, guild_id, microdollars)
