"""Wan image-to-video: 2.1 I2V and FLF2V 14B, 2.2 I2V-A14B with its two transformers, 2.2 TI2V-5B, and what is distilled
from them.
"""

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from typing import ClassVar, cast

import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import unpatchify
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.pipelines.wan.pipeline_wan_i2v import WanImageToVideoPipeline

from clips.catalog import Accepts, Model
from clips.domain import Plan
from clips.errors import MemberError, SetupError
from clips.step_caches import FirstBlock, StepCaches
from generator.engines.diffusers.family import IN_WORDS, Family, Grid, Latents, Out, Scene, latent_frames
from generator.engines.diffusers.noise import Noise
from generator.engines.diffusers.schedule import fixed_steps
from generator.engines.diffusers.tiles import Cut, Take, causal


class Wan(Family[WanImageToVideoPipeline]):
    """See `Family`."""

    pipeline: ClassVar[type[DiffusionPipeline]] = WanImageToVideoPipeline
    precise = frozenset({"vae", "image_encoder"})  # in bfloat16 the VAE shows bands and flicker
    steps = 50
    guidance = 5.0
    texts = "_get_t5_prompt_embeds"
    honours: ClassVar[AbstractSet[str]] = frozenset({"sigmas", "renoise", "guidance_2", "flow_shift"})
    accepts: ClassVar[AbstractSet[Accepts]] = IN_WORDS | {Accepts.AVOID, Accepts.END_PHOTO}
    caches: ClassVar[AbstractSet[str]] = frozenset({"first-block", "mag"})
    # Defaults of ParaAttention (ad03f9c, for Wan 2.1 T2V) and, before it was lowered there, of both it and diffusers.
    usual_caches: ClassVar[StepCaches] = StepCaches(
        balanced=FirstBlock(threshold=0.03), fast=FirstBlock(threshold=0.05)
    )

    def __init__(self, pipe: WanImageToVideoPipeline, model: Model) -> None:
        """Of two transformers, the second has the guidance of the first where the entry gives it none."""
        super().__init__(pipe, model)
        has_second = pipe.config.get("boundary_ratio") is not None
        if model.guidance_2 is not None and not has_second:
            raise SetupError(
                "`guidance_2` is that of a second transformer, and there is one. Take it out of the catalogue's entry."
            )
        if has_second and model.guidance_2 is None:
            self._model = self._model.model_copy(update={"guidance_2": self._model.guidance})

    @property
    def grid(self) -> Grid:
        """Pixels a latent times the latents that the transformer takes together."""
        across, along = self._pipe.vae_scale_factor_spatial, self._pipe.vae_scale_factor_temporal
        _, down, right = cast("tuple[int, int, int]", self._pipe.transformer.config.patch_size)
        return Grid(width=across * right, height=across * down, frames=along)

    @property
    def inputs(self) -> AbstractSet[str]:
        """TI2V ignores an end photo, and 2.1 I2V has an image encoder that knows one photo."""
        one_photo = (
            Accepts.END_PHOTO not in self.accepts
            or self._pipe.config["expand_timesteps"]
            or (self._pipe.image_encoder is not None and not self._pairs)
        )
        return frozenset() if one_photo else frozenset({"end_photo"})

    @property
    def _pairs(self) -> bool:
        """FLF2V: the image encoder's photos come in pairs, with an embedding of their positions."""
        return self._pipe.transformer.config.pos_embed_seq_len is not None

    def check(self, plan: Plan, inputs: AbstractSet[str]) -> None:
        """FLF2V goes from one photo to another and can do nothing else."""
        super().check(plan, inputs)
        if self._pairs and "end_photo" not in inputs:
            raise MemberError(
                f"{self._model.title} goes from the photo to an end photo. Add an end photo, or pick another model."
            )

    def encoders(self) -> tuple[tuple[object, str], ...]:
        """The text, and the photos as the image encoder and the VAE see them."""
        seen = ((self._pipe, "encode_image"),) if self._pipe.image_encoder is not None else ()
        words, photos = super().encoders()
        return words, *seen, photos

    def denoise(self, scene: Scene, noise: Noise) -> Latents:
        """Classifier-free guidance runs the transformer twice a step, unless the guidance is 1."""
        plan = scene.plan
        across, along = self._pipe.vae_scale_factor_spatial, self._pipe.vae_scale_factor_temporal
        frames = latent_frames(plan.frames, along)
        with fixed_steps(self._pipe.scheduler, self._model, noise):
            return cast("Callable[..., tuple[torch.Tensor]]", self._pipe)(
                image=scene.photo,
                prompt=scene.prompt,
                negative_prompt=scene.spec.avoid,
                height=plan.height,
                width=plan.width,
                num_frames=plan.frames,
                num_inference_steps=scene.steps,
                guidance_scale=scene.guidance,
                latents=noise.draw(
                    (1, self._pipe.vae.config.z_dim, frames, plan.height // across, plan.width // across)
                ),
                output_type="latent",
                return_dict=False,
                **self.further(scene),
            )

    def further(self, scene: Scene) -> Mapping[str, object]:
        """What this pipeline takes and not every one that is like it."""
        return {"last_image": scene.end_photo, "guidance_scale_2": self._model.guidance_2}

    def decode(self, scene: Scene, latents: Latents, out: Out) -> None:
        """See `causal`."""
        del scene
        vae = self._pipe.vae
        clip = latents[0].to(vae.dtype)
        mean, std = (
            torch.tensor(numbers).view(1, -1, 1, 1, 1) for numbers in (vae.config.latents_mean, vae.config.latents_std)
        )
        # Divided by the inverse, as the pipeline does it: the same bits.
        clip = clip / (1.0 / std).to(clip) + mean.to(clip)
        patch: int = vae.config.patch_size or 1
        across = vae.spatial_compression_ratio
        down, right = (
            Cut(size // across, stride // across, across // patch)
            for size, stride in (
                (vae.tile_sample_min_height, vae.tile_sample_stride_height),
                (vae.tile_sample_min_width, vae.tile_sample_stride_width),
            )
        )
        causal(vae, clip, (down, right), self._pieces, out, lambda made: unpatchify(made, patch).clamp_(-1, 1))

    def _pieces(self, latents: torch.Tensor, take: Take) -> None:
        """The decoder is causal and called once a latent frame, so each call's output is final: it is handed out, and
        an empty one takes its place in the clip that the VAE would put together.
        """
        vae = self._pipe.vae

        def stream(_: object, __: object, made: torch.Tensor) -> torch.Tensor:
            take(made)
            return made.new_empty((*made.shape[:2], 0, *made.shape[3:]))

        hook = vae.decoder.register_forward_hook(stream)
        try:
            vae.decode(latents, return_dict=False)
        finally:
            hook.remove()
            vae.clear_cache()


FAMILY = Wan
