"""Time to the acknowledgement with 50 members at once: from a member's `/animate` to the bot's deferral.

Over real sockets: the members and the sandbox here, bot and Postgres in processes of their own. Discord gives 3 s.
"""

import asyncio
import statistics
import sys
import tempfile
from collections import defaultdict
from contextlib import AsyncExitStack
from pathlib import Path
from time import perf_counter
from typing import Any
from uuid import uuid4

import aiohttp
from PIL import Image

from bench.report import Table
from clips import queue
from clips.embedded import embedded
from clips.migrate import migrate
from clips.postgres import Session, connect, connect_pool
from sandbox import seed
from sandbox.events import Event, InteractionChanged
from sandbox.records import Member, User
from sandbox.server import Sandbox, running
from sandbox.store import Store
from zoetrope.supervise import Child, supervised

MEMBERS = 50
ROUNDS = 4
_PYTHON = (sys.executable, "-m")
_FIRST_ID = 1_400_000_000_000_000_000


async def main() -> None:
    """Measure and publish one table."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        _invite(home / "sandbox")
        photo = home / "photo.jpg"
        Image.effect_mandelbrot((1024, 768), (-2, -1.5, 1, 1.5), 60).convert("RGB").save(photo)
        async with AsyncExitStack() as stack:
            dsn = await stack.enter_async_context(embedded(home / "postgres"))
            conn = await connect(dsn, Session("bench"))
            await migrate(conn)
            await conn.close()
            box = await stack.enter_async_context(running(home / "sandbox"))
            children = await stack.enter_async_context(supervised(home / "logs"))
            shared = {
                "DATABASE_URL": dsn,
                "DISCORD_TOKEN": seed.TOKEN,
                "ZOETROPE_DISCORD_URL": box.address,
                "ZOETROPE_HOME": str(home),
            }
            await children.start(Child("bot", [*_PYTHON, "bot"], shared))
            # Said to be alive, so that requests are taken; rendering them here would measure the rendering.
            pool = await stack.enter_async_context(connect_pool(dsn, Session("bench"), max_size=1))
            await queue.announce(pool, uuid4(), "elsewhere", ["sketch"], ["sketch"])
            alone, together = await _measure(box, photo)
    table = Table(
        "acknowledge", "From /animate to the acknowledgement (ms)", ["members at once", "p50", "p99", "worst"]
    )
    for members, times in ((1, alone), (MEMBERS, together)):
        cuts = statistics.quantiles(times, n=100, method="inclusive")
        table.add(members, cuts[49], cuts[98], max(times))
    table.publish()


def _invite(folder: Path) -> None:
    """Put 50 members into the first server of the sandbox's world."""
    store = Store(folder)
    seed.plant(store)
    with store.transaction():
        for number in range(MEMBERS):
            user = User(_FIRST_ID + number, f"member{number}", f"Member {number}", "#888888")
            store.users.put(user)
            store.members.put(Member(_FIRST_ID + 1000 + number, seed.LANTERN_HOUSE.id, user.id, []))
    store.close()


async def _measure(box: Sandbox, photo: Path) -> tuple[list[float], list[float]]:
    async with aiohttp.ClientSession(box.address, connector=aiohttp.TCPConnector(limit=0)) as session:
        users = [str(_FIRST_ID + number) for number in range(MEMBERS)]
        world = await _online(session)
        guild = next(one for one in world["guilds"] if one["id"] == str(seed.LANTERN_HOUSE.id))
        command = next(one for one in guild["commands"] if one["name"] == "animate")
        channel = guild["channels"][0]["id"]

        upload_of = await asyncio.to_thread(photo.read_bytes)

        changed = defaultdict[int, asyncio.Future[float]](asyncio.get_running_loop().create_future)

        def hear(event: Event) -> None:
            # The first change is the acknowledgement, or after 3 s that there is none.
            if isinstance(event, InteractionChanged) and not changed[event.interaction.id].done():
                changed[event.interaction.id].set_result(perf_counter())

        box.world.events.listen(hear)

        async def ask(user: str) -> float:
            form = aiohttp.FormData()
            form.add_field("file", upload_of, filename="photo.jpg")
            async with session.post("/member/attachments", params={"as": user}, data=form) as answer:
                upload = (await answer.json())["upload_id"]
            options: list[dict[str, Any]] = [{"name": "photo", "type": 11, "value": upload}]
            body = {"channel_id": channel, "command_id": command["id"], "options": options}
            ready.release()
            await go.wait()
            began = perf_counter()
            async with session.post("/member/commands", params={"as": user}, json=body) as answer:
                answer.raise_for_status()
                interaction = int((await answer.json())["interaction_id"])
            return (await changed[interaction] - began) * 1000

        alone: list[float] = []
        together: list[float] = []
        for _ in range(ROUNDS):
            ready, go = asyncio.Semaphore(0), asyncio.Event()
            go.set()
            alone += [await ask(user) for user in users[:10]]
            ready, go = asyncio.Semaphore(0), asyncio.Event()
            asking = [asyncio.create_task(ask(user)) for user in users]
            for _ in users:
                await ready.acquire()
            go.set()
            together += await asyncio.gather(*asking)
            await asyncio.sleep(15)  # the photos are decoded and enqueued before the next round
        return alone, together


async def _online(session: aiohttp.ClientSession) -> dict[str, Any]:
    """The sandbox's world once the bot is in it and has registered its commands."""
    async with asyncio.timeout(60):
        while True:
            async with session.get("/member/world") as answer:
                world = await answer.json()
            if world["app"]["online"] and all(guild["commands"] for guild in world["guilds"]):
                return world
            await asyncio.sleep(0.1)


if __name__ == "__main__":
    asyncio.run(main())
