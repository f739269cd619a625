"""Pipelines with random weights, made in memory from the published configurations: they time like the trained ones.

The defaults of diffusers' classes are those configurations. Text and image encoders have one layer here: what comes out
of them has the real width, and their own time is measured elsewhere. `small` ones are for a try on a CPU.
"""

import string
from collections.abc import Callable
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl_ltx2 import AutoencoderKLLTX2Video
from diffusers.models.autoencoders.autoencoder_kl_ltx2_audio import AutoencoderKLLTX2Audio
from diffusers.models.autoencoders.autoencoder_kl_temporal_decoder import AutoencoderKLTemporalDecoder
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
from diffusers.models.transformers.transformer_ltx2 import LTX2VideoTransformer3DModel
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
from diffusers.models.unets.unet_spatio_temporal_condition import UNetSpatioTemporalConditionModel
from diffusers.pipelines.ltx2.connectors import LTX2TextConnectors
from diffusers.pipelines.ltx2.pipeline_ltx2_condition import LTX2ConditionPipeline
from diffusers.pipelines.ltx2.vocoder import LTX2Vocoder
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.pipelines.stable_video_diffusion.pipeline_stable_video_diffusion import StableVideoDiffusionPipeline
from diffusers.pipelines.wan.pipeline_wan_i2v import WanImageToVideoPipeline
from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from diffusers.schedulers.scheduling_unipc_multistep import UniPCMultistepScheduler
from torch import nn
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    CLIPVisionModel,
    CLIPVisionModelWithProjection,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    GemmaTokenizer,
    T5Tokenizer,
    UMT5Config,
    UMT5EncoderModel,
)

Options = dict[str, Any]

_LETTERS = string.ascii_letters + string.digits + string.punctuation


class Maker:
    """Makes parts on a device, on a GPU in the types of `Family.dtype_of`."""

    def __init__(self, device: str, *, small: bool) -> None:
        self.small = small
        self._device = torch.device(device)
        torch.manual_seed(0)

    def part(self, kind: Callable[..., nn.Module], *, dtype: torch.dtype = torch.bfloat16, **options: Any) -> Any:  # noqa: ANN401 - of the kind
        """One part. Made in its type from the start: in float32 the largest would not fit."""
        usual = torch.get_default_dtype()
        if self._device.type == "cuda":
            torch.set_default_dtype(dtype)
        try:
            with self._device:
                return kind(**options).eval()
        finally:
            torch.set_default_dtype(usual)

    def either(self, real: Options, small: Options) -> Options:
        return real | small if self.small else real


def wan_21(make: Maker) -> DiffusionPipeline:
    """Wan 2.1 I2V 14B 480P."""
    seen = make.either({"hidden_size": 1280, "num_attention_heads": 16, "intermediate_size": 5120}, _TINY_VISION)
    vision = CLIPVisionConfig(num_hidden_layers=2, image_size=224, patch_size=14, **seen)
    width: int = seen["hidden_size"]
    return _wan(
        make,
        {"image_dim": width, "added_kv_proj_dim": 24 if make.small else 5120},
        image_encoder=make.part(lambda: CLIPVisionModel(vision), dtype=torch.float32),
        image_processor=_small(CLIPImageProcessorPil),
    )


def wan_22(make: Maker) -> DiffusionPipeline:
    """Wan 2.2 I2V A14B: two transformers, one for the noisy steps."""
    return _wan(make, {}, twice=True, boundary_ratio=0.9)


