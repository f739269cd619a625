"""The queue and the ledger driven at random on a real Postgres: by one hand with the promises read after every step,
and by many at once while connections are killed under them."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from uuid import UUID, uuid4

import asyncpg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from clips import generators, ledger, paid, queue
from clips.domain import GuildId, Lane, Progress, RequestId, TakeId, UserId
from clips.errors import MemberError, RetryableError
from clips.invariants import violations
from clips.postgres import Pool, Session, connect_pool, retrying
from clips.queue import Beat, Claim, Ended
from tests.library_of import CLIP, MASTER, PRICE, ask_for, enqueued, settle_in

LEASE = timedelta(seconds=30)
NO_LEASE = timedelta()
GUILDS = (1, 2)
MEMBERS = (11, 12, 13)
MODELS = ("sketch", "wan")
PAID = "wan"
"""The model that a provider bills in the fast lane, of which each server may have seven takes a month."""
LOST = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, RetryableError)
_T = TypeVar("_T")

_EMPTY = """
    TRUNCATE entries, holds, accounts, copies, clips, deliveries, intakes, drafts, takes, requests, flows, shares,
        generators, photos, guilds, blobs RESTART IDENTITY CASCADE
"""
_HELD_UP = """
    SELECT count(*) FROM takes head JOIN takes other USING (guild_id, user_id, lane)
    WHERE head.state = 'ready' AND head.model <> ALL ($1) AND other.state = 'waiting' AND other.model = ANY ($1)
