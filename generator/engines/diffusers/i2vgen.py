"""I2VGen XL: sixteen frames of large motion."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import ClassVar, cast

from diffusers.pipelines.deprecated.i2vgen_xl.pipeline_i2vgen_xl import I2VGenXLPipeline
from diffusers.pipelines.pipeline_utils import DiffusionPipeline

from generator.engines.diffusers.decoding import decode_each
from generator.engines.diffusers.family import Family, Grid, Latents, Out, Scene
from generator.engines.diffusers.noise import Noise
from generator.engines.diffusers.weights import Sources
from generator.engines.prompts import prompt


class I2VGen(Family[I2VGenXLPipeline]):
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

    @property
    def grid(self) -> Grid:
        """Any number of frames; the catalogue names the one that the model was trained for."""
        return Grid(width=self._pipe.vae_scale_factor, height=self._pipe.vae_scale_factor, frames=1, offset=0)

    def encoders(self) -> tuple[tuple[object, str], ...]:
        """The text, and the photo as the vision model and as the VAE see it."""
        return *super().encoders(), (self._pipe, "_encode_image"), (self._pipe.vae, "encode")

    def denoise(self, scene: Scene, noise: Noise) -> Latents:
        """The pipeline samples the photo's latents without a generator: from what the runner makes the take's own."""
        pipe, plan = self._pipe, scene.plan
        across = pipe.vae_scale_factor
        made = pipe(
            image=scene.photo,
            prompt=prompt(scene.spec),
            negative_prompt=scene.spec.avoid,
            height=plan.height,
            width=plan.width,
            target_fps=plan.fps,
            num_frames=plan.frames,
            num_inference_steps=scene.steps,
            guidance_scale=scene.guidance,
            latents=noise.draw(
                (1, pipe.unet.config.in_channels, plan.frames, plan.height // across, plan.width // across)
            ).to(pipe.unet.dtype),
            output_type="latent",
            return_dict=False,
        )
        return cast("Latents", made)

    def decode(self, scene: Scene, latents: Latents, out: Out) -> None:
        """Frame by frame, as the pipeline does it."""
        del scene
        decode_each(self._pipe.vae, latents[0], out)


FAMILY = I2VGen
