"""The tables of the README and of docs/gpus.md, made from the code. `python -m zoetrope.tables` renews them."""

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from clips.catalog import Accepts, Catalog, EngineKind, Model
from clips.domain import Size
from clips.hosting import Hosted
from clips.lengths import FrameRule
from clips.settings import Settings
from generator.engines.diffusers.outlook import CARDS, on_cards

_FEW = 3


def settings_table() -> str:
    """Every setting by its environment variable."""
    rows = [
        f"| `{Settings.variable(name)}` | {_default(name)} | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join(("| Variable | Default | What it decides |", "|---|---|---|", *rows))


def models_table() -> str:
    """Every model of the built-in catalogue that the host's own machines run."""
    headings = (
        "| Model | Name | Length | Sizes | Sound | Needs | Credits a second | Takes, beside the photo | Licence |"
    )
    rows = [_row(model) for model in Catalog.load() if model.hosted is None]
    return "\n".join((headings, "|---" * 9 + "|", *rows))


def hosted_table() -> str:
    """Every model that a provider runs for money."""
    headings = (
        "| Model | Name | Length | Sizes | Dollars a second | Credits a second | Needs | Takes besides | Licence |"
    )
    rows = [_hosted_row(model, model.hosted) for model in Catalog.load() if model.hosted is not None]
    return "\n".join((headings, "|---" * 9 + "|", *rows))


def tools_table() -> str:
    """Every tool that a provider runs for money."""
    rows = [
        f"| {tool.title}: {tool.summary} | `{tool.name}` | {tool.hosted.usd[Size.NATIVE]:g} | {tool.licence} |"
        for tool in Catalog.load().tools.values()
    ]
    return "\n".join(("| Tool | Name | Dollars a second | Licence |", "|---" * 4 + "|", *rows))


def placements_table() -> str:
    """How the largest clip of each model with open weights is placed on the usual GPUs."""
    headings = (f"| Model |{''.join(f' {card} GiB |' for card in CARDS)}", "|---" * (len(CARDS) + 1) + "|")
    rows: list[str] = []
    for model in Catalog.load():
        if model.engine is EngineKind.DIFFUSERS:
            plans = on_cards(model).values()
            cells = (f"{plan.placement}{' ⊞' if plan.tiled else ''}" if plan else "–" for plan in plans)
            rows.append(f"| `{model.name}` | {' | '.join(cells)} |")
    return "\n".join((*headings, *rows))


TABLES: Mapping[Path, Mapping[str, Callable[[], str]]] = {
    Path("README.md"): {
        "settings": settings_table,
        "models": models_table,
        "hosted": hosted_table,
        "tools": tools_table,
    },
    Path("docs/gpus.md"): {"placements": placements_table},
}
"""By the page: the marks around each table, and what makes it."""


def renewed(text: str, tables: Mapping[str, Callable[[], str]]) -> str:
    """A page's text with the tables between their marks replaced."""
    for mark, made in tables.items():
        table = made()
        pattern = rf"(<!-- {mark} -->\n).*?(<!-- /{mark} -->)"
        text, found = re.subn(pattern, lambda part, table=table: f"{part[1]}{table}\n{part[2]}", text, flags=re.DOTALL)
        if found != 1:
            raise ValueError(f"the page has no place marked for the {mark} table")
    return text


def _default(name: str) -> str:
    value = Settings.model_fields[name].default
    return f"`{value}`" if value or value == 0 else ""


def _row(model: Model) -> str:
    cells = (
        f"{model.title}: {model.summary}",
        f"`{model.name}`",
        _length(model.shortest, model.longest),
        _sizes(model),
        "yes" if Accepts.SOUND in model.accepts else "",
        _machine(model),
        _by_size(model.price),
        _words(model.accepts - {Accepts.PHOTO}),
        f"{model.licence}. {model.forbids}" if model.forbids else model.licence,
    )
    return f"| {' | '.join(cells)} |"


def _machine(model: Model) -> str:
    """What a host has to have for it."""
    if model.gpu is None or model.weights is None:
        return "a CPU" if model.engine is EngineKind.SKETCH else ""
    return f"{model.gpu.full} GiB of GPU memory (least {model.gpu.least}), {model.weights:.0f} GB of weights"


def _hosted_row(model: Model, hosted: Hosted) -> str:
    dollars = _by_size(hosted.usd)
    if hosted.usd_with_sound:
        dollars += f"; with sound {_by_size(hosted.usd_with_sound)}"
    cells = (
        f"{model.title}: {model.summary.removesuffix('; hosted')}",
        f"`{model.name}`",
        _lengths(model),
        _sizes(model),
        dollars,
        _by_size(model.price),
        _words(model.needs) or "words alone",
        _words(model.accepts - model.needs),
        model.licence,
    )
    return f"| {' | '.join(cells)} |"


def _lengths(model: Model) -> str:
    rules = {None: model.frames, **model.frames_at}
    told = {size: _choices(rule, model.fps) for size, rule in rules.items()}
    return "; ".join(length if size is None else f"{length} ({size})" for size, length in told.items())


def _choices(rule: FrameRule, fps: int) -> str:
    """Two or three lengths by name, more of them as a range."""
    lengths = [frames / fps for frames in range(rule.snap(rule.min), rule.max + 1, rule.step)]
    return (
        f"{', '.join(f'{length:g}' for length in lengths)} s"
        if len(lengths) <= _FEW
        else _length(lengths[0], lengths[-1])
    )


def _length(shortest: float, longest: float) -> str:
    first, last = f"{shortest:.1f}", f"{longest:.1f}"
    return f"{last} s" if first == last else f"{first}–{last} s"


def _sizes(model: Model) -> str:
    return ", ".join(f"{size} ({width}×{height})" for size, (width, height) in model.sizes.items())


def _by_size(prices: Mapping[Size, float]) -> str:
    return ", ".join(f"{price:g} ({size})" for size, price in prices.items())


def _words(accepted: Iterable[Accepts]) -> str:
    return ", ".join(sorted(wish.replace("_", " ") for wish in accepted))


if __name__ == "__main__":
    for page, tables in TABLES.items():
        page.write_text(renewed(page.read_text(encoding="utf-8"), tables), encoding="utf-8")
