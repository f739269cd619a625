"""Runs named processes beside this one and leaves none behind. Knows nothing of what they do.

Each has a session of its own, so that a terminal's Ctrl-C reaches only us, and a log file. They are stopped in the
reverse order of their start. None is started again: when one ends, all end, with a sentence that names it. If this
process is killed, the kernel sends each a SIGTERM.
"""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import DEVNULL, STDOUT, Popen
from time import monotonic
from typing import TypeVar

from clips.errors import SetupError
from clips.processes import bound_to_us

_Result = TypeVar("_Result")
_POLL = 0.05
_KILL_BOUND = 10.0
_LARGEST_LOG = 8 * 1024 * 1024
_LINES_TOLD = 8

Ready = Callable[[], Awaitable[bool]] | str | None
"""When a child counts as started: once this says so, once its log has a line with this text in it, or at once."""


class ChildEndedError(SetupError):
    """A process ended, or did not become ready; the sentence names it and quotes its log."""


@dataclass(frozen=True, slots=True)
class Child:
    """A process to run. Bounds are in seconds; `environment` is added to ours."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    ready: Ready = None
    ready_bound: float = 60.0
    stop_bound: float = 30.0


class Children:
    """The processes that run now. Made by `supervised`."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._running: list[_Running] = []

    @property
    def pids(self) -> list[int]:
        """The process ids of those that were started, ready or not."""
        return [running.process.pid for running in self._running]

    async def start(self, child: Child) -> None:
        """Returns once the child is ready. `ChildEndedError` if it, or another, ends before that or takes too long."""
        running = _Running.spawn(child, self._logs / f"{child.name}.log")
        self._running.append(running)
        deadline = monotonic() + child.ready_bound
        while not await running.is_ready():
            self._check()
            if monotonic() > deadline:
                raise running.told(f"was not ready within {child.ready_bound:.0f} s")
            await asyncio.sleep(_POLL)

    async def guard(self, work: Awaitable[_Result]) -> _Result:
        """The result of the work, or `ChildEndedError` as soon as a child ends; the work is then cancelled."""
        task = asyncio.ensure_future(work)
        try:
            while not task.done():
                self._check()
                await asyncio.wait([task], timeout=_POLL)
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait([task])
        if task.exception():
            # A child's end, seen a moment later, is what the failure of the work came from.
            await asyncio.sleep(_POLL)
            self._check()
        return task.result()

    async def stop(self) -> None:
        """Ends all, the last one started first: SIGTERM, then after the child's bound SIGKILL."""
        try:
            while self._running:
                await self._running[-1].stop()
                self._running.pop()
        finally:
            for running in reversed(self._running):  # only if the orderly way was cut short
                running.kill()
            self._running.clear()

    def _check(self) -> None:
        for running in self._running:
            if (end := running.end()) is not None:
                raise running.told(end)


@asynccontextmanager
async def supervised(logs: Path) -> AsyncGenerator[Children]:
    """Children that live no longer than the block. Their logs are `<name>.log` in the folder, which is made."""
    _make(logs)
    children = Children(logs)
    try:
        yield children
    finally:
        await children.stop()


@dataclass(frozen=True, slots=True)
class _Running:
    child: Child
    process: Popen[bytes]
    log: Path
    log_start: int

    @classmethod
    def spawn(cls, child: Child, log: Path) -> "_Running":
        if log.exists() and log.stat().st_size > _LARGEST_LOG:
            log.unlink()
        with log.open("ab") as output:
            process = Popen(  # noqa: S603 - the caller's command, no shell
                bound_to_us(child.command, death=signal.SIGTERM),
                stdin=DEVNULL,
                stdout=output,
                stderr=STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **child.environment},
                start_new_session=True,
            )
            return cls(child, process, log, output.tell())

    async def is_ready(self) -> bool:
        match self.child.ready:
            case None:
                return True
            case str(text):
                return text in self.written()
            case ask:
                return await ask()

    def end(self) -> str | None:
        """How it ended, in words, or None while it runs. Does not reap: the group's id stays ours until `kill`."""
        status = os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if status is None:
            return None
        if status.si_code == os.CLD_EXITED:
            return f"ended with exit code {status.si_status}"
        return f"was ended by {signal.Signals(status.si_status).name}"

    async def stop(self) -> None:
        try:
            if self.end() is None:
                # Not the process's own method: that reaps what has just ended, and its id may be somebody else's then.
                os.kill(self.process.pid, signal.SIGTERM)
                await self._until_ended(self.child.stop_bound)
        finally:
            self.kill()

    def kill(self) -> None:
        """Ends what is left: a child that does not listen, and whatever it started and left behind."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(_KILL_BOUND)

    async def _until_ended(self, bound: float) -> None:
        deadline = monotonic() + bound
        while self.end() is None and monotonic() < deadline:  # noqa: ASYNC110 - a process has no event to wait for
            await asyncio.sleep(_POLL)

    def written(self) -> str:
        with self.log.open("rb") as file:
            file.seek(self.log_start)
            return file.read().decode(errors="replace")

    def told(self, what: str) -> ChildEndedError:
        lines = self.written().strip().splitlines()[-_LINES_TOLD:]
        quoted = "".join(f"\n    {line}" for line in lines)
        tells = f"Its log, {self.log}, ends with:{quoted}" if lines else f"Its log, {self.log}, is empty."
        return ChildEndedError(f"The {self.child.name} {what}. {tells}")


def _make(logs: Path) -> None:
    try:
        logs.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(f"The folder for logs, {logs}, cannot be made: {error.strerror}.") from error
