"""Random weights for Wan 2.2 TI2V-5B, from its published configuration: they time exactly like the trained ones."""

import json
import string
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, Self, cast

import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
from diffusers.schedulers.scheduling_unipc_multistep import UniPCMultistepScheduler
from transformers import T5Tokenizer, UMT5Config, UMT5EncoderModel

Config = Mapping[str, object]

# Wan-AI/Wan2.2-TI2V-5B-Diffusers: transformer 5.0, UMT5-XXL encoder 5.7, VAE 0.7 thousand million numbers. The mean and
# deviation of its latents are left out: they change the picture and not the work.
REAL: Mapping[str, Config] = {
    "transformer": {
        "patch_size": [1, 2, 2],
        "num_attention_heads": 24,
        "attention_head_dim": 128,
        "in_channels": 48,
        "out_channels": 48,
        "text_dim": 4096,
        "freq_dim": 256,
        "ffn_dim": 14336,
        "num_layers": 30,
        "cross_attn_norm": True,
        "qk_norm": "rms_norm_across_heads",
        "rope_max_seq_len": 1024,
    },
    "vae": {
        "base_dim": 160,
        "decoder_base_dim": 256,
        "z_dim": 48,
        "dim_mult": [1, 2, 4, 4],
        "num_res_blocks": 2,
        "temperal_downsample": [False, True, True],
        "is_residual": True,
        "in_channels": 12,
        "out_channels": 12,
        "patch_size": 2,
        "scale_factor_spatial": 16,
        "scale_factor_temporal": 4,
        "latents_mean": [0.0] * 48,
        "latents_std": [1.0] * 48,
    },
    "text_encoder": {
        "d_model": 4096,
        "d_ff": 10240,
        "d_kv": 64,
        "num_heads": 64,
        "num_layers": 24,
        "vocab_size": 256384,
        "feed_forward_proj": "gated-gelu",
    },
}

# For a CPU: the same build, small enough for 13 frames of 256x160 in seconds.
SMALL: Mapping[str, Config] = {
    "transformer": {
        **REAL["transformer"],
        "num_attention_heads": 8,
        "attention_head_dim": 64,
        "ffn_dim": 2048,
        "num_layers": 8,
        "text_dim": 64,
    },
    "vae": {**REAL["vae"], "base_dim": 8, "decoder_base_dim": 8, "num_res_blocks": 1},
    "text_encoder": {
        **REAL["text_encoder"],
        "d_model": 64,
        "d_ff": 128,
        "d_kv": 16,
        "num_heads": 4,
        "num_layers": 2,
        "vocab_size": 256,
    },
}


class _Saved(Protocol):
    """What the models of both libraries can do."""

    def to(self, dtype: torch.dtype) -> Self: ...

    def save_pretrained(self, folder: Path) -> object: ...


_INDEX = {
    "_class_name": "WanPipeline",
    "boundary_ratio": None,
    "expand_timesteps": True,
    "scheduler": ["diffusers", "UniPCMultistepScheduler"],
    "text_encoder": ["transformers", "UMT5EncoderModel"],
    "tokenizer": ["transformers", "T5Tokenizer"],
    "transformer": ["diffusers", "WanTransformer3DModel"],
    "transformer_2": [None, None],
    "vae": ["diffusers", "AutoencoderKLWan"],
}


def save(configs: Mapping[str, Config], folder: Path, device: str) -> None:
    """Write a model with random weights, made on the device: float32 on a CPU, on a GPU as it is published there."""
    torch.manual_seed(0)
    short = torch.bfloat16 if device.startswith("cuda") else torch.float32
    makers = (
        ("transformer", short, WanTransformer3DModel.from_config),
        ("vae", torch.float32, AutoencoderKLWan.from_config),
        ("text_encoder", short, lambda config: UMT5EncoderModel(UMT5Config.from_dict(config))),
    )
    for name, dtype, make in makers:
        with torch.device(device):
            module = cast("_Saved", make(dict(configs[name])))
        module.to(dtype).save_pretrained(folder / name)
        del module
        if device.startswith("cuda"):
            torch.cuda.empty_cache()
    letters = string.ascii_letters + string.digits + string.punctuation
    T5Tokenizer(
        vocab=[("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *((letter, -3.0) for letter in letters)],
        extra_ids=0,
    ).save_pretrained(folder / "tokenizer")
    UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=5.0).save_pretrained(
        folder / "scheduler"
    )
    (folder / "model_index.json").write_text(json.dumps(_INDEX), encoding="utf-8")
