"""Bars in the terminal for the takes of a request. Reads nothing: it is shown the request as often as it changes."""

import math
from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from clips.domain import TakeState
from clips.requests import Take, WholeRequest
from courier.cards import doing

_WORDS = {
    TakeState.WAITING: "waiting",
    TakeState.READY: "next",
    TakeState.BACKOFF: "a fault; trying again soon",
    TakeState.PARKED: "waiting for a generator",
    TakeState.DONE: "done",
    TakeState.FAILED: "failed",
    TakeState.CANCELLED: "cancelled",
}


@contextmanager
def take_bars(console: Console, *, transient: bool = False) -> Generator[Callable[[WholeRequest], None]]:
    """A bar for each take of what the yielded function is called with. `transient`: they go at the end of the block."""
    columns = TextColumn("{task.description}"), BarColumn(16), TextColumn("{task.fields[words]}"), TimeElapsedColumn()
    bars: dict[int, TaskID] = {}
    # Where nothing can be drawn over, only what stays is printed.
    hidden = transient and not console.is_terminal
    with Progress(*columns, console=console, transient=transient, disable=hidden) as progress:

        def show(whole: WholeRequest) -> None:
            for take in whole.takes:
                if take.index not in bars:
                    bars[take.index] = progress.add_task(f"take {take.index}", total=1, words="")
                total = take.total or 1
                progress.update(
                    bars[take.index],
                    total=total,
                    completed=total if take.state is TakeState.DONE else take.done,
                    words=_words(take),
                )
                if take.state.final:
                    progress.stop_task(bars[take.index])

        yield show


def _words(take: Take) -> str:
    if take.state is not TakeState.RUNNING:
        return _WORDS[take.state]
    return doing(take) if take.seconds_left is None else f"{doing(take)}, about {_lasting(take.seconds_left)} left"


def _lasting(seconds: float) -> str:
    """`5 s`, `85 s`, `3 min`: rounded up, so that nothing is ever said to be over before it is."""
    return f"{max(math.ceil(seconds / 5), 1) * 5} s" if seconds <= 120 else f"{math.ceil(seconds / 60)} min"
