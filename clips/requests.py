"""Requests and their takes as rows: writing a request down, reading it whole. Owns the SQL of `requests`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg
from pydantic import TypeAdapter

from clips import inputs
from clips.domain import (
    ChannelId,
    ClipSpec,
    GuildId,
    Lane,
    Plan,
    RequestId,
    RequestKind,
    RequestStatus,
    Sha256,
    TakeId,
    TakeState,
    UserId,
    status_of,
)
from clips.inputs import Input
from clips.postgres import Connection, Pool

_spec = TypeAdapter(ClipSpec)
_plan = TypeAdapter(Plan)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What a member asks for, ready to be written down: planned, priced and checked.

    `photo` is None where the model makes a clip from words or references; `provider` is who bills it.
    """

    guild_id: GuildId
    channel_id: ChannelId
    user_id: UserId
    kind: RequestKind
    lane: Lane
    spec: ClipSpec
    plan: Plan
    photo: Sha256 | None
    seed: int
    takes: int
    interaction_id: int | None = None
    end_photo: Sha256 | None = None
    variation: float | None = None
    spoiler: bool = False
    parent_id: RequestId | None = None
    parent_take: TakeId | None = None
    provider: str | None = None
    inputs: Sequence[Input] = ()

    @property
    def take_seeds(self) -> list[int]:
        """Each take's own seed: the request's plus its index, within 32 bits."""
        return [(self.seed + index) % 2**32 for index in range(self.takes)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request(Ask):
    """A request as it was written down."""

    request_id: RequestId
    chosen_take: TakeId | None
    trace_id: UUID
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Take:
    """One take and, once it is done, its clip. `charged` is what its hold was settled at, in credits.

    `due_at`: when a take in backoff is tried again, and when a parked one is given up. `seconds_left`: what a running
    one still needs, roughly.
    """

    take_id: TakeId
    index: int
    seed: int
    state: TakeState
    phase: str | None
    done: int
    total: int
    attempts: int
    cancel_requested: bool
    queued_at: datetime
    due_at: datetime | None = None
    started_at: datetime | None
    seconds_left: float | None = None
    finished_at: datetime | None
    error: str | None
    charged: int | None
    master: Sha256 | None
    clip_deleted: bool

    @property
    def has_clip(self) -> bool:
        return self.master is not None


@dataclass(frozen=True, slots=True)
class Seed:
    """A seed in a take's descent. `variation`: how much of its noise is mixed into what came before; None for all."""

    seed: int
    variation: float | None


@dataclass(frozen=True, slots=True)
class WholeRequest:
    """A request with all its takes in the order of their index, as one snapshot."""

    request: Request
    takes: Sequence[Take]

    @property
    def status(self) -> RequestStatus:
        return status_of([take.state for take in self.takes])

    @property
    def ended(self) -> bool:
        return all(take.state.final for take in self.takes)

    @property
    def clips(self) -> list[Take]:
        """The takes whose clip can be shown."""
        return [take for take in self.takes if take.has_clip]

    @property
    def chosen(self) -> Take | None:
        """The take with the star: the one that the member chose, else the first finished one."""
        clips = self.clips
        return next((take for take in clips if take.take_id == self.request.chosen_take), clips[0] if clips else None)

    @property
    def charged(self) -> int:
        """Credits settled so far."""
        return sum(take.charged or 0 for take in self.takes)


_BY_INTERACTION = "SELECT request_id FROM requests WHERE interaction_id = $1"
_ONE = """
    SELECT *, (SELECT count(*) FROM takes t WHERE t.request_id = r.request_id) AS takes
    FROM requests r WHERE request_id = $1 AND guild_id = $2
"""
_TAKES = """
    SELECT t.*, left_of(t) AS seconds_left, h.charged, c.master, c.deleted_at IS NOT NULL AS clip_deleted
    FROM takes t LEFT JOIN holds h USING (take_id) LEFT JOIN clips c USING (take_id)
    WHERE t.request_id = $1 ORDER BY t.index
"""
_SEEDS = """
    WITH RECURSIVE descent AS (
        SELECT t.seed, r.variation, r.parent_take, 0 AS generation
        FROM takes t JOIN requests r USING (request_id) WHERE t.take_id = $1 AND t.guild_id = $2
        UNION ALL
        SELECT t.seed, r.variation, r.parent_take, generation + 1
        FROM descent d JOIN takes t ON t.take_id = d.parent_take JOIN requests r USING (request_id)
        WHERE d.variation IS NOT NULL AND t.guild_id = $2)
    SELECT seed, variation FROM descent ORDER BY generation DESC
"""
_RECENT = "SELECT request_id FROM requests WHERE guild_id = $1 AND user_id = $2 ORDER BY request_id DESC LIMIT $3"
_UNFINISHED = """
    SELECT DISTINCT request_id FROM takes
    WHERE guild_id = $1 AND user_id = $2 AND state NOT IN ('done', 'failed', 'cancelled') ORDER BY request_id
"""
_CHOOSE = "UPDATE requests SET chosen_take = $3 WHERE request_id = $1 AND guild_id = $2"


def row_of(ask: Ask) -> dict[str, object]:
    """The columns of a new request, as JSON can carry them."""
    return {
        "interaction_id": ask.interaction_id,
        "guild_id": ask.guild_id,
        "channel_id": ask.channel_id,
        "user_id": ask.user_id,
        "kind": ask.kind,
        "lane": ask.lane,
        "spec": _spec.dump_python(ask.spec, mode="json"),
        "plan": _plan.dump_python(ask.plan, mode="json"),
        "photo": ask.photo,
        "end_photo": ask.end_photo,
        "seed": ask.seed,
        "variation": ask.variation,
        "spoiler": ask.spoiler,
        "parent_id": ask.parent_id,
        "parent_take": ask.parent_take,
        "provider": ask.provider,
        "inputs": inputs.rows_of(ask.inputs),
    }


async def by_interaction(conn: Connection | Pool, interaction_id: int) -> RequestId | None:
    """The request that an interaction led to, if any."""
    return await conn.fetchval(_BY_INTERACTION, interaction_id)


async def read(pool: Pool, guild_id: GuildId, request_id: RequestId) -> WholeRequest | None:
    """A request with its takes. None: there is none of that id in this server."""
    async with pool.acquire() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
        row = await conn.fetchrow(_ONE, request_id, guild_id)
        if row is None:
            return None
        takes = await conn.fetch(_TAKES, request_id)
        beside = await inputs.of_request(conn, request_id)
    return WholeRequest(_request(row, beside), [_take(take) for take in takes])


async def seeds(pool: Pool, guild_id: GuildId, take_id: TakeId) -> list[Seed]:
    """The seeds whose noise makes a take: the first one's, and for a variation each later one's down to its own."""
    return [Seed(row["seed"], row["variation"]) for row in await pool.fetch(_SEEDS, take_id, guild_id)]


async def recent(pool: Pool, guild_id: GuildId, user_id: UserId, limit: int) -> list[RequestId]:
    """A member's last requests in a server, newest first."""
    return [row["request_id"] for row in await pool.fetch(_RECENT, guild_id, user_id, limit)]


async def unfinished(pool: Pool, guild_id: GuildId, user_id: UserId) -> list[RequestId]:
    """A member's requests in a server that still wait or render, oldest first."""
    return [row["request_id"] for row in await pool.fetch(_UNFINISHED, guild_id, user_id)]


async def choose(conn: Connection, request: Request, take_id: TakeId) -> None:
    """Give a take the star, and have the reply drawn again."""
    await conn.execute(_CHOOSE, request.request_id, request.guild_id, take_id)
    await conn.execute("SELECT touch_request($1)", request.request_id)


def _request(row: asyncpg.Record, beside: Sequence[Input]) -> Request:
    return Request(
        request_id=row["request_id"],
        interaction_id=row["interaction_id"],
        guild_id=row["guild_id"],
        channel_id=row["channel_id"],
        user_id=row["user_id"],
        kind=RequestKind(row["kind"]),
        lane=Lane(row["lane"]),
        spec=_spec.validate_python(row["spec"]),
        plan=_plan.validate_python(row["plan"]),
        photo=row["photo"],
        end_photo=row["end_photo"],
        seed=row["seed"],
        takes=row["takes"],
        variation=row["variation"],
        spoiler=row["spoiler"],
        parent_id=row["parent_id"],
        parent_take=row["parent_take"],
        provider=row["provider"],
        inputs=beside,
        chosen_take=row["chosen_take"],
        trace_id=row["trace_id"],
        created_at=row["created_at"],
    )


def _take(row: asyncpg.Record) -> Take:
    return Take(
        take_id=row["take_id"],
        index=row["index"],
        seed=row["seed"],
        state=TakeState(row["state"]),
        phase=row["phase"],
        done=row["done"],
        total=row["total"],
        attempts=row["attempts"],
        cancel_requested=row["cancel_requested"],
        queued_at=row["queued_at"],
        due_at=row["run_at"],
        started_at=row["started_at"],
        seconds_left=row["seconds_left"],
        finished_at=row["finished_at"],
        error=row["error"],
        charged=row["charged"],
        master=row["master"],
        clip_deleted=bool(row["clip_deleted"]),
    )
