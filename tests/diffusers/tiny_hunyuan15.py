"""HunyuanVideo 1.5 I2V, tiny. See `tiny`."""

from pathlib import Path

import torch
from diffusers.guiders.classifier_free_guidance import ClassifierFreeGuidance
from diffusers.models.autoencoders.autoencoder_kl_hunyuanvideo15 import AutoencoderKLHunyuanVideo15
from diffusers.models.transformers.transformer_hunyuan_video15 import HunyuanVideo15Transformer3DModel
from diffusers.pipelines.hunyuan_video1_5.pipeline_hunyuan_video1_5_image2video import (
    HunyuanVideo15ImageToVideoPipeline,
)
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from tiny import Tiny, plain
from tiny_words import byt5_text, byt5_tokenizer, made, qwen_text, qwen_tokenizer
from transformers import SiglipImageProcessorPil, SiglipVisionConfig, SiglipVisionModel

from clips.domain import Plan

_SQUARE = Plan(width=32, height=32, frames=5, fps=24, credits=1)
"""What its pipeline makes of a square photo by itself."""


def save_hunyuan15(folder: Path) -> Path:
    """HunyuanVideo 1.5 I2V: three encoders of words and photo, its guidance an object of its own."""
    torch.manual_seed(9)
    made(
        HunyuanVideo15ImageToVideoPipeline,
        text_encoder=qwen_text(),
        tokenizer=qwen_tokenizer(),
        transformer=HunyuanVideo15Transformer3DModel(
            in_channels=9,
            out_channels=4,
            num_attention_heads=2,
            attention_head_dim=8,
            num_layers=2,
            num_refiner_layers=1,
            mlp_ratio=2.0,
            text_embed_dim=16,
            text_embed_2_dim=32,
            image_embed_dim=8,
            rope_axes_dim=(2, 2, 4),
            target_size=32,
        ),
        vae=made(
            AutoencoderKLHunyuanVideo15,
            latent_channels=4,
            block_out_channels=(8,) * 5,
            layers_per_block=1,
            spatial_compression_ratio=16,
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=5.0),
        text_encoder_2=byt5_text(32),
        tokenizer_2=byt5_tokenizer(),
        guider=ClassifierFreeGuidance(guidance_scale=6.0),
        image_encoder=siglip_vision(),
        feature_extractor=SiglipImageProcessorPil(size={"height": 28, "width": 28}),
    ).save_pretrained(folder)
    return folder


def siglip_vision() -> SiglipVisionModel:
    return SiglipVisionModel(
        SiglipVisionConfig(
            hidden_size=8,
            intermediate_size=16,
            num_attention_heads=2,
            num_hidden_layers=2,
            image_size=28,
            patch_size=14,
        )
    ).eval()


_PLAIN = plain(HunyuanVideo15ImageToVideoPipeline)

TINIES = (Tiny("hunyuan-1.5-480p", save_hunyuan15, _PLAIN, _SQUARE, {"steps": 2}, streams=True),)
