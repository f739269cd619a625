"""The fair queue on a real Postgres: every transition, who goes first, and what is charged."""

from collections import Counter
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from clips import ledger, queue, requests
from clips.catalog import Catalog
from clips.domain import GuildId, Lane, Plan, Progress, RequestStatus, TakeState, UserId
from clips.errors import MemberError
from clips.invariants import promises, violations
from clips.postgres import Pool
from clips.queue import Beat, Claim, Ended
from tests.library_of import CLIP, MASTER, ask_for, enqueued, settle_in, stays

LEASE = timedelta(seconds=30)
NO_LEASE = timedelta()
SECOND = timedelta(seconds=1)
GUILD, OTHER_GUILD = 1, 2
ADA, BEN = 11, 12


@pytest.fixture
async def queued(pool: Pool):
    """A database with two servers and a live generator; its promises hold at the end of every test."""
    await settle_in(pool, GUILD, OTHER_GUILD)
    generator = uuid4()
    await queue.announce(pool, generator, "one", ["sketch", "wan"], ["sketch"])
    await stays(pool, generator)
    yield pool, generator
    async with pool.acquire() as conn:
        assert await violations(conn) == []


async def claimed(pool: Pool, generator: UUID, loaded: tuple[str, ...] = ("sketch",)) -> Claim:
    claim = await queue.claim(pool, generator, ["sketch", "wan"], loaded, LEASE)
    assert claim is not None
    return claim


async def finish(pool: Pool, claim: Claim, gpu: timedelta = SECOND) -> Ended:
    return await queue.record(pool, claim, MASTER, CLIP, gpu, {})


def test_every_promise_is_read_from_the_file():
    assert len(promises()) == 17
    assert all(statement.startswith("SELECT") for _, statement in promises())


async def test_one_interaction_is_one_request(queued: tuple[Pool, UUID]):
    pool, _ = queued
    first = await enqueued(pool, ask_for(GUILD, ADA, interaction_id=5))
    assert await enqueued(pool, ask_for(GUILD, ADA, interaction_id=5)) == first
    assert (await ledger.balance(pool, GuildId(GUILD), UserId(ADA))).held == 6


async def test_a_take_is_charged_what_it_measured_and_never_more_than_the_quote(queued: tuple[Pool, UUID]):
    pool, generator = queued
    request = await enqueued(pool, ask_for(GUILD, ADA, takes=2))
    assert await finish(pool, await claimed(pool, generator), timedelta(seconds=0.4)) is Ended.DONE
    assert await finish(pool, await claimed(pool, generator), timedelta(seconds=500)) is Ended.DONE
    whole = await requests.read(pool, GuildId(GUILD), request)
    assert whole is not None
    assert [take.charged for take in whole.takes] == [1, 2]
    assert whole.status is RequestStatus.DONE
    for payer in (UserId(ADA), None):
        balance = await ledger.balance(pool, GuildId(GUILD), payer)
        assert (balance.spent, balance.held) == (3, 0)
        assert balance.available == balance.allowance - 3


async def test_recording_twice_is_success_and_charged_once(queued: tuple[Pool, UUID]):
    pool, generator = queued
    await enqueued(pool, ask_for(GUILD, ADA, takes=1))
    claim = await claimed(pool, generator)
    assert [await finish(pool, claim), await finish(pool, claim)] == [Ended.DONE, Ended.DONE]
    assert (await ledger.balance(pool, GuildId(GUILD), UserId(ADA))).spent == 1


async def test_a_stalled_generator_cannot_write_about_a_take_that_went_on(queued: tuple[Pool, UUID]):
    pool, generator = queued
    await enqueued(pool, ask_for(GUILD, ADA, takes=1))
    stalled = await claimed(pool, generator)
    await pool.execute("UPDATE takes SET lease_until = now() - interval '1 s' WHERE state = 'running'")
    assert await queue.reap(pool, NO_LEASE) == ["lease lost, again"]
    current = await claimed(pool, generator)
    assert current.take_id == stalled.take_id
    assert await queue.beat(pool, stalled, Progress("step", 1, 2), LEASE) is Beat.LOST
    assert await finish(pool, stalled) is Ended.FENCED
    assert await queue.fail(pool, stalled, retry=False, error="x", fault="x") is Ended.FENCED
    assert await queue.give_back(pool, stalled) is Ended.FENCED
    assert await queue.stop(pool, stalled, SECOND) is Ended.FENCED
    assert await finish(pool, current) is Ended.DONE


