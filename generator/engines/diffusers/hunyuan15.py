"""HunyuanVideo 1.5 image-to-video: 480p and 720p, and their distilled weights."""

from typing import ClassVar, cast

import torch
from diffusers.pipelines.hunyuan_video1_5.pipeline_hunyuan_video1_5_image2video import (
    HunyuanVideo15ImageToVideoPipeline,
)
from diffusers.pipelines.pipeline_utils import DiffusionPipeline

from clips.catalog import Model
from generator.engines.diffusers.family import Latents, Out, Scene, latent_frames
from generator.engines.diffusers.hunyuan import HunyuanFamily
from generator.engines.diffusers.hunyuan15_attention import mask_keys_only
from generator.engines.diffusers.hunyuan15_decoder import continuing
from generator.engines.diffusers.noise import Noise
from generator.engines.diffusers.steering import replaced
from generator.engines.diffusers.tiles import Cut, Take, causal


class Hunyuan15(HunyuanFamily[HunyuanVideo15ImageToVideoPipeline]):
    """See `Family`."""

    pipeline: ClassVar[type[DiffusionPipeline]] = HunyuanVideo15ImageToVideoPipeline
    # bfloat16: its authors run the network so or in float32, and their example for diffusers all of it, the VAE too.

    def __init__(self, pipe: HunyuanVideo15ImageToVideoPipeline, model: Model) -> None:
        super().__init__(pipe, model)
        mask_keys_only(pipe.transformer)

    def encoders(self) -> tuple[tuple[object, str], ...]:
        """The photo as the vision model sees it, the text, and the photo as the VAE sees it."""
        return (self._pipe, "encode_image"), *super().encoders()

    def denoise(self, scene: Scene, noise: Noise) -> Latents:
        """Guidance is an object of the pipeline; so is the size, which it would pick by the photo's aspect."""
        pipe, plan = self._pipe, scene.plan
        across = pipe.vae_scale_factor_spatial
        frames = latent_frames(plan.frames, pipe.vae_scale_factor_temporal)
        pipe.guider = pipe.guider.new(guidance_scale=scene.guidance)

        def size(**_: object) -> tuple[int, int]:
            return plan.height, plan.width

        with replaced(pipe.video_processor, "calculate_default_height_width", size):
            made = pipe(
                image=scene.photo,
                prompt=scene.prompt,
                negative_prompt=scene.spec.avoid,
                num_frames=plan.frames,
                num_inference_steps=scene.steps,
                latents=noise.draw((1, pipe.num_channels_latents, frames, plan.height // across, plan.width // across)),
                output_type="latent",
                return_dict=False,
            )
        return cast("Latents", made)

    def pieces(self, clip: torch.Tensor, out: Out) -> None:
        """A latent frame at a time, see `causal`."""
        vae = self._pipe.vae
        down, right = (
            Cut(size, int(size * (1 - vae.tile_overlap_factor)), vae.spatial_compression_ratio)
            for size in (vae.tile_latent_min_height, vae.tile_latent_min_width)
        )

        def decode(latents: torch.Tensor, take: Take) -> None:
            with continuing(vae.decoder):
                for frame in latents.split(1, 2):
                    take(vae.decode(frame, return_dict=False)[0])

        causal(vae, clip, (down, right), decode, out)


FAMILY = Hunyuan15
