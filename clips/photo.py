"""Photo intake and framing: the bytes that a stranger uploaded in, one clean RGB picture out.

Pure and synchronous: it reads and writes no file and starts no process. `clips.photo_process` runs `read_photo` where
a crash, a balloon or a hang of a decoder harms nobody. Everything later (engines, blob store, hosted models) sees only
what comes out of here: an upright 8-bit sRGB PNG without EXIF, place, colour profile or comment.
"""

import hashlib
from dataclasses import dataclass
from functools import cache
from io import BytesIO

from PIL import Image, ImageCms, ImageEnhance, ImageFilter

from clips.domain import Fit, Sha256
from clips.errors import PhotoError
from clips.filetypes import identify

PHOTO_TYPE = "image/png"
"""The media type of every stored photo: lossless, and the one type that every hosted model takes."""

_PNG_LEVEL = 1  # 5 megapixels in 0.35 s; level 6 takes 2.4 s and saves 9 %
_TOP_BIAS = 0.2  # of the excess height: people stand with their heads in the upper third
_WANTED = "Send a JPEG, PNG, WebP, AVIF, GIF or HEIC picture."


@dataclass(frozen=True, slots=True)
class PhotoLimits:
    """What a photo may be, and how large it is kept.

    `long_side` is what a 3:4 portrait needs to cover the width of a 1080p clip; a 48-megapixel JPEG is then decoded at
    half its size, in a third of the time and a quarter of the memory.
    """

    max_bytes: int = 32 * 1024 * 1024
    max_pixels: int = 60_000_000
    min_side: int = 64
    long_side: int = 2560


@dataclass(frozen=True, slots=True)
class Photo:
    """A clean photo: `data` is a PNG (RGB, 8 bit, no metadata) of width by height pixels, `sha256` its name."""

    data: bytes
    width: int
    height: int
    sha256: Sha256


def read_photo(data: bytes, limits: PhotoLimits) -> Photo:
    """Turn an upload into a clean photo, or raise `PhotoError` with a sentence for its cause.

    The order matters: what is cheap to refuse is refused before anything is decoded.
    """
    check_bytes(len(data), limits)
    image = _opened(data, limits)
    image = _decoded(image, _within(image.size, limits.long_side))
    if min(image.size) < limits.min_side:
        raise PhotoError(
            f"The photo is too narrow for a clip ({_size(image)} after scaling). Crop it and send it again."
        )
    image = _flattened(image)
    image = Image.frombytes("RGB", image.size, image.tobytes())  # pixels only: whatever else came along ends here
    out = BytesIO()
    image.save(out, "PNG", compress_level=_PNG_LEVEL)
    png = out.getvalue()
    return Photo(png, image.width, image.height, Sha256(hashlib.sha256(png).hexdigest()))


def check_bytes(count: int, limits: PhotoLimits) -> None:
    """Refuse an upload by its size alone: also for the caller that knows the size before it downloads."""
    if count == 0:
        raise PhotoError(f"The file is empty. {_WANTED}")
    if count > limits.max_bytes:
        allowed = limits.max_bytes / 1024**2
        raise PhotoError(f"The photo has {count / 1024**2:.1f} MB; at most {allowed:g} MB fit. Send a smaller copy.")


# ---- decoding


def _opened(data: bytes, limits: PhotoLimits) -> Image.Image:
    """The header, read and judged; no pixel is decoded yet."""
    kind, article_and_name = identify(data)
    if kind is None:
        raise PhotoError(f"That is {article_and_name}, not a photo that can be animated. {_WANTED}")
    if kind == "HEIF":
        from pillow_heif import register_heif_opener  # noqa: PLC0415 - 60 ms that only a HEIC should cost

        register_heif_opener(thumbnails=False)
    try:
        image = Image.open(BytesIO(data), formats=[kind])
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PhotoError(_too_many_pixels("far too many pixels", limits)) from error
    except MemoryError:
        raise
    except Exception as error:  # a parser that meets hostile bytes raises whatever it likes
        raise _unreadable(error) from error
    width, height = image.size
    if width * height > limits.max_pixels:
        raise PhotoError(_too_many_pixels(f"{width * height / 1e6:.0f} million pixels ({_size(image)})", limits))
    if min(width, height) < limits.min_side:
        raise PhotoError(
            f"The photo is only {_size(image)} pixels; each side needs {limits.min_side}. Send a larger one, "
            "best 1280x720 or more."
        )
    return image


