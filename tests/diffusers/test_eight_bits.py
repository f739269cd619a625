"""A model in 8 bits: how it is read, what becomes of merged low-rank weights, and that it can be moved."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_unets
import torch
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from engine_harness import Collected, Told, job_of
from numpy.typing import NDArray
from tiny_wan import TINIES
from transformers import UMT5EncoderModel

from clips.catalog import Model, Placement
from generator.engines.diffusers.family import family_of
from generator.engines.diffusers.load_progress import LoadProgress
from generator.engines.diffusers.loading import load_pipeline
from generator.engines.diffusers.memory import GIB, MemoryPlan
from generator.engines.diffusers.origins import find_all
from generator.engines.diffusers.runner import Runner

CPU = torch.device("cpu")
TINY = next(tiny for tiny in TINIES if tiny.entry == "wan-2.2-i2v-a14b-4step")
"""Two denoisers with low-rank weights for each."""


def plan(placement: Placement, *, straight: bool = False) -> MemoryPlan:
    return MemoryPlan(placement, tiled=False, vram=9 * GIB, ram=5 * GIB, held=2 * GIB, kept=GIB, straight=straight)


@pytest.fixture(scope="module")
def a14b(shelf: Path) -> Model:
    return TINY.model(TINY.saved(shelf))


def loaded(model: Model, way: MemoryPlan) -> DiffusionPipeline:
    progress = LoadProgress(Told())
    return load_pipeline(family_of(model), find_all(model, progress.fetching), CPU, way, progress.reading)


def is_cast(part: torch.nn.Module) -> bool:
    return any(tensor.dtype is torch.float8_e4m3fn for tensor in part.parameters())


@pytest.mark.parametrize("straight", [True, False])
def test_each_denoiser_is_cast_before_the_next_part_is_read(
    a14b: Model, monkeypatch: pytest.MonkeyPatch, *, straight: bool
) -> None:
    read: list[torch.nn.Module] = []

    def noted(kind: type) -> Callable[..., object]:
        usual = kind.from_pretrained

        def from_pretrained(*args: object, **options: object) -> object:
            assert all(map(is_cast, read)), "nothing else is there at its full width"
            assert ("device_map" in options) is (straight and kind is WanTransformer3DModel)
            assert len(read) == 2 or kind is WanTransformer3DModel, "the text encoder comes last"
            part: torch.nn.Module = usual(*args, **options)
            read.extend([part] if kind is WanTransformer3DModel else [])
            return part

        return from_pretrained

    for kind in (WanTransformer3DModel, UMT5EncoderModel):
        monkeypatch.setattr(kind, "from_pretrained", noted(kind))
    pipe: Any = loaded(a14b, plan(Placement.FP8, straight=straight))
    assert read == [pipe.transformer, pipe.transformer_2]
    assert not is_cast(pipe.text_encoder)


def test_low_rank_weights_are_merged_before_anything_is_rounded(a14b: Model) -> None:
    small: Any = loaded(a14b, plan(Placement.FP8))
    large: Any = loaded(a14b, plan(Placement.WHOLE, straight=True))
    bare: Any = loaded(a14b.model_copy(update={"loras": ()}), plan(Placement.WHOLE, straight=True))
    for name in ("transformer", "transformer_2"):
        rounded, merged, own = (
            getattr(pipe, name).blocks[1].attn1.to_q.weight.detach() for pipe in (small, large, bare)
        )
        assert not torch.equal(merged, own)
        assert torch.equal(rounded.float(), merged.to(torch.float8_e4m3fn).float())


def test_a_denoiser_that_is_made_of_parts_is_made_before_it_is_cast(shelf: Path) -> None:
    tiny = next(tiny for tiny in tiny_unets.TINIES if tiny.entry == "pia")
    pipe: Any = loaded(tiny.model(tiny.saved(shelf)), plan(Placement.FP8))
    assert is_cast(pipe.unet)
    assert pipe.unet.conv_in.weight.shape[1] == 9, "the adapter's, for the photo"


def test_it_renders_the_same_after_it_made_room(a14b: Model, photo: Path) -> None:
    pipe, way = loaded(a14b, plan(Placement.FP8)), plan(Placement.FP8)
    runner = Runner(a14b, family_of(a14b)(pipe, a14b), pipe, CPU, (way,), way)

    def clip() -> NDArray[np.uint8]:
        sink = Collected()
        runner.render(job_of(photo, 7, plan=TINY.plan), sink, Told())
        return sink.clip()

    before = clip()
    assert (runner.vram, runner.ram) == (2 * GIB, GIB)
    runner.park()
    assert (runner.vram, runner.ram) == (0, 3 * GIB)
    runner.wake()
    assert np.array_equal(clip(), before)
    assert len(before) == TINY.plan.frames
