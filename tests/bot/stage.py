"""A stage for the bot: a sandbox in Discord's place, a Postgres, the bot itself, and a generator played by hand."""

import asyncio
import atexit
import os
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process, create_subprocess_exec
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any, TypeVar
from unittest.mock import patch
from uuid import UUID, uuid4

import aiohttp
import numpy as np
from discord_client import pointed_at
from hostile import saved, scene
from library_of import stays
from people import Json, Person, option

from bot.client import Bot, build
from clips import guilds, library, photo_process, queue, requests
from clips.blobs import BlobStore
from clips.catalog import Catalog
from clips.deliveries import CHANGED
from clips.domain import ChannelId, ClipSpec, GuildId, Lane, Progress, RequestId, RequestKind, UserId
from clips.ffmpeg import Encoded
from clips.invariants import violations
from clips.notices import listen
from clips.photo_process import ProcessLimits
from clips.postgres import Pool, Session, retrying
from clips.processes import bound_to_us
from clips.queue import Claim, Ended
from clips.requests import Ask, WholeRequest
from clips.settings import Settings
from clips.video import Encoder
from sandbox import seed
from sandbox.server import Sandbox
from sandbox.world import Times

Value = TypeVar("Value")
LEASE = timedelta(minutes=5)
_LIMITS = ProcessLimits(seconds=120)
BOUND = 90.0
"""Seconds for anything here: far beyond what it takes on a busy machine."""
PATIENT = Times(acknowledgement=60)
"""For a bot on a machine that is busy with other tests besides. Discord waits three seconds."""
BEFOREHAND = "**About to be made:**"
"""How an answer begins that is not the last one."""
HOME = GuildId(seed.LANTERN_HOUSE.id)
ATTACHMENT, STRING, INTEGER, BOOLEAN, USER, NUMBER, SUBCOMMAND = 11, 3, 4, 5, 6, 10, 1
_TYPES = {
    "photo": ATTACHMENT,
    "end_photo": ATTACHMENT,
    "length": NUMBER,
    "consistency": NUMBER,
    "takes": INTEGER,
    "seed": INTEGER,
    "spoiler": BOOLEAN,
    "sound": BOOLEAN,
}


@cache
def jpeg() -> bytes:
    return saved(scene(640, 480), "JPEG")


