"""A post office for the courier: a database, a blob store, a sandbox in Discord's place, and a generator by hand."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import discord
import numpy as np
from library_of import PHOTO, ask_for, enqueued, stays
from people import Json, Person

from clips import deliveries, guilds, library, queue, requests
from clips.blobs import BlobStore
from clips.catalog import Catalog
from clips.checkpoints import Checkpoints
from clips.domain import GuildId, RequestId, UserId
from clips.ffmpeg import Encoded
from clips.invariants import violations
from clips.postgres import Pool, retrying
from clips.queue import Claim
from clips.requests import WholeRequest
from clips.video import Encoder
from courier.endpoint import point_at
from courier.posting import Courier
from courier.roads import logged_in
from sandbox import seed
from sandbox.server import Sandbox

HOME = GuildId(seed.LANTERN_HOUSE.id)
JUNO = UserId(seed.JUNO.id)
LIMIT = 10 * 1024 * 1024
_LEASE = timedelta(seconds=60)


def filmed(path: Path, *, grain: bool = False, size: tuple[int, int] = (64, 48), frames: int = 12) -> Encoded:
    """A small clip; with grain, one that compresses badly."""
    width, height = size
    random = np.random.default_rng(3)
    with Encoder(path, width, height, 24) as encoder:
        for shade in range(frames):
            frame = np.full((1, height, width, 3), 10 * shade % 255, np.uint8)
            encoder.write(random.integers(0, 256, frame.shape, np.uint8) if grain else frame)
        return encoder.finish()


@dataclass(slots=True)
class Office:
    """What a test of the courier works with. `client` never connects."""

    pool: Pool
    blobs: BlobStore
    box: Sandbox
    session: aiohttp.ClientSession
    client: discord.Client
    folder: Path
    clip: Encoded
    generator: UUID = field(default_factory=uuid4)

    def courier(self, client: discord.Client | None = None, checkpoints: Checkpoints | None = None) -> Courier:
        return Courier(
            self.pool,
            self.blobs,
            client or self.client,
            Catalog.load(),
            attachment_limit=LIMIT,
            checkpoints=checkpoints,
        )

    async def ask(self, motion: str | None = None, **changes: Any) -> RequestId:
        """A request of Juno's in the lobby: sketches of 5 s."""
        ask = ask_for(HOME, JUNO, **({"channel_id": int(await self.lobby())} | changes))
        return await enqueued(self.pool, ask if motion is None else replace(ask, spec=replace(ask.spec, motion=motion)))

    async def whole(self, request_id: RequestId) -> WholeRequest:
        found = await requests.read(self.pool, HOME, request_id)
        assert found is not None
        return found

    async def claim(self) -> Claim:
        claim = await queue.claim(self.pool, self.generator, ["sketch"], ["sketch"], _LEASE)
        assert claim is not None
        return claim

    async def render(self, clip: Encoded | None = None) -> None:
        """The next take, from claim to record."""
        await self.finish(await self.claim(), clip)

    async def finish(self, claim: Claim, clip: Encoded | None = None) -> None:
        clip = clip or self.clip
        master = await self.blobs.put(self.pool, clip.path, "video/mp4")
        ended = await queue.record(self.pool, claim, master, clip, timedelta(seconds=1), {"steps": 1})
        assert ended is queue.Ended.DONE

    async def fail(self, sentence: str = "It did not work. Try again.") -> None:
        """The next take fails for good."""
        await queue.fail(self.pool, await self.claim(), retry=False, error=sentence, fault="trace")

    async def settle(self, courier: Courier | None = None, *, most: int = 30) -> int:
        """Draw the cards again and deliver until nothing is due; how many deliveries there were."""
        courier = courier or self.courier()
        await self.pool.execute("UPDATE deliveries SET posted_at = posted_at - interval '1 hour' WHERE kind = 'card'")
        await deliveries.refresh_cards(self.pool, 100)
        for number in range(most):
            await self.pool.execute("UPDATE deliveries SET posted_at = posted_at - interval '3 s' WHERE kind = 'card'")
            if not await courier.deliver_one():
                return number
        raise AssertionError(f"still something to deliver after {most} times")

    async def hurry(self) -> None:
        """Pauses and blocks are over, and leases of the dead have run out."""
        await self.pool.execute(
            "UPDATE deliveries SET next_at = now(), lease_until = CASE WHEN lease_until IS NOT NULL THEN now() END"
        )
        await self.pool.execute("DELETE FROM discord_blocks")

    async def until(self, what: Callable[[], Awaitable[object]]) -> None:
        """Wait until something is true, a minute at most."""
        async with asyncio.timeout(60):
            while True:
                if await what():
                    return
                await asyncio.sleep(0.02)

    async def is_sending(self) -> bool:
        """Has a courier begun to send the reply, so that its request has met the fault that waited for it?"""
        sending = await self.pool.fetchval("SELECT bool_or(sending) FROM deliveries WHERE kind = 'reply'")
        return sending and not self.box.faults.waiting

    async def card_says(self, words: str) -> bool:
        messages = await self.messages()
        return bool(messages) and words in messages[0]["content"]

    @property
    def juno(self) -> Person:
        return Person(self.session, seed.JUNO.id)

    async def lobby(self) -> str:
        return await self.juno.channel("lobby")

    async def messages(self, channel: str | None = None) -> list[Json]:
        """What Juno reads, oldest first."""
        return await self.juno.messages(channel or await self.lobby())

    async def only_message(self) -> Json:
        messages = await self.messages()
        assert len(messages) == 1, [message["content"] for message in messages]
        return messages[0]

    async def reply(self) -> Json:
        """The message that carries clips."""
        (found,) = [message for message in await self.messages() if message["attachments"]]
        return found

    async def control(self, method: str, path: str, body: Mapping[str, object] | None = None) -> None:
        async with self.session.request(method, f"/control{path}", json=body) as response:
            assert response.status == 204, await response.text()

    async def fault(self, method: str, route: str, **what: object) -> None:
        await self.control("POST", "/faults", {"method": method, "route": route, "times": 1, **what})

    async def row(self, kind: str, request_id: RequestId) -> Any:
        return await self.pool.fetchrow(
            "SELECT * FROM deliveries WHERE request_id = $1 AND kind = $2", request_id, kind
        )

    async def standing(self, request_id: RequestId) -> deliveries.Standing:
        found = await deliveries.standing(self.pool, HOME, request_id, deliveries.DeliveryKind.REPLY)
        assert found is not None
        return found

    async def delete(self, request_id: RequestId) -> None:
        """Juno deletes the clips."""
        await retrying(self.pool, lambda conn: library.delete_clips(conn, HOME, request_id))

    async def promises_hold(self) -> None:
        async with self.pool.acquire() as conn:
            assert await violations(conn) == []


@asynccontextmanager
async def opened(pool: Pool, box: Sandbox, folder: Path) -> AsyncGenerator[Office]:
    """A post office with one member's photo and a generator that runs `sketch`; discord.py talks to the sandbox."""
    await guilds.know(pool, HOME)
    await pool.execute("INSERT INTO blobs VALUES ($1, 1, 'image/png')", PHOTO)
    await library.add_photo(pool, HOME, JUNO, library.StoredPhoto(PHOTO, 640, 480))
    point_at(box.address)
    try:
        async with aiohttp.ClientSession(box.address) as session, logged_in(seed.TOKEN, pool) as client:
            blobs, clip = BlobStore.from_url(str(folder / "blobs")), filmed(folder / "clip.mp4")
            office = Office(pool, blobs, box, session, client, folder, clip)
            await queue.announce(pool, office.generator, "one", ["sketch"], ["sketch"])
            await stays(pool, office.generator)
            yield office
    finally:
        point_at(None)


def files(message: Json) -> list[str]:
    return [attachment["filename"] for attachment in message["attachments"]]


def labels(message: Json) -> list[str]:
    return [button["label"] for row in message["components"] for button in row["components"]]
