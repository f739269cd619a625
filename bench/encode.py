"""Encoding a clip: the streaming encoder beside diffusers' `export_to_video`, at the same x264 settings in one run.

Frames come from a file, four at a time, as Wan's decoder gives them. `export_to_video` takes what a pipeline gives: all
frames at once, as floats. Its x264 settings cannot be reached through it, so imageio's writer under it is told ours.
"""

import functools
import sys
import tempfile
import time
from collections.abc import Generator
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.memory import contender, median_of
from bench.report import Table
from clips.domain import Plan
from clips.photo import fit_photo
from clips.video import Encoder
from generator.engines.base import TakeSeed
from generator.engines.moves import Moves
from generator.engines.shot import Shot, noise_of

SHAPES = ((1280, 720, 120, 3), (1920, 1080, 150, 1))
"""Width, height, frames, and how many runs the medians are of."""
CHUNK = 4
SLOWER = 1.5  # the paced decoder takes this much longer for a frame than x264 does

Frames = NDArray[np.uint8]


def main() -> None:
    """Measure every shape and publish the table."""
    table = Table(
        "encode",
        "Encoding a clip (H.264, veryfast, CRF 18)",
        ["clip", "way", "wall s", "÷ export's", "peak MB", "÷ export's", "wait s", "share"],
        notes=[
            f"Frames come in chunks of {CHUNK}; peak memory is above the imports' and includes ffmpeg.",
            f"Paced: the decoder needs {SLOWER} times as long for a frame as x264 (a video model's needs more).",
            "The wait's share is of the wall that the encode takes alone, unpaced.",
        ],
    )
    with tempfile.TemporaryDirectory() as folder:
        for width, height, frames, runs in SHAPES:
            source = Path(folder) / "frames.raw"
            _film(source, Plan(width, height, frames, 24, 1))
            shape = (str(source), str(width), str(height), str(frames))
            theirs, their_peak = median_of(runs, "bench.encode", "export", *shape)
            ours, our_peak = median_of(runs, "bench.encode", "stream", *shape, "0")
            pace = SLOWER * ours["wall"] / frames
            paced, paced_peak = median_of(runs, "bench.encode", "stream", *shape, str(pace))
            clip = f"{width}x{height}, {frames} frames, median of {runs}"
            table.add(
                clip,
                "export_to_video",
                theirs["wall"],
                1.0,
                their_peak,
                1.0,
                theirs["wait"],
                theirs["wait"] / theirs["wall"],
            )
            for way, said, peak in (("ours", ours, our_peak), ("ours, paced", paced, paced_peak)):
                share = said["wait"] / ours["wall"]
                table.add(
                    clip, way, said["wall"], said["wall"] / theirs["wall"], peak, peak / their_peak, said["wait"], share
                )
    table.publish()


def _film(out: Path, plan: Plan) -> None:
    """A real photograph under the sketch's camera, as raw frames."""
    with Image.open(Path(__file__).parents[1] / "samples" / "raccoon.jpg") as photo:
        source = np.asarray(fit_photo(photo, plan.width, plan.height))
    shot = Shot(Moves(zoom=1, pan=0.5, sway=0.5, handheld=0.3), plan, noise_of(TakeSeed(0, 1)))
    with out.open("wb") as file:
        for number in range(plan.frames):
            file.write(shot.frame(source, number).data)


def _chunks(source: Path, width: int, height: int, frames: int) -> Generator[Frames]:
    with source.open("rb") as file:
        for start in range(0, frames, CHUNK):
            count = min(CHUNK, frames - start)
            raw = np.fromfile(file, np.uint8, count * width * height * 3)
            yield raw.reshape(count, height, width, 3)


def _stream(source: Path, width: int, height: int, frames: int, pace: float) -> None:
    def work() -> dict[str, float]:
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder, Encoder(Path(folder) / "a.mp4", width, height, 24) as encoder:
            for chunk in _chunks(source, width, height, frames):
                time.sleep(pace * len(chunk))
                encoder.write(chunk)
            last = time.perf_counter()
            encoder.finish()
            return {"wall": time.perf_counter() - start, "wait": time.perf_counter() - last}

    contender(work)


def _export(source: Path, width: int, height: int, frames: int) -> None:
    import imageio  # noqa: PLC0415 - only this way should pay for them
    from diffusers.utils.export_utils import export_to_video  # noqa: PLC0415

    same = ["-preset", "veryfast", "-profile:v", "high", "-crf", "18", "-g", "48", "-movflags", "+faststart"]
    imageio.get_writer = functools.partial(imageio.get_writer, output_params=same)

    def work() -> dict[str, float]:
        floats = [frame.astype(np.float32) / 255 for chunk in _chunks(source, width, height, frames) for frame in chunk]
        last = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            quality = cast("float", None)  # documented as “no quality flag”, annotated as a number
            export_to_video(floats, f"{folder}/a.mp4", fps=24, quality=quality, macro_block_size=1)
            return {"wall": time.perf_counter() - last, "wait": time.perf_counter() - last}

    contender(work)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["export", source, width, height, frames]:
            _export(Path(source), int(width), int(height), int(frames))
        case ["stream", source, width, height, frames, pace]:
            _stream(Path(source), int(width), int(height), int(frames), float(pace))
        case _:
            main()
