"""A hint cuts a pause short, also one that came before it; without any the pause is as long as it was to be."""

import asyncio
from collections import deque
from dataclasses import replace
from pathlib import Path

from generator.engines.wakes import Calls, Wakes
from tests.hosted.provider import Provider
from tests.hosted.rehearsal import PACE, rehearsing


async def test_a_hint_ends_the_pause_and_counts_once():
    wakes = Wakes()
    with wakes.awaiting("p1") as rest:
        async with asyncio.timeout(60):
            wakes.wake("p1")
            wakes.wake("p1")
            await rest.pause(3600)
            await rest.pause(0)
            waiting = asyncio.create_task(rest.pause(3600))
            await asyncio.sleep(0)
            wakes.wake(None)
            await waiting


async def test_a_hint_for_other_work_is_forgotten():
    wakes = Wakes()
    with wakes.awaiting("p1") as rest:
        wakes.wake("p2")
        waiting = asyncio.create_task(rest.pause(3600))
        done, _ = await asyncio.wait([waiting], timeout=0.05)
        assert not done
        waiting.cancel()


async def test_a_take_looks_again_when_its_provider_calls(provider: Provider, tmp_path: Path):
    provider.polls = deque(["processing", "succeeded"])
    calls = Calls(address="https://zoe.example/webhooks/replicate")
    async with rehearsing(provider, tmp_path) as stage, asyncio.timeout(60):
        stage.calls, stage.pace = calls, replace(PACE, first=3600, most=3600, longest=9999)
        attempt = asyncio.create_task(stage.attempt())
        while not attempt.done():
            calls.wakes.wake("p1")
            await asyncio.wait([attempt], timeout=0.02)
        assert (await attempt).made is not None
    [asked] = provider.predictions.values()
    assert (asked["webhook"], asked["webhook_events_filter"]) == (calls.address, ["completed"])


async def test_without_an_address_nobody_is_asked_to_call(provider: Provider, tmp_path: Path):
    async with rehearsing(provider, tmp_path) as stage:
        await stage.attempt()
    [asked] = provider.predictions.values()
    assert asked["webhook"] is None
