"""The noise of a take: its seed's own, and between two seeds along the sphere."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from generator.engines.base import TakeSeed, Variation
from generator.engines.diffusers.noise import between, noise_of

SHAPE = (1, 48, 4, 8, 12)


def test_a_seed_is_what_diffusers_draws() -> None:
    drawn = torch.randn(SHAPE, generator=torch.Generator("cpu").manual_seed(7))
    assert torch.equal(noise_of(TakeSeed(0, 7), SHAPE), drawn)


@given(st.floats(0, 1))
def test_what_lies_between_is_noise_too(strength: float) -> None:
    noise = noise_of(TakeSeed(0, 7, (Variation(8, strength),)), SHAPE)
    assert noise.dtype == torch.float32
    assert abs(float(noise.std()) - 1) < 0.03, "a straight line would shrink to 0.7 in the middle"


def test_the_ends_are_the_seeds() -> None:
    first, second = noise_of(TakeSeed(0, 7), SHAPE), noise_of(TakeSeed(0, 8), SHAPE)
    assert torch.equal(noise_of(TakeSeed(0, 7, (Variation(8, 0.0),)), SHAPE), first)
    assert torch.allclose(noise_of(TakeSeed(0, 7, (Variation(8, 1.0),)), SHAPE), second, atol=1e-6)


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
def test_between_a_noise_and_itself_is_itself(strength: float) -> None:
    noise = noise_of(TakeSeed(0, 7), SHAPE)
    assert torch.equal(between(noise, noise, strength), noise)
