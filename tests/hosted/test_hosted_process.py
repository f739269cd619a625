"""Hosted takes from a member's click to the reply, with generators as processes that are killed on the way."""

import asyncio
import signal
import time
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path

import aiohttp
import pytest
from people import Json, Person

from clips import paid
from clips.blobs import BlobStore
from clips.catalog import Accepts, Catalog
from clips.checkpoints import Checkpoint
from clips.domain import TakeState
from clips.postgres import Pool
from sandbox import seed
from sandbox.server import running
from tests.bot.stage import HOME, Stage
from tests.generator.studio import SOON, Generator, generating
from tests.hosted.provider import KEY, Provider

BOUND = 30.0
KILLED = {
    Checkpoint.INTENDED: "wan-2.7-i2v",
    Checkpoint.CREATED: "gen4-turbo",
    Checkpoint.REMEMBERED: "hailuo-2.3-fast",
    Checkpoint.FETCHED: "seedance-1-pro",
}
"""Each checkpoint has a model of its own, so that the generator that dies there has that take and no other."""
OTHERS = [model for model in Catalog.load() if model.paid and model.name not in KILLED.values()]
FROM_A_PHOTO = {model.name: model.shortest for model in OTHERS if model.takes_photo and model.needs <= {Accepts.PHOTO}}
"""The other models that a photo is enough for, with their shortest clips."""


@pytest.fixture
async def stage(dsn: str, pool: Pool, tmp_path: Path) -> AsyncGenerator[Stage]:
    """A sandbox, a bot in it, and a server whose host pays."""
    async with running(tmp_path / "world") as box, aiohttp.ClientSession(box.address) as session:
        made = Stage(box, session, dsn, pool, BlobStore.from_url(str(tmp_path / "blobs")), tmp_path)
        await made.rule(max_running=4, confirm_above=paid.DOLLAR)
        await paid.approve(pool, HOME, "replicate", 20 * paid.DOLLAR)
        await made.announce(*KILLED.values(), *FROM_A_PHOTO)
        async with made.playing():
            yield made
        await made.promises_hold()


def generator(stage: Stage, provider: Provider, **settings: str) -> AbstractAsyncContextManager[Generator]:
    """A generator without a GPU that runs the provider's models."""
    fields = {"models": "replicate", "replicate_url": provider.address, "lease_seconds": SOON} | settings
    return generating(stage.dsn, stage.folder, "pays at once", key=KEY, **fields)


async def test_a_hosted_take_is_paid_once_and_answered_once_also_when_its_generator_is_killed(
    stage: Stage, provider: Provider
):
    juno = stage.person(seed.JUNO)
    lobby = await juno.channel("lobby")
    for model in KILLED.values():
        await stage.animate(juno, lobby, model=model, takes=1, length=2.0)
    async with AsyncExitStack() as stack:
        dying = [
            await stack.enter_async_context(generator(stage, provider, models=model, kill_at=checkpoint))
            for checkpoint, model in KILLED.items()
        ]
        for one in dying:
            assert await one.ended() == -signal.SIGKILL, one.said
    async with generator(stage, provider) as last:
        for model, length in FROM_A_PHOTO.items():
            await stage.animate(juno, lobby, model=model, takes=1, length=length)
        replies = await _replies(stage, juno, lobby)
        assert await last.stopped() == 0, last.said
    models = len(KILLED) + len(FROM_A_PHOTO)
    assert [len(reply["attachments"]) for reply in replies] == [1] * models
    takes = [take for request_id in await stage.request_ids() for take in (await stage.read(request_id)).takes]
    assert [take.state for take in takes] == [TakeState.DONE] * models, last.said
    assert (provider.paid, len(provider.predictions)) == (models, models)
    costs = await stage.pool.fetch("SELECT microdollars FROM hosted_jobs WHERE outcome = 'succeeded'")
    assert len(costs) == models and all(row["microdollars"] for row in costs)
    assert KEY not in "".join(one.said for one in (*dying, last))


async def _replies(stage: Stage, juno: Person, channel: str) -> list[Json]:
    """What the bot has posted, once all requests have ended and no message is out of date."""
    deadline = time.monotonic() + BOUND
    while True:
        ended = [(await stage.read(request_id)).ended for request_id in await stage.request_ids()]
        late = await stage.pool.fetchval("SELECT count(*) FROM deliveries WHERE posted_rev < wanted_rev")
        if all(ended) and not late:
            return [one for one in await juno.messages(channel) if one["author"]["bot"] and not one["ephemeral"]]
        assert time.monotonic() < deadline, (ended, late)
        await asyncio.sleep(0.05)
