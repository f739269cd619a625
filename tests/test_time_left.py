"""How long a running take still needs: learnt by machine, model and size, mended by how its render goes."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clips import generators, queue, requests
from clips.domain import GuildId, Plan, Progress, RequestId, Sha256
from clips.postgres import Pool, Session, connect
from clips.queue import Claim
from tests.library_of import CLIP, MASTER, ask_for, enqueued, settle_in, stays

GUILD = GuildId(1)
LEASE = timedelta(seconds=30)
PLAN = Plan(width=738, height=554, frames=120, fps=24, credits=60)
NOW = datetime(2026, 8, 1, 12, tzinfo=UTC)
GIGA = 10**9

_LEFT = """
    SELECT time_left(jsonb_populate_record(NULL::takes, $1), $2, jsonb_populate_record(NULL::paces, $3), $4)
"""
_COURSE = """
    SELECT time_left(jsonb_populate_record(NULL::takes, take), $3, jsonb_populate_record(NULL::paces, $4), now) AS left
    FROM unnest($1::jsonb[], $2::timestamptz[]) WITH ORDINALITY AS course (take, now, number)
    ORDER BY number
"""
_PASS = """
    UPDATE takes SET started_at = started_at - $1::interval, rendering_at = rendering_at - $1::interval,
        steps_at = steps_at - $1::interval, stepped_at = stepped_at - $1::interval,
        measured_at = measured_at - $1::interval, progress_at = progress_at - $1::interval
"""


@pytest.fixture
async def asked(pool: Pool) -> Pool:
    await settle_in(pool, GUILD)
    return pool


def ago(seconds: float) -> str:
    return (NOW - timedelta(seconds=seconds)).isoformat()


def at(phase: str, done: int, total: int, *, told: float, **moments: float) -> dict[str, Any]:
    """A take's progress; `told` and the other moments in seconds ago."""
    row: dict[str, Any] = {"phase": phase, "done": done, "total": total, "progress_at": ago(told)}
    return row | {name: ago(seconds) for name, seconds in moments.items()}


def since(done: int, seconds: float) -> dict[str, Any]:
    """Its own speed is known from here on."""
    return {"measured_from": done, "measured_at": ago(seconds)}


LEARNT = {"pace": 1.0, "encode_share": 0.1, "decode_share": 0.3}
SHARELESS = {"pace": 1.0}


