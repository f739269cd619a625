"""One picture through a video encoder and back: as a frame of a compressed video would look."""

import subprocess

from PIL import Image

from clips.ffmpeg import H264, VideoError, command

_PATIENCE = 60.0


def recompressed(picture: Image.Image, crf: int) -> Image.Image:
    """The picture (RGB, even sides) as H.264 keeps it at this quality; 0 keeps all of it. Raises `VideoError`."""
    if crf == 0:
        return picture
    raw = ("-f", "rawvideo", "-pix_fmt", "rgb24")
    size = ("-video_size", f"{picture.width}x{picture.height}")
    coded = _piped(
        picture.tobytes(), *raw, *size, "-i", "-", *H264, "-pix_fmt", "yuv420p", "-crf", str(crf), "-f", "h264", "-"
    )
    seen = _piped(coded, "-f", "h264", "-i", "-", "-frames:v", "1", *raw, "-")
    return Image.frombytes("RGB", picture.size, seen)


def _piped(given: bytes, *arguments: str) -> bytes:
    done = subprocess.run(command(*arguments), input=given, capture_output=True, check=False, timeout=_PATIENCE)  # noqa: S603 - our binary, our arguments
    if done.returncode != 0:
        raise VideoError(f"ffmpeg failed at a single picture: {done.stderr.decode(errors='replace')[-2000:]}")
    return done.stdout
