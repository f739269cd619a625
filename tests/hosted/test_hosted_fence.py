"""Two generators and one hosted take: whoever sleeps past the lease pays nothing and writes nothing."""

import signal

from clips import queue
from clips.domain import TakeState
from tests.generator.studio import SOON, Studio
from tests.hosted.provider import KEY, Provider
from tests.hosted.test_account import MODEL, ask


async def test_a_generator_that_slept_leaves_its_prediction_to_the_next(room: Studio, provider: Provider):
    provider.held = True
    settings = {"models": MODEL.name, "replicate_url": provider.address, "lease_seconds": SOON}
    request = await ask(room)
    async with room.generator("pays at once", key=KEY, **settings) as sleeper:
        await room.until(request, lambda whole: whole.takes[0].phase == "part")
        sleeper.process.send_signal(signal.SIGSTOP)
        async with room.generator("pays at once", key=KEY, **settings) as other:
            await room.until(request, lambda whole: whole.takes[0].attempts == 1 and whole.takes[0].phase == "part")
            sleeper.process.send_signal(signal.SIGCONT)
            await sleeper.says("belongs to another generator now")
            provider.held = False
            [take] = await room.ended(request)
            assert await other.stopped() == 0, other.said
        assert await sleeper.stopped() == 0, sleeper.said
    assert (take.state, len(provider.predictions), provider.paid) == (TakeState.DONE, 1, 1)
    assert provider.cancelled == []
    assert await queue.troubles(room.pool) == []
