"""What Discord says about a file: its type by its name, its width and height by its first bytes."""

import struct
from collections.abc import Callable
from pathlib import Path, PurePath

# By name, not by content: like Discord's, this type is no promise about the bytes.
_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".avif": "image/avif",
    ".heic": "image/heic",
    ".heif": "image/heif",
    ".bmp": "image/bmp",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".svg": "image/svg+xml",
    ".mp4": "video/mp4",
    ".webm": "video/webm",
    ".mov": "video/quicktime",
    ".mp3": "audio/mpeg",
    ".wav": "audio/wav",
    ".ogg": "audio/ogg",
    ".txt": "text/plain; charset=utf-8",
    ".json": "application/json; charset=utf-8",
}
_HEAD = 512 * 1024
_NO_DIMENSIONS_IN_JPEG = {0xC4, 0xC8, 0xCC}


def type_of(filename: str) -> str:
    """A file's content type by its name."""
    return _TYPES.get(PurePath(filename).suffix.lower(), "application/octet-stream")


def dimensions_of(path: Path) -> tuple[int, int] | None:
    """Width and height in pixels of a PNG, JPEG, GIF, WebP or MP4 file; None for others and broken ones."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
        size = path.stat().st_size
        file.seek(max(0, size - _HEAD))
        tail = file.read()
    try:
        for starts, read in _READERS:
            if starts(head):
                return read(head) or (read(tail) if read is _mp4 else None)
    except (struct.error, IndexError):
        return None
    return None


def _png(head: bytes) -> tuple[int, int] | None:
    width, height = struct.unpack_from(">II", head, 16)
    return width, height


def _gif(head: bytes) -> tuple[int, int] | None:
    width, height = struct.unpack_from("<HH", head, 6)
    return width, height


def _jpeg(head: bytes) -> tuple[int, int] | None:
    at = 2
    while at < len(head):
        marker = head[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in _NO_DIMENSIONS_IN_JPEG:
            height, width = struct.unpack_from(">HH", head, at + 5)
            return width, height
        at += 2 + int(struct.unpack_from(">H", head, at + 2)[0])
    return None


def _webp(head: bytes) -> tuple[int, int] | None:
    kind = head[12:16]
    if kind == b"VP8X":
        return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", head, 26)
    return width & 0x3FFF, height & 0x3FFF


def _mp4(part: bytes) -> tuple[int, int] | None:
    """The first track header with a size; it lies near the start or the end of a file."""
    at = part.find(b"tkhd")
    while at >= 0:
        # Version 1 has 64-bit times and duration, which makes it 12 bytes longer; the size is 16.16 fixed point.
        width, height = struct.unpack_from(">II", part, at + (92 if part[at + 4] else 80))
        if width and height:
            return width >> 16, height >> 16
        at = part.find(b"tkhd", at + 4)
    return None


_READERS: tuple[tuple[Callable[[bytes], bool], Callable[[bytes], tuple[int, int] | None]], ...] = (
    (lambda head: head.startswith(b"\x89PNG\r\n\x1a\n"), _png),
    (lambda head: head.startswith(b"\xff\xd8"), _jpeg),
    (lambda head: head[:4] == b"GIF8", _gif),
    (lambda head: head[:4] == b"RIFF" and head[8:12] == b"WEBP", _webp),
    (lambda head: head[4:8] == b"ftyp", _mp4),
)
