"""One streaming encode: frames go in while the model still decodes the next ones, a finished master comes out.

Knows neither engines nor requests. The master is H.264 High, yuv420p, bt709, CRF 18; smaller copies are
`clips.fitting`'s, and ffmpeg itself is `clips.ffmpeg`'s.
"""

import subprocess
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from queue import Queue
from threading import Event, Thread
from types import TracebackType
from typing import IO, Self, cast

import numpy as np
from numpy.typing import NDArray

from clips.ffmpeg import H264, MP4, Encoded, VideoError, command, failure, growing, probe, temporary_for
from clips.sound import Sound, add_sound

_CRF = 18
_QUEUED_BYTES = 96 * 1024**2
_QUEUED_FRAMES = 64

# x264 keeps the frames that it looks ahead at until more come: 17 of them by default, 9 so. They are what is left to
# encode after the last frame. A lookahead of 6 instead of 10 costs 1 to 2 % of the bytes, one without a thread nothing.
_PROMPT = ("-x264-params", "sync-lookahead=0:rc-lookahead=6")

# Without the scale's own matrix ffmpeg converts by BT.601; without the tags players guess. Both are needed.
_TO_BT709 = "setparams=color_primaries=bt709:color_trc=bt709,scale=out_color_matrix=bt709:out_range=tv,format=yuv420p"


class Encoder:
    """Encodes one clip from frames as they come. For one producer; `abort` may come from any thread.

    Use it as a context manager: leaving it without `finish` aborts. A feeder thread with a bounded queue writes to
    ffmpeg, so that the producer waits only when the encoder is a whole queue behind.
    """

    def __init__(self, path: Path, width: int, height: int, fps: int, *, crf: int = _CRF) -> None:
        """Start encoding to `path`; it appears only when `finish` returns. Sides must be even (yuv420p halves them)."""
        if width < 2 or height < 2 or width % 2 or height % 2:
            raise ValueError(f"a clip has even sides of at least 2 pixels, not {width}x{height}")
        if fps < 1:
            raise ValueError(f"a clip has at least 1 frame per second, not {fps}")
        self.path = path
        self.written = 0
        self._shape = (height, width, 3)
        self._temporary = temporary_for(path)
        self._queue: Queue[NDArray[np.uint8] | None] = Queue(
            max(8, min(_QUEUED_FRAMES, _QUEUED_BYTES // (width * height * 3)))
        )
        self._sound: Sound | None = None
        self._ended = False
        self._broken = Event()
        self._said = b""
        arguments = command(
            "-f", "rawvideo", "-pix_fmt", "rgb24", "-video_size", f"{width}x{height}", "-framerate", str(fps),
            "-i", "-", "-vf", _TO_BT709, *H264, *_PROMPT, "-crf", str(crf), "-g", str(2 * fps), *MP4, self._temporary,
        )  # fmt: skip
        self._process = subprocess.Popen(  # noqa: S603 - our binary, our arguments
            arguments, stdin=subprocess.PIPE, stderr=subprocess.PIPE, process_group=0
        )
        pipe, words = cast("IO[bytes]", self._process.stdin), cast("IO[bytes]", self._process.stderr)  # both are PIPE
        self._threads = (
            Thread(target=self._feed, args=(pipe,), name="frames to ffmpeg", daemon=True),
            Thread(target=self._listen, args=(words,), name="words of ffmpeg", daemon=True),
        )
        for thread in self._threads:
            thread.start()

    def write(self, frames: NDArray[np.uint8]) -> None:
        """Append frames: uint8, (n, height, width, 3), RGB. The array is the encoder's now: change it no more.

        Blocks while the queue is full. Raises `ValueError` for any other array, `VideoError` or `SetupError` (disk
        full) as soon as ffmpeg has failed.
        """
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[1:] != self._shape:
            wanted = f"uint8 (n, {', '.join(map(str, self._shape))})"
            raise ValueError(f"frames must be {wanted}, not {frames.dtype} {frames.shape}")
        for frame in np.ascontiguousarray(frames):
            if self._ended:
                raise VideoError(f"the encode of {self.path.name} has ended")
            if self._broken.is_set():
                raise self._failure()
            self._queue.put(frame)
            self.written += 1

    def sound(self, sound: Sound) -> None:
        """Give the clip this sound; it is put beside the picture by `finish`."""
        self._sound = sound

    def finish(self) -> Encoded:
        """Wait for the last frame, check the file (exit code, frame count, sound), name it. Raises as `write` does."""
        if self._ended:
            raise VideoError(f"the encode of {self.path.name} has ended")
        try:
            code = self._end()
            if self._broken.is_set() or code != 0:
                raise self._failure()
            if self.written == 0:
                raise VideoError(f"{self.path.name} got no frame")
            made = self._checked(self._temporary)
            if self._sound is not None:
                with growing(self._temporary) as louder:
                    add_sound(made, self._sound, louder)
                    made = self._checked(louder)
                if not made.has_sound:
                    raise VideoError(f"{self.path.name} lost its sound")
            self._temporary.replace(self.path)
        finally:
            self._temporary.unlink(missing_ok=True)
        return replace(made, path=self.path)

    def abort(self) -> None:
        """End ffmpeg and remove what there is of the file. Harmless after `finish` or another `abort`."""
        if self._process.poll() is None:
            self._process.kill()
        self._end()
        self._temporary.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()

    def _checked(self, file: Path) -> Encoded:
        made = probe(file)
        if made.frames != self.written:
            raise VideoError(f"{self.path.name} has {made.frames} frames, not the {self.written} that were written")
        return made

    def _end(self) -> int:
        self._ended = True
        self._queue.put(None)
        for thread in self._threads:
            thread.join()
        return self._process.wait()

    def _failure(self) -> Exception:
        self._end()
        return failure("encoding", self.path, self._process.returncode, self._said.decode(errors="replace"))

    def _feed(self, pipe: IO[bytes]) -> None:
        try:
            while (frame := self._queue.get()) is not None:
                pipe.write(frame.data)
        except OSError:  # ffmpeg has gone: its exit code and its words say why
            self._broken.set()
            while self._queue.get() is not None:
                pass  # so that a producer that waits for room goes on, and hears of it
        with suppress(OSError):
            pipe.close()

    def _listen(self, words: IO[bytes]) -> None:
        with words:
            self._said = words.read()
