"""Jobs at providers: written down before they are paid for, so that a take has one at most. Owns `hosted_jobs`.

`intend` before the provider is asked, `remember` as soon as its answer is there, `settle` with what it cost. A crash
between the first two leaves an intent: the provider's list is searched for it before anybody asks again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

import asyncpg

from clips import paid
from clips.domain import TakeId
from clips.postgres import Connection, Pool, retrying
from clips.queue import Claim

WOKEN = "hosted_job_woken"
"""Notice, payload the provider's name of a job: something may have happened to it."""
Body = Mapping[str, object]
"""A request to a provider, as JSON carries it."""


class Outcome(StrEnum):
    """How a job ended. `UNDECIDED`: nobody can tell whether the provider has one and charges for it."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Order:
    """What a provider is asked for. `mark` tells it from any other order in the provider's list.

    `files` are the provider's names of what was uploaded for it. `price` in microdollars. `account`: who asks, by the
    provider's name for them; None: not known.
    """

    mark: str | None
    body: Body
    files: Sequence[str]
    price: int
    account: str | None = None


@dataclass(frozen=True, slots=True)
class HostedJob:
    """A take's job. `external_id` None: the provider was to be asked `age` ago, and nobody knows what came of it."""

    take_id: TakeId
    order: Order
    age: timedelta
    external_id: str | None
    outcome: Outcome | None


_RECALL = "SELECT *, clock_timestamp() - intended_at AS age FROM hosted_jobs WHERE take_id = $1"
_INTEND = """
    INSERT INTO hosted_jobs AS j (take_id, guild_id, provider, mark, body, files, price, account)
    SELECT take_id, guild_id, $4, $5, $6, $7, $8, $9 FROM takes t
    WHERE take_id = $1 AND state = 'running' AND generator_id = $2 AND fence = $3
        AND ($8::bigint = 0 OR EXISTS (SELECT FROM charges c
                                       WHERE c.take_id = t.take_id AND c.provider = $4 AND c.reserved >= $8))
    FOR SHARE OF t
    ON CONFLICT (take_id) DO UPDATE SET intended_at = clock_timestamp()
        WHERE j.external_id IS NULL AND j.outcome IS NULL AND j.mark IS NOT DISTINCT FROM excluded.mark
            AND (j.account IS NULL OR j.account = excluded.account)
    RETURNING *, clock_timestamp() - intended_at AS age
"""
_REMEMBER = """
    INSERT INTO hosted_jobs AS j (take_id, guild_id, provider, body, external_id)
    SELECT take_id, guild_id, $2, '{}', $3 FROM takes WHERE take_id = $1
    ON CONFLICT (take_id) DO UPDATE SET external_id = $3
        WHERE j.external_id = $3 OR (j.external_id IS NULL AND j.outcome IS NULL)
    RETURNING true
"""
_WITHDRAW = """
    -- Locked: whoever claims the take next may write down an intent of its own.
    WITH own AS (SELECT take_id FROM takes
        WHERE take_id = $1 AND state = 'running' AND generator_id = $2 AND fence = $3 FOR SHARE),
    withdrawn AS (DELETE FROM hosted_jobs j USING own
        WHERE j.take_id = own.take_id AND j.external_id IS NULL AND j.outcome IS NULL)
    SELECT EXISTS (SELECT FROM own)
"""
_FORGET = """
    DELETE FROM hosted_jobs WHERE take_id = $1 AND external_id IS NOT DISTINCT FROM $2 AND price = 0
"""
_SETTLE = """
    UPDATE hosted_jobs SET outcome = $2, microdollars = $3, ended_at = clock_timestamp()
    WHERE take_id = $1 AND outcome IS NULL RETURNING true
"""
_SURPLUS = """
    UPDATE hosted_jobs SET surplus = surplus || $2::text
    WHERE take_id = $1 AND $2 <> ALL (surplus) AND external_id IS DISTINCT FROM $2
    RETURNING CASE WHEN outcome = 'undecided' THEN 0 ELSE price END -- what nobody could tell is paid for already
"""
_KNOWN = "SELECT external_id FROM hosted_jobs WHERE provider = $1 AND external_id = ANY ($2)"
_LEFT_BEHIND = """
    SELECT j.*, clock_timestamp() - j.intended_at AS age FROM hosted_jobs j JOIN takes t USING (take_id)
    WHERE j.provider = $1 AND j.outcome IS NULL AND ($2::text IS NULL OR j.account IS NULL OR j.account = $2)
        AND t.state IN ('done', 'failed', 'cancelled')
    ORDER BY j.created_at LIMIT 20
"""
_WAKE = """
    SELECT pg_notify($1, $3) FROM hosted_jobs WHERE provider = $2 AND external_id = $3 AND outcome IS NULL
"""
_OVER = """
    SELECT j.*, clock_timestamp() - j.intended_at AS age FROM hosted_jobs j JOIN takes t USING (take_id)
    WHERE j.provider = $1 AND j.price = 0 AND t.state IN ('done', 'failed', 'cancelled')
    ORDER BY j.created_at LIMIT 100
"""
_UNDECIDED = "SELECT take_id FROM hosted_jobs WHERE outcome = 'undecided' AND ended_at > now() - $1::interval"


