"""Hosts' orders, rests and what members are told of them; and how long renders take, learnt by machine and size."""

import asyncio
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from typer.testing import CliRunner

from clips import generators, hosted_jobs, queue
from clips.domain import Plan, RequestId, Sha256
from clips.generators import EVERYWHERE, Orders, Pause
from clips.hosted_jobs import Order
from clips.invariants import violations
from clips.postgres import Pool
from clips.queue import Place, Rest
from clips.quiet import QuietHours
from tests.library_of import CLIP, MASTER, ask_for, enqueued, settle_in
from zoetrope.generators import app

LEASE = timedelta(seconds=30)
MINUTE = Plan(width=738, height=554, frames=24, fps=24, credits=60)
SMALL = Plan(width=320, height=240, frames=24, fps=24, credits=60)


@pytest.fixture
async def asked(pool: Pool) -> Pool:
    await settle_in(pool, 1)
    return pool


async def alive(pool: Pool, machine: str, quiet_until: datetime | None = None, device: str = "cuda") -> UUID:
    generator_id = uuid4()
    await queue.announce(pool, generator_id, f"{machine}:1", ["sketch"], [])
    await generators.obey(pool, generator_id, machine, device, quiet_until)
    return generator_id


async def minute(pool: Pool, user_id: int = 11, plan: Plan = MINUTE) -> RequestId:
    return await enqueued(pool, ask_for(1, user_id, takes=1, plan=plan))


async def placed(pool: Pool, request: RequestId) -> Place:
    place = await queue.place(pool, request)
    assert place is not None
    return place


async def rendered(pool: Pool, generator_id: UUID, seconds: float, plan: Plan = MINUTE) -> None:
    await minute(pool, user_id=99, plan=plan)
    claim = await queue.claim(pool, generator_id, ["sketch"], [], LEASE)
    assert claim is not None
    clip = replace(CLIP, width=plan.width, height=plan.height)
    await queue.record(pool, claim, Sha256(MASTER), clip, timedelta(seconds=seconds), {})


async def orders(pool: Pool, machine: str) -> Orders:
    return await generators.obey(pool, uuid4(), machine, "cuda", None)


# ---- orders


async def test_a_pause_lasts_for_whoever_starts_later(pool: Pool):
    assert await orders(pool, "attic") == Orders(Pause.NO, None)
    await generators.pause(pool, "attic", Pause.AFTER_TAKE)
    assert (await orders(pool, "attic")).pause is Pause.AFTER_TAKE
    assert (await orders(pool, "cellar")).pause is Pause.NO
    await generators.pause(pool, EVERYWHERE, Pause.NOW)
    assert {(await orders(pool, machine)).pause for machine in ("attic", "cellar")} == {Pause.NOW}
    await generators.pause(pool, "attic", Pause.NO)
    assert ((await orders(pool, "attic")).pause, (await orders(pool, "cellar")).pause) == (Pause.NO, Pause.NOW)


async def test_memory_is_asked_back_without_ending_a_pause(pool: Pool):
    await generators.pause(pool, EVERYWHERE, Pause.NOW)
    await generators.free(pool, "attic")
    attic, cellar = await orders(pool, "attic"), await orders(pool, "cellar")
    assert (attic.pause, cellar.pause) == (Pause.NOW, Pause.NOW)
    assert attic.free_at is not None and cellar.free_at is None
    await generators.free(pool, EVERYWHERE)
    later = (await orders(pool, "attic")).free_at
    assert later is not None and later > attic.free_at


async def test_the_host_sees_who_rests_and_who_renders(asked: Pool):
    until = datetime.now(UTC) + timedelta(hours=2)
    await generators.pause(asked, "attic", Pause.AFTER_TAKE)
    first, _ = await alive(asked, "attic"), await alive(asked, "cellar", until)
    await minute(asked)
    claim = await queue.claim(asked, first, ["sketch"], [], LEASE)
    assert claim is not None
    attic, cellar = await generators.known(asked)
    assert (attic.machine, attic.paused, attic.rests_until, attic.take) == ("attic", True, None, claim.take_id)
    assert (cellar.machine, cellar.paused, cellar.rests_until, cellar.take) == ("cellar", False, until, None)


async def test_the_command_line_gives_the_orders(asked: Pool, dsn: str):
    generator_id = await alive(asked, "attic")

    async def say(*words: str) -> str:
        environment = {"DATABASE_URL": dsn, "COLUMNS": "200"}
        done = await asyncio.to_thread(CliRunner().invoke, app, words, env=environment, catch_exceptions=False)
        return done.output

    assert "attic" in (listed := await say("list")) and "waits for work" in listed
    assert await say("pause", "attic", "--after-take") == (
        "The generators on attic pause. Members see it. To go on: zoetrope generators resume\n"
    )
    assert (await orders(asked, "attic")).pause is Pause.AFTER_TAKE
    await generators.obey(asked, generator_id, "attic", "cuda", None)
    assert "is paused" in await say("list")
    assert "All generators pause at once." in await say("pause")
    assert await say("resume") == "All generators work again, but for their quiet hours.\n"
    assert await orders(asked, "attic") == Orders(Pause.NO, None)
    await say("free", "attic")
    assert (await orders(asked, "attic")).free_at is not None
    assert (await say("pause", "atic")).endswith("No generator is alive on atic now. Machines that have some: attic.\n")
    await queue.announce(asked, generator_id, "ada", ["sketch"], ["sketch"])
    assert "sketch (loaded)" in await say("list")


