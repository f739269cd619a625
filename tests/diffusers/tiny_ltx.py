"""LTX-Video before and from 0.9.5 on, and LTX-2, tiny. See `tiny`."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl_ltx import AutoencoderKLLTXVideo
from diffusers.models.autoencoders.autoencoder_kl_ltx2 import AutoencoderKLLTX2Video
from diffusers.models.autoencoders.autoencoder_kl_ltx2_audio import AutoencoderKLLTX2Audio
from diffusers.models.transformers.transformer_ltx import LTXVideoTransformer3DModel
from diffusers.models.transformers.transformer_ltx2 import LTX2VideoTransformer3DModel
from diffusers.pipelines.ltx.pipeline_ltx import LTXPipeline
from diffusers.pipelines.ltx.pipeline_ltx_condition import LTXConditionPipeline, LTXVideoCondition
from diffusers.pipelines.ltx.pipeline_ltx_image2video import LTXImageToVideoPipeline
from diffusers.pipelines.ltx2.connectors import LTX2TextConnectors
from diffusers.pipelines.ltx2.pipeline_ltx2 import LTX2Pipeline
from diffusers.pipelines.ltx2.pipeline_ltx2_condition import LTX2ConditionPipeline, LTX2VideoCondition
from diffusers.pipelines.ltx2.vocoder import LTX2Vocoder
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from numpy.typing import NDArray
from tiny import Shot, Tiny
from tiny_words import LETTERS, t5_text, t5_tokenizer
from transformers import Gemma3Config, Gemma3ForConditionalGeneration, GemmaTokenizer

from clips.domain import Plan
from clips.stills import recompressed

_WIDTH, _LAYERS = 16, 2  # of the text encoder of LTX-2
_PLAN = Plan(width=96, height=64, frames=17, fps=24, credits=1)


def save_ltx_first(folder: Path) -> Path:
    """LTX-Video 0.9.1: the number of pixels shifts its steps, its VAE wants a timestep and injects noise of its own."""
    torch.manual_seed(9)
    shifting = FlowMatchEulerDiscreteScheduler(
        use_dynamic_shifting=True, base_shift=0.95, max_shift=2.05, base_image_seq_len=1024, shift_terminal=0.1
    )
    LTXPipeline(
        scheduler=shifting,
        vae=_vae(inject_noise=True),
        text_encoder=t5_text(32),
        tokenizer=t5_tokenizer(),
        transformer=ltx_transformer(),
    ).save_pretrained(folder)
    return folder


def save_ltx(folder: Path) -> Path:
    """LTX-Video 0.9.5 and later."""
    torch.manual_seed(10)
    LTXConditionPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=_vae(inject_noise=False),
        text_encoder=t5_text(32),
        tokenizer=t5_tokenizer(),
        transformer=ltx_transformer(),
    ).save_pretrained(folder)
    return folder


def save_ltx2(folder: Path) -> Path:
    """LTX-2: as in its repository, the index names the pipeline from words."""
    torch.manual_seed(11)
    audio_vae = AutoencoderKLLTX2Audio(
        base_channels=4,
        output_channels=2,
        ch_mult=(1,),
        num_res_blocks=1,
        in_channels=2,
        resolution=32,
        latent_channels=2,
        norm_type="pixel",
        causality_axis="height",
        mid_block_add_attention=False,
        mel_bins=8,
    )
    LTX2Pipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, shift_terminal=0.1),
        vae=AutoencoderKLLTX2Video(
            latent_channels=4,
            block_out_channels=(8, 16, 32, 64),
            decoder_block_out_channels=(8, 16, 32),
            layers_per_block=(1, 1, 1, 1, 1),
            decoder_layers_per_block=(1, 1, 1, 1),
            decoder_causal=False,
            spatial_compression_ratio=32,
            temporal_compression_ratio=8,
        ),
        audio_vae=audio_vae,
        text_encoder=_gemma(),
        tokenizer=_gemma_tokenizer(),
        connectors=LTX2TextConnectors(
            caption_channels=_WIDTH,
            text_proj_in_factor=_LAYERS + 1,
            video_connector_num_attention_heads=2,
            video_connector_attention_head_dim=8,
            video_connector_num_layers=1,
            video_connector_num_learnable_registers=None,
            audio_connector_num_attention_heads=2,
            audio_connector_attention_head_dim=8,
            audio_connector_num_layers=1,
            audio_connector_num_learnable_registers=None,
            connector_rope_base_seq_len=32,
            rope_double_precision=False,
            causal_temporal_positioning=False,
            rope_type="split",
        ),
        transformer=LTX2VideoTransformer3DModel(
            in_channels=4,
            out_channels=4,
            num_attention_heads=2,
            attention_head_dim=8,
            cross_attention_dim=16,
            audio_in_channels=4,
            audio_out_channels=4,
            audio_num_attention_heads=2,
            audio_attention_head_dim=4,
            audio_cross_attention_dim=8,
            num_layers=2,
            caption_channels=_WIDTH,
            rope_double_precision=False,
            rope_type="split",
        ),
        vocoder=LTX2Vocoder(
            in_channels=16,
            hidden_channels=32,
            upsample_kernel_sizes=[4, 4],
            upsample_factors=[2, 2],
            resnet_kernel_sizes=[3],
            resnet_dilations=[[1, 3, 5]],
        ),
    ).save_pretrained(folder)
    return folder


def plain_ltx_first(folder: Path, shot: Shot) -> NDArray[np.float32]:
    """`LTXImageToVideoPipeline` with a generator of the seed; its decoder's own noise comes from the global one."""
    pipe = LTXImageToVideoPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    torch.manual_seed(shot.seed)
    made = pipe(
        image=shot.photo,
        prompt=shot.prompt,
        negative_prompt=shot.avoid,
        height=shot.plan.height,
        width=shot.plan.width,
        num_frames=shot.plan.frames,
        frame_rate=shot.plan.fps,
        num_inference_steps=shot.steps,
        guidance_scale=shot.guidance,
        generator=torch.Generator("cpu").manual_seed(shot.seed),
        decode_timestep=0.05,
        decode_noise_scale=0.025,
        output_type="np",
        return_dict=False,
    )
    return made[0][0]


