"""The end of work that nobody waits for any more."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from traceback import clear_frames
from typing import Any, TypeVar

Result = TypeVar("Result")


async def see_out(work: asyncio.Future[Any]) -> None:
    """Wait until it is over. What it raised counts as seen: whatever made it pointless is what is told."""
    await asyncio.wait({work})
    if not work.cancelled():
        work.exception()


def let_go(error: BaseException) -> None:
    """Forget what the frames that it ended refer to, such as weights and latents: whoever has the error would keep
    those, and a task that awaits it has it in a circle until garbage is collected. It was raised just now.
    """
    met: BaseException | None = error
    while met is not None:
        clear_frames(met.__traceback__)
        met = met.__context__


async def aside(work: Callable[[], Result]) -> Result:
    """Do it in a thread of its own. Once nobody awaits it, nothing waits for its end, not even that of the process."""
    outcome: Future[Result] = Future()
    outcome.set_running_or_notify_cancel()

    def run() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised where it is awaited
            outcome.set_exception(error)

    Thread(target=run, name="aside", daemon=True).start()
    return await asyncio.wrap_future(outcome)
