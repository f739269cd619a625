"""The steps that the catalogue gives: at which noise levels a distilled model's few are, or how far to shift the usual
ones.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from typing import cast

import torch
from diffusers.configuration_utils import ConfigMixin
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler

from clips.catalog import Model
from generator.engines.diffusers.noise import Noise
from generator.engines.diffusers.steering import replaced


def scheduler_of(model: Model) -> FlowMatchEulerDiscreteScheduler:
    """A scheduler that goes from level to level: straight, or through the clean picture and new noise (`renoise`)."""
    return FlowMatchEulerDiscreteScheduler(shift=1.0, stochastic_sampling=model.renoise)


def shifted(scheduler: ConfigMixin, flow_shift: float) -> ConfigMixin:
    """The same scheduler with more of its steps at the noisy end, the further `flow_shift` is above 1."""
    name = "flow_shift" if "flow_shift" in scheduler.config else "shift"
    made_of = cast("Callable[..., ConfigMixin]", type(scheduler).from_config)
    return made_of(scheduler.config, **{name: flow_shift})


@contextmanager
def fixed_steps(scheduler: object, model: Model, noise: Noise) -> Generator[None]:
    """Within it, a pipeline that would ask the scheduler for a number of steps gets the model's own, where it has any.

    What noise the steps need comes from the take's generator; pipelines do not hand theirs on.
    """
    if not model.sigmas or not isinstance(scheduler, FlowMatchEulerDiscreteScheduler):
        yield
        return
    set_timesteps, step = scheduler.set_timesteps, scheduler.step

    def set_levels(
        num_inference_steps: int | None = None,
        device: torch.device | None = None,
        timesteps: object = None,
        sigmas: object = None,
        mu: float | None = None,
    ) -> None:
        del num_inference_steps, timesteps, sigmas, mu
        set_timesteps(sigmas=list(model.sigmas), device=device or "cpu")

    with (
        replaced(scheduler, "set_timesteps", set_levels),
        replaced(scheduler, "step", partial(step, generator=noise.generator)),
    ):
        yield