"""
"""Takes that could be rendered, behind one that cannot."""


class QueueMachine(RuleBasedStateMachine):
    """Any order of what members, generators, clocks and crashes can do. The model is only who owns which take."""

    loop: asyncio.AbstractEventLoop
    pool: Pool

    def __init__(self) -> None:
        super().__init__()
        self.generators: dict[UUID, set[str]] = {}
        self.resting: set[UUID] = set()
        self.owned: dict[TakeId, Claim] = {}
        self.stale: list[Claim] = []
        self.cancelling: set[TakeId] = set()
        self.requests: list[RequestId] = []
        self.recorded: list[Claim] = []

    def do(self, work: Awaitable[_T]) -> _T:
        async def run() -> _T:
            return await work

        return self.loop.run_until_complete(run())

    @initialize()
    def begin(self) -> None:
        self.do(self.pool.execute(_EMPTY))
        self.do(settle_in(self.pool, *GUILDS))
        self.do(self.pool.execute("UPDATE guilds SET daily_allowance = 40, daily_budget = 90, max_waiting = 9"))
        for guild in GUILDS:
            self.do(paid.approve(self.pool, GuildId(guild), "replicate", 7 * PRICE))
        self.generators = {uuid4(): set() for _ in range(3)}
        for which, model in enumerate(MODELS):
            self.announce(which, {model})

    @rule(
        guild=st.sampled_from(GUILDS), member=st.sampled_from(MEMBERS), lane=st.sampled_from(Lane),
        models=st.lists(st.sampled_from(MODELS), min_size=1, max_size=2), takes=st.integers(1, 4), again=st.booleans(),
    )  # fmt: skip
    def enqueue(self, guild: int, member: int, lane: Lane, models: list[str], takes: int, *, again: bool) -> None:
        for model in models:
            self.enqueue_one(guild, member, lane, model, takes, again=again)

    def enqueue_one(self, guild: int, member: int, lane: Lane, model: str, takes: int, *, again: bool) -> None:
        number = len(self.requests) - 1 if again and self.requests else len(self.requests)
        provider = "replicate" if model == PAID and lane is Lane.FAST else None
        ask = ask_for(guild, member, lane=lane, model=model, takes=takes, interaction_id=number, provider=provider)
        with suppress(MemberError):
            request = self.do(enqueued(self.pool, ask))
            assert (request in self.requests) == (number < len(self.requests))
            if request not in self.requests:
                self.requests.append(request)

    @rule(which=st.integers(0, 2), models=st.sets(st.sampled_from(MODELS), min_size=1))
    def announce(self, which: int, models: set[str]) -> None:
        generator = list(self.generators)[which]
        self.generators[generator] = models
        self.do(queue.announce(self.pool, generator, str(which), sorted(models), sorted(models)[:1]))

    @rule(which=st.integers(0, 2))
    def die(self, which: int) -> None:
        generator = list(self.generators)[which]
        self.generators[generator] = set()
        self.resting.discard(generator)
        self.do(queue.leave(self.pool, generator))

    @rule(which=st.integers(0, 2), rests=st.booleans())
    def rest(self, which: int, *, rests: bool) -> None:
        generator = list(self.generators)[which]
        until = datetime.now(UTC) + timedelta(hours=1) if rests else None
        self.do(generators.obey(self.pool, generator, str(which), "cpu", until))
        if self.generators[generator]:
            (self.resting.add if rests else self.resting.discard)(generator)
        self.reap()

    @rule(which=st.integers(0, 2))
    def claim(self, which: int) -> None:
        generator, models = list(self.generators.items())[which]
        begun = generator in self.resting
        claim = self.do(queue.claim(self.pool, generator, sorted(models), sorted(models)[:1], LEASE, begun=begun))
        if claim:
            assert not begun
            assert claim.take_id not in self.owned
            self.owned[claim.take_id] = claim

    def pick(self, data: st.DataObject) -> tuple[Claim, bool]:
        """A claim and whether it is still the take's own."""
        claims = [*self.owned.values(), *self.stale]
        claim = data.draw(st.sampled_from(claims))
        return claim, self.owned.get(claim.take_id) == claim

    def let_go(self, claim: Claim) -> None:
        del self.owned[claim.take_id]
        self.stale.append(claim)

    @precondition(lambda self: self.owned or self.stale)
    @rule(data=st.data())
    def beat(self, data: st.DataObject) -> None:
        claim, own = self.pick(data)
        beat = self.do(queue.beat(self.pool, claim, Progress("step", 1, 9), LEASE))
        expected = Beat.LOST if not own else Beat.CANCEL if claim.take_id in self.cancelling else Beat.OURS
        assert beat is expected

    @precondition(lambda self: self.owned or self.stale)
    @rule(data=st.data(), seconds=st.floats(0, 9))
    def record(self, data: st.DataObject, seconds: float) -> None:
        claim, own = self.pick(data)
        if claim in self.recorded:
            return
        ended = self.do(queue.record(self.pool, claim, MASTER, CLIP, timedelta(seconds=seconds), {}))
        if own:
            assert ended is (Ended.CANCELLED if claim.take_id in self.cancelling else Ended.DONE)
            assert self.do(queue.record(self.pool, claim, MASTER, CLIP, timedelta(seconds=seconds), {})) is ended
            self.let_go(claim)
            self.recorded.append(claim)
        else:
            assert ended in {Ended.FENCED, Ended.CANCELLED}

    @precondition(lambda self: self.owned or self.stale)
    @rule(data=st.data(), how=st.sampled_from(["stop", "give back", "retry", "fail"]))
    def end(self, data: st.DataObject, how: str) -> None:
        claim, own = self.pick(data)
        cancelling = claim.take_id in self.cancelling
        match how:
            case "stop":
                # An engine stops only for a cancel.
                if own and not cancelling:
                    return
                ended = self.do(queue.stop(self.pool, claim, timedelta(seconds=1)))
                expected = {Ended.CANCELLED}
            case "give back":
                ended = self.do(queue.give_back(self.pool, claim))
                expected = {Ended.CANCELLED} if cancelling else {Ended.WAITING}
            case _:
                ended = self.do(queue.fail(self.pool, claim, retry=how == "retry", error="x", fault="x"))
                expected = {Ended.CANCELLED} if cancelling else {Ended.FAILED, Ended.AGAIN}
        assert ended in (expected if own else {Ended.FENCED})
        if own:
            self.let_go(claim)

    @precondition(lambda self: self.requests)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        request = data.draw(st.sampled_from(self.requests))
        self.do(queue.cancel(self.pool, request))
        self.cancelling |= {take for take, claim in self.owned.items() if claim.request_id == request}

    @precondition(lambda self: self.owned)
    @rule(data=st.data())
    def lose_a_lease(self, data: st.DataObject) -> None:
        claim = data.draw(st.sampled_from(list(self.owned.values())))
        self.do(self.pool.execute("UPDATE takes SET lease_until = now() WHERE take_id = $1", claim.take_id))
        self.reap()
        self.let_go(claim)

    @rule()
    def time_passes(self) -> None:
        self.do(self.pool.execute("UPDATE takes SET run_at = now() WHERE state IN ('backoff', 'parked')"))
        self.do(self.pool.execute("UPDATE takes SET queued_at = queued_at - interval '1 hour'"))
        self.reap()

    @rule()
    def midnight(self) -> None:
        self.do(self.pool.execute("UPDATE accounts SET topped_up_on = topped_up_on - 1"))

    @rule(guild=st.sampled_from(GUILDS), member=st.sampled_from(MEMBERS), amount=st.integers(-50, 50))
    def grant(self, guild: int, member: int, amount: int) -> None:
        self.do(ledger.grant(self.pool, GuildId(guild), UserId(member), amount, by=UserId(1), note=None))

    @rule()
    def reap(self) -> None:
        self.do(queue.reap(self.pool, NO_LEASE))
        working = {model for each, models in self.generators.items() if each not in self.resting for model in models}
        assert self.do(self.pool.fetchval(_HELD_UP, sorted(working))) == 0

    @precondition(lambda self: self.requests)
    @rule(data=st.data())
    def ask_for_the_place(self, data: st.DataObject) -> None:
        place = self.do(queue.place(self.pool, data.draw(st.sampled_from(self.requests))))
        assert place is None or (place.ahead >= 0 and 0 <= place.starts_in <= place.ends_in)

    @invariant()
    def every_promise_holds(self) -> None:
        async def read() -> None:
            async with self.pool.acquire() as conn:
                assert await violations(conn) == []

        self.do(read())


