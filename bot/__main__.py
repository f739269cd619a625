"""`python -m bot`: one bot process, until SIGTERM or Ctrl-C. It composes; everything else is handed what it needs."""

import asyncio
import logging
import signal
import sys
from collections.abc import Coroutine
from typing import NoReturn

from bot.client import build
from clips.blobs import BlobStore
from clips.catalog import Catalog
from clips.deliveries import CHANGED
from clips.embedded import database
from clips.errors import SetupError
from clips.migrate import pending
from clips.notices import listen
from clips.postgres import Session, connect_pool
from clips.settings import Settings
from courier.endpoint import point_at

REFUSED = 2


def main() -> int:
    """The exit code: 0 after a signal, 2 where something has to be mended first."""
    try:
        asyncio.run(_serve(Settings.load()))
    except SetupError as error:
        sys.stderr.write(f"bot: {error}\n")
        return REFUSED
    return 0


async def _serve(settings: Settings) -> None:
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    if settings.discord_token is None:
        raise SetupError("DISCORD_TOKEN is not set. Copy it from the application's Bot page at discord.com/developers.")
    catalog = Catalog.load(settings.catalog)
    blobs = BlobStore.from_url(settings.blobs_url)
    point_at(settings.discord_url)
    session = Session("zoetrope bot")
    async with database(settings.database_url, settings.home / "postgres") as dsn, connect_pool(dsn, session) as pool:
        async with pool.acquire() as conn:
            if missing := await pending(conn):
                name = missing[0].name
                raise SetupError(
                    f"The database lacks the migration {name}. Run `zoetrope migrate`, then start the bot again."
                )
        async with listen(settings.listen_url or dsn, session, [CHANGED]) as notices:
            bot = build(settings, pool, blobs, catalog, notices)
            await _until_stopped(bot.run(settings.discord_token.get_secret_value()))


async def _until_stopped(work: Coroutine[None, None, NoReturn]) -> None:
    working = asyncio.create_task(work)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, working.cancel)
    try:
        await working
    except asyncio.CancelledError:
        logging.getLogger(__name__).info("stopped")


if __name__ == "__main__":
    sys.exit(main())