@dataclass(slots=True)
class Stage:
    """What the tests of the bot play on."""

    box: Sandbox
    session: aiohttp.ClientSession
    dsn: str
    pool: Pool
    blobs: BlobStore
    folder: Path
    bot: Bot | None = None
    generator: UUID = field(default_factory=uuid4)
    models: list[str] = field(default_factory=lambda: ["sketch"])

    def person(self, user: seed.User) -> Person:
        return Person(self.session, user.id)

    # ---- the bot

    def settings(self, **changes: Any) -> Settings:
        fields: dict[str, Any] = {
            "discord_token": seed.TOKEN,
            "database_url": self.dsn,
            "discord_url": self.box.address,
            "home": self.folder,
        }
        return Settings(**(fields | changes))

    @asynccontextmanager
    async def playing(self, **settings: Any) -> AsyncGenerator[Bot]:
        """The bot in this process, from its connection to its end."""
        chosen = self.settings(**settings)
        catalog = Catalog.load(chosen.catalog)
        with pointed_at(self.box.address):
            async with listen(self.dsn, Session("zoetrope tests"), [CHANGED]) as notices:
                # Photos are read at the lowest priority, and the machine is busy with other tests besides.
                with patch.object(photo_process, "ProcessLimits", lambda: _LIMITS):
                    self.bot = build(chosen, self.pool, self.blobs, catalog, notices)
                running = asyncio.create_task(self.bot.run(seed.TOKEN))
                try:
                    # Not `is_ready`: that waits two seconds for more servers to be told.
                    await self.until(lambda: running.done() or self.box.world.online)
                    if running.done():
                        running.result()
                    yield self.bot
                finally:
                    running.cancel()
                    await asyncio.wait([running])

    @asynccontextmanager
    async def process(self, **settings: str) -> AsyncGenerator[Process]:
        """The bot as a process of its own; what still runs of it at the end is killed."""
        fields = {
            "DISCORD_TOKEN": seed.TOKEN,
            "DATABASE_URL": self.dsn,
            "ZOETROPE_DISCORD_URL": self.box.address,
            "ZOETROPE_HOME": str(self.folder),
        }
        command = bound_to_us([sys.executable, "-m", "bot"], death=signal.SIGKILL)
        process = await create_subprocess_exec(*command, env={**os.environ, **fields, **settings}, stderr=PIPE)
        try:
            yield process
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.kill()
            await process.communicate()

    async def until(self, what: Callable[[], object], within: float = BOUND) -> None:
        ends = time.monotonic() + within
        while not what():
            assert time.monotonic() < ends, "waited in vain"
            await asyncio.sleep(0.01)

    async def eventually(self, read: Callable[[], Awaitable[Value]]) -> Value:
        """What is read, once it is true."""
        ends = time.monotonic() + BOUND
        while not (value := await read()):
            assert time.monotonic() < ends, "waited in vain"
            await asyncio.sleep(0.02)
        return value

    async def no_more_faults(self) -> None:
        """The sandbox goes on without the faults that were asked of it; what they delay comes now."""
        async with self.session.delete("/control/faults") as answer:
            assert answer.status == 204

    # ---- what members do

    async def animate(
        self, who: Person, channel: str, photo: bytes | None = None, *, end_photo: bytes | None = None, **options: Any
    ) -> Json:
        """`/animate` up to its ephemeral answer."""
        uploads = {"photo": jpeg() if photo is None else photo}
        if end_photo is not None:
            uploads["end_photo"] = end_photo
        given = [
            option(name, ATTACHMENT, await who.upload(content, f"{name}.jpg")) for name, content in uploads.items()
        ]
        given += [option(name, _TYPES.get(name, STRING), value) for name, value in options.items()]
        interaction = await who.use(channel, "animate", *given)
        return await self.answer(who, interaction)

    async def answer(self, who: Person, interaction: str) -> Json:
        """The one ephemeral answer to an interaction, once it tells what came of it."""
        return await self.said(who, interaction, lambda content: not content.startswith(BEFOREHAND))

    async def said(self, who: Person, interaction: str, what: Callable[[str], object]) -> Json:
        """The ephemeral answer, once it says what is waited for."""

        async def said() -> Json | None:
            outcome = await who.outcome(interaction, until=1, within=BOUND)
            assert outcome["state"] == "acknowledged", outcome
            (message,) = outcome["messages"]
            assert message["ephemeral"], message
            return message if what(message["content"]) else None

        found = await self.eventually(said)
        assert found is not None
        return found

    async def ask(self, who: Person, channel: str, *, motion: str = "zoom in", takes: int = 3) -> RequestId:
        """What `/animate` comes to, without its way through Discord and the photo's decoder."""
        photo = await self.blobs.put(self.pool, saved(scene(), "PNG"), "image/png")
        await guilds.know(self.pool, HOME)
        await library.add_photo(self.pool, HOME, UserId(int(who.id)), library.StoredPhoto(photo, 160, 120))
        spec = ClipSpec("sketch", motion=motion)
        asked = Ask(
            guild_id=HOME,
            channel_id=ChannelId(int(channel)),
            user_id=UserId(int(who.id)),
            kind=RequestKind.ANIMATE,
            lane=Lane.FAST,
            spec=spec,
            plan=Catalog.load().find("sketch").plan(spec, (160, 120)),
            photo=photo,
            seed=7,
            takes=takes,
        )
        return (await retrying(self.pool, lambda conn: queue.enqueue(conn, asked)))[0]

    async def press(self, who: Person, message: Json, label: str) -> str:
        """Press a button by its label."""
        return await who.press(message, button(message, label)["custom_id"])

    async def fill(self, who: Person, interaction: str, **values: object) -> Json:
        """Fill in the form that an interaction opened, up to the answer."""
        opened = await who.outcome(interaction)
        assert opened["state"] == "modal", opened
        return await self.answer(who, await who.fill(interaction, values))

    async def shown(self, who: Person, channel: str, what: Callable[[Json], object], within: float = BOUND) -> Json:
        """A message of the channel that the bot posted or comes to post."""
        ends = time.monotonic() + within
        while True:
            messages = await who.messages(channel)
            if found := [one for one in messages if one["author"]["bot"] and not one["ephemeral"] and what(one)]:
                return found[-1]
            assert time.monotonic() < ends, [one["content"] for one in messages]
            await asyncio.sleep(0.02)

    # ---- the generator

    async def announce(self, *models: str) -> None:
        """The generator runs these from now on, and counts as alive to the end of the test, however slow it is."""
        self.models = [*models]
        await queue.announce(self.pool, self.generator, "played", self.models, self.models)
        await stays(self.pool, self.generator)

    async def claim(self) -> Claim:
        claim = await queue.claim(self.pool, self.generator, self.models, self.models, LEASE)
        assert claim is not None
        return claim

    async def begin(self) -> Claim:
        """Claim a take and be in the middle of it."""
        claim = await self.claim()
        await queue.beat(self.pool, claim, Progress("step", 1, 4), LEASE)
        return claim

    async def finish(self, takes: int = 1) -> None:
        """Render takes: a real clip, the same for each."""
        for _ in range(takes):
            await self.record(await self.claim())

    async def record(self, claim: Claim) -> None:
        clip = tiny_clip()
        master = await self.blobs.put(self.pool, clip.path, "video/mp4")
        ended = await queue.record(self.pool, claim, master, clip, timedelta(seconds=1), {"steps": 4})
        assert ended is Ended.DONE

    async def stop(self, claim: Claim) -> None:
        """Notice that a take was cancelled, after a second of work."""
        assert await queue.stop(self.pool, claim, timedelta(seconds=1)) is Ended.CANCELLED

    async def fail(self, takes: int = 1) -> None:
        for _ in range(takes):
            await queue.fail(self.pool, await self.claim(), retry=False, error="The model met its match.", fault="-")

    async def replies(self, who: Person, channel: str, within: float = BOUND) -> list[Json]:
        """What the bot has posted, once all requests have ended and no message is out of date."""
        deadline = time.monotonic() + within
        while True:
            ended = [(await self.read(request_id)).ended for request_id in await self.request_ids()]
            late = await self.pool.fetchval("SELECT count(*) FROM deliveries WHERE posted_rev < wanted_rev")
            if all(ended) and not late:
                return [one for one in await who.messages(channel) if one["author"]["bot"] and not one["ephemeral"]]
            assert time.monotonic() < deadline, (ended, late)
            await asyncio.sleep(0.05)

    # ---- what is in the database

    async def request_ids(self) -> list[RequestId]:
        rows = await self.pool.fetch("SELECT request_id FROM requests ORDER BY request_id")
        return [row["request_id"] for row in rows]

    async def read(self, request_id: RequestId) -> WholeRequest:
        whole = await requests.read(self.pool, HOME, request_id)
        assert whole is not None
        return whole

    async def last(self) -> WholeRequest:
        return await self.read((await self.request_ids())[-1])

    async def promises_hold(self) -> None:
        async with self.pool.acquire() as conn:
            assert await violations(conn) == []

    async def rule(self, **rules: Any) -> None:
        """Change a rule of the home server."""
        await guilds.know(self.pool, HOME)
        for name, value in rules.items():
            await self.pool.execute(f"UPDATE guilds SET {name} = $2 WHERE guild_id = $1", HOME, value)

    async def block(self, user: seed.User, reason: str, hours: float | None = None) -> None:
        await guilds.know(self.pool, HOME)
        await self.pool.execute(
            "INSERT INTO blocks VALUES ($1, $2, $3, now() + $4 * interval '1 hour')",
            HOME,
            UserId(user.id),
            reason,
            hours,
        )


def button(message: Json, label: str) -> Json:
    """A button of a message, by its label."""
    buttons = [each for row in message["components"] for each in row["components"]]
    found = [each for each in buttons if each["label"] == label]
    assert found, f"no button {label!r} among {[each['label'] for each in buttons]}"
    return found[0]


def labels(message: Json) -> list[str]:
    return [each["label"] for row in message["components"] for each in row["components"]]


@cache
def tiny_clip() -> Encoded:
    """Half a second of video."""
    folder = Path(mkdtemp(prefix="zoetrope-tests-"))
    atexit.register(rmtree, folder)
    with Encoder(folder / "tiny.mp4", 64, 48, 24) as encoder:
        encoder.write(np.zeros((12, 48, 64, 3), np.uint8))
        return encoder.finish()
