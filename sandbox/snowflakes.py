"""Ids that carry their time, as Discord's do: 42 bits of milliseconds since 2015, then 22 bits of count."""

from collections.abc import Callable
from datetime import UTC, datetime

EPOCH_MS = 1_420_070_400_000


class Snowflakes:
    """Hands out ids that only grow, also over a restart when told the last one that was given."""

    def __init__(self, clock: Callable[[], float], after: int = 0) -> None:
        self._clock = clock
        self._last = after

    def next(self) -> int:
        """A new id; its time is now, or just past the previous id where the clock stood still."""
        self._last = max(self._last + 1, at(self._clock()))
        return self._last


def at(seconds: float) -> int:
    """The smallest id of a moment, given in seconds since 1970."""
    return (int(seconds * 1000) - EPOCH_MS) << 22


def seconds_of(snowflake: int) -> float:
    """When an id was made, in seconds since 1970."""
    return ((snowflake >> 22) + EPOCH_MS) / 1000


def iso(seconds: float) -> str:
    """A moment as Discord writes it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")
