"""Wherever a model's weights are, the clip is the same; and out of memory it goes down its ladder. On a CPU, which is
streamed to as a GPU would be.
"""

from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
import torch
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from engine_harness import Collected, Told, failing, job_of, pipe_of
from numpy.typing import NDArray

from clips.catalog import Model, Placement
from clips.errors import MemberError, SetupError
from generator.engines.diffusers import loading
from generator.engines.diffusers.engine import DiffusersEngine
from generator.engines.diffusers.memory import GIB, MemoryPlan, Needs, ladder
from generator.engines.diffusers.placing import place
from generator.engines.diffusers.runner import Runner

NEEDS = Needs(text=11 * GIB, denoisers=(10 * GIB,), rest=3 * GIB, step=3 * GIB, decode=6 * GIB, tiled=2 * GIB)


@pytest_asyncio.fixture
async def engine_on_a_gpu(model: Model) -> AsyncGenerator[DiffusersEngine]:
    """One that believes to be on one, with all the plans for it."""
    engine = await DiffusersEngine.load(model, "cpu", Told())
    runner = runner_of(engine)
    runner._plans = ladder(NEEDS, quantiser=False)  # pyright: ignore[reportPrivateUsage]
    runner.plan = runner._plans[0]  # pyright: ignore[reportPrivateUsage]
    yield engine
    await engine.close()


def runner_of(engine: DiffusersEngine) -> Runner:
    return engine._runner  # pyright: ignore[reportPrivateUsage]


async def clip_of(engine: DiffusersEngine, photo: Path, seed: int = 7) -> NDArray[np.uint8]:
    sink = Collected()
    await engine.render(job_of(photo, seed), sink, Told())
    return sink.clip()


async def test_every_placement_that_keeps_the_weights_gives_the_same_clip(
    engine_on_a_gpu: DiffusersEngine, photo: Path
) -> None:
    runner = runner_of(engine_on_a_gpu)
    whole = await clip_of(engine_on_a_gpu, photo)
    assert engine_on_a_gpu.vram == NEEDS.weights
    plans = {plan.placement: plan for plan in reversed(ladder(NEEDS, quantiser=False))}
    for placement in (Placement.EVICTED, Placement.GROUPED, Placement.WHOLE):
        runner.plan = plans[placement]
        place(pipe_of(engine_on_a_gpu), runner.plan, torch.device("cpu"))
        await clip_of(engine_on_a_gpu, photo, seed=3)
        assert np.array_equal(await clip_of(engine_on_a_gpu, photo), whole), placement
        await engine_on_a_gpu.park()
        assert (engine_on_a_gpu.vram, engine_on_a_gpu.ram) == (0, NEEDS.weights)
    assert np.array_equal(await clip_of(engine_on_a_gpu, photo), whole), "it wakes by itself"
    assert engine_on_a_gpu.can_park
    runner.plan = next(plan for plan in ladder(NEEDS, quantiser=True) if plan.placement is Placement.QUANTISED)
    assert not engine_on_a_gpu.can_park, "what is in 4 bits does not come back"
    place(pipe_of(engine_on_a_gpu), plans[Placement.FP8], torch.device("cpu"))
    changed = await clip_of(engine_on_a_gpu, photo, seed=8)
    place(pipe_of(engine_on_a_gpu), plans[Placement.FP8], torch.device("cpu"))
    assert np.array_equal(await clip_of(engine_on_a_gpu, photo, seed=8), changed), "cast once"


async def test_out_of_memory_takes_the_next_leaner_plan_once_a_job(
    engine_on_a_gpu: DiffusersEngine, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("generator.engines.diffusers.runner.free_ram", lambda: 96 * GIB)
    runner = runner_of(engine_on_a_gpu)
    whole = await clip_of(engine_on_a_gpu, photo)
    taken = [runner.plan]
    for _ in range(2):
        with failing(pipe_of(engine_on_a_gpu).transformer, [torch.OutOfMemoryError("CUDA out of memory")]):
            assert np.array_equal(await clip_of(engine_on_a_gpu, photo), whole)
        taken.append(runner.plan)
    assert [plan.placement for plan in taken] == [Placement.WHOLE, Placement.EVICTED, Placement.GROUPED]
    assert [plan.tiled for plan in taken] == [False, True, True]
    errors: list[RuntimeError] = [torch.OutOfMemoryError("CUDA out of memory") for _ in range(2)]
    with (
        failing(pipe_of(engine_on_a_gpu).transformer, errors),
        pytest.raises(MemberError, match="is too large for this GPU"),
    ):
        await clip_of(engine_on_a_gpu, photo)
    assert np.array_equal(await clip_of(engine_on_a_gpu, photo), whole), "the process is healthy"


async def test_a_load_that_runs_out_of_memory_goes_on_with_less(
    model: Model, photo: Path, engine: DiffusersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails = [torch.OutOfMemoryError("CUDA out of memory")]

    def once(pipe: DiffusionPipeline, plan: MemoryPlan, device: torch.device, before_each: Callable[[], None]) -> None:
        if fails:
            raise fails.pop()
        place(pipe, plan, device, before_each)

    monkeypatch.setattr(loading, "place", once)
    loaded = await DiffusersEngine.load(model, "cpu", Told())
    assert runner_of(loaded).plan.tiled
    assert np.array_equal(await clip_of(loaded, photo), await clip_of(engine, photo))
    await loaded.close()
    fails += [torch.OutOfMemoryError("CUDA out of memory") for _ in range(2)]
    with pytest.raises(SetupError, match=r"The GPU is too full for Wan 2\.2 TI2V 5B\."):
        await DiffusersEngine.load(model, "cpu", Told())
