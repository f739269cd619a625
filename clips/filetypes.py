"""What a file is, by its content alone: names, extensions and declared types are a stranger's claims."""

from typing import Literal

PhotoKind = Literal["JPEG", "PNG", "GIF", "WEBP", "AVIF", "HEIF"]


def identify(data: bytes) -> tuple[PhotoKind | None, str]:
    """Which kind of photo the bytes claim to be (None: none of them), and what to call them in a sentence.

    Judges by the first bytes only; whether the rest can be decoded is for the decoder to find.
    """
    for magic, kind, name in _MAGIC:
        if data.startswith(magic):
            return kind, name
    if data.startswith(b"RIFF"):
        return ("WEBP", "a WebP picture") if data[8:12] == b"WEBP" else (None, _RIFF.get(data[8:12], "a RIFF file"))
    if data[4:8] == b"ftyp":
        return _isobmff(data)
    start = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<svg", b"<?xml", b"<!--", b"<!doctype svg")) and b"<svg" in data[:4096].lower():
        return None, "an SVG drawing"
    if start.startswith((b"<!doctype html", b"<html")):
        return None, "a web page"
    return None, "plain text" if _is_text(data[:4096]) else "a file of an unknown type"


_MAGIC: tuple[tuple[bytes, PhotoKind | None, str], ...] = (
    (b"\xff\xd8\xff", "JPEG", "a JPEG picture"),
    (b"\x89PNG\r\n\x1a\n", "PNG", "a PNG picture"),
    (b"GIF87a", "GIF", "a GIF picture"),
    (b"GIF89a", "GIF", "a GIF picture"),
    (b"%PDF", None, "a PDF document"),
    (b"BM", None, "a BMP picture"),
    (b"II*\0", None, "a TIFF or camera raw picture"),
    (b"MM\0*", None, "a TIFF or camera raw picture"),
    (b"8BPS", None, "a Photoshop document"),
    (b"\xff\x0a", None, "a JPEG XL picture"),
    (b"\0\0\0\x0cJXL ", None, "a JPEG XL picture"),
    (b"\0\0\0\x0cjP  ", None, "a JPEG 2000 picture"),
    (b"\0\0\x01\0", None, "an icon"),
    (b"\x1aE\xdf\xa3", None, "a WebM or Matroska video"),
    (b"PK\x03\x04", None, "a ZIP archive or office document"),
    (b"\x1f\x8b", None, "a compressed archive"),
    (b"7z\xbc\xaf'\x1c", None, "a compressed archive"),
    (b"Rar!", None, "a compressed archive"),
    (b"ID3", None, "an MP3 sound"),
    (b"OggS", None, "an Ogg sound or video"),
    (b"\x7fELF", None, "a program"),
    (b"MZ", None, "a program"),
)
_RIFF = {b"WAVE": "a WAV sound", b"AVI ": "an AVI video"}


def _isobmff(data: bytes) -> tuple[PhotoKind | None, str]:
    """HEIC, AVIF, MP4 and QuickTime share one container; the brands in its first box tell them apart."""
    box = data[8 : min(int.from_bytes(data[:4], "big"), 256)]
    brands = {box[:4], *(box[start : start + 4] for start in range(8, len(box), 4))}
    if brands & {b"avif", b"avis"}:
        return "AVIF", "an AVIF picture"
    if brands & {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}:
        return "HEIF", "a HEIC picture"
    return None, "a QuickTime video" if box[:4] == b"qt  " else "an MP4 video"


def _is_text(start: bytes) -> bool:
    try:
        text = start.decode()
    except UnicodeDecodeError as error:
        if error.start < len(start) - 4:  # anything but a character cut at the end
            return False
        text = start[: error.start].decode()
    return all(character.isprintable() or character in "\t\r\n" for character in text)
