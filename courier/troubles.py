"""What becomes of a delivery that failed: pure judgement over what Discord or the network answered."""

import random
from dataclasses import dataclass
from datetime import timedelta

import aiohttp
import discord

from clips.errors import RetryableError, ZoetropeError

_GONE = {
    10003: "The channel was deleted.",
    10004: "The bot is no longer in this server. Invite it again.",
    10008: "The message was deleted in its channel.",
    50001: "The bot no longer sees this channel. Give it View Channel there.",
}
"""Discord's error codes after which a message can never be posted, or no more."""

_MISSING_PERMISSIONS = 50013
_PATIENCE = (60, 300, 900, 1800)
"""Seconds before each further attempt where a person has to mend something; then it is given up."""


@dataclass(frozen=True, slots=True)
class Later:
    """Worth another attempt after a pause. `refused`: a person has to mend something first."""

    pause: timedelta
    why: str
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Never:
    """No attempt will help; `why` is for staff, and says what to do where there is something to do."""

    why: str


def is_too_large(error: discord.HTTPException) -> bool:
    """Did Discord refuse the size of a file?"""
    return error.status == 413 or error.code == 40005


def judge(error: Exception, attempts: int, refusals: int) -> Later | Never | None:
    """What to do after an error, with so many outages and refusals before it. None: it is a fault of ours."""
    match error:
        case discord.RateLimited():
            return Later(timedelta(seconds=error.retry_after), "Discord asks us to wait")
        case discord.HTTPException():
            return _refused(error, attempts, refusals)
        case aiohttp.ClientError() | OSError() | RetryableError():
            return _soon(attempts, error)
        case ZoetropeError():
            return _with_patience(refusals, f"The clip could not be prepared for this channel: {error}")
        case _:
            return None


def _refused(error: discord.HTTPException, attempts: int, refusals: int) -> Later | Never:
    if error.code in _GONE:
        return Never(_GONE[error.code])
    if error.status >= 500 or error.status in {401, 408, 429}:
        return _soon(attempts, error)
    if error.code == _MISSING_PERMISSIONS:
        return _with_patience(
            refusals,
            "The bot may not post here. In this channel it needs View Channel, Send Messages, Attach Files and Read "
            "Message History.",
        )
    return _with_patience(refusals, f"Discord refused the message ({error.status}, {error.code}): {error.text}")


def _soon(attempts: int, error: Exception) -> Later:
    pause = min(2.0 * 2 ** min(attempts, 10), 300.0)
    spread = random.uniform(0.75, 1.25)  # noqa: S311 - spreads rivals, guards nothing
    return Later(timedelta(seconds=pause * spread), str(error) or type(error).__name__)


def _with_patience(refusals: int, why: str) -> Later | Never:
    if refusals >= len(_PATIENCE):
        return Never(why)
    return Later(timedelta(seconds=_PATIENCE[refusals]), why, refused=True)
