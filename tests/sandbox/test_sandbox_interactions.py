"""An interaction's answers by bare REST: in time, once, by a living token, for those who may see them."""

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import aiohttp
import pytest
from people import Controls, Person, Refused, Rest, multipart, option

from sandbox import seed
from sandbox.server import Sandbox
from sandbox.world import Times

Json = dict[str, Any]
COMMANDS: list[Json] = [
    {"name": "go", "description": "Goes.", "options": [
        {"name": "model", "description": "Which.", "type": 3, "autocomplete": True},
        {"name": "takes", "description": "How many.", "type": 4}]},
    {"name": "Animate", "type": 3},
    {"name": "Look", "type": 2},
]  # fmt: skip
EPHEMERAL, LOADING = 64, 128


class Application:
    """An application that hears its interactions by the gateway and answers each as the test says."""

    def __init__(self, rest: Rest, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.rest = rest
        self._socket = socket

    async def heard(self) -> Json:
        """The next interaction."""
        while True:
            frame = json.loads((await asyncio.wait_for(self._socket.receive(), 30)).data)
            if frame["t"] == "INTERACTION_CREATE":
                return frame["d"]

    async def answer(self, to: Json, kind: int, data: object = None) -> tuple[int, Any]:
        """A callback of a type with its data, or with a whole body as multipart."""
        whole = data if isinstance(data, aiohttp.FormData) else {"type": kind} | ({"data": data} if data else {})
        path = f"/interactions/{to['id']}/{to['token']}/callback"
        return await self.rest("POST", path, whole, params={"with_response": "1"})

    async def by_token(self, method: str, to: Json, rest: str = "", body: object = None) -> tuple[int, Any]:
        return await self.rest(method, f"/webhooks/{seed.APP.id}/{to['token']}{rest}", body)


@pytest.fixture
async def app(rest: Rest, session: aiohttp.ClientSession, box: Sandbox) -> AsyncGenerator[Application]:
    await rest("PUT", f"/applications/{seed.APP.id}/commands", COMMANDS)
    async with session.ws_connect("/gateway?v=10&encoding=json") as socket:
        await socket.send_json({"op": 2, "d": {"token": "sandbox", "intents": 1, "properties": {}}})
        yield Application(rest, socket)


async def test_what_the_application_hears(app: Application, juno: Person, lobby: str):
    await juno.use(lobby, "go", option("model", 3, "wan"))
    heard = await app.heard()
    assert heard["data"]["options"] == [{"name": "model", "type": 3, "value": "wan"}]
    assert heard["member"]["user"]["id"] == juno.id
    assert heard["guild_id"] == str(seed.LANTERN_HOUSE.id)
    assert heard["channel"]["id"] == heard["channel_id"] == lobby
    assert int(heard["app_permissions"]) & 1 << 11
    assert heard["attachment_size_limit"] == 10 * 1024 * 1024
    assert (heard["locale"], heard["version"], heard["context"]) == ("en-US", 1, 0)


async def test_an_answer_is_given_once_and_reported(app: Application, juno: Person, lobby: str):
    made = await juno.use(lobby, "go")
    heard = await app.heard()
    status, report = await app.answer(heard, 4, {"content": "here"})
    assert status == 200
    assert report["interaction"]["response_message_id"] == report["resource"]["message"]["id"]
    assert report["resource"]["message"]["interaction_metadata"]["user"]["username"] == "juno"
    assert (await app.answer(heard, 4, {"content": "again"}))[1]["code"] == 40060
    now = await juno.outcome(made, until=1)
    assert [one["content"] for one in now["messages"]] == ["here"]
    assert now["messages"][0]["type"] == 20


@pytest.mark.parametrize("box", [{"times": Times(acknowledgement=0.2)}], indirect=True)
async def test_a_late_answer_is_unknown(app: Application, juno: Person, lobby: str):
    made = await juno.use(lobby, "go")
    heard = await app.heard()
    await asyncio.sleep(0.25)
    assert await app.answer(heard, 5) == (404, {"message": "Unknown interaction", "code": 10062})
    assert (await juno.ask("GET", f"/interactions/{made}"))["state"] == "failed"


async def test_an_unknown_token_opens_nothing(app: Application, juno: Person, lobby: str):
    await juno.use(lobby, "go")
    heard = await app.heard()
    assert (await app.answer(heard | {"token": "x"}, 5))[1]["code"] == 10062
    assert (await app.answer(heard | {"id": "5"}, 5))[1]["code"] == 10062
    assert (await app.by_token("POST", heard, body={"content": "x"}))[1]["code"] == 10015
    assert (await app.by_token("POST", heard | {"token": "x"}, body={"content": "x"}))[0] == 401
    assert (await app.rest("POST", f"/webhooks/5/{heard['token']}", {"content": "x"}))[1]["code"] == 10015


async def test_a_deferral_is_filled_by_the_first_follow_up(app: Application, juno: Person, theo: Person, lobby: str):
    await juno.use(lobby, "go")
    heard = await app.heard()
    _, report = await app.answer(heard, 5, {"flags": EPHEMERAL})
    assert report["interaction"]["response_message_loading"] and report["interaction"]["response_message_ephemeral"]
    thinking = (await juno.messages(lobby))[0]
    assert thinking["flags"] == EPHEMERAL | LOADING and thinking["ephemeral"]

    _, filled = await app.by_token("POST", heard, body={"content": "done"})
    assert (filled["id"], filled["flags"], filled["edited_timestamp"]) == (thinking["id"], EPHEMERAL, None)
    _, second = await app.by_token("POST", heard, body={"content": "for all"})
    assert second["flags"] == 0 and second["message_reference"]["message_id"] == filled["id"]
    assert [one["content"] for one in await juno.messages(lobby)] == ["done", "for all"]
    assert [one["content"] for one in await theo.messages(lobby)] == ["for all"]

    assert (await app.rest("GET", f"/channels/{lobby}/messages/{filled['id']}"))[1]["code"] == 10008
    assert (await app.rest("PATCH", f"/channels/{lobby}/messages/{filled['id']}", {"content": "x"}))[0] == 404
    _, listed = await app.rest("GET", f"/channels/{lobby}/messages")
    assert [one["content"] for one in listed] == ["for all"]


async def test_the_token_reads_changes_and_deletes_its_messages(app: Application, juno: Person, lobby: str):
    await juno.use(lobby, "go")
    heard = await app.heard()
    await app.answer(heard, 4, {"content": "first"})
    _, extra = await app.by_token("POST", heard, body={"content": "extra"})
    _, alien = await app.rest("POST", f"/channels/{lobby}/messages", {"content": "alien"})
    original = "/messages/@original"
    assert (await app.by_token("GET", heard, original))[1]["content"] == "first"
    assert (await app.by_token("PATCH", heard, original, {"content": "changed"}))[1]["content"] == "changed"
    form = multipart({"content": "with", "attachments": [{"id": 0}]}, ("a.mp4", b"xyz"))
    _, with_file = await app.by_token("PATCH", heard, f"/messages/{extra['id']}", form)
    assert with_file["attachments"][0]["size"] == 3
    assert (await app.by_token("GET", heard, f"/messages/{alien['id']}"))[1]["code"] == 10008
    assert (await app.by_token("DELETE", heard, original))[0] == 204
    assert (await app.by_token("PATCH", heard, original, {"content": "x"}))[1]["code"] == 10008
    assert [one["content"] for one in await juno.messages(lobby)] == ["with", "alien"]


async def test_a_token_dies_and_the_bots_own_goes_on(app: Application, juno: Person, lobby: str, control: Controls):
    await juno.use(lobby, "go")
    heard = await app.heard()
    _, report = await app.answer(heard, 4, {"content": "first"})
    await control("/expire", {"tokens": True})
    for method, rest in (("POST", ""), ("PATCH", "/messages/@original"), ("GET", "/messages/@original")):
        body = None if method == "GET" else {"content": "x"}
        assert await app.by_token(method, heard, rest, body) == (
            401,
            {"message": "Invalid Webhook Token", "code": 50027},
        )
    message = report["resource"]["message"]["id"]
    assert (await app.rest("PATCH", f"/channels/{lobby}/messages/{message}", {"content": "late"}))[0] == 200
    await juno.use(lobby, "go")
    assert (await app.answer(await app.heard(), 5))[0] == 200


@pytest.mark.parametrize("box", [{"times": Times(token=0.3)}], indirect=True)
async def test_a_token_lives_as_long_as_it_is_told_to(app: Application, juno: Person, lobby: str):
    await juno.use(lobby, "go")
    heard = await app.heard()
    await app.answer(heard, 5)
    await asyncio.sleep(0.35)
    assert (await app.by_token("POST", heard, body={"content": "x"}))[1]["code"] == 50027


async def test_limits_of_an_answer(app: Application, juno: Person, lobby: str, control: Controls):
    await juno.use(lobby, "go")
    heard = await app.heard()
    for kind, data in (
        (5, {"flags": 1 << 15}),
        (4, {"content": "x" * 2001}),
        (4, {"content": "x", "flags": 1 << 15}),
        (6, None),
        (8, {"choices": []}),
        (99, {}),
        (9, {"title": "x", "custom_id": "x", "components": []}),
    ):
        status, refusal = await app.answer(heard, kind, data)
        assert (status, refusal["code"]) == (400, 50035), (kind, data)
    await control(f"/guilds/{seed.LANTERN_HOUSE.id}", {"attachment_limit": 10})
    form = multipart({"type": 4, "data": {"content": "x"}}, ("a.mp4", b"x" * 11))
    assert (await app.answer(heard, 4, form))[0] == 413
    form = multipart({"type": 4, "data": {"attachments": [{"id": 0}]}}, ("a.mp4", b"x" * 10))
    _, report = await app.answer(heard, 4, form)
    assert report["resource"]["message"]["attachments"][0]["size"] == 10


async def test_a_member_may_have_a_larger_limit_than_the_server(
    app: Application, juno: Person, lobby: str, control: Controls
):
    await control(f"/guilds/{seed.LANTERN_HOUSE.id}", {"attachment_limit": 10, "members_limit": 20})
    await juno.use(lobby, "go")
    heard = await app.heard()
    assert heard["attachment_size_limit"] == 20
    file = ("a.mp4", b"x" * 20)
    assert (await app.answer(heard, 4, multipart({"type": 4, "data": {}}, file)))[0] == 200
    assert (await app.rest("POST", f"/channels/{lobby}/messages", multipart({}, file)))[0] == 413


async def test_buttons_update_or_answer(app: Application, juno: Person, theo: Person, lobby: str):
    components = [{"type": 1, "components": [
        {"type": 2, "style": 1, "label": "Go", "custom_id": "go"},
        {"type": 2, "style": 1, "label": "Off", "custom_id": "off", "disabled": True},
    ]}]  # fmt: skip
    await app.rest("POST", f"/channels/{lobby}/messages", {"content": "press", "components": components})
    message = (await juno.messages(lobby))[0]
    with pytest.raises(Refused, match="no such button"):
        await theo.press(message, "other")
    with pytest.raises(Refused, match="switched off"):
        await theo.press(message, "off")

    await theo.press(message, "go")
    heard = await app.heard()
    assert heard["message"]["components"][0]["components"][0]["custom_id"] == "go"
    assert heard["data"]["component_type"] == 2
    _, report = await app.answer(heard, 7, {"content": "pressed"})
    assert report["resource"]["message"]["id"] == message["id"]
    assert (await juno.messages(lobby))[0]["content"] == "pressed"
    assert (await app.by_token("PATCH", heard, "/messages/@original", {"content": "once more"}))[0] == 200

    made = await theo.press(message, "go")
    heard = await app.heard()
    await app.answer(heard, 6)
    assert (await theo.outcome(made))["messages"] == []
    _, extra = await app.by_token("POST", heard, body={"content": "for you", "flags": EPHEMERAL})
    assert extra["message_reference"]["message_id"] == message["id"]
    now = await theo.outcome(made, until=1)
    assert now["messages"][0]["ephemeral"]
    with pytest.raises(Refused, match="gone"):
        await juno.press(now["messages"][0], "x")


async def test_menus_take_what_they_offer(app: Application, juno: Person, lobby: str):
    options = [{"label": value, "value": value} for value in "abc"]
    components = [
        {"type": 1, "components": [{"type": 3, "custom_id": "texts", "max_values": 2, "options": options}]},
        {"type": 1, "components": [{"type": 5, "custom_id": "people"}]},
        {"type": 1, "components": [{"type": 8, "custom_id": "places"}]},
    ]
    await app.rest("POST", f"/channels/{lobby}/messages", {"content": "x", "components": components})
    message = (await juno.messages(lobby))[0]
    for custom_id, values in (("texts", ["d"]), ("texts", ["a", "b", "c"]), ("people", ["7"]), ("texts", [])):
        with pytest.raises(Refused):
            await juno.press(message, custom_id, values)
    await juno.press(message, "texts", ["a", "b"])
    assert (await app.heard())["data"]["values"] == ["a", "b"]
    await juno.press(message, "people", [str(seed.THEO.id)])
    assert str(seed.THEO.id) in (await app.heard())["data"]["resolved"]["members"]
    await juno.press(message, "places", [lobby])
    assert (await app.heard())["data"]["resolved"]["channels"][lobby]["name"] == "lobby"


async def test_a_modal_is_filled_in_and_answered(app: Application, juno: Person, theo: Person, lobby: str):
    modal = {"custom_id": "remix", "title": "Remix", "components": [
        {"type": 18, "label": "Motion", "component": {"type": 4, "custom_id": "motion", "style": 2, "max_length": 10}},
        {"type": 18, "label": "Photo", "component": {"type": 19, "custom_id": "photo", "required": False}},
        {"type": 18, "label": "Keep", "component": {"type": 23, "custom_id": "keep", "default": True}},
        {"type": 18, "label": "Size", "component": {"type": 21, "custom_id": "size", "required": False, "options": [
            {"label": "720p", "value": "720p"}, {"label": "480p", "value": "480p", "default": True}]}},
        {"type": 10, "content": "Costs 5."},
    ]}  # fmt: skip
    opened = await juno.use(lobby, "go")
    assert (await app.answer(await app.heard(), 9, modal))[0] == 200
    now = await juno.outcome(opened)
    assert (now["state"], now["modal"]["title"], len(now["modal"]["components"])) == ("modal", "Remix", 5)
    with pytest.raises(Refused, match="“Motion” takes 1 to 10"):
        await juno.fill(opened, {"motion": "x" * 11})
    with pytest.raises(Refused, match="no such interaction"):
        await theo.fill(opened, {"motion": "x"})
    photo = await juno.upload(b"photo", "a.png")
    made = await juno.fill(opened, {"motion": "sway", "photo": [photo], "size": "720p", "keep": False})
    heard = await app.heard()
    inner = {
        one["component"]["custom_id"]: one["component"] for one in heard["data"]["components"] if one["type"] == 18
    }
    assert (inner["motion"]["value"], inner["photo"]["values"], inner["keep"]["value"]) == ("sway", [photo], False)
    assert inner["size"]["value"] == "720p"
    assert heard["data"]["resolved"]["attachments"][photo]["size"] == 5
    assert (await app.answer(heard, 9, modal))[1]["code"] == 50035
    _, report = await app.answer(heard, 4, {"content": "ok"})
    metadata = report["resource"]["message"]["interaction_metadata"]
    assert metadata["triggering_interaction_metadata"]["id"] == opened
    assert (await juno.outcome(made, until=1))["messages"][0]["content"] == "ok"


async def test_a_message_command_brings_the_whole_message(app: Application, juno: Person, theo: Person, lobby: str):
    photo = await theo.upload(b"photo", "a.png")
    target = await theo.write(lobby, "look", attachments=[photo])
    await juno.use(lobby, "Animate", target=target["id"])
    heard = await app.heard()
    brought = heard["data"]["resolved"]["messages"][target["id"]]
    assert (heard["data"]["type"], brought["content"], brought["attachments"][0]["size"]) == (3, "look", 5)
    await app.answer(heard, 4, {"content": "ok"})
    message = (await juno.messages(lobby))[-1]
    assert message["type"] == 23 and message["interaction_metadata"]["target_message_id"] == target["id"]
    with pytest.raises(Refused, match="gone"):
        await juno.use(lobby, "Animate", target="5")
    await juno.use(lobby, "Look", target=theo.id)
    assert (await app.heard())["data"]["resolved"]["users"][theo.id]["username"] == "theo"


async def test_suggestions_come_while_typing(app: Application, juno: Person, lobby: str):
    body = {"channel_id": lobby, "command_id": await juno.command_id(lobby, "go")}
    typed = option("model", 3, "wa") | {"focused": True}
    half = option("takes", 4, "2 or")
    asked = asyncio.create_task(juno.ask("POST", "/autocomplete", json=body | {"options": [half, typed]}))
    heard = await app.heard()
    assert (heard["type"], heard["data"]["options"]) == (4, [typed])
    assert (await app.answer(heard, 4, {"content": "x"}))[1]["code"] == 50035
    many = [{"name": str(n), "value": str(n)} for n in range(26)]
    assert (await app.answer(heard, 8, {"choices": many}))[1]["code"] == 50035
    assert (await app.answer(heard, 8, {"choices": [{"name": "Wan", "value": "wan"}]}))[0] == 200
    assert await asked == {"choices": [{"name": "Wan", "value": "wan"}]}
    with pytest.raises(Refused, match="being typed"):
        await juno.ask("POST", "/autocomplete", json=body | {"options": [option("model", 3, "wa")]})


@pytest.mark.parametrize("box", [{"times": Times(acknowledgement=0.1)}], indirect=True)
async def test_suggestions_that_do_not_come(app: Application, juno: Person, lobby: str):
    body = {"channel_id": lobby, "command_id": await juno.command_id(lobby, "go")}
    typed = option("model", 3, "wa") | {"focused": True}
    with pytest.raises(Refused, match="did not respond"):
        await juno.ask("POST", "/autocomplete", json=body | {"options": [typed]})


async def test_version_2_messages_show_their_files(app: Application, juno: Person, lobby: str):
    await juno.use(lobby, "go")
    heard = await app.heard()
    gallery = {"type": 12, "items": [{"media": {"url": "attachment://a.mp4"}}]}
    payload = {"type": 4, "data": {"flags": 1 << 15, "attachments": [{"id": 0}], "components": [gallery]}}
    status, report = await app.answer(heard, 4, multipart(payload, ("a.mp4", b"xyz")))
    message = report["resource"]["message"]
    media = message["components"][0]["items"][0]["media"]
    assert status == 200 and media["attachment_id"] == message["attachments"][0]["id"]
    assert media["url"] == message["attachments"][0]["url"]
    original = "/messages/@original"
    refused = (await app.by_token("PATCH", heard, original, {"flags": 0}))[1]
    assert "flags" in refused["errors"]
    assert "content" in (await app.by_token("PATCH", heard, original, {"content": "x"}))[1]["errors"]
    text = {"type": 10, "content": "words"}
    assert (await app.by_token("PATCH", heard, original, {"components": [text]}))[1]["components"][0]["id"] == 1
