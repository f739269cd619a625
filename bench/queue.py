"""The fair queue beside pgqueuer and procrastinate, on one Postgres of default durability.

From enqueue to pickup by an idle worker, and one claim with many waiting. What ours does more of: it holds credits,
keeps members and servers fair, and writes the messages to come; pgqueuer and procrastinate (one lock a member) do not.
"""

import asyncio
import statistics
import sys
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from time import perf_counter
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import procrastinate
from pgqueuer import PgQueuer
from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver
from pgqueuer.adapters.persistence.queries import Queries
from pgqueuer.models import Job
from pgqueuer.ports.repository import EntrypointExecutionParameter
from pgqueuer.types import QueueEntrypoint, QueueManagerId
from procrastinate.jobs import Status

from bench.report import Table
from clips import guilds, queue
from clips.catalog import Catalog
from clips.domain import ChannelId, ClipSpec, GuildId, Lane, RequestKind, Sha256, UserId
from clips.embedded import embedded
from clips.library import StoredPhoto, add_photo
from clips.migrate import migrate
from clips.notices import listen
from clips.postgres import Pool, Session, connect, connect_pool, retrying
from clips.requests import Ask

ROUNDS = 4
PICKUPS = 250
"""In each round."""
CLAIMS = 300
DEPTHS = (1_000, 100_000, 1_000_000)
MEMBERS = 1_000
LEASE = timedelta(seconds=600)
PHOTO = Sha256("a" * 64)

Milliseconds = list[float]
Enqueue = Callable[[int], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Pickups:
    """Times to the pickup: from the call that enqueues, and from its return."""

    called: Milliseconds = field(default_factory=list[float])
    committed: Milliseconds = field(default_factory=list[float])


async def main(depths: tuple[int, ...] = DEPTHS) -> None:
    """Measure everything and publish two tables."""
    with tempfile.TemporaryDirectory() as folder:
        async with embedded(Path(folder) / "postgres") as dsn:
            await pickups(dsn)
            await claims(dsn, depths)


async def pickups(dsn: str) -> None:
    """Enqueue → pickup with one idle worker: from the call that enqueues, and from its return when all is committed, to
    the worker having the job in hand.
    """
    headings = ["queue", "p50", "p99", "p99 ÷ pgqueuer's", "once committed: p50", "p99", "p99 ÷ pgqueuer's"]
    table = Table("queue-pickup", "Enqueue → pickup, idle worker (ms)", headings)
    ways = {"zoetrope": _zoetrope_pickup, "pgqueuer": _pgqueuer_pickup, "procrastinate": _procrastinate_pickup}
    measured = {name: Pickups() for name in ways}
    for _ in range(ROUNDS):  # in turns, so that a slow minute of the disk is everybody's
        for name, pickup in ways.items():
            await pickup(await _database(dsn), measured[name])
    peer = measured["pgqueuer"]
    for name, ours in measured.items():
        cells: list[float] = []
        for times, theirs in ((ours.called, peer.called), (ours.committed, peer.committed)):
            slowest = _percentile(times, 99)
            cells += [statistics.median(times), slowest, slowest / _percentile(theirs, 99)]
        table.add(name, *cells)
    table.publish()


async def claims(dsn: str, depths: tuple[int, ...]) -> None:
    """One claim with many waiting, of 1,000 members in 50 servers."""
    headings = ["waiting", "zoetrope", "pgqueuer", "procrastinate", "zoetrope ÷ pgqueuer", "zoetrope ÷ its first row"]
    table = Table("queue-claim", "One claim, p50 (ms), by takes waiting", headings)
    first: float | None = None
    for depth in depths:
        ours = statistics.median(await _zoetrope_claims(await _database(dsn), depth))
        theirs = statistics.median(await _pgqueuer_claims(await _database(dsn), depth))
        locked = statistics.median(await _procrastinate_claims(await _database(dsn), depth))
        first = first or ours
        table.add(f"{depth:,}", ours, theirs, locked, ours / theirs, ours / first)
    table.publish()


async def _timed(enqueue: Enqueue, picked: "asyncio.Queue[float]", times: Pickups) -> None:
    for number in range(-20, PICKUPS):
        began = perf_counter()
        await enqueue(number)
        committed = perf_counter()
        ended = await asyncio.wait_for(picked.get(), 10)
        if number >= 0:
            times.called.append((ended - began) * 1000)
            times.committed.append(max(0.0, ended - committed) * 1000)
        await asyncio.sleep(0.02)  # the worker finishes, with a commit of its own, and goes idle


async def _zoetrope_pickup(dsn: str, times: Pickups) -> None:
    async with _zoetrope(dsn) as pool, listen(dsn, Session("bench"), [queue.READY]) as notices:
        await _rich_guild(pool)
        worker_id, picked = uuid4(), asyncio.Queue[float]()
        await queue.announce(pool, worker_id, "bench", ["sketch"], ["sketch"])

        async def work() -> None:
            hint = notices.subscribe(queue.READY)
            while True:
                claim = await queue.claim(pool, worker_id, ["sketch"], ["sketch"], LEASE)
                if claim is None:
                    await hint.wait(5)
                    continue
                picked.put_nowait(perf_counter())
                await queue.stop(pool, claim, timedelta())

        asks = [_ask(number) for number in range(50)]

        async def enqueue(number: int) -> None:
            await retrying(pool, lambda conn: queue.enqueue(conn, asks[number % 50]), one_statement=True)

        worker = asyncio.create_task(work())
        try:
            await _timed(enqueue, picked, times)
        finally:
            worker.cancel()


async def _pgqueuer_pickup(dsn: str, times: Pickups) -> None:
    conn, sender = await asyncpg.connect(dsn), await asyncpg.connect(dsn)
    queries, picked = Queries(AsyncpgDriver(sender)), asyncio.Queue[float]()
    await queries.install()
    pgq = PgQueuer(AsyncpgDriver(conn))

    @pgq.entrypoint("animate")
    async def animate(_job: Job) -> None:
        picked.put_nowait(perf_counter())

    worker = asyncio.create_task(pgq.run(batch_size=1))
    await asyncio.sleep(1)
    try:
        await _timed(lambda _: queries.enqueue("animate", None), picked, times)
    finally:
        pgq.shutdown.set()
        await asyncio.wait([worker], timeout=10)
        await conn.close()
        await sender.close()


async def _procrastinate_pickup(dsn: str, times: Pickups) -> None:
    picked = asyncio.Queue[float]()
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=dsn))

    @app.task(queue="clips")
    async def animate() -> None:
        picked.put_nowait(perf_counter())

    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        worker = asyncio.create_task(app.run_worker_async(install_signal_handlers=False, concurrency=1))
        await asyncio.sleep(1)
        try:
            await _timed(lambda number: animate.configure(lock=str(number % 50)).defer_async(), picked, times)
        finally:
            worker.cancel()
            await asyncio.wait([worker], timeout=10)


