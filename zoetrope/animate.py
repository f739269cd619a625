"""`zoetrope animate`: a photo from the command line through the same queue and generator as in Discord."""

import asyncio
import os
import secrets
import sys
from collections.abc import AsyncGenerator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from clips import library, paid, queue, requests
from clips.blobs import BlobStore
from clips.catalog import Accepts, Catalog, EngineKind, Model
from clips.domain import ChannelId, ClipSpec, Lane, Plan, RequestId, RequestKind, UserId
from clips.embedded import database
from clips.errors import MemberError, SetupError
from clips.guilds import COMMAND_LINE, know
from clips.library import StoredPhoto
from clips.migrate import migrate
from clips.paid import dollars_of
from clips.photo import PHOTO_TYPE
from clips.photo_process import PhotoReader
from clips.postgres import Pool, Session, connect, connect_pool, retrying
from clips.refusals import check_paid
from clips.requests import Ask, Take, WholeRequest
from clips.settings import Settings
from zoetrope.offered import check_goes_on, is_alive, is_offered
from zoetrope.progress import take_bars
from zoetrope.supervise import Child, Children, supervised
from zoetrope.weights import terms_of_fetching

_POLL = 0.2


@dataclass(frozen=True, slots=True)
class Order:
    """What the command line asked for. `seconds` decides about the length, that of the spec is not looked at."""

    photo: Path
    end_photo: Path | None
    spec: ClipSpec
    seconds: float | None
    takes: int
    seed: int | None
    lane: Lane
    out: Path


async def animate_photo(settings: Settings, order: Order, console: Console) -> None:
    """Enqueue, show progress, write the clips. Interrupted, it cancels. Raises `MemberError`, `SetupError`."""
    async with AsyncExitStack() as stack:
        dsn = await stack.enter_async_context(database(settings.database_url, settings.home / "postgres"))
        pool = await stack.enter_async_context(_ready_pool(dsn))
        blobs = BlobStore.from_url(settings.blobs_url)
        model = Catalog.load(settings.catalog).find(order.spec.model)
        ask = await _prepare(pool, blobs, model, order)
        console.print(_told(ask.plan, model, order.takes), highlight=False, markup=False, soft_wrap=True)
        children = await stack.enter_async_context(supervised(settings.home / "logs"))
        await _ensure_generator(children, pool, settings, dsn, model, console)
        request_id, _ = await retrying(pool, lambda conn: queue.enqueue(conn, ask), one_statement=True)
        try:
            whole = await children.guard(_watch(pool, request_id, order.spec.model, children.pids, console))
        except BaseException as end:
            # Nobody waits for it any more: the next generator shall not spend its time on it.
            await queue.cancel(pool, request_id)
            if isinstance(end, asyncio.CancelledError):
                console.print("Cancelled.")
            raise
        for take in whole.clips:
            target = _target(order, take)
            if take.master is not None:
                await blobs.fetch_to(take.master, target)
            console.print(f"clip: {target}", highlight=False, markup=False, soft_wrap=True)
        if failures := {take.error for take in whole.takes if take.error}:
            raise MemberError(" ".join(sorted(failures)))


@asynccontextmanager
async def _ready_pool(dsn: str) -> AsyncGenerator[Pool]:
    conn = await connect(dsn, Session("zoetrope animate"))
    try:
        await migrate(conn)
    finally:
        await conn.close()
    async with connect_pool(dsn, Session("zoetrope animate"), max_size=2) as pool:
        yield pool


