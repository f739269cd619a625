"""A generator that is paused, goes on and gives its memory back, as its host tells it."""

import asyncio
from datetime import datetime, timedelta
from uuid import uuid4

import pytest

from clips import generators, queue
from clips.domain import TakeState
from clips.generators import EVERYWHERE, Pause
from clips.notices import listen
from clips.postgres import Session
from clips.quiet import QuietHours
from generator.resting import Place, Resting
from tests.generator.studio import BOUND, Studio


async def test_a_pause_takes_nothing_away_and_nothing_more_is_claimed(room: Studio):
    request = await room.ask(takes=2)
    async with room.generator("takes its time") as generator:
        await room.rendering(request)
        await room.pool.execute("DELETE FROM generators WHERE name = 'gone'")
        await generators.pause(room.pool, EVERYWHERE, Pause.AFTER_TAKE)
        whole = await room.until(request, lambda whole: whole.clips)
        await generator.says("Pause: after take")
        [one] = await generators.known(room.pool)
        assert (one.paused, one.take) == (True, None)
        assert [take.state for take in whole.takes] == [TakeState.DONE, TakeState.READY]
        place = await queue.place(room.pool, request)
        assert place is not None and place.rest is not None
        await generators.pause(room.pool, EVERYWHERE, Pause.NO)
        await room.until(request, lambda whole: whole.takes[1].phase == "step")
        await generators.pause(room.pool, EVERYWHERE, Pause.NOW)
        whole = await room.until(request, lambda whole: whole.takes[1].state is TakeState.READY)
        assert whole.takes[1].attempts == 0
        await generators.free(room.pool, EVERYWHERE)
        await generator.says("GiB of GPU memory are free for others")
        await generators.pause(room.pool, EVERYWHERE, Pause.NO)
        assert {take.state for take in await room.ended(request)} == {TakeState.DONE}
    await room.promises_hold()


async def nothing() -> int:
    return 0


async def test_in_its_quiet_hours_it_rests(room: Studio):
    now = datetime.now().astimezone()
    quiet = QuietHours((now - timedelta(hours=1)).time(), (now + timedelta(hours=1)).time())
    async with listen(room.dsn, Session("test"), (generators.ORDERS,)) as notices:
        for hours, rests in ((quiet, True), (None, False)):
            resting = Resting(room.pool, uuid4(), Place("attic", "cpu"), hours, notices, nothing)
            await resting.look()
            assert resting.at_rest is rests


async def test_memory_that_waits_for_a_render_does_not_deafen_it_to_a_pause(room: Studio):
    asked, rendered = asyncio.Queue[int](), asyncio.Event()

    async def free() -> int:
        asked.put_nowait(1)
        await rendered.wait()
        return 0

    await generators.free(room.pool, "attic")
    async with asyncio.timeout(BOUND), listen(room.dsn, Session("test"), (generators.ORDERS,)) as notices:
        resting = Resting(room.pool, uuid4(), Place("attic", "cpu"), None, notices, free)
        await resting.look()
        assert asked.empty(), "not what was asked before it began"
        keeping = asyncio.create_task(resting.keep())
        await resting.look()
        await generators.free(room.pool, "attic")
        await asked.get()
        await generators.free(room.pool, "attic")
        await generators.pause(room.pool, "attic", Pause.NOW)
        await resting.due.wait()
        assert resting.at_rest and asked.empty(), "one after another"
        rendered.set()
        await asked.get()
        await resting.look()
        assert asked.empty(), "once for each"
        keeping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await keeping