def plain_ltx(folder: Path, shot: Shot, timesteps: Sequence[float] | None = None) -> NDArray[np.float32]:
    """`LTXConditionPipeline` with a generator of the seed and its own defaults."""
    pipe = LTXConditionPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    conditions = [LTXVideoCondition(image=shot.photo)]
    if shot.end_photo is not None:
        conditions.append(LTXVideoCondition(image=shot.end_photo, frame_index=shot.plan.frames - 1))
    made = pipe(
        conditions=conditions,
        prompt=shot.prompt,
        negative_prompt=shot.avoid,
        height=shot.plan.height,
        width=shot.plan.width,
        num_frames=shot.plan.frames,
        frame_rate=shot.plan.fps,
        num_inference_steps=shot.steps,
        timesteps=cast("list[int]", timesteps),  # it takes numbers between these too
        guidance_scale=shot.guidance,
        generator=torch.Generator("cpu").manual_seed(shot.seed),
        decode_timestep=0.05,
        decode_noise_scale=0.025,
        output_type="np",
        return_dict=False,
    )
    return made[0][0]


def plain_ltx_distilled(folder: Path, shot: Shot) -> NDArray[np.float32]:
    """The same at the noise levels of the entry, which its pipeline knows as timesteps."""
    return plain_ltx(folder, shot, timesteps=[1000 * sigma for sigma in shot.model.sigmas])


