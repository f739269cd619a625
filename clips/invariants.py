"""The promises that the database must keep at any moment, for the tests, the doctor and the crash tests."""

import re
from dataclasses import dataclass
from importlib.resources import files

from clips.postgres import Connection


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise and one row that breaks it."""

    promise: str
    row: str


def promises() -> list[tuple[str, str]]:
    """Each promise in words with the statement that finds what breaks it, from `invariants.sql`."""
    text = files("clips").joinpath("invariants.sql").read_text(encoding="utf-8")
    return re.findall(r"^-- promise: (.+)\n((?s:.+?));$", text, re.MULTILINE)


async def violations(conn: Connection) -> list[Violation]:
    """What is out of order now, read in one snapshot."""
    async with conn.transaction(isolation="repeatable_read", readonly=True):
        return [
            Violation(promise, str(dict(row)))
            for promise, statement in promises()
            for row in await conn.fetch(statement)
        ]
