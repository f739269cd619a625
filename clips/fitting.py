"""A smaller copy of a master for a channel that takes no more than so many bytes.

Capped CRF in one pass holds the quality where it can and the limit where it must; the two fallbacks are for what it
cannot hold: grain at a tiny limit.
"""

import asyncio
import re
import tempfile
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path
from typing import cast

from clips.ffmpeg import H264, MP4, Encoded, VideoError, command, failure, growing, probe, source

Progress = Callable[[int, int], None]
"""Called with frames done and frames in all; starts again with each attempt."""

_MIB = 1024 * 1024
_SMALLER = (1.0, 0.75, 0.5, 0.375, 0.25)
_FEWEST_BITS = 0.02  # a pixel; below it a smaller picture looks better than a smeared one
_PROGRESS_LINE = re.compile(rb"^([a-z0-9_]+)=\s*(\S*)")


async def fit_below(master: Path, limit: int, out: Path, *, progress: Progress | None = None) -> Encoded:
    """A copy of `master` at `out` with at most `limit` bytes, or the master itself where it already fits.

    Cancelling ends ffmpeg and leaves no file. Raises `VideoError` if even a quarter of the size does not fit,
    `SetupError` if the disk is full.
    """
    whole = await asyncio.to_thread(probe, master)
    if whole.bytes <= limit:
        return whole
    with growing(out) as temporary:
        await _first_that_fits(whole, limit, temporary, progress or (lambda _done, _total: None))
        made = await asyncio.to_thread(probe, temporary)
        if made.frames != whole.frames:
            raise VideoError(f"the smaller copy of {master.name} has {made.frames} frames, not {whole.frames}")
    return replace(made, path=out)


async def _first_that_fits(whole: Encoded, limit: int, out: Path, progress: Progress) -> None:
    for width, height in _sizes(whole):
        rate, buffer = _cap(whole, limit)
        if rate < _FEWEST_BITS * width * height * whole.fps:
            continue
        scale = (
            () if (width, height) == (whole.width, whole.height) else ("-vf", f"scale={width}:{height}:flags=lanczos")
        )
        picture = ("-map", "0:v:0", *scale, *H264, "-g", str(max(1, round(2 * whole.fps))))
        sound = ("-map", "0:a:0?", "-c:a", "copy")
        capped = ("-crf", "18", "-maxrate", str(rate), "-bufsize", str(buffer))
        await _run(whole, out, progress, *picture, *capped, *sound, *MP4, out)
        if _fits(out, limit):
            return
        with tempfile.TemporaryDirectory(prefix=".two-pass-", dir=out.parent) as folder:
            average = ("-b:v", str(int(0.95 * _payload(whole, limit) / whole.seconds)), "-passlogfile", f"{folder}/log")
            await _run(whole, out, progress, *picture, *average, "-pass", "1", "-an", "-f", "null", "-")
            await _run(whole, out, progress, *picture, *average, "-pass", "2", *sound, *MP4, out)
        if _fits(out, limit):
            return
    raise VideoError(f"{whole.path.name} ({whole.seconds:.1f} s) does not fit into {limit} bytes at any size")


def _fits(made: Path, limit: int) -> bool:
    return made.stat().st_size <= limit


def _sizes(whole: Encoded) -> Generator[tuple[int, int]]:
    for factor in _SMALLER:
        yield max(2, round(whole.width * factor / 2) * 2), max(2, round(whole.height * factor / 2) * 2)


def _payload(whole: Encoded, limit: int) -> float:
    """Bits that are left for the picture: 1 % for luck, the index (16 bytes a frame), and the sound go off."""
    return 0.99 * 8 * limit - 8 * (16 * whole.frames + 8192) - 8 * whole.sound_bytes


def _cap(whole: Encoded, limit: int) -> tuple[int, int]:
    """The rate (bits a second) and buffer (bits) under which x264 cannot overshoot: it may end with a full buffer."""
    buffer = (0.25 if limit <= 2 * _MIB else 0.10) * 8 * limit
    return int((_payload(whole, limit) - 0.9 * buffer) / whole.seconds), int(buffer)


async def _run(whole: Encoded, out: Path, progress: Progress, *arguments: str | Path) -> None:
    child = await asyncio.create_subprocess_exec(
        *command("-nostats", "-progress", "pipe:2", *source(whole.path), *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        process_group=0,
    )
    words: list[bytes] = []
    try:
        async for line in cast("asyncio.StreamReader", child.stderr):  # it is PIPE
            if found := _PROGRESS_LINE.match(line):
                if found[1] == b"frame":
                    progress(min(int(found[2]), whole.frames), whole.frames)
            else:
                words = [*words[-20:], line]
        code = await child.wait()
    finally:
        if child.returncode is None:
            child.kill()
        await child.communicate()  # so that its pipe closes and no zombie stays
    if code != 0:
        raise failure("making a smaller copy", out, code, b"".join(words).decode(errors="replace"))
