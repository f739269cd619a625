"""A generator that is paused, goes on and gives its memory back, as its host tells it."""

from datetime import datetime, timedelta
from uuid import uuid4

from clips import generators, queue
from clips.domain import TakeState
from clips.generators import EVERYWHERE, Pause
from clips.notices import listen
from clips.postgres import Session
from clips.quiet import QuietHours
from generator.resting import Place, Resting
from tests.generator.studio import Studio


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


async def test_in_its_quiet_hours_it_rests(room: Studio):
    now = datetime.now().astimezone()
    quiet = QuietHours((now - timedelta(hours=1)).time(), (now + timedelta(hours=1)).time())
    freed: list[int] = []

    async def free() -> int:
        freed.append(1)
        return 0

    async with listen(room.dsn, Session("test"), (generators.ORDERS,)) as notices:
        for hours, rests in ((quiet, True), (None, False)):
            resting = Resting(room.pool, uuid4(), Place("attic", "cpu"), hours, notices, free)
            await resting.look()
            assert resting.at_rest is rests
        await generators.free(room.pool, "attic")
        await resting.look()
        assert freed == [1], "once, and not what was asked before it began"
        await resting.look()
        assert freed == [1]
