"""What runs beside the worker for as long as it works: the queue's reaper, the courier."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from generator.stopping import Stopping


@asynccontextmanager
async def beside(stopping: Stopping, work: Coroutine[Any, Any, object]) -> AsyncGenerator[None]:
    """Run endless work beside the block and cancel it at the end. If it fails, the generator is asked to end, so that
    the take under way is finished first; then the failure is raised.
    """
    task = asyncio.create_task(work)
    task.add_done_callback(lambda _: None if stopping.asked.is_set() else stopping.ask())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
    if not task.cancelled():
        task.result()
