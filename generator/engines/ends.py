"""The end of work that nobody waits for any more."""

import asyncio
from typing import Any


async def see_out(work: asyncio.Future[Any]) -> None:
    """Wait until it is over. What it raised counts as seen: whatever made it pointless is what is told."""
    await asyncio.wait({work})
    if not work.cancelled():
        work.exception()
