"""The command line: reads the arguments, starts what they name, and turns every expected failure into one sentence."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Coroutine
from contextlib import suppress
from errno import EACCES, EDQUOT, ENOSPC, EPERM, EROFS
from pathlib import Path
from typing import Annotated, NoReturn, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from clips.domain import Camera, ClipSpec, Fit, GuildId, Lane, Size, Strength
from clips.embedded import database
from clips.errors import MemberError, RetryableError, SetupError
from clips.migrate import migrate as apply_migrations
from clips.postgres import Session, connect
from clips.settings import Settings
from zoetrope import generators, models
from zoetrope.animate import Order, animate_photo
from zoetrope.demo import Demo
from zoetrope.doctor import examine
from zoetrope.hosted import examine_hosted
from zoetrope.paid import approve, show, withdraw

app = typer.Typer(
    help="Bring a community's still photos to life.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
paid = typer.Typer(help="Which servers may spend money on models that a provider bills.", no_args_is_help=True)
app.add_typer(paid, name="paid")
app.add_typer(models.app, name="models")
app.add_typer(generators.app, name="generators")
console = Console()
REFUSED = 2
INTERRUPTED = 130
_T = TypeVar("_T")
_Guild = Annotated[int, typer.Argument(min=0, help="The server's id in Discord; 0: the command line.")]
_Provider = Annotated[str, typer.Argument(help="Who bills, as the catalogue names it: replicate.")]


def main() -> None:
    """Run the command line. Exit code 2: something is to be mended, in the sentence said; 130: interrupted."""
    try:
        app()
    except (SetupError, MemberError, RetryableError) as error:
        _refuse(str(error))
    except OSError as error:
        where = error.filename or "the disk"
        if error.errno in {EACCES, EPERM, EROFS}:
            _refuse(f"No right to use {where}. Start as the user whom it belongs to, or choose another place.")
        if error.errno in {ENOSPC, EDQUOT}:
            _refuse(f"There is no room left for {where}. Free some space and start again.")
        raise
    except (asyncio.CancelledError, KeyboardInterrupt):
        sys.exit(INTERRUPTED)


def _refuse(sentence: str) -> NoReturn:
    console.print(f"[bold red]✗[/] {escape(sentence)}", highlight=False, soft_wrap=True)
    sys.exit(REFUSED)


@app.command()
def demo(
    *,
    photo: Annotated[Path, typer.Option(help="The photo to animate.")] = Path("samples/raccoon.jpg"),
    motion: Annotated[str, typer.Option(help="What should move.")] = "slow zoom in while panning left",
    model: Annotated[
        str, typer.Option(help="A model of the catalogue; a real one needs a GPU and its weights.")
    ] = "sketch",
    port: Annotated[int, typer.Option(min=1, max=65535, help="The page's port on this machine.")] = 8765,
    once: Annotated[bool, typer.Option(help="End after the first clip.")] = False,
    check: Annotated[bool, typer.Option(help="Only say what stands in the way of a start.")] = False,
) -> None:
    """Try all of it here: a local stand-in for Discord with a page in the browser, the bot, a generator, a database."""
    asked = Demo(Settings.load(), console, photo=photo, motion=motion, model=model, port=port, once=once)
    asked.check()
    if not check:
        _run(asked.run())


@app.command()
def animate(
    photo: Annotated[Path, typer.Argument(help="The photo to bring to life.")],
    *,
    motion: Annotated[str, typer.Option(help="What should move, in words.")] = "",
    avoid: Annotated[str, typer.Option(help="What should not appear.")] = "",
    model: Annotated[str, typer.Option(help="A model of the catalogue.")] = "sketch",
    seconds: Annotated[
        float | None,
        typer.Option(min=0.5, max=60, help="Length of the clip; else 5 s, or what the model makes in one go."),
    ] = None,
    size: Annotated[Size, typer.Option(help="Short side of the clip.")] = Size.NATIVE,
    camera: Annotated[Camera | None, typer.Option(help="A camera move by name.")] = None,
    strength: Annotated[Strength, typer.Option(help="How much moves.")] = Strength.MEDIUM,
    consistency: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="How faithful to the photo; best 0.6 to 0.8."),
    ] = None,
    end_photo: Annotated[Path | None, typer.Option(help="The photo to end with, where a model can.")] = None,
    fit: Annotated[Fit, typer.Option(help="Crop a photo of another shape, or pad it.")] = Fit.CROP,
    takes: Annotated[int, typer.Option(min=1, max=4, help="How many versions.")] = 1,
    seed: Annotated[int | None, typer.Option(min=0, max=2**32 - 1, help="The same seed gives the same clip.")] = None,
    lane: Annotated[Lane, typer.Option(help="`relaxed` lets others go first.")] = Lane.FAST,
    out: Annotated[Path, typer.Option(help="The clip's file; several takes get a number each.")] = Path("clip.mp4"),
) -> None:
    """Animate a photo from here, through the same queue and generator as in Discord."""
    spec = ClipSpec(model, motion, avoid, size=size, camera=camera, strength=strength, consistency=consistency, fit=fit)
    order = Order(photo, end_photo, spec, seconds, takes, seed, lane, out)
    _run(animate_photo(Settings.load(), order, console))


@app.command(name="bot")
def run_bot() -> NoReturn:
    """Run the bot: what talks to members in Discord."""
    _become("bot")


@app.command(name="generator")
def run_generator() -> NoReturn:
    """Run a generator: what renders. Start as many as you have GPUs."""
    _become("generator")


@app.command(name="sandbox")
def run_sandbox(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on this machine.")] = 8765,
) -> NoReturn:
    """Run the local stand-in for Discord, with its page."""
    _become("sandbox", "--port", str(port), "--data", str(Settings.load().home / "sandbox"))


@app.command()
def db() -> None:
    """Keep the built-in Postgres up and print its address, for a bot and generators on this machine."""

    async def keep() -> None:
        settings = Settings.load()
        if settings.database_url:
            raise SetupError("DATABASE_URL names a database already; unset it to run the built-in one.")
        async with database(None, settings.home / "postgres") as dsn:
            console.print(f"DATABASE_URL={dsn}", highlight=False, markup=False, soft_wrap=True)
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()

    _run(keep())


@app.command()
def migrate() -> None:
    """Bring the database to the form that this version expects."""

    async def apply() -> None:
        settings = Settings.load()
        async with database(settings.database_url, settings.home / "postgres") as dsn:
            conn = await connect(dsn, Session("zoetrope migrate"))
            try:
                for migration in await apply_migrations(conn):
                    console.print(f"applied {migration.name}", highlight=False)
            finally:
                await conn.close()
        console.print("The database is up to date.")

    _run(apply())


@app.command()
def doctor(
    *,
    hosted: Annotated[
        bool, typer.Option(help="Compare the hosted models of the catalogue with the provider's schemas instead.")
    ] = False,
    schemas: Annotated[
        Path | None, typer.Option(help="A folder of recorded schemas to compare with; nobody is asked.")
    ] = None,
) -> None:
    """Check database, blobs, ffmpeg, token, permissions and model files, and say what to do about each."""

    async def check() -> bool:
        # Folded, not cut: addresses and folders are longer than a column.
        columns = [Column(name, overflow="fold") for name in ("", "check", "found", "what to do")]
        table = Table(*columns, box=None, pad_edge=False)
        ill = False
        settings = Settings.load()
        with console.status("Looking …") as status:
            async for finding in examine_hosted(settings, schemas) if hosted or schemas else examine(settings):
                ill |= bool(finding.fix)
                mark = "[red]✗" if finding.fix else "[green]✓"
                table.add_row(mark, escape(finding.check), escape(finding.found), escape(finding.fix))
                status.update(f"Looked at {escape(finding.check)} …")
        console.print(table)
        return ill

    if _run(check()):
        raise typer.Exit(1)


@paid.command(name="approve")
def paid_approve(
    guild: _Guild,
    provider: _Provider,
    *,
    monthly: Annotated[float | None, typer.Option(min=0, max=1_000_000, help="Most dollars a calendar month.")] = None,
) -> None:
    """Let a server use a provider's models, up to a sum a month. Without --monthly the sum stays; at first it is 0."""
    _run(approve(Settings.load(), console, GuildId(guild), provider, monthly))


@paid.command(name="withdraw")
def paid_withdraw(guild: _Guild, provider: _Provider) -> None:
    """Take an approval back: the server has local models only again."""
    _run(withdraw(Settings.load(), console, GuildId(guild), provider))


@paid.command(name="list")
def paid_list() -> None:
    """Show every approval with what was spent this month."""
    _run(show(Settings.load(), console))


def _run(work: Coroutine[None, None, _T]) -> _T:
    """The work's result. Ctrl-C, SIGTERM and a closed terminal cancel it."""

    async def stoppable() -> _T:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if task and signal.getsignal(number) is not signal.SIG_IGN:  # as `nohup` wants it
                loop.add_signal_handler(number, task.cancel)
        return await work

    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    return asyncio.run(stoppable())


def _become(module: str, *arguments: str) -> NoReturn:
    """Replace this process by another of ours: signals then reach it, and nothing stands in between."""
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])  # noqa: S606 - our own modules
