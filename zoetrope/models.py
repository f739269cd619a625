"""`zoetrope models`: what each open-weights model takes and forbids, its files fetched, checked and removed."""

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table

from clips.catalog import Catalog, EngineKind, Model
from clips.errors import SetupError
from clips.machine import free_ram
from clips.settings import Settings
from zoetrope.weights import the_hub

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from generator.engines.diffusers.memory import MemoryPlan

app = typer.Typer(help="Open-weights models: list, fetch, check, remove.", no_args_is_help=True)
console = Console()

_GIB = 1024**3
_CARDS = (8, 12, 16, 24, 48, 80)
Name = Annotated[str, typer.Argument(help="A model of the catalogue.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


@app.command(name="list")
def list_models() -> None:
    """Every open-weights model: what it takes, what is here of it, and its licence."""
    hub = the_hub()
    table = Table("model", "here", "weights", "GPU", "licence", box=None, pad_edge=False)
    for model in Catalog.load(Settings.load().catalog):
        if model.engine is EngineKind.DIFFUSERS:
            size = sum(file.stat().st_size for file in hub.here(model))
            forbids = f"\n[dim]{escape(model.forbids)}[/]" if model.forbids else ""
            table.add_row(
                model.name,
                _size(size) if size else "–",
                _size(model.weights * 1e9) if model.weights else "?",
                f"{model.gpu.full} GiB, least {model.gpu.least}" if model.gpu else "?",
                escape(model.licence) + forbids,
            )
    console.print(table)


@app.command()
def pull(name: Name, *, yes: Yes = False) -> None:
    """Fetch a model's files, after its licence and sizes were told. What came before is kept, and all is checked."""
    model, hub = _model(name), the_hub()
    stock = hub.stock(model)
    _tell(f"[bold]{escape(model.title)}[/]: {_size(stock.total)} on the disk, {_size(stock.missing)} still to come.")
    if model.gpu:
        _tell(f"A GPU of {model.gpu.full} GiB renders it at full speed, one of {model.gpu.least} GiB more slowly.")
    _tell(f"Licence: {escape(model.licence)}. {escape(model.forbids)}".rstrip())
    if stock.missing and not yes:
        _confirm("Fetch it?")
    for attempt in (1, 2):
        if _fetch(model):
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

    found = outlook.outlook(model)
    for part, numbers in found.checkpoint.numbers.items():
        _tell(f"{part}: {numbers / 1e9:.2f} billion numbers")
    loading.check_wish(model, found.plans)
    room = free_ram() if ram is None else int(ram * _GIB)
    gpu = outlook.this_gpu(Settings.load().device) if vram is None else (f"a GPU of {vram:g} GiB", int(vram * _GIB))
    cards = [gpu] if gpu else [(f"{card} GiB", card * _GIB) for card in _CARDS]
    for card, size in cards:
        plan = memory.choose(found.plans, size, room, model.memory)
        _tell(f"{card}: {_verdict(plan, size, room)}")
    _tell("Ways to place it, the preferred first (set `memory` in the catalogue, or ZOETROPE_MEMORY, to choose):")
    for plan in found.plans:
        _tell(f"  {plan.placement}: {plan.said}")


@app.command()
def remove(name: Name, *, yes: Yes = False) -> None:
    """Delete a model's files from the hub's cache. A folder of your own stays."""
    model, hub = _model(name), the_hub()
    size = sum(file.stat().st_size for file in hub.here(model))
    if model.repo and Path(model.repo).expanduser().is_dir():
        raise SetupError(f"{model.repo} is a folder of your own. Delete it yourself.")
    if not size:
        _tell(f"Nothing of {name} is here.")
        return
    shared = [
        other.name for other in Catalog.load(Settings.load().catalog) if other.repo == model.repo and other.name != name
    ]
    also = f" {', '.join(shared)} {'use' if len(shared) > 1 else 'uses'} the same files." if shared else ""
    if not yes:
        _confirm(f"Delete {_size(size)} of {model.title}?{also}")
    _tell(f"{_size(hub.remove(model))} are free again.")


def _fetch(model: Model) -> bool:
    """Download what is missing and read all of it. False: something was damaged, and is gone now."""
    hub = the_hub()
    from generator.engines.diffusers.weights import find_all  # noqa: PLC0415 - comes with the generator's install only

    with _bytes("fetching") as begin:
        find_all(model, begin)
    files = hub.here(model)
    with _bytes("checking") as begin:
        damaged = hub.damaged(files, begin(sum(file.stat().st_size for file in files)))
    for file in damaged:
        _tell(f"{file.name} is damaged.")
    own = model.repo and Path(model.repo).expanduser().is_dir()
    if damaged and own:
        raise SetupError(f"{damaged[0]} is damaged. Copy the model into {model.repo} again.")
    hub.discard(damaged)
    return not damaged


@contextmanager
def _bytes(what: str) -> "Generator[Callable[[int], Callable[[int], None]]]":
    """A bar of bytes. Yields what is told the sum, once or several times, and gives what is told of each part."""
    columns = TextColumn(what), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task(what, total=0)
        total = 0

        def begin(size: int) -> "Callable[[int], None]":
            nonlocal total
            total += size
            progress.update(bar, total=total)
            return lambda count: progress.advance(bar, count)

        yield begin


def _verdict(plan: "MemoryPlan", size: int, room: int) -> str:
    if plan.fits(size, room):
        return plan.said
    short = [
        f"{plan.vram / _GIB:.1f} GiB of GPU memory" if plan.vram > size else "",
        f"{plan.ram / _GIB:.1f} GiB of free RAM" if plan.ram > room else "",
    ]
    return (
        f"too small: the leanest way takes {' and '.join(filter(None, short))}. A shorter or smaller clip may still fit"
    )


def _model(name: str) -> Model:
    catalog = Catalog.load(Settings.load().catalog)
    local = [model.name for model in catalog if model.engine is EngineKind.DIFFUSERS]
    model = catalog.get(name)
    if model is None or model.name not in local:
        raise SetupError(f"There is no open-weights model {name}. There are: {', '.join(local)}.")
    return model


def _confirm(question: str) -> None:
    if not sys.stdin.isatty():
        raise SetupError(f"{question} Nobody can be asked here; say --yes.")
    typer.confirm(question, abort=True)


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


def _tell(sentence: str) -> None:
    console.print(sentence, highlight=False, soft_wrap=True)
