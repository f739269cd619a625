"""A provider's signed deliveries: the good ones wake a job, and nobody else's do anything."""

import asyncio
import base64
import hmac
import json
import re
import time
from collections.abc import AsyncGenerator
from functools import partial
from pathlib import Path

import aiohttp
import pytest
from pydantic import SecretStr

from clips import hosted_jobs
from clips.domain import TakeId
from clips.errors import SetupError
from clips.notices import listen
from clips.postgres import Pool, Session
from clips.settings import Settings
from generator.webhooks import Signatures, heard, receiving
from tests.generator.studio import generating
from tests.hosted.provider import KEY as PROVIDER_KEY
from tests.hosted.provider import Provider
from tests.library_of import ask_for, enqueued, settle_in

KEY = b"a key of twenty-four bytes"
SECRET = SecretStr("whsec_" + base64.b64encode(KEY).decode())
NOW = 1_796_000_000


class Receiver:
    """A receiver at work, what it woke, and a provider that signs as its pages say."""

    def __init__(self) -> None:
        self.woken: list[str] = []
        self.address = ""

    async def wake(self, external_id: str) -> None:
        self.woken.append(external_id)

    async def deliver(
        self, body: object, *, at: int = NOW, key: bytes = KEY, sent: bytes | None = None, version: str = "v1"
    ) -> int:
        """Deliver a body, or `sent` with its signature; the status of the answer."""
        content = json.dumps(body).encode()
        digest = base64.b64encode(hmac.digest(key, f"msg_1.{at}.".encode() + content, "sha256")).decode()
        headers = {
            "webhook-id": "msg_1",
            "webhook-timestamp": str(at),
            "webhook-signature": f"v1,{base64.b64encode(b'another').decode()} {version},{digest}",
        }
        async with (
            aiohttp.ClientSession() as session,
            session.post(self.address, data=sent or content, headers=headers) as response,
        ):
            return response.status


@pytest.fixture
async def receiver() -> AsyncGenerator[Receiver]:
    receiver = Receiver()
    async with receiving("127.0.0.1:0", Signatures(SECRET), receiver.wake, clock=lambda: NOW) as address:
        receiver.address = address
        yield receiver


async def test_a_signed_delivery_wakes_its_job(receiver: Receiver):
    assert await receiver.deliver({"id": "p1", "status": "succeeded", "output": "https://…"}) == 204
    assert receiver.woken == ["p1"]


async def test_one_that_comes_again_only_wakes_again(receiver: Receiver):
    assert [await receiver.deliver({"id": "p1"}, at=NOW - 200) for _ in range(2)] == [204, 204]
    assert receiver.woken == ["p1", "p1"]


@pytest.mark.parametrize("at", [NOW - 301, NOW + 301])
async def test_one_that_is_not_of_now_is_a_replay(receiver: Receiver, at: int):
    assert await receiver.deliver({"id": "p1"}, at=at) == 401
    assert receiver.woken == []


async def test_one_that_somebody_else_signed_is_refused(receiver: Receiver):
    assert await receiver.deliver({"id": "p1"}, key=b"a guess") == 401
    assert await receiver.deliver({"id": "p1"}, version="v2") == 401
    assert await receiver.deliver({"id": "p1"}, sent=b'{"id": "p2"}') == 401
    async with aiohttp.ClientSession() as session, session.post(receiver.address, json={"id": "p1"}) as response:
        assert response.status == 401
    assert receiver.woken == []


async def test_one_without_a_job_is_refused(receiver: Receiver):
    assert await receiver.deliver(["p1"]) == 422
    assert receiver.woken == []


async def test_what_the_host_wrote_wrong_is_told():
    for secret in ("whsec_äöü", "whsec_", "whsec_c2hvcnQ=", ""):
        with pytest.raises(SetupError, match="REPLICATE_WEBHOOK_SECRET: not what the provider gave"):
            Signatures(SecretStr(secret))
    for place in ("nowhere", "127.0.0.1:http", "192.0.2.1:80"):
        with pytest.raises(SetupError, match=f"ZOETROPE_WEBHOOK_LISTEN: cannot listen at {place}"):
            async with receiving(place, Signatures(SECRET), Receiver().wake):
                pass


@pytest.fixture
async def take(pool: Pool) -> TakeId:
    """A take with a job p1 at the provider."""
    await settle_in(pool, 1)
    await enqueued(pool, ask_for(1, 11, takes=1))
    take_id = TakeId(await pool.fetchval("UPDATE takes SET fence = 1 RETURNING take_id"))
    assert await hosted_jobs.remember(pool, take_id, "replicate", "p1")
    return take_id


async def test_a_delivery_wakes_whichever_generator_waits_for_the_job(dsn: str, pool: Pool, take: TakeId):
    here = Settings(webhook_listen="127.0.0.1:0", webhook_url="https://zoe.example/", replicate_webhook_secret=SECRET)
    async with (
        listen(dsn, Session("test"), (hosted_jobs.WOKEN,)) as notices,
        listen(dsn, Session("test"), (hosted_jobs.WOKEN,)) as elsewhere,
        heard(Settings(webhook_listen=None), pool, elsewhere) as calls,
        receiving("127.0.0.1:0", Signatures(SECRET), partial(hosted_jobs.wake, pool, "replicate"), lambda: NOW) as at,
        heard(here, pool, notices) as ours,
    ):
        assert (calls.address, ours.address) == (None, "https://zoe.example/webhooks/replicate")
        receiver = Receiver()
        receiver.address = at
        with calls.wakes.awaiting("p1") as known, calls.wakes.awaiting("p2") as unknown:
            assert await receiver.deliver({"id": "p2"}) == 204
            assert await receiver.deliver({"id": "p1"}) == 204
            async with asyncio.timeout(60):
                await known.pause(3600)
            waiting = asyncio.create_task(unknown.pause(3600))
            await asyncio.sleep(0)
            assert not waiting.done()
            waiting.cancel()


async def test_a_receiver_without_a_secret_is_refused(dsn: str, pool: Pool):
    async with listen(dsn, Session("test"), (hosted_jobs.WOKEN,)) as notices:
        with pytest.raises(SetupError, match="REPLICATE_WEBHOOK_SECRET is not set"):
            async with heard(Settings(webhook_listen="127.0.0.1:0"), pool, notices):
                pass


async def test_a_generator_hears_its_provider(
    dsn: str, provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("REPLICATE_WEBHOOK_SECRET", SECRET.get_secret_value())
    where = {"models": "gen4-turbo", "replicate_url": provider.address, "webhook_listen": "127.0.0.1:0"}
    async with generating(dsn, tmp_path, key=PROVIDER_KEY, **where) as generator:
        await generator.says("/webhooks/replicate.")
        receiver = Receiver()
        [receiver.address] = re.findall(r"received at (\S+)\.", generator.said)
        assert await receiver.deliver({"id": "p1"}, at=int(time.time())) == 204
        assert await receiver.deliver({"id": "p1"}, at=int(time.time()), key=b"a guess") == 401
        assert await generator.stopped() == 0, generator.said
    assert "its signature is wrong" in generator.said
    assert SECRET.get_secret_value() not in generator.said
