"""The built-in models' checkpoints as they are published, told without a hub from `published.toml`. Pure."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from generator.engines.diffusers.checkpoint import Checkpoint, Config

_FILE = "published.toml"


@dataclass(frozen=True, slots=True)
class Component:
    """The class of a component as `module.name`, its configuration where that is not the class's own, and how many
    numbers that makes.
    """

    kind: str
    numbers: int
    config: Config


@cache
def components() -> Mapping[str, Component]:
    """Every component by its name in the file."""
    return {name: Component(**entry) for name, entry in _read()["components"].items()}


def models() -> Mapping[str, Mapping[str, str]]:
    """The built-in models by name: the roles in their pipelines, and which component has it."""
    return _read()["models"]


def published(name: str) -> Checkpoint:
    """A built-in model's checkpoint; configurations hold what an estimate reads of them."""
    parts = {role: components()[part] for role, part in models()[name].items()}
    return Checkpoint(
        {role: part.numbers for role, part in parts.items()},
        {role: {"_class_name": part.kind.rpartition(".")[2], **part.config} for role, part in parts.items()},
    )


@cache
def _read() -> Mapping[str, Any]:
    return tomllib.loads(files("generator.engines.diffusers").joinpath(_FILE).read_text(encoding="utf-8"))
