"""The compression that a gateway client asks for: one continuous stream per connection."""

import zlib
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import Protocol, TypeAlias, cast

Compressor: TypeAlias = Callable[[bytes], bytes | None]
"""Packs one frame; None where frames go out as text."""


class _BuiltIn(Protocol):
    """What is needed of Python 3.14's `compression.zstd.ZstdCompressor`."""

    FLUSH_BLOCK: int

    def compress(self, data: bytes, mode: int) -> bytes: ...


class _Package(Protocol):
    """What is needed of a compression object of the zstandard package."""

    def compress(self, data: bytes) -> bytes: ...

    def flush(self, mode: int) -> bytes: ...


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
    with suppress(ImportError):
        built_in = cast("_BuiltIn", import_module("compression.zstd").ZstdCompressor())
        return lambda frame: built_in.compress(frame, built_in.FLUSH_BLOCK)
    with suppress(ImportError):
        package = import_module("zstandard")
        stream = cast("_Package", package.ZstdCompressor().compressobj())
        block = int(package.COMPRESSOBJ_FLUSH_BLOCK)
        return lambda frame: stream.compress(frame) + stream.flush(block)
    return None
