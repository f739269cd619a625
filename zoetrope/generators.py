"""`zoetrope generators`: who renders, and how a host has a machine pause, go on, or give its GPU back for a while."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from clips import generators
from clips.embedded import database
from clips.errors import SetupError
from clips.generators import EVERYWHERE, Known, Pause
from clips.migrate import pending
from clips.postgres import Pool, Session, connect_pool
from clips.settings import Settings

app = typer.Typer(help="The generators at work: list, pause, resume, free.", no_args_is_help=True)
console = Console()

Machine = Annotated[str, typer.Argument(help="A host's name, as `list` shows it; left out: every machine.")]


@app.command(name="list")
def list_generators() -> None:
    """Who is alive, what each can render and has loaded, and who rests."""

    async def show() -> None:
        columns = [Column(name, overflow="fold") for name in ("machine", "device", "generator", "does", "models")]
        table = Table(*columns, box=None, pad_edge=False)
        async with _pool() as pool:
            for one in await generators.known(pool):
                models = ", ".join(f"{name} (loaded)" if name in one.loaded else name for name in one.models)
                table.add_row(*map(escape, (one.machine, one.device, one.name, _doing(one), models)))
        if table.row_count:
            console.print(table)
        else:
            console.print("No generator is at work. Start one: zoetrope generator")

    asyncio.run(show())


@app.command()
def pause(
    machine: Machine = EVERYWHERE,
    *,
    after_take: Annotated[bool, typer.Option("--after-take", help="Let the take under way end first.")] = False,
) -> None:
    """Claim nothing until `resume`, restarts included. The take under way goes back in line at no cost."""
    _order(
        machine,
        lambda pool: generators.pause(pool, machine, Pause.AFTER_TAKE if after_take else Pause.NOW),
        f"{_of(machine)} pause{'' if after_take else ' at once'}. Members see it. To go on: zoetrope generators resume",
    )


@app.command()
def resume(machine: Machine = EVERYWHERE) -> None:
    """Claim takes again."""
    _order(
        machine,
        lambda pool: generators.pause(pool, machine, Pause.NO),
        f"{_of(machine)} work again, but for their quiet hours.",
    )


@app.command()
def free(machine: Machine = EVERYWHERE) -> None:
    """Have loaded models leave the GPU, after the take under way; the next take brings its model back."""
    sentence = f"{_of(machine)} give their GPU's memory back as soon as no take uses it."
    _order(machine, lambda pool: generators.free(pool, machine), sentence)


@asynccontextmanager
async def _pool() -> AsyncGenerator[Pool]:
    settings = Settings.load()
    async with (
        database(settings.database_url, settings.home / "postgres") as dsn,
        connect_pool(dsn, Session("zoetrope generators"), max_size=1) as pool,
    ):
        async with pool.acquire() as conn:
            if await pending(conn):
                raise SetupError("The database is older than this version. Run: zoetrope migrate")
        yield pool


def _doing(one: Known) -> str:
    if one.take is not None:
        return f"renders take {one.take}" + (", then pauses" if one.paused else "")
    if one.paused:
        return "is paused"
    return f"rests until {one.rests_until.astimezone():%H:%M}" if one.rests_until else "waits for work"


def _of(machine: str) -> str:
    return f"The generators on {machine}" if machine else "All generators"


def _order(machine: str, order: Callable[[Pool], Awaitable[None]], sentence: str) -> None:
    """Give an order and say so; also where nobody is there to hear it: the name may be mistyped."""

    async def give() -> list[Known]:
        async with _pool() as pool:
            await order(pool)
            return await generators.known(pool)

    known = asyncio.run(give())
    if machine not in {EVERYWHERE, *(one.machine for one in known)}:
        there = ", ".join(sorted({one.machine for one in known})) or "none"
        sentence += f"\nNo generator is alive on {machine} now. Machines that have some: {there}."
    console.print(sentence, highlight=False, markup=False, soft_wrap=True)