@pytest.mark.parametrize(
    ("take", "known", "left"),
    [
        pytest.param({"phase": "load", "done": 0, "total": 0}, LEARNT, 100, id="loading, nothing known of it"),
        pytest.param(
            at("load", 20 * GIGA, 50 * GIGA, told=0) | since(10 * GIGA, 5), LEARNT, 100 + 15, id="loading at 2 GB/s"
        ),
        pytest.param(
            at("load", 20 * GIGA, 50 * GIGA, told=4) | since(10 * GIGA, 9), LEARNT, 100 + 11, id="4 s after a byte"
        ),
        pytest.param(at("encode", 0, 2, told=4, rendering_at=4), LEARNT, 96, id="encoding"),
        pytest.param(at("encode", 0, 2, told=40, rendering_at=40), LEARNT, 90, id="encoding for longer than usual"),
        pytest.param(at("encode", 0, 2, told=40, rendering_at=40), None, 100, id="encoding, nothing learnt"),
        pytest.param(at("step", 0, 6, told=0, rendering_at=10), LEARNT, 90, id="steps begin"),
        pytest.param(at("step", 0, 6, told=5, rendering_at=15), LEARNT, 85, id="in the first step"),
        pytest.param(at("step", 0, 6, told=99, rendering_at=109), LEARNT, 80, id="a first step that takes long"),
        pytest.param(
            at("step", 3, 6, told=0, rendering_at=40) | since(1, 20), LEARNT, 60, id="half of the steps, as learnt"
        ),
        # Half as much again for what is left of the steps, and the decode too: halfway between learnt and so.
        pytest.param(
            at("step", 3, 6, told=0, rendering_at=70) | since(1, 40), LEARNT, 90, id="half of the steps, twice as slow"
        ),
        pytest.param(at("step", 6, 6, told=0, rendering_at=70) | since(1, 50), LEARNT, 30, id="all steps done"),
        # 45 steps of 2 s, and a tenth of the whole for the decode: never what the load had taken.
        pytest.param(
            at("step", 5, 50, told=0, rendering_at=10, started_at=130) | since(1, 8), None, 90 + 100 / 9, id="unlearnt"
        ),
        pytest.param(
            at("decode", 0, 120, told=0, rendering_at=70, stepped_at=0), LEARNT, 30, id="the decode begins"
        ),
        pytest.param(
            at("decode", 0, 120, told=20, rendering_at=90, stepped_at=20), LEARNT, 10, id="in a decode of one piece"
        ),
        pytest.param(
            at("decode", 0, 120, told=99, rendering_at=169, stepped_at=99), LEARNT, 3, id="a decode that takes long"
        ),
        pytest.param(
            at("decode", 0, 120, told=0, rendering_at=140, stepped_at=0), LEARNT, 60, id="a decode as slow as its steps"
        ),
        pytest.param(
            at("decode", 60, 120, told=0, rendering_at=100, stepped_at=30) | since(20, 20), SHARELESS,
            (70 / 9 / 2 + 30) / 2, id="half of the frames, slower than assumed",
        ),
        pytest.param(at("store", 0, 1, told=50, rendering_at=150, stepped_at=80), LEARNT, 1, id="stored"),
        pytest.param(at("part", 30, 100, told=3, rendering_at=40), SHARELESS, 60, id="elsewhere"),
        pytest.param(at("part", 95, 100, told=3, rendering_at=400), SHARELESS, 10, id="elsewhere, longer than usual"),
    ],
)  # fmt: skip
async def test_what_a_render_of_100_seconds_still_needs(
    pool: Pool, take: dict[str, Any], known: dict[str, Any] | None, left: float
):
    assert await pool.fetchval(_LEFT, take, 100.0, known, NOW) == pytest.approx(left, rel=1e-3)


# ---- renders from their claim to their end


