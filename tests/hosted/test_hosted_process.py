"""Hosted takes from a member's click to the reply, with generators as processes that are killed on the way."""

import signal
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from functools import partial
from pathlib import Path

import aiohttp
import pytest
from people import Person, option

from clips import paid
from clips.blobs import BlobStore
from clips.catalog import Catalog, Model
from clips.checkpoints import Checkpoint
from clips.domain import TakeState
from clips.postgres import Pool
from sandbox import seed
from sandbox.server import running
from tests.bot.stage import ATTACHMENT, HOME, INTEGER, PATIENT, STRING, Stage, jpeg
from tests.generator.studio import Generator, generating
from tests.hosted.provider import KEY, Provider
from tests.test_motion_video import movie

LEASE = "6"
"""Seconds. Eight generators start at once here, and one has thirty takes under way: all of that in one lease."""
_KINDS = {"motion_video": "mp4", "references": "jpg"}
KILLED = {
    Checkpoint.CLAIMED: "wan-2.6-i2v",
    Checkpoint.INTENDED: "wan-2.7-i2v",
    Checkpoint.CREATED: "gen4-turbo",
    Checkpoint.REMEMBERED: "hailuo-2.3-fast",
    Checkpoint.FETCHED: "seedance-1-pro",
    Checkpoint.STORED: "pia-hosted",
    Checkpoint.RECORDED: "video-01-live",
}
"""Each checkpoint has a model of its own, so that the generator that dies there has that take and no other."""
OTHERS = [model for model in Catalog.load() if model.paid and model.name not in KILLED.values()]
FORMS = {
    "kling-v2.6-motion-control": {"motion_video": partial(movie, 3.2)},
    "kling-v3-video": {"subject": "she turns round"},
    "ovi-i2v": {"speech": "Look at the sea."},
    "grok-imagine-r2v": {"references": jpeg},
}
"""What members fill in for the models that ask for more: words, and files by what makes them."""


@pytest.fixture
async def stage(dsn: str, pool: Pool, tmp_path: Path) -> AsyncGenerator[Stage]:
    """A sandbox, a bot in it, and a server whose host pays."""
    async with running(tmp_path / "world", times=PATIENT) as box, aiohttp.ClientSession(box.address) as session:
        made = Stage(box, session, dsn, pool, BlobStore.from_url(str(tmp_path / "blobs")), tmp_path)
        await made.rule(max_running=len(KILLED), confirm_above=paid.DOLLAR)
        await paid.approve(pool, HOME, "replicate", 20 * paid.DOLLAR)
        await made.announce("sketch", *KILLED.values(), *(model.name for model in OTHERS))
        yield made
        await made.promises_hold()


def generator(stage: Stage, provider: Provider, **settings: str) -> AbstractAsyncContextManager[Generator]:
    """A generator that runs the sketch, one take at a time, and the provider's models, several."""
    fields = {"models": "sketch,replicate", "replicate_url": provider.address, "lease_seconds": LEASE} | settings
    return generating(stage.dsn, stage.folder, "pays at once", key=KEY, **fields)


@pytest.mark.timeout(420)  # eight generators, and a take of every model
async def test_a_hosted_take_is_paid_once_and_answered_once_also_when_its_generator_is_killed(
    stage: Stage, provider: Provider
):
    juno = stage.person(seed.JUNO)
    lobby = await juno.channel("lobby")
    async with stage.playing():
        for model in KILLED.values():
            shortest = Catalog.load().find(model).shortest  # another length would be asked about
            await stage.animate(juno, lobby, model=model, takes=1, length=shortest)
        async with AsyncExitStack() as stack:
            dying = [
                await stack.enter_async_context(generator(stage, provider, models=model, kill_at=checkpoint))
                for checkpoint, model in KILLED.items()
            ]
            for one in dying:
                assert await one.ended() == -signal.SIGKILL, one.said
        async with generator(stage, provider) as last:
            for model in OTHERS:
                await _ask(stage, juno, lobby, model)
            await stage.animate(juno, lobby, model="sketch", takes=1, length=1.0)
            replies = await stage.replies(juno, lobby)
            assert await last.stopped() == 0, last.said
    models = len(KILLED) + len(OTHERS)
    assert [len(reply["attachments"]) for reply in replies] == [1] * (models + 1), [
        reply["content"] for reply in replies
    ]
    takes = [take for request_id in await stage.request_ids() for take in (await stage.read(request_id)).takes]
    assert [take.state for take in takes] == [TakeState.DONE] * (models + 1), last.said
    assert (provider.paid, len(provider.predictions)) == (models, models)
    costs = await stage.pool.fetch("SELECT microdollars FROM hosted_jobs WHERE outcome = 'succeeded'")
    assert len(costs) == models and all(row["microdollars"] for row in costs)
    charged = await stage.pool.fetch("SELECT paid FROM charges WHERE settled_at IS NOT NULL")
    assert sorted(row["paid"] for row in charged) == sorted(row["microdollars"] for row in costs)
    assert KEY not in "".join(one.said for one in (*dying, last))


async def test_a_hosted_take_is_paid_once_and_answered_once_when_who_posts_it_is_killed(
    stage: Stage, provider: Provider
):
    juno = stage.person(seed.JUNO)
    lobby = await juno.channel("lobby")
    async with stage.playing():
        await stage.animate(juno, lobby, model="wan-2.7-i2v", takes=1, length=2.0)
        await stage.shown(juno, lobby, lambda message: message["components"])
    posting = partial(generator, stage, provider, token=seed.TOKEN, discord_url=stage.box.address)
    async with posting(kill_at=Checkpoint.POSTED_NOT_MARKED) as dying:
        assert await dying.ended() == -signal.SIGKILL, dying.said
    # What was being posted is free at once, and not a minute later when its lease ends.
    await stage.pool.execute("UPDATE deliveries SET lease_until = now() WHERE lease_until IS NOT NULL")
    async with posting():
        [reply] = await stage.replies(juno, lobby)
    assert len(reply["attachments"]) == 1
    [take] = (await stage.last()).takes
    assert (take.state, provider.paid, len(provider.predictions)) == (TakeState.DONE, 1, 1)


async def _ask(stage: Stage, juno: Person, channel: str, model: Model) -> None:
    """`/animate` with a photo, and with the model's form where it has one."""
    if model.name not in FORMS:
        answer = await stage.animate(juno, channel, model=model.name, takes=1, length=model.shortest)
        assert f"1 take with {model.title}" in answer["content"]
        return
    photo = option("photo", ATTACHMENT, await juno.upload(jpeg(), "photo.jpg"))
    given = (option("model", STRING, model.name), option("takes", INTEGER, 1), photo)
    interaction = await juno.use(channel, "animate", *given)
    values = {
        name: value if isinstance(value, str) else [await juno.upload(value(), f"{name}.{_KINDS[name]}")]
        for name, value in FORMS[model.name].items()
    }
    answer = await stage.fill(juno, interaction, **values)
    assert f"1 take with {model.title}" in answer["content"]
