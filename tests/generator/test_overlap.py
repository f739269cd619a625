"""One take is stored while the next is rendered: the GPU waits for no blob store, and each take ends for itself."""

import asyncio
import math
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from clips import generators, library, queue
from clips.blobs import BlobStore
from clips.catalog import Model
from clips.domain import RequestId, Sha256, TakeState
from clips.errors import FatalEngineError, RetryableError
from clips.notices import listen
from clips.postgres import Pool, Session
from clips.requests import Take
from generator import worker
from generator.engines.base import Context, Engine, Job, NoRoomError, Sink
from generator.engines.gates import Gate
from generator.engines.loading import Shelf
from generator.resting import Place, Resting
from generator.takes import CLIP_TYPE
from tests.generator.rehearsal import SKETCH, SPEC, Rehearsed, endless, frames, working
from tests.generator.studio import GUILD, SHORT, SOON, Studio


class Slow(BlobStore):
    """A blob store that takes clips in only once it is let; before the first of them it may be away for a moment."""

    def __init__(self, store: BlobStore, *, away: bool = False) -> None:
        self._under = store
        self._away = away
        self.let = asyncio.Event()

    async def put(self, pool: Pool, content: Path | bytes, media_type: str) -> Sha256:
        assert media_type == CLIP_TYPE
        await self.let.wait()
        if self._away:
            self._away = False
            raise RetryableError("The blob store did not take a blob: 503 Slow Down")
        return await self._under.put(pool, content, media_type)

    async def fetch_to(self, sha256: Sha256, target: Path) -> None:
        await self._under.fetch_to(sha256, target)


async def storing(room: Studio, request: RequestId) -> Take:
    """Wait until the first take of a request is being stored."""
    return (await room.until(request, lambda whole: whole.takes[0].phase == "store")).takes[0]


async def state_of(room: Studio, request: RequestId) -> TakeState:
    return (await room.read(request)).takes[0].state


async def test_a_take_is_rendered_while_the_one_before_is_stored_and_pays_for_its_own_render_alone(room: Studio):
    blobs = Slow(room.blobs)
    at_work = 0
    longest = 0.0

    def alone(job: Job, sink: Sink, context: Context) -> None:
        nonlocal at_work, longest
        at_work += 1
        assert at_work == 1, "two renders meet in the engine"
        began = time.monotonic()
        frames(job, sink, context)
        time.sleep(0.1)
        longest = max(longest, time.monotonic() - began)
        at_work -= 1

    request = await room.ask(replace(SHORT, credits=90), takes=2)
    async with working(room, alone, blobs=blobs):
        whole = await room.until(request, lambda whole: [take.phase for take in whole.takes] == ["store"] * 2)
        assert [take.state for take in whole.takes] == [TakeState.RUNNING] * 2
        await asyncio.sleep(3)
        blobs.let.set()
        takes = await room.ended(request)
    assert [take.state for take in takes] == [TakeState.DONE] * 2
    assert all(take.charged is not None and take.charged < longest + 3 for take in takes)


async def test_no_more_is_rendered_than_one_take_ahead_of_the_blob_store(room: Studio):
    blobs = Slow(room.blobs)
    asked = [await room.ask(user_id=user) for user in (11, 12, 13)]
    async with working(room, blobs=blobs):
        for request in asked[:2]:
            await storing(room, request)
        await asyncio.sleep(0.3)
        assert await state_of(room, asked[2]) is TakeState.READY
        blobs.let.set()
        for request in asked:
            [take] = await room.ended(request)
            assert take.state is TakeState.DONE


async def test_what_is_rendered_elsewhere_keeps_its_place_to_the_end(room: Studio):
    async def well() -> None: ...

    blobs = Slow(room.blobs)
    asked = [await room.ask(user_id=user) for user in (11, 12)]
    async with working(room, blobs=blobs, gate=Gate("elsewhere", well)):
        await storing(room, asked[0])
        await asyncio.sleep(0.3)
        assert await state_of(room, asked[1]) is TakeState.READY
        blobs.let.set()
        for request in asked:
            await room.ended(request)


