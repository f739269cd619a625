"""The engine that the worker sees: a thread with a loaded model in it. Light to import; torch comes with the load."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import TYPE_CHECKING, Self, TypeVar

from clips.catalog import Model, Speed
from clips.domain import ClipSpec
from clips.errors import CancelledError, SetupError
from generator.engines.base import Context, Job, Sink
from generator.engines.ends import see_out

if TYPE_CHECKING:
    from generator.engines.diffusers.runner import Runner

Result = TypeVar("Result")


class DiffusersEngine:
    """An open-weights model. See `Engine`."""

    def __init__(self, runner: "Runner", thread: ThreadPoolExecutor) -> None:
        self._runner = runner
        self._thread = thread

    @classmethod
    async def load(cls, model: Model, device: str, context: Context, speed: Speed | None = None) -> Self:
        """Load a model, downloading it first where needed; told as `load` in bytes, then as `warm` in steps. It is
        cancelled as a render is.

        `device` is the setting: `auto`, `cuda`, `cuda:1`, `cpu`. Raises `SetupError` with what the host has to do,
        `RetryableError`, `NoRoomError`, and what context raises.
        """
        thread = ThreadPoolExecutor(1, thread_name_prefix=model.name)
        try:
            runner = await _in(thread, context, lambda watched: _load(model, device, watched, speed))
        except BaseException:
            thread.shutdown(wait=False)
            raise
        return cls(runner, thread)

    async def render(self, job: Job, sink: Sink, context: Context) -> None:
        """See `Engine.render`. Cancelling the awaiting task ends the render within a step, and is waited for."""
        await _in(self._thread, context, lambda watched: self._runner.render(job, sink, watched))

    @property
    def vram(self) -> int:
        """See `Parkable`."""
        return self._runner.vram

    @property
    def ram(self) -> int:
        """See `Parkable`."""
        return self._runner.ram

    @property
    def manner(self) -> Mapping[str, str]:
        """See `Parkable`."""
        return self._runner.manner

    @property
    def entry(self) -> Model:
        """See `Settled`."""
        return self._runner.entry

    def prompt(self, spec: ClipSpec) -> str:
        """See `Settled`."""
        return self._runner.prompt(spec)

    @property
    def can_park(self) -> bool:
        """See `Parkable`."""
        return self._runner.can_park

    async def park(self) -> None:
        """See `Parkable`."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._runner.park)

    async def wake(self) -> None:
        """See `Parkable`."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._runner.wake)

    async def close(self) -> None:
        """Free the model's memory; waits for a render under way."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._runner.close)
        self._thread.shutdown()


def _load(model: Model, device: str, context: Context, speed: Speed | None) -> "Runner":
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it misses kernels for a CPU that nobody needs
    try:
        # Seconds of imports, and absent where only other engines run.
        from generator.engines.diffusers.runner import Runner  # noqa: PLC0415
    except ImportError as error:
        raise SetupError(
            f"{model.name} needs PyTorch and diffusers ({error}). Install them: sh deploy/setup.sh generator"
        ) from error
    return Runner.load(model, device, context, speed)


async def _in(thread: ThreadPoolExecutor, context: Context, work: Callable[[Context], Result]) -> Result:
    """Run work in the thread. If the awaiting task is cancelled, the work is told to end and waited for."""
    watched = _Watched(context)
    done = asyncio.get_running_loop().run_in_executor(thread, work, watched)
    try:
        return await asyncio.shield(done)
    except asyncio.CancelledError:
        watched.stop.set()
        await see_out(done)
        raise


class _Watched:
    """A context that also ends the work when nobody awaits it any more."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.stop = Event()

    def report(self, phase: str, done: int, total: int) -> None:
        self._context.report(phase, done, total)

    def raise_if_cancelled(self) -> None:
        if self.stop.is_set():
            raise CancelledError("nobody waits for this work any more")
        self._context.raise_if_cancelled()