async def test_a_lost_lease_takes_its_virtual_time_back_once(queued: tuple[Pool, UUID]):
    pool, generator = queued
    await enqueued(pool, ask_for(GUILD, ADA, takes=1))

    async def virtual_time() -> float:
        return await pool.fetchval("SELECT vtime FROM flows WHERE user_id = $1", ADA)

    before = await virtual_time()
    for _ in range(2):
        await claimed(pool, generator)
        assert await virtual_time() > before
        await pool.execute("UPDATE takes SET lease_until = now() - interval '1 s' WHERE state = 'running'")
        await queue.reap(pool, NO_LEASE)
        assert await virtual_time() == before


async def test_the_reaper_leaves_leases_alone_just_after_the_server_started(queued: tuple[Pool, UUID]):
    pool, generator = queued
    await enqueued(pool, ask_for(GUILD, ADA, takes=1))
    await claimed(pool, generator)
    await pool.execute("UPDATE takes SET lease_until = now() - interval '1 s' WHERE state = 'running'")
    assert await queue.reap(pool, timedelta(days=1000)) == []


async def test_the_third_failure_is_the_last_and_costs_nothing(queued: tuple[Pool, UUID]):
    pool, generator = queued
    request = await enqueued(pool, ask_for(GUILD, ADA, takes=1))
    ends: list[Ended] = []
    for _ in range(3):
        claim = await claimed(pool, generator)
        ends.append(await queue.fail(pool, claim, retry=True, error="It broke. Try again.", fault="trace"))
        await pool.execute("UPDATE takes SET run_at = now() WHERE state = 'backoff'")
        await queue.reap(pool, LEASE)
    assert ends == [Ended.AGAIN, Ended.AGAIN, Ended.FAILED]
    whole = await requests.read(pool, GuildId(GUILD), request)
    assert whole is not None
    assert (whole.status, whole.charged, whole.takes[0].error) == (RequestStatus.FAILED, 0, "It broke. Try again.")


async def test_giving_back_costs_no_attempt(queued: tuple[Pool, UUID]):
    pool, generator = queued
    request = await enqueued(pool, ask_for(GUILD, ADA, takes=1))
    for _ in range(5):
        assert await queue.give_back(pool, await claimed(pool, generator)) is Ended.WAITING
    whole = await requests.read(pool, GuildId(GUILD), request)
    assert whole is not None
    assert whole.takes[0].attempts == 0


async def test_cancel_in_every_state(queued: tuple[Pool, UUID]):
    pool, generator = queued
    request = await enqueued(pool, ask_for(GUILD, ADA, takes=4))
    done, backing_off = await claimed(pool, generator), await claimed(pool, generator)
    await finish(pool, done)
    await queue.fail(pool, backing_off, retry=True, error="x", fault="x")
    running = await claimed(pool, generator)
    states = await queue.cancel(pool, request)
    assert Counter(states) == {TakeState.RUNNING: 1, TakeState.CANCELLED: 2, TakeState.DONE: 1}
    assert await queue.beat(pool, running, Progress("step", 3, 9), LEASE) is Beat.CANCEL
    assert await queue.stop(pool, running, timedelta(seconds=1.5)) is Ended.CANCELLED
    assert Counter(await queue.cancel(pool, request)) == {TakeState.CANCELLED: 3, TakeState.DONE: 1}
    whole = await requests.read(pool, GuildId(GUILD), request)
    assert whole is not None
    assert [take.charged for take in whole.takes] == [1, 0, 2, 0]


async def test_a_cancel_before_the_record_wins(queued: tuple[Pool, UUID]):
    pool, generator = queued
    request = await enqueued(pool, ask_for(GUILD, ADA, takes=1))
    claim = await claimed(pool, generator)
    await queue.cancel(pool, request)
    assert await finish(pool, claim) is Ended.CANCELLED
    assert await finish(pool, claim) is Ended.CANCELLED
    assert await pool.fetchval("SELECT count(*) FROM clips") == 0


async def test_a_failure_after_a_cancel_is_a_cancel_that_costs_nothing(queued: tuple[Pool, UUID]):
    pool, generator = queued
    request = await enqueued(pool, ask_for(GUILD, ADA, takes=1))
    claim = await claimed(pool, generator)
    await queue.cancel(pool, request)
    assert await queue.fail(pool, claim, retry=True, error="x", fault="x") is Ended.CANCELLED
    assert (await ledger.balance(pool, GuildId(GUILD), UserId(ADA))).spent == 0


async def test_refusals_say_what_is_short_and_leave_nothing_behind(queued: tuple[Pool, UUID]):
    pool, _ = queued
    costly = Plan(width=64, height=64, frames=24, fps=24, credits=400)
    with pytest.raises(MemberError, match="900 credits left today and this takes 1200"):
        await enqueued(pool, ask_for(GUILD, ADA, plan=costly))
    await pool.execute("UPDATE guilds SET daily_budget = 10")
    with pytest.raises(MemberError, match="server has 10 credits left today and this takes 800"):
        await enqueued(pool, ask_for(GUILD, ADA, plan=costly, takes=2))
    await pool.execute("UPDATE guilds SET max_waiting = 2")
    with pytest.raises(MemberError, match="and this asks for 3 more, but this server allows 2"):
        await enqueued(pool, ask_for(GUILD, ADA))
    assert await pool.fetchval("SELECT count(*) FROM requests") == 0
    assert await pool.fetchval("SELECT coalesce(sum(held), 0) FROM accounts") == 0


