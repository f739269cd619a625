"""Out of GPU memory, a GPU that failed, and other trouble in the middle of a render: injected, as none is here."""

import weakref
from collections.abc import AsyncGenerator
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
import torch
from engine_harness import Collected, Told, failing, job_of, pipe_of
from pretend_gpu import bytes_held, pretended

from clips.catalog import Model, Placement, Speed
from clips.domain import Plan, Size
from clips.errors import CancelledError, FatalEngineError, MemberError, SetupError
from generator.engines.diffusers import gpu_memory, loading
from generator.engines.diffusers.engine import DiffusersEngine
from generator.engines.diffusers.family import Latents, Out, Scene
from generator.engines.diffusers.runner import Runner

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
    pipe, error = pipe_of(own_engine), torch.OutOfMemoryError("CUDA out of memory")
    with failing(pipe.vae.decoder, [error], after=1) as calls, failing(pipe.transformer, []) as steps:
        await own_engine.render(job_of(photo, 7, plan=LARGE), rescued, told)
    assert len(steps) == 2 * 3, "none of the steps is made again"
    assert len(calls) > 2 + 2, "the decoder is called once a tile and latent frame now"
    assert [len(chunk) for chunk in rescued.chunks[0]] == [1, 4]
    assert np.array_equal(rescued.clip()[0], usual.clip()[0])
    difference = np.abs(rescued.clip().astype(int) - usual.clip().astype(int))
    assert 0 < difference.mean() < 25, "the same picture, but for the seams of the tiles"


async def test_a_decode_that_fails_after_its_last_frame_leaves_no_latents_to_the_next_take(
    engine: DiffusersEngine, own_engine: DiffusersEngine, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual, rescued, decoded = Collected(), Collected(), list[Latents]()
    await engine.render(job_of(photo, 7, 8), usual, Told())
    family = own_engine._runner._family  # pyright: ignore[reportPrivateUsage]
    decode = family.decode

    def fail_once(scene: Scene, latents: Latents, out: Out) -> None:
        decode(scene, latents, out)
        decoded.append(latents)
        if len(decoded) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(family, "decode", fail_once)
    await own_engine.render(job_of(photo, 7, 8), rescued, Told())
    assert len(decoded) == 2, "the first take was whole"
    for take in (0, 1):
        assert np.array_equal(rescued.clip(take), usual.clip(take)), "each from its own seed"


def test_latents_wait_on_the_gpu_while_the_parts_leave_it(model: Model, photo: Path) -> None:
    with pretended():
        runner = Runner.load(model, "cuda", Told(), Speed.EXACT)
        usual, rescued = Collected(), Collected()
        runner.render(job_of(photo, 7), usual, Told())
        decoder = runner._pipe.vae.decoder  # pyright: ignore[reportPrivateUsage]
        with failing(decoder, [torch.OutOfMemoryError("CUDA out of memory")], after=1):
            runner.render(job_of(photo, 7), rescued, Told())
        assert runner.plan.placement is Placement.OFFLOADED
        assert runner.manner["placement"] == "whole, decoded in tiles", "it was denoised before that"
        runner.close()
    assert np.array_equal(rescued.clip(), usual.clip())


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


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
        RuntimeError("Triton Error [CUDA]: out of memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried to"),
        torch.AcceleratorError("CUDA error: out of memory"),  # pinned memory, which torch does not count as its own
    ],
)
async def test_every_library_says_out_of_memory_in_its_own_words(
    own_engine: DiffusersEngine, photo: Path, error: RuntimeError
) -> None:
    sink = Collected()
    with failing(pipe_of(own_engine).transformer, [error]):
        await own_engine.render(job_of(photo, 7), sink, Told())
    assert len(sink.clip()) == 13


DEVICE_ERRORS = [
    torch.AcceleratorError("CUDA error: an illegal memory access was encountered"),
    RuntimeError("CUDA error: unspecified launch failure"),
    RuntimeError("CUDA driver error: invalid context"),
    RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
    RuntimeError("Triton Error [CUDA]: an illegal memory access was encountered"),
    torch.AcceleratorError("CUDA error: no kernel image is available for execution on the device"),
]


