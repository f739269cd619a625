"""Wherever a model's weights are, the clip is the same; and out of memory it goes down its ladder. On a CPU, which is
streamed to as a GPU would be.
"""

import weakref
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
import torch
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.pipelines.wan.pipeline_wan_i2v import WanImageToVideoPipeline
from engine_harness import Collected, Told, failing, job_of, pipe_of
from numpy.typing import NDArray

from clips.catalog import Model, Placement
from clips.errors import CancelledError, MemberError, SetupError
from generator.engines.base import NoRoomError
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
    for placement in (Placement.EVICTED, Placement.OFFLOADED, Placement.GROUPED, Placement.WHOLE):
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


Fails = list[Exception]


@pytest.fixture
def in_the_way(monkeypatch: pytest.MonkeyPatch) -> Fails:
    """What the next tries to place a loaded model fail with, one a try."""
    errors: Fails = []

    def placed(pipe: DiffusionPipeline, plan: MemoryPlan, device: torch.device) -> None:
        place(pipe, plan, device)
        if errors:
            raise errors.pop(0)

    monkeypatch.setattr("generator.engines.diffusers.runner.place", placed)
    monkeypatch.setattr("generator.engines.diffusers.runner.free_ram", lambda: 96 * GIB)
    return errors


def out_of_memory(times: int) -> Fails:
    return [torch.OutOfMemoryError("CUDA out of memory") for _ in range(times)]


async def test_out_of_memory_on_the_way_to_a_leaner_plan_goes_on_to_the_next(
    engine_on_a_gpu: DiffusersEngine, photo: Path, in_the_way: Fails
) -> None:
    runner = runner_of(engine_on_a_gpu)
    whole = await clip_of(engine_on_a_gpu, photo)
    in_the_way += out_of_memory(1)
    with failing(pipe_of(engine_on_a_gpu).transformer, [torch.OutOfMemoryError("CUDA out of memory")]):
        assert np.array_equal(await clip_of(engine_on_a_gpu, photo), whole)
    assert runner.plan.placement is Placement.GROUPED, "after the one that could not be placed"
    assert engine_on_a_gpu.vram == runner.plan.held


async def test_a_gpu_that_is_too_full_for_the_way_back_gets_a_leaner_plan(
    engine_on_a_gpu: DiffusersEngine, photo: Path, in_the_way: Fails
) -> None:
    runner = runner_of(engine_on_a_gpu)
    whole = await clip_of(engine_on_a_gpu, photo)
    await engine_on_a_gpu.park()
    in_the_way += out_of_memory(1)
    await engine_on_a_gpu.wake()
    assert runner.plan.placement is Placement.EVICTED
    await engine_on_a_gpu.park()
    in_the_way += out_of_memory(9)
    with pytest.raises(SetupError, match=r"The GPU is too full for Wan 2\.2 TI2V 5B\. End what else runs on it"):
        await engine_on_a_gpu.wake()
    assert engine_on_a_gpu.vram == 0, "it gave up what it got"
    in_the_way.clear()
    assert np.array_equal(await clip_of(engine_on_a_gpu, photo), whole), "the GPU has room again"


