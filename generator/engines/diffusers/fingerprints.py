"""What an encoder was given, as a key of a few bytes: the photo's frames alone may be a gigabyte on the GPU."""

from collections.abc import Hashable, Mapping
from functools import cache
from hashlib import sha256
from secrets import randbits
from types import NoneType
from typing import cast

import torch
from PIL import Image
from torch.nn.functional import pad

_WORDS = 1 << 16
"""Of 32 bits, in a block."""
_BLOCKS = 64
"""Summed up at once: 16 MiB, which take 64 MiB for it."""
_SUMS = 4
_PLAIN = (str, int, float, NoneType, torch.dtype, torch.device)


def fingerprint(value: object) -> Hashable:
    """Equal for equal values of one type, and for no others. None for what is neither text nor number, picture or
    tensor, nor a container of such alone: it may give something else the next time.
    """
    if isinstance(value, torch.Tensor):
        return torch.Tensor, value.dtype, value.shape, str(value.device), _digest(value)
    if isinstance(value, Image.Image):
        return Image.Image, value.mode, value.size, sha256(value.tobytes()).digest()
    if isinstance(value, Mapping):
        named = fingerprint(tuple(cast("Mapping[object, object]", value).items()))
        return None if named is None else (type(value), named)
    if isinstance(value, tuple | list):
        parts = tuple(map(fingerprint, cast("tuple[object]", value)))
        return None if None in parts else (type(value), parts)
    return (type(value), value) if isinstance(value, _PLAIN) else None


def _digest(tensor: torch.Tensor) -> bytes:
    content = tensor.detach().contiguous().flatten().view(torch.uint8)
    return sha256((content if content.device.type == "cpu" else block_sums(content).cpu()).numpy().data).digest()


def block_sums(content: torch.Tensor) -> torch.Tensor:
    """Bytes (n,), n known besides, as numbers (blocks, 4), for a digest on their own device.

    Each sums up a block's words times random numbers of their places, modulo 2^64. Two blocks that differ, be it in
    their words' order alone, agree in a sum with a chance of at most 2^-32, and in the four of them of 2^-128: the
    numbers are this process's own and nobody can make a photo for them.
    """
    weights, sums = _weights(content.device), list[torch.Tensor]()
    for piece in content.split(_BLOCKS * _WORDS * 4):
        words = pad(piece, (0, -len(piece) % (_WORDS * 4))).view(torch.int32).view(-1, _WORDS).long()
        sums.append(torch.stack([(words * weight).sum(1) for weight in weights], 1))
    return torch.cat(sums)


@cache
def _weights(device: torch.device) -> torch.Tensor:
    numbers = torch.randint(
        -(2**63), 2**63 - 1, (_SUMS, _WORDS), generator=torch.Generator().manual_seed(randbits(64)), dtype=torch.int64
    )
    return numbers.to(device)
