"""`python -m sandbox`: one sandbox on one port, until a signal or, when asked, its parent's end."""

import argparse
import asyncio
import os
import signal
import sqlite3
import sys
from pathlib import Path

from sandbox.server import LOOPBACK, PortTakenError, running
from sandbox.store import FolderTakenError
from sandbox.world import Times

REFUSED = 2


def main() -> int:
    """Runs the command line; the exit code is 2 where the sandbox cannot start."""
    options = _options()
    try:
        asyncio.run(_serve(options))
    except PortTakenError:
        return _refuse(f"Port {options.port} is taken. Choose another one with --port, or stop what listens there.")
    except FolderTakenError:
        return _refuse(f"Another sandbox works in {options.data}. Stop it, or choose another folder with --data.")
    except (OSError, sqlite3.Error) as error:
        return _refuse(f"The folder {options.data} cannot be used: {error}.")
    return 0


async def _serve(options: argparse.Namespace) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    parent = os.getppid()
    times = Times(token=options.token_seconds)
    async with running(
        options.data, port=options.port, record_to=options.record, times=times, keep_exchanges=False
    ) as sandbox:
        sys.stdout.write(f"sandbox: {sandbox.address}/\n")
        sys.stdout.flush()
        while not stopped.is_set():
            # A dead parent sends no signal; its children change hands, and that can be seen.
            if options.with_parent and os.getppid() != parent:
                return
            try:
                await asyncio.wait_for(stopped.wait(), timeout=0.5 if options.with_parent else None)
            except TimeoutError:
                continue


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sandbox", description="A local Discord for trying things out.")
    parser.add_argument("--port", type=int, default=8765, help=f"port on {LOOPBACK} (default 8765, 0 for a free one)")
    parser.add_argument("--data", type=Path, default=Path(".zoetrope/sandbox"), help="folder that keeps the world")
    parser.add_argument("--record", type=Path, help="file that every REST exchange is appended to, as JSON lines")
    parser.add_argument("--token-seconds", type=float, default=900, help="how long interaction tokens work")
    parser.add_argument("--with-parent", action="store_true", help="end when the process that started this one ends")
    return parser.parse_args()


def _refuse(sentence: str) -> int:
    sys.stderr.write(f"{sentence}\n")
    return REFUSED


if __name__ == "__main__":
    sys.exit(main())
