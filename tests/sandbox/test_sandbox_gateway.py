"""The gateway: hello to goodbye, compression, resuming, shards, several connections, and hang-ups with their codes."""

import asyncio
import json
import zlib
from typing import Any

import aiohttp
import pytest
from people import Controls, Person, Rest

from sandbox import seed
from sandbox.server import Sandbox

Json = dict[str, Any]
TOKEN = "sandbox"


class Client:
    """A gateway client by hand."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, *, compressed: bool = False) -> None:
        self.socket = socket
        self._stream = zlib.decompressobj() if compressed else None

    async def frame(self) -> Json:
        message = await asyncio.wait_for(self.socket.receive(), 30)
        if message.type is aiohttp.WSMsgType.BINARY and self._stream:
            assert message.data.endswith(b"\x00\x00\xff\xff")
            return json.loads(self._stream.decompress(message.data))
        assert message.type is aiohttp.WSMsgType.TEXT, message
        return json.loads(message.data)

    async def until(self, name: str) -> Json:
        """The body of the next event with a name."""
        while True:
            frame = await self.frame()
            if frame.get("t") == name:
                return frame["d"]

    async def say(self, op: int, body: object) -> None:
        await self.socket.send_json({"op": op, "d": body})

    async def identify(self, **more: Any) -> Json:
        await self.say(2, {"token": TOKEN, "intents": 1, "properties": {}, **more})
        return await self.until("READY")

    async def code(self) -> int | None:
        """The code with which the gateway hangs up."""
        while (await asyncio.wait_for(self.socket.receive(), 30)).type is aiohttp.WSMsgType.TEXT:
            pass
        return self.socket.close_code


@pytest.fixture
async def client(session: aiohttp.ClientSession):
    async with session.ws_connect("/gateway?v=10&encoding=json") as socket:
        yield Client(socket)


async def test_hello_ready_guilds_and_heartbeats(client: Client, rest: Rest, box: Sandbox):
    _, where = await rest("GET", "/gateway/bot")
    assert where["url"] == box.address.replace("http", "ws") + "/gateway"
    assert where["session_start_limit"]["max_concurrency"] == 1
    assert (await client.frame())["d"]["heartbeat_interval"] > 0
    assert not box.world.online
    ready = await client.identify()
    assert ready["user"]["id"] == str(seed.BOT.id) and ready["shard"] == [0, 1]
    guilds = [await client.until("GUILD_CREATE") for _ in ready["guilds"]]
    assert {one["name"] for one in guilds} == {"Lantern House", "Night Shift"}
    assert [one["user"]["username"] for one in guilds[0]["members"]] == ["zoetrope"]
    assert guilds[0]["member_count"] == 4
    await client.say(1, 3)
    assert (await client.frame())["op"] == 11
    assert box.world.online


async def test_one_zlib_stream_a_connection(session: aiohttp.ClientSession):
    async with session.ws_connect("/gateway?v=10&encoding=json&compress=zlib-stream") as socket:
        client = Client(socket, compressed=True)
        assert (await client.frame())["op"] == 10
        assert (await client.identify(compress=True))["session_id"]


async def test_an_unknown_compression_is_refused(session: aiohttp.ClientSession):
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await session.ws_connect("/gateway?compress=lzma-stream")


@pytest.mark.parametrize(
    ("op", "body", "code"),
    [
        (2, {"token": "wrong", "intents": 1}, 4004),
        (2, {"token": TOKEN, "intents": 1 << 1}, 4014),
        (2, {"token": TOKEN, "intents": 1 << 15}, 4014),
        (2, {"token": TOKEN, "intents": 1 << 40}, 4013),
        (2, {"token": TOKEN}, 4013),
        (2, {"token": TOKEN, "intents": 1, "shard": [2, 2]}, 4010),
        (2, None, 4002),
        (3, {}, 4003),
        (77, {}, 4003),
    ],
)
async def test_bad_conversations_end_with_their_code(client: Client, op: int, body: object, code: int):
    await client.say(op, body)
    assert await client.code() == code


async def test_bad_frames_end_with_their_code(client: Client):
    await client.identify()
    await client.say(2, {"token": TOKEN, "intents": 1})
    assert await client.code() == 4005


@pytest.mark.parametrize(("text", "code"), [("{", 4002), ("[]", 4002), ('{"op": 77}', 4001)])
async def test_nonsense_ends_the_conversation(client: Client, text: str, code: int):
    await client.identify()
    await client.socket.send_str(text)
    assert await client.code() == code


async def test_shards_hear_their_own_servers(session: aiohttp.ClientSession, rest: Rest, juno: Person):
    await rest("PUT", f"/applications/{seed.APP.id}/commands", [{"name": "go", "description": "Goes."}])
    async with session.ws_connect("/gateway") as first, session.ws_connect("/gateway") as second:
        shards = [Client(first), Client(second)]
        readies = [await shard.identify(shard=[n, 2]) for n, shard in enumerate(shards)]
        homes = [one["guilds"][0]["id"] for one in readies]
        assert {*homes} == {str(seed.LANTERN_HOUSE.id), str(seed.NIGHT_SHIFT.id)}
        for place, guild in (("lobby", seed.LANTERN_HOUSE), ("general", seed.NIGHT_SHIFT)):
            await juno.use(await juno.channel(place, guild.name), "go")
            heard = await shards[homes.index(str(guild.id))].until("INTERACTION_CREATE")
            assert heard["guild_id"] == str(guild.id)


async def test_every_connection_of_a_shard_hears(session: aiohttp.ClientSession, rest: Rest, juno: Person, lobby: str):
    await rest("PUT", f"/applications/{seed.APP.id}/commands", [{"name": "go", "description": "Goes."}])
    async with session.ws_connect("/gateway") as first, session.ws_connect("/gateway") as second:
        clients = [Client(first), Client(second)]
        for each in clients:
            await each.identify()
        made = await juno.use(lobby, "go")
        assert [(await each.until("INTERACTION_CREATE"))["id"] for each in clients] == [made, made]


async def test_message_events_need_their_intent_and_hide_content(
    session: aiohttp.ClientSession, client: Client, juno: Person, lobby: str, control: Controls
):
    await client.identify()
    async with session.ws_connect("/gateway") as socket:
        listener = Client(socket)
        await listener.identify(intents=1 | 1 << 9)
        written = await juno.write(lobby, "secret")
        heard = await listener.until("MESSAGE_CREATE")
        assert (heard["id"], heard["content"], heard["guild_id"]) == (written["id"], "", str(seed.LANTERN_HOUSE.id))
        await juno.ask("DELETE", f"/messages/{lobby}/{written['id']}")
        assert (await listener.until("MESSAGE_DELETE"))["id"] == written["id"]
    await control(f"/channels/{lobby}", {"bot_permissions": "1024"})
    assert (await client.until("CHANNEL_UPDATE"))["id"] == lobby


async def test_a_cut_session_resumes_where_it_was(
    session: aiohttp.ClientSession, rest: Rest, juno: Person, lobby: str, box: Sandbox, control: Controls
):
    await rest("PUT", f"/applications/{seed.APP.id}/commands", [{"name": "go", "description": "Goes."}])
    async with session.ws_connect("/gateway") as socket:
        client = Client(socket)
        ready = await client.identify()
        for _ in ready["guilds"]:
            await client.until("GUILD_CREATE")
        await control("/gateway", {"action": "drop"})
        assert await client.code() == 1006
    assert not box.world.online
    missed = [await juno.use(lobby, "go") for _ in range(2)]
    async with session.ws_connect("/gateway") as socket:
        client = Client(socket)
        await client.say(6, {"token": TOKEN, "session_id": ready["session_id"], "seq": 3})
        assert [(await client.until("INTERACTION_CREATE"))["id"] for _ in missed] == missed
        assert (await client.frame())["t"] == "RESUMED"
        missed = await juno.use(lobby, "go")
        assert (await client.until("INTERACTION_CREATE"))["id"] == missed


@pytest.mark.parametrize(("session_id", "goodbye"), [("unknown", None), (None, 1000)])
async def test_a_session_that_is_gone_starts_anew(
    session: aiohttp.ClientSession, session_id: str | None, goodbye: int | None
):
    async with session.ws_connect("/gateway") as socket:
        ready = await Client(socket).identify()
        if goodbye:
            await socket.close(code=goodbye)
    async with session.ws_connect("/gateway") as socket:
        client = Client(socket)
        await client.frame()
        await client.say(6, {"token": TOKEN, "session_id": session_id or ready["session_id"], "seq": 1})
        assert await client.frame() == {"op": 9, "d": False}
        assert await client.identify()


async def test_the_controls_make_trouble(session: aiohttp.ClientSession, client: Client, control: Controls):
    await client.identify()
    await control("/gateway", {"action": "reconnect"})
    while (frame := await client.frame())["op"] == 0:
        pass
    assert frame["op"] == 7
    await control("/gateway", {"action": "invalidate", "resumable": True})
    assert await client.frame() == {"op": 9, "d": True}
    await control("/gateway", {"action": "refuse", "seconds": 2})
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await session.ws_connect("/gateway")
    await asyncio.sleep(2.05)
    async with session.ws_connect("/gateway") as again:
        assert (await Client(again).frame())["op"] == 10
    async with session.post("/control/gateway", json={"action": "explode"}) as response:
        assert response.status == 400 and "actions are" in (await response.json())["error"]
