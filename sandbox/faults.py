"""Trouble on demand: errors, rate limits, delays and cut connections, for the requests that a test names."""

import asyncio
import re
from contextlib import suppress
from dataclasses import dataclass, field

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from sandbox.fields import Fields
from sandbox.limits import refusal_headers, slow_down
from sandbox.replies import reply


@dataclass(slots=True)
class Fault:
    """What to do to the next `times` requests of a method whose path matches. `status` 0 lets the answer stand."""

    method: str
    route: re.Pattern[str]
    times: int
    status: int
    retry_after: float
    everywhere: bool
    scope: str
    body: object
    drop_before: bool
    drop_after: bool
    delay: float


@dataclass(slots=True)
class Faults:
    """The faults that wait for their requests."""

    waiting: list[Fault] = field(default_factory=list[Fault])
    _cleared: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, fields: Fields) -> None:
        """Takes a fault as the test controls describe it."""
        try:
            route = re.compile(fields.text("route", most=500) or "")
        except re.error:
            fields.wrong("route", "REGEX", "Must be a regular expression.")
            route = re.compile("")
        everywhere = fields.flag("global")
        fault = Fault(
            method=(fields.text("method", most=10) or "").upper(),
            route=route,
            times=fields.integer("times", least=1) or 1,
            status=fields.integer("status", least=200, most=599) or 0,
            retry_after=fields.number("retry_after") or 0.0,
            everywhere=everywhere,
            scope=fields.text("scope", most=10) or ("global" if everywhere else "user"),
            body=fields.given.get("body"),
            drop_before=fields.flag("drop_before"),
            drop_after=fields.flag("drop_after"),
            delay=fields.number("delay") or 0.0,
        )
        fields.problems.check()
        self.waiting.append(fault)

    def clear(self) -> None:
        """Forgets what waits, and ends the delays of requests that are under way."""
        self.waiting.clear()
        self._cleared.set()
        self._cleared = asyncio.Event()

    def take(self, method: str, path: str) -> Fault | None:
        """The first fault for a request, one use of it spent."""
        for fault in self.waiting:
            if fault.method in {"", method} and fault.route.search(path):
                fault.times -= 1
                if not fault.times:
                    self.waiting.remove(fault)
                return fault
        return None

    def middleware(self) -> Middleware:
        """Applies faults to the application's requests and to files, never to members and controls."""

        @web.middleware
        async def apply(request: web.Request, handler: Handler) -> web.StreamResponse:
            reachable = request.path.startswith(("/api/", "/cdn/"))
            fault = self.take(request.method, request.path) if reachable else None
            if fault is None:
                return await handler(request)
            if request.content_type == "application/json":
                await request.read()  # what has come in takes effect, though its sender may not wait for that
            with suppress(TimeoutError):
                await asyncio.wait_for(self._cleared.wait(), fault.delay)
            if fault.drop_before:
                return _cut(request)
            if fault.status:
                return _failure(fault)
            response = await handler(request)
            return _cut(request) if fault.drop_after else response

        return apply


def _failure(fault: Fault) -> web.Response:
    if fault.status == 429:
        body = slow_down(fault.retry_after, everywhere=fault.everywhere)
        headers = refusal_headers(fault.retry_after, fault.scope)
    else:
        body, headers = {"message": f"{fault.status}: injected", "code": 0}, {}
    return reply(fault.body or body, status=fault.status, headers=headers)


def _cut(request: web.Request) -> web.Response:
    """Ends the connection; what is returned goes nowhere."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()
