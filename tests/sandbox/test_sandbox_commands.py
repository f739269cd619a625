"""Commands: how an application may describe them, who is offered them, and what members may fill in."""

import asyncio
from typing import Any

import aiohttp
import pytest
from people import Person, Refused, Rest, option

from sandbox import seed
from sandbox.server import Sandbox
from sandbox.world import Times

Json = dict[str, Any]
GLOBAL = f"/applications/{seed.APP.id}/commands"
OF_LANTERN_HOUSE = f"/applications/{seed.APP.id}/guilds/{seed.LANTERN_HOUSE.id}/commands"


def command(name: str = "animate", *options: Json, **more: Any) -> Json:
    return {"name": name, "description": "Does it.", "options": [*options]} | more


def asks(name: str = "motion", kind: int = 3, **more: Any) -> Json:
    return {"name": name, "description": "What moves.", "type": kind} | more


def names(guild: Json) -> list[str]:
    return [one["name"] for one in guild["commands"]]


async def test_commands_keep_their_ids_when_sent_again(rest: Rest, juno: Person):
    _, first = await rest("PUT", GLOBAL, [command(), command("help")])
    _, second = await rest("PUT", GLOBAL, [command("help"), command("animate", asks())])
    ids = {one["name"]: one["id"] for one in first}
    assert {one["name"]: one["id"] for one in second} == ids
    assert {one["name"]: one["version"] for one in second}["help"] == first[1]["version"]
    assert second[1]["version"] != first[0]["version"]
    assert names(await juno.guild("Night Shift")) == ["animate", "help"]
    assert (await rest("GET", GLOBAL))[1] == sorted(second, key=lambda one: int(one["id"]))


async def test_commands_one_by_one(rest: Rest, juno: Person):
    status, made = await rest("POST", OF_LANTERN_HOUSE, command(default_member_permissions=32))
    assert (status, made["guild_id"]) == (201, str(seed.LANTERN_HOUSE.id))
    status, again = await rest("POST", OF_LANTERN_HOUSE, command())
    assert (status, again["id"], again["default_member_permissions"]) == (200, made["id"], None)
    one = f"{OF_LANTERN_HOUSE}/{made['id']}"
    _, changed = await rest("PATCH", one, {"description": "Does more."})
    assert (changed["name"], changed["description"]) == ("animate", "Does more.")
    assert (await rest("GET", one))[1] == changed
    assert names(await juno.guild("Night Shift")) == []
    assert (await rest("DELETE", one))[0] == 204
    assert (await rest("GET", one))[1]["code"] == 10063
    assert (await rest("GET", "/applications/5/commands"))[1]["code"] == 10002


@pytest.mark.parametrize(
    "wrong",
    [
        command("Animate"),
        command("two words"),
        command("x" * 33),
        command(description=""),
        command(description="x" * 101),
        command("animate", asks("Motion")),
        command("animate", asks(), asks()),
        command("animate", asks("a"), asks("b", required=True)),
        command("animate", *(asks(f"o{n}") for n in range(26))),
        command("animate", asks(choices=[{"name": str(n), "value": str(n)} for n in range(26)])),
        command("animate", asks(choices=[{"name": "x", "value": "x" * 101}])),
        command("animate", asks(choices=[{"name": "x", "value": "x"}], autocomplete=True)),
        command("animate", asks(kind=12)),
        command("animate", asks("sub", 1), asks("photo", 11)),
        command("animate", asks("sub", 1, options=[asks("deeper", 1)])),
        command("animate", asks(max_length=6001)),
        command(
            "animate",
            *(
                asks(f"o{n}", choices=[{"name": "n" * 100, "value": f"{m}" + "v" * 90} for m in range(9)])
                for n in range(5)
            ),
        ),
        {"name": "Animate", "type": 3, "description": "None here."},
    ],
)
async def test_a_wrong_command_is_refused(rest: Rest, wrong: Json):
    status, refusal = await rest("PUT", GLOBAL, [wrong])
    assert (status, refusal["code"]) == (400, 50035)
    assert refusal["errors"].keys() == {"0"}
    assert (await rest("GET", GLOBAL))[1] == []


async def test_two_of_a_name_and_too_many_are_refused(rest: Rest):
    assert (await rest("PUT", GLOBAL, [command(), command()]))[1]["code"] == 50035
    assert (await rest("PUT", GLOBAL, [command(f"c{n}") for n in range(101)]))[1]["code"] == 30032
    menus = [{"name": f"Menu {n}", "type": 3} for n in range(16)]
    assert (await rest("PUT", GLOBAL, menus))[1]["code"] == 30032
    status, _ = await rest("PUT", GLOBAL, [*(command(f"c{n}") for n in range(100)), *menus[:15]])
    assert status == 200


