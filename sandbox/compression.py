"""The compression that a gateway client asks for: one continuous stream per connection."""

import zlib
from collections.abc import Callable
from importlib import import_module
from typing import Protocol, TypeAlias, cast

Compressor: TypeAlias = Callable[[bytes], bytes | None]
"""Packs one frame; None where frames go out as text."""


class _Zstd(Protocol):
    """The part of Python 3.14's `compression.zstd.ZstdCompressor` that is needed."""

    FLUSH_BLOCK: int

    def compress(self, data: bytes, mode: int) -> bytes: ...


def compressor_for(asked: str) -> Compressor | None:
    """A compressor for the `compress` of a gateway address; None if it cannot be served.

    discord.py asks for zstd exactly where Python has it built in (3.14), or where the zstandard package is installed.
    """
    if not asked:
        return lambda _: None
    if asked == "zlib-stream":
        stream = zlib.compressobj()
        return lambda frame: stream.compress(frame) + stream.flush(zlib.Z_SYNC_FLUSH)
    if asked == "zstd-stream":
        return _zstd()
    return None


def _zstd() -> Compressor | None:
    try:
        module = import_module("compression.zstd")
    except ImportError:
        return None
    stream = cast("_Zstd", module.ZstdCompressor())
    return lambda frame: stream.compress(frame, stream.FLUSH_BLOCK)
