"""The gateway: websocket sessions that hear what happens, in order, and can be resumed after a cut."""

import asyncio
import json
import secrets
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import cast

from aiohttp import WSMsgType, web

from sandbox import dispatch, wire
from sandbox.compression import Compressor, compressor_for
from sandbox.dispatch import Dispatch
from sandbox.events import Event, WorldChanged
from sandbox.records import Json
from sandbox.world import World

HEARTBEAT_MS = 41_250
MOST_KEPT = 1000
SESSION_SECONDS = 180
PRIVILEGED_INTENTS = 1 << 1 | 1 << 8 | 1 << 15
ALL_INTENTS = (1 << 26) - 1


class Op(IntEnum):
    """What a gateway frame is."""

    DISPATCH = 0
    HEARTBEAT = 1
    IDENTIFY = 2
    PRESENCE = 3
    VOICE_STATE = 4
    RESUME = 6
    RECONNECT = 7
    INVALID_SESSION = 9
    HELLO = 10
    HEARTBEAT_ACK = 11


class Close(IntEnum):
    """Why the gateway hangs up."""

    UNKNOWN_OPCODE = 4001
    DECODE_ERROR = 4002
    NOT_AUTHENTICATED = 4003
    AUTHENTICATION_FAILED = 4004
    ALREADY_AUTHENTICATED = 4005
    INVALID_SEQUENCE = 4007
    SESSION_TIMED_OUT = 4009
    INVALID_SHARD = 4010
    INVALID_INTENTS = 4013
    DISALLOWED_INTENTS = 4014


class HangUp(Exception):  # noqa: N818 - the normal end of a bad conversation
    """Close this connection with a code."""

    def __init__(self, code: Close) -> None:
        super().__init__(code.name)
        self.code = code


@dataclass(slots=True, eq=False)
class Session:
    """What an identified client has been told. It outlives its connection, so that it can be resumed."""

    id: str
    shard: int
    shards: int
    intents: int
    sequence: int = 0
    told: deque[tuple[int, str]] = field(default_factory=lambda: deque(maxlen=MOST_KEPT))
    connection: "Connection | None" = None

    def tell(self, one: Dispatch) -> None:
        """Numbers an event, keeps it for a resume, and sends it if someone listens."""
        self.sequence += 1
        frame = json.dumps({"op": Op.DISPATCH, "t": one.name, "s": self.sequence, "d": one.body})
        self.told.append((self.sequence, frame))
        if self.connection is not None:
            self.connection.send(frame)


class Connection:
    """One websocket: a queue of frames, sent in order through one compression stream."""

    def __init__(self, socket: web.WebSocketResponse, transport: asyncio.Transport, compressor: Compressor) -> None:
        self.socket = socket
        self.transport = transport
        self._compressor = compressor
        self._frames: asyncio.Queue[str] = asyncio.Queue()

    def send(self, frame: str | Json) -> None:
        self._frames.put_nowait(frame if isinstance(frame, str) else json.dumps(frame))

    async def drain(self) -> None:
        """Sends what is queued, for as long as the connection lives."""
        while True:
            frame = await self._frames.get()
            try:
                packed = self._compressor(frame.encode())
                await (self.socket.send_str(frame) if packed is None else self.socket.send_bytes(packed))
            except ConnectionError:
                return

    def cut(self) -> None:
        """Ends the connection without a goodbye."""
        self.transport.abort()


