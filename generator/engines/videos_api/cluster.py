"""A model on a server of the host's own, as the generator has it: its engine, its gate, and what takes left behind."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Self

from clips import hosted_jobs
from clips.catalog import Model
from clips.postgres import Pool
from generator.engines.base import Context, Engine
from generator.engines.gates import Gate
from generator.engines.upkeep import keep
from generator.engines.videos_api.engine import VideosApiEngine
from generator.engines.videos_api.server import VideoServer


class Cluster:
    """Gives the engine of its one model; nothing of it is in memory here. `keep` runs beside it."""

    def __init__(self, model: Model, server: VideoServer, pool: Pool) -> None:
        self._model = model
        self._server = server
        self._pool = pool
        self.gate = Gate(f"{model.name} on {server.name}", server.check)
        self.loaded: list[str] = []

    @classmethod
    @asynccontextmanager
    async def open(cls, model: Model, pool: Pool) -> AsyncGenerator[Self]:
        """The model, not offered while its server is down. Raises `SetupError` where the server's key is missing."""
        async with VideoServer.of(model) as server:
            cluster = cls(model, server, pool)
            await cluster.gate.examine()
            yield cluster

    async def engine(self, model: Model, context: Context) -> Engine:
        """The model's engine. Nothing is loaded, so there is nothing to cancel."""
        del context
        return VideosApiEngine(model, self._server, self.gate)

    async def keep(self) -> None:
        """Open the gate when the server is back, and have it forget what is over, for ever."""
        await keep(self.gate, self.tidy)

    async def tidy(self) -> None:
        """Have the server forget the jobs of takes that are over, and with them the members' photos and clips. What it
        does not hear of now comes again.
        """
        for job in await hosted_jobs.over(self._pool, self._model.renderer):
            if job.external_id is None or await self._server.abort(job.external_id):
                await hosted_jobs.forget(self._pool, job.take_id, job.external_id)
