"""Clips that a VAE decodes in tiles, with the numbers that diffusers comes to, and less of them held at a time.

diffusers decodes all tiles before it blends the first two, so every tile and two or three copies of the clip are there
at the end. Tiles in time are final one after another. Those in space are final row by row, and only as strips of the
whole clip: they are put together as bytes in RAM.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from generator.engines.diffusers.family import Out
from generator.engines.diffusers.pictures import in_bytes

Take = Callable[[torch.Tensor], None]
"""Given frames, (1, channels, n, height, width), in their order."""

Decode = Callable[[torch.Tensor, Take], None]
"""Decodes latents and hands out frames as the decoder makes them."""

WITHOUT_FIRST, WITHOUT_LAST = slice(1, None), slice(None, -1)


class Timed(Protocol):
    """A VAE with tiles in time: LTX-Video's, LTX-2's, HunyuanVideo's."""

    use_framewise_decoding: bool
    temporal_compression_ratio: int
    tile_sample_min_num_frames: int
    tile_sample_stride_num_frames: int

    def blend_t(self, a: torch.Tensor, b: torch.Tensor, blend_extent: int) -> torch.Tensor:
        """The second with its beginning faded over from the end of the first; in place."""
        ...


class Spread(Protocol):
    """A VAE with tiles in space."""

    use_tiling: bool

    def blend_v(self, a: torch.Tensor, b: torch.Tensor, blend_extent: int) -> torch.Tensor:
        """The second with its upper edge faded over from the lower one of the first; in place."""
        ...

    def blend_h(self, a: torch.Tensor, b: torch.Tensor, blend_extent: int) -> torch.Tensor:
        """The same from the left."""
        ...


@dataclass(frozen=True, slots=True)
class Cut:
    """How a side is cut: tiles of so many latents, one every `stride` of them, each latent `scale` pixels."""

    size: int
    stride: int
    scale: int

    @property
    def kept(self) -> int:
        """Pixels of each tile that the next one does not replace."""
        return self.stride * self.scale

    @property
    def blended(self) -> int:
        """Pixels that fade over from one tile to the next."""
        return (self.size - self.stride) * self.scale


def in_time(
    vae: Timed, latents: torch.Tensor, decode: Callable[[torch.Tensor], torch.Tensor], rest: slice, take: Take
) -> None:
    """Decode in tiles where the VAE would, and else whole. `rest` are the frames that count of later tiles."""
    along = vae.temporal_compression_ratio
    size, stride = vae.tile_sample_min_num_frames // along, vae.tile_sample_stride_num_frames // along
    if not vae.use_framewise_decoding or latents.shape[2] <= size:
        take(decode(latents))
        return
    kept = vae.tile_sample_stride_num_frames
    blended = vae.tile_sample_min_num_frames - kept
    before: torch.Tensor | None = None
    with _untimed(vae):
        for first in range(0, latents.shape[2] - 1, stride):  # nothing is left of a tile of the last latent alone
            tile = decode(latents[:, :, first : first + size + 1])
            if before is None:
                take(tile[:, :, : kept + 1])
            else:
                tile = vae.blend_t(before, tile[:, :, rest], blended)
                take(tile[:, :, :kept])
            before = tile[:, :, -blended:].clone()
            del tile  # not held while the next one is decoded


def causal(
    vae: Spread,
    latents: torch.Tensor,
    cuts: tuple[Cut, Cut],
    decode: Decode,
    out: Out,
    shown: Callable[[torch.Tensor], torch.Tensor] = lambda made: made,
) -> None:
    """Hand out what a decoder that looks back only makes of each piece of the clip; in tiles, the clip at the end.

    A tile's whole clip is decoded before the next tile: what the decoder remembers of all tiles from one piece to the
    next is larger than the clip. `cuts` are those of height and width. `shown` makes RGB of what `decode` hands out.
    """
    if vae.use_tiling and any(side > cut.size for side, cut in zip(latents.shape[-2:], cuts, strict=True)):
        out.pictures(_in_space(vae, latents, cuts, decode, shown))
    else:
        decode(latents, lambda made: out.frames(shown(made)))


def _in_space(
    vae: Spread,
    latents: torch.Tensor,
    cuts: tuple[Cut, Cut],
    decode: Decode,
    shown: Callable[[torch.Tensor], torch.Tensor],
) -> NDArray[np.uint8]:
    down, right = cuts
    strips: list[NDArray[np.uint8]] = []
    above: list[torch.Tensor] = []
    for top in range(0, latents.shape[-2], down.stride):
        row: list[torch.Tensor] = []
        for left in range(0, latents.shape[-1], right.stride):
            pieces: list[torch.Tensor] = []
            decode(latents[..., top : top + down.size, left : left + right.size], pieces.append)
            row.append(torch.cat(pieces, 2))
        for position, tile in enumerate(row):
            if above:
                vae.blend_v(above[position], tile, down.blended)
            if position:
                vae.blend_h(row[position - 1], tile, right.blended)
        above = [tile[..., -down.blended :, :].clone() for tile in row]
        strip = torch.cat([tile[..., : down.kept, : right.kept] for tile in row], -1)
        row.clear()
        strips.append(np.concatenate(list(in_bytes(shown(strip)))))
    return np.concatenate(strips, 1)


@contextmanager
def _untimed(vae: Timed) -> Generator[None]:
    vae.use_framewise_decoding = False
    try:
        yield
    finally:
        vae.use_framewise_decoding = True
