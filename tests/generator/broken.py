"""`python -m tests.generator.broken HOW`: a generator whose sketch engine hangs, or is poisoned as by a CUDA error."""

import asyncio
import sys
import time

from clips.errors import FatalEngineError
from generator.__main__ import main
from generator.engines.base import Context, Job, Sink
from generator.engines.sketch import SketchEngine


async def render(self: SketchEngine, job: Job, sink: Sink, context: Context) -> None:
    context.report("step", 1, 2)
    if sys.argv[1] == "is poisoned":
        raise FatalEngineError("CUDA error: an illegal memory access was encountered")
    await asyncio.to_thread(time.sleep, 600)


if __name__ == "__main__":
    SketchEngine.render = render
    main()
