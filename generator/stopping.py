"""How a generator is told to end: asked once, it finishes its take within a bound; asked again, it stops at once."""

import asyncio
import signal


class Stopping:
    """`asked`: claim no more. `due`: what still renders has to stop now."""

    def __init__(self, bound: float) -> None:
        """`bound`: seconds from being asked until it is due."""
        self.asked = asyncio.Event()
        self.due = asyncio.Event()
        self._bound = bound

    def ask(self) -> None:
        """Ask to end; the second time, at once."""
        if self.asked.is_set():
            self.due.set()
        else:
            self.asked.set()
            asyncio.get_running_loop().call_later(self._bound, self.due.set)

    def on_signals(self) -> None:
        """Take SIGTERM and Ctrl-C for being asked."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.ask)
