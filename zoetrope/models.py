"""`zoetrope models`: what each open-weights model takes and forbids, its files fetched, checked and removed."""

import sys
from collections.abc import Sized
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Column, Table

from clips.catalog import Catalog, EngineKind, Model, instead_of
from clips.errors import RetryableError, SetupError
from clips.machine import free_ram
from clips.settings import Settings
from clips.wishes import joined
from courier.wording import bytes_of
from zoetrope.weights import the_hub

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from generator.engines.diffusers.memory import MemoryPlan

app = typer.Typer(help="Open-weights models: list, fetch, check, remove.", no_args_is_help=True)
console = Console()

_GIB = 1024**3
_INTERRUPTED = 130
_ASKING = "Asking the hub …"
_LINE_EVERY = 30.0
"""Seconds between lines of progress where there is no terminal."""
Name = Annotated[str, typer.Argument(help="A model of the catalogue.")]
Names = Annotated[list[str], typer.Argument(help="Models of the catalogue.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


@app.command(name="list")
def list_models() -> None:
    """Every open-weights model: what it takes, what is here of it, and its licence."""
    hub, models = the_hub(), _local()
    table = Table(Column("model", no_wrap=True), "here", "weights", "GPU", "licence", box=None, pad_edge=False)
    for model in models:
        size = sum(file.stat().st_size for file in hub.here(model))
        table.add_row(
            model.name,
            _size(size) if size else "–",
            _size(model.weights * 1e9) if model.weights else "?",
            f"{model.gpu.full} GiB, least {model.gpu.least}" if model.gpu else "?",
            escape(model.licence),
        )
    console.print(table)
    for terms in dict.fromkeys(model.terms for model in models if model.forbids):
        under = joined([model.name for model in models if model.terms == terms])
        console.print(f"\n{under}: [dim]{escape(terms)}[/]", highlight=False)


@app.command()
def pull(name: Name, *, yes: Yes = False) -> None:
    """Fetch a model's files, after its licence and sizes were told. What came before is kept, and all is checked."""
    model, hub = _model(name), the_hub()
    from generator.engines.diffusers.download import check_disk  # noqa: PLC0415 - comes with the generator's install only

    try:
        with console.status(_ASKING):
            stock = hub.stock(model)
    except RetryableError:
        if not hub.whole(model):
            raise
        _tell("The hub cannot be reached: what is here is checked without it.")
        stock = hub.Stock(sum(file.stat().st_size for file in hub.here(model)), 0)
    check_disk(model.title, stock.missing)
    _tell(f"[bold]{escape(model.title)}[/]: {_size(stock.total)} on the disk, {_size(stock.missing)} still to come.")
    if model.gpu:
        _tell(f"A GPU of {model.gpu.full} GiB renders it at full speed, one of {model.gpu.least} GiB more slowly.")
    _tell(escape(model.terms))
    if stock.missing and not yes:
        _confirm("Fetch it?")
    for attempt in (1, 2):
        try:
            whole = _fetch(model)
        except KeyboardInterrupt:
            _tell("Stopped. The files that came whole are kept: pull again to go on.")
            raise typer.Exit(_INTERRUPTED) from None
        if whole:
            _tell("All of it is here and whole.")
            return
        if attempt == 1:
            _tell("What was damaged is fetched again.")
    raise SetupError(
        f"Files of {name} come damaged from the hub. Check this machine's disk and memory, then pull again."
    )


@app.command()
def check(
    name: Name,
    *,
    vram: Annotated[float | None, typer.Option(min=1, help="A GPU's memory in GiB; else this machine's.")] = None,
    ram: Annotated[float | None, typer.Option(min=1, help="Free RAM in GiB; else what is free here.")] = None,
) -> None:
    """Say how a model would be placed on a GPU of some size, from the sizes of its weights; nothing is downloaded."""
    model, _ = _model(name), the_hub()
    from generator.engines.diffusers import loading, memory, outlook  # noqa: PLC0415 - seconds of imports, for this command alone

    with console.status(_ASKING):
        found = outlook.outlook(model)
    for part, numbers in found.checkpoint.numbers.items():
        _tell(f"{part}: {numbers / 1e9:.2f} billion numbers")
    loading.check_wish(model, found.plans)
    room = free_ram() if ram is None else int(ram * _GIB)
    gpu = outlook.this_gpu(Settings.load().device) if vram is None else (f"a GPU of {vram:g} GiB", int(vram * _GIB))
    cards = [gpu] if gpu else [(f"{card} GiB", card * _GIB) for card in outlook.CARDS]
    for card, size in cards:
        plan, least = (memory.choose(plans, size, room, model.memory) for plans in (found.plans, found.least))
        _tell(f"{card}: {_verdict(plan, least, size, room)}")
    _tell("Ways to place it, the preferred first (set `memory` in the catalogue, or ZOETROPE_MEMORY, to choose):")
    for plan in found.plans:
        _tell(f"  {plan.placement}: {plan.said}")


@app.command()
def remove(names: Names, *, yes: Yes = False) -> None:
    """Delete models' files from the hub's cache, but for those that other models here need. Your own folders stay."""
    models, hub = [_model(name) for name in names], the_hub()
    from generator.engines.diffusers import hub_cache, weights  # noqa: PLC0415 - comes with the generator's install only

    for own in (model.repo for model in models if model.repo and weights.own_folder(model.repo)):
        raise SetupError(f"{own} is a folder of your own. Delete it yourself.")
    others = [other for other in _local() if other not in models and _is_found(other)]
    kept = [other for other in others if hub.whole(other)]
    found = hub_cache.removal(models, kept)
    users = [other.name for other in kept if found.leaves_to(other)]
    losers = [other.name for other in others if other not in kept and found.takes_from(other)]
    if users and not found.size:
        _tell(f"Nothing goes: {joined(users)} {_be(users)} made from the same files. To delete them for all:")
        _tell(f"  zoetrope models remove {' '.join([*names, *users])}")
        return
    if not found.size:
        _tell(f"Nothing of {joined(names)} is here.")
        return
    stays = f" {_size(found.kept)} stay: {joined(users)} {_be(users)} made from them too." if users else ""
    lost = f" What goes is also of use to {joined(losers)}, not all of which is here." if losers else ""
    if not yes:
        _confirm(f"Delete {_size(found.size)} of {joined([model.title for model in models])}?{stays}{lost}")
    freed = found.size
    found.carry_out()
    _tell(f"{_size(freed)} are free again.{stays if yes else ''}{lost if yes else ''}")


def _fetch(model: Model) -> bool:
    """Download what is missing and read all of it. False: something was damaged, and is gone now."""
    hub = the_hub()
    from generator.engines.diffusers.origins import find_all  # noqa: PLC0415 - comes with the generator's install only
    from generator.engines.diffusers.weights import own_folder  # noqa: PLC0415 - the same

    with _bytes("fetching") as begin:
        find_all(model, lambda missing, _: begin(missing))
    files = hub.here(model)
    with _bytes("checking") as begin:
        damaged = hub.damaged(files, begin(sum(file.stat().st_size for file in files)))
    for file in damaged:
        _tell(f"{file.name} is damaged.")
    if damaged and model.repo and own_folder(model.repo):
        raise SetupError(f"{damaged[0]} is damaged. Copy the model into {model.repo} again.")
    hub.discard(damaged)
    return not damaged


@contextmanager
def _bytes(what: str) -> "Generator[Callable[[int], Callable[[int], None]]]":
    """A bar of bytes, or a line now and then where none can be drawn. Yields what is told the sum, and gives what is
    told of each part.
    """
    columns = TextColumn(what), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task(what, total=0)
        done, told_at = 0, monotonic()

        def begin(size: int) -> "Callable[[int], None]":
            def advance(count: int) -> None:
                nonlocal done, told_at
                done += count
                progress.advance(bar, count)
                if progress.disable and monotonic() >= told_at + _LINE_EVERY:
                    told_at = monotonic()
                    _tell(f"{what}: {bytes_of(done // 1000, size // 1000)}")

            progress.update(bar, total=size)
            return advance

        yield begin


def _verdict(plan: "MemoryPlan", least: "MemoryPlan", size: int, room: int) -> str:
    """Of the plans for a model's largest and its smallest clip."""
    if plan.fits(size, room):
        return plan.said
    if least.fits(size, room):
        short = plan.short_of(size, room)
        return f"too small for its largest clip, which takes {short}. Its smallest: {least.said}"
    return f"too small: even its smallest clip takes {least.short_of(size, room)}"


def _local() -> list[Model]:
    settings = Settings.load()
    catalog = Catalog.load(settings.catalog)
    return [settings.placed(model, catalog) for model in catalog if model.engine is EngineKind.DIFFUSERS]


def _model(name: str) -> Model:
    local = {model.name: model for model in _local()}
    model = local.get(name.strip().lower())
    if model is None:
        raise SetupError(f"There is no open-weights model {name}. {instead_of(name, local)}")
    return model


def _is_found(model: Model) -> bool:
    """Not one whose own folder is away."""
    try:
        the_hub().here(model)
    except SetupError:
        return False
    return True


def _be(names: Sized) -> str:
    return "are" if len(names) > 1 else "is"


def _confirm(question: str) -> None:
    if not sys.stdin.isatty():
        raise SetupError(f"{question} Nobody can be asked here; say --yes.")
    typer.confirm(question, abort=True)


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


def _tell(sentence: str) -> None:
    console.print(sentence, highlight=False, soft_wrap=True)
