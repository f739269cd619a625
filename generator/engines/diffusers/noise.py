"""The noise that a take starts from. Drawn on the CPU, so that a seed means the same clip on every machine."""

import math
from collections.abc import Generator
from contextlib import contextmanager

import torch

from generator.engines.base import TakeSeed


class Noise:
    """All that is random in one take, in the order in which its pipeline asks for it.

    `generator` is the take's own, for what no variation is mixed into. `draw` takes from it too, so the two follow each
    other as they do in a plain pipeline with a generator of this seed.
    """

    def __init__(self, take: TakeSeed) -> None:
        self.generator = _generator(take.seed)
        self._seed = take.seed
        self._mixed = [
            (_generator(variation.seed), min(max(variation.strength, 0.0), 1.0)) for variation in take.variations
        ]

    def draw(self, shape: tuple[int, ...]) -> torch.Tensor:
        """Float32 on the CPU: what diffusers draws next from the take's generator, with the variations mixed in."""
        noise = _drawn(self.generator, shape)
        for generator, strength in self._mixed:
            noise = between(noise, _drawn(generator, shape), strength)
        return noise

    @contextmanager
    def everywhere(self) -> Generator[None]:
        """Within it, what asks for no generator is drawn from the take's seed too, and nothing outside notices."""
        with torch.random.fork_rng():
            torch.manual_seed(self._seed)
            yield


def between(start: torch.Tensor, end: torch.Tensor, strength: float) -> torch.Tensor:
    """Spherical interpolation, 0 (start) to 1 (end). A straight line would pass through noise of too small a norm."""
    first, second = start.double().flatten(), end.double().flatten()
    cosine = torch.dot(first, second) / (first.norm() * second.norm())
    angle = math.acos(min(max(float(cosine), -1.0), 1.0))
    if math.sin(angle) < 1e-6:  # the same noise twice: there is nothing between
        return start
    near, far = (math.sin(part * angle) / math.sin(angle) for part in (1 - strength, strength))
    return start * near + end * far


def _generator(seed: int) -> torch.Generator:
    return torch.Generator("cpu").manual_seed(seed)


def _drawn(generator: torch.Generator, shape: tuple[int, ...]) -> torch.Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float32)
