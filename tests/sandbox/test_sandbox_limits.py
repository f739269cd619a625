"""Rate limits with their headers, and trouble on demand."""

import asyncio
import time
from typing import Any

import aiohttp
import pytest
from people import Controls, Person, Rest

from sandbox import seed
from sandbox.limits import Rates
from sandbox.server import Sandbox

Json = dict[str, Any]
ME = "/api/v10/users/@me"
AUTHORIZED = {"Authorization": "Bot sandbox"}


@pytest.mark.parametrize("box", [{"rates": Rates(bucket_seconds=60)}], indirect=True)
async def test_every_answer_tells_its_bucket(session: aiohttp.ClientSession, lobby: str):
    async with session.get(ME, headers=AUTHORIZED) as response:
        first = response.headers
    async with session.get(ME, headers=AUTHORIZED) as response:
        second = response.headers
    async with session.get(f"/api/v10/channels/{lobby}", headers=AUTHORIZED) as response:
        other = response.headers
    assert int(second["X-RateLimit-Remaining"]) == int(first["X-RateLimit-Remaining"]) - 1
    assert first["X-RateLimit-Bucket"] == second["X-RateLimit-Bucket"] != other["X-RateLimit-Bucket"]
    assert 0 < float(first["X-RateLimit-Reset-After"]) <= 60
    assert float(first["X-RateLimit-Reset"]) >= time.time() - 1


@pytest.mark.parametrize("box", [{"rates": Rates(bucket=2, bucket_seconds=2)}], indirect=True)
async def test_a_full_bucket_refuses_until_it_resets(session: aiohttp.ClientSession, rest: Rest, juno: Person):
    lobby, photos = await juno.channel("lobby"), await juno.channel("photos")
    for _ in range(2):
        assert (await rest("GET", f"/channels/{lobby}"))[0] == 200
    async with session.get(f"/api/v10/channels/{lobby}", headers=AUTHORIZED) as response:
        body = await response.json()
        assert (response.status, body["global"], response.headers["X-RateLimit-Scope"]) == (429, False, "user")
        assert response.headers["Via"] and int(response.headers["Retry-After"]) >= body["retry_after"] > 0
    assert (await rest("GET", f"/channels/{photos}"))[0] == 200
    await asyncio.sleep(body["retry_after"])
    assert (await rest("GET", f"/channels/{lobby}"))[0] == 200


@pytest.mark.parametrize("box", [{"rates": Rates(everything=3, everything_seconds=60)}], indirect=True)
async def test_the_applications_limit_leaves_interactions_out(session: aiohttp.ClientSession, rest: Rest):
    for _ in range(3):
        assert (await rest("GET", "/users/@me"))[0] == 200
    async with session.get("/api/v10/gateway", headers=AUTHORIZED) as response:
        assert (response.status, (await response.json())["global"]) == (429, True)
        assert response.headers["X-RateLimit-Global"] == "true"
    assert (await rest("POST", "/interactions/1/x/callback", {"type": 5}))[1]["code"] == 10062


async def test_faults_hit_what_they_name_as_often_as_told(
    session: aiohttp.ClientSession, rest: Rest, lobby: str, control: Controls
):
    path = f"/channels/{lobby}/messages"
    await control(
        "/faults",
        {"method": "POST", "route": "/messages$", "status": 429, "times": 2, "retry_after": 0.25, "scope": "shared"},
    )
    assert (await rest("GET", path))[0] == 200
    for _ in range(2):
        status, body = await rest("POST", path, {"content": "x"})
        assert (status, body["retry_after"], body["global"]) == (429, 0.25, False)
    assert (await rest("POST", path, {"content": "x"}))[0] == 200
    await control("/faults", {"route": "/users", "status": 503, "body": {"message": "no", "code": 130000}})
    assert await rest("GET", "/users/@me") == (503, {"message": "no", "code": 130000})
    await control("/faults", {"route": "/users", "status": 500, "times": 9})
    async with session.delete("/control/faults") as response:
        assert response.status == 204
    assert (await rest("GET", "/users/@me"))[0] == 200


async def test_a_connection_is_cut_before_or_after_the_work(rest: Rest, juno: Person, lobby: str, control: Controls):
    path = f"/channels/{lobby}/messages"
    await control("/faults", {"method": "POST", "route": "/messages$", "drop_before": True})
    with pytest.raises(aiohttp.ClientError):
        await rest("POST", path, {"content": "before"})
    assert await juno.messages(lobby) == []
    await control("/faults", {"method": "POST", "route": "/messages$", "drop_after": True})
    with pytest.raises(aiohttp.ClientError):
        await rest("POST", path, {"content": "after"})
    assert [one["content"] for one in await juno.messages(lobby)] == ["after"]


async def test_a_delay_is_waited_for_and_files_can_fail(
    session: aiohttp.ClientSession, rest: Rest, lobby: str, juno: Person, control: Controls
):
    await control("/faults", {"route": "/users", "delay": 0.2})
    started = time.monotonic()
    assert (await rest("GET", "/users/@me"))[0] == 200
    assert time.monotonic() - started >= 0.2
    message = await juno.write(lobby, attachments=[await juno.upload(b"x", "a.png")])
    await control("/faults", {"route": "^/cdn/", "status": 404})
    for status in (404, 200):
        async with session.get(message["attachments"][0]["url"]) as response:
            assert response.status == status


async def test_a_wrong_fault_is_refused(session: aiohttp.ClientSession):
    for wrong in ({"route": "("}, {"status": 5}, {"times": 0}):
        async with session.post("/control/faults", json=wrong) as response:
            assert response.status == 400
            assert next(iter(wrong)) in (await response.json())["error"]


async def test_unknown_routes_are_counted(session: aiohttp.ClientSession, rest: Rest, box: Sandbox):
    assert (await rest("GET", "/stickers/5"))[0] == 404
    assert (await rest("PUT", f"/guilds/{seed.LANTERN_HOUSE.id}", {}))[0] == 404
    async with session.get("/control/routes") as response:
        counted = await response.json()
    assert counted["unknown"] == {
        "GET /api/v10/stickers/5": 1,
        f"PUT /api/v10/guilds/{seed.LANTERN_HOUSE.id}": 1,
    }
    box.record.unknown.clear()
    assert counted["calls"] == {}
