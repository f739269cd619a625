"""Builders of every hostile, broken or merely unusual upload. Nothing is stored: each is made from its definition.

`REFUSED` maps a name to the builder and to words that the refusal must contain; `ODD_BUT_FINE` maps a name to a builder
of a real photo in an unusual wrapping, which must come through. End-to-end tests send both through `/animate`.
"""

import struct
import zlib
from collections.abc import Callable
from io import BytesIO

import numpy as np
from PIL import Image

RED, GREEN, BLUE, GREY = (230, 20, 20), (20, 200, 40), (30, 40, 220), (128, 128, 128)
SECRET = b"secret-that-must-not-survive"


def scene(width: int = 160, height: int = 120) -> Image.Image:
    """Four quarters in four colours: red, green / blue, grey. Shows turned, mirrored and shifted pictures."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(GREEN, (width // 2, 0, width, height // 2))
    image.paste(BLUE, (0, height // 2, width // 2, height))
    image.paste(GREY, (width // 2, height // 2, width, height))
    return image


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    out = BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


# ---- refused


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png_of_zeros(width: int, height: int, *, pixels: bool = True) -> bytes:
    """A 1-bit PNG that says width by height; with `pixels` it really decodes to that, without it is a lying header."""
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    packer = zlib.compressobj(9)
    row = bytes(1 + (width + 7) // 8)
    body = b"".join(packer.compress(row) for _ in range(height)) + packer.flush() if pixels else zlib.compress(b"\0")
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", body) + _chunk(b"IEND", b"")


def png_with_text_bomb() -> bytes:
    """A small picture with a compressed comment that unpacks to 200 MB."""
    packer = zlib.compressobj(9)
    comment = b"".join(packer.compress(bytes(1 << 20)) for _ in range(200)) + packer.flush()
    png = saved(scene(), "PNG")
    return png[:33] + _chunk(b"zTXt", b"Comment\0\0" + comment) + png[33:]


def jpeg_with_claimed_size(width: int, height: int) -> bytes:
    jpeg = bytearray(saved(scene(), "JPEG"))
    at = jpeg.index(b"\xff\xc0") + 5
    jpeg[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(jpeg)


def gif_with_claimed_size(width: int, height: int) -> bytes:
    gif = bytearray(saved(scene(), "GIF"))
    gif[6:10] = struct.pack("<HH", width, height)
    return bytes(gif)


def webp_with_claimed_size(width: int, height: int) -> bytes:
    """A WebP whose extended header claims a canvas; its picture stays small."""
    plain = saved(scene(), "WEBP")[12:]
    extended = b"VP8X" + struct.pack("<I", 10) + bytes(4)
    extended += (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"RIFF" + struct.pack("<I", 4 + len(extended) + len(plain)) + b"WEBP" + extended + plain


def cut(data: bytes, share: float = 0.5) -> bytes:
    return data[: int(len(data) * share)]


def noise(width: int = 320, height: int = 240, seed: int = 7) -> Image.Image:
    """Incompressible, so that cutting a file in half cuts pixels away."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def _corrupt_png() -> bytes:
    png = bytearray(saved(noise(), "PNG"))
    png[len(png) // 2] ^= 0xFF
    return bytes(png)


_SVG = (
    b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg" width="640" height="480"><script>1</script></svg>'
)
_MP4 = struct.pack(">I", 24) + b"ftypisom" + bytes(4) + b"isommp42" + struct.pack(">I", 16) + b"mdat" + bytes(8)
_MOV = struct.pack(">I", 20) + b"ftypqt  " + bytes(4) + b"qt  " + struct.pack(">I", 16) + b"mdat" + bytes(8)

REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "is empty"),
    "zeros": (lambda: bytes(5000), "unknown type"),
    "text.png": (lambda: "Hello, this is not a picture: ä ö ü.\n".encode() * 40, "plain text"),
    "page.jpg": (lambda: b"<!DOCTYPE html><html><body>404</body></html>", "a web page"),
    "drawing.svg": (lambda: _SVG, "an SVG drawing"),
    "document.pdf": (lambda: b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n", "a PDF document"),
    "clip.mp4": (lambda: _MP4, "an MP4 video"),
    "clip.mov": (lambda: _MOV, "a QuickTime video"),
    "clip.webm": (lambda: b"\x1aE\xdf\xa3" + bytes(60), "a WebM"),
    "archive.zip": (lambda: b"PK\x03\x04" + bytes(60), "a ZIP archive"),
    "picture.bmp": (lambda: saved(scene(), "BMP"), "a BMP picture"),
    "picture.tiff": (lambda: saved(scene(), "TIFF"), "a TIFF"),
    "one pixel": (lambda: saved(Image.new("RGB", (1, 1)), "PNG"), "only 1x1 pixels"),
    "thin": (lambda: saved(Image.new("RGB", (9000, 70)), "PNG"), "too narrow"),
    "zero wide": (lambda: png_of_zeros(0, 480, pixels=False), ""),
    "zero high": (lambda: jpeg_with_claimed_size(640, 0), ""),
    "bomb": (lambda: png_of_zeros(20_000, 20_000), "far too many pixels"),
    "small bomb": (lambda: png_of_zeros(10_000, 10_000), "far too many pixels"),
    "just too many": (lambda: png_of_zeros(8_000, 8_000), "64 million pixels (8000x8000)"),
    "lying PNG": (lambda: png_of_zeros(2**31 - 1, 2**31 - 1, pixels=False), "far too many pixels"),
    "lying JPEG": (lambda: jpeg_with_claimed_size(65_500, 65_500), "far too many pixels"),
    "lying GIF": (lambda: gif_with_claimed_size(65_535, 65_535), "far too many pixels"),
    "lying WebP": (lambda: webp_with_claimed_size(16_383, 16_383), "far too many pixels"),
    "text bomb": (png_with_text_bomb, "is broken"),
    "cut JPEG": (lambda: cut(saved(noise(), "JPEG")), "is cut off"),
    "cut progressive JPEG": (lambda: cut(saved(noise(), "JPEG", progressive=True)), "is cut off"),
    "cut PNG": (lambda: cut(saved(noise(), "PNG")), "is cut off"),
    "cut WebP": (lambda: cut(saved(noise(), "WEBP")), ""),
    "cut GIF": (lambda: cut(saved(noise(), "GIF")), ""),
    "cut HEIC": (lambda: cut(heic()), ""),
    "cut AVIF": (lambda: cut(saved(noise(), "AVIF")), ""),
    "only a JPEG's head": (lambda: saved(noise(), "JPEG")[:120], ""),
    "corrupt PNG": (_corrupt_png, "is broken"),
    "PNG magic, then rubbish": (lambda: b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4, "is broken"),
}