@pytest.mark.timeout(420)  # sixty examples of forty steps
def test_any_order_of_events_keeps_every_promise(dsn: str):
    with asyncio.Runner() as runner:
        loop = QueueMachine.loop = runner.get_loop()
        connections = connect_pool(dsn, Session("queue machine"), max_size=2)
        QueueMachine.pool = loop.run_until_complete(connections.__aenter__())
        try:
            run_state_machine_as_test(
                QueueMachine,
                settings=settings(
                    max_examples=60,
                    stateful_step_count=40,
                    deadline=None,
                    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
                ),
            )
        finally:
            loop.run_until_complete(connections.__aexit__(None, None, None))


class Hammer:
    """Actors that do at once whatever they like until the time is up, on a slow machine for as long as it takes to see
    what is to be seen, a minute at most. `seen` counts how their writes came out.
    """

    def __init__(self, pool: Pool, seconds: float) -> None:
        self.pool = pool
        self.seen = Counter[str]()
        self._began = asyncio.get_running_loop().time()
        self._seconds = seconds

    @property
    def saw_enough(self) -> bool:
        return self.seen[Ended.DONE] > 20 and self.seen[Ended.FENCED] > 0 and self.seen["lost"] > 0

    @property
    def _goes_on(self) -> bool:
        passed = asyncio.get_running_loop().time() - self._began
        return passed < (60 if not self.saw_enough else self._seconds)

    async def repeat(self, once: Callable[[random.Random], Awaitable[None]], seed: int) -> None:
        dice = random.Random(seed)
        while self._goes_on:
            try:
                await once(dice)
            except LOST:
                self.seen["lost"] += 1

    async def member(self, dice: random.Random) -> None:
        provider = dice.choice([None, "replicate"])
        ask = ask_for(dice.choice(GUILDS), dice.choice(MEMBERS), takes=dice.randint(1, 4), provider=provider)
        with suppress(MemberError):
            request = await enqueued(self.pool, ask)
            if dice.random() < 0.3:
                await queue.cancel(self.pool, request)

    async def generator(self, dice: random.Random) -> None:
        me = UUID(int=dice.getrandbits(128))
        await queue.announce(self.pool, me, "hammer", MODELS, MODELS[:1])
        lease = timedelta(milliseconds=dice.choice((1, 500)))
        claim = await queue.claim(self.pool, me, MODELS, MODELS[:1], lease)
        await asyncio.sleep(dice.random() * 0.02)
        if claim is None:
            return
        match dice.randrange(4):
            case 0:
                ended = await queue.fail(self.pool, claim, retry=dice.random() < 0.5, error="x", fault="x")
            case 1:
                ended = await queue.give_back(self.pool, claim)
            case _:
                ended = await queue.record(self.pool, claim, MASTER, CLIP, timedelta(seconds=1), {})
        self.seen[ended] += 1

    async def reaper(self, _: random.Random) -> None:
        await queue.reap(self.pool, NO_LEASE)
        await asyncio.sleep(0.02)

    async def killer(self, _: random.Random) -> None:
        await self.pool.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1"
        )
        await asyncio.sleep(0.05)


async def test_hammered_by_many_with_connections_killed_the_promises_hold(pool: Pool):
    await settle_in(pool, *GUILDS)
    await pool.execute("UPDATE guilds SET max_waiting = 1000, daily_allowance = 100000, daily_budget = 1000000")
    for guild in GUILDS:
        await paid.approve(pool, GuildId(guild), "replicate", 1000 * PRICE)
    hammer = Hammer(pool, seconds=3)
    actors = [hammer.member] * 5 + [hammer.generator] * 5 + [hammer.reaper, hammer.killer]
    await asyncio.gather(*(hammer.repeat(actor, seed) for seed, actor in enumerate(actors)))
    assert hammer.saw_enough, hammer.seen
    # The last kill may show only now.
    await retrying(pool, lambda conn: conn.execute("UPDATE takes SET lease_until = now() WHERE state = 'running'"))
    while await queue.reap(pool, NO_LEASE):
        pass
    assert await retrying(pool, violations, one_statement=True) == []
