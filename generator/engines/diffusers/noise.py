"""The noise that a take starts from. Drawn on the CPU, so that a seed means the same clip on every machine."""

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import cast

import torch
from torch.overrides import TorchFunctionMode

from generator.engines.base import TakeSeed
from generator.engines.diffusers.steering import replaced


class Noise:
    """All that is random in one take, in the order in which its pipeline asks for it.

    A pipeline that takes latents gets what `draw` gives. One that does not gets `generator`, and `mixed` says which of
    its functions draw the first noise. Either way a take without variations is what a plain pipeline makes of its seed.
    """

    def __init__(self, take: TakeSeed) -> None:
        self.generator = _generator(take.seed)
        self.seed = take.seed
        self._mixed = [
            (_generator(variation.seed), min(max(variation.strength, 0.0), 1.0)) for variation in take.variations
        ]

    def draw(self, shape: tuple[int, ...]) -> torch.Tensor:
        """Float32 on the CPU: what diffusers draws next from the take's generator, with the variations mixed in."""
        return self._varied(lambda generator: torch.randn(shape, generator=generator, dtype=torch.float32))

    @contextmanager
    def mixed(self, owner: object, *names: str) -> Generator[None]:
        """Within it, what these functions of `owner` draw from `generator` has the variations mixed in."""
        with ExitStack() as stack:
            for name in names if self._mixed else ():
                stack.enter_context(replaced(owner, name, self._mixing(getattr(owner, name))))
            yield

    @contextmanager
    def everywhere(self, device: torch.device | None = None) -> Generator[None]:
        """Within it, what asks for no generator is drawn from the take's seed too, and nothing outside notices."""
        with torch.random.fork_rng([device] if device is not None and device.type == "cuda" else []):
            torch.manual_seed(self.seed)
            yield

    def _varied(self, drawn: Callable[[torch.Generator], torch.Tensor]) -> torch.Tensor:
        noise = drawn(self.generator)
        for generator, strength in self._mixed:
            noise = between(noise, drawn(generator), strength)
        return noise

    def _mixing(self, function: Callable[..., object]) -> Callable[..., object]:
        take = self

        class Mixing(TorchFunctionMode):
            """Every draw from the take's generator, in this thread, is drawn from those of its variations too."""

            def __torch_function__(
                self,
                func: Callable[..., object],
                types: Sequence[type],
                args: tuple[object, ...] = (),
                kwargs: Mapping[str, object] | None = None,
            ) -> object:
                named = dict(kwargs or {})
                if func is not torch.randn or named.get("generator") is not take.generator:
                    return func(*args, **named)
                return take._varied(lambda source: cast("torch.Tensor", func(*args, **(named | {"generator": source}))))

        def mixing(*args: object, **kwargs: object) -> object:
            with Mixing():
                return function(*args, **kwargs)

        return mixing


class OnCpu(TorchFunctionMode):
    """Within it, in this thread, what would be drawn without a generator on any device comes from the CPU's, which
    `Noise.everywhere` makes the take's own: a GPU has other numbers for the same seed.
    """

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: Sequence[type],
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        named = dict(kwargs or {})
        if func is not torch.randn or named.get("generator") is not None:
            return func(*args, **named)
        there = cast("torch.device", named.get("device", torch.device("cpu")))
        drawn = func(*args, **(named | {"generator": torch.default_generator, "device": "cpu"}))
        return cast("torch.Tensor", drawn).to(there)


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
