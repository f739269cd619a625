"""Rate limits: a bucket for every route and place, and fifty requests a second for the whole application."""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field

from sandbox.records import Json

MOST_BUCKETS = 1000


@dataclass(frozen=True, slots=True)
class Rates:
    """How many requests in how many seconds. Generous, so that a test meets a limit only when it sets one."""

    bucket: int = 40
    bucket_seconds: float = 1.0
    everything: int = 50
    everything_seconds: float = 1.0


@dataclass(slots=True)
class _Window:
    ends: float = 0.0
    used: int = 0

    def take(self, now: float, most: int, seconds: float) -> bool:
        if now >= self.ends:
            self.ends, self.used = now + seconds, 0
        if self.used >= most:
            return False
        self.used += 1
        return True


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a request may go on, and the headers that its answer carries."""

    allowed: bool
    everywhere: bool
    retry_after: float
    headers: dict[str, str]


@dataclass(slots=True)
class Limits:
    """The windows of every bucket. `clock` is in seconds since 1970."""

    rates: Rates
    clock: Callable[[], float]
    _buckets: dict[str, _Window] = field(default_factory=dict[str, _Window])
    _everything: _Window = field(default_factory=_Window)

    def take(self, route: str, major: str, *, counts_everywhere: bool) -> Verdict:
        """Counts a request. `major` is the channel, server or webhook that a route's bucket belongs to.

        `counts_everywhere` is false for interactions and their webhooks, which the application-wide limit leaves out.
        """
        now, rates = self.clock(), self.rates
        if counts_everywhere and not self._everything.take(now, rates.everything, rates.everything_seconds):
            return _refused(self._everything.ends - now, everywhere=True, headers={})
        if len(self._buckets) > MOST_BUCKETS:
            self._buckets = {name: one for name, one in self._buckets.items() if one.ends > now}
        window = self._buckets.setdefault(f"{route} {major}", _Window())
        allowed = window.take(now, rates.bucket, rates.bucket_seconds)
        after = max(0.0, window.ends - now)
        headers = {
            "X-RateLimit-Limit": str(rates.bucket),
            "X-RateLimit-Remaining": str(rates.bucket - window.used),
            "X-RateLimit-Reset": f"{window.ends:.3f}",
            "X-RateLimit-Reset-After": f"{after:.3f}",
            "X-RateLimit-Bucket": hashlib.sha256(route.encode()).hexdigest()[:32],
        }
        return (
            Verdict(allowed=True, everywhere=False, retry_after=0, headers=headers)
            if allowed
            else _refused(after, everywhere=False, headers=headers)
        )


def _refused(after: float, *, everywhere: bool, headers: dict[str, str]) -> Verdict:
    scope = "global" if everywhere else "user"
    return Verdict(
        allowed=False, everywhere=everywhere, retry_after=after, headers=headers | refusal_headers(after, scope)
    )


def slow_down(retry_after: float, *, everywhere: bool) -> Json:
    """The body of a 429."""
    return {"message": "You are being rate limited.", "retry_after": retry_after, "global": everywhere, "code": 0}


def refusal_headers(retry_after: float, scope: str) -> dict[str, str]:
    """The headers of a 429. Without `Via` discord.py takes it for a ban by the proxy in front."""
    headers = {"Retry-After": str(math.ceil(retry_after)), "X-RateLimit-Scope": scope, "Via": "1.1 sandbox"}
    return headers | ({"X-RateLimit-Global": "true"} if scope == "global" else {})
