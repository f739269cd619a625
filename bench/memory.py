"""Peak memory of a piece of work in a fresh process, with everything that it starts, above what its imports took."""

import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import psutil

_EVERY = 0.004


def measured(module: str, *arguments: str) -> tuple[dict[str, float], float]:
    """Run `python -m module …`, whose work is wrapped in `contender`: what it says, and its peak in MB."""
    child = subprocess.Popen(
        [sys.executable, "-m", module, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    if child.stdin is None or child.stdout is None:
        raise RuntimeError("both are pipes")
    child.stdout.readline()  # it is ready: imported, and nothing done
    tree = psutil.Process(child.pid)
    base, peak, done = _resident(tree), 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.is_set():
            peak = max(peak, _resident(tree))
            time.sleep(_EVERY)

    watcher = threading.Thread(target=watch)
    watcher.start()
    said, _ = child.communicate("\n")
    done.set()
    watcher.join()
    if child.returncode != 0:
        raise RuntimeError(f"{module} {' '.join(arguments)} ended with {child.returncode}")
    return json.loads(said), (peak - base) / 1e6


def median_of(runs: int, module: str, *arguments: str) -> tuple[dict[str, float], float]:
    """`measured` so many times: the median of each figure, and of the peak."""
    said = [measured(module, *arguments) for _ in range(runs)]
    figures = {name: statistics.median(one[name] for one, _ in said) for name in said[0][0]}
    return figures, statistics.median(peak for _, peak in said)


def contender(work: Callable[[], dict[str, float]]) -> None:
    """The other end: wait until the measuring has begun, work, tell the figures."""
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps(work()), flush=True)


def _resident(tree: psutil.Process) -> int:
    total = 0
    try:
        for process in (tree, *tree.children(recursive=True)):
            total += process.memory_info().rss
    except psutil.NoSuchProcess:  # it ended between being listed and being asked
        pass
    return total
