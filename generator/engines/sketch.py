"""An honest camera-move preview: no weights, no GPU, a second or two on a processor.

Reads the motion prompt (`moves`), lets a camera film the photo (`shot`), streams the frames. It is never comparable
with a generated video and is labelled a sketch wherever it shows.
"""

import asyncio
import math
import threading

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clips.domain import ClipSpec, Plan
from clips.photo import crop_box, fit_photo
from generator.engines.base import Context, Job, Sink
from generator.engines.moves import read_moves
from generator.engines.shot import Shot, noise_of

FPS = 24
CHUNK = 8
_SHORTEST, _LONGEST = 1.0, 15.0
_WIDEST = 16 / 9
_NATIVE = 480  # the short side that two cores render in a second or two
_MOST_DETAIL = 1.5  # the photo is kept this much larger than the clip, so that a zoom stays sharp


class SketchEngine:
    """The engine `sketch`. `credits_per_second` is the catalogue's price of one second of clip."""

    def __init__(self, *, credits_per_second: float) -> None:
        self._price = credits_per_second

    def plan(self, spec: ClipSpec, photo_size: tuple[int, int]) -> Plan:
        """The photo's own shape (at most 16:9 either way, even sides), 24 frames a second, 1 to 15 seconds."""
        short = spec.size.short_side or _NATIVE
        aspect = photo_size[0] / photo_size[1]
        long = round(short * min(max(aspect, 1 / aspect), _WIDEST) / 2) * 2
        frames = round(min(max(spec.seconds, _SHORTEST), _LONGEST) * FPS)
        width, height = (long, short) if aspect >= 1 else (short, long)
        return Plan(width, height, frames, FPS, max(1, math.ceil(self._price * frames / FPS - 1e-9)))

    async def render(self, job: Job, sink: Sink, context: Context) -> None:
        """Every take, one after another, in a thread. When the task is cancelled, the thread has ended on return."""
        stop = threading.Event()
        work = asyncio.create_task(asyncio.to_thread(_render, job, sink, context, stop))
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:
            stop.set()
            await asyncio.wait([work])
            raise


def _render(job: Job, sink: Sink, context: Context, stop: threading.Event) -> None:
    moves = read_moves(job.spec)
    with Image.open(job.inputs["photo"]) as opened:
        photo = opened.convert("RGB")
    frames, done = job.plan.frames, 0
    for take in job.takes:
        shot = Shot(moves, job.plan, noise_of(take))
        source = _source(photo, job.plan, shot)
        for start in range(0, frames, CHUNK):
            if stop.is_set():
                return
            context.raise_if_cancelled()
            count = min(CHUNK, frames - start)
            sink.frames(take.index, np.stack([shot.frame(source, start + step) for step in range(count)]))
            done += count
            context.report("step", done, frames * len(job.takes))


def _source(photo: Image.Image, plan: Plan, shot: Shot) -> NDArray[np.uint8]:
    """The photo in the clip's shape, larger than the clip by what the zoom needs and the photo has."""
    left, _, right, _ = crop_box(photo.size, (plan.width, plan.height))
    detail = min(_MOST_DETAIL, float(shot.zoom.max()), max(1.0, (right - left) / plan.width))
    return np.asarray(fit_photo(photo, round(plan.width * detail), round(plan.height * detail)))
