"""What the models have in common that are a Stable Diffusion which learnt to move."""

from collections.abc import Set as AbstractSet
from typing import ClassVar

from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

from clips.catalog import Model
from generator.engines.diffusers.family import Family, Grid, Latents, Out, Pipe_co, Scene


class Unet(Family[Pipe_co]):
    """Its UNet takes any number of frames."""

    precise: ClassVar[AbstractSet[str]] = frozenset({"vae"})
    """In float16 its encoder overflows, in bfloat16 the clip shows bands."""

    @property
    def grid(self) -> Grid:
        """The catalogue names the number of frames that the model was trained for."""
        return Grid(width=self._pipe.vae_scale_factor, height=self._pipe.vae_scale_factor, frames=1, offset=0)


class StillUnet(Unet[Pipe_co]):
    """Its VAE is still the one of images, which knows nothing of a frame's neighbours."""

    def __init__(self, pipe: Pipe_co, model: Model) -> None:
        super().__init__(pipe, model)
        _cast_inputs(pipe.vae)

    def decode(self, scene: Scene, latents: Latents, out: Out) -> None:
        """Frame by frame, as the pipelines do it."""
        del scene
        vae = self._pipe.vae
        scaled = 1 / vae.config.scaling_factor * latents[0].to(vae.dtype)
        for frame in scaled.unbind(2):
            out.frames(vae.decode(frame, return_dict=False)[0].unsqueeze(2))


def _cast_inputs(vae: AutoencoderKL) -> None:
    """Let the VAE take what is in another type than its own, as the pipelines hand it over."""
    vae.encoder.register_forward_pre_hook(lambda _, given: (given[0].to(vae.dtype),))
