"""The bot put together from its parts, and run: gateway, courier, live cards, the queue's order, intakes left open."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NoReturn

import aiohttp
import discord
from discord import app_commands

from bot import commands, errors, modals
from bot.application import Application, Interaction, Parts
from bot.download import Downloads
from bot.errors import Tree
from bot.intake import Intake, Stores
from bot.presses import Offer, Press
from bot.sync import sync
from clips import intakes, library
from clips.blobs import BlobStore
from clips.catalog import Catalog
from clips.checkpoints import Checkpoints
from clips.errors import SetupError
from clips.motion_video import VideoReader
from clips.notices import Notices
from clips.photo_process import PhotoReader
from clips.postgres import Pool
from clips.reaper import keep_order
from clips.settings import Settings
from courier.buttons import ModalId
from courier.endpoint import photo_hosts
from courier.posting import Courier, tick_cards
from courier.roads import LONGEST_LIMIT, share_limits

_log = logging.getLogger(__name__)
_DRAIN = timedelta(seconds=5)
_KEPT = timedelta(days=1)
"""How long a blob stays that nothing refers to: longer than any request needs to come from its upload to its row."""
_ABANDONED = timedelta(minutes=2)
"""An intake this old that is open still has lost its process, or the database was away when it ended."""


class Client(Application):
    """discord.py's client with our commands, buttons and forms."""

    def __init__(self, parts: Parts, session: aiohttp.ClientSession) -> None:
        """`session` is for photos; it is the client's from now on."""
        super().__init__(
            intents=discord.Intents(guilds=True),
            allowed_mentions=discord.AllowedMentions.none(),
            chunk_guilds_at_startup=False,
            guild_ready_timeout=0.5,  # only what was left open waits for it
            max_messages=None,
            max_ratelimit_timeout=LONGEST_LIMIT,
            http_trace=share_limits(parts.pool),
        )
        self.parts = parts
        self._downloading = session
        self.tree = Tree(
            self,
            allowed_contexts=app_commands.AppCommandContext(guild=True),
            allowed_installs=app_commands.AppInstallationType(guild=True),
        )
        self.tree.add_command(commands.animate(parts.catalog))
        for command in (commands.animate_message, commands.help_command, commands.my, commands.quota):
            self.tree.add_command(command)
        self.add_dynamic_items(Press, Offer)

    async def setup_hook(self) -> None:
        if self.application_id is None:
            raise discord.MissingApplicationID
        await sync(self.tree, self.application_id)

    async def on_interaction(self, interaction: Interaction) -> None:
        """Commands and buttons find their way by themselves; forms are met here, by their id alone."""
        if interaction.type is not discord.InteractionType.modal_submit or not isinstance(interaction.data, dict):
            return
        modal = ModalId.parse(str(interaction.data.get("custom_id")))
        if modal is None:
            return
        try:
            await modals.submit(interaction, modal)
        except Exception as error:  # noqa: BLE001 - the handler tells the member and the log
            await errors.report(interaction, error)

    async def on_ready(self) -> None:
        _log.info("connected as %s, in %d servers", self.user, len(self.guilds))

    async def close(self) -> None:
        """Let the intakes under way come to their end, then leave."""
        await self.parts.intake.close(_DRAIN)
        await super().close()
        await self._downloading.close()


@dataclass(frozen=True, slots=True)
class Bot:
    """All of the bot, ready to run."""

    client: Client
    courier: Courier
    notices: Notices

    async def run(self, token: str) -> NoReturn:
        """Work until cancelled. Raises `SetupError` where Discord does not let us in."""
        parts = self.client.parts
        began = await intakes.now(parts.pool)
        try:
            await _log_in(self.client, token)
            async with asyncio.TaskGroup() as group:
                group.create_task(self.courier.run(self.notices))
                group.create_task(tick_cards(parts.pool))
                group.create_task(keep_order(parts.pool, timedelta(seconds=parts.settings.lease_seconds)))
                group.create_task(_take_up(self.client, began))
                group.create_task(_repeat(timedelta(hours=1), lambda: intakes.forget_old(parts.pool)))
                group.create_task(_repeat(timedelta(hours=1), self._collect))
                await _stay_connected(self.client)
        except ExceptionGroup as failures:
            told, others = failures.split(SetupError)
            if told is None or others is not None:
                raise
            raise told.exceptions[0] from failures
        finally:
            await self.client.close()

    async def _collect(self) -> None:
        parts = self.client.parts
        forgotten = await library.forget_uploads(parts.pool, _KEPT)
        if forgotten:
            _log.info("forgot %d uploads that nothing came of", forgotten)
        collected = await parts.blobs.collect(parts.pool, _KEPT)
        if collected.blobs:
            _log.info("deleted %d blobs that nothing needs, %d bytes", collected.blobs, collected.bytes)


def build(settings: Settings, pool: Pool, blobs: BlobStore, catalog: Catalog, notices: Notices) -> Bot:
    """The bot from its parts, in the event loop that it will run in. `notices` hear `deliveries.CHANGED`."""
    photos, videos = PhotoReader(), VideoReader()
    session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
    downloads = Downloads(session, photo_hosts(settings.discord_url), photos.limits, videos.limits)
    checkpoints = Checkpoints(settings.kill_at)
    intake = Intake(Stores(pool, blobs, catalog, photos, videos, downloads, checkpoints))
    client = Client(Parts(settings, pool, blobs, catalog, downloads, intake), session)
    courier = Courier(pool, blobs, client, catalog, attachment_limit=settings.attachment_limit, checkpoints=checkpoints)
    return Bot(client, courier, notices)


async def _log_in(client: Client, token: str) -> None:
    try:
        await client.login(token)
    except discord.LoginFailure as error:
        raise SetupError(
            "DISCORD_TOKEN: Discord does not know this token. Copy it again from the application's Bot page."
        ) from error
    except (OSError, aiohttp.ClientError, discord.HTTPException) as error:
        raise SetupError(f"Discord cannot be reached: {error}. Check the network, then start the bot again.") from error


async def _stay_connected(client: Client) -> NoReturn:
    """discord.py connects again by itself; what comes out of it is final. A cancel always ends it.

    discord.py alone does not promise that: while it identifies anew it swallows a cancel and goes on, and only a closed
    client leaves its loop.
    """
    connecting = asyncio.create_task(client.connect())
    try:
        await asyncio.wait([connecting])
    finally:
        await client.close()
        connecting.cancel()
        await asyncio.wait([connecting])
    try:
        connecting.result()
    except (discord.ConnectionClosed, discord.GatewayNotFound, discord.PrivilegedIntentsRequired) as error:
        raise SetupError(f"Discord has closed the connection for good: {error}") from error
    raise SetupError("Discord has closed the connection for good. Start the bot again.")


async def _take_up(client: Client, began: datetime) -> NoReturn:
    """Go on with the intakes that lost their process, at first those from before we began."""
    intake, pool = client.parts.intake, client.parts.pool
    await client.wait_until_ready()

    async def resume() -> None:
        await intake.resume(client, max(began, await intakes.now(pool) - _ABANDONED))

    await _repeat(timedelta(minutes=1), resume)


async def _repeat(every: timedelta, work: Callable[[], Awaitable[None]]) -> NoReturn:
    """Do it again and again. A failure is logged; the next time may work."""
    while True:
        try:
            await work()
        except Exception:  # noqa: BLE001 - one of them failing must not end the bot
            _log.exception("a chore failed; it is tried again")
        await asyncio.sleep(every.total_seconds())
