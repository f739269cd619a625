"""The decoder of HunyuanVideo 1.5, a latent frame at a time.

All of it looks back only, yet diffusers runs it over the whole clip, with a mask as large as the square of the clip's
latents: 46 GiB for five seconds at 720p. Here each layer keeps what later frames need of earlier ones. The sums are the
same, grouped otherwise: the clip is that of a whole decode but for rounding.
"""

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager

import torch
from diffusers.models.autoencoders.autoencoder_kl_hunyuanvideo15 import (
    HunyuanVideo15AttnBlock,
    HunyuanVideo15CausalConv3d,
    HunyuanVideo15Decoder3D,
    HunyuanVideo15Upsample,
)
from torch.nn import functional

from generator.engines.diffusers.steering import replaced

Layer = Callable[[torch.Tensor], torch.Tensor]


@contextmanager
def continuing(decoder: HunyuanVideo15Decoder3D) -> Generator[None]:
    """Within it each call of the decoder takes the next latent frame of one clip."""
    with ExitStack() as stack:
        for part in decoder.modules():
            layer: Layer
            match part:
                case HunyuanVideo15CausalConv3d():
                    layer = _Convolution(part)
                case HunyuanVideo15AttnBlock():
                    layer = _Attention(part)
                case HunyuanVideo15Upsample() if part.add_temporal_upsample:
                    layer = _Upsample(part)
                case _:
                    continue
            stack.enter_context(replaced(part, "forward", layer))
        yield


class _Convolution:
    """Keeps the last frames that it was given; before the first there is that one again."""

    def __init__(self, layer: HunyuanVideo15CausalConv3d) -> None:
        self._layer = layer
        self._past: torch.Tensor | None = None

    def __call__(self, frames: torch.Tensor) -> torch.Tensor:
        *around, back, _ = self._layer.time_causal_padding
        past = frames[:, :, :1].expand(-1, -1, back, -1, -1) if self._past is None else self._past
        frames = torch.cat([past, frames], 2)
        self._past = frames[:, :, -back:].clone()
        return self._layer.conv(functional.pad(frames, (*around, 0, 0), mode=self._layer.pad_mode))


class _Attention:
    """Keeps the keys and values of all frames; the newest frame looks at every one of them, so it needs no mask."""

    def __init__(self, layer: HunyuanVideo15AttnBlock) -> None:
        self._layer = layer
        self._past: tuple[torch.Tensor, ...] = ()

    def __call__(self, frame: torch.Tensor) -> torch.Tensor:
        layer = self._layer
        normed = layer.norm(frame)
        query, *newest = (
            project(normed).flatten(2).transpose(1, 2).unsqueeze(1) for project in (layer.to_q, layer.to_k, layer.to_v)
        )
        past = self._past or tuple(tensor[:, :, :0] for tensor in newest)
        self._past = tuple(torch.cat(pair, 2) for pair in zip(past, newest, strict=True))
        key, value = self._past
        seen = functional.scaled_dot_product_attention(query, key, value)
        return frame + layer.proj_out(seen.squeeze(1).transpose(1, 2).reshape(frame.shape))


class _Upsample:
    """Makes two frames of each, but of the clip's first one."""

    def __init__(self, layer: HunyuanVideo15Upsample) -> None:
        self._layer = layer
        self._begun = False

    def __call__(self, frames: torch.Tensor) -> torch.Tensor:
        layer = self._layer
        if not self._begun:
            self._begun = True
            return type(layer).forward(layer, frames)
        return _spread(layer.conv(frames)) + _spread(frames).repeat_interleave(layer.repeats, 1)


def _spread(packed: torch.Tensor) -> torch.Tensor:
    """(b, 8 × c, n, h, w) as (b, c, 2 × n, 2 × h, 2 × w): the channels become neighbours in time, height and width."""
    apart = packed.unflatten(1, (2, 2, 2, -1)).permute(0, 4, 5, 1, 6, 2, 7, 3)
    return apart.flatten(6, 7).flatten(4, 5).flatten(2, 3)
