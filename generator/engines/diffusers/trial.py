"""A loaded model tried before a member waits for it: a few steps of a usual clip, from a grey photo.

What is compiled is compiled by it, once for all sizes, aspects and lengths.
"""

import logging
import math
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace

import torch
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from PIL import Image
from torch.fx.experimental import _config as shapes_config  # the one way to tell the compiler

from clips.catalog import Accepts, Model
from clips.domain import ClipSpec, Plan
from clips.errors import FatalEngineError, ZoetropeError, first_line
from generator.engines.base import Context, TakeSeed
from generator.engines.diffusers.family import Family, Scene
from generator.engines.diffusers.gpu_memory import is_fatal, is_out_of_memory
from generator.engines.diffusers.noise import Noise
from generator.engines.diffusers.steering import StepBar, replaced

log = logging.getLogger(__name__)

_STEPS = 2
"""So that a second denoiser has its turn too. A distilled model's are few, and fixed."""
_UPRIGHT = (3, 4)
_MOST_GRAPHS = 64
"""Of one function. The compiler's own 8 are soon used up where several models of a family share their blocks: LTX-2
alone has 6, for picture and sound together and apart, with and without guidance.
"""


def works(
    model: Model, family: Family[DiffusionPipeline], pipe: DiffusionPipeline, context: Context, *, compiled: bool
) -> bool:
    """Whether it renders, told as `warm` in steps. Too little memory is a render's to notice, and to mend.

    Raises `FatalEngineError`, and what `context` raises.
    """
    scenes = [_scene(model, family, plan) for plan in clips_to_try(model, compiled=compiled)]
    done, total = 0, sum(map(family.updates, scenes))
    try:
        with torch.no_grad(), _for_every_shape():
            for scene in scenes:
                with replaced(pipe, "progress_bar", StepBar(context, done, total, "warm")):
                    family.denoise(scene, Noise(TakeSeed(index=0, seed=0)))
                pipe.maybe_free_model_hooks()
                done += family.updates(scene)
    except ZoetropeError:
        raise
    except Exception as error:  # kernels and compilers fail in ways of their own
        if is_fatal(error):
            raise FatalEngineError(f"{model.name}: the GPU failed: {error}") from error
        if not is_out_of_memory(error):
            log.warning("%s cannot be sped up here: %s", model.name, first_line(error))
            return False
    finally:
        pipe.maybe_free_model_hooks()
    return True


def clips_to_try(model: Model, *, compiled: bool) -> list[Plan]:
    """The usual clip; where blocks are compiled, also the smallest upright one.

    Blocks are compiled for any number of tokens. Should the compiler take something of the first clip for a rule all
    the same, it learns better from one that has another width, height and length, and that costs little.
    """
    usual = model.plan(ClipSpec(model.name), None)
    if not compiled:
        return [usual]
    smallest = min(model.sizes, key=lambda size: math.prod(model.sizes[size]))
    other = model.plan(ClipSpec(model.name, size=smallest, seconds=0), _UPRIGHT)
    return [usual] if other == usual else [usual, other]


def _scene(model: Model, family: Family[DiffusionPipeline], plan: Plan) -> Scene:
    photo = Image.new("RGB", (plan.width, plan.height), "grey")
    scene = family.scene(ClipSpec(model.name), plan, photo, photo if Accepts.END_PHOTO in model.needs else None)
    return scene if model.sigmas else replace(scene, steps=_STEPS)


@contextmanager
def _for_every_shape() -> Generator[None]:
    """Within it the compiler takes no two sides that happen to be as long for the same one, and makes as many graphs
    as it needs.
    """
    shapes = shapes_config.patch(use_duck_shape=False)  # pyright: ignore[reportAttributeAccessIssue] - made at run time
    graphs = torch._dynamo.config.patch(recompile_limit=_MOST_GRAPHS)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - public but for its name
    with shapes, graphs:
        yield