async def _prepare(pool: Pool, blobs: BlobStore, model: Model, order: Order) -> Ask:
    spec = replace(order.spec, model=model.name, seconds=model.seconds(order.seconds, order.spec.size))
    model.check(spec, [Accepts.PHOTO, Accepts.END_PHOTO] if order.end_photo else [Accepts.PHOTO])
    check_paid(model, order.lane, COMMAND_LINE, await paid.providers(pool, COMMAND_LINE))
    uploads = [_read(path) for path in (order.photo, order.end_photo) if path is not None]
    _check_writable(order.out.absolute())
    await know(pool, COMMAND_LINE)
    photo, *ending = [await _stored(pool, blobs, upload) for upload in uploads]
    return Ask(
        guild_id=COMMAND_LINE,
        channel_id=ChannelId(0),
        user_id=UserId(0),
        # In the place of an interaction's, which are above zero: a second try finds the request of the first.
        interaction_id=-secrets.randbits(62) - 1,
        kind=RequestKind.ANIMATE,
        lane=order.lane,
        spec=spec,
        plan=model.plan(spec, (photo.width, photo.height)),
        photo=photo.sha256,
        end_photo=ending[0].sha256 if ending else None,
        seed=secrets.randbits(32) if order.seed is None else order.seed,
        takes=order.takes,
        provider=model.provider,
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SetupError(f"Cannot read {path}: {error.strerror}.") from error


async def _stored(pool: Pool, blobs: BlobStore, upload: bytes) -> StoredPhoto:
    clean = await PhotoReader().read(upload)
    photo = StoredPhoto(await blobs.put(pool, clean.data, PHOTO_TYPE), clean.width, clean.height)
    await library.add_photo(pool, COMMAND_LINE, UserId(0), photo)
    return photo


async def _ensure_generator(
    children: Children, pool: Pool, settings: Settings, dsn: str, model: Model, console: Console
) -> None:
    """A generator of our own for the while, unless one is alive that runs the model."""

    async def ready() -> bool:
        return await is_offered(pool, model.name, children.pids)

    if await is_alive(pool, model.name):
        return
    if terms := terms_of_fetching(model):
        console.print(terms, highlight=False, markup=False, soft_wrap=True)
    environment = {
        "DATABASE_URL": dsn,
        "ZOETROPE_BLOBS": settings.blobs_url,
        "ZOETROPE_MODELS": model.name,
        "DISCORD_TOKEN": "",
    }
    # The hub may be slow to answer, and torch to come from the disk.
    command = [sys.executable, "-m", "generator"]
    await children.start(Child("generator", command, environment, ready=ready, ready_bound=180))


async def _watch(
    pool: Pool, request_id: RequestId, model: str, pids: Collection[int], console: Console
) -> WholeRequest:
    """Draw the takes' progress until the last one has ended. `SetupError` where the model turns out not to load; of the
    generators in `pids`, if there are any.
    """
    with take_bars(console) as show:
        while True:
            whole = await requests.read(pool, COMMAND_LINE, request_id)
            if whole is None:
                raise LookupError(f"request {request_id} vanished")
            show(whole)
            if whole.ended:
                return whole
            await check_goes_on(pool, model, whole, pids)
            await asyncio.sleep(_POLL)


def _told(plan: Plan, model: Model, takes: int) -> str:
    label = " (sketch, not a generated video)" if model.engine is EngineKind.SKETCH else ""
    count = "1 take" if takes == 1 else f"{takes} takes"
    dollars = f", for {dollars_of(plan.microdollars * takes)}" if plan.microdollars else ""
    clip = f"{count} of {plan.seconds:.1f} s, {plan.width}×{plan.height} at {plan.fps} fps"
    return f"{clip}, with {model.name}{label}{dollars}"


def _check_writable(out: Path) -> None:
    """Known before anything is rendered."""
    if not out.parent.is_dir():
        raise SetupError(f"There is no folder {out.parent} to write the clip to.")
    if out.is_dir():
        raise SetupError(f"{out} is a folder. Name the clip's file, such as {out / 'clip.mp4'}.")
    if not os.access(out.parent, os.W_OK | os.X_OK):
        raise SetupError(f"No right to write in {out.parent}. Choose another place with --out.")


def _target(order: Order, take: Take) -> Path:
    return order.out if order.takes == 1 else order.out.with_stem(f"{order.out.stem}-{take.index}")
