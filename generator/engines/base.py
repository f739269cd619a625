"""What an engine is: it turns one planned job into frames. It knows nothing of queues, prices or files of clips."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from clips.catalog import Model
from clips.domain import ClipSpec, Plan
from clips.errors import ZoetropeError
from clips.hosted_jobs import HostedJob, Order, Outcome

Frame = NDArray[np.uint8]
"""One picture, shape (height, width, 3), RGB, 0 to 255."""


@dataclass(frozen=True, slots=True)
class Variation:
    """The noise of another seed, mixed in by `strength`: 0 (none of it) to 1 (nothing else)."""

    seed: int
    strength: float


@dataclass(frozen=True, slots=True)
class TakeSeed:
    """One take of a job: the noise of `seed` with each variation mixed in, one after another."""

    index: int
    seed: int
    variations: tuple[Variation, ...] = ()


class Memory(Protocol):
    """What outlives every attempt of a job: the work that an engine has asked for elsewhere. Durable when it returns.

    All but `recall` raise `LeaseLostError` where another attempt of the take has the word by now.
    """

    async def recall(self) -> HostedJob | None:
        """What an earlier attempt asked for, or was about to."""
        ...

    async def intend(self, order: Order) -> HostedJob:
        """Write down what is about to be asked for, before it costs anything. See `clips.hosted_jobs`."""
        ...

    async def remember(self, external_id: str) -> None:
        """Write down the name of the work elsewhere, before it is looked at for the first time."""
        ...

    async def forget(self, external_id: str) -> None:
        """Strike it out: it is gone and cost nothing."""
        ...

    async def withdraw(self) -> None:
        """Strike out an intent: what it was for was certainly not begun. A job that is known, or over, stays."""
        ...

    async def settle(self, outcome: Outcome, microdollars: int) -> None:
        """Write down how it ended and what it cost, before that shows in the take."""
        ...


@dataclass(frozen=True, slots=True)
class Job:
    """What to render. `inputs` are named files, each where the model takes it: `photo`, `end_photo`, `reference_1` …,
    `motion_video`.

    `folder` is for files of the engine's own; it goes with the job. `memory` is of one take: a job with it has no more.
    """

    spec: ClipSpec
    plan: Plan
    inputs: Mapping[str, Path]
    takes: Sequence[TakeSeed]
    folder: Path | None = None
    memory: Memory | None = None


class Sink(Protocol):
    """Where a render goes. Called from the engine's thread; each call may block while the encoder catches up."""

    def frames(self, take: int, frames: NDArray[np.uint8]) -> None:
        """Append frames to a take: shape (n, height, width, 3), RGB; `take` is `TakeSeed.index`."""
        ...

    def sound(self, take: int, samples: NDArray[np.float32], rate: int) -> None:
        """Give a take its whole sound: shape (channels, n), one or two channels, -1 to 1, `rate` samples a second."""
        ...

    def file(self, take: int, path: Path) -> None:
        """Give a take's finished master, in the place of frames: H.264 in MP4. The file is the sink's from now on."""
        ...


class Context(Protocol):
    """What an engine may ask of the worker while it renders. Safe to call from the engine's own thread."""

    def report(self, phase: str, done: int, total: int) -> None:
        """Tell progress, `done` of `total`. See `Progress` for the phases."""
        ...

    def raise_if_cancelled(self) -> None:
        """Raise `CancelledError` if the member cancelled, `LeaseLostError` if the take is no longer ours,
        `StoppingError` if the generator has to end. Call it every few seconds; let what it raises through.
        """
        ...


class NoRoomError(ZoetropeError):
    """A model would fit if others that this process has loaded made room: bytes of GPU memory, bytes of RAM."""

    def __init__(self, vram: int, ram: int) -> None:
        size, kind = (vram, "GPU memory") if vram else (ram, "RAM")
        super().__init__(f"it needs about {size / 1024**3:.1f} GiB of {kind}")
        self.vram = vram
        self.ram = ram


class Engine(Protocol):
    """A loaded model. Synchronous work runs in a thread of the engine's own, so that the worker's loop never blocks."""

    async def render(self, job: Job, sink: Sink, context: Context) -> None:
        """Render every take of the job into the sink. Raises what `context` raises, `RetryableError`, `MemberError`,
        and `FatalEngineError` where this process can render no more.
        """
        ...

    async def close(self) -> None:
        """Give back the memory: another model needs it. Nothing is called afterwards."""
        ...


@runtime_checkable
class Parkable(Protocol):
    """An engine with weights that can leave the GPU and come back. All of it waits for a render under way, and raises
    `FatalEngineError` as a render does.
    """

    @property
    def vram(self) -> int:
        """Bytes that it holds on the GPU between renders."""
        ...

    @property
    def ram(self) -> int:
        """Bytes that it holds in RAM between renders."""
        ...

    @property
    def manner(self) -> Mapping[str, str]:
        """What of its placement and speed decides what a seed looks like, for the recipe."""
        ...

    @property
    def can_park(self) -> bool:
        """Whether `park` may be called: weights in 4 bits stay where they were loaded, or go."""
        ...

    async def park(self) -> None:
        """Move to RAM what is on the GPU."""
        ...

    async def wake(self) -> None:
        """Undo `park`, before a render. Raises `NoRoomError` where other models hold the GPU's memory, `SetupError`
        where other programs do.
        """
        ...

    async def close(self) -> None:
        """See `Engine.close`."""
        ...


@runtime_checkable
class Settled(Protocol):
    """An engine that settles what its model's entry leaves open. What it tells of that stays true after `close`."""

    @property
    def entry(self) -> Model:
        """The entry with its numbers filled in, and of every repository the commit that is loaded."""
        ...

    def prompt(self, spec: ClipSpec) -> str:
        """The words that the model reads for a wish; none where it reads none."""
        ...
