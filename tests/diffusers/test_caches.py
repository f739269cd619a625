"""What a step cache leaves out, for each family that has one: blocks of its denoiser, and nothing of the next take."""

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.hooks.hooks import StateManager
from engine_harness import Told, pipe_of
from families import FAMILIES, ONE_EACH, Loaded
from tiny import Tiny
from torch import nn

from clips.catalog import Catalog, EngineKind, Placement, Speed
from clips.errors import CancelledError
from clips.step_caches import FirstBlock, Mag, StepCaches
from generator.engines.diffusers import speed
from generator.engines.diffusers.engine import DiffusersEngine
from generator.engines.diffusers.family import family_of
from generator.engines.diffusers.placing import denoisers
from generator.engines.diffusers.speed import Levers, offered, pull, slow_down

STEPS = 20
EAGER = {
    "first-block": StepCaches(fast=FirstBlock(threshold=0.99)),
    "mag": StepCaches(fast=Mag(threshold=0.9, most=3, kept=0.2), ratios=(1.0,) * STEPS),
}
"""By kind: what leaves out all it can. In 20 steps the first runs one whole step, the other the first 4 and then one in
four, 8 in all: of those with the words, and of those without.
"""
WHOLE = {"first-block": 1, "mag": 8}
CASES = [
    pytest.param(tiny, kind, id=f"{tiny.entry}-{kind}")
    for tiny in ONE_EACH
    for kind in sorted(family_of(Catalog.load().find(tiny.entry)).caches)
]
DIFFUSERS = [model for model in Catalog.load() if model.engine is EngineKind.DIFFUSERS]


@contextmanager
def runs(denoiser: nn.Module) -> Generator[list[int]]:
    """How often the denoiser's last block was worked through: a cache goes around its parts, not around itself."""
    blocks = [part for name, part in denoiser.named_children() if name.endswith("blocks") and [*part.children()]]
    first, *_ = list(blocks[-1].children())[-1].children()
    calls: list[int] = []
    hook = first.register_forward_pre_hook(lambda *_: calls.append(1))
    try:
        yield calls
    finally:
        hook.remove()


def states_of(denoiser: nn.Module) -> int:
    """How many passes its cache remembers."""
    registries = [
        vars(module)["_diffusers_hook"] for module in denoiser.modules() if hasattr(module, "_diffusers_hook")
    ]
    managers = [part for one in registries for hook in one.hooks.values() for part in vars(hook).values()]
    return sum(len(part._state_cache) for part in managers if isinstance(part, StateManager))  # pyright: ignore[reportPrivateUsage]


@pytest.fixture(autouse=True)
def plain_levers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU has no other attention, and compiling takes half a minute."""
    monkeypatch.setattr(speed, "_ATTENTION", dict.fromkeys(Speed, ()))
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager", disable=True))


@asynccontextmanager
async def loaded(tiny: Tiny, shelf: Path, photo: Path, **changes: object) -> AsyncGenerator[Loaded]:
    """A family's model in an engine of its own."""
    folder = tiny.saved(shelf)
    model = tiny.model(folder).model_copy(update=changes)
    one = Loaded(tiny, folder, model, await DiffusersEngine.load(model, "cpu", Told()), photo)
    yield one
    await one.engine.close()


async def clip(one: Loaded) -> np.ndarray:
    return (await one.render(one.job(7))).clip()


@pytest.mark.parametrize(("tiny", "kind"), CASES)
async def test_a_cache_leaves_steps_out_and_nothing_behind(tiny: Tiny, kind: str, shelf: Path, photo: Path) -> None:
    async with loaded(tiny, shelf, photo, steps=STEPS) as one:
        pipe = pipe_of(one.engine)
        (denoiser,) = denoisers(pipe)
        with runs(denoiser) as calls:
            exact = await clip(one)
            whole = len(calls)
            offer = offered(pipe, Speed.FAST, Placement.WHOLE, EAGER[kind])
            assert offer.cache == EAGER[kind].fast
            pull(pipe, Levers(cache=offer.cache, compiled=offer.compiled), EAGER[kind].ratios, STEPS)
            calls.clear()
            alone = await clip(one)
            assert len(calls) == WHOLE[kind] * whole // STEPS
        assert not np.array_equal(alone, exact)
        assert np.array_equal(await clip(one), alone), "nothing of the take before"
        with pytest.raises(CancelledError):
            await one.render(one.job(3), Told(lambda report: report[:2] == ("step", 9)))
        assert np.array_equal(await clip(one), alone), "nothing of the cancelled one"
        slow_down(pipe)
        assert np.array_equal(await clip(one), exact)


