"""The README's tables of settings and models, made from the code. `python -m zoetrope.tables` renews them."""

import re
from pathlib import Path

from clips.catalog import Accepts, Catalog, Model
from clips.settings import Settings

README = Path("README.md")


def settings_table() -> str:
    """Every setting by its environment variable."""
    rows = [
        f"| `{Settings.variable(name)}` | {_default(name)} | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join(("| Variable | Default | What it decides |", "|---|---|---|", *rows))


def models_table() -> str:
    """Every model of the built-in catalogue."""
    headings = "| Model | Name | Length | Sizes | Credits a second | Takes, beside the photo | Licence |"
    return "\n".join((headings, "|---" * 7 + "|", *(_row(model) for model in Catalog.load())))


def renewed(text: str) -> str:
    """A README's text with the tables between their marks replaced."""
    for mark, table in (("settings", settings_table()), ("models", models_table())):
        pattern = rf"(<!-- {mark} -->\n).*?(<!-- /{mark} -->)"
        text, found = re.subn(pattern, lambda part, table=table: f"{part[1]}{table}\n{part[2]}", text, flags=re.DOTALL)
        if found != 1:
            raise ValueError(f"the README has no place marked for the {mark} table")
    return text


def _default(name: str) -> str:
    value = Settings.model_fields[name].default
    return "" if value is None else f"`{value}`"


def _row(model: Model) -> str:
    shortest, longest = f"{model.shortest:.1f}", f"{model.longest:.1f}"
    cells = (
        f"{model.title}: {model.summary}",
        f"`{model.name}`",
        f"{longest} s" if shortest == longest else f"{shortest}–{longest} s",
        ", ".join(f"{size} ({width}×{height})" for size, (width, height) in model.sizes.items()),
        ", ".join(f"{model.price[size]:g} ({size})" for size in model.sizes),
        ", ".join(sorted(accepted.replace("_", " ") for accepted in model.accepts - {Accepts.PHOTO})),
        model.licence,
    )
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    README.write_text(renewed(README.read_text(encoding="utf-8")), encoding="utf-8")
