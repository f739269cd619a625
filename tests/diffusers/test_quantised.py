"""A denoiser in 4 bits, for real: bitsandbytes packs and computes on a CPU too, and only diffusers asks for a GPU."""

import gc
import weakref
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import cast

import bitsandbytes.nn.modules as bitsandbytes
import numpy as np
import pytest
import pytest_asyncio
import torch
from accelerate import init_empty_weights
from diffusers.models.transformers.transformer_hunyuan_video import HunyuanVideoTransformer3DModel
from diffusers.models.transformers.transformer_ltx import LTXVideoTransformer3DModel
from diffusers.models.transformers.transformer_ltx2 import LTX2VideoTransformer3DModel
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
from diffusers.quantizers.bitsandbytes.bnb_quantizer import BnB4BitDiffusersQuantizer
from engine_harness import Collected, Told, job_of, pipe_of
from torch import nn

from clips.catalog import Catalog, Model, Placement
from generator.engines.diffusers import loading, runner
from generator.engines.diffusers.checkpoint import Checkpoint
from generator.engines.diffusers.engine import DiffusersEngine
from generator.engines.diffusers.family import family_of
from generator.engines.diffusers.memory import MemoryPlan, Needs, ladder
from generator.engines.diffusers.placing import goes_straight

_GPU = torch.device("cuda")


@pytest_asyncio.fixture
async def in_4_bits(model: Model, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[DiffusersEngine]:
    """The tiny model, planned as for a GPU and loaded on the CPU."""
    real = loading.plans_of
    monkeypatch.setattr(BnB4BitDiffusersQuantizer, "validate_environment", lambda *_, **__: None)
    monkeypatch.setattr(bitsandbytes, "has_avx512bf16", lambda: False)  # its kernels want sides of 64 and more
    monkeypatch.setattr(runner, "plans_of", lambda model, family, found, _: real(model, family, found, _GPU))
    monkeypatch.setattr(loading, "choose_plan", lambda _, plans, *__: quantised(plans))
    engine = await DiffusersEngine.load(model, "cpu", Told())
    yield engine


def scales_of(layer: bitsandbytes.Linear4bit) -> torch.Tensor:
    return cast("bitsandbytes.Params4bit", layer.weight).quant_state.absmax


def quantised(plans: tuple[MemoryPlan, ...]) -> MemoryPlan:
    return next(plan for plan in plans if plan.placement is Placement.QUANTISED)


async def test_a_denoiser_in_4_bits_renders_nearly_the_same_and_gives_all_of_it_back(
    in_4_bits: DiffusersEngine, engine: DiffusersEngine, photo: Path
) -> None:
    rendered, usual = Collected(), Collected()
    await in_4_bits.render(job_of(photo, 7), rendered, Told())
    await engine.render(job_of(photo, 7), usual, Told())
    difference = np.abs(rendered.clip().astype(int) - usual.clip().astype(int)).mean()
    assert 0 < difference < 8, "of 255 levels"
    pipe = pipe_of(in_4_bits)
    layers = [layer for layer in pipe.transformer.modules() if isinstance(layer, bitsandbytes.Linear4bit)]
    held = [weakref.ref(tensor) for layer in layers for tensor in (layer.weight, scales_of(layer))]
    assert len(held) > 2 * 10
    while layers:
        layer = layers.pop()
        numbers = layer.in_features * layer.out_features
        assert (layer.weight.nbytes, scales_of(layer).nbytes) == (numbers // 2, 4 * -(-numbers // 64))
        del layer
    assert not in_4_bits.can_park
    await in_4_bits.close()
    gc.collect()
    assert not any(tensor() is not None for tensor in held), "the scales of the weights too"
    assert pipe


def test_the_text_encoder_is_not_loaded_onto_a_gpu_that_it_would_overflow() -> None:
    plan = MemoryPlan(Placement.QUANTISED, tiled=False, vram=1, ram=0, held=1, kept=0)
    assert not goes_straight("text_encoder", plan)
    assert goes_straight("transformer", plan)


@pytest.mark.parametrize(
    "denoiser",
    [
        pytest.param(lambda: WanTransformer3DModel(in_channels=36), id="wan 14B"),
        pytest.param(lambda: WanTransformer3DModel(num_attention_heads=24, ffn_dim=14336, num_layers=30), id="wan 5B"),
        pytest.param(LTXVideoTransformer3DModel, id="ltx-video"),
        pytest.param(LTX2VideoTransformer3DModel, id="ltx-2"),
        pytest.param(HunyuanVideoTransformer3DModel, id="hunyuan"),
    ],
)
def test_the_estimate_is_what_4_bits_take_and_little_more(denoiser: type[nn.Module]) -> None:
    """At the published sizes, by the layers that are packed: half a byte a number, and 4 bytes for each 64 of them."""
    with init_empty_weights():
        made = denoiser()
    kept = set(getattr(made, "_keep_in_fp32_modules", None) or ())
    whole = packed = 0.0
    for name, weight in made.named_parameters():
        owner = made.get_submodule(name.rpartition(".")[0])
        is_kept = bool(kept & set(name.split(".")))
        whole += 2 * weight.numel()
        if isinstance(owner, nn.Linear) and name.endswith("weight") and not is_kept:
            packed += weight.numel() * (1 / 2 + 4 / 64)
        else:
            packed += weight.numel() * (4 if is_kept else 2)
    plan = quantised(ladder(Needs(0, (int(whole),), 0, 0, 0, 0), quantiser=True))
    assert packed < plan.held < 1.2 * packed


def test_only_transformers_are_offered_in_4_bits() -> None:
    for name, part, offered in (("svd-xt", "unet", False), ("wan-2.2-ti2v-5b", "transformer", True)):
        model = Catalog.load().find(name)
        plans = loading.plans_of(model, family_of(model), Checkpoint({part: 10**9, "vae": 10**8}, {}), _GPU)
        assert any(plan.placement is Placement.QUANTISED for plan in plans) == offered, name