def ltx_2(make: Maker) -> DiffusionPipeline:
    """LTX-2 19B with its sound."""
    text = make.either({"hidden_size": 3840, "num_attention_heads": 16, "head_dim": 256}, _TINY_TEXT)
    width = text["hidden_size"]
    gemma = Gemma3Config(
        text_config={"vocab_size": 128, "num_hidden_layers": 1, "intermediate_size": 64, "num_key_value_heads": 1}
        | text,
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
    tokens = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁", *_LETTERS]
    heads = {"num_layers": 2, "num_attention_heads": 2, "attention_head_dim": 8, "cross_attention_dim": 16}
    sound = {"audio_num_attention_heads": 2, "audio_attention_head_dim": 4, "audio_cross_attention_dim": 8}
    connectors = {
        f"{kind}_connector_{name}": size
        for kind in ("video", "audio")
        for name, size in (("num_attention_heads", 2), ("attention_head_dim", 8), ("num_layers", 1))
    }
    picture = {
        "block_out_channels": (8, 16, 32, 64),
        "decoder_block_out_channels": (8, 16, 32),
        "layers_per_block": (1,) * 5,
        "decoder_layers_per_block": (1,) * 4,
    }
    rope = {"rope_type": "split", "rope_double_precision": False}
    return LTX2ConditionPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, shift_terminal=0.1),
        vae=make.part(
            AutoencoderKLLTX2Video,
            **make.either(
                {"decoder_causal": False, "spatial_compression_ratio": 32, "temporal_compression_ratio": 8}, picture
            ),
        ),
        audio_vae=make.part(AutoencoderKLLTX2Audio),
        text_encoder=make.part(lambda: Gemma3ForConditionalGeneration(gemma)),
        tokenizer=_small(
            GemmaTokenizer, vocab={token: n for n, token in enumerate(tokens)}, merges=[], model_max_length=1024
        ),
        connectors=make.part(
            LTX2TextConnectors, **make.either(rope | {"caption_channels": width, "text_proj_in_factor": 2}, connectors)
        ),
        transformer=make.part(
            LTX2VideoTransformer3DModel, **make.either(rope | {"caption_channels": width}, heads | sound)
        ),
        vocoder=make.part(LTX2Vocoder, **make.either({}, {"hidden_channels": 64})),
    )


def svd_xt(make: Maker) -> DiffusionPipeline:
    """Stable Video Diffusion XT."""
    seen = make.either({"hidden_size": 1280, "num_attention_heads": 16, "intermediate_size": 5120}, _TINY_VISION)
    vision = CLIPVisionConfig(num_hidden_layers=1, image_size=224, patch_size=14, projection_dim=1024, **seen)
    widths = {"block_out_channels": (32, 32, 64, 64), "num_attention_heads": (1, 1, 2, 2)}
    channels = (32, 32, 32, 32) if make.small else (128, 256, 512, 512)
    return StableVideoDiffusionPipeline(
        vae=make.part(
            AutoencoderKLTemporalDecoder,
            dtype=torch.float16,
            down_block_types=("DownEncoderBlock2D",) * 4,
            block_out_channels=channels,
            layers_per_block=2,
        ),
        image_encoder=make.part(lambda: CLIPVisionModelWithProjection(vision), dtype=torch.float16),
        unet=make.part(UNetSpatioTemporalConditionModel, dtype=torch.float16, **make.either({}, widths)),
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
        feature_extractor=_small(CLIPImageProcessorPil, size=224, crop_size=224),
    )


def _wan(make: Maker, options: Options, *, twice: bool = False, **parts: Any) -> DiffusionPipeline:  # noqa: ANN401 - of several kinds
    tiny = {"num_attention_heads": 2, "attention_head_dim": 12, "ffn_dim": 32, "num_layers": 2, "rope_max_seq_len": 64}
    config = make.either({"in_channels": 36, **options}, tiny)
    text = UMT5Config(
        vocab_size=256, d_model=4096, d_ff=64, d_kv=8, num_heads=2, num_layers=1, feed_forward_proj="gated-gelu"
    )
    return WanImageToVideoPipeline(
        tokenizer=_small(
            T5Tokenizer,
            vocab=[
                ("<pad>", 0.0),
                ("</s>", 0.0),
                ("<unk>", 0.0),
                ("▁", -2.0),
                *((letter, -3.0) for letter in _LETTERS),
            ],
            extra_ids=0,
        ),
        text_encoder=make.part(lambda: UMT5EncoderModel(text)),
        vae=make.part(
            AutoencoderKLWan,
            dtype=torch.float32,
            **make.either({}, {"base_dim": 3, "dim_mult": [1] * 4, "num_res_blocks": 1}),
        ),
        scheduler=_small(
            UniPCMultistepScheduler, prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=5.0
        ),
        transformer=make.part(WanTransformer3DModel, **config),
        **({"transformer_2": make.part(WanTransformer3DModel, **config)} if twice else {}),
        **parts,
    )


def _small(kind: Callable[..., object], **options: Any) -> Any:  # noqa: ANN401 - pipelines name other classes than they take
    return kind(**options)


_TINY_VISION: Options = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 32}
_TINY_TEXT: Options = {"hidden_size": 16, "num_attention_heads": 2, "head_dim": 8}
