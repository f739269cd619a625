"""The ledger over midnight, and grants that are tried twice."""

from uuid import uuid4

import pytest

from clips import ledger, queue
from clips.domain import GuildId, UserId
from clips.invariants import violations
from clips.postgres import Pool
from tests.library_of import ask_for, enqueued, settle_in

GUILD, ADA = GuildId(1), UserId(11)
STAFF = UserId(1)


@pytest.fixture
async def books(pool: Pool):
    """A server with a generator; the books are in order at the end of every test."""
    await settle_in(pool, GUILD)
    await queue.announce(pool, uuid4(), "one", ["sketch"], [])
    yield pool
    async with pool.acquire() as conn:
        assert await violations(conn) == []


async def test_a_grant_that_is_tried_twice_counts_once(books: Pool):
    for amount in (500, -200):
        moved = [
            await ledger.grant(books, GUILD, ADA, amount, by=STAFF, note=None, interaction_id=amount) for _ in range(2)
        ]
        assert moved == [amount, amount]
    assert (await ledger.balance(books, GUILD, ADA)).available == 900 + 300


async def test_a_hold_over_midnight_saves_up_nothing(books: Pool):
    for _ in range(3):
        request = await enqueued(books, ask_for(GUILD, ADA, takes=3))
        await books.execute("UPDATE accounts SET topped_up_on = topped_up_on - 1")
        assert (await ledger.balance(books, GUILD, ADA)).available == 894
        await queue.cancel(books, request)
        for payer, allowance in ((ADA, 900), (None, 20_000)):
            assert (await ledger.balance(books, GUILD, payer)).available == allowance


async def test_whoever_waited_over_midnight_tops_up_for_the_new_day(books: Pool):
    """The day is the one in which the account is locked; a clock that is set back gives no second allowance."""
    await ledger.grant(books, GUILD, ADA, -900, by=STAFF, note=None)
    await books.execute("UPDATE accounts SET topped_up_on = topped_up_on + 1")
    for _ in range(2):
        assert (await ledger.balance(books, GUILD, ADA)).available == 0
