"""The VAEs that several families share: what they take, and how they turn latents into frames, piece by piece."""

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.autoencoder_kl_cogvideox import AutoencoderKLCogVideoX

from generator.engines.diffusers.family import Out


def cast_inputs(vae: AutoencoderKL) -> None:
    """Let the VAE take what is in another type than its own, as the pipelines hand it over."""
    vae.encoder.register_forward_pre_hook(lambda _, given: (given[0].to(vae.dtype),))


def decode_each(vae: AutoencoderKL, latents: torch.Tensor, out: Out) -> None:
    """A VAE of still images, which knows nothing of a frame's neighbours. Latents: (1, channels, n, height, width)."""
    scaled = 1 / vae.config["scaling_factor"] * latents.to(vae.dtype)
    for frame in scaled.unbind(2):
        out.frames(vae.decode(frame, return_dict=False)[0].unsqueeze(2))


def decode_streamed(vae: AutoencoderKLCogVideoX, latents: torch.Tensor, out: Out) -> None:
    """A causal VAE that calls its decoder with one piece of latents after another and returns what the pieces make.

    Each call's output goes out at once, and nothing of it stays for the whole.
    """

    def stream(_: object, __: object, made: tuple[torch.Tensor, object]) -> tuple[torch.Tensor, object]:
        frames, cache = made
        out.frames(frames)
        return frames[:, :, :0], cache

    hook = vae.decoder.register_forward_hook(stream)
    try:
        vae.decode(latents, return_dict=False)
    finally:
        hook.remove()
