"""Whether work can be done just now: a key that is refused, a server that is down, or weights that cannot be loaded
close the gate of their models. They are not announced then, the host is told why, and the gate opens by itself once its
check passes.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import NoReturn

from clips.errors import RetryableError, SetupError, SwitchedOffError, ZoetropeError

log = logging.getLogger(__name__)

_FIRST = 30.0
_LONGEST = 900.0


class Gate:
    """One provider or server, or a model of this machine. `trouble` says what the host has to mend, for as long as the
    gate is closed.

    `check` raises `SetupError` or `RetryableError` while it has to stay closed. Not every trouble shows in a check: a
    gate that closes again soon after it opened stays closed for longer.
    """

    def __init__(
        self, name: str, check: Callable[[], Awaitable[None]], *, first: float = _FIRST, unseen: bool = False
    ) -> None:
        """`first`: seconds from its closing to the check. `unseen`: closed, without trouble, until its first check."""
        self.name = name
        self.trouble: str | None = None
        self._check = check
        self._first = first
        self._pause = first
        self._closings = 0
        self._closed = asyncio.Event()
        self._opened = asyncio.Event()
        if not unseen:
            self._opened.set()

    @property
    def open(self) -> bool:
        return self._opened.is_set()

    def close(self, why: str) -> SwitchedOffError:
        """Take no more work. Returns what gives the take under way back."""
        if self.trouble != why:
            log.error("%s is switched off: %s", self.name, why)
        self.trouble = why
        self._closings += 1
        self._opened.clear()
        self._closed.set()
        return SwitchedOffError(f"{self.name} is switched off: {why}")

    async def blame(self, error: ZoetropeError) -> ZoetropeError:
        """What to raise after an error that one take met: it closes the gate if the check fails too. If not, others may
        fare better, and the error is the take's own.
        """
        try:
            await self._check()
        except (SetupError, RetryableError):
            return self.close(str(error))
        return error

    def refuse(self, error: ZoetropeError) -> ZoetropeError:
        """Close after work that the check did not see would fail, and return what to raise: what gives the take back.
        Once that went on for so long that the pause cannot grow, the error itself: no take is tried for ever.
        """
        switched_off = self.close(str(error))
        return error if self._pause >= _LONGEST else switched_off

    def prove(self) -> None:
        """Work was taken: all is well, and the next trouble is a new one."""
        self._pause = self._first

    async def examine(self) -> None:
        """Check now; close or open accordingly. What was closed meanwhile stays so: the check may have seen what was
        there before.
        """
        before = self._closings
        try:
            await self._check()
        except (SetupError, RetryableError) as error:
            self.close(str(error))
        else:
            if self._closings == before:
                self._open()

    async def opens(self) -> None:
        """Wait until the gate is open."""
        await self._opened.wait()

    async def keep(self) -> NoReturn:
        """Open the gate again whenever it was closed and its check passes."""
        while True:
            await self._closed.wait()
            await asyncio.sleep(self._pause)
            self._pause = min(2 * self._pause, _LONGEST)
            await self.examine()

    def _open(self) -> None:
        if self.trouble is not None:
            log.warning("%s is on again.", self.name)
        self.trouble = None
        self._closed.clear()
        self._opened.set()
