"""CogVideoX, HunyuanVideo (1.0, 1.5, FramePack) and SkyReels V2, tiny. See `tiny`."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
from diffusers.guiders.classifier_free_guidance import ClassifierFreeGuidance
from diffusers.models.autoencoders.autoencoder_kl_cogvideox import AutoencoderKLCogVideoX
from diffusers.models.autoencoders.autoencoder_kl_hunyuan_video import AutoencoderKLHunyuanVideo
from diffusers.models.autoencoders.autoencoder_kl_hunyuanvideo15 import AutoencoderKLHunyuanVideo15
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
from diffusers.models.transformers.cogvideox_transformer_3d import CogVideoXTransformer3DModel
from diffusers.models.transformers.transformer_hunyuan_video import HunyuanVideoTransformer3DModel
from diffusers.models.transformers.transformer_hunyuan_video15 import HunyuanVideo15Transformer3DModel
from diffusers.models.transformers.transformer_hunyuan_video_framepack import HunyuanVideoFramepackTransformer3DModel
from diffusers.models.transformers.transformer_skyreels_v2 import SkyReelsV2Transformer3DModel
from diffusers.pipelines.cogvideo.pipeline_cogvideox_image2video import CogVideoXImageToVideoPipeline
from diffusers.pipelines.hunyuan_video import pipeline_hunyuan_video, pipeline_hunyuan_video_image2video
from diffusers.pipelines.hunyuan_video.pipeline_hunyuan_video_framepack import HunyuanVideoFramepackPipeline
from diffusers.pipelines.hunyuan_video1_5.pipeline_hunyuan_video1_5_image2video import (
    HunyuanVideo15ImageToVideoPipeline,
)
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.pipelines.skyreels_v2.pipeline_skyreels_v2_i2v import SkyReelsV2ImageToVideoPipeline
from diffusers.schedulers.scheduling_ddim_cogvideox import CogVideoXDDIMScheduler
from diffusers.schedulers.scheduling_dpm_cogvideox import CogVideoXDPMScheduler
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from diffusers.schedulers.scheduling_unipc_multistep import UniPCMultistepScheduler
from numpy.typing import NDArray
from tiny import Shot, Tiny
from tiny_words import (
    byt5_text,
    byt5_tokenizer,
    clip_text,
    clip_tokenizer,
    llama_text,
    llama_tokenizer,
    llava,
    made,
    qwen_text,
    qwen_tokenizer,
    t5_text,
    t5_tokenizer,
    umt5_text,
)
from transformers import (
    CLIPImageProcessorPil,
    CLIPProcessor,
    CLIPVisionConfig,
    CLIPVisionModel,
    SiglipImageProcessorPil,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from clips.domain import Plan

Made = tuple[Sequence[NDArray[np.float32]], ...]
Plain = Callable[[Path, Shot], NDArray[np.float32]]

_SMALL = Plan(width=48, height=32, frames=9, fps=24, credits=1)
_SQUARE = Plan(width=32, height=32, frames=5, fps=24, credits=1)
"""What the pipeline of HunyuanVideo 1.5 makes of a square photo by itself."""

_PIECES = Plan(width=48, height=32, frames=17, fps=16, credits=1)
"""More than CogVideoX and HunyuanVideo decode together."""

_SECTIONS = Plan(width=32, height=32, frames=73, fps=30, credits=1)
"""Two of FramePack's sections."""

_STILL = str(pipeline_hunyuan_video_image2video.DEFAULT_PROMPT_TEMPLATE["template"])
_TEXT = str(pipeline_hunyuan_video.DEFAULT_PROMPT_TEMPLATE["template"])


def save_cogvideox(folder: Path) -> Path:
    """CogVideoX 5B I2V: one size and length, because it learned a position for each latent."""
    torch.manual_seed(6)
    _cogvideox(
        CogVideoXDDIMScheduler(prediction_type="v_prediction", snr_shift_scale=1.0, rescale_betas_zero_snr=True),
        CogVideoXTransformer3DModel(
            num_attention_heads=2,
            attention_head_dim=16,
            in_channels=8,
            out_channels=4,
            time_embed_dim=4,
            text_embed_dim=32,
            num_layers=2,
            sample_width=6,
            sample_height=4,
            sample_frames=17,
            max_text_seq_length=226,
            use_rotary_positional_embeddings=True,
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
            num_attention_heads=2,
            attention_head_dim=16,
            in_channels=8,
            out_channels=4,
            time_embed_dim=4,
            ofs_embed_dim=4,
            text_embed_dim=32,
            num_layers=2,
            sample_width=6,
            sample_height=4,
            sample_frames=17,
            patch_size_t=2,
            patch_bias=False,
            max_text_seq_length=226,
            use_rotary_positional_embeddings=True,
        ),
    ).save_pretrained(folder)
    return folder


def save_hunyuan(folder: Path) -> Path:
    """HunyuanVideo I2V: the photo's latents take the place of the first ones."""
    torch.manual_seed(8)
    made(
        pipeline_hunyuan_video_image2video.HunyuanVideoImageToVideoPipeline,
        text_encoder=llava(_STILL),
        tokenizer=llama_tokenizer(_STILL),
        transformer=HunyuanVideoTransformer3DModel(
            in_channels=4,
            out_channels=4,
            num_attention_heads=2,
            attention_head_dim=10,
            num_layers=2,
            num_single_layers=2,
            num_refiner_layers=1,
            text_embed_dim=16,
            pooled_projection_dim=8,
            rope_axes_dim=(2, 4, 4),
            image_condition_type="token_replace",
        ),
        vae=_hunyuan_vae(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=7.0),
        text_encoder_2=clip_text(8),
        tokenizer_2=clip_tokenizer(),
        image_processor=CLIPImageProcessorPil(size=336, crop_size=336),
    ).save_pretrained(folder)
    return folder


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
        image_encoder=_siglip_vision(),
        feature_extractor=SiglipImageProcessorPil(size={"height": 28, "width": 28}),
    ).save_pretrained(folder)
    return folder


