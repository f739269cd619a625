"""What the tests of the generator need: a database with a photo to animate, and generators as real processes."""

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from time import monotonic
from typing import Any
from uuid import uuid4

import numpy as np
from PIL import Image

from clips import guilds, library, queue, requests
from clips.blobs import BlobStore
from clips.domain import GuildId, Plan, RequestId, Sha256, UserId
from clips.invariants import violations
from clips.postgres import Pool
from clips.processes import bound_to_us
from clips.requests import Take, WholeRequest
from tests.library_of import ask_for, enqueued

GUILD = GuildId(1)
ADA = UserId(11)
BOUND = 90.0
"""Seconds for anything here: far beyond what it takes on a busy machine."""
SHORT = Plan(width=160, height=120, frames=24, fps=24, credits=2)
SOON = "3"
"""A lease that is soon lost, and not by a generator that lives, though the machine be busy."""


@dataclass(frozen=True, slots=True)
class Studio:
    """A database and a blob store with a photo in them, and a folder for homes of generators."""

    dsn: str
    pool: Pool
    blobs: BlobStore
    folder: Path
    photo: Sha256

    async def ask(self, plan: Plan = SHORT, *, user_id: int = ADA, **changes: Any) -> RequestId:
        """Enqueue a request, one take unless said otherwise."""
        fields = {"photo": self.photo, "takes": 1, "plan": plan} | changes
        return await enqueued(self.pool, ask_for(GUILD, user_id, **fields))

    async def read(self, request_id: RequestId) -> WholeRequest:
        whole = await requests.read(self.pool, GUILD, request_id)
        assert whole is not None
        return whole

    async def until(self, request_id: RequestId, what: Callable[[WholeRequest], object]) -> WholeRequest:
        """Wait until something is true of a request."""
        whole = await self.read(request_id)
        deadline = monotonic() + BOUND
        while not what(whole):
            assert monotonic() < deadline, f"waited in vain: {whole.takes}"
            await asyncio.sleep(0.05)
            whole = await self.read(request_id)
        return whole

    async def ended(self, request_id: RequestId) -> list[Take]:
        return list((await self.until(request_id, lambda whole: whole.ended)).takes)

    async def rendering(self, request_id: RequestId) -> list[Take]:
        """Wait until frames of a request are being rendered."""
        return list(
            (await self.until(request_id, lambda whole: any(take.phase == "step" for take in whole.takes))).takes
        )

    def generator(
        self, engine: str | None = None, **settings: str
    ) -> contextlib.AbstractAsyncContextManager["Generator"]:
        """A generator as its own process. `engine`: what stands in for the sketch."""
        return generating(self.dsn, self.folder, engine, **settings)

    async def promises_hold(self) -> None:
        async with self.pool.acquire() as conn:
            assert await violations(conn) == []


@dataclass(slots=True)
class Generator:
    """A generator's process, and what it said so far."""

    process: Process
    said: str = ""
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def listen(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.said += line.decode()
            self._news.set()
        self._news.set()

    async def says(self, words: str) -> None:
        """Wait until it has said something."""
        async with asyncio.timeout(BOUND):
            while words not in self.said:
                assert self.process.returncode is None, self.said
                self._news.clear()
                await self._news.wait()

    async def stopped(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the exit code."""
        self.process.send_signal(number)
        return await self.ended()

    async def ended(self) -> int:
        async with asyncio.timeout(BOUND):
            return await self.process.wait()


@contextlib.asynccontextmanager
async def generating(
    dsn: str,
    folder: Path,
    engine: str | None = None,
    *,
    token: str | None = None,
    key: str | None = None,
    **settings: str,
) -> AsyncGenerator[Generator]:
    """A generator as its own process; what still runs of it at the end is killed. Its blobs are in `folder`.

    `token` is Discord's, `key` the account's at Replicate.
    """
    environment = {
        **os.environ,
        "DATABASE_URL": dsn,
        "ZOETROPE_HOME": str(folder / "home"),
        "ZOETROPE_BLOBS": str(folder / "blobs"),
        "ZOETROPE_LEASE_SECONDS": "6",
        **{f"ZOETROPE_{name.upper()}": value for name, value in settings.items()},
    }
    environment.pop("DISCORD_TOKEN", None)
    if token is not None:
        environment["DISCORD_TOKEN"] = token
    if key is not None:
        environment["REPLICATE_API_TOKEN"] = key
    module = ["generator"] if engine is None else ["tests.generator.understudy", engine]
    command = bound_to_us([sys.executable, "-m", *module], death=signal.SIGKILL)
    process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=PIPE, stderr=STDOUT)
    generator = Generator(process)
    reading = asyncio.create_task(generator.listen())
    try:
        yield generator
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        await process.wait()
        await reading


async def studio(dsn: str, pool: Pool, folder: Path) -> Studio:
    """The studio of one test, with a small photo of noise."""
    blobs = BlobStore.from_url(str(folder / "blobs"))
    out = BytesIO()
    pixels = np.random.default_rng(3).integers(0, 255, (240, 320, 3), np.uint8)
    Image.fromarray(pixels).save(out, "PNG")
    photo = await blobs.put(pool, out.getvalue(), "image/png")
    await guilds.know(pool, GUILD)
    # Somebody was here a moment ago: what is asked for is ready at once instead of parked.
    await queue.announce(pool, uuid4(), "gone", ["sketch"], [])
    await library.add_photo(pool, GUILD, ADA, library.StoredPhoto(photo, 320, 240))
    return Studio(dsn, pool, blobs, folder, photo)
