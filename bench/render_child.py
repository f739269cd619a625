"""A part of `bench.render` in a process of its own, so that its memory is its own too.

`python -m bench.render_child WAY FOLDER DEVICE WIDTH HEIGHT FRAMES STEPS ROUNDS SECONDS`, of which the last end it.
"""

import asyncio
import faulthandler
import sys
import time
from pathlib import Path

import torch

from bench.memory import contender
from bench.render_checks import checks, decoding
from bench.render_run import run
from bench.render_ways import Task, ours, plain
from bench.wan_weights import REAL, SMALL, save
from clips.catalog import Speed
from clips.domain import Plan


def build(task: Task) -> dict[str, float]:
    """Random weights for the ways to come."""
    began = time.perf_counter()
    save(REAL if task.device.startswith("cuda") else SMALL, task.folder, task.device)
    return {"seconds": time.perf_counter() - began}


def _main(way: str, folder: str, device: str, *numbers: str) -> None:
    width, height, frames, steps, rounds, seconds = map(int, numbers)
    faulthandler.dump_traceback_later(seconds, exit=True)
    if not device.startswith("cuda"):
        torch.set_num_threads(1)  # two that wait for each other measure whatever else the machine does
    task = Task(Path(folder), device, Plan(width, height, frames, 24, 1), steps, rounds)
    ways = {
        "build": lambda: build(task),
        "plain": lambda: plain(task),
        "ours": lambda: asyncio.run(ours(task, Speed.EXACT, checks if device.startswith("cuda") else None)),
        "balanced": lambda: asyncio.run(ours(task, Speed.BALANCED)),
        "decoding": lambda: decoding(task),
        "run": lambda: asyncio.run(run(task)),
    }
    contender(ways[way])


if __name__ == "__main__":
    _main(*sys.argv[1:])