# ---- whom a rest holds up


async def both(pool: Pool) -> tuple[UUID, UUID]:
    """A generator of `wan` in the attic, which rests, and one of `sketch` in the cellar."""
    attic, cellar = uuid4(), uuid4()
    for generator_id, machine, model in ((attic, "attic", "wan"), (cellar, "cellar", "sketch")):
        await queue.announce(pool, generator_id, machine, [model], [])
        await generators.obey(pool, generator_id, machine, "cuda", None)
    await rest(pool, attic)
    return attic, cellar


async def rest(pool: Pool, generator_id: UUID, hours: int | None = 2) -> None:
    """Let quiet hours begin in the attic, or end."""
    until = datetime.now(UTC) + timedelta(hours=hours) if hours else None
    await generators.obey(pool, generator_id, "attic", "cuda", until)


async def claimed(pool: Pool, generator_id: UUID, model: str, *, begun: bool = False) -> RequestId | None:
    claim = await queue.claim(pool, generator_id, [model], [], LEASE, begun=begun)
    return claim.request_id if claim else None


async def test_takes_of_a_resting_model_let_others_pass(asked: Pool):
    await asked.execute("UPDATE guilds SET max_running = 4")
    attic, cellar = await both(asked)
    resting = [await enqueued(asked, ask_for(1, 11, takes=1, model="wan")) for _ in range(2)]
    others = [await minute(asked) for _ in range(2)]
    assert await queue.reap(asked, LEASE) == ["let another pass"]
    assert [await claimed(asked, cellar, "sketch") for _ in others] == others
    assert await claimed(asked, cellar, "sketch") is None
    await rest(asked, attic, hours=None)
    assert await claimed(asked, attic, "wan") == resting[0]
    await rest(asked, attic)
    other = await minute(asked)
    assert await queue.reap(asked, LEASE) == ["let another pass"], "the next head, when the rest began"
    assert await claimed(asked, cellar, "sketch") == other
    async with asked.acquire() as conn:
        assert await violations(conn) == []


async def test_where_all_rest_the_oldest_stays_at_the_head(asked: Pool):
    attic, _ = await both(asked)
    resting = [await enqueued(asked, ask_for(1, 11, takes=1, model="wan")) for _ in range(2)]
    assert await queue.reap(asked, LEASE) == []
    await rest(asked, attic, hours=None)
    assert await claimed(asked, attic, "wan") == resting[0]


async def test_nobody_joins_at_the_virtual_time_of_a_take_that_rests(asked: Pool):
    _, cellar = await both(asked)
    await enqueued(asked, ask_for(1, 11, takes=1, model="wan"))
    diligent = await enqueued(asked, ask_for(1, 12, takes=2, plan=MINUTE))
    claim = await queue.claim(asked, cellar, ["sketch"], [], LEASE)
    assert claim is not None
    await queue.record(asked, claim, Sha256(MASTER), CLIP, timedelta(seconds=60), {})
    await enqueued(asked, ask_for(1, 13, takes=2, plan=MINUTE))
    assert await claimed(asked, cellar, "sketch") == diligent, "the newcomer has saved up nothing"


async def test_what_was_begun_elsewhere_is_fetched_through_a_rest(asked: Pool):
    attic, _ = await both(asked)
    await rest(asked, attic, hours=None)
    new, begun = [await enqueued(asked, ask_for(1, user, takes=1, model="wan")) for user in (11, 12)]
    claims = [await queue.claim(asked, attic, ["wan"], [], LEASE) for _ in range(2)]
    await rest(asked, attic)
    for claim in claims:
        assert claim is not None
        if claim.request_id == begun:
            await hosted_jobs.intend(asked, claim, "replicate", Order("mark", {}, (), 0))
            await hosted_jobs.remember(asked, claim.take_id, "replicate", "p1")
        await queue.give_back(asked, claim)
    assert await claimed(asked, attic, "wan", begun=True) == begun
    assert await claimed(asked, attic, "wan", begun=True) is None
    assert await claimed(asked, attic, "wan") == new


# ---- what members are told


async def test_quiet_hours_are_part_of_the_wait(asked: Pool):
    until = datetime.now(UTC) + timedelta(hours=2)
    await alive(asked, "attic", until)
    place = await placed(asked, await minute(asked))
    assert place.rest == Rest(until)
    assert (place.starts_in, place.ends_in) == (pytest.approx(7200, abs=5), pytest.approx(7260, abs=5))
    assert (await queue.waits(asked))["sketch"] == pytest.approx(7200 + 60, abs=5)


