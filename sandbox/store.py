"""Where the world rests: one SQLite file and a folder of attachment bytes. All of the sandbox's SQL is here.

A change is committed before its answer goes out, so a killed process loses nothing that it has answered.
`synchronous=NORMAL` under write-ahead logging keeps that promise against a killed process, not against a power cut.
"""

import fcntl
import json
import sqlite3
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import Field, asdict
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from sandbox.records import App, Attachment, Channel, Command, Guild, Interaction, Member, Message, Role, User

SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
    kind TEXT NOT NULL, id INTEGER NOT NULL,
    parent INTEGER NOT NULL, -- what lists ask by: a message's channel, a role's server
    body TEXT NOT NULL,
    PRIMARY KEY (kind, id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS records_by_parent ON records (kind, parent, id);
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""


class FolderTakenError(Exception):
    """Another sandbox works in this data folder."""


class _Record(Protocol):
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def id(self) -> int: ...


R = TypeVar("R", bound=_Record)


class Table(Generic[R]):
    """The records of one kind; `parent_of` says what a record is listed under."""

    def __init__(self, connection: sqlite3.Connection, kind: type[R], parent_of: Callable[[R], int]) -> None:
        self._connection = connection
        self._kind = kind
        self._parent_of = parent_of
        self._read = lru_cache(maxsize=4096)(self._parsed)  # records are frozen, and the same few are asked for all day

    def put(self, record: R) -> R:
        """Keeps a record, in place of the one with its id, and hands it back."""
        row = (self._kind.__name__, record.id, self._parent_of(record), json.dumps(asdict(record)))
        self._connection.execute("INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?)", row)
        return record

    def get(self, record_id: int) -> R | None:
        query = "SELECT body FROM records WHERE kind = ? AND id = ?"
        row = self._connection.execute(query, (self._kind.__name__, record_id)).fetchone()
        return self._read(row[0]) if row else None

    def under(self, parent: int) -> list[R]:
        """All records of one parent, oldest first."""
        query = "SELECT body FROM records WHERE kind = ? AND parent = ? ORDER BY id"
        return [self._read(row[0]) for row in self._connection.execute(query, (self._kind.__name__, parent))]

    def first(self, parent: int, field: str, value: int) -> R | None:
        """The oldest record of one parent with this value in a field. The others are not read."""
        query = "SELECT body FROM records WHERE kind = ? AND parent = ? AND body ->> ? = ? ORDER BY id LIMIT 1"
        row = self._connection.execute(query, (self._kind.__name__, parent, f"$.{field}", value)).fetchone()
        return self._read(row[0]) if row else None

    def before(self, parent: int, record_id: int) -> Iterator[R]:
        """The records of one parent whose ids are smaller, newest first."""
        query = "SELECT body FROM records WHERE kind = ? AND parent = ? AND id < ? ORDER BY id DESC"
        for row in self._connection.execute(query, (self._kind.__name__, parent, record_id)):
            yield self._read(row[0])

    def after(self, parent: int, record_id: int) -> Iterator[R]:
        """The records of one parent whose ids are greater, oldest first."""
        query = "SELECT body FROM records WHERE kind = ? AND parent = ? AND id > ? ORDER BY id"
        for row in self._connection.execute(query, (self._kind.__name__, parent, record_id)):
            yield self._read(row[0])

    def delete(self, record_id: int) -> None:
        self._connection.execute("DELETE FROM records WHERE kind = ? AND id = ?", (self._kind.__name__, record_id))

    def _parsed(self, body: str) -> R:
        return self._kind(**json.loads(body))


class Store:
    """The open data folder. One process at a time; `close` lets it go."""

    def __init__(self, folder: Path) -> None:
        self.files = folder / "files"
        self.files.mkdir(parents=True, exist_ok=True)
        self._lock = (folder / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise FolderTakenError from None
        for left_over in self.files.glob("incoming-*"):
            left_over.unlink()
        self._connection = connection = sqlite3.connect(folder / "world.sqlite", isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.executescript(SCHEMA)
        self.apps = Table(connection, App, lambda _: 0)
        self.users = Table(connection, User, lambda _: 0)
        self.guilds = Table(connection, Guild, lambda _: 0)
        self.roles = Table(connection, Role, lambda role: role.guild_id)
        self.members = Table(connection, Member, lambda member: member.guild_id)
        self.channels = Table(connection, Channel, lambda channel: channel.guild_id)
        self.messages = Table(connection, Message, lambda message: message.channel_id)
        self.attachments = Table(connection, Attachment, lambda attachment: attachment.message_id)
        self.commands = Table(connection, Command, lambda command: command.guild_id)
        self.interactions = Table(connection, Interaction, lambda interaction: interaction.channel_id)

    @contextmanager
    def transaction(self) -> Generator[None]:
        """All of it or none; committed when the block ends well."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def newest_id(self) -> int:
        """The greatest id that was ever kept, 0 in an empty world."""
        return int(self._connection.execute("SELECT coalesce(max(id), 0) FROM records").fetchone()[0])

    def setting(self, name: str) -> str | None:
        row = self._connection.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def set(self, name: str, value: str) -> None:
        self._connection.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, value))

    def path_of(self, attachment_id: int) -> Path:
        return self.files / str(attachment_id)

    def close(self) -> None:
        self._connection.close()
        self._lock.close()
