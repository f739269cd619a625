"""A `/v1/videos` server on loopback, in the three dialects, as the projects' own pages and sources describe them.

It renders nothing: a job is over after so many looks, and its clip is a small file that the tests made.
"""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum, auto

from aiohttp import BodyPartReader, web
from aiohttp.typedefs import Handler

from clips.servers import Dialect, Server


class Trouble(Enum):
    """What goes wrong, each time that it is asked for what the name says."""

    CREATE_BUSY_ONCE = auto()
    CREATE_BUSY = auto()
    CREATE_REFUSED = auto()
    CREATE_CUT = auto()
    CREATE_FAILS = auto()
    DOWN = auto()
    DELETE_FAILS = auto()
    LOOK_FAILS_ONCE = auto()
    LOOKS_FAIL = auto()
    JOB_FAILS = auto()
    JOB_FAILS_AS_500 = auto()
    JOB_ABORTED = auto()
    NEVER_ENDS = auto()
    CONTENT_GONE = auto()
    CONTENT_CUT_ONCE = auto()
    CONTENT_IS_JSON = auto()
    CONTENT_IS_HUGE = auto()
    CONTENT_IS_NOISE = auto()


@dataclass
class Served:
    """A job as the server keeps it."""

    fields: dict[str, str]
    photo: bytes
    looks: int = 0


