"""Every family on a pretended GPU: nothing is on the wrong side when it is used, wherever the weights are placed, and
nothing stays on the GPU but them.
"""

import gc
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from engine_harness import Collected, Told, job_of
from families import BY_ENTRY, ONE_EACH, WORDS
from numpy.typing import NDArray
from pretend_gpu import bytes_held, pretended
from tiny import Tiny

from clips.catalog import Placement, Speed
from generator.engines.base import Job
from generator.engines.diffusers.placing import denoisers, modules, place
from generator.engines.diffusers.runner import Runner

_NUMBERS = 1000
"""Bytes that do not count: a few numbers here and there."""

TINIES = (*ONE_EACH, *(BY_ENTRY[entry] for entry in ("wan-2.2-i2v-a14b", "wan-2.1-i2v-480p")))
"""One of each adapter, and what Wan has in two shapes more: a second denoiser, an encoder of photos."""


@pytest.fixture(autouse=True)
def gpu() -> Generator[torch.device]:
    with pretended() as device:
        yield device


@pytest.fixture(params=TINIES, ids=lambda tiny: tiny.entry)
def tiny(request: pytest.FixtureRequest) -> Tiny:
    return request.param


def loaded(tiny: Tiny, shelf: Path, placement: Placement) -> Runner:
    model = tiny.model(tiny.saved(shelf)).model_copy(update={"memory": placement})
    return Runner.load(model, "cuda", Told(), Speed.EXACT)


def clip_of(runner: Runner, job: Job) -> NDArray[np.uint8]:
    sink = Collected()
    runner.render(job, sink, Told())
    return sink.clip()


def job_for(tiny: Tiny, photo: Path, seed: int) -> Job:
    inputs = {"photo": photo, **dict.fromkeys(tiny.needs, photo)}
    return replace(job_of(photo, seed, spec=WORDS, plan=tiny.plan), inputs=inputs)


def weights_of(runner: Runner) -> list[torch.Tensor]:
    """All of them, whichever part they belong to."""
    parts = modules(runner._pipe).values()  # pyright: ignore[reportPrivateUsage]
    return [tensor for part in parts for tensor in (*part.parameters(), *part.buffers())]


def left_there() -> int:
    """Bytes of the GPU that something still refers to."""
    gc.collect()
    return bytes_held()


def held_by(runner: Runner) -> int:
    """Bytes of the weights that are on the GPU."""
    storages = [tensor.untyped_storage() for tensor in weights_of(runner) if tensor.is_cuda]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


def test_no_generator_of_the_cpu_draws_there(gpu: torch.device) -> None:
    drawn = torch.Generator("cpu").manual_seed(7)
    with pytest.raises(RuntimeError, match="Expected a 'cuda' device type for generator but found 'cpu'"):
        torch.randn(3, generator=drawn, device=gpu)
    with pytest.raises(RuntimeError, match="Expected a 'cuda' device type for generator but found 'cpu'"):
        torch.zeros(3, device=gpu).normal_(generator=drawn)
    assert torch.randn(3, generator=drawn).to(gpu).is_cuda


def test_wherever_its_weights_are_a_model_renders_the_same_clip(
    tiny: Tiny, shelf: Path, photo: Path, gpu: torch.device
) -> None:
    before = left_there()
    runner = loaded(tiny, shelf, Placement.WHOLE)
    weights = held_by(runner)
    assert left_there() - before <= weights, "a load leaves nothing else there"
    assert all(tensor.is_cuda for tensor in weights_of(runner))
    job, other = job_for(tiny, photo, 7), job_for(tiny, photo, 8)
    whole = clip_of(runner, job)
    assert whole.std() > 0
    beside = left_there() - weights  # a sampler keeps its last latents
    plans = {plan.placement: plan for plan in reversed(runner._plans)}  # pyright: ignore[reportPrivateUsage]
    for placement in [way for way in (Placement.EVICTED, Placement.OFFLOADED, Placement.GROUPED) if way in plans]:
        runner.plan = plans[placement]
        place(runner._pipe, runner.plan, gpu)  # pyright: ignore[reportPrivateUsage]
        assert held_by(runner) < weights
        assert np.array_equal(clip_of(runner, job), whole), placement
        assert held_by(runner) < weights
        assert left_there() - held_by(runner) <= beside + _NUMBERS, placement
        runner.park()
        assert held_by(runner) == 0, placement
    assert not np.array_equal(clip_of(runner, other), whole)
    assert np.array_equal(clip_of(runner, job), whole), "back from the RAM"
    runner.close()
    del runner
    assert left_there() <= before + beside + _NUMBERS


def test_in_8_bits_a_model_comes_back_as_it_was(tiny: Tiny, shelf: Path, photo: Path) -> None:
    runner = loaded(tiny, shelf, Placement.FP8)
    parts = denoisers(runner._pipe)  # pyright: ignore[reportPrivateUsage]
    assert all(any(tensor.dtype is torch.float8_e4m3fn for tensor in part.parameters()) for part in parts)
    job = job_for(tiny, photo, 7)
    held, clip = held_by(runner), clip_of(runner, job)
    assert clip.std() > 0
    runner.park()
    assert held_by(runner) == 0
    assert np.array_equal(clip_of(runner, job), clip)
    assert held_by(runner) == held
