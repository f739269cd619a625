"""Out of GPU memory, a GPU that failed, and other trouble in the middle of a render: injected, as none is here."""

import weakref
from collections.abc import AsyncGenerator
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
import torch
from engine_harness import Collected, Told, failing, job_of, pipe_of

from clips.catalog import Model
from clips.domain import Plan
from clips.errors import FatalEngineError, MemberError
from generator.engines.diffusers.engine import DiffusersEngine

LARGE = Plan(width=352, height=320, frames=5, fps=24, credits=1)
"""Large enough to be decoded in tiles."""


@pytest_asyncio.fixture
async def own_engine(model: Model) -> AsyncGenerator[DiffusersEngine]:
    """An engine of the test's own: running out of memory changes it for good."""
    engine = await DiffusersEngine.load(model, "cpu", Told())
    yield engine
    await engine.close()


async def test_out_of_memory_once_in_the_steps_goes_on_with_less(
    engine: DiffusersEngine, own_engine: DiffusersEngine, photo: Path
) -> None:
    usual, rescued = Collected(), Collected()
    await engine.render(job_of(photo, 7, 8), usual, Told())
    with failing(pipe_of(own_engine).transformer, [torch.OutOfMemoryError("CUDA out of memory")], after=8):
        await own_engine.render(job_of(photo, 7, 8), rescued, Told())
    for take in (0, 1):
        assert np.array_equal(rescued.clip(take), usual.clip(take)), "each frame once, none lost"


async def test_out_of_memory_in_the_decode_sends_no_frame_twice_and_tiles_the_rest(
    own_engine: DiffusersEngine, photo: Path
) -> None:
    usual, rescued, told = Collected(), Collected(), Told()
    await own_engine.render(job_of(photo, 7, plan=LARGE), usual, Told())
    decoder = pipe_of(own_engine).vae.decoder
    with failing(decoder, [torch.OutOfMemoryError("CUDA out of memory")], after=1) as calls:
        await own_engine.render(job_of(photo, 7, plan=LARGE), rescued, told)
    assert len(calls) > 2 + 2, "the decoder is called once a tile and latent frame now"
    assert [len(chunk) for chunk in rescued.chunks[0]] == [1, 4]
    assert np.array_equal(rescued.clip()[0], usual.clip()[0])
    difference = np.abs(rescued.clip().astype(int) - usual.clip().astype(int))
    assert 0 < difference.mean() < 25, "the same picture, but for the seams of the tiles"


async def test_out_of_memory_twice_is_told_to_the_member_and_the_engine_lives(
    own_engine: DiffusersEngine, photo: Path
) -> None:
    errors: list[RuntimeError] = [torch.OutOfMemoryError("CUDA out of memory") for _ in range(2)]
    with (
        failing(pipe_of(own_engine).transformer, errors),
        pytest.raises(MemberError, match="96x64 with 13 frames is too large for this GPU"),
    ):
        await own_engine.render(job_of(photo, 7), Collected(), Told())
    after = Collected()
    await own_engine.render(job_of(photo, 7), after, Told())
    assert len(after.clip()) == 13


async def test_an_allocation_that_cublas_lacks_counts_as_out_of_memory(
    own_engine: DiffusersEngine, photo: Path
) -> None:
    said = RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")
    sink = Collected()
    with failing(pipe_of(own_engine).transformer, [said]):
        await own_engine.render(job_of(photo, 7), sink, Told())
    assert len(sink.clip()) == 13


@pytest.mark.parametrize(
    "error",
    [
        torch.AcceleratorError("CUDA error: an illegal memory access was encountered"),
        RuntimeError("CUDA error: unspecified launch failure"),
        RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
    ],
)
async def test_a_failed_gpu_is_fatal_to_the_process(engine: DiffusersEngine, photo: Path, error: RuntimeError) -> None:
    with failing(pipe_of(engine).transformer, [error]), pytest.raises(FatalEngineError, match="the GPU failed"):
        await engine.render(job_of(photo, 7), Collected(), Told())


async def test_any_other_fault_is_the_takes_own(engine: DiffusersEngine, photo: Path) -> None:
    fault = RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    with failing(pipe_of(engine).transformer, [fault]), pytest.raises(RuntimeError, match="mat1 and mat2"):
        await engine.render(job_of(photo, 7), Collected(), Told())


async def test_no_picture_is_an_error_and_not_a_black_clip(engine: DiffusersEngine, photo: Path) -> None:
    transformer = pipe_of(engine).transformer
    hook = transformer.register_forward_hook(lambda _, __, made: (made[0] * float("nan"),))
    try:
        with pytest.raises(ArithmeticError, match="seed 7"):
            await engine.render(job_of(photo, 7), Collected(), Told())
    finally:
        hook.remove()


async def test_a_closed_engine_has_given_its_memory_back(model: Model) -> None:
    engine = await DiffusersEngine.load(model, "cpu", Told())
    pipe = pipe_of(engine)
    weights = [weakref.ref(weight) for weight in pipe.transformer.parameters()]
    assert weights
    await engine.close()
    assert not any(weight() for weight in weights), "though the pipeline is still referred to"
    assert pipe
