"""A process of its own for each photo: decoders are C code, and the bytes that they meet come from strangers.

A crash, a memory balloon or a hang ends with that process, which has no environment (no token), hard limits on memory
and processor time, and may write no file. Starting one costs about 0.1 s beside the decoding itself.
Run as a module, this file is that process: limits as JSON in its argument, the upload on its standard input, on its
standard output one line of JSON and then the PNG.
"""

import asyncio
import json
import logging
import math
import os
import resource
import sys
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from clips.domain import Sha256
from clips.errors import PhotoError
from clips.photo import Photo, PhotoLimits, check_bytes, read_photo

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ProcessLimits:
    """What one photo may take: seconds until an answer, and bytes of address space (threads and libraries included)."""

    seconds: float = 20.0
    memory: int = 2 * 1024**3


class PhotoReader:
    """Reads photos in processes of their own, a few at a time. Safe to use from many tasks of one event loop."""

    def __init__(
        self, limits: PhotoLimits | None = None, *, process: ProcessLimits | None = None, at_once: int = 2
    ) -> None:
        self.limits = limits or PhotoLimits()
        self._process = process or ProcessLimits()
        self._slots = asyncio.Semaphore(at_once)

    async def read(self, upload: bytes) -> Photo:
        """`read_photo`, off the event loop. Raises `PhotoError`.

        The process is gone when this returns, also by cancellation. A fault of ours in there is a `RuntimeError`.
        """
        check_bytes(len(upload), self.limits)
        async with self._slots:
            try:
                async with asyncio.timeout(self._process.seconds):
                    return await self._read(upload)
            except TimeoutError as error:
                raise PhotoError(
                    f"The photo was not decoded within {self._process.seconds:g} seconds. Send a smaller copy."
                ) from error

    async def _read(self, upload: bytes) -> Photo:
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            __name__,
            json.dumps({"bytes": len(upload), "photo": asdict(self.limits), "process": asdict(self._process)}),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={"PYTHONPATH": str(Path(__file__).parents[1])},
            process_group=0,  # Ctrl-C in a terminal is for the bot, which finishes what it has
        )
        try:
            output, _ = await child.communicate(upload)
        finally:
            if child.returncode is None:
                child.kill()
                await child.communicate()  # so that its pipes close and no zombie stays
        if child.returncode != 0:
            _log.warning("reading a photo of %d bytes ended with code %s", len(upload), child.returncode)
            raise PhotoError("The photo made its decoder crash. Open and save it again, or send another copy.")
        line, _, png = output.partition(b"\n")
        answer = json.loads(line)
        if refusal := answer.get("refused"):
            raise PhotoError(refusal)
        if fault := answer.get("fault"):
            raise RuntimeError(f"reading a photo failed:\n{fault}")
        return Photo(png, answer["width"], answer["height"], Sha256(answer["sha256"]))


def _answer(request: dict[str, Any]) -> tuple[dict[str, object], bytes]:
    """The other end of `PhotoReader._read`: the line of JSON and the PNG (empty where there is none)."""
    process = ProcessLimits(**request["process"])
    _limit(resource.RLIMIT_AS, process.memory)
    _limit(resource.RLIMIT_CPU, math.ceil(4 * process.seconds))  # of all threads: ends it also where the parent is gone
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_CORE, 0)
    upload = sys.stdin.buffer.read()
    if len(upload) != request["bytes"]:
        return {"fault": "the other end went away in the middle of the upload"}, b""
    try:
        photo = read_photo(upload, PhotoLimits(**request["photo"]))
    except PhotoError as refusal:
        return {"refused": refusal.sentence}, b""
    except MemoryError:
        return {"refused": "The photo needs more memory to decode than one photo may take. Send a smaller copy."}, b""
    except Exception:  # noqa: BLE001 - told to the other end, which raises it
        return {"fault": traceback.format_exc()[-8000:]}, b""
    return {"width": photo.width, "height": photo.height, "sha256": photo.sha256}, photo.data


def _limit(which: int, value: int) -> None:
    hard = resource.getrlimit(which)[1]
    soft = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(which, (soft, hard))


def main() -> None:
    os.nice(10)  # a member who still waits for an acknowledgement goes before one whose photo is being read
    answer, png = _answer(json.loads(sys.argv[1]))
    sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
    sys.stdout.buffer.write(png)


if __name__ == "__main__":
    main()
