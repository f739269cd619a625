"""LTX-Video from 0.9.5 on, 2B and 13B, whole and distilled: photos stand at any frame of the clip."""

from collections.abc import Set as AbstractSet
from typing import ClassVar, cast

import torch
from diffusers.pipelines.ltx.pipeline_ltx_condition import LTXConditionPipeline, LTXVideoCondition
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.utils.torch_utils import randn_tensor

from clips.catalog import Accepts, Model
from clips.errors import SetupError
from clips.step_caches import FirstBlock, StepCaches
from generator.engines.diffusers.family import IN_WORDS, Family, Grid, Latents, Out, Pipe_co, Scene
from generator.engines.diffusers.noise import Noise, OnCpu
from generator.engines.diffusers.schedule import fixed_steps
from generator.engines.diffusers.tiles import WITHOUT_LAST, in_time

_DECODE_TIMESTEP = 0.05  # the decoder's own last step of denoising, and the noise that it is given for it
_DECODE_NOISE = 0.025


class LtxFamily(Family[Pipe_co]):
    """What every LTX has in common. `finished` and `decode` are LTX-Video's; LTX-2 has a VAE of another kind."""

    steps = 40
    guidance = 3.0
    texts = "_get_t5_prompt_embeds"
    caches: ClassVar[AbstractSet[str]] = frozenset({"first-block", "mag"})
    # The defaults of diffusers, and of Comfy-WaveSpeed for LTX-Video 0.9.1 in 30 steps.
    usual_caches: ClassVar[StepCaches] = StepCaches(balanced=FirstBlock(threshold=0.05), fast=FirstBlock(threshold=0.1))

    @property
    def grid(self) -> Grid:
        """The VAE's steps; the transformer takes each latent by itself."""
        across = self._pipe.vae_spatial_compression_ratio * self._pipe.transformer_spatial_patch_size
        return Grid(width=across, height=across, frames=self._pipe.vae_temporal_compression_ratio)

    def finished(self, clip: torch.Tensor, noise: Noise) -> Latents:
        """The latents as the VAE takes them, and the noise that one with a timestep wants mixed in."""
        vae = self._pipe.vae
        mean, std = (numbers.view(1, -1, 1, 1, 1).to(clip) for numbers in (vae.latents_mean, vae.latents_std))
        clip = (clip * std / vae.config.scaling_factor + mean).to(vae.dtype)
        if not vae.config.timestep_conditioning:
            return (clip,)
        return clip, randn_tensor(clip.shape, generator=noise.generator, device=clip.device, dtype=clip.dtype)

    def decode(self, scene: Scene, latents: Latents, out: Out) -> None:
        """Whole, because a frame depends on those after it; in tiles, one of them after another."""
        del scene
        clip, *mixed = latents
        timestep = None
        if mixed:
            timestep, share = (
                torch.tensor([number], device=clip.device, dtype=clip.dtype)
                for number in (_DECODE_TIMESTEP, _DECODE_NOISE)
            )
            clip = (1 - share) * clip + share * mixed[0]
        self.pieces(clip, timestep, out)

    def pieces(self, clip: torch.Tensor, timestep: torch.Tensor | None, out: Out) -> None:
        """Decode latents as the VAE takes them."""
        vae = self._pipe.vae
        with OnCpu():  # the first VAEs mix noise into what they decode
            in_time(vae, clip, lambda tile: vae.decode(tile, timestep, return_dict=False)[0], WITHOUT_LAST, out.frames)

    def tile(self) -> None:
        """In time too."""
        super().tile()
        self._pipe.vae.use_framewise_decoding = True


class Ltx(LtxFamily[LTXConditionPipeline]):
    """See `Family`."""

    pipeline: ClassVar[type[DiffusionPipeline]] = LTXConditionPipeline
    honours = frozenset({"sigmas", "renoise"})
    accepts: ClassVar[AbstractSet[Accepts]] = IN_WORDS | {Accepts.AVOID, Accepts.CONSISTENCY, Accepts.END_PHOTO}

    def __init__(self, pipe: LTXConditionPipeline, model: Model) -> None:
        if pipe.scheduler.config.use_dynamic_shifting:
            raise SetupError(f'{model.name} is older than LTX-Video 0.9.5. Set family = "ltx_first" in the catalogue.')
        super().__init__(pipe, model)

    def denoise(self, scene: Scene, noise: Noise) -> Latents:
        """The less consistency, the more noise the photos get at each step: the scene is freer to move.

        The scale at the usual 0.7 is the pipeline's own.
        """
        plan = scene.plan
        conditions = [LTXVideoCondition(image=scene.photo, frame_index=0)]
        if scene.end_photo is not None:
            conditions.append(LTXVideoCondition(image=scene.end_photo, frame_index=plan.frames - 1))
        with noise.mixed(self._pipe, "prepare_latents"), fixed_steps(self._pipe.scheduler, self._model, noise):
            made = self._pipe(
                conditions=conditions,
                prompt=scene.prompt,
                negative_prompt=scene.spec.avoid,
                height=plan.height,
                width=plan.width,
                num_frames=plan.frames,
                frame_rate=plan.fps,
                num_inference_steps=scene.steps,
                guidance_scale=scene.guidance,
                image_cond_noise_scale=(1 - scene.consistency) / 2,
                generator=noise.generator,
                output_type="latent",
                return_dict=False,
            )
        return self.finished(cast("tuple[torch.Tensor]", made)[0], noise)


FAMILY = Ltx
