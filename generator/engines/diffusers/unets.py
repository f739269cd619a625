"""What the models have in common that are a Stable Diffusion which learnt to move."""

import torch

from generator.engines.diffusers.family import Family, Grid, Latents, Out, Pipe_co, Scene


class Unet(Family[Pipe_co]):
    """Its UNet takes any number of frames."""

    dtype = torch.float16
    """As they are published: in bfloat16 the weights would lose three bits, and at each step the latents."""

    @property
    def grid(self) -> Grid:
        """The catalogue names the number of frames that the model was trained for."""
        return Grid(width=self._pipe.vae_scale_factor, height=self._pipe.vae_scale_factor, frames=1, offset=0)


class StillUnet(Unet[Pipe_co]):
    """Its VAE is still the one of images, which knows nothing of a frame's neighbours."""

    def decode(self, scene: Scene, latents: Latents, out: Out) -> None:
        """Frame by frame, as the pipelines do it."""
        del scene
        vae = self._pipe.vae
        scaled = 1 / vae.config.scaling_factor * latents[0].to(vae.dtype)
        for frame in scaled.unbind(2):
            out.frames(vae.decode(frame, return_dict=False)[0].unsqueeze(2))
