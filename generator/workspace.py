"""A folder for the files of takes under way, which no crash leaves lying about for long."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from clips.errors import SetupError


@contextmanager
def workspace(parent: Path) -> Generator[Path]:
    """A folder of this process's own below `parent`, gone at the end. Clears those that killed processes left.

    Each is locked by its process, and the kernel lets go of the lock whatever way that ends. `SetupError` says why
    there is none.
    """
    try:
        parent.mkdir(parents=True, exist_ok=True)
        # One process at a time: between its making and its lock a folder looks as if nobody had it.
        entrance = _lock(parent, fcntl.LOCK_EX)
        try:
            _clear(parent)
            folder = Path(tempfile.mkdtemp(dir=parent))
            lock = _lock(folder, fcntl.LOCK_EX)
        finally:
            os.close(entrance)
    except OSError as error:
        raise SetupError(
            f"Cannot make files in {parent}: {error.strerror}. Mend that, or set ZOETROPE_HOME."
        ) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _clear(parent: Path) -> None:
    for folder in parent.iterdir():
        try:
            lock = _lock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # in use
            continue
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _lock(folder: Path, how: int) -> int:
    """A descriptor that holds the folder's lock until it is closed."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(opened, how)
    except OSError:
        os.close(opened)
        raise
    return opened