async def test_a_pause_has_no_end_that_could_be_told(asked: Pool):
    await generators.pause(asked, EVERYWHERE, Pause.NOW)
    generator_id = await alive(asked, "attic")
    request = await minute(asked)
    assert (await placed(asked, request)).rest == Rest(None)
    assert await queue.waits(asked) == {"sketch": math.inf}
    await generators.pause(asked, EVERYWHERE, Pause.NO)
    await generators.obey(asked, generator_id, "attic", "cuda", None)
    assert await placed(asked, request) == Place(0, 0, 60)


async def test_one_who_works_is_enough(asked: Pool):
    await generators.pause(asked, "attic", Pause.NOW)
    await alive(asked, "attic")
    await alive(asked, "cellar")
    first, second = await minute(asked), await minute(asked, user_id=12)
    assert await placed(asked, first) == Place(0, 0, 60)
    assert await placed(asked, second) == Place(1, 60, 120), "the one that rests does not count"


@pytest.mark.parametrize(
    ("hours", "now", "until"),
    [
        ("23:00-07:00", "2026-03-01 22:59", None),
        ("23:00-07:00", "2026-03-01 23:00", "2026-03-02 07:00"),
        ("23:00-07:00", "2026-03-02 06:59", "2026-03-02 07:00"),
        ("23:00-07:00", "2026-03-02 07:00", None),
        ("9:30-12:00", "2026-03-02 10:00", "2026-03-02 12:00"),
        ("9:30-12:00", "2026-03-02 12:30", None),
    ],
)
def test_quiet_hours_pass_midnight(hours: str, now: str, until: str | None):
    moment = datetime.fromisoformat(now).replace(tzinfo=UTC)
    expected = until and datetime.fromisoformat(until).replace(tzinfo=UTC)
    assert QuietHours.parse(hours).until(moment) == expected


@pytest.mark.parametrize("hours", ["nights", "23-7", "25:00-07:00", "07:00-07:00"])
def test_what_is_no_span_of_hours_is_refused(hours: str):
    with pytest.raises(ValueError, match=r"hour|span|empty"):
        QuietHours.parse(hours)


# ---- learnt times


async def test_estimates_follow_the_machines_that_are_alive(asked: Pool):
    attic = await alive(asked, "attic")
    await rendered(asked, attic, 30)
    assert (await placed(asked, await minute(asked))).ends_in == pytest.approx(30)
    await rendered(asked, attic, 60)
    request = await minute(asked)
    assert (await placed(asked, request)).ends_in == pytest.approx(45 * 2, abs=1), (
        "the mean; one of each member's waits"
    )


async def test_another_size_and_another_device_are_learnt_for_themselves(asked: Pool):
    fast, slow = await alive(asked, "attic"), await alive(asked, "attic", device="cpu")
    await rendered(asked, fast, 15)
    await rendered(asked, slow, 600)
    known = await asked.fetch("SELECT device, magnitude, pace, renders FROM paces ORDER BY device")
    assert [(row["device"], row["pace"], row["renders"]) for row in known] == [("cpu", 10, 1), ("cuda", 0.25, 1)]
    await queue.leave(asked, slow)
    request = await minute(asked)
    assert (await placed(asked, request)).ends_in == pytest.approx(15)
    await queue.cancel(asked, request)
    small = await placed(asked, await minute(asked, plan=SMALL))
    assert small.ends_in == pytest.approx(60 * (0.25 + 10) / 2), (
        "of this size nothing is known but the model's last renders"
    )


async def test_a_newcomer_is_told_of_each_take_at_the_pace_of_its_model_and_size(asked: Pool):
    attic = await alive(asked, "attic")
    await queue.announce(asked, attic, "attic:1", ["sketch", "wan"], [])
    await rendered(asked, attic, 15)
    await rendered(asked, attic, 120, SMALL)
    small, usual = await minute(asked, 11, SMALL), await minute(asked, 12)
    assert await claimed(asked, attic, "sketch") == small
    assert await queue.waits(asked) == {model: pytest.approx(120 + 15, abs=2) for model in ("sketch", "wan")}
    # One of a model that nobody has rendered yet takes what its price says.
    await enqueued(asked, ask_for(1, 13, takes=1, plan=MINUTE, model="wan"))
    assert (await queue.waits(asked))["wan"] == pytest.approx(120 + 15 + 60, abs=2)
    await queue.cancel(asked, usual)
    assert (await queue.waits(asked))["sketch"] == pytest.approx(120 + 60, abs=2)


async def test_a_cancelled_take_teaches_nothing(asked: Pool):
    attic = await alive(asked, "attic")
    request = await minute(asked)
    claim = await queue.claim(asked, attic, ["sketch"], [], LEASE)
    assert claim is not None
    await queue.cancel(asked, request)
    await queue.record(asked, claim, Sha256(MASTER), CLIP, timedelta(seconds=1), {})
    assert await asked.fetchval("SELECT count(*) FROM paces") == 0
