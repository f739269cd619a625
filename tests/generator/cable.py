"""The way to a database, as a TCP connection that can be cut and mended."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Self
from urllib.parse import parse_qs, urlsplit


class Cable:
    """Forwards to the Unix socket of a DSN. `dsn` leads through it."""

    def __init__(self, dsn: str) -> None:
        parts = urlsplit(dsn)
        where = parse_qs(parts.query)
        self._socket = f"{where['host'][0]}/.s.PGSQL.{where.get('port', ['5432'])[0]}"
        self._parts = parts
        self.dsn = ""
        self._writers: set[asyncio.StreamWriter] = set()
        self._whole = True

    @classmethod
    @asynccontextmanager
    async def to(cls, dsn: str) -> AsyncGenerator[Self]:
        cable = cls(dsn)
        async with await asyncio.start_server(cable._carry, "127.0.0.1") as server:
            port = server.sockets[0].getsockname()[1]
            cable.dsn = cable._parts._replace(netloc=f"zoetrope@127.0.0.1:{port}", query="").geturl()
            try:
                yield cable
            finally:
                cable._drop()

    @asynccontextmanager
    async def cut(self) -> AsyncGenerator[None]:
        """Every connection breaks, and none can be made, until the end of the block."""
        self._whole = False
        self._drop()
        try:
            yield
        finally:
            self._whole = True

    def _drop(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._whole:
            writer.transport.abort()
            return
        far_reader, far_writer = await asyncio.open_unix_connection(self._socket)
        self._writers |= {writer, far_writer}
        await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
        self._writers -= {writer, far_writer}


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