@dataclass(frozen=True, slots=True)
class Render:
    """How long each part of a render takes, in seconds. The decode comes in so many pieces."""

    load: float
    encode: float
    steps: int
    step: float
    decode: float
    pieces: int = 1

    @property
    def seconds(self) -> float:
        """What its take is measured at."""
        return self.encode + self.steps * self.step + self.decode

    def words(self) -> Iterator[tuple[Progress, float]]:
        """All that it tells, each with the seconds until the next."""
        for done in range(10):
            yield Progress("load", done * GIGA, 10 * GIGA), self.load / 10
        yield Progress("encode", 0, 1), self.encode
        for done in range(self.steps):
            yield Progress("step", done, self.steps), self.step
        yield Progress("step", self.steps, self.steps), 0
        for done in range(self.pieces):
            yield Progress("decode", done * 120 // self.pieces, 120), self.decode / self.pieces


@dataclass(slots=True)
class Machine:
    """A generator whose renders take their time at once: the moments that a take knows are moved into the past."""

    pool: Pool
    generator_id: UUID
    at: datetime
    """Until when all that passed is accounted for, by the database's clock."""

    async def passes(self, seconds: float) -> None:
        """So much time passes since the last call, however long the statements in between have taken."""
        before, self.at = self.at, await clock(self.pool)
        await self.pool.execute(_PASS, timedelta(seconds=seconds) - (self.at - before))

    async def follow(self, render: Render) -> tuple[list[float], list[float]]:
        """Render a take. The seconds left that were told, and the true ones, also between two words of progress."""
        request, claim = await self.begin()
        told: list[float] = []
        true: list[float] = []
        rest = render.load + render.seconds
        for progress, seconds in render.words():
            await self.passes(0)
            await queue.beat(self.pool, claim, progress, LEASE)
            for passing in (0, seconds / 2, seconds / 2):
                await self.passes(passing)
                rest -= passing
                told.append(await self.left(request))
                true.append(rest)
        await self.end(claim, render.seconds)
        return told, true

    async def begin(self, user_id: int = 11, plan: Plan = PLAN) -> tuple[RequestId, Claim]:
        request = await enqueued(self.pool, ask_for(GUILD, user_id, takes=1, plan=plan))
        claim = await queue.claim(self.pool, self.generator_id, ["sketch"], [], LEASE)
        assert claim is not None
        self.at = await clock(self.pool)
        return request, claim

    async def left(self, request: RequestId) -> float:
        whole = await requests.read(self.pool, GUILD, request)
        assert whole is not None
        seconds = whole.takes[0].seconds_left
        assert seconds is not None
        return seconds

    async def end(self, claim: Claim, seconds: float) -> None:
        await queue.record(self.pool, claim, Sha256(MASTER), CLIP, timedelta(seconds=seconds), {})


async def machine(pool: Pool, name: str) -> Machine:
    generator_id = uuid4()
    await queue.announce(pool, generator_id, name, ["sketch"], [])
    await generators.obey(pool, generator_id, name, "cuda", None)
    await stays(pool, generator_id)
    return Machine(pool, generator_id, await clock(pool))


async def clock(pool: Pool) -> datetime:
    return await pool.fetchval("SELECT clock_timestamp()")


FEW_STEPS = Render(load=120, encode=4, steps=4, step=10, decode=42)
MANY_STEPS = Render(load=120, encode=3, steps=50, step=2, decode=6, pieces=6)


@pytest.mark.parametrize("render", [FEW_STEPS, MANY_STEPS], ids=["few steps", "many steps"])
async def test_what_was_learnt_is_told_from_the_first_byte_to_the_end(asked: Pool, render: Render):
    attic = await machine(asked, "attic")
    await attic.follow(render)
    row = await asked.fetchrow("SELECT pace, encode_share, decode_share FROM paces")
    assert row is not None
    shares = render.seconds / 60, render.encode / render.seconds, render.decode / render.seconds
    assert tuple(row) == pytest.approx(shares, abs=0.02)
    told, true = await attic.follow(replace(render, load=30))
    loaded = next(place for place, rest in enumerate(true) if rest <= render.seconds + 15)
    errors = [abs(left - rest) for left, rest in zip(told[loaded:], true[loaded:], strict=True)]
    assert max(errors) < 2 + render.decode / 10, "the last tenth of the decode lasts until it is there"


async def test_a_model_that_nobody_has_rendered_yet_is_told_by_its_own_steps(asked: Pool):
    attic = await machine(asked, "attic")
    request, claim = await attic.begin()
    for done in range(3):
        await queue.beat(asked, claim, Progress("load", done * 30 * GIGA, 60 * GIGA), LEASE)
        await attic.passes(60)
    for done in range(6):
        await attic.passes(0)
        await queue.beat(asked, claim, Progress("step", done, 50), LEASE)
        await attic.passes(2)
    assert await attic.left(request) == pytest.approx(45 * 2 - 2 + 100 / 9, abs=1)


async def test_a_take_that_goes_back_in_line_begins_anew(asked: Pool):
    attic = await machine(asked, "attic")
    request, claim = await attic.begin()
    for done in range(5):
        await queue.beat(asked, claim, Progress("step", done, 9), LEASE)
        await attic.passes(500)
    assert await attic.left(request) > 1000
    await queue.give_back(asked, claim)
    again = await queue.claim(asked, attic.generator_id, ["sketch"], [], LEASE)
    assert again is not None
    assert await attic.left(request) == 60
    await queue.beat(asked, again, Progress("step", 9, 9), LEASE)
    assert await attic.left(request) == 1, "its decode is as short as its steps were, not as those before"


async def test_the_machine_that_renders_a_take_is_the_one_that_counts(asked: Pool):
    attic, cellar = await machine(asked, "attic"), await machine(asked, "cellar")
    await attic.end((await attic.begin(98))[1], 20)
    await cellar.end((await cellar.begin(99))[1], 200)
    (fast, _), (slow, _) = await attic.begin(11), await cellar.begin(12)
    assert await attic.left(fast) == pytest.approx(20)
    assert await cellar.left(slow) == pytest.approx(200)
    place = await queue.place(asked, fast)
    assert place is not None and place.ends_in == pytest.approx(20)
    third = await queue.place(asked, await enqueued(asked, ask_for(GUILD, 13, takes=1, plan=PLAN)))
    assert third is not None and third.starts_in == pytest.approx((20 + 200) / 2)


async def test_a_place_counts_each_take_ahead_at_the_pace_of_its_own_size_and_no_load(asked: Pool):
    attic = await machine(asked, "attic")
    small = Plan(width=320, height=240, frames=24, fps=24, credits=60)
    await attic.end((await attic.begin(99))[1], 30)
    _, claim = await attic.begin(99, small)
    clip = replace(CLIP, width=small.width, height=small.height)
    await queue.record(asked, claim, Sha256(MASTER), clip, timedelta(seconds=600), {})
    await attic.begin(11)
    await attic.passes(300)  # it still loads
    for user in (12, 13):
        await enqueued(asked, ask_for(GUILD, user, takes=1, plan=small))
    place = await queue.place(asked, await enqueued(asked, ask_for(GUILD, 14, takes=1, plan=PLAN)))
    assert place is not None
    assert (place.ahead, place.starts_in, place.ends_in) == (2, pytest.approx(1230), pytest.approx(1260))


# ---- any render


renders = st.builds(
    Render,
    load=st.floats(0.5, 200),
    encode=st.floats(0.5, 20),
    steps=st.integers(3, 12),
    step=st.floats(0.5, 30),
    decode=st.floats(1, 60),
    pieces=st.integers(1, 8),
)


def course(render: Render) -> Iterator[tuple[dict[str, Any], datetime, float]]:
    """A take as it knows itself after each word and before the next, the moment, and what is left from then on."""
    at, rest = NOW, render.load + render.seconds
    row: dict[str, Any] = {"phase": None, "total": None, "measured_from": 0}
    for word, seconds in render.words():
        if (row["phase"], row["total"]) != (word.phase, word.total) or (row["measured_from"] == 0 and word.done):
            row |= {"measured_at": at, "measured_from": word.done}
        if word.phase == "encode":
            row["rendering_at"] = at
        if word.phase == "decode":
            row.setdefault("stepped_at", at)
        row |= {"phase": word.phase, "done": word.done, "total": word.total, "progress_at": at}
        told = {key: value.isoformat() if isinstance(value, datetime) else value for key, value in row.items()}
        for passing in (0, seconds / 2, seconds / 2):
            at, rest = at + timedelta(seconds=passing), rest - passing
            yield told, at, rest


def test_a_steady_render_is_told_steadily_and_ends_near_nothing(dsn: str):
    """The machine has learnt of renders up to half as long or twice as long as this one, in the same parts."""

    @settings(max_examples=100, deadline=None)
    @given(render=renders, factor=st.floats(0.5, 2))
    def steady(render: Render, factor: float) -> None:
        rows, moments, true = zip(*course(render), strict=True)
        shares = {"encode_share": render.encode / render.seconds, "decode_share": render.decode / render.seconds}
        known = {"pace": factor, **shares}
        lines = runner.run(conn.fetch(_COURSE, rows, moments, render.seconds * factor, known))
        told: list[float] = [line["left"] for line in lines]
        loaded = next(place for place, row in enumerate(rows) if row["phase"] == "encode")
        errors = [abs(left - rest) for left, rest in zip(told[loaded:], true[loaded:], strict=True)]
        rises = [later - earlier for earlier, later in pairwise(told[loaded:])]
        slowest = render.decode * max(factor, 1)
        # Never further off than what was learnt is, but for the last tenth of a decode.
        assert max(errors) <= 1 + render.seconds * abs(factor - 1) + slowest / 10
        # It only rises by what was learnt too little; the pieces of a decode are whole frames.
        assert sum(rise for rise in rises if rise > 0) <= 0.1 + render.decode / 50 + render.seconds * max(1 - factor, 0)
        assert 0 < told[-1] <= 1 + slowest / 10
        assert told[0] == pytest.approx(render.seconds * factor), "a load of which nothing is known yet"

    with asyncio.Runner() as runner:
        conn = runner.run(connect(dsn, Session("zoetrope tests")))
        steady()
        runner.run(conn.close())
