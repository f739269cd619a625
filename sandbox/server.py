"""The whole sandbox put together: a world, and the server that everyone talks to."""

import errno
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from sandbox import api, guard, sentences
from sandbox.cdn import Files
from sandbox.control import Controls
from sandbox.faults import Faults
from sandbox.gateway import Gateway
from sandbox.limits import Limits, Rates
from sandbox.member import Members
from sandbox.record import Record
from sandbox.records import MIB
from sandbox.rest.commands import Commands
from sandbox.rest.interactions import Interactions
from sandbox.rest.messages import Messages
from sandbox.rest.places import Places
from sandbox.store import Store
from sandbox.world import Times, World

LOOPBACK = "127.0.0.1"
PAGE = Path(__file__).parent / "page"


class PortTakenError(Exception):
    """Something else listens on the port."""


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A sandbox that runs. `address` is `http://127.0.0.1:PORT`."""

    address: str
    world: World
    gateway: Gateway
    faults: Faults
    record: Record


@asynccontextmanager
async def running(
    folder: Path,
    *,
    port: int = 0,
    record_to: Path | None = None,
    times: Times | None = None,
    rates: Rates | None = None,
    shards: int = 1,
    keep_exchanges: bool = True,
) -> AsyncGenerator[Sandbox]:
    """Serves the world of a data folder on loopback until the block ends; port 0 takes a free one.

    `record_to` is a file that REST exchanges are appended to; `keep_exchanges` keeps them in memory too.

    Raises `PortTakenError`, `sandbox.store.FolderTakenError`, and OSError where the folder cannot be written.
    """
    world = World(Store(folder), times)
    try:
        record = Record(record_to, keep=keep_exchanges)
        gateway, troubles, members = Gateway(world), Faults(), Members(world)
        controls = Controls(world, gateway, troubles, record)
        limits = Limits(rates or Rates(), world.clock)
        app = _application(world, gateway, troubles, members, controls, limits, record, shards)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=2)
        await runner.setup()
        try:
            world.address = await _listen(runner, port)
            yield Sandbox(world.address, world, gateway, troubles, record)
        finally:
            await gateway.close()
            await members.close()
            await runner.cleanup()
    finally:
        world.close()


async def _listen(runner: web.AppRunner, port: int) -> str:
    try:
        await web.TCPSite(runner, LOOPBACK, port).start()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortTakenError from error
        raise
    return f"http://{LOOPBACK}:{runner.addresses[0][1]}"


def _application(
    world: World,
    gateway: Gateway,
    troubles: Faults,
    members: Members,
    controls: Controls,
    limits: Limits,
    record: Record,
    shards: int,
) -> web.Application:
    """The routes, each part under its own prefix and with its own way to say no."""
    rest = web.Application(middlewares=[api.middleware(world, limits, record)])
    for part in (Places(world, shards), Messages(world), Commands(world), Interactions(world)):
        rest.add_routes(part.routes())
    of_members = web.Application(middlewares=[sentences.sentences()])
    of_members.add_routes(members.routes())
    of_tests = web.Application(middlewares=[sentences.sentences()])
    of_tests.add_routes(controls.routes())

    app = web.Application(middlewares=[guard.guard(), troubles.middleware()], client_max_size=4 * MIB)
    app.add_routes([*gateway.routes(), *Files(world).routes(), web.get("/", _front_page)])
    app.add_routes([web.static("/page", PAGE)])
    app.add_subapp(api.PREFIX, rest)
    app.add_subapp("/member", of_members)
    app.add_subapp("/control", of_tests)
    app.on_response_prepare.append(_never_stale)
    return app


async def _front_page(_: web.Request) -> web.FileResponse:
    return web.FileResponse(PAGE / "index.html")


async def _never_stale(request: web.Request, response: web.StreamResponse) -> None:
    """A page that was changed shows at the next load."""
    if request.path == "/" or request.path.startswith("/page/"):
        response.headers["Cache-Control"] = "no-cache"