async def _zoetrope_claims(dsn: str, depth: int) -> Milliseconds:
    async with _zoetrope(dsn) as pool:
        await _rich_guild(pool)
        async with pool.acquire() as conn:
            for name, value in (("bench.depth", depth), ("bench.members", min(MEMBERS, depth // 4))):
                await conn.execute("SELECT set_config($1, $2, false)", name, str(value))
            await conn.execute(_FILL, timeout=900)
        await _settle(pool)
        worker_id, times = uuid4(), Milliseconds()
        await queue.announce(pool, worker_id, "bench", ["sketch", "wan"], ["sketch"])
        for _ in range(CLAIMS):
            began = perf_counter()
            claim = await queue.claim(pool, worker_id, ["sketch", "wan"], ["sketch"], LEASE)
            times.append((perf_counter() - began) * 1000)
            assert claim is not None
            await queue.stop(pool, claim, timedelta())
        return times


async def _pgqueuer_claims(dsn: str, depth: int) -> Milliseconds:
    conn = await asyncpg.connect(dsn)
    queries, times = Queries(AsyncpgDriver(conn)), Milliseconds()
    await queries.install()
    await conn.execute(
        "INSERT INTO pgqueuer (priority, status, entrypoint) SELECT 0, 'queued', 'animate' FROM generate_series(1, $1)",
        depth,
        timeout=600,
    )
    await _settle(conn)
    entrypoints = {QueueEntrypoint("animate"): EntrypointExecutionParameter(concurrency_limit=0)}
    manager = QueueManagerId(uuid4())
    for _ in range(CLAIMS):
        began = perf_counter()
        jobs = await queries.dequeue(1, entrypoints, manager, None, timedelta(seconds=600))
        times.append((perf_counter() - began) * 1000)
        assert jobs
        await queries.log_jobs([(jobs[0], "successful", None)])
    await conn.close()
    return times


async def _procrastinate_claims(dsn: str, depth: int) -> Milliseconds:
    app, times = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=dsn)), Milliseconds()
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        conn = await asyncpg.connect(dsn)
        await conn.execute(
            "INSERT INTO procrastinate_jobs (queue_name, task_name, lock, args, status) "
            "SELECT 'clips', 'animate', (i % $2)::text, '{}', 'todo' FROM generate_series(1, $1::int) i",
            depth,
            MEMBERS,
            timeout=600,
        )
        await _settle(conn)
        worker = await conn.fetchval("INSERT INTO procrastinate_workers DEFAULT VALUES RETURNING id")
        for _ in range(CLAIMS):
            began = perf_counter()
            job = await app.job_manager.fetch_job(None, worker)
            times.append((perf_counter() - began) * 1000)
            assert job
            await app.job_manager.finish_job(job, Status.SUCCEEDED, delete_job=False)
        await conn.close()
    return times


@asynccontextmanager
async def _zoetrope(dsn: str) -> AsyncGenerator[Pool]:
    conn = await connect(dsn, Session("bench", statement_timeout=timedelta(seconds=600)))
    await migrate(conn)
    await conn.close()
    async with connect_pool(dsn, Session("bench", statement_timeout=timedelta(seconds=600)), max_size=2) as pool:
        yield pool


async def _rich_guild(pool: Pool) -> None:
    """One server whose limits are never met."""
    await guilds.know(pool, GuildId(1))
    await pool.execute(
        "UPDATE guilds SET daily_allowance = 1e9, daily_budget = 1e12, max_waiting = 1e9, max_running = 1e9"
    )
    await pool.execute("INSERT INTO blobs VALUES ($1, 1, 'image/png')", PHOTO)
    await add_photo(pool, GuildId(1), UserId(1), StoredPhoto(PHOTO, 640, 480))


def _ask(number: int) -> Ask:
    spec = ClipSpec("sketch", motion="zoom in")
    return Ask(
        guild_id=GuildId(1),
        channel_id=ChannelId(1),
        user_id=UserId(number % 50 + 1),
        kind=RequestKind.ANIMATE,
        lane=Lane.FAST,
        spec=spec,
        plan=Catalog.load().find("sketch").plan(spec, (640, 480)),
        photo=PHOTO,
        seed=number % 2**32,
        takes=1,
    )


# Written as the transitions would leave it: 1,000 members in 50 servers, each flow with one ready head, the rest
# waiting; every third member asks for a model that is not loaded.
_FILL = """
    INSERT INTO guilds (guild_id, max_waiting, max_running)
        SELECT g, 1000000, 1000000 FROM generate_series(2, 51) g;
    INSERT INTO photos (guild_id, sha256, width, height, user_id)
        SELECT g, (SELECT sha256 FROM blobs), 640, 480, 1 FROM generate_series(2, 51) g;
    INSERT INTO requests (guild_id, channel_id, user_id, kind, lane, spec, plan, photo, seed)
        SELECT 2 + m % 50, 1, m, 'animate', 'fast', '{}', '{}', (SELECT sha256 FROM blobs), r
        FROM (SELECT r, r % current_setting('bench.members')::int AS m
              FROM generate_series(0, current_setting('bench.depth')::int / 4 - 1) r) r;
    INSERT INTO takes (request_id, guild_id, user_id, lane, index, seed, model, cost_ms, state, vkey)
        SELECT request_id, guild_id, user_id, 'fast', i, seed,
               CASE user_id % 3 WHEN 0 THEN 'wan' ELSE 'sketch' END, 2000,
               CASE WHEN i = 1 AND seed < current_setting('bench.members')::int THEN 'ready' ELSE 'waiting' END,
               user_id % 7
        FROM requests, generate_series(1, 4) i ORDER BY request_id, i;
    INSERT INTO flows (guild_id, user_id, lane, vtime, max_running, ready, waiting, queued_ms)
        SELECT guild_id, user_id, 'fast', user_id % 7, 1000000, count(*) FILTER (WHERE state = 'ready'),
               count(*) FILTER (WHERE state = 'waiting'), count(*) * 2000
        FROM takes GROUP BY guild_id, user_id;
    INSERT INTO shares (guild_id, lane, active) SELECT guild_id, 'fast', count(*) FROM flows GROUP BY guild_id;
"""


async def _database(dsn: str) -> str:
    """A new, empty database on the server."""
    name = f"bench_{uuid4().hex[:12]}"
    conn = await asyncpg.connect(dsn)
    await conn.execute(f"CREATE DATABASE {name}")
    await conn.close()
    return urlsplit(dsn)._replace(path=f"/{name}").geturl()


async def _settle(conn: asyncpg.Connection | Pool) -> None:
    """What autovacuum would have done by then, so that nobody pays for the filling."""
    await conn.execute("VACUUM ANALYZE", timeout=600)
    await conn.execute("CHECKPOINT", timeout=600)


def _percentile(times: Milliseconds, percent: int) -> float:
    return statistics.quantiles(times, n=100, method="inclusive")[percent - 1]


if __name__ == "__main__":
    asyncio.run(main(tuple(int(depth) for depth in sys.argv[1:]) or DEPTHS))
