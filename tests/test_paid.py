"""Dollars on a real Postgres: approved, reserved before a provider is asked, settled once, never above the cap."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Coroutine
from dataclasses import replace
from datetime import timedelta
from io import StringIO
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from rich.console import Console

from clips import hosted_jobs, paid, queue
from clips.domain import GuildId, Lane, RequestId
from clips.errors import MemberError, SetupError
from clips.hosted_jobs import Order, Outcome
from clips.invariants import violations
from clips.paid import DOLLAR, Approval, dollars_of
from clips.postgres import Pool
from clips.queue import Claim, Ended
from clips.requests import Ask
from clips.settings import Settings
from tests.library_of import CLIP, MASTER, PRICE, ask_for, enqueued, settle_in
from zoetrope.paid import approve, show, withdraw

GUILD, OTHER_GUILD = GuildId(1), GuildId(2)
ADA = 11
PROVIDER = "replicate"
LEASE = timedelta(seconds=30)
SECOND = timedelta(seconds=1)


@pytest.fixture
async def books(pool: Pool) -> AsyncGenerator[Pool]:
    """Two servers; the promises hold at the end of every test."""
    await settle_in(pool, GUILD, OTHER_GUILD)
    await queue.announce(pool, GENERATOR, "one", ["kling"], [])
    yield pool
    async with pool.acquire() as conn:
        assert await violations(conn) == []


GENERATOR: UUID = uuid4()


def paid_ask(user_id: int = ADA, guild_id: int = GUILD, **changes: Any) -> Ask:
    """Takes of a paid model, $0.30 each."""
    return ask_for(guild_id, user_id, model="kling", provider=PROVIDER, **changes)


async def month(pool: Pool, guild_id: GuildId = GUILD) -> Approval:
    (approval,) = await paid.approvals(pool, guild_id)
    return approval


async def claimed(pool: Pool) -> Claim:
    claim = await queue.claim(pool, GENERATOR, ["kling"], [], LEASE)
    assert claim is not None
    return claim


async def refused(pool: Pool, ask: Ask) -> str:
    with pytest.raises(MemberError) as refusal:
        await enqueued(pool, ask)
    return refusal.value.sentence


async def test_a_server_has_local_models_only_until_the_host_approves(books: Pool):
    assert "`zoetrope paid approve 1 replicate --monthly 20`" in await refused(books, paid_ask())
    assert await paid.approve(books, GUILD, PROVIDER, None) == 0
    assert "may spend $0.00 a month with replicate, and $0.00 of that is left" in await refused(books, paid_ask())
    assert await paid.approve(books, GUILD, PROVIDER, 5 * DOLLAR) == 5 * DOLLAR
    assert await paid.approve(books, GUILD, PROVIDER, None) == 5 * DOLLAR
    await enqueued(books, paid_ask())
    assert await month(books) == Approval(GUILD, PROVIDER, 5 * DOLLAR, 3 * PRICE, 0)
    # Another server and another provider are another matter.
    assert "may not spend any" in await refused(books, paid_ask(guild_id=OTHER_GUILD))
    assert "fal bills" in await refused(books, replace(paid_ask(), provider="fal"))


async def test_what_was_asked_for_before_a_withdrawal_is_still_made(books: Pool):
    await paid.approve(books, GUILD, PROVIDER, DOLLAR)
    await enqueued(books, paid_ask(takes=1))
    assert await paid.withdraw(books, GUILD, PROVIDER)
    assert not await paid.withdraw(books, GUILD, PROVIDER)
    assert await paid.under_way(books, GUILD, PROVIDER) == 1
    assert "may not spend any" in await refused(books, paid_ask(takes=1))
    assert await queue.record(books, await claimed(books), MASTER, CLIP, SECOND, {}) is Ended.DONE
    await paid.approve(books, GUILD, PROVIDER, DOLLAR)
    assert await month(books) == Approval(GUILD, PROVIDER, DOLLAR, 0, PRICE)


async def test_a_burst_never_passes_the_cap(books: Pool):
    """Fifty members at once, dollars for seven takes."""
    await paid.approve(books, GUILD, PROVIDER, 7 * PRICE + PRICE // 2)

    async def ask(user_id: int) -> RequestId | str:
        try:
            return await enqueued(books, paid_ask(user_id, takes=1))
        except MemberError as error:
            return error.sentence

    outcomes = Counter(type(outcome) for outcome in await asyncio.gather(*(ask(user) for user in range(100, 150))))
    assert outcomes == {int: 7, str: 43}
    assert await month(books) == Approval(GUILD, PROVIDER, 7 * PRICE + PRICE // 2, 7 * PRICE, 0)


async def test_a_refusal_says_how_many_takes_would_fit_and_holds_nothing(books: Pool):
    await paid.approve(books, GUILD, PROVIDER, DOLLAR)
    await enqueued(books, paid_ask(takes=1))
    assert await refused(books, paid_ask()) == (
        "This server may spend $1.00 a month with replicate, and $0.70 of that is left; this takes up to $0.90. Ask "
        "for fewer takes (2 would fit), or use a model that the host renders. The month ends at midnight UTC of its "
        "last day; the host can raise the cap with `zoetrope paid approve`."
    )
    assert await books.fetchval("SELECT count(*) FROM charges") == 1
    assert await books.fetchval("SELECT held FROM accounts WHERE user_id = $1", ADA) == 2


async def test_each_end_is_settled_at_what_the_provider_charged(books: Pool):
    await paid.approve(books, GUILD, PROVIDER, 10 * DOLLAR)
    costs: list[int] = []

    async def spent() -> int:
        costs.append((await month(books)).spent - sum(costs))
        return costs[-1]

    await enqueued(books, paid_ask(takes=4))
    await queue.record(books, await claimed(books), MASTER, CLIP, SECOND, {})
    assert await spent() == PRICE  # its cost is not known: the price
    claim = await claimed(books)
    await paid.note_cost(books, claim.take_id, 110_000)
    await paid.note_cost(books, claim.take_id, 220_000)
    await queue.record(books, claim, MASTER, CLIP, SECOND, {})
    assert await spent() == 330_000  # two attempts, more than the price: the truth is kept
    await queue.fail(books, await claimed(books), retry=False, error="It was refused.", fault="-")
    assert await spent() == 0
    claim = await claimed(books)
    await paid.note_cost(books, claim.take_id, 50_000)
    await queue.stop(books, claim, SECOND)
    assert await spent() == 50_000
    assert await month(books) == Approval(GUILD, PROVIDER, 10 * DOLLAR, 0, PRICE + 330_000 + 50_000)


async def test_a_cost_that_is_known_only_after_the_end_puts_the_sum_right(books: Pool):
    await paid.approve(books, GUILD, PROVIDER, 10 * DOLLAR)
    await enqueued(books, paid_ask(takes=2))
    clip, cancelled = await claimed(books), await claimed(books)
    await queue.record(books, clip, MASTER, CLIP, SECOND, {})
    await queue.stop(books, cancelled, SECOND)
    assert (await month(books)).spent == PRICE
    await paid.note_cost(books, clip.take_id, 250_000)
    await paid.note_cost(books, cancelled.take_id, 40_000)
    await paid.note_cost(books, cancelled.take_id, 1_000)
    assert await month(books) == Approval(GUILD, PROVIDER, 10 * DOLLAR, 0, 250_000 + 41_000)


async def test_a_cancel_frees_nothing_that_the_provider_may_still_charge(books: Pool):
    """Asked for and cancelled, again and again, before the provider's word comes: the cap holds all the same."""
    await paid.approve(books, GUILD, PROVIDER, DOLLAR)
    jobs: list[Claim] = []
    for number in range(3):
        await enqueued(books, paid_ask(takes=1))
        jobs.append(await claimed(books))
        assert await hosted_jobs.intend(books, jobs[-1], PROVIDER, Order(f"photo {number}", {}, [], PRICE))
        await hosted_jobs.remember(books, jobs[-1].take_id, PROVIDER, f"p{number}")
        await queue.stop(books, jobs[-1], SECOND)
        assert await month(books) == Approval(GUILD, PROVIDER, DOLLAR, 0, (number + 1) * PRICE)
    assert "$0.10 of that is left" in await refused(books, paid_ask(takes=1))
    first, second, third = (job.take_id for job in jobs)
    await hosted_jobs.settle(books, first, Outcome.CANCELLED, 0)
    await hosted_jobs.settle(books, second, Outcome.CANCELLED, 400_000)
    await paid.note_cost(books, third, 40_000)  # of another prediction: its own may still cost its price
    assert (await month(books)).spent == 400_000 + PRICE + 40_000
    await hosted_jobs.settle(books, third, Outcome.CANCELLED, 50_000)
    assert await month(books) == Approval(GUILD, PROVIDER, DOLLAR, 0, 400_000 + 90_000)


