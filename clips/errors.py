"""Failures, in one tree.

`MemberError` is safe to show: it says what happened and what to do. `RetryableError` is worth another attempt.
Anything else is a fault of ours: fatal to the take and logged with its trace.
"""

from datetime import datetime


class ZoetropeError(Exception):
    """The root of every failure that this project raises on purpose."""


class MemberError(ZoetropeError):
    """A refusal in words for the member: what is wrong and what to do.

    `until` is when the refusal ends by itself, where it does.
    """

    def __init__(self, sentence: str, *, until: datetime | None = None) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.until = until


class PhotoError(MemberError):
    """The photo cannot be used; the sentence says why and what would work."""


class VideoUploadError(MemberError):
    """The video that a member uploaded cannot be used; the sentence says why and what would work."""


class RetryableError(ZoetropeError):
    """Something outside failed in a way that another attempt may mend."""


class CancelledError(ZoetropeError):
    """The member cancelled the take while it rendered."""


class LeaseLostError(ZoetropeError):
    """The take belongs to somebody else now: stop, and write nothing more about it."""


class StoppingError(ZoetropeError):
    """The generator has to end before the take does: the take goes back in line."""


class SwitchedOffError(StoppingError):
    """What renders the take is out of order, and the host has been told: the take goes back in line."""


class FatalEngineError(ZoetropeError):
    """The engine's process cannot go on, as after a CUDA error: the take is tried again and the process ends."""


class SetupError(ZoetropeError):
    """The host has to mend something; the sentence says what and how."""


def first_line(error: BaseException) -> str:
    """What a library says in many lines, for a sentence of ours; its kind where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
