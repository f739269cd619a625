"""Wan image-to-video: 2.2 TI2V-5B."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, cast

import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import unpatchify
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.pipelines.wan.pipeline_wan_i2v import WanImageToVideoPipeline

from clips.domain import ClipSpec, Plan, Strength
from clips.errors import MemberError, SetupError
from generator.engines.diffusers.family import Emit, Scene

_STILL_PHOTO = "the scene comes to life with natural, lifelike motion"
_STRENGTH = {
    Strength.LOW: "subtle, slow, gentle movement",
    Strength.MEDIUM: "",
    Strength.HIGH: "strong, fast, energetic movement",
}


class Wan:
    """See `Family`."""

    pipeline: ClassVar[type[DiffusionPipeline]] = WanImageToVideoPipeline
    precise: ClassVar[frozenset[str]] = frozenset({"vae"})  # in bfloat16 it shows bands and flicker
    steps: ClassVar[int] = 50
    guidance: ClassVar[float] = 5.0

    def __init__(self, pipe: DiffusionPipeline) -> None:
        self._pipe = cast("WanImageToVideoPipeline", pipe)

    def encoders(self) -> tuple[tuple[object, str], ...]:
        """The text, and the photo as the VAE sees it."""
        return (self._pipe, "encode_prompt"), (self._pipe.vae, "encode")

    def noise_shape(self, plan: Plan, inputs: Mapping[str, Path]) -> tuple[int, ...]:
        """The pipeline would round a size or length that does not fit, and ignore an end photo."""
        if set(inputs) != {"photo"}:
            raise MemberError("This model takes one photo and no end photo. Leave that out, or pick another model.")
        across, along = self._pipe.vae_scale_factor_spatial, self._pipe.vae_scale_factor_temporal
        patch: tuple[int, int, int] = self._pipe.transformer.config.patch_size
        if (plan.frames - 1) % along or plan.height % (across * patch[1]) or plan.width % (across * patch[2]):
            raise SetupError(
                f"Wan cannot render {plan.width}x{plan.height} with {plan.frames} frames: it takes multiples of "
                f"{across * patch[2]}x{across * patch[1]} and {along}n + 1 frames. Mend the catalogue's entry."
            )
        frames = (plan.frames - 1) // along + 1
        return 1, self._pipe.vae.config.z_dim, frames, plan.height // across, plan.width // across

    def denoise(self, scene: Scene, noise: torch.Tensor) -> torch.Tensor:
        """Classifier-free guidance runs the transformer twice a step, unless the guidance is 1."""
        made = self._pipe(
            image=scene.photo,
            prompt=prompt(scene.spec),
            negative_prompt=scene.spec.avoid,
            height=scene.plan.height,
            width=scene.plan.width,
            num_frames=scene.plan.frames,
            num_inference_steps=scene.steps,
            guidance_scale=scene.guidance,
            latents=noise,
            output_type="latent",
            return_dict=False,
        )
        return cast("tuple[torch.Tensor]", made)[0]

    def decode(self, latents: torch.Tensor, emit: Emit) -> None:
        """The decoder is causal and called once a latent frame, so each call's output is final: it goes out at once,
        and an empty one takes its place in the clip that the VAE would put together.
        """
        vae = self._pipe.vae
        latents = latents.to(vae.dtype)
        mean, std = (
            torch.tensor(numbers).view(1, -1, 1, 1, 1) for numbers in (vae.config.latents_mean, vae.config.latents_std)
        )
        # Divided by the inverse, as the pipeline does it: the same bits.
        latents = latents / (1.0 / std).to(latents) + mean.to(latents)

        def stream(_: object, __: object, made: torch.Tensor) -> torch.Tensor:
            emit(unpatchify(made, vae.config.patch_size or 1).clamp(-1, 1))
            return made.new_empty((*made.shape[:2], 0, *made.shape[3:]))

        if vae.use_tiling:
            emit(vae.decode(latents, return_dict=False)[0])
            return
        hook = vae.decoder.register_forward_hook(stream)
        try:
            vae.decode(latents, return_dict=False)
        finally:
            hook.remove()
            vae.clear_cache()

    def tile(self) -> None:
        """Tiles of 256 x 256 pixels, blended over 64."""
        self._pipe.vae.enable_tiling()


def prompt(spec: ClipSpec) -> str:
    """The motion prompt with the strength in words; a photo alone gets a prompt that asks for motion."""
    return ", ".join(part for part in (spec.prompt or _STILL_PHOTO, _STRENGTH[spec.strength]) if part)
