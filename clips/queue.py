"""The fair queue: the only caller of the transition functions in `migrations/0004_transitions.sql`.

All times are the database's. A generator names its take, itself and the fence of its claim in every write; an answer of
`FENCED` means that the take is somebody else's by now.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

import asyncpg

from clips import requests
from clips.domain import GuildId, Lane, Progress, RequestId, Sha256, TakeId, TakeState
from clips.ffmpeg import Encoded
from clips.postgres import Connection, Pool, retrying
from clips.refusals import refusal
from clips.requests import Ask

READY = "takes_ready"
"""Notice: a take became ready, or a generator came or went."""
CANCELLED = "take_cancelled"
"""Notice, payload the take's id: its member cancelled it while it renders."""
SLACK = 60.0
"""Weighted GPU-seconds by which a take of a loaded model may pass the fairest one."""
PATIENCE = timedelta(minutes=20)
"""Age at which a relaxed take joins the fast lane, so that it never starves."""


class Ended(StrEnum):
    """How a transition came out. `AGAIN`: the take will be tried again after a pause."""

    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"
    AGAIN = "again"
    WAITING = "waiting"
    FENCED = "fenced"


class Beat(StrEnum):
    """What a heartbeat learns."""

    OURS = "ours"
    CANCEL = "cancel"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Claim:
    """A take under a generator's lease. `fence` tells this claim from any other of the same take."""

    take_id: TakeId
    request_id: RequestId
    guild_id: GuildId
    index: int
    seed: int
    model: str
    fence: int
    generator_id: UUID


@dataclass(frozen=True, slots=True)
class Rest:
    """All generators of a model rest. `until`: when the first one works again; None: when its host says so."""

    until: datetime | None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a request stands: takes ahead of its first one, and the seconds until that starts and the last one ends.

    A rest whose end is known is counted in; of a pause they tell what comes after it.
    """

    ahead: int
    starts_in: float
    ends_in: float
    rest: Rest | None = None


_ENQUEUE = "SELECT * FROM enqueue_request($1, $2, $3, $4, $5, $6)"
_CLAIM = "SELECT * FROM claim_take($1, $2, $3, $4, $5, $6)"
_BEAT = "SELECT * FROM beat_take($1, $2, $3, $4, $5, $6, $7)"
_RECORD = "SELECT record_take($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"
_STOP = "SELECT stop_take($1, $2, $3, $4)"
_FAIL = "SELECT fail_take($1, $2, $3, $4, $5, $6)"
_GIVE_BACK = "SELECT give_back_take($1, $2, $3)"
_CANCEL = "SELECT * FROM cancel_request($1) AS state"
_REAP = "SELECT reap($1, $2)"
_ANNOUNCE = """
    INSERT INTO generators (generator_id, name, models, loaded, rooms, troubles) VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT (generator_id)
        DO UPDATE SET models = $3, loaded = $4, rooms = $5, troubles = $6, seen_at = clock_timestamp()
    RETURNING (xmax = 0) AS first
"""
_LEAVE = "DELETE FROM generators WHERE generator_id = $1 OR seen_at < clock_timestamp() - interval '1 day'"
_ALIVE = """
    SELECT DISTINCT unnest(models) AS model FROM generators WHERE seen_at > clock_timestamp() - $1::interval
"""
_TROUBLES = """
    SELECT name, unnest(troubles) AS trouble FROM generators WHERE seen_at > clock_timestamp() - interval '30 seconds'
"""
_PLACE = """
    SELECT * FROM place_of($1), rest_of((SELECT model FROM takes WHERE request_id = $1 LIMIT 1))
