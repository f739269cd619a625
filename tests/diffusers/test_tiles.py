"""Decodes in pieces and in tiles against diffusers' own of the same latents."""

import asyncio
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from engine_harness import Told, pipe_of
from families import FAMILIES, WORDS
from numpy.typing import NDArray
from PIL import Image

from clips.domain import Plan
from generator.engines.base import TakeSeed
from generator.engines.diffusers.engine import DiffusersEngine
from generator.engines.diffusers.family import Family, Latents, Scene
from generator.engines.diffusers.noise import Noise
from generator.engines.diffusers.pictures import in_bytes
from generator.engines.diffusers.steering import replaced


@dataclass(frozen=True)
class Case:
    """A model, a clip of several tiles in each direction, and the VAE's tiles for it.

    `regroups`: it is decoded in other pieces than diffusers', which comes to the same but for rounding.
    """

    entry: str
    plan: Plan
    tiles: dict[str, float]
    regroups: bool = False


def _plan(width: int, height: int, frames: int) -> Plan:
    return Plan(width=width, height=height, frames=frames, fps=24, credits=1)


def _square(size: int, stride: int) -> dict[str, float]:
    return {
        "tile_sample_min_height": size,
        "tile_sample_min_width": size,
        "tile_sample_stride_height": stride,
        "tile_sample_stride_width": stride,
    }


CASES = (
    Case("ltx-video", _plan(160, 96, 33), _square(64, 32)),
    Case("ltx-video-0.9.5", _plan(160, 96, 33), _square(64, 32)),
    Case("ltx-2", _plan(192, 160, 33), _square(128, 96)),
    Case("hunyuan-i2v", _plan(80, 48, 33), _square(32, 24)),
    Case("wan-2.2-ti2v-5b", _plan(160, 96, 9), _square(64, 48)),
    Case("wan-2.2-i2v-a14b", _plan(80, 48, 9), _square(32, 24)),
    Case(
        "cogvideox-1.5-5b-i2v",
        _plan(48, 32, 17),
        {
            "tile_sample_min_height": 24,
            "tile_sample_min_width": 24,
            "tile_overlap_factor_height": 1 / 3,
            "tile_overlap_factor_width": 1 / 3,
        },
    ),
    Case(
        "hunyuan-1.5-480p",
        _plan(160, 96, 13),
        {
            "tile_sample_min_height": 64,
            "tile_sample_min_width": 64,
            "tile_latent_min_height": 4,
            "tile_latent_min_width": 4,
        },
        regroups=True,
    ),
)


NARROW = Case("ltx-2", _plan(288, 96, 9), _square(160, 128))
"""Its last tile in a row would be one latent wide."""


@dataclass
class Gathered:
    """An `Out` that keeps what it gets."""

    parts: list[torch.Tensor] = field(default_factory=list[torch.Tensor])
    clip: NDArray[np.uint8] | None = None

    def frames(self, video: torch.Tensor) -> None:
        self.parts.append(video.clone())

    def pictures(self, made: NDArray[np.uint8]) -> None:
        assert self.clip is None, "the whole of it at once"
        self.clip = made

    def sound(self, samples: torch.Tensor, rate: int) -> None:
        assert not self.parts, "before the picture"


@dataclass(frozen=True)
class Bench:
    """A model's adapter and its VAE, latents of a clip, and what the adapter hands to the VAE for them."""

    case: Case
    family: Family[DiffusionPipeline]
    vae: Any
    latents: Latents
    given: tuple[torch.Tensor, ...]

    def same(self, one: torch.Tensor, other: torch.Tensor) -> bool:
        """To the bit; where a layer is called with other shapes than diffusers', but for rounding."""
        if not self.case.regroups:
            return torch.equal(one, other)
        apart = (one.double() - other.double()).abs()
        return apart.max().item() <= (1e-5 if one.is_floating_point() else 1) and apart.mean().item() < 1e-4

    def decode(self) -> Gathered:
        """What the adapter makes of the latents."""
        out = Gathered()
        torch.manual_seed(1)
        self.family.decode(cast("Scene", SimpleNamespace(plan=self.case.plan)), self.latents, out)
        return out

    def diffusers(self) -> torch.Tensor:
        """What the VAE makes of them by itself."""
        torch.manual_seed(1)  # the decoder of the first LTX-Video injects noise
        return self.vae.decode(*self.given, return_dict=False)[0]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.entry)
def bench(request: pytest.FixtureRequest, shelf: Path) -> Iterator[Bench]:
    with opened(request.param, shelf) as one:
        yield one


@contextmanager
def opened(case: Case, shelf: Path) -> Generator[Bench]:
    """The case's model, loaded, with latents of its own."""
    tiny = next(tiny for tiny in FAMILIES if tiny.entry == case.entry)
    model = tiny.model(tiny.saved(shelf))
    engine = asyncio.run(DiffusersEngine.load(model, "cpu", Told()))
    family = engine._runner._family  # pyright: ignore[reportPrivateUsage]
    vae: Any = pipe_of(engine).vae
    photo = Image.effect_noise((case.plan.width, case.plan.height), 90).convert("RGB")
    given: list[tuple[torch.Tensor, ...]] = []

    def listen(clip: torch.Tensor, *timestep: torch.Tensor, return_dict: bool) -> tuple[torch.Tensor]:
        assert not return_dict
        given.append((clip, *timestep))
        return (clip,)

    with torch.no_grad():
        latents = family.denoise(family.scene(WORDS, case.plan, photo, None), Noise(TakeSeed(0, 7)))
        framewise, vae.use_framewise_decoding = getattr(vae, "use_framewise_decoding", None), False
        one = Bench(case, family, vae, latents, ())
        with replaced(vae, "decode", listen):
            one.decode()
        vae.use_framewise_decoding = framewise
        yield replace(one, given=(torch.cat([clip for clip, *_ in given], 2), *given[0][1:]))
    asyncio.run(engine.close())


def test_a_decode_is_that_of_diffusers_to_the_bit(bench: Bench) -> None:
    made = bench.decode()
    assert bench.same(torch.cat(made.parts, 2), bench.diffusers())
    assert (len(made.parts) > 1) != bench.case.entry.startswith("ltx"), "in parts where no frame waits for a later one"


def test_in_tiles_it_is_that_of_diffusers_to_the_bit(bench: Bench) -> None:
    plain = bench.diffusers()
    bench.family.tile()
    bench.vae.enable_tiling(**bench.case.tiles)
    expected, made = bench.diffusers(), bench.decode()
    assert not torch.equal(expected, plain), "there are several tiles"
    if made.clip is None:
        assert torch.equal(torch.cat(made.parts, 2), expected)
        assert len(made.parts) > 1
    else:
        assert bench.same(torch.from_numpy(made.clip), torch.from_numpy(np.concatenate(list(in_bytes(expected)))))
        assert not made.parts


def test_no_tile_of_ltx_2_is_too_narrow_for_its_decoder(shelf: Path) -> None:
    with opened(NARROW, shelf) as bench:
        bench.family.tile()
        bench.vae.enable_tiling(**NARROW.tiles)
        made = bench.decode()
        with pytest.raises(RuntimeError, match="Padding size should be less"):
            bench.diffusers()
        bench.vae.enable_tiling(tile_sample_stride_width=96)
        assert torch.equal(torch.cat(made.parts, 2), bench.diffusers())