async def test_told_to_stop_it_records_what_is_rendered_and_finishes_what_it_renders(room: Studio):
    first_is_stored = threading.Event()

    def slow(job: Job, sink: Sink, context: Context) -> None:
        context.report("step", 0, 1)
        if job.takes[0].seed == 12:
            assert first_is_stored.wait(30)
        frames(job, sink, context)

    blobs = Slow(room.blobs)
    asked = [await room.ask(user_id=user, seed=user) for user in (11, 12, 13)]
    async with working(room, slow, blobs=blobs, stop_seconds=20) as stopping:
        await storing(room, asked[0])
        [second] = await room.rendering(asked[1])
        assert {one.name: one.take for one in await generators.known(room.pool)}["test"] == second.take_id
        stopping.ask()
        blobs.let.set()
        await room.ended(asked[0])
        first_is_stored.set()
        for request in asked[:2]:
            await room.ended(request)
    states = [await state_of(room, request) for request in asked]
    assert states == [TakeState.DONE, TakeState.DONE, TakeState.READY]


async def test_past_the_bound_what_could_not_be_stored_goes_back_and_the_process_is_well(
    room: Studio, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(worker, "GRACE", 0.3)
    request = await room.ask()
    async with working(room, blobs=Slow(room.blobs), stop_seconds=0.1) as stopping:
        await storing(room, request)
        stopping.ask()
        whole = await room.until(request, lambda whole: whole.takes[0].state is TakeState.READY)
    assert (whole.takes[0].attempts, whole.takes[0].charged) == (0, None)


def second_breaks(job: Job, sink: Sink, context: Context) -> None:
    if job.takes[0].index == 2:
        raise FatalEngineError("CUDA error: an illegal memory access")
    frames(job, sink, context)


async def test_a_poisoned_process_records_what_it_rendered_before_and_renders_no_more(room: Studio):
    blobs = Slow(room.blobs)
    request = await room.ask(takes=2)
    later: list[RequestId] = []

    async def until_it_breaks() -> None:
        async with working(room, second_breaks, blobs=blobs):
            await room.until(request, lambda whole: whole.takes[1].state is TakeState.BACKOFF)
            later.append(await room.ask(user_id=12))
            await asyncio.sleep(0.3)
            blobs.let.set()
            await room.until(request, lambda whole: whole.takes[0].state is TakeState.DONE)

    with pytest.raises(FatalEngineError):
        await until_it_breaks()
    assert [take.attempts for take in (await room.read(request)).takes] == [0, 1]
    assert await state_of(room, later[0]) is TakeState.READY


async def test_a_poisoned_process_waits_for_no_blob_store_beyond_the_bound(
    room: Studio, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(worker, "GRACE", 0.3)
    request = await room.ask(takes=2)
    in_time: list[Take] = []

    async def until_it_breaks() -> None:
        async with working(room, second_breaks, blobs=Slow(room.blobs), stop_seconds=0.3):
            await room.until(request, lambda whole: whole.takes[1].state is TakeState.BACKOFF)
            whole = await room.until(request, lambda whole: whole.takes[0].state is TakeState.READY)
            in_time.extend(whole.takes)

    with pytest.raises(FatalEngineError):
        await until_it_breaks()
    assert [take.attempts for take in in_time] == [0, 1]


async def test_a_take_that_is_lost_while_it_is_stored_is_recorded_once(room: Studio):
    blobs = Slow(room.blobs)
    request, other = await room.ask(), await room.ask(user_id=12)
    async with working(room, blobs=blobs):
        take = await storing(room, request)
        await storing(room, other)
        async with room.pool.acquire() as conn, conn.transaction():
            late = "UPDATE takes SET lease_until = clock_timestamp() - interval '1 s' WHERE take_id = $1"
            await conn.execute(late, take.take_id)
            assert await queue.reap_one(conn, timedelta(0)) == "lease lost, again"
        blobs.let.set()
        takes = [*await room.ended(request), *await room.ended(other)]
    assert [(take.state, take.attempts) for take in takes] == [(TakeState.DONE, 1), (TakeState.DONE, 0)]
    assert await room.pool.fetchval("SELECT count(*) FROM clips") == 2
    assert await room.pool.fetchval("SELECT fence FROM takes WHERE take_id = $1", take.take_id) == 2


async def test_a_cancel_is_for_its_own_take(room: Studio):
    def either(job: Job, sink: Sink, context: Context) -> None:
        (frames if job.takes[0].seed == 1 else endless)(job, sink, context)

    blobs = Slow(room.blobs)
    first = await room.ask(replace(SHORT, credits=9), seed=1)
    async with working(room, either, blobs=blobs):
        await storing(room, first)
        second = await room.ask(user_id=12, seed=2)
        await room.rendering(second)
        await queue.cancel(room.pool, first)
        await asyncio.sleep(0.3)
        assert await state_of(room, second) is TakeState.RUNNING
        await queue.cancel(room.pool, second)
        [take] = await room.ended(second)
        assert (take.state, await state_of(room, first)) == (TakeState.CANCELLED, TakeState.RUNNING)
        blobs.let.set()
        [take] = await room.ended(first)
    gpu = await room.pool.fetchval("SELECT gpu_ms FROM takes WHERE take_id = $1", take.take_id)
    assert (take.state, take.charged) == (TakeState.CANCELLED, math.ceil(gpu / 1000))


async def test_a_model_that_makes_room_is_not_asked_again_for_the_take_that_is_stored(room: Studio):
    made: list[Rehearsed] = []

    class Large(Rehearsed):
        vram, ram, can_park = 0, 1, True

        @property
        def manner(self) -> Mapping[str, str]:
            assert not self.closed
            return {"placement": f"number {made.index(self)}"}

        async def park(self) -> None:
            raise AssertionError("it holds nothing on a GPU")

        async def wake(self) -> None: ...

    async def load(_: Model, __: str, ___: Context, ____: int) -> Engine:
        if not all(engine.closed for engine in made):
            raise NoRoomError(vram=0, ram=1)
        made.append(Large(frames))
        return made[-1]

    blobs = Slow(room.blobs)
    models = {"sketch": SKETCH, "other": SKETCH.model_copy(update={"name": "other"})}
    await queue.announce(room.pool, uuid4(), "another", list(models), [])
    first, second = [await room.ask(spec=replace(SPEC, model=name), user_id=11) for name in models]
    async with working(room, blobs=blobs, shelf=Shelf("cpu", load=load), models=models):
        await storing(room, first)
        await storing(room, second)
        assert [engine.closed for engine in made] == [True, False]
        blobs.let.set()
        takes = [*await room.ended(first), *await room.ended(second)]
    clips = [await library.clip(room.pool, GUILD, take.take_id) for take in takes]
    assert [clip and clip.recipe["versions"]["placement"] for clip in clips] == ["number 0", "number 1"]


async def test_a_pause_takes_nothing_from_what_is_rendered(room: Studio):
    async def nothing() -> int:
        return 0

    blobs = Slow(room.blobs, away=True)
    request = await room.ask()
    async with listen(room.dsn, Session("test"), ("orders",)) as notices:
        resting = Resting(room.pool, uuid4(), Place("attic", "cpu"), None, notices, nothing)
        async with working(room, blobs=blobs, resting=resting):
            await storing(room, request)
            resting.due.set()
            await asyncio.sleep(0.1)
            blobs.let.set()
            [take] = await room.ended(request)
    assert take.state is TakeState.DONE
    assert await room.pool.fetchval("SELECT fence FROM takes") == 1  # this render, not another


@pytest.mark.parametrize("checkpoint", ["encoded", "stored", "recorded"])
async def test_killed_with_two_takes_it_loses_neither(room: Studio, checkpoint: str):
    request = await room.ask(takes=2)
    async with room.generator("takes its time", kill_at=checkpoint, lease_seconds=SOON) as killed:
        assert await killed.ended() == -9, killed.said
    async with room.generator(lease_seconds=SOON) as generator:
        takes = await room.ended(request)
        assert await generator.stopped() == 0, generator.said
    assert [take.state for take in takes] == [TakeState.DONE] * 2
    assert await room.pool.fetchval("SELECT count(*) FROM clips") == 2
    assert await room.pool.fetchval("SELECT count(*) FROM entries WHERE reason = 'settle' AND amount > 0") == 4