class Gateway:
    """All sessions and connections."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._sessions: dict[str, Session] = {}
        self._connections: set[Connection] = set()
        self._refuse_until = 0.0
        world.events.listen(self._hear)

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/gateway", self.connect), web.get("/gateway/", self.connect)]

    async def connect(self, request: web.Request) -> web.StreamResponse:
        """One websocket conversation, from HELLO to the end."""
        compressor = compressor_for(request.query.get("compress", ""))
        refused = asyncio.get_running_loop().time() < self._refuse_until
        if refused or compressor is None:
            return web.Response(status=503 if refused else 400, text="The gateway does not take this connection.")
        socket = web.WebSocketResponse(max_msg_size=16 * 1024, autoping=True)
        await socket.prepare(request)
        connection = Connection(socket, cast("asyncio.Transport", request.transport), compressor)
        self._connections.add(connection)
        sender = asyncio.create_task(connection.drain())
        session: Session | None = None
        try:
            connection.send({"op": Op.HELLO, "d": {"heartbeat_interval": HEARTBEAT_MS}, "s": None, "t": None})
            async for frame in _frames(socket):
                session = self._handle(frame, connection, session)
        except HangUp as hang_up:
            await socket.close(code=hang_up.code, message=hang_up.code.name.lower().replace("_", " ").encode())
        finally:
            sender.cancel()
            self._connections.discard(connection)
            self._leave(session, connection)
        return socket

    def drop(self) -> None:
        """Cuts every connection. Sessions stay, to be resumed."""
        for connection in tuple(self._connections):
            connection.cut()

    def refuse(self, seconds: float) -> None:
        """Takes no new connection for a while."""
        self._refuse_until = asyncio.get_running_loop().time() + seconds

    def ask_to_reconnect(self) -> None:
        for connection in tuple(self._connections):
            connection.send({"op": Op.RECONNECT, "d": None})

    def invalidate(self, *, resumable: bool) -> None:
        if not resumable:
            self._sessions.clear()
        for connection in tuple(self._connections):
            connection.send({"op": Op.INVALID_SESSION, "d": resumable})

    async def close(self) -> None:
        """Says goodbye to every client, so that it comes back when the server does."""
        for connection in tuple(self._connections):
            await connection.socket.close(code=1001, message=b"going away")

    def _handle(self, frame: Json, connection: Connection, session: Session | None) -> Session | None:
        """Answers one frame; the session that the connection has then."""
        op, body = frame.get("op"), frame.get("d")
        if op == Op.HEARTBEAT:
            connection.send({"op": Op.HEARTBEAT_ACK, "d": None})
            return session
        if op in {Op.IDENTIFY, Op.RESUME}:
            if session is not None:
                raise HangUp(Close.ALREADY_AUTHENTICATED)
            if not isinstance(body, dict):
                raise HangUp(Close.DECODE_ERROR)
            if str(body.get("token")).removeprefix("Bot ") != self._world.token:
                raise HangUp(Close.AUTHENTICATION_FAILED)
            return self._identify(body, connection) if op == Op.IDENTIFY else self._resume(body, connection)
        if session is None:
            raise HangUp(Close.NOT_AUTHENTICATED)
        if op not in {Op.PRESENCE, Op.VOICE_STATE}:
            raise HangUp(Close.UNKNOWN_OPCODE)
        return session

    def _identify(self, body: Json, connection: Connection) -> Session:
        session = Session(secrets.token_hex(16), *_shard(body.get("shard", [0, 1])), _intents(body.get("intents")))
        self._sessions[session.id] = session
        self._join(session, connection)
        world = self._world
        guilds = [one for one in world.guilds() if session.shards and (one.id >> 22) % session.shards == session.shard]
        ready: Json = {
            "v": 10,
            "user": wire.user(world.bot) | {"mfa_enabled": False, "verified": True, "email": None},
            "guilds": [{"id": str(one.id), "unavailable": True} for one in guilds],
            "session_id": session.id,
            "resume_gateway_url": f"{world.address.replace('http', 'ws', 1)}/gateway",
            "shard": [session.shard, session.shards],
            "application": {"id": str(world.app.id), "flags": 0},
            "private_channels": [],
            "relationships": [],
            "presences": [],
            "user_settings": {},
        }
        session.tell(Dispatch("READY", ready))
        for guild in guilds:
            session.tell(Dispatch("GUILD_CREATE", dispatch.guild_create(world, guild)))
        return session

    def _resume(self, body: Json, connection: Connection) -> Session | None:
        """Replays what a session missed; a session that is gone, or missed too much, has to start anew."""
        session = self._sessions.get(str(body.get("session_id")))
        seen = body.get("seq")
        if session is None or not isinstance(seen, int):
            connection.send({"op": Op.INVALID_SESSION, "d": False})
            return None
        if seen > session.sequence:
            raise HangUp(Close.INVALID_SEQUENCE)
        if session.told and session.told[0][0] > seen + 1:
            connection.send({"op": Op.INVALID_SESSION, "d": False})
            return None
        if session.connection is not None:
            session.connection.cut()
        for sequence, frame in session.told:
            if sequence > seen:
                connection.send(frame)
        self._join(session, connection)
        session.tell(Dispatch("RESUMED", {}))
        return session

    def _join(self, session: Session, connection: Connection) -> None:
        session.connection = connection
        self._tell_presence()

    def _leave(self, session: Session | None, connection: Connection) -> None:
        if session is None or session.connection is not connection:
            return
        session.connection = None
        self._world.later(SESSION_SECONDS, lambda: self._forget(session))
        # A client that says goodbye in the ordinary way gives its session up.
        if connection.socket.close_code in {1000, 1001}:
            self._sessions.pop(session.id, None)
        self._tell_presence()

    def _forget(self, session: Session) -> None:
        if session.connection is None:
            self._sessions.pop(session.id, None)

    def _tell_presence(self) -> None:
        online = any(session.connection is not None for session in self._sessions.values())
        if online != self._world.online:
            self._world.online = online
            self._world.events.publish(WorldChanged())

    def _hear(self, event: Event) -> None:
        """Tells an event to the sessions that it concerns."""
        for one in dispatch.of_event(self._world, event):
            for session in tuple(self._sessions.values()):
                on_shard = (one.guild_id >> 22) % session.shards == session.shard
                if on_shard and (not one.intent or session.intents & one.intent):
                    session.tell(one)


async def _frames(socket: web.WebSocketResponse) -> AsyncGenerator[Json]:
    """The client's frames until it goes; a client that is silent for too long is hung up on."""
    while True:
        try:
            message = await socket.receive(timeout=HEARTBEAT_MS / 1000 * 1.5)
        except TimeoutError:
            raise HangUp(Close.SESSION_TIMED_OUT) from None
        if message.type is not WSMsgType.TEXT:
            return
        try:
            frame = json.loads(message.data)
        except ValueError:
            raise HangUp(Close.DECODE_ERROR) from None
        if not isinstance(frame, dict):
            raise HangUp(Close.DECODE_ERROR)
        yield frame


def _shard(given: object) -> tuple[int, int]:
    if isinstance(given, list) and len(given) == 2 and all(isinstance(one, int) for one in given):
        shard, shards = given
        if 0 <= shard < shards:
            return shard, shards
    raise HangUp(Close.INVALID_SHARD)


def _intents(given: object) -> int:
    if not isinstance(given, int) or not 0 <= given <= ALL_INTENTS:
        raise HangUp(Close.INVALID_INTENTS)
    if given & PRIVILEGED_INTENTS:
        raise HangUp(Close.DISALLOWED_INTENTS)
    return given
