"""A provider on loopback that behaves as Replicate's API pages say, and as badly as a test wants.

It knows what it was asked for and what it charged: one price for each prediction that succeeded.
"""

import asyncio
import json
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any, Self

from aiohttp import web

KEY = "r8_loopback"
_PAGE = 2
Json = dict[str, Any]
_REFUSALS = {
    "401": "You did not pass a valid authentication token",
    "402": "You have insufficient credit to run this model.",
    "403": "You do not have permission to run this model.",
    "422": "- input: Additional property speed is not allowed",
    "429": "Request was throttled. Your rate limit resets in ~0s.",
    "500": "Internal server error",
}


@dataclass
class Provider:
    """`create` and `polls` are what comes next, one word each: see `_create` and `_advance`. Empty: all goes well.

    `output`: what the address of a finished clip gives; see `_output`.
    """

    clip: bytes
    create: deque[str] = field(default_factory=deque[str])
    polls: deque[str] = field(default_factory=deque[str])
    output: str = "clip"
    error: str = "the model fell over"
    key: str = KEY
    account: str = "juno"
    uploads: deque[str] = field(default_factory=deque[str])
    """A status refuses one, an empty word takes it."""
    ailing: bool = False
    """The account does not answer."""
    listing_refused: bool = False
    listing_forgets: bool = False
    listing_grows: int = 0
    """After each of so many pages somebody else's prediction is created, before the next page is asked for."""
    held: bool = False
    """Predictions stay as they are until this is False."""
    files: dict[str, bytes] = field(default_factory=dict[str, bytes])
    deleted: list[str] = field(default_factory=list[str])
    predictions: dict[str, Json] = field(default_factory=dict[str, Json])
    asked: list[str] = field(default_factory=list[str])
    cancelled: list[str] = field(default_factory=list[str])
    address: str = ""
    _numbers: Any = field(default_factory=count)

    @classmethod
    @asynccontextmanager
    async def running(cls, clip: bytes) -> AsyncGenerator[Self]:
        provider = cls(clip)
        app = web.Application(client_max_size=200 * 1024**2, middlewares=[provider._guarded])
        app.add_routes(
            [
                web.get("/v1/account", provider._account),
                web.post("/v1/files", provider._upload),
                web.delete("/v1/files/{id}", provider._delete),
                web.get("/v1/models/{owner}/{name}/versions", provider._versions),
                web.post("/v1/predictions", provider._created),
                web.get("/v1/predictions", provider._list),
                web.get("/v1/predictions/{id}", provider._polled),
                web.post("/v1/predictions/{id}/cancel", provider._cancel),
                web.get("/out/{id}.mp4", provider._output),
            ]
        )
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        provider.address = f"http://{host}:{port}"
        try:
            yield provider
        finally:
            await runner.cleanup()

    @property
    def paid(self) -> int:
        """How many clips the host pays for."""
        return sum(one["status"] == "succeeded" for one in self.predictions.values())

    @property
    def inputs(self) -> list[Json]:
        return [one["input"] for one in self.predictions.values()]

    @web.middleware
    async def _guarded(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        self.asked.append(f"{request.method} {request.path}")
        if request.path.startswith("/v1/") and request.headers.get("Authorization") != f"Bearer {self.key}":
            return _said(401, _REFUSALS["401"])
        return await handler(request)

    async def _account(self, request: web.Request) -> web.Response:
        if self.ailing:
            return _said(503, "try again")
        return web.json_response({"type": "user", "username": self.account})

    async def _upload(self, request: web.Request) -> web.Response:
        if word := self.uploads.popleft() if self.uploads else "":
            return _said(int(word), "try again")
        reader = await request.multipart()
        part: Any = await reader.next()
        assert part is not None and part.name == "content"
        file_id = f"file-{next(self._numbers)}"
        self.files[file_id] = await part.read()
        urls = {"get": f"{self.address}/v1/files/{file_id}"}
        return web.json_response({"id": file_id, "urls": urls, "size": len(self.files[file_id])}, status=201)

    async def _delete(self, request: web.Request) -> web.Response:
        self.deleted.append(request.match_info["id"])
        return web.Response(status=204)

    async def _versions(self, request: web.Request) -> web.Response:
        return web.json_response({"results": [{"id": "0" * 64}, {"id": "7a673cec" + "1" * 56}], "next": None})

    async def _created(self, request: web.Request) -> web.StreamResponse:
        """`cut` and a status refuse. With ` after` it is created all the same, and its answer is lost, or `garbled`."""
        word, _, after = (self.create.popleft() if self.create else "").partition(" ")
        created = self._new(await request.json()) if after or not word else None
        if word == "cut":
            assert request.transport is not None
            request.transport.abort()
        if word in _REFUSALS:
            return _said(int(word), _REFUSALS[word])
        return web.Response(body=b"<html>", status=201) if word else web.json_response(created, status=201)

    def _new(self, body: Json) -> Json:
        prediction_id = f"p{next(self._numbers)}"
        self.predictions[prediction_id] = {
            "id": prediction_id,
            "version": body["version"],
            "input": body["input"],
            "webhook": body.get("webhook"),
            "webhook_events_filter": body.get("webhook_events_filter"),
            "status": "starting",
            "output": None,
            "error": None,
            "metrics": {},
            "created_at": _now(),
            "completed_at": None,
        }
        return self.predictions[prediction_id]

    async def _list(self, request: web.Request) -> web.Response:
        if self.listing_refused:
            return _said(403, _REFUSALS["403"])
        start = int(request.query.get("cursor", 0))
        newest_first = list(self.predictions.values())[::-1]
        page = newest_first[start : start + _PAGE]
        if self.listing_forgets:
            page = [{**one, "input": None, "data_removed": True} for one in page]
        more = start + _PAGE < len(newest_first)
        if self.listing_grows:
            self.listing_grows -= 1
            self._new({"version": "0" * 64, "input": {}})
        following = f"{self.address}/v1/predictions?cursor={start + _PAGE}" if more else None
        return web.json_response({"previous": None, "next": following, "results": page})

    async def _polled(self, request: web.Request) -> web.Response:
        """A word: the next status, `500`, `429`, `404`; `lost`: succeeded, and the output is removed already."""
        prediction = self.predictions.get(request.match_info["id"])
        word = self.polls.popleft() if self.polls else "succeeded"
        if prediction is None or word == "404":
            return _said(404, "Prediction not found")
        if word in {"500", "429"}:
            return _said(int(word), "Your rate limit resets in ~0s.")
        if not self.held and prediction["completed_at"] is None:
            self._advance(prediction, word)
        return web.json_response(prediction)

    def _advance(self, prediction: Json, word: str) -> None:
        status = "succeeded" if word == "lost" else word
        prediction["status"] = status
        if status in {"starting", "processing", "queued"}:
            return
        prediction["completed_at"] = _now()
        prediction["metrics"] = {"predict_time": 10.0}
        if word == "succeeded":
            prediction["output"] = f"{self.address}/out/{prediction['id']}.mp4"
        elif word == "lost":
            prediction["data_removed"] = True
        elif word not in {"canceled", "aborted"}:
            prediction["error"] = self.error

    async def _cancel(self, request: web.Request) -> web.Response:
        prediction = self.predictions[request.match_info["id"]]
        self.cancelled.append(prediction["id"])
        if prediction["completed_at"] is None:
            # A cancel before the start ends as `aborted`.
            self._advance(prediction, "aborted" if prediction["status"] == "starting" else "canceled")
        return web.json_response(prediction)

    async def _output(self, request: web.Request) -> web.StreamResponse:
        match self.output:
            case "clip":
                return web.Response(body=self.clip, content_type="video/mp4")
            case "gone":
                raise web.HTTPGone
            case "page":
                return web.Response(text="<html>", content_type="text/html")
            case "rubbish":
                return web.Response(body=bytes(4096), content_type="video/mp4")
            case "cut short":
                return web.Response(body=self.clip[: len(self.clip) // 2], content_type="video/mp4")
            case "huge":
                response = web.StreamResponse(headers={"Content-Type": "video/mp4", "Content-Length": str(2 * 1024**3)})
                await response.prepare(request)
                await asyncio.sleep(0)
                return response
            case "inwards":
                raise web.HTTPFound("http://169.254.169.254/latest/meta-data/")
            case "flaky":
                self.output = "clip"
                return web.Response(status=503)
            case other:
                raise AssertionError(other)


def _said(status: int, detail: str) -> web.Response:
    return web.Response(text=json.dumps({"title": "", "detail": detail, "status": status}), status=status)


def _now() -> str:
    return datetime.now(UTC).isoformat()
