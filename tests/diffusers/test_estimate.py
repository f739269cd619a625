"""The estimated room of a decode against what the decoders hold, at their published widths.

They run on tensors that have shapes and no numbers, so that gigabytes cost nothing.
"""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any
from weakref import finalize

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
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from clips.domain import Plan
from generator.engines.diffusers.estimate import decode_room
from generator.engines.diffusers.hunyuan15_decoder import continuing
from generator.engines.diffusers.tiles import WITHOUT_FIRST, in_time

Decode = Callable[[Any, torch.Tensor], object]


class Live(TorchDispatchMode):
    """Counts the bytes of the tensors that are alive."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._sizes: dict[int, int] = {}

    def __torch_dispatch__(
        self, func: Any, types: object, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> object:
        made = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(made):
            if isinstance(leaf, torch.Tensor):
                storage = leaf.untyped_storage()
                key = storage._cdata  # pyright: ignore[reportPrivateUsage] - views share it
                if key not in self._sizes:
                    self._sizes[key] = storage.nbytes()
                    finalize(storage, self._sizes.pop, key)
        self.peak = max(self.peak, sum(self._sizes.values()))
        return made


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


STILL = {"block_out_channels": (128, 256, 512, 512), "down_block_types": ("DownEncoderBlock2D",) * 4}
LTX = {"spatial_compression_ratio": 32, "temporal_compression_ratio": 8}
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
        pytest.param(AutoencoderKLLTX2Video, LTX | {"decoder_causal": False}, (128, 9, 16, 24), _plain, id="LTX-2"),
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
    dtype = torch.bfloat16 if "LTX" in kind.__name__ else torch.float32  # as on a GPU
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad(), _made_in(dtype):
        vae, given = kind(**options).eval(), torch.empty(1, *latents)
        with Live() as live:
            decode(vae, given)
    config: dict[str, Any] = {
        name: list(value) if isinstance(value, tuple) else value for name, value in vae.config.items()
    }
    config["_class_name"] = kind.__name__
    _, frames, height, width = latents
    across, along = (
        int(config.get(f"scale_factor_{way}") or config.get(f"{way}_compression_ratio") or usual)
        for way, usual in (("spatial", 8), ("temporal", 1))
    )
    plan = Plan(width=width * across, height=height * across, frames=(frames - 1) * along + 1, fps=24, credits=1)
    assert 0.8 < decode_room(config, dtype.itemsize, plan, tiled=False) / live.peak < 1.25


@contextmanager
def _made_in(dtype: torch.dtype) -> Generator[None]:
    usual = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(usual)
