"""PIA: a Stable Diffusion 1.5 model of images, and an adapter that moves what it paints."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, cast

from diffusers.pipelines.deprecated.pia.pipeline_pia import PIAPipeline
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler

from clips.domain import ClipSpec, Strength
from generator.engines.diffusers.family import Latents, Scene
from generator.engines.diffusers.noise import Noise
from generator.engines.diffusers.unets import StillUnet
from generator.engines.diffusers.weights import Sources
from generator.engines.prompts import described

if TYPE_CHECKING:
    from diffusers.models.modeling_utils import ModelMixin

_MOTION_SCALES = {Strength.LOW: 0, Strength.MEDIUM: 1, Strength.HIGH: 2}


class Pia(StillUnet[PIAPipeline]):
    """See `Family`."""

    pipeline: ClassVar[type[DiffusionPipeline]] = PIAPipeline
    steps = 25
    guidance = 7.5
    makes_denoiser = True

    @classmethod
    def assemble(cls, sources: Sources, parts: Mapping[str, object]) -> DiffusionPipeline:
        """The pipeline makes one network of the image model's and the adapter, on the CPU.

        It cannot run the scheduler that Stable Diffusion comes with.
        """
        pipe = super().assemble(sources, parts)
        pipe.unet.to(cast("ModelMixin", parts["unet"]).device)
        pipe.register_modules(
            motion_adapter=None,  # its weights are in the network now
            scheduler=EulerDiscreteScheduler.from_config(pipe.scheduler.config),
        )
        return pipe

    def prompt(self, spec: ClipSpec) -> str:
        """How much moves is the motion scale, not words."""
        return described(spec)

    def denoise(self, scene: Scene, noise: Noise) -> Latents:
        """The generator serves the noise, then the photo's latents."""
        pipe, plan = self._pipe, scene.plan
        across = pipe.vae_scale_factor
        shape = (1, pipe.vae.config.latent_channels, plan.frames, plan.height // across, plan.width // across)
        made = pipe(
            image=scene.photo,
            prompt=scene.prompt,
            negative_prompt=scene.spec.avoid,
            height=plan.height,
            width=plan.width,
            num_frames=plan.frames,
            num_inference_steps=scene.steps,
            guidance_scale=scene.guidance,
            motion_scale=_MOTION_SCALES[scene.spec.strength],
            latents=noise.draw(shape).to(pipe.unet.dtype),
            generator=noise.generator,  # samples the photo's latents, after the noise
            output_type="latent",
            return_dict=False,
        )
        return cast("Latents", made)


FAMILY = Pia
