"""`python -m generator` as a host runs it, and as hosts break it."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from clips import queue
from clips.domain import RequestId, TakeState
from clips.embedded import embedded
from clips.migrate import migrate
from clips.postgres import Session, connect, connect_pool
from tests.conftest import KILLABLE
from tests.generator.cable import Cable
from tests.generator.studio import SOON, Studio, studio


async def the_one_clip(room: Studio, request: RequestId) -> None:
    """A request of one take was rendered and charged once, whatever happened meanwhile."""
    [take] = await room.ended(request)
    assert take.state is TakeState.DONE
    assert await room.pool.fetchval("SELECT count(*) FROM clips") == 1
    assert await room.pool.fetchval("SELECT count(*) FROM entries WHERE reason = 'settle' AND amount > 0") == 2


async def test_a_generator_renders_what_waits_and_stops_as_told(room: Studio):
    request = await room.ask(takes=3)
    async with room.generator() as generator:
        takes = await room.ended(request)
        assert await generator.stopped() == 0, generator.said
    assert [take.state for take in takes] == [TakeState.DONE] * 3
    assert await room.pool.fetchval("SELECT array_agg(name) FROM generators") == ["gone"]
    assert list((room.folder / "home" / "rendering").iterdir()) == []


async def test_two_generators_finish_the_takes_of_one_request(room: Studio):
    # Long enough for the other to claim what is left while one renders.
    slow = "takes its time"
    async with room.generator(slow) as one, room.generator(slow) as two:
        await asyncio.gather(one.says(" runs "), two.says(" runs "))
        request = await room.ask(takes=3)
        takes = await room.ended(request)
        assert (await one.stopped(), await two.stopped()) == (0, 0)
    assert [take.state for take in takes] == [TakeState.DONE] * 3
    assert await room.pool.fetchval("SELECT count(DISTINCT generator_id) FROM takes") == 2


async def test_sigterm_in_the_middle_gives_the_take_back_within_the_bound(room: Studio):
    request = await room.ask()
    async with room.generator("forever", stop_seconds="0.5") as generator:
        await room.rendering(request)
        began = time.monotonic()
        assert await generator.stopped() == 0, generator.said
        assert time.monotonic() - began < 30
    [take] = (await room.read(request)).takes
    assert (take.state, take.attempts, take.charged) == (TakeState.READY, 0, None)


async def test_a_second_sigterm_stops_at_once(room: Studio):
    request = await room.ask()
    async with room.generator("forever", stop_seconds="600") as generator:
        await room.rendering(request)
        generator.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.3)
        assert generator.process.returncode is None
        assert await generator.stopped(signal.SIGINT) == 0, generator.said
    assert (await room.read(request)).takes[0].state is TakeState.READY


async def test_a_stopped_clock_is_fenced(room: Studio):
    """SIGSTOP past the lease: another generator makes the take, and the first, awake again, writes nothing."""
    slow, lease = "takes its time", SOON
    request = await room.ask()
    async with room.generator(slow, lease_seconds=lease) as one, room.generator(slow, lease_seconds=lease) as two:
        await room.rendering(request)
        owner = await room.pool.fetchval(
            "SELECT name FROM generators JOIN takes USING (generator_id) WHERE request_id = $1", request
        )
        sleeper = one if owner.endswith(f":{one.process.pid}") else two
        sleeper.process.send_signal(signal.SIGSTOP)
        await room.until(request, lambda whole: whole.takes[0].attempts == 1)
        sleeper.process.send_signal(signal.SIGCONT)
        await sleeper.says("belongs to another generator now")
        await the_one_clip(room, request)
        assert (await one.stopped(), await two.stopped()) == (0, 0)


async def test_a_cancel_reaches_the_generator_in_the_middle(room: Studio):
    request = await room.ask()
    async with room.generator("forever") as generator:
        await room.rendering(request)
        await queue.cancel(room.pool, request)
        [take] = await room.ended(request)
        assert take.state is TakeState.CANCELLED
        assert await generator.stopped() == 0, generator.said


async def test_an_engine_that_hangs_ends_its_process_and_the_take_goes_on(room: Studio):
    request = await room.ask()
    async with room.generator("hangs", stall_seconds="1.5", lease_seconds=SOON) as hanging:
        assert await hanging.ended() == 75
        assert "showed no progress for" in hanging.said
    async with room.generator(lease_seconds=SOON):
        await the_one_clip(room, request)


async def test_an_engine_that_does_not_notice_a_stop_cannot_hold_the_process(room: Studio):
    request = await room.ask()
    async with room.generator("hangs", stop_seconds="0") as hanging:
        await room.rendering(request)
        assert await hanging.stopped() == 75
        assert "did not stop" in hanging.said
    [take] = (await room.read(request)).takes
    assert (take.state, take.attempts) == (TakeState.READY, 0)


async def test_a_cuda_error_ends_the_process(room: Studio):
    request = await room.ask()
    async with room.generator("is poisoned") as poisoned:
        assert await poisoned.ended() == 75
    [take] = (await room.read(request)).takes
    assert (take.state, take.attempts) == (TakeState.BACKOFF, 1)


def test_a_cuda_error_while_the_gpu_is_freed_ends_the_process_too():
    code = """
