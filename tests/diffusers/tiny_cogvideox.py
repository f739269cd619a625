"""CogVideoX 1.0 and 1.5, tiny. See `tiny`."""

from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl_cogvideox import AutoencoderKLCogVideoX
from diffusers.models.transformers.cogvideox_transformer_3d import CogVideoXTransformer3DModel
from diffusers.pipelines.cogvideo.pipeline_cogvideox_image2video import CogVideoXImageToVideoPipeline
from diffusers.schedulers.scheduling_ddim_cogvideox import CogVideoXDDIMScheduler
from diffusers.schedulers.scheduling_dpm_cogvideox import CogVideoXDPMScheduler
from tiny import Tiny, plain
from tiny_words import made, t5_text, t5_tokenizer

from clips.domain import Plan

_PIECES = Plan(width=48, height=32, frames=17, fps=16, credits=1)
"""More than it decodes together."""

_SIZES: dict[str, Any] = {
    "num_attention_heads": 2,
    "attention_head_dim": 16,
    "in_channels": 8,
    "out_channels": 4,
    "time_embed_dim": 4,
    "text_embed_dim": 32,
    "num_layers": 2,
    "sample_width": 6,
    "sample_height": 4,
    "sample_frames": 17,
    "max_text_seq_length": 226,
    "use_rotary_positional_embeddings": True,
}
"""What both networks have in common."""


def save_cogvideox(folder: Path) -> Path:
    """CogVideoX 5B I2V: one size and length, because it learned a position for each latent."""
    torch.manual_seed(6)
    _cogvideox(
        CogVideoXDDIMScheduler(prediction_type="v_prediction", snr_shift_scale=1.0, rescale_betas_zero_snr=True),
        CogVideoXTransformer3DModel(
            **_SIZES,
            use_learned_positional_embeddings=True,
        ),
    ).save_pretrained(folder)
    return folder


def save_cogvideox15(folder: Path) -> Path:
    """CogVideoX 1.5 5B I2V: any size; latent frames go in pairs; its sampler adds noise in every step."""
    torch.manual_seed(7)
    _cogvideox(
        CogVideoXDPMScheduler(
            prediction_type="v_prediction",
            timestep_spacing="trailing",
            snr_shift_scale=1.0,
            rescale_betas_zero_snr=True,
        ),
        CogVideoXTransformer3DModel(
            **_SIZES,
            ofs_embed_dim=4,
            patch_size_t=2,
            patch_bias=False,
        ),
    ).save_pretrained(folder)
    return folder


def _cogvideox(
    scheduler: CogVideoXDDIMScheduler | CogVideoXDPMScheduler, transformer: CogVideoXTransformer3DModel
) -> CogVideoXImageToVideoPipeline:
    return made(
        CogVideoXImageToVideoPipeline,
        tokenizer=t5_tokenizer(),
        text_encoder=t5_text(32),
        vae=made(
            AutoencoderKLCogVideoX,
            down_block_types=("CogVideoXDownBlock3D",) * 4,
            up_block_types=("CogVideoXUpBlock3D",) * 4,
            block_out_channels=(8,) * 4,
            latent_channels=4,
            layers_per_block=1,
            norm_num_groups=2,
            invert_scale_latents=True,
        ),
        transformer=transformer,
        scheduler=scheduler,
    )


_PLAIN = plain(CogVideoXImageToVideoPipeline)

TINIES = (
    Tiny("cogvideox-5b-i2v", save_cogvideox, _PLAIN, _PIECES, {"steps": 2}, streams=True),
    Tiny("cogvideox-1.5-5b-i2v", save_cogvideox15, _PLAIN, _PIECES, {"steps": 2}, streams=True),
)
