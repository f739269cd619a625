"""Checks of a host's set-up, each with what was found and, where something is wrong, the one thing to do."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import discord
import numpy as np
from yarl import URL

from clips import hosted_jobs, queue
from clips.blobs import BlobStore
from clips.catalog import Catalog, EngineKind, Model, Speed
from clips.embedded import database
from clips.errors import RetryableError, SetupError, ZoetropeError
from clips.invariants import violations
from clips.migrate import pending
from clips.postgres import Session, connect
from clips.settings import Settings
from clips.video import Encoder
from courier.endpoint import point_at
from generator.engines.replicate.account import PROVIDER
from generator.engines.replicate.api import Replicate
from generator.engines.videos_api.server import VideoServer
from zoetrope.compiler import examine_compiler
from zoetrope.findings import Finding
from zoetrope.weights import examine_model

NEEDED = discord.Permissions(
    view_channel=True,
    send_messages=True,
    send_messages_in_threads=True,
    attach_files=True,
    read_message_history=True,
)
"""What the bot must be allowed in a server; the history, to find a message of its own that a crash left unmarked."""
_LEAST_DISK = 2 * 1024**3


async def examine(settings: Settings) -> AsyncIterator[Finding]:
    """Every check in turn. Nothing stops the ones after it, and nothing is changed but a probe blob put and removed."""
    checks: tuple[tuple[str, Callable[[Settings], Awaitable[list[Finding]]]], ...] = (
        ("database", _database),
        ("blobs", _blobs),
        ("disk", _disk),
        ("ffmpeg", _ffmpeg),
        ("discord", _discord),
        ("models", _models),
        ("compiler", _compiler),
        ("replicate", _replicate),
        ("servers", _servers),
    )
    for name, check in checks:
        try:
            for finding in await check(settings):
                yield finding
        except SetupError as error:
            yield Finding(name, "does not work", str(error))
        except (ZoetropeError, OSError) as error:
            yield Finding(name, "does not work", f"Mend this first: {error}")


async def _database(settings: Settings) -> list[Finding]:
    async with database(settings.database_url, settings.home / "postgres") as dsn:
        conn = await connect(dsn, Session("zoetrope doctor"))
        try:
            version = ".".join(str(part) for part in conn.get_server_version()[:2])
            if missing := await pending(conn):
                return [
                    Finding(
                        "database", f"PostgreSQL {version}, {len(missing)} migrations behind", "Run `zoetrope migrate`."
                    )
                ]
            broken = await violations(conn)
            troubles = await queue.troubles(conn)
            unclear = await hosted_jobs.undecided(conn, timedelta(days=30))
        finally:
            await conn.close()
    found = Finding("database", f"PostgreSQL {version}, up to date, promises kept")
    return [
        *([] if broken else [found]),
        *(
            Finding("database", f"breaks a promise: {one.promise}", f"Report this with the row {one.row}.")
            for one in broken
        ),
        *(Finding("generators", f"{name} runs less than it was told to", trouble) for name, trouble in troubles),
        *(
            Finding(
                "hosted takes",
                f"take {take} may have been paid for without a clip",
                "Look for it in the provider's list of predictions.",
            )
            for take in unclear
        ),
    ]


async def _blobs(settings: Settings) -> list[Finding]:
    store = BlobStore.from_url(settings.blobs_url)
    await store.probe()
    return [Finding("blobs", f"{settings.blobs_url}: written, read and removed")]


async def _disk(settings: Settings) -> list[Finding]:
    folder = next(parent for parent in (settings.home.absolute(), *settings.home.absolute().parents) if parent.exists())
    free = shutil.disk_usage(folder).free
    fix = "" if free > _LEAST_DISK else f"Free some space on the disk of {folder}, or move ZOETROPE_HOME."
    return [Finding("disk", f"{free / 1024**3:.1f} GiB free", fix)]


async def _ffmpeg(_: Settings) -> list[Finding]:
    with tempfile.TemporaryDirectory() as folder, Encoder(Path(folder) / "probe.mp4", 64, 64, 24) as encoder:
        encoder.write(np.zeros((24, 64, 64, 3), np.uint8))
        made = encoder.finish()
    return [Finding("ffmpeg", f"encoded {made.frames} frames of H.264")]


async def _discord(settings: Settings) -> list[Finding]:
    if settings.discord_token is None:
        return [Finding("discord", "no DISCORD_TOKEN: this machine can render and leaves Discord to others")]
    point_at(settings.discord_url)
    client = discord.Client(intents=discord.Intents.none())
    try:
        await client.login(settings.discord_token.get_secret_value())
        guilds = await client.http.get_guilds(200)
    except discord.LoginFailure:
        fix = "Reset the token on your application's Bot page and set DISCORD_TOKEN."
        return [Finding("discord", "the token is refused", fix)]
    except (discord.DiscordException, OSError) as error:
        return [Finding("discord", "does not answer", f"Check the network and Discord's status: {error}")]
    finally:
        await client.close()
    name = client.user.name if client.user else "?"
    if not guilds:
        return [Finding("discord", f"logged in as {name}, in no server", "Invite it with the link in the README.")]
    return [_allowed(guild["name"], discord.Permissions(int(guild.get("permissions", 0)))) for guild in guilds]


def _allowed(guild: str, has: discord.Permissions) -> Finding:
    missing = [name.replace("_", " ") for name, wanted in NEEDED if wanted and not getattr(has, name)]
    if has.administrator or not missing:
        return Finding("discord", f"{guild}: may see, write and attach")
    return Finding("discord", f"{guild}: lacks {', '.join(missing)}", "Grant it in Server Settings → Roles.")


async def _models(settings: Settings) -> list[Finding]:
    catalog = Catalog.load(settings.catalog)
    providers = {model.provider for model in catalog}
    wanted = [name for name in settings.model_names if name not in providers]
    models = {name: catalog.get(name) for name in wanted}
    placed = {name: model and settings.placed(model, catalog) for name, model in models.items()}
    return [await asyncio.to_thread(_model, name, model, settings.device) for name, model in placed.items()]


async def _compiler(settings: Settings) -> list[Finding]:
    """Only where a model is to run that would be compiled."""
    catalog = Catalog.load(settings.catalog)
    models = [model for name in settings.model_names if (model := catalog.get(name))]
    if settings.speed is Speed.EXACT or not any(model.engine is EngineKind.DIFFUSERS for model in models):
        return []
    found = await asyncio.to_thread(examine_compiler, settings.device)
    return [] if found is None else [found]


async def _replicate(settings: Settings) -> list[Finding]:
    """Only where its models are to run."""
    catalog = Catalog.load(settings.catalog)
    asked = [model for name in settings.model_names if (model := catalog.get(name)) and model.provider == PROVIDER]
    if not asked and PROVIDER not in settings.model_names:
        return []
    if not settings.replicate_api_token:
        fix = "Set REPLICATE_API_TOKEN, or leave its models out of ZOETROPE_MODELS."
        return [Finding(PROVIDER, "there is no key for it", fix)]
    try:
        async with Replicate.open(URL(settings.replicate_url), settings.replicate_api_token) as api:
            await api.check()
    except RetryableError as error:
        return [Finding(PROVIDER, "does not answer", f"Check the network: {error}.")]
    return [Finding(PROVIDER, "the key is taken")]


async def _servers(settings: Settings) -> list[Finding]:
    """The host's own servers of models that are to run."""
    catalog = Catalog.load(settings.catalog)
    return [
        await _server(model)
        for name in settings.model_names
        if (model := catalog.get(name)) and model.server is not None
    ]


async def _server(model: Model) -> Finding:
    try:
        async with VideoServer.of(model) as server:
            await server.check()
            return Finding(model.name, f"{server.name} is up")
    except SetupError as error:
        return Finding(model.name, "its server cannot be used", str(error))
    except RetryableError as error:
        return Finding(model.name, "its server does not answer", f"Start it again: {error}.")


def _model(name: str, model: Model | None, device: str) -> Finding:
    if model is None:
        return Finding(name, "is not in the catalogue", "Correct ZOETROPE_MODELS, or add it to ZOETROPE_CATALOG.")
    return examine_model(model, device) if model.engine is EngineKind.DIFFUSERS else Finding(name, "needs no files")
