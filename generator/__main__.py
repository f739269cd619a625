"""`python -m generator`: puts a generator together from the settings and runs it until told to stop."""

import asyncio
import logging
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from uuid import uuid4

from clips import deliveries, generators, hosted_jobs, queue
from clips.blobs import BlobStore
from clips.catalog import Catalog, Model, instead_of
from clips.checkpoints import Checkpoints
from clips.embedded import database
from clips.errors import FatalEngineError, SetupError
from clips.migrate import migrate
from clips.notices import listen
from clips.postgres import Session, connect, connect_pool
from clips.reaper import keep_order
from clips.settings import Settings
from courier.endpoint import point_at
from courier.posting import Courier
from courier.roads import logged_in
from generator.companions import beside
from generator.engines.loading import Shelf, check_installed, gates_of, pin_exactly
from generator.heartbeat import EXIT_AGAIN, Heartbeat, Identity, name_of
from generator.resting import Place, Resting
from generator.stations import offer, stations
from generator.stopping import Stopping
from generator.takes import Workshop
from generator.webhooks import heard
from generator.worker import Worker
from generator.workspace import workspace

log = logging.getLogger("generator")

EXIT_SETUP = 2


def main() -> None:
    """Run a generator. Exit code 0: stopped as told; 2: the host has to mend something; 75: start it again."""
    pin_exactly(os.environ)
    try:
        settings = Settings.load()
        logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it would tell of kernels that nobody needs
        asyncio.run(_generate(settings))
    except SetupError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(EXIT_SETUP)


async def _generate(settings: Settings) -> None:
    try:
        await generate(settings)
    except* FatalEngineError as errors:  # in groups, where it came while the GPU was freed for others
        error: BaseException = errors
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        log.critical("The generator ends: %s.", error)
        logging.shutdown()
        os._exit(EXIT_AGAIN)  # a thread may hang in the engine, and nobody can end it otherwise


async def generate(settings: Settings) -> None:
    """Run a generator until SIGTERM or Ctrl-C. With a Discord token it also posts; without, it leaves that to others.

    Raises `SetupError`, `FatalEngineError`.
    """
    catalog = Catalog.load(settings.catalog)
    models = wanted_models(settings, catalog)
    identity = Identity(uuid4(), name_of(os.getpid()), list(models))
    lease = timedelta(seconds=settings.lease_seconds)
    stopping = Stopping(settings.stop_seconds)
    stopping.on_signals()
    async with AsyncExitStack() as stack:
        point_at(settings.discord_url)
        blobs = BlobStore.from_url(settings.blobs_url)
        folder = stack.enter_context(workspace(settings.home / "rendering"))
        dsn = await stack.enter_async_context(database(settings.database_url, settings.home / "postgres"))
        await _migrate(dsn)
        session = Session("zoetrope generator")
        pool = await stack.enter_async_context(connect_pool(dsn, session))
        direct = settings.listen_url or dsn
        channels = (queue.READY, queue.CANCELLED, deliveries.CHANGED, hosted_jobs.WOKEN, generators.ORDERS)
        notices = await stack.enter_async_context(listen(direct, session, channels))
        calls = await stack.enter_async_context(heard(settings, pool, notices))
        shelf = Shelf(settings.device, speed=settings.speed, gates=gates_of(models.values(), settings.device))
        places = await stations(stack, settings, models, pool, stopping, shelf, calls)
        stall = timedelta(seconds=settings.stall_seconds)
        heartbeat = await stack.enter_async_context(
            Heartbeat(dsn, identity, lease=lease, stall=stall, offer=lambda: offer(places))
        )
        await stack.enter_async_context(beside(stopping, keep_order(pool, lease)))
        checkpoints = Checkpoints(settings.kill_at)
        if settings.discord_token:
            client = await stack.enter_async_context(logged_in(settings.discord_token.get_secret_value(), pool))
            courier = Courier(
                pool, blobs, client, catalog, attachment_limit=settings.attachment_limit, checkpoints=checkpoints
            )
            await stack.enter_async_context(beside(stopping, courier.run(notices)))
        resting = Resting(
            pool,
            identity.generator_id,
            Place(socket.gethostname(), settings.device),
            settings.quiet,
            notices,
            shelf.free,
        )
        await resting.look()
        await stack.enter_async_context(beside(stopping, resting.keep()))
        workers = [
            Worker(
                Workshop(pool, blobs, place.models, place.engines, folder, checkpoints),
                heartbeat,
                identity,
                notices,
                stopping,
                lease=lease,
                at_once=place.at_once,
                gate=place.gate,
                resting=resting,
                offered=place.offered,
            )
            for place in places
        ]
        log.info("Generator %s runs %s.", identity.name, ", ".join(models))
        await work(workers, stopping)
    log.info("Generator %s has stopped.", identity.name)


async def work(workers: Sequence[Worker], stopping: Stopping) -> None:
    """Until all have ended. Where one fails, the others are asked to end in good order; then its failure is raised."""
    tasks = [asyncio.create_task(worker.run()) for worker in workers]
    try:
        first, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        if not stopping.asked.is_set():
            stopping.ask()
        await asyncio.wait(tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    for task in (*first, *tasks):
        task.result()


def wanted_models(settings: Settings, catalog: Catalog) -> Mapping[str, Model]:
    """The models that this generator is to run, by name; a provider's name stands for all of its.

    `SetupError` where one is unknown or cannot run here.
    """
    hosted = {name: [model.name for model in catalog if model.provider == name] for name in settings.model_names}
    names = [model for name in settings.model_names for model in hosted[name] or [name]]
    models = {name: catalog.get(name) for name in names}
    unknown = [name for name, model in models.items() if model is None]
    if unknown or not models:
        instead = instead_of(unknown[0] if unknown else "", [model.name for model in catalog])
        raise SetupError(f"ZOETROPE_MODELS: there is no model {', '.join(unknown) or 'named'}. {instead}")
    known = {name: settings.placed(model, catalog) for name, model in models.items() if model is not None}
    for model in known.values():
        check_installed(model)
    return known


async def _migrate(dsn: str) -> None:
    conn = await connect(dsn, Session("zoetrope generator"))
    try:
        await migrate(conn)
    finally:
        await conn.close()


if __name__ == "__main__":
    main()