def _decoded(image: Image.Image, target: tuple[int, int]) -> Image.Image:
    """The first frame, upright, in sRGB, 8 bits a channel, no larger than the target; alpha is still there."""
    try:
        image.draft(None, target)  # JPEG only: decodes at 1/2, 1/4 or 1/8, never below the target
        image.load()  # not verify(): that lets a truncated JPEG pass
        profile: bytes | None = image.info.get("icc_profile")
        turn = _TURNS.get(_orientation(image))
        image = _plain(image)
        image.thumbnail((max(target), max(target)), Image.Resampling.LANCZOS)
    except MemoryError:
        raise
    except Exception as error:  # as above
        raise _unreadable(error) from error
    return _srgb(image.transpose(turn) if turn is not None else image, profile)


def _plain(image: Image.Image) -> Image.Image:
    """The same picture as L, LA, RGB, RGBA or CMYK, which can be resized without artefacts."""
    if image.mode.startswith("I"):  # 16-bit grey: a plain convert("L") would clip nearly all of it to white
        return image.convert("I").point(_from_sixteen_bits(), "L")
    if image.mode in {"L", "LA", "RGB", "RGBA", "CMYK"} and "transparency" not in image.info:
        return image
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


@cache
def _from_sixteen_bits() -> list[int]:
    return [(value + 128) // 257 for value in range(1 << 16)]


_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 if there is none. Malformed EXIF in a fine picture is no reason to refuse it."""
    try:
        value: object = image.getexif().get(0x0112)
    except Exception:  # noqa: BLE001 - the EXIF parser raises whatever it likes
        return 1
    return value if isinstance(value, int) else 1


def _srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """The picture as RGB or RGBA in sRGB. A profile that is broken or of another colour model is ignored."""
    alpha = image.getchannel("A") if "A" in image.mode else None
    colours = image.convert(image.mode[:-1]) if alpha else image
    converted: Image.Image | None = None
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(BytesIO(profile))
            target = ImageCms.createProfile("sRGB")
            converted = ImageCms.profileToProfile(colours, source, target, outputMode="RGB")
        except (ImageCms.PyCMSError, OSError, ValueError):
            converted = None
    result = converted or colours.convert("RGB")
    if alpha:
        result.putalpha(alpha)
    return result


def _flattened(image: Image.Image) -> Image.Image:
    if image.mode != "RGBA":
        return image
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def _within(size: tuple[int, int], long_side: int) -> tuple[int, int]:
    scale = min(1.0, long_side / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


# ---- sentences


def _size(image: Image.Image) -> str:
    return f"{image.width}x{image.height}"


def _too_many_pixels(count: str, limits: PhotoLimits) -> str:
    return f"The photo has {count}; at most {limits.max_pixels / 1e6:g} million fit. Send a smaller copy."


def _unreadable(error: Exception) -> PhotoError:
    if "truncated" in str(error).lower():
        return PhotoError("The photo is cut off: its end is missing. Upload it again, or send another copy.")
    return PhotoError("The photo is broken and cannot be decoded. Open and save it again, or send another copy.")


# ---- framing

Box = tuple[float, float, float, float]


def crop_box(photo: tuple[int, int], clip: tuple[int, int]) -> Box:
    """The largest part of the photo with the clip's shape: left, top, right, bottom in the photo's pixels.

    Too wide is cut evenly; too tall is cut mostly at the bottom, because a centred cut beheads people.
    """
    scale = min(photo[0] / clip[0], photo[1] / clip[1])
    width, height = min(clip[0] * scale, photo[0]), min(clip[1] * scale, photo[1])
    left, top = (photo[0] - width) / 2, (photo[1] - height) * _TOP_BIAS
    return left, top, left + width, top + height


def fit_photo(image: Image.Image, width: int, height: int, fit: Fit = Fit.CROP) -> Image.Image:
    """The photo (RGB) at exactly width by height pixels.

    `CROP` covers the clip with the most of the photo that it can; `PAD` shows all of it, over its own blurred, dimmed
    cover.
    """
    box = crop_box(image.size, (width, height))
    cover = image.resize((width, height), Image.Resampling.LANCZOS, box=box)
    if fit is Fit.CROP:
        return cover
    scale = min(width / image.width, height / image.height)
    inner = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    cover = ImageEnhance.Brightness(cover.filter(ImageFilter.GaussianBlur(max(width, height) / 40))).enhance(0.6)
    cover.paste(image.resize(inner, Image.Resampling.LANCZOS), ((width - inner[0]) // 2, (height - inner[1]) // 2))
    return cover
