"""The end of work that nobody waits for any more."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import Any, TypeVar

Result = TypeVar("Result")


async def see_out(work: asyncio.Future[Any]) -> None:
    """Wait until it is over. What it raised counts as seen: whatever made it pointless is what is told."""
    await asyncio.wait({work})
    if not work.cancelled():
        work.exception()


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
