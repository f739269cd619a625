"""The families whose network is a UNet, tiny: Stable Video Diffusion, I2VGen XL, PIA. See `tiny`."""

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.autoencoder_kl_temporal_decoder import AutoencoderKLTemporalDecoder
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.models.unets.unet_i2vgen_xl import I2VGenXLUNet
from diffusers.models.unets.unet_motion_model import MotionAdapter
from diffusers.models.unets.unet_spatio_temporal_condition import UNetSpatioTemporalConditionModel
from diffusers.pipelines.deprecated.i2vgen_xl.pipeline_i2vgen_xl import I2VGenXLPipeline
from diffusers.pipelines.deprecated.pia.pipeline_pia import PIAPipeline
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from diffusers.pipelines.stable_video_diffusion.pipeline_stable_video_diffusion import StableVideoDiffusionPipeline
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler
from diffusers.schedulers.scheduling_pndm import PNDMScheduler
from numpy.typing import NDArray
from tiny import Shot, Tiny
from tiny_words import clip_text, clip_tokenizer, made
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPVisionConfig, CLIPVisionModelWithProjection

from clips.domain import Plan

_CHUNKS = Plan(width=32, height=32, frames=10, fps=7, credits=1)
"""Longer than the frames that SVD decodes together."""

_FEW = Plan(width=64, height=32, frames=3, fps=8, credits=1)


def save_svd(folder: Path) -> Path:
    """Stable Video Diffusion: the vision model sees 224 pixels, as the pipeline's own resize has it."""
    torch.manual_seed(3)
    made(
        StableVideoDiffusionPipeline,
        vae=made(
            AutoencoderKLTemporalDecoder,
            down_block_types=("DownEncoderBlock2D",) * 4,
            block_out_channels=(32,) * 4,  # its norms have 32 groups
        ),
        image_encoder=_clip_vision(224, 8),
        unet=made(
            UNetSpatioTemporalConditionModel,
            down_block_types=("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
            up_block_types=("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
            block_out_channels=(32, 32),
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=24,
            layers_per_block=1,
            cross_attention_dim=8,
            num_attention_heads=2,
            num_frames=4,
        ),
        scheduler=EulerDiscreteScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            prediction_type="v_prediction",
            timestep_spacing="leading",
            timestep_type="continuous",
            use_karras_sigmas=True,
            sigma_min=0.002,
            sigma_max=700.0,
            steps_offset=1,
        ),
        feature_extractor=CLIPImageProcessorPil(size=224, crop_size=224),
    ).save_pretrained(folder)
    return folder


def save_i2vgen(folder: Path) -> Path:
    """I2VGen XL."""
    torch.manual_seed(4)
    made(
        I2VGenXLPipeline,
        vae=_image_vae(),
        text_encoder=clip_text(8),
        tokenizer=clip_tokenizer(),
        image_encoder=_clip_vision(32, 8),
        feature_extractor=CLIPImageProcessorPil(size=32, crop_size=32),
        unet=made(
            I2VGenXLUNet,
            down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
            up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
            block_out_channels=(8, 8),
            layers_per_block=1,
            norm_num_groups=2,
            cross_attention_dim=8,
            attention_head_dim=4,
        ),
        scheduler=DDIMScheduler(beta_schedule="linear", clip_sample=False, set_alpha_to_one=False),
    ).save_pretrained(folder)
    return folder


def save_pia(folder: Path) -> Path:
    """PIA as it is published: a Stable Diffusion 1.5, whose scheduler and safety checker are none for PIA, and an
    adapter beside it.
    """
    torch.manual_seed(5)
    made(
        StableDiffusionPipeline,
        vae=_image_vae(),
        text_encoder=clip_text(8),
        tokenizer=clip_tokenizer(),
        unet=made(
            UNet2DConditionModel,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            block_out_channels=(8, 8),
            layers_per_block=2,
            norm_num_groups=2,
            cross_attention_dim=8,
            attention_head_dim=4,
        ),
        scheduler=PNDMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1
        ),
        safety_checker=StableDiffusionSafetyChecker(
            CLIPConfig(
                vision_config={
                    "hidden_size": 8,
                    "intermediate_size": 16,
                    "num_attention_heads": 2,
                    "num_hidden_layers": 1,
                    "image_size": 32,
                    "patch_size": 8,
                },
                projection_dim=8,
            )
        ),
        feature_extractor=CLIPImageProcessorPil(size=32, crop_size=32),
    ).save_pretrained(folder)
    made(
        MotionAdapter,
        block_out_channels=(8, 8),
        motion_layers_per_block=2,
        motion_norm_num_groups=2,
        motion_num_attention_heads=4,
        conv_in_channels=9,
    ).save_pretrained(folder / "parts" / "motion_adapter")
    return folder


