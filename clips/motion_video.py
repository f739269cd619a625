"""A video whose motion a clip shall follow: the bytes that a stranger uploaded in, one clean MP4 out.

Its packets are copied, not decoded, into a file without names, places, dates, chapters and further tracks. ffmpeg sees
the upload without our environment and within hard limits, and knows no format that could name another file.
"""

import asyncio
import hashlib
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from clips.domain import Sha256
from clips.errors import VideoUploadError
from clips.ffmpeg import MP4, VideoError, command, probe, source
from clips.filetypes import identify

VIDEO_TYPE = "video/mp4"
_WANTED = "Send an MP4 or MOV video"
# In the shell's units: kibibytes of address space, seconds of processor time, half kibibytes of file.
_LIMITED = ("sh", "-c", 'ulimit -v 1048576 && ulimit -t 20 && ulimit -f "$0" && exec "$@"')


@dataclass(frozen=True, slots=True)
class VideoLimits:
    """What a motion video may be."""

    max_bytes: int = 48 * 1024 * 1024
    shortest: float = 1.0
    longest: float = 30.5
    long_side: int = 4096
    patience: float = 30.0
    """Seconds that reading it may take."""


@dataclass(frozen=True, slots=True)
class MotionVideo:
    """A clean video: `data` is an MP4 of width by height pixels, `sha256` its name."""

    data: bytes
    width: int
    height: int
    seconds: float
    sha256: Sha256


def check_video_bytes(count: int, limits: VideoLimits) -> None:
    """Refuse an upload by its size alone."""
    if count == 0:
        raise VideoUploadError(f"The video is empty. {_WANTED}.")
    if count > limits.max_bytes:
        allowed = limits.max_bytes / 1024**2
        raise VideoUploadError(
            f"The video has {count / 1024**2:.1f} MB; at most {allowed:g} MB fit. Send a shorter or smaller one."
        )


class VideoReader:
    """Reads motion videos, one at a time."""

    def __init__(self, limits: VideoLimits | None = None) -> None:
        self.limits = limits or VideoLimits()
        self._one = asyncio.Lock()

    async def read(self, upload: bytes) -> MotionVideo:
        """Check and clean an upload. Raises `VideoUploadError` with a sentence for its cause."""
        async with self._one:
            return await asyncio.to_thread(read_motion_video, upload, self.limits)


def read_motion_video(upload: bytes, limits: VideoLimits) -> MotionVideo:
    """As `VideoReader.read`, here and now."""
    check_video_bytes(len(upload), limits)
    if upload[4:8] != b"ftyp" or identify(upload)[0] is not None:
        raise VideoUploadError(f"That is {identify(upload)[1]} and no video to follow. {_WANTED}.")
    with tempfile.TemporaryDirectory(prefix="zoetrope-video-") as folder:
        raw, clean = Path(folder, "upload"), Path(folder, "clean.mp4")
        raw.write_bytes(upload)
        _copy_packets(raw, clean, limits)
        try:
            found = probe(clean)
        except VideoError as error:
            raise VideoUploadError(f"There is no picture in that video. {_WANTED}.") from error
        if not limits.shortest <= found.seconds <= limits.longest:
            raise VideoUploadError(
                f"The video lasts {found.seconds:.1f} s; {limits.shortest:g} to {limits.longest:.0f} s can be "
                "followed. Cut it and send it again."
            )
        if max(found.width, found.height) > limits.long_side:
            raise VideoUploadError(
                f"The video has {found.width}×{found.height} pixels; at most {limits.long_side} a side can be "
                "followed. Send a smaller copy."
            )
        data = clean.read_bytes()
    return MotionVideo(data, found.width, found.height, found.seconds, Sha256(hashlib.sha256(data).hexdigest()))


def _copy_packets(raw: Path, clean: Path, limits: VideoLimits) -> None:
    remux = command(
        "-format_whitelist", "mov", *source(raw), "-map", "0:v:0", "-map", "0:a:0?", "-c", "copy",
        "-map_chapters", "-1", *MP4, clean,
    )  # fmt: skip
    most = str(2 * (limits.max_bytes // 1024 + 1024))
    try:
        done = subprocess.run(  # noqa: S603 - our binary, our arguments
            [*_LIMITED, most, *remux],
            capture_output=True,
            check=False,
            timeout=limits.patience,
            env={"PATH": os.defpath},
            process_group=0,
        )
    except subprocess.TimeoutExpired as error:
        raise VideoUploadError(f"The video was not read within {limits.patience:g} s. Send a smaller copy.") from error
    if done.returncode != 0 or not clean.exists():
        raise VideoUploadError(f"The video cannot be read: it is damaged, or of an unusual kind. {_WANTED}.")
