"""The sound of a clip: put beside its picture without touching that, and as long as it."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clips.ffmpeg import MP4, Encoded, command, failure, source

_RATE = 48000
_AAC = ("-c:a", "aac", "-b:a", "128k", "-ar", str(_RATE), "-flags:a", "+bitexact")
_PATIENCE = 120.0


@dataclass(frozen=True, slots=True)
class Sound:
    """Samples, float32 (n, channels) from -1 to 1, `rate` of them a second. What is louder is cut off."""

    samples: NDArray[np.float32]
    rate: int

    @classmethod
    def of(cls, samples: NDArray[np.float32], rate: int) -> "Sound":
        """A sound from samples (channels, n). Raises `ValueError` for any other array."""
        if samples.dtype != np.float32 or samples.ndim != 2 or samples.shape[0] not in {1, 2} or not samples.shape[1]:
            raise ValueError(f"sound must be float32 (1 or 2 channels, n), not {samples.dtype} {samples.shape}")
        if not np.isfinite(samples).all():
            raise ValueError("sound must be finite")
        return cls(np.ascontiguousarray(samples.T.clip(-1, 1)), rate)


def add_sound(clip: Encoded, sound: Sound, out: Path) -> None:
    """Write the clip with this sound to `out`: its frames as they are, the sound cut or continued with silence to
    their length and as loud as it came. Raises `VideoError`, or `SetupError` if the disk is full.
    """
    channels = sound.samples.shape[1]
    length = f"apad=whole_dur={clip.seconds:.6f},atrim=0:{clip.seconds:.6f}"
    arguments = command(
        *source(clip.path), "-f", "f32le", "-ar", str(sound.rate), "-ac", str(channels), "-i", "-",
        "-map", "0:v:0", "-map", "1:a:0", "-c:v", "copy", "-af", length, *_AAC, *MP4, out,
    )  # fmt: skip
    done = subprocess.run(  # noqa: S603 - our binary, our arguments
        arguments, input=sound.samples.tobytes(), capture_output=True, check=False, timeout=_PATIENCE
    )
    if done.returncode != 0:
        raise failure("adding sound", out, done.returncode, done.stderr.decode(errors="replace"))