def plain_svd(folder: Path, shot: Shot) -> NDArray[np.float32]:
    """See `Tiny`."""
    made = StableVideoDiffusionPipeline.from_pretrained(folder)(
        image=shot.photo,
        height=shot.plan.height,
        width=shot.plan.width,
        num_frames=shot.plan.frames,
        num_inference_steps=shot.steps,
        fps=shot.plan.fps,
        decode_chunk_size=8,
        generator=torch.Generator("cpu").manual_seed(shot.seed),
        output_type="np",
        return_dict=False,
    )
    return cast("NDArray[np.float32]", made[0])


def plain_i2vgen(folder: Path, shot: Shot) -> NDArray[np.float32]:
    """See `Tiny`."""
    pipe = I2VGenXLPipeline.from_pretrained(folder)
    pipe.text_encoder.text_model = SimpleNamespace(final_layer_norm=pipe.text_encoder.final_layer_norm)
    with torch.random.fork_rng():
        torch.manual_seed(shot.seed)
        made = pipe(
            prompt=shot.prompt,
            negative_prompt=shot.avoid,
            image=shot.photo,
            height=shot.plan.height,
            width=shot.plan.width,
            target_fps=16,
            num_frames=shot.plan.frames,
            num_inference_steps=shot.steps,
            guidance_scale=shot.guidance,
            generator=torch.Generator("cpu").manual_seed(shot.seed),
            output_type="np",
            return_dict=False,
        )
    return cast("tuple[NDArray[np.float32]]", made[0])[0]


def plain_pia(folder: Path, shot: Shot) -> NDArray[np.float32]:
    """See `Tiny`."""
    adapter = MotionAdapter.from_pretrained(folder / "parts" / "motion_adapter")
    pipe = PIAPipeline.from_pretrained(folder, motion_adapter=adapter)
    pipe.scheduler = EulerDiscreteScheduler.from_config(pipe.scheduler.config)
    made = pipe(
        prompt=shot.prompt,
        negative_prompt=shot.avoid,
        image=shot.photo,
        height=shot.plan.height,
        width=shot.plan.width,
        num_frames=shot.plan.frames,
        num_inference_steps=shot.steps,
        guidance_scale=shot.guidance,
        motion_scale=1,
        generator=torch.Generator("cpu").manual_seed(shot.seed),
        output_type="np",
        return_dict=False,
    )
    return cast("tuple[NDArray[np.float32]]", made[0])[0]


def _image_vae() -> AutoencoderKL:
    return made(
        AutoencoderKL,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(4,) * 4,
        latent_channels=4,
        norm_num_groups=2,
        sample_size=512,
    )


def _clip_vision(pixels: int, projection: int) -> CLIPVisionModelWithProjection:
    return CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            hidden_size=8,
            intermediate_size=16,
            num_attention_heads=2,
            num_hidden_layers=2,
            image_size=pixels,
            patch_size=pixels // 4,
            projection_dim=projection,
        )
    ).eval()


TINIES = (
    Tiny("svd-xt", save_svd, plain_svd, _CHUNKS, {"steps": 2}, streams=True, blurs=True),
    Tiny("i2vgen-xl", save_i2vgen, plain_i2vgen, _FEW, {"steps": 2}, streams=True),
    Tiny("pia", save_pia, plain_pia, _FEW, {"steps": 2}, streams=True),
)
