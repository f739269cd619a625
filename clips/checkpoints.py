"""Named moments at which a process may die. The crash tests kill it at each and then read the invariants."""

import os
import signal
from dataclasses import dataclass
from enum import StrEnum


class Checkpoint(StrEnum):
    """In the order in which a request meets them. Bot: intake stored, held. Generator: the rest.

    A hosted take meets intended to fetched in the place of rendering.
    """

    INTAKE_STORED = "intake-stored"
    HELD = "held"
    CLAIMED = "claimed"
    RENDERING = "rendering"
    INTENDED = "intended"
    CREATED = "created"
    REMEMBERED = "remembered"
    FETCHED = "fetched"
    ENCODED = "encoded"
    STORED = "stored"
    RECORDED = "recorded"
    POSTED_NOT_MARKED = "posted-not-marked"


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """`at` comes from `ZOETROPE_KILL_AT`; without it nothing ever happens here."""

    at: str | None = None

    def reached(self, checkpoint: Checkpoint) -> None:
        """Die as by `kill -9` if this is the checkpoint chosen."""
        if self.at == checkpoint:
            os.kill(os.getpid(), signal.SIGKILL)
