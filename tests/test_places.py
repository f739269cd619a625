"""Places and times: what members and staff are told about the queue, beside what it then does."""

from datetime import timedelta
from uuid import uuid4

import pytest

from clips import queue
from clips.domain import Plan, RequestId
from clips.postgres import Pool
from clips.queue import Place
from tests.library_of import ask_for, enqueued, settle_in, stays

GUILD, ADA, BEN = 1, 11, 12
LEASE = timedelta(seconds=30)
MINUTE = Plan(width=64, height=64, frames=24, fps=24, credits=60)


@pytest.fixture
async def asked(pool: Pool) -> Pool:
    await settle_in(pool, GUILD)
    return pool


async def announced(pool: Pool, generators: int) -> None:
    for number in range(generators):
        generator = uuid4()
        await queue.announce(pool, generator, f"number {number}", ["sketch"], [])
        await stays(pool, generator)


async def minutes(pool: Pool, user_id: int, takes: int) -> RequestId:
    """A request whose takes need a minute each."""
    return await enqueued(pool, ask_for(GUILD, user_id, takes=takes, plan=MINUTE))


async def placed(pool: Pool, request: RequestId) -> Place:
    place = await queue.place(pool, request)
    assert place is not None
    return place


async def claim(pool: Pool) -> None:
    assert await queue.claim(pool, uuid4(), ["sketch"], [], LEASE) is not None


@pytest.mark.parametrize(
    ("generators", "takes", "minutes_needed"),
    # A member has two takes at work at most.
    [(1, 1, 1), (4, 1, 1), (1, 3, 3), (2, 3, 2), (4, 3, 2), (4, 4, 2)],
)
async def test_a_take_is_never_ready_sooner_than_one_generator_makes_it(
    asked: Pool, generators: int, takes: int, minutes_needed: int
):
    await announced(asked, generators)
    request = await minutes(asked, ADA, takes)
    waiting = await placed(asked, request)
    assert (waiting.starts_in, waiting.ends_in) == (0, 60 * minutes_needed)
    for _ in range(min(generators, takes, 2)):
        await claim(asked)
    # The estimate stays where it was once it renders.
    assert (await placed(asked, request)).ends_in == pytest.approx(60 * minutes_needed, abs=2)


async def test_a_free_generator_takes_the_next_take_at_once(asked: Pool):
    await announced(asked, 2)
    await minutes(asked, ADA, 1)
    await claim(asked)
    request = await minutes(asked, BEN, 1)
    assert (await placed(asked, request)).starts_in == 0
    await claim(asked)
    third = await placed(asked, await minutes(asked, 13, 1))
    assert third.starts_in == pytest.approx(60, abs=2)


async def test_a_member_with_enough_at_work_waits_for_their_own(asked: Pool):
    await announced(asked, 4)
    await minutes(asked, ADA, 2)
    request = await minutes(asked, ADA, 1)
    await claim(asked)
    await claim(asked)
    assert (await placed(asked, request)).starts_in > 0


async def test_nobody_is_told_when_a_parked_take_will_be_ready(asked: Pool):
    request = await minutes(asked, ADA, 2)
    assert await queue.place(asked, request) is None
    await announced(asked, 1)
    while await queue.reap(asked, LEASE):
        pass
    assert (await placed(asked, request)).ends_in == 120


async def test_a_model_is_offered_at_once_while_a_generator_is_free(asked: Pool):
    await announced(asked, 2)
    await minutes(asked, ADA, 1)
    await claim(asked)
    assert await queue.waits(asked) == {"sketch": 0}
    await minutes(asked, BEN, 1)
    assert (await queue.waits(asked))["sketch"] == pytest.approx(60, abs=2)
