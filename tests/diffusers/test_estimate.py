"""The estimated room of a decode against what the decoders hold, at their published widths."""

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.autoencoder_kl_cogvideox import AutoencoderKLCogVideoX
from diffusers.models.autoencoders.autoencoder_kl_hunyuan_video import AutoencoderKLHunyuanVideo
from diffusers.models.autoencoders.autoencoder_kl_hunyuanvideo15 import AutoencoderKLHunyuanVideo15
from diffusers.models.autoencoders.autoencoder_kl_ltx import AutoencoderKLLTXVideo
from diffusers.models.autoencoders.autoencoder_kl_ltx2 import AutoencoderKLLTX2Video
from diffusers.models.autoencoders.autoencoder_kl_temporal_decoder import AutoencoderKLTemporalDecoder
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
from live import Live, without_numbers

from clips.domain import Plan
from generator.engines.diffusers import tiles
from generator.engines.diffusers.cogvideox import CogVideoX
from generator.engines.diffusers.estimate import decode_room
from generator.engines.diffusers.family import Family
from generator.engines.diffusers.hunyuan import Hunyuan
from generator.engines.diffusers.hunyuan15 import Hunyuan15
from generator.engines.diffusers.hunyuan15_decoder import continuing
from generator.engines.diffusers.ltx2 import Ltx2
from generator.engines.diffusers.ltx_first import LtxFirst
from generator.engines.diffusers.tiles import WITHOUT_FIRST, in_time
from generator.engines.diffusers.wan import Wan

Decode = Callable[[Any, torch.Tensor], object]


def _plain(vae: Any, latents: torch.Tensor) -> object:
    return vae.decode(latents)


def _timed(vae: Any, latents: torch.Tensor) -> None:
    in_time(vae, latents, lambda tile: vae.decode(tile, return_dict=False)[0], WITHOUT_FIRST, lambda _: None)


def _one_by_one(vae: Any, latents: torch.Tensor) -> None:
    with continuing(vae.decoder):
        for frame in latents.split(1, 2):
            vae.decode(frame)


def _noisy(vae: Any, latents: torch.Tensor) -> object:
    return vae.decode(latents, torch.zeros(1))


def _together(vae: Any, latents: torch.Tensor) -> object:
    return vae.decode(latents[0].transpose(0, 1), num_frames=latents.shape[2])


def _alone(vae: Any, latents: torch.Tensor) -> object:
    return vae.decode(latents[:, :, 0])


def _whole(family: Any, latents: torch.Tensor) -> None:
    family.decode(None, (latents,), OUT)


def _framed(family: Any, latents: torch.Tensor) -> None:
    family.decode(SimpleNamespace(plan=SimpleNamespace(frames=1)), (latents.transpose(1, 2),), OUT)


def _piecewise(family: Any, latents: torch.Tensor) -> None:
    family.pieces(latents, OUT)


def _untimed(family: Any, latents: torch.Tensor) -> None:
    family.pieces(latents, None, OUT)


OUT = SimpleNamespace(frames=lambda _: None, pictures=lambda _: None)
STILL = {"block_out_channels": (128, 256, 512, 512), "down_block_types": ("DownEncoderBlock2D",) * 4}
LTX = {"spatial_compression_ratio": 32, "temporal_compression_ratio": 8}
SEEING = LTX | {"decoder_causal": False}
COGVIDEOX = {
    "block_out_channels": (128, 256, 256, 512),
    "down_block_types": ("CogVideoXDownBlock3D",) * 4,
    "up_block_types": ("CogVideoXUpBlock3D",) * 4,
}
TI2V = {
    "base_dim": 160,
    "decoder_base_dim": 256,
    "z_dim": 48,
    "is_residual": True,
    "in_channels": 12,
    "out_channels": 12,
    "patch_size": 2,
    "scale_factor_spatial": 16,
    "latents_mean": [0.0] * 48,
    "latents_std": [1.0] * 48,
}
NINE_TO_FIVE = {
    "decoder_block_out_channels": (256, 512, 1024),
    "decoder_layers_per_block": (5, 5, 5, 5),
    "decoder_spatio_temporal_scaling": (True,) * 3,
    "decoder_inject_noise": (False,) * 4,
    "upsample_residual": (True,) * 3,
    "upsample_factor": (2, 2, 2),
    "timestep_conditioning": True,
}


