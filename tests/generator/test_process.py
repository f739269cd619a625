"""`python -m generator` as a host runs it."""

from clips.domain import TakeState
from tests.generator.studio import Studio


async def test_a_generator_renders_what_waits_and_stops_as_told(room: Studio):
    request = await room.ask(takes=3)
    async with room.generator() as generator:
        takes = await room.ended(request)
        assert await generator.stopped() == 0
    assert [take.state for take in takes] == [TakeState.DONE] * 3
    assert await room.pool.fetchval("SELECT count(*) FROM generators") == 0
