"""What the speed presets pull, that they let go of it where it fails, and that no take shows in the next."""

from collections.abc import AsyncGenerator
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
import torch
from diffusers.models.attention_dispatch import (
    AttentionBackendName,
    _AttentionBackendRegistry,  # pyright: ignore[reportPrivateUsage] - whose default must stay
)
from diffusers.models.modeling_utils import ModelMixin
from engine_harness import Collected, Told, failing, job_of, pipe_of
from torch import nn

from clips.catalog import Model, Placement, Speed
from clips.domain import Size
from clips.errors import CancelledError, FatalEngineError
from generator.engines.diffusers import gpu_memory, speed
from generator.engines.diffusers.engine import DiffusersEngine
from generator.engines.diffusers.speed import Levers, choose_speed, slow_down, speed_up


@pytest_asyncio.fixture
async def quick(model: Model, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[DiffusersEngine]:
    """An engine of the test's own with steps enough for a cache. Nothing is compiled: that takes half a minute."""
    monkeypatch.setattr(ModelMixin, "compile_repeated_blocks", lambda _: None)
    small = {"steps": 20, "sizes": {Size.P720: (96, 64)}}
    engine = await DiffusersEngine.load(model.model_copy(update=small), "cpu", Told())
    yield engine
    await engine.close()


async def clip_of(engine: DiffusersEngine, photo: Path, *seeds: int) -> np.ndarray:
    """The last seed's take."""
    sink = Collected()
    await engine.render(job_of(photo, *seeds), sink, Told())
    return sink.clip(len(seeds) - 1)


def test_on_a_cpu_every_preset_is_exact() -> None:
    assert {choose_speed(wish, torch.device("cpu")) for wish in (None, *Speed)} == {Speed.EXACT}
    assert choose_speed(None, torch.device("cuda")) is Speed.BALANCED
    assert choose_speed(Speed.FAST, torch.device("cuda")) is Speed.FAST


async def test_a_preset_pulls_what_is_here(quick: DiffusersEngine) -> None:
    pipe = pipe_of(quick)
    assert speed_up(pipe, Speed.EXACT, Placement.WHOLE, 20) == Levers()
    assert speed_up(pipe, Speed.BALANCED, Placement.GROUPED, 20) == Levers("_native_cudnn"), (
        "neither flash is installed"
    )
    slow_down(pipe)
    assert speed_up(pipe, Speed.FAST, Placement.WHOLE, 19).cache is None, "with few steps each one matters"
    slow_down(pipe)
    levers = speed_up(pipe, Speed.FAST, Placement.WHOLE, 20)
    assert levers.said == "native cudnn attention, first-block cache at 0.1, compiled blocks"
    assert pipe.transformer.is_cache_enabled
    assert slow_down(pipe) == Levers()
    assert not pipe.transformer.is_cache_enabled
    assert _AttentionBackendRegistry.get_active_backend()[0] is AttentionBackendName.NATIVE


async def test_a_cached_take_shows_nothing_of_the_one_before(
    quick: DiffusersEngine, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = await clip_of(quick, photo, 7)
    monkeypatch.setitem(speed._ATTENTION, Speed.FAST, ["flash"])  # pyright: ignore[reportPrivateUsage] - cuDNN is no CPU's
    monkeypatch.setitem(speed._THRESHOLD, Speed.FAST, 10.0)  # pyright: ignore[reportPrivateUsage] - leave out all it can
    quick._runner.speed_up(Speed.FAST)  # pyright: ignore[reportPrivateUsage] - not asked for on a CPU
    alone = await clip_of(quick, photo, 7)
    assert not np.array_equal(alone, exact), "steps were left out"
    assert np.array_equal(await clip_of(quick, photo, 3, 7), alone)
    with pytest.raises(CancelledError):
        await quick.render(job_of(photo, 3), Collected(), Told(cancel_at=lambda report: report[:2] == ("step", 9)))
    assert np.array_equal(await clip_of(quick, photo, 7), alone)
    slow_down(pipe_of(quick))
    assert np.array_equal(await clip_of(quick, photo, 7), exact)


async def test_what_fails_when_it_is_tried_is_let_go(
    quick: DiffusersEngine, photo: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    exact = await clip_of(quick, photo, 7)

    def broken(self: nn.Module) -> None:
        def call(*_: object, **__: object) -> None:
            raise RuntimeError("Cannot find a working triton installation.\nAnd much more.")

        for block in self.get_submodule("blocks").children():
            block._compiled_call_impl = call  # pyright: ignore[reportPrivateUsage] - what `compile` sets

    monkeypatch.setattr(ModelMixin, "compile_repeated_blocks", broken)
    quick._runner.speed_up(Speed.BALANCED)  # pyright: ignore[reportPrivateUsage] - not asked for on a CPU
    assert "cannot be sped up here: Cannot find a working triton installation." in caplog.text
    assert np.array_equal(await clip_of(quick, photo, 7), exact)


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
