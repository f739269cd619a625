"""`python -m bench` runs every benchmark, each in a process of its own; names after it run those alone."""

import subprocess
import sys

ALL = ("queue", "encode", "intake", "acknowledge", "render")


def main() -> int:
    """The exit code: 0 where every benchmark ran to its end."""
    names = sys.argv[1:] or ALL
    return max(subprocess.run([sys.executable, "-m", f"bench.{name}"], check=False).returncode for name in names)


if __name__ == "__main__":
    sys.exit(main())
