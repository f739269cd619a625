"""HunyuanVideo image-to-video."""

from abc import abstractmethod
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import ClassVar, cast

import torch
from diffusers.pipelines.hunyuan_video.pipeline_hunyuan_video_image2video import HunyuanVideoImageToVideoPipeline
from diffusers.pipelines.pipeline_utils import DiffusionPipeline

from clips.catalog import Accepts, Model
from clips.errors import SetupError
from clips.step_caches import FirstBlock, StepCaches
from generator.engines.diffusers.family import IN_WORDS, Family, Grid, Latents, Out, Pipe_co, Scene, latent_frames
from generator.engines.diffusers.noise import Noise
from generator.engines.diffusers.tiles import WITHOUT_FIRST, in_time


class HunyuanFamily(Family[Pipe_co]):
    """What the HunyuanVideos of one section have in common."""

    steps = 50
    guidance = 6.0
    caches: ClassVar[AbstractSet[str]] = frozenset({"first-block", "mag"})

    @property
    def grid(self) -> Grid:
        """Pixels a latent times the latents that the transformer takes together."""
        side = self._pipe.vae_scale_factor_spatial * self._pipe.transformer.config.patch_size
        return Grid(width=side, height=side, frames=self._pipe.vae_scale_factor_temporal)

    def decode(self, scene: Scene, latents: Latents, out: Out) -> None:
        """See `pieces`."""
        del scene
        vae = self._pipe.vae
        self.pieces(latents[0].to(vae.dtype) / vae.config.scaling_factor, out)

    @abstractmethod
    def pieces(self, clip: torch.Tensor, out: Out) -> None:
        """Decode latents as the VAE takes them, and hand out frames as soon as they are final."""


class Hunyuan(HunyuanFamily[HunyuanVideoImageToVideoPipeline]):
    """See `Family`."""

    pipeline: ClassVar[type[DiffusionPipeline]] = HunyuanVideoImageToVideoPipeline
    dtype = torch.float16
    dtypes: ClassVar[Mapping[str, torch.dtype]] = {"transformer": torch.bfloat16}  # it overflows in float16
    accepts: ClassVar[AbstractSet[Accepts]] = IN_WORDS
    # Half the default of ParaAttention for HunyuanVideo T2V, and that.
    usual_caches: ClassVar[StepCaches] = StepCaches(
        balanced=FirstBlock(threshold=0.03), fast=FirstBlock(threshold=0.06)
    )

    def __init__(self, pipe: HunyuanVideoImageToVideoPipeline, model: Model) -> None:
        super().__init__(pipe, model)
        if pipe.transformer.config.image_condition_type != "token_replace":
            raise SetupError(
                f"{model.repo} has the first, 33-channel HunyuanVideo I2V, whose clips leave the photo. Take the later "
                "weights: hunyuanvideo-community/HunyuanVideo-I2V."
            )

    def encoders(self) -> tuple[tuple[object, str], ...]:
        """The photo as the VAE sees it, then text and photo together."""
        words, photo = super().encoders()
        return photo, words

    def denoise(self, scene: Scene, noise: Noise) -> Latents:
        """The guidance is an input of the distilled transformer: one call a step, and nothing to say what to avoid."""
        pipe, plan = self._pipe, scene.plan
        across = pipe.vae_scale_factor_spatial
        frames = latent_frames(plan.frames, pipe.vae_scale_factor_temporal)
        channels: int = pipe.transformer.config.in_channels
        with pipe.transformer.cache_context("cond"):  # other pipelines tell a step cache which pass it is in
            made = pipe(
                image=scene.photo,
                prompt=scene.prompt,
                height=plan.height,
                width=plan.width,
                num_frames=plan.frames,
                num_inference_steps=scene.steps,
                guidance_scale=scene.guidance,
                latents=noise.draw((1, channels, frames, plan.height // across, plan.width // across)),
                output_type="latent",
                return_dict=False,
            )
        return cast("Latents", made)

    def pieces(self, clip: torch.Tensor, out: Out) -> None:
        """The VAE always has tiles in time."""
        vae = self._pipe.vae
        in_time(vae, clip, lambda tile: vae.decode(tile, return_dict=False)[0], WITHOUT_FIRST, out.frames)


FAMILY = Hunyuan
