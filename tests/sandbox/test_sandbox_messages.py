"""Messages in channels over REST: what is taken, what is refused and in which words, what members see of it."""

import asyncio
from typing import Any

import aiohttp
import pytest
from people import Controls, Person, Rest, multipart

from sandbox import seed
from sandbox.server import Sandbox

Json = dict[str, Any]


def messages(channel: str, message: str = "") -> str:
    return f"/channels/{channel}/messages" + (f"/{message}" if message else "")


def paths(errors: Json) -> set[str]:
    """The dotted paths at which an error tree has errors."""
    found = set[str]()
    for name, below in errors.items():
        if name == "_errors":
            found.add("")
        else:
            found |= {f"{name}.{path}".rstrip(".") for path in paths(below)}
    return found


async def test_a_message_is_sent_listed_changed_and_deleted(rest: Rest, juno: Person, lobby: str):
    status, sent = await rest("POST", messages(lobby), {"content": "first"})
    assert (status, sent["content"], sent["author"]["id"]) == (200, "first", str(seed.BOT.id))
    assert [one["content"] for one in await juno.messages(lobby)] == ["first"]

    status, changed = await rest("PATCH", messages(lobby, sent["id"]), {"content": "second"})
    assert (status, changed["content"], changed["timestamp"]) == (200, "second", sent["timestamp"])
    assert changed["edited_timestamp"]
    assert (await rest("GET", messages(lobby, sent["id"])))[1] == changed

    assert (await rest("DELETE", messages(lobby, sent["id"])))[0] == 204
    assert (await rest("GET", messages(lobby, sent["id"]))) == (404, {"message": "Unknown Message", "code": 10008})
    assert await juno.messages(lobby) == []


async def test_lists_go_newest_first_around_any_message(rest: Rest, lobby: str):
    ids = [(await rest("POST", messages(lobby), {"content": str(n)}))[1]["id"] for n in range(7)]
    for query, expected in (
        ("limit=2", "65"),
        (f"before={ids[3]}&limit=2", "21"),
        (f"after={ids[3]}&limit=2", "54"),
        (f"around={ids[3]}&limit=3", "432"),
    ):
        _, listed = await rest("GET", f"{messages(lobby)}?{query}")
        assert "".join(one["content"] for one in listed) == expected


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"content": "x" * 2001}, "content"),
        ({"content": 5}, "content"),
        ({"content": "x", "embeds": [{"title": "y" * 257}]}, "embeds.0.title"),
        ({"content": "x", "embeds": [{"description": "y" * 4000}] * 2}, "embeds"),
        ({"content": "x", "embeds": [{"image": {"url": "attachment://none.png"}}]}, "embeds.0.image.url"),
        ({"content": "x", "embeds": [{"title": "y"}] * 11}, "embeds"),
        ({"content": "x", "nonce": "n" * 26}, "nonce"),
        ({"content": "x", "flags": 64}, "flags"),
        ({"content": "x", "attachments": [{"id": 3}]}, "attachments.0.id"),
        ({"content": "x", "allowed_mentions": {"parse": ["users"], "users": ["1"]}}, "allowed_mentions"),
        ({"content": "x", "message_reference": {"message_id": "1"}}, "message_reference"),
    ],
)
async def test_a_wrong_body_is_refused_under_its_path(rest: Rest, juno: Person, lobby: str, body: Json, where: str):
    status, refusal = await rest("POST", messages(lobby), body)
    assert (status, refusal["code"], refusal["message"]) == (400, 50035, "Invalid Form Body")
    assert paths(refusal["errors"]) == {where}
    assert await juno.messages(lobby) == []


@pytest.mark.parametrize("body", [{}, {"content": ""}, {"content": None, "embeds": []}])
async def test_an_empty_message_is_refused(rest: Rest, lobby: str, body: Json):
    assert (await rest("POST", messages(lobby), body))[1]["code"] == 50006


async def test_broken_json_is_refused(rest: Rest, lobby: str):
    status, refusal = await rest("POST", messages(lobby), data=b"{")
    assert (status, refusal["code"]) == (400, 50109)


async def test_permissions_decide(rest: Rest, mara: Person, juno: Person, lobby: str):
    closed = await juno.channel("bot-cannot-post")
    assert (await rest("POST", messages(closed), {"content": "x"})) == (
        403,
        {"message": "Missing Permissions", "code": 50013},
    )
    assert (await rest("POST", f"/channels/{closed}/typing"))[0] == 403
    hidden = await mara.channel("staff-only")
    assert (await rest("GET", f"/channels/{hidden}"))[1]["code"] == 50001
    assert (await rest("GET", "/channels/1"))[1]["code"] == 10003

    of_juno = (await juno.write(lobby, "mine"))["id"]
    assert (await rest("PATCH", messages(lobby, of_juno), {"content": "x"}))[1]["code"] == 50005
    assert (await rest("DELETE", messages(lobby, of_juno)))[1]["code"] == 50013


async def test_controls_change_the_bots_permissions(
    rest: Rest, juno: Person, lobby: str, box: Sandbox, control: Controls
):
    async def permit(bits: str | None):
        await control(f"/channels/{lobby}", {"bot_permissions": bits})

    view, send, history = 1 << 10, 1 << 11, 1 << 16
    await permit(str(view | send))
    assert (await rest("POST", messages(lobby), {"content": "words"}))[0] == 200
    assert (await rest("POST", messages(lobby), multipart({}, ("a.txt", b"a"))))[1]["code"] == 50013
    assert (await rest("GET", messages(lobby))) == (200, [])
    first = (await juno.messages(lobby))[0]["id"]
    reply = {"content": "x", "message_reference": {"message_id": first}}
    assert (await rest("POST", messages(lobby), reply))[1]["code"] == 160002
    await permit(str(view | history))
    assert (await rest("POST", messages(lobby), {"content": "x"}))[1]["code"] == 50013
    await permit("0")
    assert (await rest("POST", messages(lobby), {"content": "x"}))[1]["code"] == 50001
    await permit(None)
    assert (await rest("POST", messages(lobby), reply))[0] == 200


