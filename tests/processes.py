"""Which processes a process has started, and what they are: tests look that none is left."""

from contextlib import suppress
from pathlib import Path


def children(pid: int | str = "self") -> set[int]:
    """The ids of a process's living and zombie children, whichever thread started them; without an id, ours.

    A thread may end while its children are read: the kernel has given them to another by then.
    """
    found: set[int] = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):
            found |= {int(number) for number in (task / "children").read_text().split()}
    return found


def program(pid: int) -> str:
    """The name of the program that runs in a process, as the kernel has it."""
    return Path(f"/proc/{pid}/comm").read_text().strip()
