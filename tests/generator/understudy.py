"""`python -m tests.generator.understudy HOW`: a generator with an engine in the sketch's place that serves a test.

`pays at once` is no engine: the one for a provider waits there for hundredths of seconds.

`takes its time` renders for two and a half seconds and `forever` until it is stopped, both without effort; `hangs` and
notices nothing; `is poisoned` as by a CUDA error.
"""

import asyncio
import sys
import time
from itertools import count

import numpy as np

from clips.errors import FatalEngineError
from generator import worker
from generator.__main__ import main
from generator.engines.base import Context, Job, Sink
from generator.engines.replicate import account
from generator.engines.replicate.paying import Pace
from generator.engines.sketch import SketchEngine

HOW = sys.argv[1]


def work(job: Job, sink: Sink, context: Context) -> None:
    context.report("step", 1, job.plan.frames)
    match HOW:
        case "is poisoned":
            raise FatalEngineError("CUDA error: an illegal memory access was encountered")
        case "hangs":
            time.sleep(600)
        case _:
            for number in count() if HOW == "forever" else range(job.plan.frames):
                context.raise_if_cancelled()
                sink.frames(job.takes[0].index, np.zeros((1, job.plan.height, job.plan.width, 3), np.uint8))
                context.report("step", number % job.plan.frames, job.plan.frames)
                time.sleep(0.1)


async def render(self: SketchEngine, job: Job, sink: Sink, context: Context) -> None:
    await asyncio.to_thread(work, job, sink, context)


if __name__ == "__main__":
    SketchEngine.render = render
    account.PACE = Pace(settles=0.5, first=0.05, most=0.1, again=0.05)
    worker.GRACE = 3.0
    main()
