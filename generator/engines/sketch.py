"""An honest camera-move preview: no weights, no GPU, a second or two on a processor.

Reads the motion prompt (`moves`), lets a camera film the photo (`shot`), streams the frames. It is never comparable
with a generated video and is labelled a sketch wherever it shows.
"""

import asyncio
import threading

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clips.photo import crop_box, fit_photo
from generator.engines.base import Context, Job, Sink
from generator.engines.moves import read_moves
from generator.engines.shot import Shot, noise_of

CHUNK = 8
_MOST_DETAIL = 1.5  # the photo is kept this much larger than the clip, so that a zoom stays sharp


class SketchEngine:
    """The engine `sketch`: nothing to load, nothing to give back."""

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

    async def close(self) -> None:
        """There is nothing to give back."""


def _render(job: Job, sink: Sink, context: Context, stop: threading.Event) -> None:
    moves = read_moves(job.spec)
    with Image.open(job.inputs["photo"]) as opened:
        photo = opened.convert("RGB")
    frames, done = job.plan.frames, 0
    for take in job.takes:
        shot = Shot(moves, job.plan, noise_of(take))
        source = _source(photo, job, shot)
        for start in range(0, frames, CHUNK):
            if stop.is_set():
                return
            context.raise_if_cancelled()
            count = min(CHUNK, frames - start)
            sink.frames(take.index, np.stack([shot.frame(source, start + step) for step in range(count)]))
            done += count
            context.report("step", done, frames * len(job.takes))


def _source(photo: Image.Image, job: Job, shot: Shot) -> NDArray[np.uint8]:
    """The photo in the clip's shape, larger than the clip by what the zoom needs and the photo has."""
    plan = job.plan
    left, _, right, _ = crop_box(photo.size, (plan.width, plan.height))
    detail = min(_MOST_DETAIL, float(shot.zoom.max()), max(1.0, (right - left) / plan.width))
    return np.asarray(fit_photo(photo, round(plan.width * detail), round(plan.height * detail), job.spec.fit))
