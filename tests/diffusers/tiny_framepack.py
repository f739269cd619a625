"""FramePack, tiny. See `tiny`."""

from collections.abc import Mapping
from pathlib import Path

import torch
from diffusers.models.transformers.transformer_hunyuan_video import HunyuanVideoTransformer3DModel
from diffusers.models.transformers.transformer_hunyuan_video_framepack import HunyuanVideoFramepackTransformer3DModel
from diffusers.pipelines.hunyuan_video import pipeline_hunyuan_video
from diffusers.pipelines.hunyuan_video.pipeline_hunyuan_video_framepack import HunyuanVideoFramepackPipeline
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from tiny import Tiny, plain
from tiny_hunyuan import hunyuan_vae, sizes
from tiny_hunyuan15 import siglip_vision
from tiny_words import clip_text, clip_tokenizer, llama_text, llama_tokenizer, made
from transformers import SiglipImageProcessorPil, SiglipVisionModel

from clips.domain import Plan

_SECTIONS = Plan(width=32, height=32, frames=73, fps=30, credits=1)
"""Two of its sections."""

_TEXT = str(pipeline_hunyuan_video.DEFAULT_PROMPT_TEMPLATE["template"])


def save_framepack(folder: Path) -> Path:
    """FramePack as it is published: a HunyuanVideo, and beside it a network in place of its own, and eyes."""
    parts = folder / "parts"
    torch.manual_seed(10)
    made(
        pipeline_hunyuan_video.HunyuanVideoPipeline,
        text_encoder=llama_text(_TEXT),
        tokenizer=llama_tokenizer(_TEXT),
        transformer=HunyuanVideoTransformer3DModel(
            **sizes(layers=1),
        ),
        vae=hunyuan_vae(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=7.0),
        text_encoder_2=clip_text(8),
        tokenizer_2=clip_tokenizer(),
    ).save_pretrained(folder)
    HunyuanVideoFramepackTransformer3DModel(
        **sizes(layers=2),
        has_image_proj=True,
        image_proj_dim=8,
        has_clean_x_embedder=True,
    ).save_pretrained(parts / "transformer")
    siglip_vision().save_pretrained(parts / "image_encoder" / "image_encoder")
    SiglipImageProcessorPil(size={"height": 28, "width": 28}).save_pretrained(
        parts / "feature_extractor" / "feature_extractor"
    )
    return folder


def _framepack_parts(folder: Path) -> Mapping[str, object]:
    parts = folder / "parts"
    return {
        "transformer": HunyuanVideoFramepackTransformer3DModel.from_pretrained(parts / "transformer"),
        "image_encoder": SiglipVisionModel.from_pretrained(parts / "image_encoder" / "image_encoder"),
        "feature_extractor": SiglipImageProcessorPil.from_pretrained(parts / "feature_extractor" / "feature_extractor"),
    }


TINIES = (
    Tiny(
        "framepack",
        save_framepack,
        plain(HunyuanVideoFramepackPipeline, _framepack_parts, lambda planned: (planned - 1) // 36 * 33),
        _SECTIONS,
        {"steps": 2},
        refuses=frozenset(),
        streams=True,
    ),
)
