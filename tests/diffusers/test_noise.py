"""The noise of a take: its seed's own, and between two seeds along the sphere."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_harness import Collected, Told, job_of
from families import FAMILIES
from hypothesis import given
from hypothesis import strategies as st
from tiny import Tiny
from torch.overrides import TorchFunctionMode

from clips.domain import ClipSpec
from generator.engines.base import TakeSeed, Variation
from generator.engines.diffusers.noise import Noise, between
from generator.engines.diffusers.runner import Runner

SHAPE = (1, 48, 4, 8, 12)


def _drawn(take: TakeSeed) -> torch.Tensor:
    return Noise(take).draw(SHAPE)


def test_a_seed_is_what_diffusers_draws() -> None:
    drawn = torch.randn(SHAPE, generator=torch.Generator("cpu").manual_seed(7))
    assert torch.equal(_drawn(TakeSeed(0, 7)), drawn)


@given(st.floats(0, 1))
def test_what_lies_between_is_noise_too(strength: float) -> None:
    noise = _drawn(TakeSeed(0, 7, (Variation(8, strength),)))
    assert noise.dtype == torch.float32
    assert abs(float(noise.std()) - 1) < 0.03, "a straight line would shrink to 0.7 in the middle"


def test_the_ends_are_the_seeds() -> None:
    first, second = _drawn(TakeSeed(0, 7)), _drawn(TakeSeed(0, 8))
    assert torch.equal(_drawn(TakeSeed(0, 7, (Variation(8, 0.0),))), first)
    assert torch.allclose(_drawn(TakeSeed(0, 7, (Variation(8, 1.0),))), second, atol=1e-6)


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
def test_between_a_noise_and_itself_is_itself(strength: float) -> None:
    noise = _drawn(TakeSeed(0, 7))
    assert torch.equal(between(noise, noise, strength), noise)


def test_what_is_asked_for_later_follows_as_in_a_plain_pipeline() -> None:
    plain, noise = torch.Generator("cpu").manual_seed(7), Noise(TakeSeed(0, 7, (Variation(8, 0.0),)))
    for shape in (SHAPE, (1, 8, 5)):
        assert torch.equal(noise.draw(shape), torch.randn(shape, generator=plain))
    assert torch.equal(torch.randn(3, generator=noise.generator), torch.randn(3, generator=plain))


def test_what_asks_for_no_generator_is_the_takes_own_too() -> None:
    torch.manual_seed(1)
    outside = torch.randn(4)
    torch.manual_seed(1)
    with Noise(TakeSeed(0, 7)).everywhere():
        inside = torch.randn(4)
    assert torch.equal(inside, torch.randn(4, generator=torch.Generator("cpu").manual_seed(7)))
    assert torch.equal(torch.randn(4), outside), "nothing outside notices"


class Drawn(TorchFunctionMode):
    """Notes the generators of all draws."""

    def __init__(self) -> None:
        self.generators: list[torch.Generator | None] = []

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: Sequence[type],
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> object:
        named = dict(kwargs or {})
        if func in {torch.randn, torch.rand, torch.randn_like, torch.rand_like, torch.Tensor.normal_}:
            self.generators.append(named.get("generator"))
        return func(*args, **named)


@pytest.mark.parametrize("tiny", FAMILIES, ids=lambda tiny: tiny.entry)
def test_no_family_draws_from_the_devices_own_generator(tiny: Tiny, shelf: Path, photo: Path) -> None:
    """Which on a GPU has other numbers."""
    model = tiny.model(tiny.saved(shelf))
    runner = Runner.load(model, "cpu", Told())
    job = job_of(photo, 7, plan=tiny.plan, spec=ClipSpec(model=tiny.entry, motion="rain"))
    with Drawn() as drawn:
        runner.render(replace(job, inputs={"photo": photo, **dict.fromkeys(tiny.needs, photo)}), Collected(), Told())
    runner.close()
    assert drawn.generators and all(drawn.generators)