async def test_4_bits_that_could_not_be_placed_stay_where_they_are_and_make_no_room_for_themselves(
    engine_on_a_gpu: DiffusersEngine, photo: Path, in_the_way: Fails, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(plan: MemoryPlan, _: torch.device) -> None:
        raise NoRoomError(plan.vram, plan.ram)

    monkeypatch.setattr("generator.engines.diffusers.runner.check_room", full)
    runner = runner_of(engine_on_a_gpu)
    runner._plans = ladder(NEEDS, quantiser=True)  # pyright: ignore[reportPrivateUsage]
    runner.plan = next(plan for plan in runner._plans if plan.placement is Placement.QUANTISED)  # pyright: ignore[reportPrivateUsage]
    in_the_way += out_of_memory(1)
    with (
        failing(pipe_of(engine_on_a_gpu).transformer, [torch.OutOfMemoryError("CUDA out of memory")]),
        pytest.raises(MemberError, match="is too large for this GPU"),
    ):
        await clip_of(engine_on_a_gpu, photo)
    assert (engine_on_a_gpu.vram, engine_on_a_gpu.ram) == (runner.plan.held, runner.plan.kept)
    assert len(await clip_of(engine_on_a_gpu, photo)) == 13


@pytest.mark.parametrize("step", ["park", "wake"])
async def test_what_failed_half_way_is_placed_again_before_it_renders(
    engine_on_a_gpu: DiffusersEngine, photo: Path, in_the_way: Fails, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    whole, left = await clip_of(engine_on_a_gpu, photo), list[DiffusionPipeline]()
    fault = RuntimeError("something else")
    if step == "wake":
        await engine_on_a_gpu.park()
        in_the_way.append(fault)
    else:

        def half(pipe: DiffusionPipeline) -> None:
            monkeypatch.setattr("generator.engines.diffusers.runner.park", left.append)
            raise fault

        monkeypatch.setattr("generator.engines.diffusers.runner.park", half)
    with pytest.raises(RuntimeError, match="something else"):
        await getattr(engine_on_a_gpu, step)()
    assert engine_on_a_gpu.vram == 0
    placed: list[MemoryPlan] = []

    def noted(pipe: DiffusionPipeline, plan: MemoryPlan, device: torch.device) -> None:
        assert left == ([pipe] if step == "park" else []), "what is still on the GPU would count as another's"
        placed.append(plan)
        place(pipe, plan, device)

    monkeypatch.setattr("generator.engines.diffusers.runner.place", noted)
    assert np.array_equal(await clip_of(engine_on_a_gpu, photo), whole)
    assert placed == [runner_of(engine_on_a_gpu).plan]


@pytest.mark.parametrize("fault", [CancelledError("the member cancelled"), RuntimeError("no such layer")])
async def test_a_load_that_ends_early_keeps_no_weights_though_its_error_is_kept(
    model: Model, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    weights: list[weakref.ref[torch.Tensor]] = []

    def ended(pipe: WanImageToVideoPipeline, *_: object) -> None:
        weights.extend(weakref.ref(weight) for weight in pipe.transformer.parameters())
        raise fault

    monkeypatch.setattr(loading, "place", ended)
    with pytest.raises((CancelledError, SetupError)) as error:
        await DiffusersEngine.load(model, "cpu", Told())
    assert fault in {error.value, error.value.__cause__}
    assert weights and all(weight() is None for weight in weights)


@pytest.mark.parametrize("kind", [torch.OutOfMemoryError, RuntimeError])
async def test_a_load_that_runs_out_of_memory_goes_on_with_less(
    model: Model, photo: Path, engine: DiffusersEngine, monkeypatch: pytest.MonkeyPatch, kind: type[RuntimeError]
) -> None:
    fails, failed = [kind("CUDA error: CUBLAS_STATUS_ALLOC_FAILED")], list[weakref.ref[DiffusionPipeline]]()

    def once(pipe: DiffusionPipeline, plan: MemoryPlan, device: torch.device, before_each: Callable[[], None]) -> None:
        if fails:
            failed.append(weakref.ref(pipe))
            raise fails.pop()
        place(pipe, plan, device, before_each)

    def free_ram() -> int:
        assert [pipe() for pipe in failed] == [None] * len(failed), "what failed is gone by now"
        return 96 * GIB

    monkeypatch.setattr(loading, "place", once)
    monkeypatch.setattr(loading, "free_ram", free_ram)
    loaded = await DiffusersEngine.load(model, "cpu", Told())
    assert failed and runner_of(loaded).plan.tiled
    assert np.array_equal(await clip_of(loaded, photo), await clip_of(engine, photo))
    await loaded.close()
    fails += [kind("CUDA error: CUBLAS_STATUS_ALLOC_FAILED") for _ in range(2)]
    with pytest.raises(SetupError, match=r"The GPU is too full for Wan 2\.2 TI2V 5B\."):
        await DiffusersEngine.load(model, "cpu", Told())
