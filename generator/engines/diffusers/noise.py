"""The noise that a take starts from. Drawn on the CPU, so that a seed means the same clip on every machine."""

import math

import torch

from generator.engines.base import TakeSeed


def noise_of(take: TakeSeed, shape: tuple[int, ...]) -> torch.Tensor:
    """Float32 on the CPU: what diffusers draws from a CPU generator of this seed, with the variations mixed in."""
    noise = _drawn(take.seed, shape)
    for variation in take.variations:
        noise = between(noise, _drawn(variation.seed, shape), min(max(variation.strength, 0.0), 1.0))
    return noise


def between(start: torch.Tensor, end: torch.Tensor, strength: float) -> torch.Tensor:
    """Spherical interpolation, 0 (start) to 1 (end). A straight line would pass through noise of too small a norm."""
    first, second = start.double().flatten(), end.double().flatten()
    cosine = torch.dot(first, second) / (first.norm() * second.norm())
    angle = math.acos(min(max(float(cosine), -1.0), 1.0))
    if math.sin(angle) < 1e-6:  # the same noise twice: there is nothing between
        return start
    near, far = (math.sin(part * angle) / math.sin(angle) for part in (1 - strength, strength))
    return start * near + end * far


def _drawn(seed: int, shape: tuple[int, ...]) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator("cpu").manual_seed(seed), dtype=torch.float32)
