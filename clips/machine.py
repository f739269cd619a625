"""What this machine has, asked of the operating system."""

from pathlib import Path

_GROUP = Path("/sys/fs/cgroup")
_FILES = ("inactive_file", "active_file")
"""The lines of a group's `memory.stat` that say how much of what it uses are copies of files on the disk."""


def total_ram() -> int:
    """Bytes that this machine has; within a container, that it may use."""
    try:
        return min(_meminfo("MemTotal"), int((_GROUP / "memory.max").read_text(encoding="ascii")))
    except (OSError, ValueError):
        return _meminfo("MemTotal")


def free_ram() -> int:
    """Bytes that can be had without pushing out what is not on the disk; within a container, of what it may use."""
    free = _meminfo("MemAvailable")
    try:
        limit, used = (int((_GROUP / name).read_text(encoding="ascii")) for name in ("memory.max", "memory.current"))
        return min(free, limit - used + _bytes(_GROUP / "memory.stat", _FILES))
    except (OSError, ValueError):  # no container, or one without a limit, which says “max”
        return free


def _meminfo(name: str) -> int:
    return _bytes(Path("/proc/meminfo"), (f"{name}:",)) * 1024


def _bytes(table: Path, names: tuple[str, ...]) -> int:
    """The sum of the lines of these names, in the table's own unit."""
    lines = (line.split() for line in table.read_text(encoding="ascii").splitlines())
    return sum(int(line[1]) for line in lines if line and line[0] in names)
