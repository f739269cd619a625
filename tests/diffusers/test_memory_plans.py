"""Which way of placing a model each card gets, from the sizes of the real checkpoints."""

import weakref

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from clips.catalog import Catalog, Placement
from clips.errors import SetupError
from generator.engines.base import NoRoomError
from generator.engines.diffusers import loading
from generator.engines.diffusers.estimate import largest, needs_of
from generator.engines.diffusers.family import family_of
from generator.engines.diffusers.loading import choose_plan
from generator.engines.diffusers.memory import GIB, Needs, choose, ladder, leaner, on_cpu
from generator.engines.diffusers.outlook import on_cards
from generator.engines.diffusers.published import models, published

TOGETHER = {"LTXVideoTransformer3DModel", "CogVideoXTransformer3DModel"}
"""Denoise the clip with and without the words in one pass."""

TIGHT = {("wan-2.2-ti2v-5b", 16), ("ltx-video-0.9.5", 8)}
"""Where a step cache is more than there is room for, and a render goes on without it."""

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
    model = Catalog.load().find(name)
    return needs_of(published(name), family_of(model).precise, 2, largest(model))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (
            "wan-2.2-ti2v-5b",
            ["grouped, tiled", "grouped, tiled", "offloaded, tiled", "offloaded", "evicted", "whole", "whole"],
        ),
        ("wan-2.2-i2v-a14b", ["–", "–", "grouped, tiled", "grouped", "grouped", "offloaded", "evicted"]),
        ("ltx-video", ["offloaded, tiled", "offloaded", "evicted", "whole", "whole", "whole", "whole"]),
        ("svd-xt", ["–", "grouped", "whole", "whole", "whole", "whole", "whole"]),
    ],
)
def test_each_card_gets_the_fastest_way_that_fits(name: str, told: list[str]) -> None:
    plans = on_cards(Catalog.load().find(name)).values()
    assert [f"{plan.placement}{', tiled' if plan.tiled else ''}" if plan else "–" for plan in plans] == told


@pytest.mark.parametrize("name", models())
def test_a_step_cache_has_room_on_the_cards_of_the_table_but_two(name: str) -> None:
    model = Catalog.load().find(name)
    needed, cache = needs_to_render(name), family_of(model).step_caches(model).balanced
    if cache is None:
        return
    # Three copies of a denoiser's state for each of two passes; a step holds at least twelve in a pass. Where both
    # passes are one, it holds 28.
    both = published(name).configs["transformer"]["_class_name"] in TOGETHER
    copies = needed.step * 6 // (28 if both else 12)
    for card, plan in on_cards(model).items():
        if plan and plan.placement is not Placement.GROUPED:
            offloaded = plan.placement is Placement.OFFLOADED
            there = max(needed.denoisers) if offloaded else plan.held
            fits = there + needed.step + copies + GIB <= card * GIB
            assert fits == ((name, card) not in TIGHT)


@given(needs, st.integers(1, 100), st.integers(1, 100))
def test_a_larger_card_streams_no_denoiser_that_a_smaller_one_holds(needed: Needs, one: int, other: int) -> None:
    plans = ladder(needed, quantiser=True)
    chosen = [choose(plans, card * GIB, 200 * GIB) for card in sorted((one, other))]
    smaller, larger = (
        0 if plan.placement is Placement.GROUPED or not plan.fits(card * GIB, 200 * GIB) else 1
        for plan, card in zip(chosen, sorted((one, other)), strict=True)
    )
    assert smaller <= larger


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
    monkeypatch.setattr(loading, "free_memory", lambda _: None)
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


def test_weights_that_refer_to_each_other_are_gone_before_room_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def held() -> int:
        return 0 if weight() is None else 40 * GIB

    monkeypatch.setattr(loading, "free_ram", lambda: 96 * GIB)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.accelerator, "empty_host_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (48 * GIB - held(), 48 * GIB))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: held())
    model = Catalog.load().find("wan-2.2-ti2v-5b")
    plans = ladder(needs_to_render(model.name), quantiser=False)
    left = nn.Linear(1, 1)
    vars(left)["itself"] = left
    weight = weakref.ref(left.weight)
    del left
    assert held(), "till somebody looks for it"
    assert choose_plan(model, plans, torch.device("cuda")).placement is Placement.WHOLE


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
