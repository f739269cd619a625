"""Photos and clips as objects named by the SHA-256 of their bytes: in a folder, in S3, GCS or Azure. Knows no meaning.

A row in `blobs` goes with each object, and what refers to a blob refers to its row. Put and collection lock the row, so
neither undoes the other. Their steps, and what is left if the process dies after each:

    put      1. note the row, touched now; commit   a row that nothing refers to: collected after the grace
             2. lock the row, write the object      the same, with the object
             3. commit                              a whole blob; without a reference soon, collected after the grace
    collect  1. lock a row that nothing refers to   nothing has happened
             2. delete the object                   a row that nothing refers to: collected next time
             3. delete the row; commit              nothing is left

A reference made during collection waits for the row's lock and then fails on its foreign key; it never dangles. An
object appears whole or not at all. Putting a blob again writes it again, which mends an object that was damaged.
"""

import asyncio
import hashlib
import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from time import time
from typing import Self
from uuid import uuid4

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import LocalStore, ObjectStore, from_url

from clips.domain import Sha256
from clips.errors import RetryableError, SetupError, ZoetropeError, first_line
from clips.postgres import Connection, Pool, retrying

_CHUNK = 8 * 1024 * 1024
_ABANDONED = timedelta(hours=1)  # a file that is still being put was written to more recently: a put has 15 minutes

_TOUCH = """
INSERT INTO blobs (sha256, bytes, media_type, touched_at) VALUES ($1, $2, $3, clock_timestamp())
ON CONFLICT (sha256) DO UPDATE SET touched_at = clock_timestamp()
"""
_PATIENTLY = """
SET LOCAL lock_timeout = '15min'; SET LOCAL statement_timeout = '15min';
SET LOCAL idle_in_transaction_session_timeout = '15min'
"""
_UNREFERENCED = """
SELECT sha256 FROM blobs
WHERE touched_at < clock_timestamp() - $1::interval AND NOT blob_is_referenced(sha256)
ORDER BY touched_at LIMIT $2
"""
_LOCK = """
SELECT bytes FROM blobs WHERE sha256 = $1 AND touched_at < clock_timestamp() - $2::interval
FOR UPDATE SKIP LOCKED
"""
_IS_REFERENCED = "SELECT blob_is_referenced($1)"
_DELETE = "DELETE FROM blobs WHERE sha256 = $1"


class BlobMissingError(ZoetropeError):
    """The object is not in the store, though it should be."""


class BlobDamagedError(ZoetropeError):
    """The object's bytes are not those that its name promises."""


@dataclass(frozen=True, slots=True)
class Collected:
    """What a collection removed."""

    blobs: int
    bytes: int


