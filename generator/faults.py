"""What an error means for its take: whether another attempt may mend it, and what the member and the staff read."""

import traceback
from dataclasses import dataclass

from clips.errors import FatalEngineError, MemberError, RetryableError, SetupError
from clips.ffmpeg import VideoError

_MAY_PASS = (RetryableError, FatalEngineError, SetupError, VideoError, OSError)
_TIRED = "The generator could not finish this after several attempts. Try again later, or pick another model."
_BROKEN = "Something broke in the generator while it rendered this. Try again, or change something."


@dataclass(frozen=True, slots=True)
class Fault:
    """How a take fails. `error` is for the member, `trace` for staff."""

    retry: bool
    error: str
    trace: str


def judge(error: Exception) -> Fault:
    """A `MemberError` speaks for itself and would come again. What is the host's or the network's may pass. All else
    is a fault of ours, which another attempt would repeat.
    """
    trace = "".join(traceback.format_exception(error))
    match error:
        case MemberError():
            return Fault(retry=False, error=error.sentence, trace=trace)
        case _ if isinstance(error, _MAY_PASS):
            return Fault(retry=True, error=_TIRED, trace=trace)
        case _:
            return Fault(retry=False, error=_BROKEN, trace=trace)
