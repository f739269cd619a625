"""HunyuanVideo I2V, tiny. See `tiny`."""

from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl_hunyuan_video import AutoencoderKLHunyuanVideo
from diffusers.models.transformers.transformer_hunyuan_video import HunyuanVideoTransformer3DModel
from diffusers.pipelines.hunyuan_video import pipeline_hunyuan_video_image2video
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from tiny import Tiny, plain
from tiny_words import clip_text, clip_tokenizer, llama_tokenizer, llava, made
from transformers import CLIPImageProcessorPil

from clips.domain import Plan

_PIECES = Plan(width=48, height=32, frames=17, fps=24, credits=1)
"""More than it decodes together."""

_STILL = str(pipeline_hunyuan_video_image2video.DEFAULT_PROMPT_TEMPLATE["template"])


def sizes(layers: int) -> dict[str, Any]:
    """What the networks of HunyuanVideo and FramePack have in common."""
    return {
        "in_channels": 4,
        "out_channels": 4,
        "num_attention_heads": 2,
        "attention_head_dim": 10,
        "num_layers": layers,
        "num_single_layers": layers,
        "num_refiner_layers": 1,
        "text_embed_dim": 16,
        "pooled_projection_dim": 8,
        "rope_axes_dim": (2, 4, 4),
    }


def save_hunyuan(folder: Path) -> Path:
    """HunyuanVideo I2V: the photo's latents take the place of the first ones."""
    torch.manual_seed(8)
    made(
        pipeline_hunyuan_video_image2video.HunyuanVideoImageToVideoPipeline,
        text_encoder=llava(_STILL),
        tokenizer=llama_tokenizer(_STILL),
        transformer=HunyuanVideoTransformer3DModel(
            **sizes(layers=2),
            image_condition_type="token_replace",
        ),
        vae=hunyuan_vae(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=7.0),
        text_encoder_2=clip_text(8),
        tokenizer_2=clip_tokenizer(),
        image_processor=CLIPImageProcessorPil(size=336, crop_size=336),
    ).save_pretrained(folder)
    return folder


def hunyuan_vae() -> AutoencoderKLHunyuanVideo:
    return made(
        AutoencoderKLHunyuanVideo,
        latent_channels=4,
        down_block_types=("HunyuanVideoDownBlock3D",) * 4,
        up_block_types=("HunyuanVideoUpBlock3D",) * 4,
        block_out_channels=(4,) * 4,
        layers_per_block=1,
        norm_num_groups=2,
    )


TINIES = (
    Tiny(
        "hunyuan-i2v",
        save_hunyuan,
        plain(pipeline_hunyuan_video_image2video.HunyuanVideoImageToVideoPipeline),
        _PIECES,
        {"steps": 2},
        streams=True,
    ),
)
