"""The estimated room of a step against what two blocks of the published denoisers hold, and of a UNet all of them."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import pytest
import torch
from live import Live, without_numbers

from clips.domain import Plan
from generator.engines.diffusers.estimate import step_room
from generator.engines.diffusers.published import components

FEW = {"num_layers": 2}
GUIDED, ALONE = 2, 1


def _tensor(*shape: int) -> torch.Tensor:
    return torch.empty(shape)


def _wan(_: int) -> Mapping[str, Any]:
    photo = {"encoder_hidden_states_image": _tensor(1, 257, 1280)}
    return {"hidden_states": _tensor(1, 36, 21, 88, 160), "timestep": torch.tensor([1]), **_words(1, 512), **photo}


def _timed(_: int) -> Mapping[str, Any]:
    return {"hidden_states": _tensor(1, 48, 21, 44, 80), "timestep": _tensor(1, 21 * 22 * 40), **_words(1, 512)}


def _ltx(clips: int) -> Mapping[str, Any]:
    tokens, mask = 21 * 22 * 40, {"encoder_attention_mask": torch.ones(clips, 128)}
    sizes = {"num_frames": 21, "height": 22, "width": 40}
    return {
        "hidden_states": _tensor(clips, tokens, 128),
        "timestep": _tensor(clips, tokens),
        **_words(clips, 128),
        **mask,
        **sizes,
    }


def _ltx_2(clips: int) -> Mapping[str, Any]:
    sound = {"audio_hidden_states": _tensor(clips, 376, 128), "audio_timestep": _tensor(clips)}
    sound |= {"audio_encoder_hidden_states": _tensor(clips, 128, 3840)}
    sound |= {"audio_encoder_attention_mask": torch.ones(clips, 128), "audio_num_frames": 376, "fps": 24.0}
    return {**_ltx(clips), "encoder_hidden_states": _tensor(clips, 128, 3840), **sound}


def _cogvideox(clips: int) -> Mapping[str, Any]:
    turned = tuple(torch.empty(21 * 44 * 80, 64, dtype=torch.float32) for _ in range(2))
    times = {"timestep": torch.tensor([1] * clips), "ofs": torch.tensor([2.0])}
    return {
        "hidden_states": _tensor(clips, 42, 32, 88, 160),
        **times,
        **_words(clips, 226),
        "image_rotary_emb": turned,
    }


def _hunyuan(_: int) -> Mapping[str, Any]:
    words = {"encoder_attention_mask": torch.ones(1, 256), "pooled_projections": _tensor(1, 768), **_words(1, 256)}
    times = {"timestep": torch.tensor([1]), "guidance": torch.tensor([1000.0])}
    return {"hidden_states": _tensor(1, 16, 21, 88, 160), **times, **words}


def _svd(clips: int) -> Mapping[str, Any]:
    photo = {"encoder_hidden_states": _tensor(clips, 1, 1024), "added_time_ids": _tensor(clips, 3)}
    return {"sample": _tensor(clips, 21, 8, 88, 160), "timestep": torch.tensor(1.0), **photo}


def _words(clips: int, tokens: int) -> Mapping[str, torch.Tensor]:
    return {"encoder_hidden_states": _tensor(clips, tokens, 4096)}


@pytest.mark.parametrize(
    ("denoiser", "vae", "given", "shape", "blocks", "clips"),
    [
        pytest.param("wan-2.1-14b", "wan-2.1-vae", _wan, (1280, 704, 81), FEW, ALONE),
        pytest.param("skyreels-v2-14b", "wan-2.1-vae", _wan, (1280, 704, 81), FEW, ALONE),
        pytest.param("wan-2.2-5b", "wan-2.2-vae", _timed, (1280, 704, 81), FEW, ALONE),
        pytest.param("ltx-13b", "ltx-0.9.1-vae", _ltx, (1280, 704, 161), FEW, GUIDED),
        pytest.param("ltx-2-19b", "ltx-2-vae", _ltx_2, (1280, 704, 161), FEW, GUIDED),
        pytest.param("ltx-2-19b", "ltx-2-vae", _ltx_2, (1280, 704, 161), FEW, ALONE),
        pytest.param("cogvideox-1.5-5b-i2v", "cogvideox-vae", _cogvideox, (1280, 704, 165), FEW, GUIDED),
        pytest.param(
            "hunyuan-i2v-13b", "hunyuan-vae", _hunyuan, (1280, 704, 81), FEW | {"num_single_layers": 2}, ALONE
        ),
        pytest.param("svd-unet", "svd-vae", _svd, (1280, 704, 21), {}, GUIDED),
    ],
)
def test_a_step_takes_what_is_estimated(
    denoiser: str,
    vae: str,
    given: Callable[[int], Mapping[str, Any]],
    shape: tuple[int, int, int],
    blocks: Mapping[str, int],
    clips: int,
) -> None:
    component = components()[denoiser]
    module, _, name = component.kind.rpartition(".")
    lists = {key: tuple(value) if isinstance(value, list) else value for key, value in component.config.items()}
    with without_numbers(torch.bfloat16):
        network, tensors = getattr(import_module(module), name)(**{**lists, **blocks}).eval(), given(clips)
        with Live(network) as live:
            network(**tensors)
    width, height, frames = shape
    plan = Plan(width=width, height=height, frames=frames, fps=24, credits=1)
    told = step_room(
        {"_class_name": name, **component.config},
        {"_class_name": components()[vae].kind.rpartition(".")[2], **components()[vae].config},
        plan,
        guided=clips == GUIDED,
    )
    assert 0.95 < told / live.peak < 1.25