# ---- odd, but fine


def heic(image: Image.Image | None = None, **options: object) -> bytes:
    from pillow_heif import register_heif_opener  # noqa: PLC0415 - registers the writer too

    register_heif_opener(thumbnails=False)
    return saved(image or scene(), "HEIF", quality=95, **options)


_UNTURN = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def turned(orientation: int, kind: str = "JPEG") -> bytes:
    """The scene stored turned, with the EXIF orientation that turns it upright again."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    turn = _UNTURN[orientation]
    image = scene() if turn is None else scene().transpose(turn)
    return saved(image, kind, exif=exif, quality=95)


def with_place() -> bytes:
    """EXIF with a camera, a place, a thumbnail comment; a JPEG comment and XMP, all holding `SECRET`."""
    exif = Image.Exif()
    exif[0x010F] = SECRET.decode()
    exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, 12.0), 3: "E", 4: (13.0, 24.0, 18.0), 29: SECRET.decode()})
    return saved(scene(), "JPEG", exif=exif, comment=SECRET, xmp=b"<x:xmpmeta>" + SECRET + b"</x:xmpmeta>", quality=95)


def with_broken_exif() -> bytes:
    return saved(scene(), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + SECRET, quality=95)


P3_TO_XYZ = np.array([[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]])
"""Display P3's primaries under D50, as its profile holds them."""


