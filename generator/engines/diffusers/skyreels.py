"""SkyReels V2 image-to-video: Wan 2.1's parts around a network of its own."""

from collections.abc import Set as AbstractSet
from typing import ClassVar, cast

from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.pipelines.skyreels_v2.pipeline_skyreels_v2_i2v import SkyReelsV2ImageToVideoPipeline

from clips.step_caches import StepCaches
from generator.engines.diffusers.family import Latents, Scene
from generator.engines.diffusers.noise import Noise
from generator.engines.diffusers.wan import Wan
from generator.engines.prompts import prompt


class SkyReels(Wan):
    """See `Family`. The grid, the encoders and the decode are Wan's."""

    pipeline: ClassVar[type[DiffusionPipeline]] = SkyReelsV2ImageToVideoPipeline
    flow_shift = 5.0  # for photos; 8 is for words alone, and the repositories do not keep them apart
    honours: ClassVar[AbstractSet[str]] = frozenset({"flow_shift"})
    usual_caches: ClassVar[StepCaches] = StepCaches()  # nobody has published what holds

    @property
    def inputs(self) -> AbstractSet[str]:
        """The pipeline would take an end photo, for which these weights were not trained."""
        return frozenset()

    def denoise(self, scene: Scene, noise: Noise) -> Latents:
        """Classifier-free guidance runs the transformer twice a step, unless the guidance is 1."""
        pipe, plan = cast("SkyReelsV2ImageToVideoPipeline", self._pipe), scene.plan
        across, along = pipe.vae_scale_factor_spatial, pipe.vae_scale_factor_temporal
        frames = (plan.frames - 1) // along + 1
        made = pipe(
            image=scene.photo,
            prompt=prompt(scene.spec),
            negative_prompt=scene.spec.avoid,
            height=plan.height,
            width=plan.width,
            num_frames=plan.frames,
            num_inference_steps=scene.steps,
            guidance_scale=scene.guidance,
            latents=noise.draw((1, pipe.vae.config.z_dim, frames, plan.height // across, plan.width // across)),
            output_type="latent",
            return_dict=False,
        )
        return cast("Latents", made)


FAMILY = SkyReels