async def recall(pool: Pool, take_id: TakeId) -> HostedJob | None:
    """A take's job, as far as it is known."""
    row = await retrying(pool, lambda conn: conn.fetchrow(_RECALL, take_id), one_statement=True)
    return _job(row) if row else None


async def intend(pool: Pool, claim: Claim, provider: str, order: Order) -> HostedJob | None:
    """Write down that the provider is about to be asked; asked again, it is the same job. None: do not ask.

    The take is somebody else's by now, the job is known already, or nobody reserved its price with that provider. The
    take cannot end meanwhile: its end either comes first, or finds the job.
    """
    arguments = (claim.take_id, claim.generator_id, claim.fence, provider)
    arguments += (order.mark, order.body, order.files, order.price, order.account)
    row = await retrying(pool, lambda conn: conn.fetchrow(_INTEND, *arguments), one_statement=True)
    return _job(row) if row else None


async def remember(pool: Pool, take_id: TakeId, provider: str, external_id: str) -> bool:
    """Write down the job's name at its provider, whoever has the take by now. False: the take has another one, or is
    settled without any.
    """
    return bool(
        await retrying(pool, lambda conn: conn.fetchval(_REMEMBER, take_id, provider, external_id), one_statement=True)
    )


async def withdraw(pool: Pool, claim: Claim) -> bool:
    """Strike out an intent of which certainly nothing came, so that nobody has to look for it.

    A job that is known or settled stays. False: the take is somebody else's by now, and so is its intent.
    """
    arguments = (claim.take_id, claim.generator_id, claim.fence)
    return bool(await retrying(pool, lambda conn: conn.fetchval(_WITHDRAW, *arguments), one_statement=True))


async def forget(pool: Pool, take_id: TakeId, external_id: str | None) -> None:
    """Strike out a job that is gone and cost nothing, so that the take can have another."""
    await retrying(pool, lambda conn: conn.execute(_FORGET, take_id, external_id), one_statement=True)


async def over(pool: Pool, provider: str) -> list[HostedJob]:
    """Jobs that cost nothing and whose takes have ended, well or not."""
    return [_job(row) for row in await pool.fetch(_OVER, provider)]


async def settle(pool: Pool, take_id: TakeId, outcome: Outcome, microdollars: int) -> None:
    """How the job ended and what it cost, which the take's charge is settled at. The first word counts."""

    async def work(conn: Connection) -> None:
        if await conn.fetchval(_SETTLE, take_id, outcome, microdollars):
            await paid.note_cost(conn, take_id, microdollars)

    await retrying(pool, work)


async def note_surplus(pool: Pool, take_id: TakeId, external_id: str) -> None:
    """The provider has another job of the take than its own and may charge for it: note its price, once."""

    async def work(conn: Connection) -> None:
        if price := await conn.fetchval(_SURPLUS, take_id, external_id):
            await paid.note_cost(conn, take_id, price)

    await retrying(pool, work)


async def known(pool: Pool, provider: str, external_ids: Sequence[str]) -> set[str]:
    """Which of these jobs belong to takes already."""
    rows = await pool.fetch(_KNOWN, provider, external_ids)
    return {row["external_id"] for row in rows}


async def wake(pool: Pool, provider: str, external_id: str) -> None:
    """Give a hint to whoever waits for a job, in whichever generator. One that is not open, or unknown: nothing."""
    await retrying(pool, lambda conn: conn.execute(_WAKE, WOKEN, provider, external_id), one_statement=True)


async def left_behind(pool: Pool, provider: str, account: str | None = None) -> list[HostedJob]:
    """Open jobs whose takes have ended without them: cancelled in line, or failed for good.

    `account`: no other account's; None: all of them.
    """
    return [_job(row) for row in await pool.fetch(_LEFT_BEHIND, provider, account)]


async def undecided(conn: Connection | Pool, within: timedelta) -> list[TakeId]:
    """Takes of late whose job may have cost something that nobody knows of."""
    return [row["take_id"] for row in await conn.fetch(_UNDECIDED, within)]


def _job(row: asyncpg.Record) -> HostedJob:
    return HostedJob(
        take_id=row["take_id"],
        order=Order(row["mark"], row["body"], row["files"], row["price"], row["account"]),
        age=row["age"],
        external_id=row["external_id"],
        outcome=Outcome(row["outcome"]) if row["outcome"] else None,
    )