from clips.errors import FatalEngineError
from generator import __main__

async def generate(_):
    raise ExceptionGroup("resting", [ExceptionGroup("freeing", [FatalEngineError("the GPU failed: illegal access")])])

__main__.generate = generate
__main__.main()
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 75
    assert "The generator ends: the GPU failed: illegal access." in ended.stderr


async def test_postgres_restarting_in_the_middle_costs_nothing(tmp_path: Path):
    folder = tmp_path / "postgres"
    async with embedded(folder, settings=KILLABLE) as dsn:
        conn = await connect(dsn, Session("test"))
        await migrate(conn)
        await conn.close()
        async with connect_pool(dsn, Session("test")) as pool:
            room = await studio(dsn, pool, tmp_path)
            request = await room.ask()
            async with room.generator("takes its time") as generator:
                await room.rendering(request)
                [file] = folder.glob("*/postmaster.pid")
                os.kill(int(file.read_text().splitlines()[0]), signal.SIGQUIT)
                await generator.says("The connection for notices broke")
                await generator.says("ended: done")
                await the_one_clip(room, request)
                assert await generator.stopped() == 0, generator.said
            assert await room.pool.fetchval("SELECT fence FROM takes") == 1  # the same render, not another
            await room.promises_hold()


async def test_a_render_outlasts_an_outage_of_the_database_longer_than_its_lease(room: Studio):
    request = await room.ask()
    async with Cable.to(room.dsn) as cable:
        wired = replace(room, dsn=cable.dsn)
        async with wired.generator("takes its time", lease_seconds=SOON) as generator:
            await room.rendering(request)
            async with cable.cut():
                await generator.says("Could not renew the lease")
                await asyncio.sleep(
                    float(SOON) + 1
                )  # by now it is rendered, its lease is over, and storing and recording are left
            await the_one_clip(room, request)
            assert await generator.stopped() == 0, generator.said
    assert await room.pool.fetchval("SELECT ARRAY[fence, attempts] FROM takes") == [1, 0]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"models": "skecth"}, "ZOETROPE_MODELS: there is no model skecth. Did you mean sketch?"),
        ({"models": ","}, "ZOETROPE_MODELS: there is no model named. There are: sketch, "),
        ({"memory": "sketsh=whole"}, "ZOETROPE_MEMORY: there is no model sketsh. Did you mean sketch?"),
        ({"lease_seconds": "soon"}, "ZOETROPE_LEASE_SECONDS: Input should be a valid number"),
        ({"home": "/proc/nowhere"}, "Cannot make files in /proc/nowhere/rendering"),
        ({"blobs": "/proc/blobs"}, "ZOETROPE_BLOBS: /proc/blobs cannot hold blobs"),
    ],
)
async def test_what_the_host_has_to_mend_is_one_sentence(room: Studio, settings: dict[str, str], sentence: str):
    async with room.generator(**settings) as generator:
        assert await generator.ended() == 2
    assert generator.said.startswith(sentence)
    assert generator.said.count("\n") == 1


async def test_without_a_database_it_says_so(room: Studio):
    nowhere = Studio("postgresql://zoetrope@127.0.0.1:9/zoetrope", room.pool, room.blobs, room.folder, room.photo)
    async with nowhere.generator() as generator:
        assert await generator.ended() == 2
    assert "the database server at 127.0.0.1 cannot be reached" in generator.said


async def test_what_a_killed_generator_left_is_cleared(room: Studio):
    request = await room.ask()
    async with room.generator(kill_at="rendering", lease_seconds=SOON) as killed:
        assert await killed.ended() == -signal.SIGKILL
    [left] = (room.folder / "home" / "rendering").iterdir()
    assert list(left.iterdir()) != []
    async with room.generator(lease_seconds=SOON) as generator:
        await the_one_clip(room, request)
        assert not left.exists()
        assert await generator.stopped() == 0
