"""The whole way with every part a process of its own: many at once, and every part taken away in the middle of it."""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from time import monotonic
from typing import IO, TypeVar

import aiohttp
import pytest
from discord_schema import check_record
from people import Controls, Json, Person

from clips import requests
from clips.blobs import BlobStore
from clips.domain import GuildId, RequestId, TakeState
from clips.embedded import embedded
from clips.migrate import migrate
from clips.postgres import OUTAGE, Pool, Session, connect, connect_pool
from clips.requests import WholeRequest
from sandbox import seed
from sandbox.server import running
from tests.bot.stage import PATIENT, Stage, labels
from tests.conftest import KILLABLE
from tests.generator.studio import SOON, Generator, generating

BOUND = 90.0
_Read = TypeVar("_Read")


@pytest.fixture
async def postgres(tmp_path: Path) -> AsyncGenerator[str]:
    """A server of the test's own, which it may kill."""
    async with embedded(tmp_path / "postgres", settings=KILLABLE) as dsn:
        conn = await connect(dsn, Session("zoetrope tests"))
        await migrate(conn)
        await conn.close()
        yield dsn


@pytest.fixture
async def stage(postgres: str, tmp_path: Path) -> AsyncGenerator[Stage]:
    async with (
        connect_pool(postgres, Session("zoetrope tests"), max_size=3) as pool,
        running(tmp_path / "world", times=PATIENT) as box,
        aiohttp.ClientSession(box.address) as session,
    ):
        made = Stage(box, session, postgres, pool, BlobStore.from_url(str(tmp_path / "blobs")), tmp_path)
        yield made
        await made.promises_hold()
    check_record(box.record)


async def generator(stage: Stage, stack: AsyncExitStack, engine: str | None = None) -> Generator:
    """One that posts too, and whose lease is soon lost. `engine`: what stands in for the sketch."""
    made = await stack.enter_async_context(
        generating(
            stage.dsn,
            stage.folder,
            engine,
            token=seed.TOKEN,
            discord_url=stage.box.address,
            lease_seconds=SOON,
            stop_seconds="1",
        )
    )
    await made.says(" runs ")
    return made


async def bot(stage: Stage, stack: AsyncExitStack) -> asyncio.subprocess.Process:
    made = await stack.enter_async_context(stage.process())
    log = stack.enter_context((stage.folder / "bot.log").open("ab"))
    draining = asyncio.create_task(drain(made, log))
    stack.callback(draining.cancel)
    await stage.until(lambda: stage.box.world.online, BOUND)
    return made


async def drain(process: asyncio.subprocess.Process, log: IO[bytes]) -> None:
    """A full pipe would hold the process up."""
    assert process.stderr is not None
    async for line in process.stderr:
        log.write(line)


async def patiently(read: Callable[[], Awaitable[_Read]]) -> _Read:
    """What is read, once it is true and the database answers."""
    ends = monotonic() + BOUND
    while True:
        try:
            if value := await read():
                return value
        except OUTAGE:
            pass
        assert monotonic() < ends, "waited in vain"
        await asyncio.sleep(0.05)


async def whole(pool: Pool, guild: int, request_id: int) -> WholeRequest:
    found = await requests.read(pool, GuildId(guild), RequestId(request_id))
    assert found is not None
    return found


async def replies(stage: Stage, person: Person, channel: str) -> list[Json]:
    """The bot's messages in a channel once the database says that all is told."""

    async def told() -> bool:
        return await stage.pool.fetchval(
            "SELECT count(*) > 0 AND bool_and(posted_rev = wanted_rev) AND NOT EXISTS (SELECT FROM takes "
            "WHERE state NOT IN ('done', 'failed', 'cancelled')) FROM deliveries"
        )

    await patiently(told)
    return [one for one in await person.messages(channel) if one["author"]["bot"] and not one["ephemeral"]]


def check_reply(reply: Json, person: Person, takes: int) -> None:
    assert [one["content_type"] for one in reply["attachments"]] == ["video/mp4"] * takes
    assert len({one["filename"] for one in reply["attachments"]}) == takes
    assert [one["id"] for one in reply["mentions"]] == [person.id]
    assert labels(reply)[:takes] == ["1 ★", "2", "3"][:takes]


async def charged_once(stage: Stage, takes: int) -> None:
    """Each take was settled once to the member and once to the server, at no more than its quote."""
    rows = await stage.pool.fetch(
        "SELECT take_id, count(*) FILTER (WHERE reason = 'settle') AS settled, "
        "       count(*) FILTER (WHERE reason = 'hold') AS held FROM entries WHERE take_id IS NOT NULL GROUP BY take_id"
    )
    assert [(row["settled"], row["held"]) for row in rows] == [(2, 2)] * takes


async def test_two_members_two_servers_and_two_generators_at_once(stage: Stage):
    juno, ines = stage.person(seed.JUNO), stage.person(seed.INES)
    lobby, night = await juno.channel("lobby"), await ines.channel("clips", "Night Shift")
    async with AsyncExitStack() as stack:
        # Long enough for the other to claim what is left while one renders.
        slow = "takes its time"
        await asyncio.gather(generator(stage, stack, slow), generator(stage, stack, slow), bot(stage, stack))
        answers = await asyncio.gather(
            stage.animate(juno, lobby, motion="zoom in", length=1), stage.animate(ines, night, motion="sway", length=1)
        )
        assert all("3 takes" in answer["content"] for answer in answers)
        [first], [second] = await replies(stage, juno, lobby), await replies(stage, ines, night)
    check_reply(first, juno, 3)
    check_reply(second, ines, 3)
    await charged_once(stage, 6)
    generators = await stage.pool.fetchval("SELECT count(DISTINCT generator_id) FROM takes")
    assert generators == 2


async def test_every_part_is_taken_away_in_the_middle(stage: Stage, tmp_path: Path):
    juno, controls = stage.person(seed.JUNO), Controls(stage.session)
    lobby = await juno.channel("lobby")

    async def in_the_middle(done: int) -> bool:
        takes = (await whole(stage.pool, seed.LANTERN_HOUSE.id, 1)).takes
        under_way = any(take.state is TakeState.RUNNING and take.phase == "step" for take in takes)
        return under_way and sum(take.master is not None for take in takes) >= done

    async with AsyncExitStack() as stack:
        worker, process = await asyncio.gather(generator(stage, stack, "takes its time"), bot(stage, stack))
        await stage.animate(juno, lobby, motion="pull back", length=2)

        await patiently(lambda: in_the_middle(0))
        [pid_file] = (tmp_path / "postgres").glob("*/postmaster.pid")
        os.kill(int(pid_file.read_text().split()[0]), signal.SIGKILL)
        await controls("/gateway", {"action": "drop"})

        await patiently(lambda: in_the_middle(1))
        worker.process.send_signal(signal.SIGKILL)
        await controls("/gateway", {"action": "invalidate"})
        worker = await generator(stage, stack, "forever")  # is not through before the bot has started again

        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), BOUND) == 0
        await bot(stage, stack)
        await patiently(lambda: in_the_middle(1))
        worker.process.send_signal(signal.SIGTERM)
        assert await worker.ended() == 0, worker.said
        await generator(stage, stack)

        [reply] = await replies(stage, juno, lobby)
    check_reply(reply, juno, 3)
    await charged_once(stage, 3)
