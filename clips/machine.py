"""What this machine has, asked of the operating system."""

from pathlib import Path

_LIMIT = Path("/sys/fs/cgroup/memory.max")
_USED = Path("/sys/fs/cgroup/memory.current")


def total_ram() -> int:
    """Bytes that this machine has; within a container, that it may use."""
    try:
        return min(_meminfo("MemTotal"), int(_LIMIT.read_text(encoding="ascii")))
    except (OSError, ValueError):
        return _meminfo("MemTotal")


def free_ram() -> int:
    """Bytes that can be had without pushing anything out; within a container, of what it may use."""
    free = _meminfo("MemAvailable")
    try:
        return min(free, int(_LIMIT.read_text(encoding="ascii")) - int(_USED.read_text(encoding="ascii")))
    except (OSError, ValueError):  # no container, or one without a limit, which says “max”
        return free


def _meminfo(name: str) -> int:
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return 0
