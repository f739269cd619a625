"""Intake of a 48-megapixel JPEG, beside opening and resizing it with Pillow as everybody does."""

import asyncio
import statistics
import sys
import tempfile
import time
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from bench.memory import contender, measured
from bench.report import Table
from clips.photo import PhotoLimits, read_photo
from clips.photo_process import PhotoReader

SIZE = (8064, 6048)
RUNS = 5
WAYS = {
    "plain": "Pillow: open, resize",
    "plain-png": "Pillow: open, resize, save as PNG",
    "ours": "read_photo",
    "ours-apart": "read_photo in its own process",
}


def main() -> None:
    """Measure every way and publish the table."""
    table = Table(
        "intake",
        f"A {SIZE[0] * SIZE[1] / 1e6:.0f}-megapixel JPEG to {PhotoLimits().long_side} pixels",
        ["way", "wall s (median)", "÷ plain", "peak MB", "÷ plain"],
        notes=[f"Median of {RUNS}; ours ends with an upright sRGB PNG and its hash, the first row with pixels only."],
    )
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "photo.jpg"
        source.write_bytes(_photograph())
        said = {way: measured("bench.intake", way, str(source)) for way in WAYS}
    plain, plain_peak = said["plain"]
    for way, name in WAYS.items():
        figures, peak = said[way]
        table.add(name, figures["wall"], figures["wall"] / plain["wall"], peak, peak / plain_peak)
    table.publish()


def _photograph() -> bytes:
    """The sample, enlarged to 48 megapixels, with a sensor's noise."""
    with Image.open(Path(__file__).parents[1] / "samples" / "raccoon.jpg") as sample:
        pixels = np.asarray(sample.resize(SIZE, Image.Resampling.BICUBIC))
    rng, out = np.random.default_rng(1), BytesIO()
    noisy = pixels.astype(np.int16) + rng.integers(-6, 7, pixels.shape, dtype=np.int16)
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(out, "JPEG", quality=90)
    return out.getvalue()


def _plain(upload: bytes, *, png: bool) -> None:
    image = Image.open(BytesIO(upload)).convert("RGB")
    long_side = PhotoLimits().long_side
    scale = long_side / max(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)
    if png:
        image.save(BytesIO(), "PNG")


def _once(way: str, upload: bytes) -> None:
    match way:
        case "plain" | "plain-png":
            _plain(upload, png=way == "plain-png")
        case "ours":
            read_photo(upload, PhotoLimits())
        case _:
            asyncio.run(PhotoReader().read(upload))


def _work(way: str, source: Path) -> dict[str, float]:
    upload, walls = source.read_bytes(), list[float]()
    for _ in range(RUNS):
        start = time.perf_counter()
        _once(way, upload)
        walls.append(time.perf_counter() - start)
    return {"wall": statistics.median(walls)}


if __name__ == "__main__":
    if len(sys.argv) == 3:
        contender(lambda: _work(sys.argv[1], Path(sys.argv[2])))
    else:
        main()
