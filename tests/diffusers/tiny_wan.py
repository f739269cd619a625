"""Wan 2.1 I2V and FLF2V, 2.2 I2V-A14B and TI2V-5B, tiny. See `tiny`."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
from diffusers.pipelines.wan.pipeline_wan import WanPipeline
from diffusers.pipelines.wan.pipeline_wan_i2v import WanImageToVideoPipeline
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from diffusers.schedulers.scheduling_unipc_multistep import UniPCMultistepScheduler
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from tiny import LORA, Shot, Tiny
from tiny_words import t5_tokenizer, umt5_text
from transformers import AutoTokenizer, CLIPImageProcessorPil, CLIPVisionConfig, CLIPVisionModel

from clips.domain import Plan

if TYPE_CHECKING:
    from transformers import CLIPImageProcessor

PLAN = Plan(width=96, height=64, frames=13, fps=24, credits=1)
_SMALL = Plan(width=64, height=48, frames=9, fps=16, credits=1)


def save_wan_ti2v(folder: Path) -> Path:
    """Wan 2.2 TI2V-5B: as in its repository, the index names `WanPipeline`, which takes no photo."""
    torch.manual_seed(2)
    tokenizer, text_encoder = t5_tokenizer(), umt5_text(32)
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
    WanPipeline(
        tokenizer=cast("AutoTokenizer", tokenizer),
        text_encoder=text_encoder,
        vae=vae,
        transformer=wan_transformer(48, 48),
        scheduler=_scheduler(),
        expand_timesteps=True,
    ).save_pretrained(folder)
    return folder


def save_wan_a14b(folder: Path) -> Path:
    """Wan 2.2 I2V-A14B: a transformer for the noisy steps and one for the others. With low-rank weights for both."""
    torch.manual_seed(5)
    WanImageToVideoPipeline(
        tokenizer=cast("AutoTokenizer", t5_tokenizer()),
        text_encoder=umt5_text(32),
        vae=_vae(),
        transformer=wan_transformer(36, 16),
        transformer_2=wan_transformer(36, 16),
        scheduler=_scheduler(),
        boundary_ratio=0.9,
    ).save_pretrained(folder)
    save_file(
        {
            "diffusion_model.blocks.1.self_attn.q.lora_down.weight": torch.randn(4, 24),
            "diffusion_model.blocks.1.self_attn.q.lora_up.weight": torch.randn(24, 4),
            "diffusion_model.blocks.1.self_attn.q.alpha": torch.tensor(2.0),
            "diffusion_model.blocks.0.ffn.0.lora_down.weight": torch.randn(4, 24),
            "diffusion_model.blocks.0.ffn.0.lora_up.weight": torch.randn(32, 4),
            "diffusion_model.blocks.0.ffn.0.diff_b": torch.randn(32),
        },
        folder / LORA,
    )
    return folder


def save_wan_21(folder: Path, *, pairs: bool = False) -> Path:
    """Wan 2.1 I2V 14B: an image encoder beside the text encoder."""
    torch.manual_seed(8)
    vision = CLIPVisionConfig(
        hidden_size=4,
        projection_dim=4,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=32,
        intermediate_size=16,
        patch_size=8,
    )
    WanImageToVideoPipeline(
        tokenizer=cast("AutoTokenizer", t5_tokenizer()),
        text_encoder=umt5_text(32),
        vae=_vae(),
        transformer=wan_transformer(36, 16, image_dim=4, image_tokens=2 * (4 * 4 + 1) if pairs else None),
        image_encoder=CLIPVisionModel(vision).eval(),
        image_processor=cast("CLIPImageProcessor", CLIPImageProcessorPil(size=32, crop_size=32)),
        scheduler=_scheduler(),
    ).save_pretrained(folder)
    return folder


def save_wan_flf2v(folder: Path) -> Path:
    """Wan 2.1 FLF2V 14B: from a photo to an end photo."""
    return save_wan_21(folder, pairs=True)


def plain(folder: Path, shot: Shot) -> NDArray[np.float32]:
    """`WanImageToVideoPipeline` with a generator of the seed, and the scheduler as far shifted as the entry says."""
    pipe = WanImageToVideoPipeline.from_pretrained(folder)
    pipe.register_modules(
        scheduler=UniPCMultistepScheduler.from_config(pipe.scheduler.config, flow_shift=shot.model.flow_shift)
    )
    pipe.set_progress_bar_config(disable=True)
    made = pipe(
        image=shot.photo,
        last_image=cast("torch.Tensor | None", shot.end_photo),
        prompt=shot.prompt,
        negative_prompt=shot.avoid,
        height=shot.plan.height,
        width=shot.plan.width,
        num_frames=shot.plan.frames,
        num_inference_steps=shot.steps,
        guidance_scale=shot.guidance,
        guidance_scale_2=shot.model.guidance_2,
        generator=torch.Generator("cpu").manual_seed(shot.seed),
        output_type="np",
        return_dict=False,
    )
    return made[0][0]


def plain_few_steps(folder: Path, shot: Shot) -> NDArray[np.float32]:
    """The same in a distilled model's steps, with the low-rank weights, where there are any, added by hand."""
    pipe = WanImageToVideoPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    generator = torch.Generator("cpu").manual_seed(shot.seed)
    scheduler = pipe.scheduler = FlowMatchEulerDiscreteScheduler(stochastic_sampling=shot.model.renoise)
    vars(scheduler).update(
        set_timesteps=partial(_at_levels, scheduler.set_timesteps, list(shot.model.sigmas)),
        step=partial(scheduler.step, generator=generator),
    )
    if shot.model.loras:
        with torch.no_grad():
            for transformer in (pipe.transformer, pipe.transformer_2):
                _add_lora(transformer, load_file(folder / LORA))
    made = pipe(
        image=shot.photo,
        last_image=cast("torch.Tensor | None", shot.end_photo),
        prompt=shot.prompt,
        height=shot.plan.height,
        width=shot.plan.width,
        num_frames=shot.plan.frames,
        num_inference_steps=shot.steps,
        guidance_scale=1.0,
        generator=generator,
        output_type="np",
        return_dict=False,
    )
    return made[0][0]