def display_p3_profile() -> bytes:
    """A minimal ICC v2 matrix profile: Display P3's primaries with a plain gamma of 2.2."""

    def fixed(values: tuple[float, ...]) -> bytes:
        return b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    def xyz(values: tuple[float, ...]) -> bytes:
        return b"XYZ " + bytes(4) + fixed(values)

    gamma = b"curv" + bytes(4) + struct.pack(">IH", 1, round(2.2 * 256)) + bytes(2)
    name = b"Display P3\0"
    text = b"desc" + bytes(4) + struct.pack(">I", len(name)) + name + bytes(79)
    columns = [tuple(float(value) for value in P3_TO_XYZ[:, column]) for column in range(3)]
    tags = [(b"desc", text), (b"cprt", b"text" + bytes(4) + b"none\0"), (b"wtpt", xyz((0.9642, 1.0, 0.8249)))]
    tags += [(name, xyz(column)) for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns, strict=True)]
    tags += [(name, gamma) for name in (b"rTRC", b"gTRC", b"bTRC")]
    table, body = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, content in tags:
        padded = content + bytes(-len(content) % 4)
        table += name + struct.pack(">II", start + len(body), len(content))
        body += padded
    header = struct.pack(">I4xI", start + len(body), 0x02400000) + b"mntrRGB XYZ " + bytes(12) + b"acsp"
    header += bytes(28) + fixed((0.9642, 1.0, 0.8249))
    return header.ljust(128, b"\0") + table + body


def sixteen_bit_grey() -> bytes:
    """A ramp over all 65,536 values from left to right; `convert("RGB")` alone makes it almost all white."""
    ramp = np.tile(np.linspace(0, 65535, 256).astype(np.uint16), (100, 1))
    return saved(Image.fromarray(ramp), "PNG")


def _palette_with_alpha() -> bytes:
    image = scene().quantize(4)
    alpha = bytearray(b"\xff" * 4)
    alpha[np.asarray(image)[30, 120]] = 0
    return saved(image, "PNG", transparency=bytes(alpha))


def animated(kind: str) -> bytes:
    """The scene first, then two other pictures."""
    others = [Image.new("RGB", (160, 120), colour) for colour in ("black", "white")]
    return saved(scene(), kind, save_all=True, append_images=others, duration=100, lossless=True)


def _mpo() -> bytes:
    """What many phones call .jpg: two JPEGs in one file."""
    return saved(scene(), "MPO", save_all=True, append_images=[Image.new("RGB", (160, 120))], quality=95)


def _polyglot() -> bytes:
    """A JPEG that is a ZIP archive from its end, and a page in its comment."""
    zipped = b"PK\x05\x06" + bytes(16) + struct.pack("<H", len(SECRET)) + SECRET
    return saved(scene(), "JPEG", comment=b"<script>" + SECRET + b"</script>", quality=95) + zipped


ODD_BUT_FINE: dict[str, Callable[[], bytes]] = {
    "plain JPEG": lambda: saved(scene(), "JPEG", quality=95),
    "progressive JPEG": lambda: saved(scene(), "JPEG", quality=95, progressive=True),
    "CMYK JPEG with Adobe marker": lambda: saved(scene().convert("CMYK"), "JPEG", quality=95),
    "MPO": _mpo,
    "JPEG with rubbish behind": lambda: saved(scene(), "JPEG", quality=95) + SECRET * 500,
    "polyglot": _polyglot,
    "GPS and comments": with_place,
    "broken EXIF": with_broken_exif,
    "broken ICC": lambda: saved(scene(), "JPEG", quality=95, icc_profile=b"not a profile" * 30),
    "interlaced palette PNG": lambda: saved(scene().quantize(8), "PNG"),
    "RGBA PNG": lambda: saved(scene().convert("RGBA"), "PNG"),
    "WebP": lambda: saved(scene(), "WEBP", lossless=True),
    "AVIF": lambda: saved(scene(), "AVIF", quality=95),
    "HEIC": heic,
    "animated GIF": lambda: animated("GIF"),
    "animated WebP": lambda: animated("WEBP"),
    "animated PNG": lambda: animated("PNG"),
    **{f"orientation {number}": lambda number=number: turned(number) for number in range(1, 9)},
    "turned PNG": lambda: turned(6, "PNG"),
    "turned WebP": lambda: turned(8, "WEBP"),
}
"""Each of these shows `scene()`."""

ALPHA: dict[str, Callable[[], bytes]] = {
    "palette with alpha": _palette_with_alpha,
    "grey with alpha": lambda: saved(Image.new("LA", (100, 100), (0, 0)), "PNG"),
    "transparent RGBA": lambda: saved(Image.new("RGBA", (100, 100), (9, 9, 9, 0)), "PNG"),
    "transparent WebP": lambda: saved(Image.new("RGBA", (100, 100), (9, 9, 9, 0)), "WEBP", lossless=True),
    "RGB with a transparent colour": lambda: saved(Image.new("RGB", (100, 100), RED), "PNG", transparency=RED),
}
"""Transparent at the centre of the top right quarter: there it must come out white."""
