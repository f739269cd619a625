"""Models of a few hundred kilobytes with random weights, in the form in which the real ones are published.

The same classes, the same components, the same rules; only the widths and depths are small.
"""

import string
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
from diffusers.pipelines.wan.pipeline_wan import WanPipeline
from diffusers.schedulers.scheduling_unipc_multistep import UniPCMultistepScheduler
from transformers import AutoTokenizer, T5Tokenizer, UMT5Config, UMT5EncoderModel

if TYPE_CHECKING:
    from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler


def save_wan_ti2v(folder: Path) -> Path:
    """Wan 2.2 TI2V-5B: as in its repository, the index names `WanPipeline`, which takes no photo."""
    torch.manual_seed(2)
    letters = string.ascii_letters + string.digits + string.punctuation
    tokenizer = T5Tokenizer(
        vocab=[("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *((letter, -3.0) for letter in letters)],
        extra_ids=0,
    )
    text_encoder = UMT5EncoderModel(
        UMT5Config(
            vocab_size=len(letters) + 4,
            d_model=32,
            d_kv=8,
            d_ff=37,
            num_layers=2,
            num_heads=4,
            relative_attention_num_buckets=8,
        )
    )
    vae = AutoencoderKLWan(
        base_dim=3,
        decoder_base_dim=3,
        z_dim=48,
        dim_mult=[1] * 4,
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
        is_residual=True,
        in_channels=12,
        out_channels=12,
        patch_size=2,
        scale_factor_spatial=16,
        scale_factor_temporal=4,
        latents_mean=[index / 96 for index in range(48)],
        latents_std=[0.5 + index / 48 for index in range(48)],
    )
    transformer = WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=48,
        out_channels=48,
        text_dim=32,
        freq_dim=256,
        ffn_dim=32,
        num_layers=2,
        cross_attn_norm=True,
        qk_norm="rms_norm_across_heads",
        rope_max_seq_len=32,
    )
    scheduler = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=5.0)
    pipe = WanPipeline(
        tokenizer=cast("AutoTokenizer", tokenizer),
        text_encoder=text_encoder.eval(),  # dropout would break the seeds
        vae=vae,
        scheduler=cast("FlowMatchEulerDiscreteScheduler", scheduler),
        transformer=transformer,
        expand_timesteps=True,
    )
    pipe.save_pretrained(folder)
    return folder
