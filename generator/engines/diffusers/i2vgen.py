"""I2VGen XL: sixteen frames of large motion."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import ClassVar, cast

from diffusers.pipelines.deprecated.i2vgen_xl.pipeline_i2vgen_xl import I2VGenXLPipeline
from diffusers.pipelines.pipeline_utils import DiffusionPipeline

from generator.engines.diffusers.family import Latents, Scene
from generator.engines.diffusers.noise import Noise, OnCpu
from generator.engines.diffusers.unets import StillUnet
from generator.engines.diffusers.weights import Sources

_TOLD_FPS = 16  # what the network is told that it makes, at which pace the clip may be played after all


class I2VGen(StillUnet[I2VGenXLPipeline]):
    """See `Family`."""

    pipeline: ClassVar[type[DiffusionPipeline]] = I2VGenXLPipeline
    steps = 50
    guidance = 9.0

    @classmethod
    def assemble(cls, sources: Sources, parts: Mapping[str, object]) -> DiffusionPipeline:
        """The pipeline looks for the last norm of the text encoder where transformers 4 had it."""
        pipe = super().assemble(sources, parts)
        encoder = pipe.text_encoder
        if not hasattr(encoder, "text_model"):
            encoder.text_model = SimpleNamespace(final_layer_norm=encoder.final_layer_norm)
        return pipe

    def encoders(self) -> tuple[tuple[object, str], ...]:
        """The text, and the photo as the vision model and as the VAE see it."""
        words, photo = super().encoders()
        return words, (self._pipe, "_encode_image"), photo

    def denoise(self, scene: Scene, noise: Noise) -> Latents:
        """The pipeline samples the photo's latents without a generator."""
        pipe, plan = self._pipe, scene.plan
        across = pipe.vae_scale_factor
        shape = (1, pipe.unet.config.in_channels, plan.frames, plan.height // across, plan.width // across)
        with OnCpu():
            made = pipe(
                image=scene.photo,
                prompt=scene.prompt,
                negative_prompt=scene.spec.avoid,
                height=plan.height,
                width=plan.width,
                target_fps=_TOLD_FPS,
                num_frames=plan.frames,
                num_inference_steps=scene.steps,
                guidance_scale=scene.guidance,
                latents=noise.draw(shape).to(pipe.unet.dtype),
                output_type="latent",
                return_dict=False,
            )
        return cast("Latents", made)


FAMILY = I2VGen
