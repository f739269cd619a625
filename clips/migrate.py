"""Brings a database to the form that the code expects, by the numbered SQL files in `migrations/`. Forward only.

Each file is applied once, in one transaction with its record. An advisory lock lets many processes start at once.
"""

import hashlib
import re
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

import asyncpg

from clips.errors import SetupError
from clips.postgres import Connection

_NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
_LOCK = 0x7A6F6574  # "zoet": any number that nothing else in the database locks
_BOUND = 3600.0
"""Seconds that one migration may take, the wait for other processes' migrations included."""

_RECORD = """
CREATE TABLE IF NOT EXISTS applied_migrations (
  number     integer     PRIMARY KEY,
  name       text        NOT NULL,
  checksum   text        NOT NULL,
  applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
)
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file. The checksum is the SHA-256 of its text with plain line ends, so that a checkout cannot change it."""

    number: int
    name: str
    sql: str
    checksum: str


async def migrate(connection: Connection, folder: Traversable | None = None) -> tuple[Migration, ...]:
    """Applies what is missing and returns it, in order; what stands after a failure is whole up to the file before.

    `SetupError` if a file fails, or if files and record disagree: a file changed or lost after it was applied, a number
    missing or used twice, a database that a newer version of the code has migrated.
    """
    migrations = _read(folder or files("migrations"))
    applied: list[Migration] = []
    while (migration := await _apply_next(connection, migrations)) is not None:
        applied.append(migration)
    return tuple(applied)


async def pending(connection: Connection, folder: Traversable | None = None) -> tuple[Migration, ...]:
    """What `migrate` would apply now, changing nothing. `SetupError` as there."""
    return await _missing(connection, _read(folder or files("migrations")))


async def _apply_next(connection: Connection, migrations: tuple[Migration, ...]) -> Migration | None:
    async with connection.transaction():
        # A wait for another process that migrates is no reason to give up; a table that stays locked is.
        await connection.execute("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0")
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK, timeout=_BOUND)
        missing = await _missing(connection, migrations)
        if not missing:
            return None
        migration = missing[0]
        try:
            await connection.execute("SET LOCAL lock_timeout = '15s'")
            await connection.execute(_RECORD)
            await connection.execute(migration.sql, timeout=_BOUND)
            await connection.execute(
                "INSERT INTO applied_migrations (number, name, checksum) VALUES ($1, $2, $3)",
                migration.number,
                migration.name,
                migration.checksum,
            )
        except asyncpg.PostgresError as error:
            raise SetupError(f"The migration {migration.name} failed{_line(migration, error)}: {error}.") from error
        return migration


async def _missing(connection: Connection, migrations: tuple[Migration, ...]) -> tuple[Migration, ...]:
    """The files beyond those recorded, after a check of each record against its file."""
    if await connection.fetchval("SELECT to_regclass('applied_migrations')") is None:
        return migrations
    records = await connection.fetch("SELECT number, name, checksum FROM applied_migrations ORDER BY number")
    for expected, record in enumerate(records, start=1):
        number, name, checksum = record
        if number != expected:
            raise SetupError(f"The database's record of migrations lacks number {expected:04}. Restore a backup.")
        if number > len(migrations):
            raise SetupError(
                f"The database was migrated by a newer Zoetrope (its newest migration is {records[-1]['name']}). "
                "Update this one, or use another database."
            )
        if migrations[number - 1].checksum != checksum or migrations[number - 1].name != name:
            raise SetupError(
                f"The migration {name} is not the one that the database was given. "
                "Put the file back as it was; a change belongs in a new file."
            )
    return migrations[len(records) :]


def _read(folder: Traversable) -> tuple[Migration, ...]:
    names = sorted(path.name for path in folder.iterdir() if path.name.endswith(".sql"))
    for expected, name in enumerate(names, start=1):
        found = _NAME.fullmatch(name)
        if found is None:
            raise SetupError(f"migrations/{name} is not named like 0001_what_it_does.sql.")
        if int(found[1]) != expected:
            raise SetupError(f"migrations/{name} should be number {expected:04}: a number is missing or used twice.")
    return tuple(_loaded(folder.joinpath(name), number) for number, name in enumerate(names, start=1))


def _loaded(path: Traversable, number: int) -> Migration:
    sql = path.read_bytes().decode().replace("\r\n", "\n")
    return Migration(number, path.name, sql, hashlib.sha256(sql.encode()).hexdigest())


def _line(migration: Migration, error: asyncpg.PostgresError) -> str:
    position: str | None = getattr(error, "position", None)  # counts characters from 1, where the server knows it
    return "" if position is None else f" at line {migration.sql.count(chr(10), 0, int(position) - 1) + 1}"
