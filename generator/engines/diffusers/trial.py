"""What makes a loaded model faster, tried before a member waits for it: a few steps of clips from a grey photo.

Each lever is tried with those that work, and what fails is let go of alone. What is compiled is compiled by it, once
for all sizes, aspects and lengths.
"""

import logging
import math
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace

import torch
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from PIL import Image
from torch.fx.experimental import _config as shapes_config  # the one way to tell the compiler

from clips.catalog import Accepts, Model, Placement, Speed
from clips.domain import ClipSpec, Plan
from clips.errors import FatalEngineError, ZoetropeError, first_line
from generator.engines.base import Context, TakeSeed
from generator.engines.diffusers.family import Family, Scene
from generator.engines.diffusers.gpu_memory import is_fatal, is_out_of_memory
from generator.engines.diffusers.noise import Noise
from generator.engines.diffusers.speed import Levers, offered, pull
from generator.engines.diffusers.steering import StepBar, replaced

log = logging.getLogger(__name__)

_STEPS = 2
"""So that a second denoiser has its turn too. A distilled model's are few, and fixed."""
_UPRIGHT = (3, 4)
_MOST_GRAPHS = 64
"""Of one function. The compiler's own 8 are soon used up where several models of a family share their blocks: LTX-2
alone has 6, for picture and sound together and apart, with and without guidance.
"""


def speed_up(
    model: Model,
    family: Family[DiffusionPipeline],
    pipe: DiffusionPipeline,
    placement: Placement,
    speed: Speed,
    context: Context,
) -> Levers:
    """Pull what the preset offers and works here, told as `warm` in steps. Too little memory is a render's to notice,
    and to mend. Raises `FatalEngineError`, and what `context` raises.
    """
    offer = offered(pipe, speed, placement, family.step_caches(model))
    scenes = [_scene(model, family, plan) for plan in clips_to_try(model)]
    small, all_of_them = family.updates(scenes[-1]), sum(map(family.updates, scenes))
    total = bool(offer.attention) + small * (offer.cache is not None) + all_of_them * offer.compiled
    trial = _Trial(model, family, pipe, context, total)
    # A kernel that lacks what the model asks of it, masks for one, says so in the first step, however small.
    if offer.attention:
        kernels = [replace(trial.levers, attention=kernel) for kernel in offer.attention]
        trial.pull_first_that_works(kernels, scenes[-1:], 1, _FirstStep)
    if offer.cache is not None:
        trial.pull_first_that_works([replace(trial.levers, cache=offer.cache)], scenes[-1:], small)
    if offer.compiled:
        trial.pull_first_that_works([replace(trial.levers, compiled=True)], scenes, all_of_them)
    return trial.levers


class _Trial:
    """Clips rendered with one lever more each time, after which those are pulled that work."""

    def __init__(
        self, model: Model, family: Family[DiffusionPipeline], pipe: DiffusionPipeline, context: Context, total: int
    ) -> None:
        self.levers = Levers()
        self._model = model
        self._family = family
        self._pipe = pipe
        self._context = context
        self._done = 0
        self._total = total

    def pull_first_that_works(
        self, wishes: Sequence[Levers], scenes: Sequence[Scene], steps: int, bar: type[StepBar] = StepBar
    ) -> None:
        """Pull the first of the wishes that works, or what was pulled before. However many are tried, they count as
        so many steps.
        """
        for wish in wishes:
            if self._works(wish, scenes, bar):
                self.levers = wish
                break
        else:
            self._pull(self.levers)
        self._done += steps

    def _works(self, wish: Levers, scenes: Sequence[Scene], bar: type[StepBar]) -> bool:
        try:
            self._pull(wish)
            with torch.no_grad(), for_every_shape():
                self._render(scenes, bar)
        except ZoetropeError:
            raise
        except Exception as error:  # kernels and compilers fail in ways of their own
            name, reason = self._model.name, reason_of(error)
            if is_fatal(error):
                raise FatalEngineError(f"{name}: the GPU failed: {reason}") from error
            if not is_out_of_memory(error):
                log.warning("%s does not work with %s here: %s", name, wish.said, reason)
                return False
        return True

    def _render(self, scenes: Sequence[Scene], bar: type[StepBar]) -> None:
        done = self._done
        for scene in scenes:
            steps = bar(self._context, done, self._total, "warm")
            try:
                with replaced(self._pipe, "progress_bar", steps), suppress(_Enough):
                    self._family.denoise(scene, Noise(TakeSeed(index=0, seed=0)))
            finally:
                self._pipe.maybe_free_model_hooks()
            done += self._family.updates(scene)

    def _pull(self, levers: Levers) -> None:
        ratios = self._family.step_caches(self._model).ratios
        pull(self._pipe, levers, ratios, self._family.steps_of(self._family.entry))


class _Enough(Exception):  # noqa: N818 - nothing is wrong
    """A first step was made."""


class _FirstStep(StepBar):
    """Ends a render after its first step, as a cancel would."""

    def update(self, n: int = 1) -> None:
        super().update(n)
        if n:
            raise _Enough


def reason_of(error: Exception) -> str:
    """Why something failed, in a line. The compiler's errors have the cause within."""
    return first_line(getattr(error, "inner_exception", error))


def clips_to_try(model: Model) -> list[Plan]:
    """The usual clip and, where it is another, the smallest upright one.

    Blocks are compiled for any number of tokens. Should the compiler take something of the first clip for a rule all
    the same, it learns better from one that has another width, height and length, and that costs little.
    """
    usual = model.plan(ClipSpec(model.name), None)
    smallest = min(model.sizes, key=lambda size: math.prod(model.sizes[size]))
    other = model.plan(ClipSpec(model.name, size=smallest, seconds=0), _UPRIGHT)
    return [usual] if other == usual else [usual, other]


def _scene(model: Model, family: Family[DiffusionPipeline], plan: Plan) -> Scene:
    photo = Image.new("RGB", (plan.width, plan.height), "grey")
    scene = family.scene(ClipSpec(model.name), plan, photo, photo if Accepts.END_PHOTO in model.needs else None)
    return scene if model.sigmas else replace(scene, steps=_STEPS)


@contextmanager
def for_every_shape() -> Generator[None]:
    """Within it the compiler takes no two sides that happen to be as long for the same one, and makes as many graphs
    as it needs. For renders too: they compile what the trial had no memory for.
    """
    shapes = shapes_config.patch(use_duck_shape=False)  # pyright: ignore[reportAttributeAccessIssue] - made at run time
    graphs = torch._dynamo.config.patch(recompile_limit=_MOST_GRAPHS)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - public but for its name
    with shapes, graphs:
        yield