async def test_a_provider_is_asked_only_for_what_was_reserved_with_it(books: Pool):
    """A generator whose catalogue differs from the bot's: the model was free, cheaper or another provider's."""
    await paid.approve(books, GUILD, PROVIDER, DOLLAR)
    for ask, provider, price, asked in (
        (ask_for(GUILD, ADA, model="kling", takes=1), PROVIDER, PRICE, False),
        (paid_ask(takes=1), PROVIDER, PRICE + 1, False),
        (paid_ask(takes=1), "fal", PRICE, False),
        (paid_ask(takes=1), PROVIDER, PRICE, True),
    ):
        await enqueued(books, ask)
        claim = await claimed(books)
        job = await hosted_jobs.intend(books, claim, provider, Order(f"photo {claim.take_id}", {}, [], price))
        assert (job is not None) is asked
        await queue.stop(books, claim, SECOND)


async def test_a_cancel_and_a_second_delivery_reserve_and_settle_once(books: Pool):
    await paid.approve(books, GUILD, PROVIDER, DOLLAR)
    request = await enqueued(books, paid_ask(interaction_id=9))
    assert await enqueued(books, paid_ask(interaction_id=9)) == request
    assert (await month(books)).reserved == 3 * PRICE
    for _ in range(2):
        await queue.cancel(books, request)
        assert await month(books) == Approval(GUILD, PROVIDER, DOLLAR, 0, 0)


