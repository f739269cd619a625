"""The kill matrix: `kill -9` at every named checkpoint, and each time one clip, one reply and one charge come out.

All of it is real: a member at a sandbox in Discord's place, the bot and the generator as processes, Postgres, ffmpeg.
"""

import asyncio
import signal
import time
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import aiohttp
import pytest
from discord_schema import check_record
from people import Json, Person, option

from clips.blobs import BlobStore
from clips.checkpoints import Checkpoint
from clips.domain import RequestStatus
from clips.postgres import Pool
from sandbox import seed
from sandbox.server import running
from tests.bot.stage import ATTACHMENT, INTEGER, NUMBER, PATIENT, Stage, jpeg
from tests.generator.studio import SOON, Generator, generating

BOUND = 90.0


@pytest.fixture
async def stage(dsn: str, pool: Pool, tmp_path: Path) -> AsyncGenerator[Stage]:
    """A sandbox, and a generator seen a moment ago, so that members are offered its model."""
    async with running(tmp_path / "world", times=PATIENT) as box, aiohttp.ClientSession(box.address) as session:
        made = Stage(box, session, dsn, pool, BlobStore.from_url(str(tmp_path / "blobs")), tmp_path)
        await made.announce("sketch")
        yield made
        await made.promises_hold()
    check_record(box.record)


async def animate(stage: Stage, juno: Person, channel: str) -> None:
    """`/animate` for one take of a second, sent off and left alone."""
    await stage.until(lambda: stage.box.world.online, BOUND)
    photo = await juno.upload(jpeg(), "photo.jpg")
    options = (option("photo", ATTACHMENT, photo), option("takes", INTEGER, 1), option("length", NUMBER, 1))
    await juno.use(channel, "animate", *options)


def generator(stage: Stage, token: str | None = seed.TOKEN, **settings: str) -> AbstractAsyncContextManager[Generator]:
    """A generator with a lease that is soon lost. With the token it posts too."""
    address = stage.box.address
    return generating(stage.dsn, stage.folder, token=token, discord_url=address, lease_seconds=SOON, **settings)


async def nobody_posts(stage: Stage) -> None:
    """All couriers are dead: what they were delivering is free at once, and not a minute later when its lease ends."""
    await stage.pool.execute("UPDATE deliveries SET lease_until = now() WHERE lease_until IS NOT NULL")


async def settled(stage: Stage, juno: Person, channel: str) -> list[Json]:
    """What the bot has posted, once the only request has ended and no message is out of date."""
    deadline = time.monotonic() + BOUND
    while True:
        ids = await stage.request_ids()
        # First whether it has ended: what that makes late is seen then.
        ended = bool(ids) and (await stage.read(ids[0])).ended
        late = await stage.pool.fetchval("SELECT count(*) FROM deliveries WHERE posted_rev < wanted_rev")
        if ended and not late:
            return [one for one in await juno.messages(channel) if one["author"]["bot"] and not one["ephemeral"]]
        assert time.monotonic() < deadline, (ids, late)
        await asyncio.sleep(0.05)


async def came_out_once(stage: Stage, juno: Person, channel: str) -> None:
    """One request, one reply with one clip, and one charge to the member and to the server."""
    [reply] = await settled(stage, juno, channel)
    assert [one["content_type"] for one in reply["attachments"]] == ["video/mp4"], reply["content"]
    assert [mention["id"] for mention in reply["mentions"]] == [juno.id]
    whole = await stage.last()
    assert (len(await stage.request_ids()), whole.status, len(whole.clips)) == (1, RequestStatus.DONE, 1)
    charges = await stage.pool.fetch("SELECT amount FROM entries WHERE reason = 'settle'")
    assert [row["amount"] for row in charges] == [whole.charged] * 2
    assert whole.charged == 1


@pytest.mark.parametrize(
    "checkpoint", [Checkpoint.INTAKE_STORED, Checkpoint.HELD, pytest.param(Checkpoint.POSTED_NOT_MARKED, id="card")]
)
async def test_the_bot_is_killed(stage: Stage, checkpoint: Checkpoint):
    juno = stage.person(seed.JUNO)
    lobby = await juno.channel("lobby")
    async with stage.process(ZOETROPE_KILL_AT=checkpoint) as dying:
        await animate(stage, juno, lobby)
        assert await asyncio.wait_for(dying.wait(), BOUND) == -signal.SIGKILL
    await nobody_posts(stage)
    async with stage.playing(), generator(stage):
        await came_out_once(stage, juno, lobby)


@pytest.mark.parametrize(
    "checkpoint",
    [Checkpoint.CLAIMED, Checkpoint.RENDERING, Checkpoint.ENCODED, Checkpoint.STORED, Checkpoint.RECORDED],
)
async def test_the_generator_is_killed_beside_a_bot_that_posts(stage: Stage, checkpoint: Checkpoint):
    juno = stage.person(seed.JUNO)
    lobby = await juno.channel("lobby")
    async with stage.playing():
        await animate(stage, juno, lobby)
        async with generator(stage, token=None, kill_at=checkpoint) as dying:
            assert await dying.ended() == -signal.SIGKILL, dying.said
        async with generator(stage, token=None):
            await came_out_once(stage, juno, lobby)


async def test_a_generator_that_posts_by_itself_is_killed_when_the_clip_is_out(stage: Stage):
    juno = stage.person(seed.JUNO)
    lobby = await juno.channel("lobby")
    async with stage.playing():
        await animate(stage, juno, lobby)
        await stage.shown(juno, lobby, lambda message: message["components"], BOUND)
    async with generator(stage, kill_at=Checkpoint.POSTED_NOT_MARKED) as dying:
        assert await dying.ended() == -signal.SIGKILL, dying.said
    await nobody_posts(stage)
    async with generator(stage):
        await came_out_once(stage, juno, lobby)