@dataclass
class FakeServer:
    """`looks`: how often a job is looked at until it is done. `progress`: does it tell any before its end?"""

    dialect: Dialect
    clip: bytes
    looks: int = 2
    progress: bool = False
    key: str | None = None
    trouble: Trouble | None = None
    url: str = ""
    asked: list[str] = field(default_factory=list[str])
    jobs: dict[str, Served] = field(default_factory=dict[str, Served])
    created: list[Served] = field(default_factory=list[Served])

    @property
    def entry(self) -> Server:
        return Server(url=self.url, dialect=self.dialect, key_variable="CLUSTER_KEY" if self.key else None)

    def restart(self) -> None:
        """Forget every job, as all three do: they keep them in memory."""
        self.jobs.clear()

    def _once(self, trouble: Trouble) -> bool:
        happens = self.trouble is trouble
        if happens:
            self.trouble = None
        return happens

    async def health(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def list_all(self, _: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [self._described(name, "queued", 0) for name in self.jobs]})

    async def create(self, request: web.Request) -> web.Response:
        fields: dict[str, str] = {}
        photo = b""
        async for part in await request.multipart():
            assert isinstance(part, BodyPartReader)
            if part.name == "input_reference":
                photo = bytes(await part.read())
            else:
                fields[part.name or ""] = (await part.read()).decode()
        if self._once(Trouble.CREATE_BUSY_ONCE) or self.trouble is Trouble.CREATE_BUSY:
            return web.json_response({"detail": "queue is full"}, status=503, headers={"Retry-After": "0"})
        if self.trouble is Trouble.CREATE_FAILS:
            return web.Response(status=500, text="this photo breaks it")
        if self.trouble is Trouble.CREATE_REFUSED:
            return web.json_response(
                {"error": {"message": f"num_frames must be 4k+1 {self.key or ''}", "code": 400}}, status=400
            )
        if not fields.get("prompt") or not photo:
            return web.json_response({"detail": "prompt and input_reference are required"}, status=400)
        served = Served(fields, photo)
        self.created.append(served)
        external_id = f"video_gen_{len(self.created)}"
        self.jobs[external_id] = served
        if self.trouble is Trouble.CREATE_CUT:
            _cut(request)
        return web.json_response(self._described(external_id, "queued", 0))

    async def look(self, request: web.Request) -> web.Response:
        external_id = request.match_info["id"]
        if self._once(Trouble.LOOK_FAILS_ONCE) or self.trouble is Trouble.LOOKS_FAIL:
            return web.Response(status=502, text="bad gateway")
        served = self.jobs.get(external_id)
        if served is None:
            return web.json_response({"detail": "Video not found"}, status=404)
        served.looks += 1
        if self.trouble is Trouble.JOB_ABORTED:
            return web.json_response(self._described(external_id, "cancelled", 0))
        if self.trouble in {Trouble.JOB_FAILS, Trouble.JOB_FAILS_AS_500}:
            failed = self._described(external_id, "failed", 0) | {"error": {"message": "CUDA out of memory"}}
            return web.json_response(failed, status=500 if self.trouble is Trouble.JOB_FAILS_AS_500 else 200)
        if served.looks >= self.looks and self.trouble is not Trouble.NEVER_ENDS:
            return web.json_response(self._described(external_id, "completed", 100))
        # Two of the three say `queued` until they say `completed`.
        status = "in_progress" if self.dialect is Dialect.VLLM_OMNI else "queued"
        return web.json_response(self._described(external_id, status, 40 + served.looks if self.progress else 0))

    async def content(self, request: web.Request) -> web.StreamResponse:
        if request.match_info["id"] not in self.jobs or self.trouble is Trouble.CONTENT_GONE:
            return web.json_response({"detail": "Generation is still in-progress"}, status=404)
        if self._once(Trouble.CONTENT_CUT_ONCE):
            response = web.StreamResponse(headers={"Content-Type": "video/mp4", "Content-Length": str(len(self.clip))})
            await response.prepare(request)
            await response.write(self.clip[:100])
            _cut(request)
            return response
        if self.trouble is Trouble.CONTENT_IS_JSON:
            return web.json_response({"url": "https://cloud.example.com/clip.mp4"})
        if self.trouble is Trouble.CONTENT_IS_HUGE:
            response = web.StreamResponse(headers={"Content-Type": "video/mp4", "Content-Length": str(2 * 1024**3)})
            await response.prepare(request)
            return response
        body = b"no video at all" if self.trouble is Trouble.CONTENT_IS_NOISE else self.clip
        return web.Response(body=body, content_type="video/mp4")

    async def delete(self, request: web.Request) -> web.Response:
        external_id = request.match_info["id"]
        if self.trouble is Trouble.DELETE_FAILS:
            return web.Response(status=500, text="not now")
        if self.jobs.pop(external_id, None) is None:
            return web.json_response({"detail": "Video not found"}, status=404)
        if self.dialect is Dialect.VLLM_OMNI:
            return web.json_response({"id": external_id, "deleted": True, "object": "video.deleted"})
        return web.json_response(self._described(external_id, "deleted", 0))

    def _described(self, external_id: str, status: str, progress: int) -> dict[str, object]:
        return {
            "id": external_id,
            "object": "video",
            "model": "Wan-AI/Wan2.2-I2V-A14B-Diffusers",
            "status": status,
            "progress": progress,
            "created_at": 1796000000,
            "error": None,
        }

    @web.middleware
    async def note(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Write down what is asked for, and ask for the key."""
        self.asked.append(f"{request.method} {request.path}")
        if self.key and request.headers.get("Authorization") != f"Bearer {self.key}":
            return web.Response(status=401, text=json.dumps({"error": "Unauthorized"}))
        if self.trouble is Trouble.DOWN:
            return web.Response(status=502, text="bad gateway")
        return await handler(request)


def _cut(request: web.Request) -> None:
    assert request.transport is not None
    request.transport.abort()


@asynccontextmanager
async def serving(server: FakeServer) -> AsyncGenerator[FakeServer]:
    """Serve on a free port until the end of the block."""
    app = web.Application(middlewares=[server.note])
    app.router.add_get("/health", server.health)
    app.router.add_get("/v1/videos", server.list_all)
    app.router.add_post("/v1/videos", server.create)
    app.router.add_get("/v1/videos/{id}", server.look)
    app.router.add_get("/v1/videos/{id}/content", server.content)
    app.router.add_delete("/v1/videos/{id}", server.delete)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        await runner.cleanup()
