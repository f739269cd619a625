"""LTX-Video before 0.9.5: the photo is the first frame, and the number of pixels shifts the steps."""

from typing import TYPE_CHECKING, ClassVar, cast

from diffusers.pipelines.ltx.pipeline_ltx_image2video import LTXImageToVideoPipeline
from diffusers.pipelines.pipeline_utils import DiffusionPipeline

from generator.engines.diffusers.family import Latents, Scene, latent_frames
from generator.engines.diffusers.ltx import LtxFamily
from generator.engines.diffusers.noise import Noise

if TYPE_CHECKING:
    import torch


class LtxFirst(LtxFamily[LTXImageToVideoPipeline]):
    """See `Family`."""

    pipeline: ClassVar[type[DiffusionPipeline]] = LTXImageToVideoPipeline

    def denoise(self, scene: Scene, noise: Noise) -> Latents:
        """The pipeline gives its latents packed: a row a latent."""
        plan, grid = scene.plan, self.grid
        with noise.mixed(self._pipe, "prepare_latents"):
            made = self._pipe(
                image=scene.photo,
                prompt=scene.prompt,
                negative_prompt=scene.spec.avoid,
                height=plan.height,
                width=plan.width,
                num_frames=plan.frames,
                frame_rate=plan.fps,
                num_inference_steps=scene.steps,
                guidance_scale=scene.guidance,
                generator=noise.generator,
                output_type="latent",
                return_dict=False,
            )
        rows = cast("tuple[torch.Tensor]", made)[0]
        frames = latent_frames(plan.frames, grid.frames)
        clip = rows.unflatten(1, (frames, plan.height // grid.height, plan.width // grid.width)).movedim(-1, 1)
        return self.finished(clip, noise)


FAMILY = LtxFirst
