"""What downloads that were killed left in the hub's cache: each has a name of its own, so nothing can go on with it."""

import fcntl
from pathlib import Path

from huggingface_hub import constants


def drop_leftovers() -> None:
    """Delete it, in all repositories."""
    for file in Path(constants.HF_HUB_CACHE).glob("models--*/blobs/*.????????.incomplete"):
        if is_abandoned(file):
            file.unlink(missing_ok=True)


def is_abandoned(file: Path) -> bool:
    """Whether nobody downloads into a file: whoever does holds the lock of its blob."""
    folder = folder_of(file)
    lock = folder.parent / ".locks" / folder.name / f"{file.name.partition('.')[0]}.lock"
    try:
        with lock.open("rb") as held:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def folder_of(file: Path) -> Path:
    """The folder of the repository that a blob or a file of a snapshot belongs to."""
    return next(parent for parent in file.parents if parent.name.startswith("models--"))
