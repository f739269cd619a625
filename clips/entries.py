"""What every table of the catalogue is: fixed once read, and without a field that nobody reads. And how it is read."""

import tomllib
from collections.abc import Mapping, Sequence
from typing import TypeVar, cast

from pydantic import BaseModel, ConfigDict, ValidationError

from clips.errors import SetupError

PREFIX = "Value error, "
"""What pydantic puts before a sentence of ours."""


class Entry(BaseModel):
    """A table of a catalogue file."""

    model_config = ConfigDict(frozen=True, extra="forbid")


_Kind = TypeVar("_Kind", bound=Entry)


def read_tables(content: bytes, where: str, names: Sequence[str]) -> Mapping[str, Mapping[str, object]]:
    """A file's tables by these names, empty where there is none. Raises `SetupError`, also for any other."""
    try:
        read: Mapping[str, object] = tomllib.loads(content.decode())
    except ValueError as error:
        raise SetupError(f"{where}: {error}.") from error
    if strange := sorted(read.keys() - set(names)):
        raise SetupError(f"{where}: nothing reads “{strange[0]}”. Its tables are {_forms(names)}.")
    tables = {name: read.get(name, {}) for name in names}
    if not all(isinstance(table, dict) for table in tables.values()):
        raise SetupError(f"{where}: its tables are {_forms(names)}.")
    return cast("Mapping[str, Mapping[str, object]]", tables)


def entries(table: Mapping[str, object], where: str, kind: type[_Kind]) -> dict[str, _Kind]:
    """The entries of a table by name. Raises `SetupError` that names entry and field."""
    found: dict[str, _Kind] = {}
    for name, entry in table.items():
        if not isinstance(entry, dict):
            raise SetupError(f"{where}: {name} is a single value, and an entry is a table with several fields.")
        if "name" in entry:
            raise SetupError(f"{where}: model {name} has its name from its table's. Take `name` out.")
        try:
            found[name] = kind.model_validate({**cast("dict[str, object]", entry), "name": name})
        except ValidationError as error:
            first = error.errors()[0]
            field = " ".join((name, ".".join(map(str, first["loc"])))).strip()
            raise SetupError(f"{where}: model {field}: {first['msg'].removeprefix(PREFIX)}.") from error
    return found


def _forms(names: Sequence[str]) -> str:
    return " and ".join(f"[{name}.its-name]" for name in names)
