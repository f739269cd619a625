"""LTX-2: picture and sound from one model, whole and distilled."""

from collections.abc import Generator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from typing import ClassVar, cast

import numpy as np
import torch
from diffusers.pipelines.ltx2.pipeline_ltx2_condition import LTX2ConditionPipeline, LTX2VideoCondition
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from PIL import Image
from torch import nn

from clips.catalog import Accepts
from clips.step_caches import StepCaches
from clips.stills import recompressed
from generator.engines.diffusers.family import IN_WORDS, USUAL_CONSISTENCY, Latents, Out, Scene
from generator.engines.diffusers.ltx import LtxFamily
from generator.engines.diffusers.noise import Noise

_CRF = 33  # the model learnt from frames of compressed videos: a cleaner photo makes it stand still
_PERTURBED_BLOCK = 29


class Ltx2(LtxFamily[LTX2ConditionPipeline]):
    """See `Family`."""

    pipeline: ClassVar[type[DiffusionPipeline]] = LTX2ConditionPipeline
    steps = 40
    texts = "_get_gemma_prompt_embeds"
    honours = frozenset({"sigmas", "renoise"})
    accepts: ClassVar[AbstractSet[Accepts]] = IN_WORDS | {
        Accepts.AVOID,
        Accepts.CONSISTENCY,
        Accepts.END_PHOTO,
        Accepts.SOUND,
    }
    caches: ClassVar[AbstractSet[str]] = frozenset()  # diffusers' know of one stream, not of picture and sound
    usual_caches: ClassVar[StepCaches] = StepCaches()

    def encoders(self) -> tuple[tuple[object, str], ...]:
        """The photos as frames of a compressed video, before the text."""
        return (self, "still"), *super().encoders()

    def still(self, photo: Image.Image, crf: int) -> torch.Tensor:
        """The photo as it is after compression, 0 to 255: (height, width, 3)."""
        return torch.from_numpy(np.array(recompressed(photo, crf)))

    def decoders(self) -> tuple[nn.Module, ...]:
        """The sound is decoded first."""
        return self._pipe.audio_vae.decoder, *super().decoders()

    def denoise(self, scene: Scene, noise: Noise) -> Latents:
        """Whole, the transformer runs four times a step: with and without the words, with a block that is perturbed,
        and with picture and sound apart. Distilled (guidance 1), once.
        """
        plan, guided = scene.plan, scene.guidance > 1
        perturbed = min(_PERTURBED_BLOCK, cast("int", self._pipe.transformer.config.num_layers) - 1)
        conditions = [self._condition(scene.photo, 0, scene.consistency)]
        if scene.end_photo is not None:
            conditions.append(self._condition(scene.end_photo, -1, scene.consistency))
        with noise.mixed(self._pipe, "prepare_latents", "prepare_audio_latents"):
            made = self._pipe(
                conditions=conditions,
                prompt=scene.prompt,
                negative_prompt=scene.spec.avoid,
                height=plan.height,
                width=plan.width,
                num_frames=plan.frames,
                frame_rate=plan.fps,
                num_inference_steps=scene.steps,
                sigmas=list(self._model.sigmas) or None,
                guidance_scale=scene.guidance,
                stg_scale=1.0 if guided else 0.0,
                modality_scale=3.0 if guided else 1.0,
                audio_guidance_scale=7.0 if guided else 1.0,
                audio_stg_scale=1.0 if guided else 0.0,
                audio_modality_scale=3.0 if guided else 1.0,
                spatio_temporal_guidance_blocks=[perturbed],
                # Picture and sound look at each other's noise from LTX-2.3 on, whose networks are modulated so; the
                # pipeline would have LTX-2 do it too.
                use_cross_timestep=cast("bool", self._pipe.transformer.config.cross_attn_mod),
                generator=noise.generator,
                output_type="latent",
                return_dict=False,
            )
        return cast("tuple[torch.Tensor, torch.Tensor]", made)

    def _condition(self, photo: Image.Image, latent: int, consistency: float) -> LTX2VideoCondition:
        """A photo at a latent of the clip. More consistency than usual compresses the photo less, less of it binds
        less.
        """
        crf = round(_CRF * min(1.0, (1 - consistency) / (1 - USUAL_CONSISTENCY)))
        strength = 1 - max(0.0, USUAL_CONSISTENCY - consistency)
        frame = self.still(photo, crf).numpy()
        return LTX2VideoCondition(frames=frame, index=latent, strength=strength, crf=0)

    def decode(self, scene: Scene, latents: Latents, out: Out) -> None:
        """The sound whole, then the picture as LTX-Video's."""
        del scene
        picture, sound = latents
        pipe = self._pipe
        spectrum = pipe.audio_vae.decode(sound.to(pipe.audio_vae.dtype), return_dict=False)[0]
        out.sound(pipe.vocoder(spectrum)[0], cast("int", pipe.vocoder.config.output_sampling_rate))
        with self._no_narrow_tile(picture):
            self.pieces(picture.to(pipe.vae.dtype), None, out)

    @contextmanager
    def _no_narrow_tile(self, picture: torch.Tensor) -> Generator[None]:
        """The decoder mirrors what it is given at its edges, and fails where that is one latent wide. Where the last
        tile would be, as in a square clip at 720p, all of them lie a little closer.
        """
        vae = self._pipe.vae
        usual = vae.tile_sample_stride_height, vae.tile_sample_stride_width
        across: int = vae.spatial_compression_ratio
        vae.tile_sample_stride_height, vae.tile_sample_stride_width = (
            across * next(closer for closer in range(stride // across, 1, -1) if (side - 1) % closer)
            for side, stride in zip(picture.shape[-2:], usual, strict=True)
        )
        try:
            yield
        finally:
            vae.tile_sample_stride_height, vae.tile_sample_stride_width = usual


FAMILY = Ltx2
