"""Waiting for work elsewhere that may tell when it is done: a pause between two looks that a hint cuts short."""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field


class Wakes:
    """Who waits for which work, by its name elsewhere. Hints for anything else are forgotten: looking is the truth."""

    def __init__(self) -> None:
        self._hints: dict[str, asyncio.Event] = {}

    def wake(self, external_id: str | None) -> None:
        """Something may have happened to this work; None: to any of it."""
        names = list(self._hints) if external_id is None else [external_id]
        for name in names:
            if name in self._hints:
                self._hints[name].set()

    @contextmanager
    def awaiting(self, external_id: str) -> Generator["Rest"]:
        """Hear of this work for the length of the block. One waits for it at a time."""
        hint = self._hints[external_id] = asyncio.Event()
        try:
            yield Rest(hint)
        finally:
            if self._hints.get(external_id) is hint:
                del self._hints[external_id]


class Rest:
    """The pauses of one wait."""

    def __init__(self, hint: asyncio.Event) -> None:
        self._hint = hint

    async def pause(self, seconds: float) -> None:
        """Wait so long, or until a hint comes; one that came since the last pause counts."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hint.wait()
        self._hint.clear()


@dataclass(frozen=True, slots=True)
class Calls:
    """How a provider tells that work is done. `address`: what it is to call, if anything; `wakes`: who hears of it."""

    wakes: Wakes = field(default_factory=Wakes)
    address: str | None = None
