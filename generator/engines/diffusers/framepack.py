"""FramePack: a HunyuanVideo that paints a clip section by section, the last one first."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import ClassVar, cast

import torch
from diffusers.pipelines.hunyuan_video.pipeline_hunyuan_video_framepack import HunyuanVideoFramepackPipeline
from diffusers.pipelines.pipeline_utils import DiffusionPipeline

from clips.catalog import Accepts
from generator.engines.diffusers.family import IN_WORDS, Family, Grid, Latents, Out, Scene
from generator.engines.diffusers.noise import Noise
from generator.engines.diffusers.steering import replaced
from generator.engines.diffusers.tiles import WITHOUT_FIRST, in_time

_WINDOW = 9  # latent frames that a section adds; what the network was trained with


class FramePack(Family[HunyuanVideoFramepackPipeline]):
    """See `Family`."""

    pipeline: ClassVar[type[DiffusionPipeline]] = HunyuanVideoFramepackPipeline
    dtype = torch.float16
    dtypes: ClassVar[Mapping[str, torch.dtype]] = {"transformer": torch.bfloat16}  # in float16 its clips are black
    steps = 25
    guidance = 10.0
    accepts: ClassVar[AbstractSet[Accepts]] = IN_WORDS | {Accepts.END_PHOTO}
    """The end photo is where it begins: the last section is painted first."""
    caches: ClassVar[AbstractSet[str]] = frozenset({"mag"})  # the other would carry over from section to section

    @property
    def grid(self) -> Grid:
        """Whole sections only."""
        side = self._pipe.vae_scale_factor_spatial * self._pipe.transformer.config.patch_size
        return Grid(width=side, height=side, frames=_WINDOW * self._pipe.vae_scale_factor_temporal)

    def encoders(self) -> tuple[tuple[object, str], ...]:
        """The text, and the photos as the vision model and as the VAE see them; a take samples from that."""
        words, photos = super().encoders()
        return words, (self._pipe, "encode_image"), photos

    def updates(self, scene: Scene) -> int:
        """Each section has all the steps."""
        return scene.steps * self._sections(scene)

    def denoise(self, scene: Scene, noise: Noise) -> Latents:
        """The latents of each section with what lies behind it, in the order in which they were painted."""
        pipe, plan = self._pipe, scene.plan
        across = pipe.vae_scale_factor_spatial
        channels: int = pipe.transformer.config.in_channels

        def latents(*_: object, dtype: torch.dtype, device: torch.device, **__: object) -> torch.Tensor:
            shape = (1, channels, _WINDOW, plan.height // across, plan.width // across)
            return noise.draw(shape).to(device, dtype)

        with replaced(pipe, "prepare_latents", latents):
            made = pipe(
                image=scene.photo,
                last_image=scene.end_photo,
                prompt=scene.prompt,
                height=plan.height,
                width=plan.width,
                num_frames=self._sections(scene) * self._overlap,
                latent_window_size=_WINDOW,
                num_inference_steps=scene.steps,
                guidance_scale=scene.guidance,
                generator=noise.generator,  # samples the photos' latents, before the noise
                output_type="latent",
                return_dict=False,
            )
        return tuple(cast("tuple[list[torch.Tensor]]", made)[0])

    def decode(self, scene: Scene, latents: Latents, out: Out) -> None:
        """From the front of the clip, the last section painted: each is decoded with the beginning of the one behind
        it, and fades over into that one's own beginning.
        """
        del scene
        vae, overlap, window = self._pipe.vae, self._overlap, 2 * _WINDOW
        before: list[torch.Tensor] = []
        for position, section in enumerate(reversed(latents)):
            ahead = section[:, :, : window + 1 if position == 0 else window].to(vae.dtype)
            frames = (ahead.shape[2] - 1) * self._pipe.vae_scale_factor_temporal + 1
            last = position == len(latents) - 1
            made = _Section(before, frames if last else frames - overlap, out)
            in_time(
                vae,
                ahead / vae.config.scaling_factor,
                lambda tile: vae.decode(tile, return_dict=False)[0],
                WITHOUT_FIRST,
                made.take,
            )
            before = made.left

    @property
    def _overlap(self) -> int:
        """Frames that a section's latents alone decode to."""
        return (_WINDOW - 1) * self._pipe.vae_scale_factor_temporal + 1

    def _sections(self, scene: Scene) -> int:
        return (scene.plan.frames - 1) // (_WINDOW * self._pipe.vae_scale_factor_temporal)


class _Section:
    """The frames of a section on their way out: the first fade over from those of the section before, and what comes
    after the first `final` is left for the next one.
    """

    def __init__(self, before: list[torch.Tensor], final: int, out: Out) -> None:
        weights = torch.linspace(1, 0, len(before), dtype=before[0].dtype, device=before[0].device) if before else ()
        self._before = list(zip(weights, before, strict=True))
        self._final = final
        self._out = out
        self.left: list[torch.Tensor] = []

    def take(self, video: torch.Tensor) -> None:
        for frame in video.split(1, 2):
            if self._before:
                weight, faded = self._before.pop(0)
                made = weight * faded + (1 - weight) * frame
            else:
                made = frame
            if self._final:
                self._final -= 1
                self._out.frames(made)
            else:
                self.left.append(made.clone())


FAMILY = FramePack
