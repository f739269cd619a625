"""Several stations in one generator: what ends one of them ends the others in good order."""

import asyncio
from typing import Any

import pytest

from clips.errors import FatalEngineError
from generator.__main__ import work
from generator.stopping import Stopping


class Fails:
    """Its GPU answers no more."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def run(self) -> None:
        raise self._error


class Fetches:
    """Has a take elsewhere, which it fetches once it is told to stop."""

    def __init__(self, stopping: Stopping, error: Exception | None = None) -> None:
        self.fetched = False
        self._stopping = stopping
        self._error = error

    async def run(self) -> None:
        await self._stopping.asked.wait()
        await asyncio.sleep(0.05)
        self.fetched = True
        if self._error:
            raise self._error


@pytest.mark.parametrize("failure", [FatalEngineError("the GPU failed"), KeyError("a bug")])
async def test_a_station_that_fails_leaves_the_others_time_to_end(failure: Exception):
    stopping = Stopping(5)
    fetches, fails_too = Fetches(stopping), Fetches(stopping, ValueError("a later one"))
    workers: list[Any] = [fails_too, fetches, Fails(failure)]
    with pytest.raises(type(failure)):
        await work(workers, stopping)
    assert fetches.fetched and not stopping.due.is_set()
