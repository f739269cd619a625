"""The record of what the application asked and was answered, one exchange a line, for tests to check."""

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Exchange:
    """One REST request and its answer. `template` is the path as Discord's own description writes it."""

    method: str
    template: str
    request: object
    status: int
    response: object


@dataclass(slots=True)
class Record:
    """Everything so far, in memory unless `keep` is off, and appended to a file where one is given."""

    path: Path | None = None
    keep: bool = True
    exchanges: list[Exchange] = field(default_factory=list[Exchange])
    calls: Counter[str] = field(default_factory=Counter[str])
    unknown: Counter[str] = field(default_factory=Counter[str])

    def add(self, exchange: Exchange) -> None:
        if self.keep:
            self.exchanges.append(exchange)
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(exchange)) + "\n")
