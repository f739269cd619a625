"""How this project calls ffmpeg: which binary, which arguments every clip shares, and what its failures mean.

The binary comes with imageio-ffmpeg (GPLv3, which is why it is a program that we start and not a library that we link);
there is no ffprobe beside it, so `probe` asks ffmpeg itself.
"""

import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from uuid import uuid4

from imageio_ffmpeg import get_ffmpeg_exe

from clips.errors import SetupError, ZoetropeError

H264 = ("-c:v", "libx264", "-preset", "veryfast", "-profile:v", "high")
MP4 = ("-map_metadata", "-1", "-fflags", "+bitexact", "-flags:v", "+bitexact", "-movflags", "+faststart", "-f", "mp4")
"""No creation time, no encoder name; the index first, so that a player can start before it has the whole file."""

_PATIENCE = 120.0  # seconds for a command that only reads; a healthy one takes a fraction of one


class VideoError(ZoetropeError):
    """ffmpeg could not make or read a video; the text holds what it said."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """A video file as it lies on the disk: pixels, frames, frames per second, seconds, bytes."""

    path: Path
    width: int
    height: int
    frames: int
    fps: float
    seconds: float
    bytes: int
    has_sound: bool
    sound_bytes: int = 0


def command(*arguments: str | Path) -> list[str]:
    """A quiet ffmpeg that never asks: only errors reach its standard error."""
    return [get_ffmpeg_exe(), "-hide_banner", "-nostdin", "-loglevel", "error", "-y", *map(str, arguments)]


def source(path: Path) -> tuple[str | Path, ...]:
    """The arguments that open a file, and nothing that a playlist in its place may point to."""
    return "-protocol_whitelist", "file", "-i", path


def failure(doing: str, path: Path, code: int | None, said: str) -> ZoetropeError:
    """The error for an ffmpeg that ended with `code` after it said that. `doing` is like `encoding`."""
    said = said.strip()
    if "No space left on device" in said:
        return SetupError(f"The disk that holds {path.parent} is full: {doing} stopped. Free some space there.")
    if "File too large" in said or code == -25:  # SIGXFSZ
        return SetupError(
            f"The system allows no larger file in {path.parent}: {doing} stopped. Raise the file-size limit."
        )
    return VideoError(f"ffmpeg failed at {doing} (exit code {code}): {said[-2000:] or 'it said nothing'}")


def temporary_for(path: Path) -> Path:
    """Where a file grows before it gets its name: beside it, so that the rename is atomic."""
    return path.with_name(f".{path.name}.{uuid4().hex[:8]}.part")


@contextmanager
def growing(path: Path) -> Generator[Path]:
    """A temporary file that becomes `path` when the block ends well, and is gone when it does not."""
    temporary = temporary_for(path)
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def run(doing: str, path: Path, *arguments: str | Path) -> bytes:
    """Run a short ffmpeg to its end; its standard output. Raises `VideoError` or `SetupError`."""
    try:
        done = subprocess.run(command(*arguments), capture_output=True, check=False, timeout=_PATIENCE)  # noqa: S603 - our binary, our arguments
    except subprocess.TimeoutExpired as error:
        raise VideoError(f"ffmpeg did not finish {doing} within {_PATIENCE:g} seconds") from error
    if done.returncode != 0:
        raise failure(doing, path, done.returncode, done.stderr.decode(errors="replace"))
    return done.stdout


def probe(path: Path) -> Encoded:
    """What a video file holds, by reading every packet of it (no decoding: 20 ms). Raises `VideoError`."""
    listing = run(
        f"reading {path.name}",
        path,
        *source(path),
        "-map",
        "0:v:0",
        "-map",
        "0:a:0?",
        "-c",
        "copy",
        "-f",
        "framecrc",
        "-",
    )
    kinds: dict[str, str] = {}
    units: dict[str, Fraction] = {}
    size = (0, 0)
    frames, ticks, sound_bytes = 0, 0, 0
    for line in listing.decode().splitlines():
        if line.startswith("#"):
            key, _, value = line[1:].partition(": ")
            name, _, stream = key.partition(" ")
            if name == "media_type":
                kinds[stream] = value
            elif name == "tb":
                units[stream] = Fraction(value)
            elif name == "dimensions" and kinds[stream] == "video":
                width, _, height = value.partition("x")
                size = int(width), int(height)
            continue
        stream, _dts, _pts, duration, count, *_ = (field.strip() for field in line.split(","))
        if kinds[stream] == "video":
            frames, ticks = frames + 1, ticks + int(duration)
        else:
            sound_bytes += int(count)
    seconds = ticks * units["0"]
    if not frames or not seconds:
        raise VideoError(f"{path.name} holds no video frame")
    return Encoded(
        path,
        *size,
        frames,
        float(frames / seconds),
        float(seconds),
        path.stat().st_size,
        "audio" in kinds.values(),
        sound_bytes,
    )
