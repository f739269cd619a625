"""The jobs at providers as the database keeps them: whose word counts, and when."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

from clips import hosted_jobs, paid, queue
from clips.hosted_jobs import HostedJob, Order, Outcome
from clips.queue import Claim
from tests.generator.studio import GUILD, Studio
from tests.hosted.test_account import MODEL, SPEC

REPLICATE = "replicate"
ORDER = Order("mark", {"version": "x"}, ["file-0"], 200_000)
LEASE = timedelta(seconds=30)
WAITS = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')"


async def claimed(room: Studio) -> Claim:
    await paid.approve(room.pool, GUILD, REPLICATE, 20 * paid.DOLLAR)
    await queue.announce(room.pool, uuid4(), "gone", [MODEL.name], [])
    await room.ask(MODEL.plan(SPEC, (320, 240)), spec=SPEC, provider=REPLICATE)
    claim = await queue.claim(room.pool, uuid4(), [MODEL.name], [], LEASE)
    assert claim is not None
    return claim


async def recalled(room: Studio, claim: Claim) -> HostedJob | None:
    return await hosted_jobs.recall(room.pool, claim.take_id)


async def test_an_intent_is_struck_out_by_whoever_has_the_take_and_while_nothing_is_known(room: Studio):
    claim = await claimed(room)
    stale = replace(claim, fence=claim.fence - 1)
    assert await hosted_jobs.withdraw(room.pool, claim)  # nothing is there, and the take is ours
    assert await hosted_jobs.intend(room.pool, claim, REPLICATE, ORDER)
    assert not await hosted_jobs.withdraw(room.pool, stale)
    assert await recalled(room, claim) is not None
    assert await hosted_jobs.withdraw(room.pool, claim)
    assert await recalled(room, claim) is None
    assert await hosted_jobs.intend(room.pool, claim, REPLICATE, ORDER)
    assert await hosted_jobs.remember(room.pool, claim.take_id, REPLICATE, "p1")
    assert await hosted_jobs.withdraw(room.pool, claim)
    job = await recalled(room, claim)
    assert job is not None and job.external_id == "p1"


async def test_an_intent_of_the_next_claim_is_not_struck_out_by_one_that_came_before(room: Studio):
    """The take changes hands while the other's word is on its way."""
    claim = await claimed(room)
    async with room.pool.acquire() as connection, connection.transaction():
        await connection.execute("UPDATE takes SET fence = fence + 1 WHERE take_id = $1", claim.take_id)
        withdrawing = asyncio.create_task(hosted_jobs.withdraw(room.pool, claim))
        while not (withdrawing.done() or await room.pool.fetchval(WAITS)):  # noqa: ASYNC110 - it shows in the database
            await asyncio.sleep(0.01)
        await connection.execute(
            "INSERT INTO hosted_jobs (take_id, guild_id, provider, body) VALUES ($1, $2, $3, '{}')",
            claim.take_id,
            claim.guild_id,
            REPLICATE,
        )
    assert not await withdrawing
    assert await recalled(room, claim) is not None


async def test_a_name_that_comes_after_the_end_is_nobodys(room: Studio):
    claim = await claimed(room)
    assert await hosted_jobs.intend(room.pool, claim, REPLICATE, ORDER)
    await hosted_jobs.settle(room.pool, claim.take_id, Outcome.CANCELLED, 0)
    assert not await hosted_jobs.remember(room.pool, claim.take_id, REPLICATE, "late")
    job = await recalled(room, claim)
    assert job is not None and job.external_id is None


async def test_a_name_may_be_told_again_after_the_end(room: Studio):
    claim = await claimed(room)
    assert await hosted_jobs.remember(room.pool, claim.take_id, REPLICATE, "p1")
    await hosted_jobs.settle(room.pool, claim.take_id, Outcome.SUCCEEDED, 0)
    assert await hosted_jobs.remember(room.pool, claim.take_id, REPLICATE, "p1")
    assert not await hosted_jobs.remember(room.pool, claim.take_id, REPLICATE, "p2")


async def test_one_too_many_is_charged_once_at_its_price_beside_the_takes_own(room: Studio):
    async def cost() -> int | None:
        return await room.pool.fetchval("SELECT cost FROM charges WHERE take_id = $1", claim.take_id)

    claim = await claimed(room)
    assert await hosted_jobs.intend(room.pool, claim, REPLICATE, ORDER)
    assert await hosted_jobs.remember(room.pool, claim.take_id, REPLICATE, "p1")
    for external_id in ("p2", "p2", "p1"):
        await hosted_jobs.note_surplus(room.pool, claim.take_id, external_id)
    assert await cost() == ORDER.price
    await hosted_jobs.settle(room.pool, claim.take_id, Outcome.CANCELLED, 10_000)
    await hosted_jobs.note_surplus(room.pool, claim.take_id, "p3")
    assert await cost() == 2 * ORDER.price + 10_000


async def test_what_was_undecided_is_paid_for_already_when_it_shows(room: Studio):
    claim = await claimed(room)
    assert await hosted_jobs.intend(room.pool, claim, REPLICATE, ORDER)
    await hosted_jobs.settle(room.pool, claim.take_id, Outcome.UNDECIDED, ORDER.price)
    assert not await hosted_jobs.remember(room.pool, claim.take_id, REPLICATE, "p1")
    await hosted_jobs.note_surplus(room.pool, claim.take_id, "p1")
    assert await room.pool.fetchval("SELECT cost FROM charges WHERE take_id = $1", claim.take_id) == ORDER.price
