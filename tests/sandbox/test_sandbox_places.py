"""What is only read: the application, users, servers, members, roles, channels. Their shapes are checked at the end."""

import aiohttp
import pytest
from people import Controls, Person, Refused, Rest

from sandbox import seed

LANTERN_HOUSE = f"/guilds/{seed.LANTERN_HOUSE.id}"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/users/@me", "username"),
        (f"/users/{seed.JUNO.id}", "username"),
        ("/oauth2/applications/@me", "name"),
        ("/applications/@me", "name"),
        (LANTERN_HOUSE, "name"),
        (f"{LANTERN_HOUSE}?with_counts=true", "approximate_member_count"),
        (f"{LANTERN_HOUSE}/members/{seed.JUNO.id}", "user"),
        ("/gateway", "url"),
    ],
)
async def test_one_thing(rest: Rest, path: str, name: str):
    status, shown = await rest("GET", path)
    assert status == 200 and shown[name]


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/users/@me/guilds", {"Lantern House", "Night Shift"}),
        (f"{LANTERN_HOUSE}/roles", {"@everyone", "Zoetrope", "Supporters", "Moderators"}),
        (f"{LANTERN_HOUSE}/channels", {"lobby", "animations", "photos", "bot-cannot-post", "staff-only"}),
    ],
)
async def test_many_things(rest: Rest, path: str, names: set[str]):
    assert {one["name"] for one in (await rest("GET", path))[1]} == names


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/users/5", 10013),
        ("/guilds/5", 10004),
        ("/guilds/x", 10004),
        (f"{LANTERN_HOUSE}/members/{seed.INES.id}", 10007),
        (f"{LANTERN_HOUSE}/members", 50001),
        ("/channels/5", 10003),
    ],
)
async def test_what_is_not_there(rest: Rest, path: str, code: int):
    assert (await rest("GET", path))[1]["code"] == code


async def test_a_bigger_limit_shows_as_a_boosted_server(rest: Rest, control: Controls):
    await control(f"{LANTERN_HOUSE}", {"attachment_limit": 100 * 1024 * 1024})
    assert (await rest("GET", LANTERN_HOUSE))[1]["premium_tier"] == 3


async def test_the_world_of_a_member(mara: Person, juno: Person, theo: Person):
    world = await theo.world()
    assert world["me"] == {"id": theo.id, "username": "theo", "display_name": "Theo", "color": "#3d7fd9", "bot": False}
    assert [one["name"] for one in world["guilds"]] == ["Lantern House"]
    assert world["app"] == {"id": str(seed.APP.id), "name": "Zoetrope", "online": False}
    assert "staff-only" not in {one["name"] for one in world["guilds"][0]["channels"]}
    assert "staff-only" in {one["name"] for one in (await mara.guild("Lantern House"))["channels"]}
    moderators = {one["user_id"] for one in world["guilds"][0]["members"] if one["moderator"]}
    assert moderators == {mara.id}
    assert len((await juno.world())["guilds"]) == 2


async def test_a_page_that_knows_nobody_yet_gets_the_first_member(session: aiohttp.ClientSession, mara: Person):
    async with session.get("/member/world") as response:
        assert (await response.json())["me"]["id"] == mara.id


async def test_members_write_and_delete_what_is_theirs(mara: Person, juno: Person, theo: Person, lobby: str):
    asked = await juno.write(lobby, "hello")
    answered = await theo.write(lobby, "hi", reply_to=asked["id"])
    assert answered["referenced_message"]["id"] == asked["id"]
    assert [one["username"] for one in answered["mentions"]] == ["juno"]
    with pytest.raises(Refused, match="moderator"):
        await theo.ask("DELETE", f"/messages/{lobby}/{asked['id']}")
    await theo.ask("DELETE", f"/messages/{lobby}/{answered['id']}")
    await mara.ask("DELETE", f"/messages/{lobby}/{asked['id']}")
    assert await juno.messages(lobby) == []
    with pytest.raises(Refused, match="words or a file"):
        await juno.write(lobby, "  ")
    with pytest.raises(Refused, match="content: Must be 2000"):
        await juno.write(lobby, "x" * 2001)


@pytest.mark.parametrize("who", ["", "5", "x", str(seed.BOT.id)])
async def test_only_members_act(session: aiohttp.ClientSession, who: str):
    async with session.get("/member/world", params={"as": who}) as response:
        assert response.status == 401
        assert (await response.json())["error"] == "Say who acts: ?as= and a member's id."


async def test_a_hidden_channel_is_no_channel(mara: Person, theo: Person):
    hidden = await mara.channel("staff-only")
    for attempt in (theo.messages(hidden), theo.write(hidden, "x")):
        with pytest.raises(Refused, match="no such channel"):
            await attempt


async def test_pages_of_messages(juno: Person, lobby: str):
    for n in range(5):
        await juno.write(lobby, str(n))
    last = await juno.ask("GET", f"/channels/{lobby}/messages", params={"limit": "2"})
    assert [one["content"] for one in last] == ["3", "4"]
    before = await juno.ask("GET", f"/channels/{lobby}/messages", params={"limit": "2", "before": last[0]["id"]})
    assert [one["content"] for one in before] == ["1", "2"]


async def test_events_go_to_those_who_see_them(
    session: aiohttp.ClientSession, rest: Rest, mara: Person, juno: Person, theo: Person, lobby: str
):
    hidden = await mara.channel("staff-only")
    async with (
        session.ws_connect(f"/member/events?as={theo.id}") as of_theo,
        session.ws_connect(f"/member/events?as={mara.id}") as of_mara,
    ):
        await mara.write(hidden, "staff")
        message = await juno.write(lobby, "all")
        await rest("POST", f"/channels/{lobby}/typing")
        await juno.ask("DELETE", f"/messages/{lobby}/{message['id']}")
        await rest("PUT", f"/applications/{seed.APP.id}/commands", [])
        told = [await of_theo.receive_json(timeout=30) for _ in range(4)]
        assert [one["type"] for one in told] == ["message.create", "typing", "message.delete", "world"]
        assert told[0]["message"] == message
        assert told[1] == {"type": "typing", "channel_id": lobby, "user_id": str(seed.BOT.id)}
        assert told[2] == {"type": "message.delete", "channel_id": lobby, "message_id": message["id"]}
        assert (await of_mara.receive_json(timeout=30))["message"]["content"] == "staff"