def plain_ltx2(folder: Path, shot: Shot) -> NDArray[np.float32]:
    """`LTX2ConditionPipeline` with a generator of the seed. The photos are compressed here: PyAV is not."""
    pipe = LTX2ConditionPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    conditions = [LTX2VideoCondition(frames=recompressed(shot.photo, 33), crf=0)]
    if shot.end_photo is not None:
        conditions.append(LTX2VideoCondition(frames=recompressed(shot.end_photo, 33), index=-1, crf=0))
    whole = shot.guidance > 1
    if shot.model.sigmas:
        pipe.scheduler = FlowMatchEulerDiscreteScheduler()
    made = pipe(
        conditions=conditions,
        prompt=shot.prompt,
        negative_prompt=shot.avoid,
        height=shot.plan.height,
        width=shot.plan.width,
        num_frames=shot.plan.frames,
        frame_rate=shot.plan.fps,
        num_inference_steps=shot.steps,
        sigmas=list(shot.model.sigmas) or None,
        guidance_scale=shot.guidance,
        stg_scale=1.0 if whole else 0.0,
        modality_scale=3.0 if whole else 1.0,
        audio_guidance_scale=7.0 if whole else 1.0,
        audio_stg_scale=1.0 if whole else 0.0,
        audio_modality_scale=3.0 if whole else 1.0,
        spatio_temporal_guidance_blocks=[1],
        use_cross_timestep=False,
        generator=torch.Generator("cpu").manual_seed(shot.seed),
        output_type="np",
        return_dict=False,
    )
    return made[0][0]


def _vae(*, inject_noise: bool) -> AutoencoderKLLTXVideo:
    """One step in time and space for 8 frames and 32 pixels, as the real one's."""
    return AutoencoderKLLTXVideo(
        latent_channels=8,
        block_out_channels=(8, 8, 8, 8),
        decoder_block_out_channels=(8, 8, 8, 8),
        layers_per_block=(1, 1, 1, 1, 1),
        decoder_layers_per_block=(1, 1, 1, 1, 1),
        spatio_temporal_scaling=(True, True, True, False),
        decoder_spatio_temporal_scaling=(True, True, True, False),
        decoder_inject_noise=(inject_noise, False, False, False, False),
        timestep_conditioning=True,
        decoder_causal=False,
    )


def ltx_transformer() -> LTXVideoTransformer3DModel:
    return LTXVideoTransformer3DModel(
        in_channels=8,
        out_channels=8,
        num_attention_heads=4,
        attention_head_dim=8,
        cross_attention_dim=32,
        num_layers=2,
        caption_channels=32,
    )


def _gemma_tokenizer() -> GemmaTokenizer:
    tokens = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁", *LETTERS]
    return GemmaTokenizer(vocab={token: n for n, token in enumerate(tokens)}, merges=[], model_max_length=1024)


def _gemma() -> Gemma3ForConditionalGeneration:
    config = Gemma3Config(
        text_config={
            "vocab_size": 128,
            "hidden_size": _WIDTH,
            "intermediate_size": 16,
            "num_hidden_layers": _LAYERS,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "head_dim": 8,
        },
        vision_config={
            "hidden_size": 8,
            "intermediate_size": 8,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": 28,
            "patch_size": 14,
        },
        mm_tokens_per_image=4,
    )
    return Gemma3ForConditionalGeneration(config).eval()


_STEPS = {"steps": 2}
_FEW = {"steps": 3, "sigmas": (1.0, 0.9, 0.4), "loras": ()}

TINIES = (
    Tiny("ltx-video", save_ltx_first, plain_ltx_first, _PLAN, _STEPS),
    Tiny("ltx-video-0.9.5", save_ltx, plain_ltx, _PLAN, _STEPS, refuses=frozenset()),
    Tiny("ltx-video-13b-distilled", save_ltx, plain_ltx_distilled, _PLAN, refuses=frozenset()),
    Tiny("ltx-2", save_ltx2, plain_ltx2, _PLAN, _STEPS, refuses=frozenset(), sound=24000),
    Tiny("ltx-2-distilled", save_ltx2, plain_ltx2, _PLAN, _FEW, refuses=frozenset(), sound=24000),
)