def _at_levels(set_timesteps: Callable[..., None], sigmas: list[float], _: int, device: torch.device) -> None:
    set_timesteps(sigmas=sigmas, device=device)


def _add_lora(transformer: WanTransformer3DModel, lora: Mapping[str, torch.Tensor]) -> None:
    own = dict(transformer.named_parameters())
    query, hidden = "diffusion_model.blocks.1.self_attn.q", "diffusion_model.blocks.0.ffn.0"
    change = lora[f"{query}.lora_up.weight"] @ lora[f"{query}.lora_down.weight"]
    own["blocks.1.attn1.to_q.weight"].add_(2 / 4 * change)  # its alpha of its rank
    own["blocks.0.ffn.net.0.proj.weight"].add_(lora[f"{hidden}.lora_up.weight"] @ lora[f"{hidden}.lora_down.weight"])
    own["blocks.0.ffn.net.0.proj.bias"].add_(lora[f"{hidden}.diff_b"])


def _scheduler() -> FlowMatchEulerDiscreteScheduler:
    scheduler = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=2.0)
    return cast("FlowMatchEulerDiscreteScheduler", scheduler)


def _vae() -> AutoencoderKLWan:
    """The VAE of 2.1, which A14B has too."""
    return AutoencoderKLWan(
        base_dim=3, z_dim=16, dim_mult=[1] * 4, num_res_blocks=1, temperal_downsample=[False, True, True]
    )


def wan_transformer(
    inputs: int, outputs: int, *, image_dim: int | None = None, image_tokens: int | None = None
) -> WanTransformer3DModel:
    return WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=inputs,
        out_channels=outputs,
        text_dim=32,
        freq_dim=256,
        ffn_dim=32,
        num_layers=2,
        cross_attn_norm=True,
        qk_norm="rms_norm_across_heads",
        rope_max_seq_len=32,
        image_dim=image_dim,
        pos_embed_seq_len=image_tokens,
    )


TINIES = (
    Tiny("wan-2.2-ti2v-5b", save_wan_ti2v, plain, PLAN, {"steps": 3}, streams=True),
    Tiny("fastwan-2.2-ti2v-5b", save_wan_ti2v, plain_few_steps, PLAN, streams=True),
    Tiny("wan-2.2-i2v-a14b", save_wan_a14b, plain, _SMALL, {"steps": 3}, refuses=frozenset(), streams=True),
    Tiny("wan-2.2-i2v-a14b-4step", save_wan_a14b, plain_few_steps, _SMALL, refuses=frozenset(), streams=True),
    Tiny("wan-2.1-i2v-480p", save_wan_21, plain, _SMALL, {"steps": 2}, streams=True),
    Tiny("wan-2.1-flf2v", save_wan_flf2v, plain, _SMALL, {"steps": 2}, frozenset({"end_photo"}), frozenset(), True),
)
