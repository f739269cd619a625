"""One take under way, as three threads see it: the engine reports, the heartbeat learns, the worker decides.

Plain attributes, each replaced as a whole by one thread at a time: nothing here needs a lock.
"""

from asyncio import Event
from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta
from time import monotonic

from clips.domain import Progress
from clips.errors import CancelledError, LeaseLostError, StoppingError
from clips.queue import Beat, Claim


class Watch:
    """The engine's `Context` for one claim."""

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        self.progress = Progress("load", 0, 0)
        self.rendered = Event()
        """The worker's own: the engine is free again, and what is left of the take does not need it."""
        self._moved_at = monotonic()
        self._heard = Beat.OURS
        self._stopping = False
        self._began_at: float | None = None
        self._measured = 0.0

    def report(self, phase: str, done: int, total: int) -> None:
        """Tell progress; see `Context`."""
        self.progress = Progress(phase, done, total)
        self.stir()

    def stir(self) -> None:
        """Show that the take goes on, where there is no progress to tell."""
        self._moved_at = monotonic()

    def raise_if_cancelled(self) -> None:
        """Raise for the first reason to stop: `LeaseLostError`, `CancelledError`, `StoppingError`."""
        if self._heard is Beat.CANCEL:
            raise CancelledError(f"take {self.claim.take_id} was cancelled")
        self.raise_if_over()

    def raise_if_over(self) -> None:
        """Raise if there is nothing left to finish here, not even a cancel: `LeaseLostError`, `StoppingError`."""
        if self._heard is Beat.LOST:
            raise LeaseLostError(f"take {self.claim.take_id} belongs to another generator now")
        if self._stopping:
            raise StoppingError(f"take {self.claim.take_id} is stopped and goes back in line")

    def learn(self, beat: Beat) -> None:
        """What a heartbeat brought back."""
        self._heard = beat

    def stop(self) -> None:
        """The generator has to end: `raise_if_cancelled` raises from now on."""
        self._stopping = True

    @property
    def idle(self) -> float:
        """Seconds since the last sign of progress."""
        return monotonic() - self._moved_at

    @contextmanager
    def measuring(self) -> Generator[None]:
        """Measure what the block takes as the take's GPU time."""
        self._began_at = monotonic()
        try:
            yield
        finally:
            self._measured = self.gpu.total_seconds()
            self._began_at = None

    @property
    def gpu(self) -> timedelta:
        """GPU time so far, by the wall."""
        running = 0.0 if self._began_at is None else monotonic() - self._began_at
        return timedelta(seconds=self._measured + running)