@pytest.mark.parametrize(
    ("kind", "options", "latents", "decode"),
    [
        pytest.param(AutoencoderKLWan, {}, (16, 5, 32, 32), _plain, id="Wan 2.1"),
        pytest.param(AutoencoderKLWan, TI2V, (48, 5, 16, 16), _plain, id="Wan 2.2 5B"),
        pytest.param(AutoencoderKLCogVideoX, COGVIDEOX, (16, 7, 30, 45), _plain, id="CogVideoX"),
        pytest.param(AutoencoderKLHunyuanVideo, {}, (16, 9, 32, 32), _timed, id="HunyuanVideo"),
        pytest.param(AutoencoderKLHunyuanVideo15, {}, (32, 7, 16, 16), _one_by_one, id="HunyuanVideo 1.5"),
        pytest.param(AutoencoderKLLTXVideo, LTX, (128, 9, 16, 24), _plain, id="LTX-Video 0.9"),
        pytest.param(AutoencoderKLLTXVideo, LTX | NINE_TO_FIVE, (128, 9, 16, 24), _noisy, id="LTX-Video 0.9.5"),
        pytest.param(AutoencoderKLLTX2Video, SEEING, (128, 9, 16, 24), _plain, id="LTX-2"),
        pytest.param(
            AutoencoderKLTemporalDecoder, STILL | {"layers_per_block": 2}, (4, 8, 32, 32), _together, id="SVD"
        ),
        pytest.param(
            AutoencoderKL,
            STILL | {"layers_per_block": 2, "up_block_types": ("UpDecoderBlock2D",) * 4},
            (4, 1, 64, 64),
            _alone,
            id="Stable Diffusion",
        ),
    ],
)
def test_a_decode_takes_what_is_estimated(
    kind: Any, options: Mapping[str, object], latents: tuple[int, ...], decode: Decode
) -> None:
    dtype = torch.float32 if "Wan" in kind.__name__ else torch.bfloat16  # as on a GPU
    with without_numbers(dtype):
        vae, given = kind(**options).eval(), torch.empty(1, *latents)
        with Live(vae) as live:
            decode(vae, given)
    assert 0.8 < decode_room(*_asked(vae, latents), tiled=False) / live.peak < 1.25


@pytest.mark.parametrize(
    ("adapter", "decode", "kind", "options", "latents"),
    [
        pytest.param(Wan, _whole, AutoencoderKLWan, {}, (16, 3, 24, 60), id="Wan 2.1"),
        pytest.param(Wan, _whole, AutoencoderKLWan, TI2V, (48, 3, 12, 30), id="Wan 2.2 5B"),
        pytest.param(CogVideoX, _framed, AutoencoderKLCogVideoX, COGVIDEOX, (16, 3, 24, 80), id="CogVideoX"),
        pytest.param(Hunyuan, _piecewise, AutoencoderKLHunyuanVideo, {}, (16, 5, 24, 60), id="HunyuanVideo"),
        pytest.param(Hunyuan15, _piecewise, AutoencoderKLHunyuanVideo15, {}, (32, 3, 12, 30), id="HunyuanVideo 1.5"),
        pytest.param(LtxFirst, _untimed, AutoencoderKLLTXVideo, LTX, (128, 4, 14, 14), id="LTX-Video 0.9"),
        pytest.param(Ltx2, _untimed, AutoencoderKLLTX2Video, SEEING, (128, 4, 14, 14), id="LTX-2"),
    ],
)
def test_a_decode_in_tiles_takes_what_is_estimated(
    adapter: type[Family[Any]],
    decode: Callable[[Any, torch.Tensor], None],
    kind: Any,
    options: Mapping[str, object],
    latents: tuple[int, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tiles, "in_bytes", lambda _: [np.zeros((1, 1, 1, 3), np.uint8)])
    family: Any = object.__new__(adapter)
    with without_numbers(torch.float32 if "Wan" in kind.__name__ else torch.bfloat16):
        vae, given = kind(**options).eval(), torch.empty(1, *latents)
        denoiser = SimpleNamespace(config=SimpleNamespace(patch_size_t=None))
        family._pipe = SimpleNamespace(
            vae=vae, transformer=denoiser, vae_scale_factor_spatial=8, vae_scale_factor_temporal=4
        )
        family.tile()
        with Live(vae) as live:
            decode(family, given)
    assert 0.8 < decode_room(*_asked(vae, latents), tiled=True) / live.peak < 1.4


def _asked(vae: Any, latents: tuple[int, ...]) -> tuple[dict[str, Any], int, Plan]:
    """A decoder's configuration, the bytes of a number, and what is decoded."""
    config: dict[str, Any] = {
        name: list(value) if isinstance(value, tuple) else value for name, value in vae.config.items()
    }
    config["_class_name"] = type(vae).__name__
    _, frames, height, width = latents
    across, along = (
        int(config.get(f"scale_factor_{way}") or config.get(f"{way}_compression_ratio") or usual)
        for way, usual in (("spatial", 8), ("temporal", 1))
    )
    plan = Plan(width=width * across, height=height * across, frames=(frames - 1) * along + 1, fps=24, credits=1)
    return config, vae.dtype.itemsize, plan
