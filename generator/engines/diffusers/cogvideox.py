"""CogVideoX image-to-video: 1.0, of one size and length, and 1.5."""

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import ClassVar, cast

import torch
from diffusers.pipelines.cogvideo.pipeline_cogvideox_image2video import CogVideoXImageToVideoPipeline
from diffusers.pipelines.pipeline_utils import DiffusionPipeline

from clips.domain import Plan
from clips.errors import SetupError
from clips.step_caches import FirstBlock, StepCaches
from generator.engines.diffusers.family import Family, Grid, Latents, Out, Scene, latent_frames
from generator.engines.diffusers.noise import Noise
from generator.engines.diffusers.steering import replaced
from generator.engines.diffusers.tiles import Cut, Take, causal


class CogVideoX(Family[CogVideoXImageToVideoPipeline]):
    """See `Family`."""

    pipeline: ClassVar[type[DiffusionPipeline]] = CogVideoXImageToVideoPipeline
    steps = 50
    guidance = 6.0
    texts = "_get_t5_prompt_embeds"
    caches: ClassVar[AbstractSet[str]] = frozenset({"first-block", "mag"})
    # The default of ParaAttention (5e288f1, for CogVideoX 5B T2V), and what Cache-DiT shows for it.
    usual_caches: ClassVar[StepCaches] = StepCaches(
        balanced=FirstBlock(threshold=0.04), fast=FirstBlock(threshold=0.08)
    )

    @property
    def grid(self) -> Grid:
        """1.0 learned a position for each latent, and so has one length."""
        side = self._pipe.vae_scale_factor_spatial * self._pipe.transformer.config.patch_size
        along: int = self._trained[2] - 1 if self._trained else self._pipe.vae_scale_factor_temporal
        return Grid(width=side, height=side, frames=along)

    @property
    def _trained(self) -> tuple[int, int, int] | None:
        """Width, height and frames of the clips of 1.0; 1.5 renders any."""
        across, network = self._pipe.vae_scale_factor_spatial, self._pipe.transformer.config
        if not network.use_learned_positional_embeddings:
            return None
        return network.sample_width * across, network.sample_height * across, network.sample_frames

    def check(self, plan: Plan, inputs: AbstractSet[str]) -> None:
        """1.0 has one size too."""
        super().check(plan, inputs)
        if self._trained and (plan.width, plan.height) != self._trained[:2]:
            width, height, _ = self._trained
            raise SetupError(
                f"{self._model.title} renders {width}x{height} and nothing else, also for a portrait photo. Mend the "
                "catalogue's entry."
            )

    def denoise(self, scene: Scene, noise: Noise) -> Latents:
        """The generator serves the photo's latents, then the noise, then the steps of a sampler that adds more."""
        pipe, plan = self._pipe, scene.plan
        across = pipe.vae_scale_factor_spatial
        channels: int = pipe.transformer.config.in_channels // 2
        frames = self._frames(scene) + self._padding(scene)
        prepare = cast("Callable[..., tuple[torch.Tensor, torch.Tensor]]", pipe.prepare_latents)

        def prepared(photo: torch.Tensor, *given: object) -> tuple[torch.Tensor, torch.Tensor]:
            _, photo = prepare(photo, *given)
            latents = noise.draw((1, frames, channels, plan.height // across, plan.width // across))
            return latents.to(photo) * pipe.scheduler.init_noise_sigma, photo

        with replaced(pipe, "prepare_latents", prepared):
            made = pipe(
                image=scene.photo,
                prompt=scene.prompt,
                negative_prompt=scene.spec.avoid,
                height=plan.height,
                width=plan.width,
                num_frames=plan.frames,
                num_inference_steps=scene.steps,
                guidance_scale=scene.guidance,
                max_sequence_length=pipe.transformer.config.max_text_seq_length,
                generator=noise.generator,
                latents=cast("torch.FloatTensor", torch.empty(0)),  # drawn in `prepared`
                output_type="latent",
                return_dict=False,
            )
        return cast("Latents", made)

    def decode(self, scene: Scene, latents: Latents, out: Out) -> None:
        """Two latent frames at a time, see `causal`; the padding comes first and is left out."""
        vae = self._pipe.vae
        clip = latents[0][:, self._padding(scene) :].transpose(1, 2)
        clip = 1 / vae.config.scaling_factor * clip.to(vae.dtype)
        across = self._pipe.vae_scale_factor_spatial
        down, right = (
            Cut(size, int(size * (1 - overlap)), across)
            for size, overlap in (
                (vae.tile_latent_min_height, vae.tile_overlap_factor_height),
                (vae.tile_latent_min_width, vae.tile_overlap_factor_width),
            )
        )
        causal(vae, clip, (down, right), self._pieces, out)

    def _pieces(self, latents: torch.Tensor, take: Take) -> None:
        """The VAE calls its decoder with one piece of latents after another and would return what they make: each
        call's output is handed out, and nothing of it stays for the whole.
        """
        vae = self._pipe.vae

        def stream(_: object, __: object, made: tuple[torch.Tensor, object]) -> tuple[torch.Tensor, object]:
            frames, cache = made
            take(frames)
            return frames[:, :, :0], cache

        hook = vae.decoder.register_forward_hook(stream)
        try:
            vae.decode(latents, return_dict=False)
        finally:
            hook.remove()

    def _frames(self, scene: Scene) -> int:
        return latent_frames(scene.plan.frames, self._pipe.vae_scale_factor_temporal)

    def _padding(self, scene: Scene) -> int:
        """1.5 takes latent frames in pairs."""
        return -self._frames(scene) % (self._pipe.transformer.config.patch_size_t or 1)


FAMILY = CogVideoX
