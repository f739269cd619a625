"""A websocket's outgoing JSON, sent in order without making anyone wait."""

import asyncio

from aiohttp import web

from sandbox.records import Json


class Outbox:
    """Queues what is put and sends it for as long as the socket lives."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket
        self._waiting: asyncio.Queue[Json] = asyncio.Queue()
        self._task = asyncio.create_task(self._drain())

    def put(self, told: Json | None) -> None:
        if told is not None:
            self._waiting.put_nowait(told)

    def close(self) -> None:
        self._task.cancel()

    async def _drain(self) -> None:
        while True:
            told = await self._waiting.get()
            try:
                await self._socket.send_json(told)
            except ConnectionError:
                return