async def test_default_permissions_hide_commands(rest: Rest, mara: Person, juno: Person):
    await rest("PUT", GLOBAL, [command("quota", default_member_permissions=32), command("nobody")])
    await rest("PUT", OF_LANTERN_HOUSE, [command("nobody", default_member_permissions=0)])
    assert names(await juno.guild("Lantern House")) == []
    assert names(await juno.guild("Night Shift")) == ["nobody"]
    assert sorted(names(await mara.guild("Lantern House"))) == ["nobody", "quota"]
    lobby = await juno.channel("lobby")
    forbidden = (await rest("GET", GLOBAL))[1][0]["id"]
    with pytest.raises(Refused, match="no such command"):
        await juno.ask("POST", "/commands", json={"channel_id": lobby, "command_id": forbidden})


ANIMATE = command(
    "animate",
    asks("photo", 11, required=True),
    asks("motion", max_length=20, min_length=2),
    asks("model", autocomplete=True),
    asks("takes", 4, min_value=1, max_value=4),
    asks("strength", choices=[{"name": "Low", "value": "low"}]),
    asks("spoiler", 5),
    asks("friend", 6),
    asks("place", 7),
    asks("role", 8),
    asks("seconds", 10, min_value=2.5),
)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (option("motion", 3, "x"), "2 to 20 letters"),
        (option("motion", 3, 5), "is a text"),
        (option("takes", 4, 5), "at most 4"),
        (option("takes", 4, 0), "at least 1"),
        (option("takes", 4, 1.5), "whole number"),
        (option("strength", 3, "high"), "no such choice"),
        (option("spoiler", 5, "yes"), "true or false"),
        (option("friend", 6, str(seed.INES.id)), "user that is not here"),
        (option("place", 7, str(seed.NIGHT_SHIFT.id + 100)), "channel that is not here"),
        (option("role", 8, "7"), "role that is not here"),
        (option("seconds", 10, 2), "at least 2.5"),
        (option("photo", 11, "7"), "attachment that is not here"),
        (option("other", 3, "x"), "no option"),
    ],
)
async def test_answers_that_do_not_fit_are_refused(rest: Rest, juno: Person, lobby: str, wrong: Json, sentence: str):
    await rest("PUT", GLOBAL, [ANIMATE])
    photo = option("photo", 11, await juno.upload(b"x", "a.png"))
    answers = [wrong] if wrong["name"] == "photo" else [photo, wrong]
    with pytest.raises(Refused, match=sentence):
        await juno.use(lobby, "animate", *answers)


async def test_what_is_required_and_whose_file_it_is(rest: Rest, juno: Person, theo: Person, lobby: str):
    await rest("PUT", GLOBAL, [ANIMATE, command("my", asks("queue", 1), asks("clips", 1))])
    with pytest.raises(Refused, match="“photo” is needed"):
        await juno.use(lobby, "animate")
    with pytest.raises(Refused, match="not here"):
        await juno.use(lobby, "animate", option("photo", 11, await theo.upload(b"x", "a.png")))
    photo = option("photo", 11, await juno.upload(b"x", "a.png"))
    with pytest.raises(Refused, match="once"):
        await juno.use(lobby, "animate", photo, photo)
    with pytest.raises(Refused, match="subcommands"):
        await juno.use(lobby, "my")
    assert await juno.use(lobby, "my", {"name": "queue", "type": 1})


@pytest.mark.parametrize("box", [{"times": Times(acknowledgement=1.5)}], indirect=True)
async def test_what_nobody_answers_fails(
    session: aiohttp.ClientSession, rest: Rest, juno: Person, lobby: str, box: Sandbox
):
    await rest("PUT", GLOBAL, [command()])
    async with session.ws_connect(f"/member/events?as={juno.id}") as events:
        made = await juno.use(lobby, "animate")
        assert (await juno.ask("GET", f"/interactions/{made}"))["state"] == "waiting"
        told = await asyncio.wait_for(events.receive_json(), 30)
    sentence = "The application did not respond"
    assert told == {"type": "interaction", "interaction_id": made, "state": "failed", "error": sentence}
    now = await juno.ask("GET", f"/interactions/{made}")
    assert (now["state"], now["error"], now["messages"]) == ("failed", sentence, [])
    assert [*box.world.timers] == []
