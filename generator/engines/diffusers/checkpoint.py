"""What a model's files say of its components before a weight is read: how large each is, and how it is built."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from generator.engines.diffusers.weights import Sources, numbers

Config = Mapping[str, object]
"""A component's `config.json`."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The numbers in each component that has any, and the components' configurations."""

    numbers: Mapping[str, int]
    configs: Mapping[str, Config]

    @classmethod
    def read(cls, sources: Sources) -> "Checkpoint":
        """From headers of files that are here. Raises `SetupError` where the folder holds no model."""
        counts = {name: numbers(sources.at(name)) for name in sources.components()}
        configs = {name: read_config(sources.at(name) / "config.json") for name, count in counts.items() if count}
        return cls({name: count for name, count in counts.items() if count}, configs)


def read_config(file: Path) -> Config:
    """A component's configuration; empty where there is none."""
    try:
        read: object = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return cast("Config", read) if isinstance(read, dict) else {}