async def test_an_attempt_that_is_lost_keeps_its_reservation(books: Pool):
    await paid.approve(books, GUILD, PROVIDER, DOLLAR)
    await enqueued(books, paid_ask(takes=1))
    assert await queue.give_back(books, await claimed(books)) is Ended.WAITING
    assert await queue.fail(books, await claimed(books), retry=True, error="-", fault="-") is Ended.AGAIN
    assert (await month(books)).reserved == PRICE


async def test_a_new_month_begins_with_the_whole_cap(books: Pool):
    await paid.approve(books, GUILD, PROVIDER, 3 * PRICE)
    await enqueued(books, paid_ask())
    # As if all that had been asked for a month ago.
    await books.execute(
        "INSERT INTO spending SELECT guild_id, provider, month - interval '1 month', reserved FROM spending"
    )
    await books.execute("UPDATE charges SET month = month - interval '1 month'")
    await books.execute("DELETE FROM spending WHERE month = date_trunc('month', now() AT TIME ZONE 'UTC')")
    await enqueued(books, paid_ask())
    await queue.record(books, await claimed(books), MASTER, CLIP, SECOND, {})
    # The first month pays for its own takes.
    months = await books.fetch("SELECT reserved, spent FROM spending ORDER BY month")
    assert [tuple(row) for row in months] == [(2 * PRICE, PRICE), (3 * PRICE, 0)]


async def test_nothing_paid_is_written_down_as_relaxed_or_without_a_price(books: Pool):
    await paid.approve(books, GUILD, PROVIDER, DOLLAR)
    with pytest.raises(asyncpg.CheckViolationError, match="requests_paid_are_fast"):
        await enqueued(books, paid_ask(lane=Lane.RELAXED))
    free = paid_ask()
    with pytest.raises(asyncpg.CheckViolationError, match="charges_reserved_check"):
        await enqueued(books, replace(free, plan=replace(free.plan, microdollars=0)))


# ---- the host's commands


async def said_by(command: Callable[..., Coroutine[None, None, None]], dsn: str, *arguments: object) -> str:
    """A command's words, or those of its refusal."""
    out = Console(file=StringIO(), width=120)
    try:
        await command(Settings(database_url=dsn), out, *arguments)
    except SetupError as error:
        return str(error)
    assert isinstance(out.file, StringIO)
    return out.file.getvalue().strip()


async def test_the_host_approves_lists_and_withdraws(dsn: str, books: Pool):
    assert (await said_by(show, dsn)).startswith("No server may use paid models. Allow one:")
    assert "billed by “nobody”. There are: replicate." in await said_by(approve, dsn, GUILD, "nobody", 20.0)
    assert "may spend nothing yet: add --monthly 20." in await said_by(approve, dsn, GUILD, PROVIDER, None)
    told = await said_by(approve, dsn, GUILD, PROVIDER, 19.99)
    assert told == "Server 1 may spend up to $19.99 a calendar month (UTC) with replicate."
    await enqueued(books, paid_ask(takes=2))
    listed = (await said_by(show, dsn)).splitlines()
    assert listed[1].split() == ["1", "replicate", "$19.99", "$0.00", "$0.60", "$19.39"]
    assert "2 takes that were asked for before are still made and paid." in await said_by(
        withdraw, dsn, GUILD, PROVIDER
    )
    assert "has no approval for replicate" in await said_by(withdraw, dsn, GUILD, PROVIDER)


@pytest.mark.parametrize(
    ("amount", "written"),
    [(0, "$0.00"), (DOLLAR // 2, "$0.50"), (32_500, "$0.0325"), (1_234_567, "$1.23"), (20 * DOLLAR, "$20.00")],
)
def test_dollars_are_written_as_people_do(amount: int, written: str):
    assert dollars_of(amount) == written
