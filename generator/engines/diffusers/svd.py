"""Stable Video Diffusion: img2vid and img2vid-xt. It takes no words."""

from collections.abc import Set as AbstractSet
from typing import ClassVar, cast

import torch
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.pipelines.stable_video_diffusion.pipeline_stable_video_diffusion import StableVideoDiffusionPipeline

from clips.catalog import Accepts, Model
from clips.domain import ClipSpec, Strength
from generator.engines.diffusers.family import USUAL_CONSISTENCY, Latents, Out, Scene
from generator.engines.diffusers.noise import Noise
from generator.engines.diffusers.steering import replaced
from generator.engines.diffusers.unets import Unet

_BUCKETS = {Strength.LOW: 60, Strength.MEDIUM: 127, Strength.HIGH: 200}
_CHUNK = 8  # frames decoded together; fewer flicker, more cost memory


class Svd(Unet[StableVideoDiffusionPipeline]):
    """See `Family`."""

    pipeline: ClassVar[type[DiffusionPipeline]] = StableVideoDiffusionPipeline
    steps = 25
    guidance = 3.0
    accepts: ClassVar[AbstractSet[Accepts]] = frozenset(
        {Accepts.PHOTO, Accepts.PADDING, Accepts.STRENGTH, Accepts.CONSISTENCY, Accepts.SEED, Accepts.VARIATION}
    )

    def __init__(self, pipe: StableVideoDiffusionPipeline, model: Model) -> None:
        super().__init__(pipe, model)
        self._chunk = _CHUNK
        self._dtype = pipe.vae.dtype

    def encoders(self) -> tuple[tuple[object, str], ...]:
        """The photo as the vision model sees it. What the VAE sees has noise in it, other noise in each take."""
        return ((self._pipe, "_encode_image"),)

    def prompt(self, spec: ClipSpec) -> str:
        """None: it takes no words."""
        del spec
        return ""

    def denoise(self, scene: Scene, noise: Noise) -> Latents:
        """The guidance grows from 1 in the first frame to the scene's in the last."""
        pipe, plan = self._pipe, scene.plan
        across = pipe.vae_scale_factor
        channels: int = pipe.unet.config.in_channels // 2
        shape = (1, plan.frames, channels, plan.height // across, plan.width // across)

        def latents(*given: object) -> torch.Tensor:
            # Here and no earlier: the noise in the photo comes first out of the generator.
            dtype, device = cast("tuple[torch.dtype, torch.device]", given[5:7])
            return noise.draw(shape).to(device, dtype) * pipe.scheduler.init_noise_sigma

        try:
            with replaced(pipe, "prepare_latents", latents):
                made = pipe(
                    image=scene.photo,
                    height=plan.height,
                    width=plan.width,
                    num_frames=plan.frames,
                    num_inference_steps=scene.steps,
                    max_guidance_scale=scene.guidance,
                    fps=plan.fps,
                    motion_bucket_id=_BUCKETS[scene.spec.strength],
                    noise_aug_strength=noise_in_photo(scene.consistency),
                    generator=noise.generator,
                    output_type="latent",
                    return_dict=False,
                )
        finally:
            pipe.vae.to(dtype=self._dtype)  # it encodes in float32, and stays so where that fails
        return (cast("torch.Tensor", made),)

    def decode(self, scene: Scene, latents: Latents, out: Out) -> None:
        """Some frames together: the decoder looks from each to its neighbours."""
        del scene
        vae = self._pipe.vae
        scaled = 1 / vae.config.scaling_factor * latents[0][0].to(vae.dtype)
        for chunk in scaled.split(self._chunk):
            frames = cast("torch.Tensor", vae.decode(chunk, num_frames=len(chunk), return_dict=False)[0])
            out.frames(frames.transpose(0, 1).unsqueeze(0))

    def tile(self) -> None:
        """Its VAE knows no tiles; a frame at a time takes an eighth."""
        self._chunk = 1


def noise_in_photo(consistency: float) -> float:
    """How much noise is mixed into the photo that the model sees: 0.02 at the usual consistency, none at 1."""
    return 0.02 * ((1 - consistency) / (1 - USUAL_CONSISTENCY)) ** 2


FAMILY = Svd
