"""The published configurations: complete, counted, and in the catalogue's words."""

from functools import cache
from importlib import import_module
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn

from clips.catalog import Catalog, EngineKind, Model, Placement
from clips.domain import Plan
from generator.engines.diffusers.estimate import decode_room, needs_of, step_room
from generator.engines.diffusers.family import family_of
from generator.engines.diffusers.memory import Needs, Part
from generator.engines.diffusers.outlook import on_cards
from generator.engines.diffusers.placing import is_denoiser
from generator.engines.diffusers.published import components, models, published

LOCAL = {model.name: model for model in Catalog.load() if model.engine is EngineKind.DIFFUSERS}
ROLES = {part: role for parts in models().values() for role, part in parts.items()}
SOME = Plan(width=960, height=544, frames=49, fps=24, credits=1)


@cache
def _built(name: str) -> Any:
    """A component without the memory for its numbers."""
    component = components()[name]
    module, _, kind = component.kind.rpartition(".")
    made = getattr(import_module(module), kind)
    options = {key: tuple(value) if isinstance(value, list) else value for key, value in component.config.items()}
    with torch.device("meta"):
        return made(made.config_class(**options)) if module == "transformers" else made(**options)


def _numbers(part: nn.Module) -> int:
    return sum(weight.numel() for weight in part.parameters())


def test_there_is_one_for_every_built_in_model_and_no_component_for_none() -> None:
    assert models().keys() == LOCAL.keys()
    assert ROLES.keys() == components().keys()


@pytest.mark.parametrize("name", components())
def test_a_component_has_as_many_numbers_as_its_configuration_makes(name: str) -> None:
    assert components()[name].numbers == _numbers(_built(name))


@pytest.mark.parametrize("name", [name for name, role in ROLES.items() if role == "vae" or is_denoiser(role)])
def test_an_estimate_reads_all_that_it_would_of_the_whole_configuration(name: str) -> None:
    kind = {"_class_name": components()[name].kind.rpartition(".")[2]}
    whole = {key: list(value) if isinstance(value, tuple) else value for key, value in _built(name).config.items()}
    some, all_of_it = {**components()[name].config, **kind}, whole | kind
    if is_denoiser(ROLES[name]):
        assert step_room(some, {}, SOME, guided=True) == step_room(all_of_it, {}, SOME, guided=True)
    else:
        assert step_room({}, some, SOME, guided=True) == step_room({}, all_of_it, SOME, guided=True)
        for tiled in (False, True):
            assert decode_room(some, 4, SOME, tiled=tiled) == decode_room(all_of_it, 4, SOME, tiled=tiled)


@pytest.mark.parametrize("name", [name for name, role in ROLES.items() if is_denoiser(role)])
def test_a_streamed_denoiser_holds_two_blocks_and_the_rest(name: str) -> None:
    lists = (part for part in _built(name).children() if isinstance(part, nn.ModuleList))
    sizes = [_numbers(block) for blocks in lists for block in blocks]
    whole = components()[name].numbers
    streamed = max(map(sum, pairwise(sizes))) + whole - sum(sizes)
    estimated = Needs.of({ROLES[name]: Part(whole, 2)}, 0, 0, 0).streamed
    assert 0.5 < streamed / whole / estimated < 1.03


@pytest.mark.parametrize("model", LOCAL.values(), ids=LOCAL)
def test_the_catalogue_says_which_cards_do_and_what_the_weights_take(model: Model) -> None:
    fitting = {card: plan.placement for card, plan in on_cards(model).items() if plan}
    fast = [card for card, placement in fitting.items() if placement is not Placement.GROUPED]
    assert model.gpu is not None
    assert (model.gpu.least, model.gpu.full) == (min(fitting), min(fast))
    needs = needs_of(published(model.name), family_of(model).precise, 2, SOME)
    assert model.weights == pytest.approx(needs.weights / 1e9, abs=0.1)
