"""What the speed presets offer and pull, and that no take shows in the next."""

from collections.abc import AsyncGenerator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
import torch
from diffusers.models.attention_dispatch import (
    AttentionBackendName,
    _AttentionBackendRegistry,  # pyright: ignore[reportPrivateUsage] - whose default must stay
)
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from engine_harness import Collected, Told, failing, job_of, pipe_of

from clips.catalog import Model, Placement, Speed
from clips.domain import Size
from clips.errors import CancelledError, FatalEngineError
from clips.step_caches import FirstBlock, Mag, StepCache, StepCaches
from generator.engines.diffusers import gpu_memory, speed
from generator.engines.diffusers.engine import DiffusersEngine
from generator.engines.diffusers.placing import denoisers
from generator.engines.diffusers.speed import Levers, Offer, choose_speed, offered, pull, slow_down

COMPILE = torch.compile
CACHES = StepCaches(fast=FirstBlock(threshold=0.1))


@pytest_asyncio.fixture
async def quick(model: Model, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[DiffusersEngine]:
    """An engine of the test's own with steps enough for a cache. Compiled code is Python: more takes half a minute."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    small = {"steps": 20, "sizes": {Size.P720: (96, 64)}}
    engine = await DiffusersEngine.load(model.model_copy(update=small), "cpu", Told())
    yield engine
    await engine.close()


def processors(pipe: DiffusionPipeline) -> list[Any]:
    """What computes the denoiser's attention."""
    return [part.processor for part in denoisers(pipe)[0].modules() if hasattr(part, "processor")]


async def clip_of(engine: DiffusersEngine, photo: Path, *seeds: int) -> np.ndarray:
    """The last seed's take."""
    sink = Collected()
    await engine.render(job_of(photo, *seeds), sink, Told())
    return sink.clip(len(seeds) - 1)


def test_on_a_cpu_every_preset_is_exact() -> None:
    assert {choose_speed(wish, torch.device("cpu")) for wish in (None, *Speed)} == {Speed.EXACT}
    assert choose_speed(None, torch.device("cuda")) is Speed.BALANCED
    assert choose_speed(Speed.FAST, torch.device("cuda")) is Speed.FAST


async def test_a_preset_offers_what_is_here_and_it_can_be_undone(quick: DiffusersEngine) -> None:
    pipe = pipe_of(quick)
    assert offered(pipe, Speed.EXACT, Placement.WHOLE, CACHES) == Offer()
    kernels = ("_native_cudnn",)  # neither flash is installed
    assert offered(pipe, Speed.BALANCED, Placement.GROUPED, CACHES) == Offer(kernels)
    assert offered(pipe, Speed.BALANCED, Placement.WHOLE, CACHES) == Offer(kernels, None, compiled=True)
    assert offered(pipe, Speed.FAST, Placement.WHOLE, CACHES) == Offer(kernels, CACHES.fast, compiled=True)
    assert {part._attention_backend for part in processors(pipe)} == {None}, "nothing is pulled by it"
    levers = Levers("_native_cudnn", CACHES.fast, compiled=True)
    pull(pipe, levers, (), 20)
    assert levers.said == "native cudnn attention, first-block cache at 0.1, compiled blocks"
    assert pipe.transformer.is_cache_enabled
    assert {part._attention_backend for part in processors(pipe)} == {AttentionBackendName("_native_cudnn")}
    assert slow_down(pipe) == Levers()
    assert not pipe.transformer.is_cache_enabled
    assert {part._attention_backend for part in processors(pipe)} == {None}
    assert not any("forward" in vars(block) for block in pipe.transformer.modules() if block is not pipe.transformer)
    assert _AttentionBackendRegistry.get_active_backend()[0] is AttentionBackendName.NATIVE


async def test_the_runner_pulls_what_the_catalogues_entry_says(
    quick: DiffusersEngine, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = await clip_of(quick, photo, 7)
    monkeypatch.setitem(speed._ATTENTION, Speed.FAST, ["flash"])  # pyright: ignore[reportPrivateUsage] - cuDNN is no CPU's
    quick._runner.speed_up(Speed.FAST, Told())  # pyright: ignore[reportPrivateUsage] - not asked for on a CPU
    alone = await clip_of(quick, photo, 7)
    assert quick.manner["speed"] == "native attention, mag cache at 0.06, compiled blocks"
    assert not np.array_equal(alone, exact), "steps were left out"
    assert np.array_equal(await clip_of(quick, photo, 3, 7), alone)
    slow_down(pipe_of(quick))
    assert np.array_equal(await clip_of(quick, photo, 7), exact)


@pytest.mark.parametrize("cache", [FirstBlock(threshold=0.99), Mag(threshold=0.9, most=3, kept=0.2)])
async def test_the_blocks_that_a_cache_leaves_in_are_compiled(
    cache: StepCache, quick: DiffusersEngine, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[int] = []

    def counting(graph: torch.fx.GraphModule, _: object) -> Callable[..., object]:
        def run(*inputs: object) -> object:
            ran.append(1)
            return graph(*inputs)

        return run

    monkeypatch.setattr(torch, "compile", partial(COMPILE, backend=counting))
    pull(pipe_of(quick), Levers(cache=cache, compiled=True), (1.0,) * 20, 20)
    await clip_of(quick, photo, 7)
    passes, blocks = 2, len(pipe_of(quick).transformer.blocks)
    first_ones = 20 - 1 if isinstance(cache, FirstBlock) else 0
    whole = 1 if isinstance(cache, FirstBlock) else 8
    assert len(ran) == passes * (whole * blocks + first_ones)


async def test_out_of_memory_a_render_goes_on_without_its_cache(
    quick: DiffusersEngine, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = await clip_of(quick, photo, 7)
    monkeypatch.setitem(speed._ATTENTION, Speed.FAST, [])  # pyright: ignore[reportPrivateUsage] - a CPU has none of them
    quick._runner.speed_up(Speed.FAST, Told())  # pyright: ignore[reportPrivateUsage] - not asked for on a CPU
    placement = quick.manner["placement"]
    with failing(pipe_of(quick).transformer, [torch.OutOfMemoryError("CUDA out of memory")], after=30):
        assert np.array_equal(await clip_of(quick, photo, 7), exact)
    assert quick.manner["placement"] == placement
    assert quick.manner["speed"] == "native attention, compiled blocks"


async def test_out_of_memory_in_the_decode_a_take_keeps_its_steps_and_the_next_has_no_levers(
    quick: DiffusersEngine, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = await clip_of(quick, photo, 7)
    monkeypatch.setitem(speed._ATTENTION, Speed.FAST, [])  # pyright: ignore[reportPrivateUsage] - a CPU has none of them
    quick._runner.speed_up(Speed.FAST, Told())  # pyright: ignore[reportPrivateUsage] - not asked for on a CPU
    cached, manner = await clip_of(quick, photo, 7), quick.manner
    errors: list[RuntimeError] = [torch.OutOfMemoryError("CUDA out of memory")]
    with failing(pipe_of(quick).vae.decoder, errors, after=1), failing(pipe_of(quick).transformer, []) as calls:
        rescued = await clip_of(quick, photo, 7)
    assert errors == [] and len(calls) == 2 * 20
    assert np.array_equal(rescued, cached) and not np.array_equal(cached, exact)
    assert quick.manner == {**manner, "placement": "whole, decoded in tiles"}, "as it was denoised, and then decoded"
    assert np.array_equal(await clip_of(quick, photo, 7), exact)
    assert quick.manner["speed"] == "native attention"


async def test_a_kernel_that_fails_at_a_takes_size_is_let_go_and_the_job_goes_on(
    quick: DiffusersEngine, photo: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fault = RuntimeError("No available kernel. Aborting execution.\nAnd much more.")
    exact, sink = Collected(), Collected()
    await quick.render(job_of(photo, 3, 7), exact, Told())
    quick._runner._levers = Levers("flash")  # pyright: ignore[reportPrivateUsage] - no CPU has it
    with failing(pipe_of(quick).transformer, [fault], after=2 * 20 + 1):
        await quick.render(job_of(photo, 3, 7), sink, Told())
    assert "goes on without flash attention: No available kernel. Aborting execution." in caplog.text
    assert all(np.array_equal(sink.clip(take), exact.clip(take)) for take in (0, 1)), "each frame once, none lost"
    assert quick.manner["speed"] == "native attention"
    with failing(pipe_of(quick).transformer, [fault]), pytest.raises(RuntimeError, match="No available kernel"):
        await quick.render(job_of(photo, 7), Collected(), Told())


@pytest.mark.parametrize("fault", [OSError(28, "No space left on device"), CancelledError("the member cancelled")])
async def test_what_is_no_kernels_fault_costs_no_speed(quick: DiffusersEngine, photo: Path, fault: Exception) -> None:
    class Full(Collected):
        def frames(self, take: int, frames: np.ndarray) -> None:
            raise fault

    quick._runner._levers = Levers("flash")  # pyright: ignore[reportPrivateUsage] - no CPU has it
    with pytest.raises(type(fault)):
        await quick.render(job_of(photo, 7), Full(), Told())
    assert quick.manner["speed"] == "flash attention"


async def test_a_gpu_that_answers_no_more_is_not_tried_again_without_levers(
    quick: DiffusersEngine, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_memory, "answers", lambda: False)
    quick._runner._levers = Levers("flash")  # pyright: ignore[reportPrivateUsage] - no CPU has it
    fault = RuntimeError("CUDA error: unspecified launch failure")
    with failing(pipe_of(quick).transformer, [fault]) as calls, pytest.raises(FatalEngineError):
        await quick.render(job_of(photo, 7), Collected(), Told())
    assert len(calls) == 1
