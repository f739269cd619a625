"""How every benchmark tells its figures: a table to read and the same as JSON, with the machine that gave them.

`python -m bench.report` prints the last figures of all as Markdown.
"""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table as RichTable

OUT = Path("bench/out")

Cell = str | float | int | None


@dataclass(slots=True)
class Table:
    """Rows under headings. A number is shown with three digits, None as “unmeasured”."""

    name: str
    title: str
    headings: Sequence[str]
    rows: list[list[Cell]] = field(default_factory=list[list[Cell]])
    notes: list[str] = field(default_factory=list[str])

    def add(self, *cells: Cell) -> None:
        self.rows.append(list(cells))

    def publish(self) -> None:
        """Print the table and write `NAME.json` into `$OUT`, or else into `bench/out`."""
        shown = RichTable(*self.headings, title=self.title)
        for row in self.rows:
            shown.add_row(*(_text(cell) for cell in row))
        console = Console(width=max(100, Console().width))
        console.print(shown)
        for note in (*self.notes, machine()):
            console.print(note, highlight=False)
        folder = Path(os.environ.get("OUT") or OUT)
        folder.mkdir(parents=True, exist_ok=True)
        figures = {
            "title": self.title,
            "headings": list(self.headings),
            "rows": self.rows,
            "notes": self.notes,
            "machine": machine(),
        }
        (folder / f"{self.name}.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def as_markdown(folder: Path = OUT) -> str:
    """The last figures of every benchmark, for `docs/benchmarks.md`."""
    parts: list[str] = []
    for path in sorted(folder.glob("*.json")):
        figures = json.loads(path.read_text(encoding="utf-8"))
        rows = [figures["headings"], ["---"] * len(figures["headings"]), *figures["rows"]]
        lines = [f"| {' | '.join(_text(cell) for cell in row)} |" for row in rows]
        parts += [f"## {figures['title']}", "\n".join(lines), *figures["notes"], f"{figures['machine']}."]
    return "\n\n".join(parts)


def machine() -> str:
    """What the figures were measured on, in words."""
    model = platform.machine()
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}"


def _text(cell: Cell) -> str:
    if cell is None:
        return "unmeasured"
    if isinstance(cell, str):
        return cell
    return f"{cell:,.0f}" if abs(cell) >= 1000 else f"{cell:.3g}"


if __name__ == "__main__":
    Console(width=10_000, highlight=False, markup=False).print(as_markdown(), soft_wrap=True)