async def test_credits_come_back_every_day_and_do_not_pile_up(queued: tuple[Pool, UUID]):
    pool, generator = queued
    member = GuildId(GUILD), UserId(ADA)
    await enqueued(pool, ask_for(GUILD, ADA, takes=1))
    await finish(pool, await claimed(pool, generator), timedelta(seconds=2))
    assert (await ledger.balance(pool, *member)).available == 898
    await ledger.grant(pool, *member, 500, by=UserId(1), note="prize")
    for expected in (1398, 1398):
        await pool.execute("UPDATE accounts SET topped_up_on = topped_up_on - 1")
        assert (await ledger.balance(pool, *member)).available == expected
    assert await ledger.grant(pool, *member, -5000, by=UserId(1), note="all of it") == -1398
    await pool.execute("UPDATE accounts SET topped_up_on = topped_up_on - 1")
    assert (await ledger.balance(pool, *member)).available == 900
    await ledger.set_allowance(pool, *member, 1000)
    await pool.execute("UPDATE accounts SET topped_up_on = topped_up_on - 1")
    assert (await ledger.balance(pool, *member)).available == 1000
    reasons = [entry.reason for entry in await ledger.history(pool, *member, 10)]
    assert reasons == ["allowance", "allowance", "revoke", "grant", "settle", "hold", "allowance"]


async def test_a_flood_does_not_delay_others(queued: tuple[Pool, UUID]):
    pool, generator = queued
    await pool.execute("UPDATE guilds SET max_waiting = 1000, max_running = 1000")
    for _ in range(50):
        await enqueued(pool, ask_for(GUILD, ADA, takes=4))
    others = [await enqueued(pool, ask_for(GUILD, 100 + member, takes=1)) for member in range(10)]
    order = [(await claimed(pool, generator)).request_id for _ in range(21)]
    assert set(others) <= set(order)


async def test_weights_share_the_generator(queued: tuple[Pool, UUID]):
    pool, generator = queued
    await pool.execute("UPDATE guilds SET max_waiting = 1000, max_running = 1000")
    for _ in range(20):
        await enqueued(pool, ask_for(GUILD, ADA, takes=4), role_weight=3)
        await enqueued(pool, ask_for(GUILD, BEN, takes=4))
    claims = [await claimed(pool, generator) for _ in range(40)]
    users = await pool.fetch("SELECT take_id, user_id FROM takes")
    owner = {row["take_id"]: row["user_id"] for row in users}
    assert Counter(owner[claim.take_id] for claim in claims) == {ADA: 30, BEN: 10}


async def test_a_server_with_many_members_gets_no_more_than_one_with_few(queued: tuple[Pool, UUID]):
    pool, generator = queued
    await pool.execute("UPDATE guilds SET max_waiting = 1000, max_running = 1000")
    for _ in range(10):
        for member in range(4):
            await enqueued(pool, ask_for(GUILD, 20 + member, takes=2))
        await enqueued(pool, ask_for(OTHER_GUILD, BEN, takes=4))
    claims = [await claimed(pool, generator) for _ in range(40)]
    shares = Counter(claim.guild_id for claim in claims)
    assert abs(shares[GuildId(GUILD)] - shares[GuildId(OTHER_GUILD)]) <= 4


async def test_an_idle_member_saves_up_nothing(queued: tuple[Pool, UUID]):
    pool, generator = queued
    await pool.execute("UPDATE guilds SET max_waiting = 1000, max_running = 1000")
    await enqueued(pool, ask_for(GUILD, BEN, takes=1))
    await finish(pool, await claimed(pool, generator))
    for _ in range(10):
        await enqueued(pool, ask_for(GUILD, ADA, takes=4))
    for _ in range(30):
        await finish(pool, await claimed(pool, generator))
    for _ in range(5):
        await enqueued(pool, ask_for(GUILD, BEN, takes=4))
    claims = [await claimed(pool, generator) for _ in range(10)]
    assert 4 <= sum(claim.request_id > 11 for claim in claims) <= 6