"""
_WAITS = "SELECT * FROM waits()"


async def enqueue(conn: Connection, ask: Ask, *, role_weight: float = 1.0) -> tuple[RequestId, bool]:
    """Write down a request with its takes, holds and messages: one statement, all or nothing.

    Returns the request and whether it is new: an interaction that has one already gets that, and nothing is held again.
    Raises `MemberError` where credits, dollars or room are short; a transaction around it must then be rolled back.
    """
    # The command line has no budget; a relaxed take is free.
    quote = 0 if ask.guild_id == 0 or ask.lane is Lane.RELAXED else ask.plan.credits
    cost = ask.plan.credits * 1000
    try:
        row = await conn.fetchrow(
            _ENQUEUE, requests.row_of(ask), ask.spec.model, ask.take_seeds, cost, quote, role_weight
        )
    except asyncpg.PostgresError as error:
        raise refusal(error, ask) from error
    if row is None:
        raise LookupError("enqueue_request gave no row")
    return row["request_id"], row["is_new"]


async def claim(
    pool: Pool,
    generator_id: UUID,
    models: Sequence[str],
    loaded: Sequence[str],
    lease: timedelta,
    *,
    begun: bool = False,
) -> Claim | None:
    """Lease the fairest ready take of these models; None if there is none. Loaded ones go first within `SLACK`.

    `begun`: only what an earlier attempt has begun elsewhere, so that it is fetched before it is gone there.
    """
    # A claim whose answer was lost is nobody's: its lease runs out, and the take goes on.
    row = await retrying(
        pool, lambda conn: conn.fetchrow(_CLAIM, generator_id, models, loaded, SLACK, lease, begun), one_statement=True
    )
    if row is None:
        return None
    return Claim(
        take_id=row["take_id"],
        request_id=row["request_id"],
        guild_id=row["guild_id"],
        index=row["index"],
        seed=row["seed"],
        model=row["model"],
        fence=row["fence"],
        generator_id=generator_id,
    )


async def beat(conn: Connection | Pool, claim: Claim, progress: Progress, lease: timedelta) -> Beat:
    """Renew the lease and write down progress. `LOST`: stop, and write nothing more about the take."""
    cancel = await conn.fetchval(
        _BEAT,
        claim.take_id,
        claim.generator_id,
        claim.fence,
        progress.phase,
        progress.done,
        progress.total,
        lease,
    )
    if cancel is None:
        return Beat.LOST
    return Beat.CANCEL if cancel else Beat.OURS


async def record(
    pool: Pool, claim: Claim, master: Sha256, clip: Encoded, gpu: timedelta, recipe: dict[str, Any]
) -> Ended:
    """Finish a take with its clip, or cancel it if the member was first. The same answer again for the same claim."""
    return Ended(
        await _transition(
            pool,
            _RECORD,
            *_own(claim),
            _milliseconds(gpu),
            master,
            clip.width,
            clip.height,
            clip.frames,
            clip.fps,
            clip.has_sound,
            recipe,
        )
    )


async def stop(pool: Pool, claim: Claim, gpu: timedelta) -> Ended:
    """End a take that its member cancelled while it rendered. The measured seconds are charged."""
    return Ended(await _transition(pool, _STOP, *_own(claim), _milliseconds(gpu)))


async def fail(pool: Pool, claim: Claim, *, retry: bool, error: str, fault: str) -> Ended:
    """Give up an attempt. `error` is for the member, `fault` for staff. Nothing is charged."""
    return Ended(await _transition(pool, _FAIL, *_own(claim), retry, error, fault))


async def give_back(pool: Pool, claim: Claim) -> Ended:
    """Put a take back in line without an attempt lost."""
    return Ended(await _transition(pool, _GIVE_BACK, *_own(claim)))


async def cancel(pool: Pool, request_id: RequestId) -> list[TakeState]:
    """Cancel what is unfinished of a request. Returns the takes' states now, in their order; running ones stop within a
    step.
    """
    rows = await retrying(pool, lambda conn: conn.fetch(_CANCEL, request_id), one_statement=True)
    return [TakeState(row["state"]) for row in reversed(rows)]  # the last take is cancelled first


async def reap(pool: Pool, lease: timedelta, *, most: int = 200) -> list[str]:
    """Keep the queue in order: lost leases, back-off, parking, raising. Returns what was done, in words."""
    steps: list[str] = []
    while len(steps) < most and (step := await retrying(pool, lambda conn: reap_one(conn, lease))):
        steps.append(step)
    return steps


async def reap_one(conn: Connection, lease: timedelta | None) -> str | None:
    """One step of `reap`; None when there is nothing to do. `lease` None: leave lost leases alone."""
    return await conn.fetchval(_REAP, lease, PATIENCE)


async def announce(
    pool: Pool,
    generator_id: UUID,
    name: str,
    models: Sequence[str],
    loaded: Sequence[str],
    *,
    rooms: Sequence[int] = (),
    troubles: Sequence[str] = (),
    gained: bool = False,
) -> None:
    """Tell that a generator is alive and what it runs; the first time wakes takes that wait for such a one.

    `rooms`: how many takes of each model it renders at once, one where that is not said. `troubles`: why it runs less
    than it was told to, for the host. `gained`: it runs more than it told last, which wakes takes too.
    """
    if await _transition(pool, _ANNOUNCE, generator_id, name, models, loaded, rooms, troubles) or gained:
        await pool.execute("SELECT pg_notify($1, '')", READY)


async def leave(pool: Pool, generator_id: UUID) -> None:
    """Take a generator off the list, when it stops in good order, with those that died a day ago and longer."""
    await pool.execute(_LEAVE, generator_id)


async def alive_models(pool: Pool, within: timedelta = timedelta(minutes=10)) -> set[str]:
    """Models that a generator was seen to run of late."""
    return {row["model"] for row in await pool.fetch(_ALIVE, within)}


async def troubles(conn: Connection | Pool) -> list[tuple[str, str]]:
    """Generators that are alive and why they run less than they were told to."""
    return [(row["name"], row["trouble"]) for row in await conn.fetch(_TROUBLES)]


async def waits(pool: Pool) -> dict[str, float]:
    """Seconds until a newcomer's first take would start, roughly, by model. Infinite: all its generators are paused."""
    return {row["model"]: row["seconds"] for row in await pool.fetch(_WAITS)}


async def place(conn: Connection | Pool, request_id: RequestId) -> Place | None:
    """Where a request stands. None: nothing of it waits or renders, or what is left waits for a generator to come."""
    row = await conn.fetchrow(_PLACE, request_id)
    if row is None or row["ahead"] is None:
        return None
    return Place(row["ahead"], row["starts_in"], row["ends_in"], Rest(row["until"]) if row["resting"] else None)


async def _transition(pool: Pool, statement: str, *arguments: object) -> Any:  # noqa: ANN401 - what the function gives
    return await retrying(pool, lambda conn: conn.fetchval(statement, *arguments), one_statement=True)


def _own(claim: Claim) -> tuple[TakeId, UUID, int]:
    return claim.take_id, claim.generator_id, claim.fence


def _milliseconds(duration: timedelta) -> int:
    return round(duration.total_seconds() * 1000)
