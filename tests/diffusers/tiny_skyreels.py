"""SkyReels V2 I2V, tiny. See `tiny`."""

from collections.abc import Mapping
from pathlib import Path

import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
from diffusers.models.transformers.transformer_skyreels_v2 import SkyReelsV2Transformer3DModel
from diffusers.pipelines.skyreels_v2.pipeline_skyreels_v2_i2v import SkyReelsV2ImageToVideoPipeline
from diffusers.schedulers.scheduling_unipc_multistep import UniPCMultistepScheduler
from tiny import Tiny, plain
from tiny_words import clip_tokenizer, made, t5_tokenizer, umt5_text
from transformers import CLIPImageProcessorPil, CLIPProcessor, CLIPVisionConfig, CLIPVisionModel

from clips.domain import Plan

_SMALL = Plan(width=48, height=32, frames=9, fps=24, credits=1)


def save_skyreels(folder: Path) -> Path:
    """SkyReels V2 I2V: Wan 2.1's parts under another network class."""
    torch.manual_seed(11)
    made(
        SkyReelsV2ImageToVideoPipeline,
        tokenizer=t5_tokenizer(),
        text_encoder=umt5_text(32),
        image_encoder=CLIPVisionModel(
            CLIPVisionConfig(
                hidden_size=4,
                intermediate_size=16,
                num_attention_heads=2,
                num_hidden_layers=2,
                image_size=32,
                patch_size=8,
            )
        ).eval(),
        image_processor=CLIPProcessor(CLIPImageProcessorPil(size=32, crop_size=32), clip_tokenizer()),
        transformer=made(
            SkyReelsV2Transformer3DModel,
            num_attention_heads=2,
            attention_head_dim=12,
            in_channels=36,
            out_channels=16,
            text_dim=32,
            freq_dim=256,
            ffn_dim=32,
            num_layers=2,
            image_dim=4,
            rope_max_seq_len=32,
        ),
        vae=made(
            AutoencoderKLWan,
            base_dim=3,
            z_dim=16,
            dim_mult=[1] * 4,
            num_res_blocks=1,
            temperal_downsample=[False, True, True],
        ),
        scheduler=UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=8.0),
    ).save_pretrained(folder)
    return folder


def _skyreels_parts(folder: Path) -> Mapping[str, object]:
    return {"scheduler": UniPCMultistepScheduler.from_pretrained(folder / "scheduler", flow_shift=5.0)}


TINIES = (
    Tiny(
        "skyreels-v2-14b",
        save_skyreels,
        plain(SkyReelsV2ImageToVideoPipeline, _skyreels_parts),
        _SMALL,
        {"steps": 2},
        streams=True,
    ),
)