@pytest.mark.parametrize("name", [model.name for model in DIFFUSERS if model.cache is not None])
async def test_as_many_steps_run_as_the_documents_say(name: str, shelf: Path, photo: Path) -> None:
    model = Catalog.load().find(name)
    assert model.cache is not None and model.steps is not None
    tiny, ran = next(tiny for tiny in ONE_EACH if tiny.entry.startswith("wan")), [model.steps]
    async with loaded(tiny, shelf, photo, steps=model.steps) as one:
        pipe = pipe_of(one.engine)
        for preset in (Speed.BALANCED, Speed.FAST):
            cache = offered(pipe, preset, Placement.WHOLE, model.cache).cache
            pull(pipe, Levers(cache=cache), model.cache.ratios, model.steps)
            with runs(denoisers(pipe)[0]) as calls:
                await clip(one)
            ran.append(len(calls) // 2)
            slow_down(pipe)
    rows = (Path(__file__).parents[2] / "docs" / "gpus.md").read_text(encoding="utf-8").splitlines()
    assert any(f"`{name}`" in row and row.endswith(" | {} | {} | {} |".format(*ran)) for row in rows), ran


async def test_each_of_two_denoisers_has_a_cache_of_its_own(
    shelf: Path, photo: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tiny = next(tiny for tiny in FAMILIES if tiny.entry == "wan-2.2-i2v-a14b")
    async with loaded(tiny, shelf, photo, steps=STEPS) as one:
        pipe = pipe_of(one.engine)
        assert offered(pipe, Speed.FAST, Placement.WHOLE, EAGER["mag"]).cache is None
        assert "A mag cache is for models with one denoiser" in caplog.text
        pull(pipe, Levers(cache=EAGER["first-block"].fast), (), STEPS)
        high, low = denoisers(pipe)
        kept: list[int] = []
        with runs(high) as before, runs(low) as after:
            hook = low.register_forward_hook(lambda *_: kept.append(states_of(high)))
            await clip(one)
            hook.remove()
        assert len(before) == len(after) == 2, "once with the words, once without"
        assert len(kept) > 1 and not any(kept), "the first lets go of the memory once the second works"


def test_no_preset_leaves_out_steps_of_a_distilled_model() -> None:
    wish = StepCaches(balanced=FirstBlock(threshold=0.03), fast=FirstBlock(threshold=0.05))
    few = [model for model in DIFFUSERS if model.sigmas or (model.steps or 0) < STEPS]
    assert {"fastwan-2.2-ti2v-5b", "ltx-2-distilled", "hunyuan-1.5-480p-fast"} < {model.name for model in few}
    many = next(model for model in few if model.sigmas).model_copy(update={"steps": STEPS, "sigmas": (0.5,) * STEPS})
    for model in (*few, many, Catalog.load().find("wan-2.1-flf2v").model_copy(update={"steps": STEPS - 1})):
        for cache in (None, wish):
            own = model.model_copy(update={"cache": cache})
            assert family_of(model).step_caches(own) == StepCaches(), model.name


def test_the_catalogues_entry_goes_before_what_is_usual_for_the_family() -> None:
    found = {model.name: family_of(model).step_caches(model) for model in DIFFUSERS}
    assert found["wan-2.1-flf2v"].balanced == FirstBlock(threshold=0.03)
    assert found["wan-2.1-i2v-480p"].balanced == Mag(threshold=0.12, most=2, kept=0.2)
    assert not found["ltx-2"].kinds and not found["skyreels-v2-14b"].kinds and not found["svd"].kinds
    own = Catalog.load().find("wan-2.1-flf2v").model_copy(update={"cache": StepCaches()})
    assert family_of(own).step_caches(own) == StepCaches()
