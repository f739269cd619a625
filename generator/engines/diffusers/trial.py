"""A loaded model tried before a member waits for it: two steps of a usual clip, from a grey photo."""

import logging
from dataclasses import replace

import torch
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from PIL import Image

from clips.catalog import Accepts, Model
from clips.domain import ClipSpec
from clips.errors import FatalEngineError
from generator.engines.base import TakeSeed
from generator.engines.diffusers.family import Family
from generator.engines.diffusers.gpu_memory import is_fatal, is_out_of_memory
from generator.engines.diffusers.noise import Noise
from generator.engines.diffusers.steering import StepBar, replaced

log = logging.getLogger(__name__)

_STEPS = 2


def works(model: Model, family: Family[DiffusionPipeline], pipe: DiffusionPipeline) -> bool:
    """Whether it renders; what is compiled for the size is compiled by it. Too little memory is a render's to notice,
    and to mend. Raises `FatalEngineError`.
    """
    spec = ClipSpec(model.name)
    plan = model.plan(spec, model.sizes[model.default_size])
    photo = Image.new("RGB", (plan.width, plan.height), "grey")
    scene = replace(family.scene(spec, plan, photo, photo if Accepts.END_PHOTO in model.needs else None), steps=_STEPS)
    bar = StepBar(_Unheard(), 0, _STEPS)
    try:
        with torch.no_grad(), replaced(pipe, "progress_bar", bar):
            family.denoise(scene, Noise(TakeSeed(index=0, seed=0)))
    except Exception as error:  # kernels and compilers fail in ways of their own
        if is_fatal(error):
            raise FatalEngineError(f"{model.name}: the GPU failed: {error}") from error
        if not is_out_of_memory(error):
            log.warning("%s cannot be sped up here: %s", model.name, (str(error).strip() or "?").splitlines()[0])
            return False
    finally:
        pipe.maybe_free_model_hooks()
    return True


class _Unheard:
    """The context of work that nobody waits for."""

    def report(self, phase: str, done: int, total: int) -> None: ...

    def raise_if_cancelled(self) -> None: ...
