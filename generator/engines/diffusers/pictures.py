"""From what a decoder makes to what an encoder takes."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

AT_ONCE = 8
"""Frames that are converted, and go to the encoder, together: more of them would be there twice for no use."""


def in_bytes(video: torch.Tensor) -> Iterator[NDArray[np.uint8]]:
    """(1, 3, n, height, width) from -1 to 1 as some of (n, height, width, 3) from 0 to 255 after another.

    Converted on the device, to a quarter of the bytes; rounded and clipped first, because a float out of range wraps.
    """
    for frames in video[0].split(AT_ONCE, 1):
        scaled = (frames.permute(1, 2, 3, 0).float() * 127.5).add_(127.5)
        yield scaled.round_().clamp_(0, 255).to(torch.uint8).contiguous().cpu().numpy()