async def test_relaxed_work_waits_for_fast_work_costs_nothing_and_is_raised_with_age(queued: tuple[Pool, UUID]):
    pool, generator = queued
    relaxed = await enqueued(pool, ask_for(GUILD, ADA, takes=1, lane=Lane.RELAXED))
    fast = await enqueued(pool, ask_for(GUILD, BEN, takes=1))
    first = await claimed(pool, generator)
    assert first.request_id == fast
    await finish(pool, first)
    await enqueued(pool, ask_for(GUILD, BEN, takes=4))
    await pool.execute("UPDATE takes SET queued_at = now() - interval '1 hour' WHERE request_id = $1", relaxed)
    assert await queue.reap(pool, LEASE) == ["raised"]
    claims = [await claimed(pool, generator) for _ in range(2)]
    assert relaxed in {claim.request_id for claim in claims}
    for claim in claims:
        await finish(pool, claim)
    assert (await ledger.balance(pool, GuildId(GUILD), UserId(ADA))).spent == 0


async def test_a_take_that_nobody_can_run_steps_aside_and_comes_back(queued: tuple[Pool, UUID]):
    pool, generator = queued
    parked = await enqueued(pool, ask_for(GUILD, ADA, takes=1, model="ltx"))
    runnable = await enqueued(pool, ask_for(GUILD, ADA, takes=1))
    assert (await claimed(pool, generator)).request_id == runnable
    another = uuid4()
    await queue.announce(pool, another, "two", ["ltx"], [])
    assert await queue.reap(pool, LEASE) == ["parked is over"]
    claim = await queue.claim(pool, another, ["ltx"], [], LEASE)
    assert claim is not None
    assert claim.request_id == parked
    await queue.give_back(pool, claim)
    await queue.leave(pool, another)
    assert await queue.reap(pool, LEASE) == ["parked"]
    await pool.execute("UPDATE takes SET run_at = now() WHERE state = 'parked'")
    assert await queue.reap(pool, LEASE) == ["parked too long"]
    whole = await requests.read(pool, GuildId(GUILD), parked)
    assert whole is not None
    assert (whole.status, whole.charged) == (RequestStatus.FAILED, 0)


async def test_a_loaded_model_goes_first_but_only_within_the_slack(queued: tuple[Pool, UUID]):
    pool, generator = queued
    await enqueued(pool, ask_for(GUILD, ADA, takes=1, model="wan"))
    near = await enqueued(pool, ask_for(GUILD, BEN, takes=1))
    claim = await claimed(pool, generator)
    assert claim.request_id == near
    await queue.give_back(pool, claim)
    await pool.execute("UPDATE takes SET vkey = vkey + $1 WHERE request_id = $2", queue.SLACK + 1, near)
    assert (await claimed(pool, generator)).model == "wan"


async def test_the_running_cap_of_a_member_holds(queued: tuple[Pool, UUID]):
    pool, generator = queued
    await enqueued(pool, ask_for(GUILD, ADA, takes=4))
    first, _ = await claimed(pool, generator), await claimed(pool, generator)
    assert await queue.claim(pool, generator, ["sketch"], ["sketch"], LEASE) is None
    await finish(pool, first)
    await claimed(pool, generator)


async def test_places_tell_what_the_queue_then_does(queued: tuple[Pool, UUID]):
    pool, generator = queued
    await pool.execute("UPDATE guilds SET max_waiting = 1000, max_running = 1000")
    requests_of = [await enqueued(pool, ask_for(GUILD, member, takes=2)) for member in (ADA, BEN, 13, 14)]
    places = [await queue.place(pool, request) for request in requests_of]
    assert [place.ahead for place in places if place] == [0, 1, 2, 3]
    told = dict(zip(requests_of, [place.ahead for place in places if place], strict=True))
    order = [(await claimed(pool, generator)).request_id for _ in range(8)]
    assert {request: order.index(request) for request in requests_of} == told
    await queue.cancel(pool, requests_of[0])
    running = await queue.place(pool, requests_of[1])
    assert running is not None
    assert (running.ahead, running.starts_in) == (0, 0)


async def test_a_request_that_has_ended_has_no_place(queued: tuple[Pool, UUID]):
    pool, generator = queued
    request = await enqueued(pool, ask_for(GUILD, ADA, takes=1))
    await finish(pool, await claimed(pool, generator))
    assert await queue.place(pool, request) is None


async def test_the_last_take_of_a_cancelled_flow_lets_the_next_request_in(queued: tuple[Pool, UUID]):
    pool, generator = queued
    first = await enqueued(pool, ask_for(GUILD, ADA, takes=4))
    second = await enqueued(pool, ask_for(GUILD, ADA, takes=1))
    await queue.cancel(pool, first)
    assert (await claimed(pool, generator)).request_id == second


def test_seeds_stay_within_32_bits():
    assert ask_for(GUILD, ADA, seed=2**32 - 1).take_seeds == [2**32 - 1, 0, 1]
    assert Catalog.load().find("Sketch ").name == "sketch"