class BlobStore:
    """The objects. Failures of the store itself are `RetryableError`, or `SetupError` where the host must act."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._folder = Path(store.prefix) if isinstance(store, LocalStore) and store.prefix else None

    @classmethod
    def from_url(cls, url: str) -> Self:
        """A folder's path, `file://…`, `s3://…`, `gs://…`, `az://…`, or `memory://` for as long as the object lives.

        Access comes from the usual variables (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT` …). A folder is made where needed.
        """
        try:
            if "://" not in url:
                folder = Path(url).absolute()
                folder.mkdir(parents=True, exist_ok=True)
                return cls(LocalStore(folder))
            return cls(LocalStore.from_url(url, mkdir=True) if url.startswith("file:") else from_url(url))
        except (OSError, BaseError, ValueError) as error:
            raise SetupError(f"ZOETROPE_BLOBS: {url} cannot hold blobs: {first_line(error)}") from error

    async def put(self, pool: Pool, content: Path | bytes, media_type: str) -> Sha256:
        """Stores a file or bytes and returns their name. Large files are streamed. Repeatable."""
        sha256, size = await asyncio.to_thread(_measured, content)
        row = (sha256, size, media_type)
        await retrying(pool, lambda connection: connection.execute(_TOUCH, *row))

        async def write(connection: Connection) -> None:
            # Somebody who puts the same holds the row for as long as their upload takes.
            await connection.execute(_PATIENTLY)
            await connection.execute(_TOUCH, *row, timeout=900)
            with _explained("did not take a blob"):
                await obstore.put_async(self._store, _path(sha256), content, chunk_size=_CHUNK)
                if self._folder:
                    await asyncio.to_thread(_make_durable, self._folder / _path(sha256))

        await retrying(pool, write)
        return sha256

    async def get(self, sha256: Sha256) -> bytes:
        """The whole blob, checked. For photos and posts; a clip for ffmpeg goes through `fetch_to`."""
        with _explained("did not give a blob", sha256):
            content = bytes(await (await obstore.get_async(self._store, _path(sha256))).bytes_async())
        if (await asyncio.to_thread(hashlib.sha256, content)).hexdigest() != sha256:
            raise _damaged(sha256)
        return content

    async def fetch_to(self, sha256: Sha256, target: Path) -> None:
        """Streams the blob into a file, which appears whole and checked, or not at all."""
        unfinished = target.with_name(f".{target.name}.{uuid4().hex}")
        digest = hashlib.sha256()
        try:
            with _explained("did not give a blob", sha256):
                answer = await obstore.get_async(self._store, _path(sha256))
                with await asyncio.to_thread(unfinished.open, "wb") as file:
                    async for chunk in answer.stream(min_chunk_size=_CHUNK):
                        await asyncio.to_thread(file.write, chunk)
                        await asyncio.to_thread(digest.update, chunk)
            if digest.hexdigest() != sha256:
                raise _damaged(sha256)
            await asyncio.to_thread(unfinished.replace, target)
        finally:
            await asyncio.to_thread(unfinished.unlink, missing_ok=True)

    async def delete(self, pool: Pool, sha256: Sha256) -> bool:
        """Removes a blob now, whatever its age, unless something refers to it or it is being put; whether it went."""
        return await retrying(pool, partial(self._collect, sha256=sha256, grace=timedelta(0))) is not None

    async def collect(self, pool: Pool, grace: timedelta, *, most: int = 1000) -> Collected:
        """Removes what nothing refers to and what was last put longer than `grace` ago, at most `most` blobs.

        The grace has to cover the time between a put and the reference to it, the longest upload included.
        """
        if self._folder:
            await asyncio.to_thread(_sweep, self._folder)
        sizes: list[int] = []
        for row in await pool.fetch(_UNREFERENCED, grace, most):
            size = await retrying(pool, partial(self._collect, sha256=Sha256(row["sha256"]), grace=grace))
            if size is not None:
                sizes.append(size)
        return Collected(len(sizes), sum(sizes))

    async def probe(self) -> None:
        """Writes, reads and deletes a small object; returns if all that works."""
        name, content = f"probe-{uuid4().hex}", os.urandom(16)
        with _explained("failed its test"):
            await obstore.put_async(self._store, name, content)
            try:
                read = bytes(await (await obstore.get_async(self._store, name)).bytes_async())
            finally:
                await obstore.delete_async(self._store, name)
        if read != content:
            raise SetupError("ZOETROPE_BLOBS: the blob store gives back other bytes than it was given.")

    async def _collect(self, connection: Connection, *, sha256: Sha256, grace: timedelta) -> int | None:
        """The size of the blob that went, or None if it may not go."""
        size = await connection.fetchval(_LOCK, sha256, grace)
        # Asked anew, now that the row is locked: a reference may have been committed since it was listed.
        if size is None or await connection.fetchval(_IS_REFERENCED, sha256):
            return None
        with _explained("did not delete a blob"), suppress(FileNotFoundError):  # an earlier try may have got this far
            await obstore.delete_async(self._store, _path(sha256))
        await connection.execute(_DELETE, sha256)
        return int(size)


def _path(sha256: Sha256) -> str:
    return f"{sha256[:2]}/{sha256}"


def _damaged(sha256: Sha256) -> BlobDamagedError:
    return BlobDamagedError(f"The blob {sha256} is damaged in the store. Restore it from a backup, or upload it again.")


def _measured(content: Path | bytes) -> tuple[Sha256, int]:
    if isinstance(content, bytes):
        return Sha256(hashlib.sha256(content).hexdigest()), len(content)
    with content.open("rb") as file:
        return Sha256(hashlib.file_digest(file, "sha256").hexdigest()), file.tell()


def _make_durable(path: Path) -> None:
    """To the disk with the object, its name and its folder's name: the row that vouches for it will be there too."""
    for synced in (path, path.parent, path.parent.parent):
        opened = os.open(synced, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def _sweep(folder: Path) -> None:
    """Removes what killed writers left beside the objects: a store of files writes to `name#1` first and renames.

    By the time since the last write alone, whatever grace the blobs have: a writer at work would miss its file.
    """
    newest = time() - _ABANDONED.total_seconds()
    for path in folder.glob("??/*#*"):
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < newest:
                path.unlink()


@contextmanager
def _explained(what: str, sha256: Sha256 | None = None) -> Generator[None]:
    try:
        yield
    except FileNotFoundError as error:
        if sha256 is None:
            raise
        raise BlobMissingError(f"The blob {sha256} is not in the store. Restore it from a backup.") from error
    except (PermissionError, PermissionDeniedError, UnauthenticatedError) as error:
        raise SetupError(f"ZOETROPE_BLOBS: the blob store {what}: {first_line(error)}") from error
    except (OSError, BaseError) as error:
        raise RetryableError(f"The blob store {what}: {first_line(error)}") from error