@pytest.mark.parametrize("error", DEVICE_ERRORS)
async def test_a_gpu_that_answers_no_more_is_fatal_to_the_process(
    engine: DiffusersEngine, photo: Path, monkeypatch: pytest.MonkeyPatch, error: RuntimeError
) -> None:
    with failing(pipe_of(engine).transformer, [error]), pytest.raises(type(error)) as lived:
        await engine.render(job_of(photo, 7), Collected(), Told())
    assert lived.value is error, "the GPU answers: it is the take's own fault"
    monkeypatch.setattr(gpu_memory, "answers", lambda: False)
    with failing(pipe_of(engine).transformer, [error]), pytest.raises(FatalEngineError, match="5b: the GPU failed: "):
        await engine.render(job_of(photo, 7), Collected(), Told())


@pytest.mark.parametrize("step", ["park", "wake", "close"])
async def test_a_gpu_that_fails_between_renders_is_fatal_too(
    engine: DiffusersEngine, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def fail(_: object) -> None:
        raise DEVICE_ERRORS[0].with_traceback(None)

    monkeypatch.setattr(gpu_memory, "answers", lambda: False)
    monkeypatch.setattr(Runner, step, fail)
    with pytest.raises(FatalEngineError, match="the GPU failed"):
        await getattr(engine, step)()


async def test_a_gpu_that_fails_in_a_load_is_fatal_and_no_fault_of_the_folder(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise DEVICE_ERRORS[0].with_traceback(None)

    monkeypatch.setattr(loading, "place", fail)
    with pytest.raises(SetupError, match="cannot be loaded as WanImageToVideoPipeline: CUDA error: an illegal"):
        await DiffusersEngine.load(model, "cpu", Told())
    monkeypatch.setattr(gpu_memory, "answers", lambda: False)
    with pytest.raises(FatalEngineError, match="the GPU failed"):
        await DiffusersEngine.load(model, "cpu", Told())


async def test_a_cancel_asks_the_gpu_nothing(
    engine: DiffusersEngine, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_memory, "answers", lambda: False)
    with pytest.raises(CancelledError):
        await engine.render(job_of(photo, 7), Collected(), Told(cancel_at=lambda _: True))


def test_a_gpu_is_asked_by_a_small_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, answer = torch.zeros(1), list[RuntimeError]()

    def synchronize() -> None:
        if answer:
            raise answer.pop()

    monkeypatch.setattr(torch, "zeros", lambda *_, device: asked)
    monkeypatch.setattr(torch.cuda, "synchronize", synchronize)
    assert gpu_memory.answers() and asked == 0, "none is in use here"
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    assert gpu_memory.answers() and asked == 1
    answer.append(torch.OutOfMemoryError("CUDA out of memory"))
    assert gpu_memory.answers(), "it is full, and lives"
    answer.append(DEVICE_ERRORS[0])
    assert not gpu_memory.answers()


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


def test_a_load_that_a_wrong_entry_ends_gives_its_memory_back(model: Model) -> None:
    odd = model.model_copy(update={"sizes": {Size.P720: (90, 60)}, "multiple": 2})
    with pretended():
        before = bytes_held()
        with pytest.raises(SetupError, match="Mend the catalogue's entry") as error:
            Runner.load(odd, "cuda", Told(), Speed.EXACT)
        assert bytes_held() == before
    assert error.value.__traceback__, "which still refers to all that the load had at hand"


async def test_a_closed_engine_has_given_its_memory_back(model: Model) -> None:
    engine = await DiffusersEngine.load(model, "cpu", Told())
    pipe = pipe_of(engine)
    weights = [weakref.ref(weight) for weight in pipe.transformer.parameters()]
    assert weights
    await engine.close()
    assert not any(weight() for weight in weights), "though the pipeline is still referred to"
    assert pipe


def test_memory_that_nothing_uses_goes_back_with_what_was_pinned_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    emptied: list[str] = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append("GPU"))
    monkeypatch.setattr(torch.accelerator, "empty_host_cache", lambda: emptied.append("RAM"))
    gpu_memory.free_memory(torch.device("cpu"))
    assert not emptied
    gpu_memory.free_memory(torch.device("cuda", 1))
    assert emptied == ["GPU", "RAM"]