def save_framepack(folder: Path) -> Path:
    """FramePack as it is published: a HunyuanVideo, and beside it a network in place of its own, and eyes."""
    parts = folder / "parts"
    torch.manual_seed(10)
    made(
        pipeline_hunyuan_video.HunyuanVideoPipeline,
        text_encoder=llama_text(_TEXT),
        tokenizer=llama_tokenizer(_TEXT),
        transformer=HunyuanVideoTransformer3DModel(
            in_channels=4,
            out_channels=4,
            num_attention_heads=2,
            attention_head_dim=10,
            num_layers=1,
            num_single_layers=1,
            num_refiner_layers=1,
            text_embed_dim=16,
            pooled_projection_dim=8,
            rope_axes_dim=(2, 4, 4),
        ),
        vae=_hunyuan_vae(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=7.0),
        text_encoder_2=clip_text(8),
        tokenizer_2=clip_tokenizer(),
    ).save_pretrained(folder)
    HunyuanVideoFramepackTransformer3DModel(
        in_channels=4,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=10,
        num_layers=2,
        num_single_layers=2,
        num_refiner_layers=1,
        text_embed_dim=16,
        pooled_projection_dim=8,
        rope_axes_dim=(2, 4, 4),
        has_image_proj=True,
        image_proj_dim=8,
        has_clean_x_embedder=True,
    ).save_pretrained(parts / "transformer")
    _siglip_vision().save_pretrained(parts / "image_encoder" / "image_encoder")
    SiglipImageProcessorPil(size={"height": 28, "width": 28}).save_pretrained(
        parts / "feature_extractor" / "feature_extractor"
    )
    return folder


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


def plain(
    pipeline: type[DiffusionPipeline],
    parts: Callable[[Path], Mapping[str, object]] = lambda _: {},
    frames: Callable[[int], int] = lambda planned: planned,
) -> Plain:
    """See `Tiny`. `parts` are those from beside the folder, `frames` how many to ask for to get the planned ones."""

    def render(folder: Path, shot: Shot) -> NDArray[np.float32]:
        pipe = cast("Callable[..., Made]", pipeline.from_pretrained(folder, **parts(folder)))
        called = inspect.signature(pipe).parameters
        wishes = {
            "image": shot.photo,
            "last_image": shot.end_photo,
            "prompt": shot.prompt,
            "negative_prompt": shot.avoid,
            "height": shot.plan.height,
            "width": shot.plan.width,
            "num_frames": frames(shot.plan.frames),
            "num_inference_steps": shot.steps,
            "guidance_scale": shot.guidance,
            "generator": torch.Generator("cpu").manual_seed(shot.seed),
            "output_type": "np",
            "return_dict": False,
        }
        return pipe(**{name: wish for name, wish in wishes.items() if name in called})[0][0]

    return render


def _framepack_parts(folder: Path) -> Mapping[str, object]:
    parts = folder / "parts"
    return {
        "transformer": HunyuanVideoFramepackTransformer3DModel.from_pretrained(parts / "transformer"),
        "image_encoder": SiglipVisionModel.from_pretrained(parts / "image_encoder" / "image_encoder"),
        "feature_extractor": SiglipImageProcessorPil.from_pretrained(parts / "feature_extractor" / "feature_extractor"),
    }


def _skyreels_parts(folder: Path) -> Mapping[str, object]:
    return {"scheduler": UniPCMultistepScheduler.from_pretrained(folder / "scheduler", flow_shift=5.0)}


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


def _hunyuan_vae() -> AutoencoderKLHunyuanVideo:
    return made(
        AutoencoderKLHunyuanVideo,
        latent_channels=4,
        down_block_types=("HunyuanVideoDownBlock3D",) * 4,
        up_block_types=("HunyuanVideoUpBlock3D",) * 4,
        block_out_channels=(4,) * 4,
        layers_per_block=1,
        norm_num_groups=2,
    )


def _siglip_vision() -> SiglipVisionModel:
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


TINIES = (
    Tiny("cogvideox-5b-i2v", save_cogvideox, plain(CogVideoXImageToVideoPipeline), _PIECES, {"steps": 2}, streams=True),
    Tiny(
        "cogvideox-1.5-5b-i2v",
        save_cogvideox15,
        plain(CogVideoXImageToVideoPipeline),
        _PIECES,
        {"steps": 2},
        streams=True,
    ),
    Tiny(
        "hunyuan-i2v",
        save_hunyuan,
        plain(pipeline_hunyuan_video_image2video.HunyuanVideoImageToVideoPipeline),
        _PIECES,
        {"steps": 2},
        streams=True,
    ),
    Tiny(
        "hunyuan-1.5-480p",
        save_hunyuan15,
        plain(HunyuanVideo15ImageToVideoPipeline),
        _SQUARE,
        {"steps": 2},
        streams=True,
    ),
    Tiny(
        "framepack",
        save_framepack,
        plain(HunyuanVideoFramepackPipeline, _framepack_parts, lambda planned: (planned - 1) // 36 * 33),
        _SECTIONS,
        {"steps": 2},
        refuses=frozenset(),
        streams=True,
    ),
    Tiny(
        "skyreels-v2-14b",
        save_skyreels,
        plain(SkyReelsV2ImageToVideoPipeline, _skyreels_parts),
        _SMALL,
        {"steps": 2},
        streams=True,
    ),
)
