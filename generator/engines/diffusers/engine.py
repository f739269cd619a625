"""The engine that the worker sees: a thread with a loaded model in it. Light to import; torch comes with the load."""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import TYPE_CHECKING, Self, TypeVar

from clips.catalog import Model, Speed
from clips.domain import ClipSpec
from clips.errors import CancelledError, FatalEngineError, SetupError
from generator.engines.base import Context, Job, Sink
from generator.engines.ends import let_go, see_out

if TYPE_CHECKING:
    from generator.engines.diffusers.runner import Runner

Result = TypeVar("Result")


class DiffusersEngine:
    """An open-weights model. See `Engine`."""

    def __init__(self, runner: "Runner", thread: "_Thread") -> None:
        self._runner = runner
        self._thread = thread

    @classmethod
    async def load(
        cls, model: Model, device: str, context: Context, speed: Speed | None = None, others: int = 0
    ) -> Self:
        """Load a model, downloading it first where needed; told as `load` in kilobytes, then as `warm` in steps. It is
        cancelled as a render is.

        `device` is the setting: `auto`, `cuda`, `cuda:1`, `cpu`; `others` the bytes of RAM that this process's other
        models would give up for it. Raises `SetupError` with what the host has to do, `RetryableError`, `NoRoomError`,
        `FatalEngineError`, and what context raises.
        """
        thread, watched = _Thread(model.name), _Watched(context)
        try:
            runner = await thread.run(lambda: _load(model, device, watched, speed, others), watched)
        except BaseException:
            thread.end()
            raise
        return cls(runner, thread)

    async def render(self, job: Job, sink: Sink, context: Context) -> None:
        """See `Engine.render`. Cancelling the awaiting task ends the render within a step, and is waited for."""
        watched = _Watched(context)
        await self._thread.run(lambda: self._runner.render(job, sink, watched), watched)

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
        await self._thread.run(self._runner.park)

    async def wake(self) -> None:
        """See `Parkable`."""
        await self._thread.run(self._runner.wake)

    async def close(self) -> None:
        """Free the model's memory; waits for a render under way."""
        await self._thread.run(self._runner.close)
        self._thread.end()


def _load(model: Model, device: str, context: Context, speed: Speed | None, others: int) -> "Runner":
    try:
        # Seconds of imports, and absent where only other engines run.
        from generator.engines.diffusers.runner import Runner  # noqa: PLC0415
    except ImportError as error:
        raise SetupError(
            f"{model.name} needs PyTorch and diffusers ({error}). Install them: sh deploy/setup.sh generator"
        ) from error
    return Runner.load(model, device, context, speed, others)


class _Thread:
    """The thread of one model. What fails in it is judged there: it is told apart whether the GPU failed."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=name)

    async def run(self, work: Callable[[], Result], watched: "_Watched | None" = None) -> Result:
        """Do the work. If the awaiting task is cancelled, it is told to end, where it watches, and waited for.

        Raises `FatalEngineError` where the GPU answers no more, else what the work raises.
        """
        done = asyncio.get_running_loop().run_in_executor(self._pool, self._judged, work)
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            if watched:
                watched.stop.set()
            await see_out(done)
            raise

    def end(self) -> None:
        self._pool.shutdown(wait=False)

    def _judged(self, work: Callable[[], Result]) -> Result:
        try:
            return work()
        except Exception as error:
            let_go(error)
            if isinstance(error, FatalEngineError) or not _is_fatal(error):
                raise
            raise FatalEngineError(f"{self._name}: the GPU failed: {error}") from error


def _is_fatal(error: Exception) -> bool:
    try:
        from generator.engines.diffusers.gpu_memory import is_fatal  # noqa: PLC0415 - torch comes with it
    except ImportError:
        return False
    return is_fatal(error)


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