async def test_only_the_token_opens(session: aiohttp.ClientSession, lobby: str):
    assert await Rest(session, "another")("GET", f"/channels/{lobby}") == (
        401,
        {"message": "401: Unauthorized", "code": 0},
    )


async def test_other_peoples_words_are_blank_without_the_intent(rest: Rest, juno: Person, lobby: str):
    plain = await juno.write(lobby, "secret")
    to_bot = await juno.write(lobby, f"<@{seed.BOT.id}> hear me")
    assert (await rest("GET", messages(lobby, plain["id"])))[1]["content"] == ""
    assert (await rest("GET", messages(lobby, to_bot["id"])))[1]["content"].endswith("hear me")


async def test_a_reply_mentions_only_whom_it_may(rest: Rest, juno: Person, lobby: str):
    asked = await juno.write(lobby, "please")
    text = f"<@{seed.MARA.id}> <@{seed.JUNO.id}> @everyone"

    async def mentioned(allowed: Json | None) -> list[str]:
        body = {"content": text, "message_reference": {"message_id": asked["id"]}, "allowed_mentions": allowed}
        _, sent = await rest("POST", messages(lobby), body)
        assert sent["type"] == 19 and sent["referenced_message"]["id"] == asked["id"]
        assert sent["mention_everyone"] is False
        return [one["username"] for one in sent["mentions"]]

    assert await mentioned(None) == ["mara", "juno"]
    assert await mentioned({"parse": []}) == []
    assert await mentioned({"parse": [], "replied_user": True}) == ["juno"]
    assert await mentioned({"parse": [], "users": [str(seed.MARA.id)]}) == ["mara"]


async def test_a_reply_to_nothing_is_sent_when_asked_for(rest: Rest, lobby: str):
    reference = {"message_id": "1", "fail_if_not_exists": False}
    status, sent = await rest("POST", messages(lobby), {"content": "x", "message_reference": reference})
    assert (status, sent["type"], "message_reference" in sent) == (200, 0, False)


async def test_a_nonce_sends_once(rest: Rest, juno: Person, lobby: str):
    body = {"content": "clip", "nonce": "delivery-1", "enforce_nonce": True}
    answers = await asyncio.gather(*(rest("POST", messages(lobby), body) for _ in range(4)))
    assert len({sent["id"] for _, sent in answers}) == 1
    _, again = await rest("POST", messages(lobby), body | {"content": "other words"})
    assert (again["content"], again["nonce"]) == ("clip", "delivery-1")
    assert "nonce" not in (await rest("GET", messages(lobby, again["id"])))[1]
    await rest("POST", messages(lobby), body | {"enforce_nonce": False})
    await rest("POST", messages(lobby), body | {"nonce": "delivery-2"})
    other = await juno.channel("photos")
    await rest("POST", messages(other), body)
    assert len(await juno.messages(lobby)) == 3
    assert len(await juno.messages(other)) == 1


async def test_files_are_kept_added_and_dropped(rest: Rest, lobby: str, box: Sandbox):
    form = multipart(
        {"attachments": [{"id": 0, "filename": "one.mp4", "description": "first"}, {"id": 1}]},
        ("zero.mp4", b"1"),
        ("two words.mp4", b"22"),
    )
    _, sent = await rest("POST", messages(lobby), form)
    one, two = sent["attachments"]
    assert (one["filename"], one["description"], one["size"]) == ("one.mp4", "first", 1)
    assert (two["filename"], two["content_type"]) == ("two_words.mp4", "video/mp4")

    form = multipart({"attachments": [{"id": two["id"]}, {"id": 0, "filename": "three.mp4"}]}, ("x", b"333"))
    _, changed = await rest("PATCH", messages(lobby, sent["id"]), form)
    assert [each["filename"] for each in changed["attachments"]] == ["two_words.mp4", "three.mp4"]
    assert changed["attachments"][0]["id"] == two["id"]
    _, kept = await rest("PATCH", messages(lobby, sent["id"]), {"content": "words"})
    assert [each["filename"] for each in kept["attachments"]] == ["two_words.mp4", "three.mp4"]
    _, bare = await rest("PATCH", messages(lobby, sent["id"]), {"attachments": []})
    assert bare["attachments"] == []
    assert list(box.world.store.files.iterdir()) == []


async def test_a_file_above_the_servers_limit_is_refused(
    rest: Rest, juno: Person, lobby: str, box: Sandbox, control: Controls
):
    await control(f"/guilds/{seed.LANTERN_HOUSE.id}", {"attachment_limit": 1000})
    status, refusal = await rest("POST", messages(lobby), multipart({}, ("a.mp4", b"x" * 1001)))
    assert (status, refusal) == (413, {"message": "Request entity too large", "code": 40005})
    status, _ = await rest("POST", messages(lobby), multipart({}, ("a.mp4", b"x" * 1000), ("b.mp4", b"x" * 1000)))
    assert status == 200
    assert len(await juno.messages(lobby)) == 1
    assert len(list(box.world.store.files.iterdir())) == 2


async def test_a_channel_that_is_gone_is_unknown(rest: Rest, juno: Person, lobby: str, control: Controls):
    await control(f"/channels/{lobby}", {"deleted": True})
    assert (await rest("POST", messages(lobby), {"content": "x"}))[1]["code"] == 10003
    assert lobby not in {one["id"] for one in (await juno.guild("Lantern House"))["channels"]}
