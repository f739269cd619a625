"""The host's word on paid models: which server may spend how much a month with which provider."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from clips import guilds, paid
from clips.catalog import Catalog
from clips.domain import GuildId
from clips.embedded import database
from clips.errors import SetupError
from clips.migrate import pending
from clips.paid import DOLLAR, dollars_of
from clips.postgres import Connection, Session, connect
from clips.settings import Settings

_SESSION = Session("zoetrope paid")


async def approve(
    settings: Settings, console: Console, guild_id: GuildId, provider: str, monthly: float | None
) -> None:
    """Let a server use a provider's models. `monthly` in dollars; None keeps the cap that there is."""
    known = sorted({model.provider for model in Catalog.load(settings.catalog) if model.provider})
    if provider not in known:
        raise SetupError(f"No model of the catalogue is billed by “{provider}”. There are: {', '.join(known)}.")
    async with _connection(settings) as conn:
        await guilds.know(conn, guild_id)
        cap = await paid.approve(conn, guild_id, provider, None if monthly is None else round(monthly * DOLLAR))
    if cap:
        said = f"Server {guild_id} may spend up to {dollars_of(cap)} a calendar month (UTC) with {provider}."
    else:
        said = f"Server {guild_id} is offered the models of {provider}, and may spend nothing yet: add --monthly 20."
    console.print(escape(said), highlight=False, soft_wrap=True)


async def withdraw(settings: Settings, console: Console, guild_id: GuildId, provider: str) -> None:
    """Make a server local-models-only again, as far as a provider goes."""
    async with _connection(settings) as conn:
        if not await paid.withdraw(conn, guild_id, provider):
            raise SetupError(f"Server {guild_id} has no approval for {provider}. `zoetrope paid list` shows them all.")
        left = await paid.under_way(conn, guild_id, provider)
    said = f"Server {guild_id} is no longer offered the models of {provider}."
    if left:
        still = "1 take that was asked for before is" if left == 1 else f"{left} takes that were asked for before are"
        said += f" {still} still made and paid."
    console.print(escape(said), highlight=False, soft_wrap=True)


async def show(settings: Settings, console: Console) -> None:
    """Every approval with this month's sums."""
    async with _connection(settings) as conn:
        found = await paid.approvals(conn, None)
    if not found:
        console.print("No server may use paid models. Allow one: zoetrope paid approve GUILD PROVIDER --monthly 20")
        return
    table = Table("server", "provider", "a month", "spent", "set aside", "left", box=None, pad_edge=False)
    for one in found:
        sums = (dollars_of(amount) for amount in (one.monthly_cap, one.spent, one.reserved, one.left))
        table.add_row(str(one.guild_id), escape(one.provider), *sums)
    console.print(table)


@asynccontextmanager
async def _connection(settings: Settings) -> AsyncGenerator[Connection]:
    """The database, which must have its present form."""
    async with database(settings.database_url, settings.home / "postgres") as dsn:
        conn = await connect(dsn, _SESSION)
        try:
            if missing := await pending(conn):
                raise SetupError(f"The database lacks the migration {missing[0].name}. Run `zoetrope migrate` first.")
            yield conn
        finally:
            await conn.close()
