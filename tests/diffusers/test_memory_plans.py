"""Which way of placing a model each card gets, from the sizes of the real checkpoints."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from clips.catalog import Catalog, Placement
from clips.errors import SetupError
from generator.engines.base import NoRoomError
from generator.engines.diffusers import loading
from generator.engines.diffusers.checkpoint import Checkpoint
from generator.engines.diffusers.estimate import largest, needs_of
from generator.engines.diffusers.loading import choose_plan
from generator.engines.diffusers.memory import GIB, Needs, choose, ladder, leaner, on_cpu

CARDS = (8, 12, 16, 24, 48, 80)
WAN_VAE = {"_class_name": "AutoencoderKLWan", "base_dim": 96, "scale_factor_spatial": 8, "scale_factor_temporal": 4}
TI2V_VAE = WAN_VAE | {
    "base_dim": 160,
    "decoder_base_dim": 256,
    "patch_size": 2,
    "scale_factor_spatial": 16,
    "is_residual": True,
}
A14B = {"num_attention_heads": 40, "attention_head_dim": 128, "patch_size": [1, 2, 2]}
UMT5 = 5_681_000_000

REAL = {
    "wan-2.2-ti2v-5b": Checkpoint(
        {"text_encoder": UMT5, "transformer": 5_000_000_000, "vae": 705_000_000},
        {"transformer": A14B | {"num_attention_heads": 24}, "vae": TI2V_VAE},
    ),
    "wan-2.2-i2v-a14b": Checkpoint(
        {"text_encoder": UMT5, "transformer": 14_290_000_000, "transformer_2": 14_290_000_000, "vae": 127_000_000},
        {"transformer": A14B, "transformer_2": A14B, "vae": WAN_VAE},
    ),
    "ltx-video": Checkpoint(
        {"text_encoder": 4_762_000_000, "transformer": 1_923_000_000, "vae": 936_000_000},
        {
            "transformer": {"num_attention_heads": 32, "attention_head_dim": 64, "patch_size": 1},
            "vae": {
                "_class_name": "AutoencoderKLLTXVideo",
                "block_out_channels": [128, 256, 512, 512],
                "patch_size": 4,
                "spatial_compression_ratio": 32,
                "temporal_compression_ratio": 8,
            },
        },
    ),
    "svd-xt": Checkpoint(
        {"unet": 1_525_000_000, "image_encoder": 632_000_000, "vae": 98_000_000},
        {
            "unet": {"num_attention_heads": [5, 10, 20, 20], "block_out_channels": [320, 640, 1280, 1280]},
            "vae": {"_class_name": "AutoencoderKLTemporalDecoder", "block_out_channels": [128, 256, 512, 512]},
        },
    ),
}
"""Published sizes, in numbers, and what of the configurations the estimate reads."""

needs = st.builds(
    Needs,
    text=st.integers(0, 20 * GIB),
    denoisers=st.lists(st.integers(1, 60 * GIB), min_size=1, max_size=2).map(tuple),
    rest=st.integers(0, 4 * GIB),
    step=st.integers(0, 20 * GIB),
    decode=st.integers(2 * GIB, 40 * GIB),
    tiled=st.integers(0, 2 * GIB),
)


def needs_to_render(name: str) -> Needs:
    return needs_of(REAL[name], {"vae"} if name.startswith("wan") else set(), 2, largest(Catalog.load().find(name)))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("wan-2.2-ti2v-5b", ["grouped, tiled", "grouped, tiled", "evicted, tiled", "offloaded", "whole", "whole"]),
        ("wan-2.2-i2v-a14b", ["grouped, tiled"] * 3 + ["grouped", "offloaded", "evicted"]),
        ("ltx-video", ["grouped, tiled", "offloaded", "evicted", "whole", "whole", "whole"]),
        ("svd-xt", ["grouped, tiled", "offloaded", "whole", "whole", "whole", "whole"]),
    ],
)
def test_each_card_gets_the_fastest_way_that_fits(name: str, told: list[str]) -> None:
    plans = ladder(needs_to_render(name), quantiser=False)
    chosen = [choose(plans, card * GIB, 96 * GIB) for card in CARDS]
    assert [f"{plan.placement}{', tiled' if plan.tiled else ''}" for plan in chosen] == told
    for card, plan in zip(CARDS, chosen, strict=True):
        too_small = name == "wan-2.2-i2v-a14b" and card < 24
        assert plan.fits(card * GIB, 96 * GIB) != too_small, plan.said


def test_without_ram_to_stream_from_the_weights_are_made_smaller() -> None:
    needed = needs_to_render("wan-2.2-i2v-a14b")
    assert choose(ladder(needed, quantiser=False), 48 * GIB, 24 * GIB).placement is Placement.FP8
    assert choose(ladder(needed, quantiser=True), 32 * GIB, 24 * GIB).placement is Placement.QUANTISED


def test_in_8_bits_a_denoiser_is_whole_once_where_there_is_room_for_it() -> None:
    gib = {"text": 4, "rest": 1, "step": 3, "decode": 8, "tiled": 1}
    needed = Needs(denoisers=(14 * GIB, 14 * GIB), **{name: size * GIB for name, size in gib.items()})
    plans = ladder(needed, quantiser=True)
    pieces, tiles = (plan for plan in plans if plan.placement is Placement.FP8)
    assert (pieces.straight, pieces.ram, pieces.kept) == (True, 4 * GIB, 4 * GIB), "the decode takes as much room"
    assert (tiles.straight, tiles.ram, tiles.kept) == (False, 14 * GIB, 4 * GIB), "before the text encoder comes"
    assert all(plan.ram == plan.kept for plan in plans if plan is not tiles)


@pytest.mark.parametrize("free", [96, 64, 12])
def test_a_plan_does_not_depend_on_what_waits_in_ram(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (48 * GIB, 48 * GIB))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 0)
    monkeypatch.setattr(loading, "free_ram", lambda: free * GIB)
    model, device = Catalog.load().find("wan-2.2-i2v-a14b"), torch.device("cuda")
    plans = ladder(needs_to_render(model.name), quantiser=False)
    if free == 96:
        assert choose_plan(model, plans, device, 0).placement is Placement.OFFLOADED
        return
    with pytest.raises(NoRoomError, match=r"it needs about 64\.\d GiB of RAM") as need:
        choose_plan(model, plans, device, (96 - free) * GIB)
    assert need.value.vram == 0, "on the GPU there is room"


def test_a_wished_way_is_taken_even_where_another_fits_better() -> None:
    plans = ladder(needs_to_render("ltx-video"), quantiser=False)
    assert choose(plans, 80 * GIB, 96 * GIB, Placement.GROUPED).placement is Placement.GROUPED
    assert choose(plans, 8 * GIB, 96 * GIB, Placement.WHOLE).placement is Placement.WHOLE


def test_a_wish_that_cannot_be_had_is_refused_and_on_a_cpu_means_nothing() -> None:
    svd, needed = Catalog.load().find("svd-xt"), needs_to_render("svd-xt")
    plans = ladder(needed, quantiser=False)
    for wish, why in ((Placement.EVICTED, "it has no text encoder"), (Placement.QUANTISED, "most of its UNet would")):
        wished = svd.model_copy(update={"memory": wish})
        with pytest.raises(
            SetupError, match=f"svd-xt cannot be placed as `{wish}`: {why}.* to one of whole, offloaded"
        ):
            choose_plan(wished, plans, torch.device("cuda"))
        assert choose_plan(wished, on_cpu(needed), torch.device("cpu")).placement is Placement.WHOLE


def test_the_plan_says_what_it_takes() -> None:
    plan = choose(ladder(needs_to_render("wan-2.2-ti2v-5b"), quantiser=False), 32 * GIB, 96 * GIB)
    assert plan.said == (
        "the text encoder streamed from RAM, the rest on the GPU: about 31.0 GiB of GPU memory and 10.6 GiB of RAM"
    )


@given(needs, st.integers(0, 200 * GIB), st.integers(0, 200 * GIB))
def test_each_plan_after_an_out_of_memory_is_leaner_and_the_last_one_ends_it(
    needed: Needs, vram: int, ram: int
) -> None:
    plans = ladder(needed, quantiser=True)
    plan, taken = choose(plans, vram, ram), list[str]()
    while (lower := leaner(plans, plan, ram)) is not None:
        assert lower.tiled and (lower.vram < plan.vram or not plan.tiled)
        assert lower.placement is plan.placement or Placement.QUANTISED not in {lower.placement, plan.placement}
        taken.append(f"{lower.placement}")
        plan = lower
    assert len(taken) < len(plans)


def test_on_a_cpu_only_the_decode_gets_leaner() -> None:
    whole, tiled = on_cpu(needs_to_render("wan-2.2-ti2v-5b"))
    assert leaner((whole, tiled), whole, 0) == tiled
    assert leaner((whole, tiled), tiled, 0) is None
    assert whole.said == "in RAM: about 22.5 GiB of RAM"
