"""A cancel takes effect at the next step or chunk of frames, and leaves nothing behind."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from diffusers.hooks.first_block_cache import FirstBlockCacheConfig
from engine_harness import PLAN, Collected, Report, Told, job_of, pipe_of

from clips.catalog import Model
from clips.domain import ClipSpec
from clips.errors import CancelledError
from generator.engines.diffusers.engine import DiffusersEngine


@pytest.mark.parametrize(
    ("cancel_at", "last"),
    [
        pytest.param(lambda report: report[:2] == ("encode", 0), ("encode", 0, 2), id="before anything"),
        pytest.param(lambda report: report[:2] == ("encode", 1), ("encode", 1, 2), id="after the text"),
        pytest.param(lambda report: report[:2] == ("step", 2), ("step", 2, 3), id="after the second step"),
        pytest.param(lambda report: report[:2] == ("step", 3), ("step", 3, 3), id="after the last step"),
        pytest.param(lambda report: report[:2] == ("decode", 5), ("decode", 5, PLAN.frames), id="in the decode"),
    ],
)
async def test_a_cancelled_render_ends_at_once_and_the_next_is_as_fresh(
    engine: DiffusersEngine, photo: Path, cancel_at: Callable[[Report], bool], last: Report
) -> None:
    spec = ClipSpec(model="tiny", motion=f"what only this cancel after {last} asks for")
    fresh, cut, after = Collected(), Collected(), Collected()
    await engine.render(job_of(photo, 7), fresh, Told())
    told = Told(cancel_at=cancel_at)
    with pytest.raises(CancelledError, match="the member cancelled"):
        await engine.render(job_of(photo, 3, spec=spec), cut, told)
    assert told.reports[-1] == last, "nothing went on"
    assert sum(map(len, cut.chunks.get(0, []))) == (last[1] if last[0] == "decode" else 0)
    await engine.render(job_of(photo, 7), after, Told())
    assert np.array_equal(after.clip(), fresh.clip())


async def test_a_step_cache_forgets_the_cancelled_render(model: Model, photo: Path) -> None:
    engine = await DiffusersEngine.load(model.model_copy(update={"steps": 5}), "cpu", Told())
    pipe_of(engine).transformer.enable_cache(FirstBlockCacheConfig(threshold=10.0))
    fresh, after = Collected(), Collected()
    await engine.render(job_of(photo, 7), fresh, Told())
    with pytest.raises(CancelledError):
        await engine.render(job_of(photo, 3), Collected(), Told(cancel_at=lambda report: report[:2] == ("step", 2)))
    await engine.render(job_of(photo, 7), after, Told())
    await engine.close()
    assert np.array_equal(after.clip(), fresh.clip())


async def test_cancelling_the_task_ends_the_render_and_frees_the_thread(engine: DiffusersEngine, photo: Path) -> None:
    loop = asyncio.get_running_loop()
    stepped = asyncio.Event()

    class Stepping(Told):
        def report(self, phase: str, done: int, total: int) -> None:
            super().report(phase, done, total)
            if (phase, done) == ("step", 1):
                loop.call_soon_threadsafe(stepped.set)

    told = Stepping()
    task = asyncio.create_task(engine.render(job_of(photo, *range(4)), Collected(), told))
    await asyncio.wait_for(stepped.wait(), 30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    seen = len(told.reports)
    after = Collected()
    await engine.render(job_of(photo, 7), after, Told())
    assert len(told.reports) == seen, "the cancelled render had ended"
    assert len(after.clip()) == PLAN.frames


async def test_a_failing_sink_fails_the_render_and_no_later_one(engine: DiffusersEngine, photo: Path) -> None:
    class Full(Collected):
        def frames(self, take: int, frames: np.ndarray) -> None:
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        await engine.render(job_of(photo, 7), Full(), Told())
    after = Collected()
    await engine.render(job_of(photo, 7), after, Told())
    assert len(after.clip()) == PLAN.frames
