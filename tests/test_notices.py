"""Notices over connections that are cut, and over a server that restarts."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from time import monotonic

import asyncpg
import pytest

from clips import notices as module
from clips.embedded import embedded
from clips.errors import SetupError
from clips.notices import Notices, listen
from clips.postgres import Pool, Session

SESSION = Session("zoetrope notices")
CUT = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'zoetrope notices'"


@pytest.fixture
async def notices(dsn: str) -> AsyncGenerator[Notices]:
    async with listen(dsn, SESSION, ["takes_ready", "request_changed"]) as listening:
        yield listening


async def test_a_notice_ends_the_wait(notices: Notices, pool: Pool):
    waiting = asyncio.create_task(notices.wait("takes_ready", timeout=60))
    await asyncio.sleep(0.05)
    started = monotonic()
    await pool.execute("SELECT pg_notify('takes_ready', '')")
    assert await waiting
    assert monotonic() - started < 30


async def test_silence_ends_the_wait_too(notices: Notices, pool: Pool):
    await pool.execute("SELECT pg_notify('request_changed', '1')")
    started = monotonic()
    assert not await notices.wait("takes_ready", timeout=0.2)
    assert monotonic() - started >= 0.2


async def test_a_notice_between_two_waits_is_not_missed(notices: Notices, pool: Pool):
    await pool.execute("SELECT pg_notify('takes_ready', '')")
    await asyncio.sleep(0.1)
    assert await notices.wait("takes_ready", timeout=30)
    assert not await notices.wait("takes_ready", timeout=0)


async def test_every_subscriber_hears_it(notices: Notices, pool: Pool):
    hints = [notices.subscribe("takes_ready") for _ in range(3)]
    first = asyncio.create_task(hints[0].wait(30))
    await pool.execute("SELECT pg_notify('takes_ready', '')")
    assert await first
    await asyncio.sleep(0.05)
    assert await asyncio.gather(*(hint.wait(0) for hint in hints)) == [False, True, True]


async def test_callbacks_get_the_payload_until_removed(notices: Notices, pool: Pool, caplog: pytest.LogCaptureFixture):
    heard: list[str | None] = []
    notices.call("request_changed", lambda _: 1 / 0)
    remove = notices.call("request_changed", heard.append)
    hint = notices.subscribe("request_changed")
    await pool.execute("SELECT pg_notify('request_changed', '17')")
    assert await hint.wait(30)
    remove()
    await pool.execute("SELECT pg_notify('request_changed', '18')")
    assert await hint.wait(30)
    assert heard == ["17"]
    assert "A callback for request_changed failed." in caplog.text


async def test_a_cut_connection_is_replaced_and_everybody_looks(notices: Notices, pool: Pool):
    heard: list[str | None] = []
    notices.call("request_changed", heard.append)
    waiting = asyncio.create_task(notices.wait("takes_ready", timeout=30))
    await asyncio.sleep(0.05)
    assert await pool.fetchval(CUT)
    assert await waiting
    assert heard == [None]
    assert await notices.wait("request_changed", timeout=30)
    await pool.execute("SELECT pg_notify('request_changed', '17')")
    assert await notices.wait("request_changed", timeout=30)
    assert heard == [None, "17"]


async def test_a_server_may_restart(tmp_path: Path):
    async with embedded(tmp_path) as dsn:
        listening = listen(dsn, SESSION, ["takes_ready"])
        notices = await listening.__aenter__()
    try:
        assert not await notices.wait("takes_ready", timeout=0.5)
        async with embedded(tmp_path):
            assert await notices.wait("takes_ready", timeout=30)
            connection = await asyncpg.connect(dsn)
            await connection.execute("NOTIFY takes_ready")
            assert await notices.wait("takes_ready", timeout=30)
            await connection.close()
    finally:
        await listening.__aexit__(None, None, None)


async def test_a_silent_connection_is_tried(dsn: str, pool: Pool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "_PROBE_EVERY", 0.05)
    query = "SELECT query FROM pg_stat_activity WHERE application_name = 'zoetrope notices'"
    async with listen(dsn, SESSION, ["takes_ready"]), asyncio.timeout(30):
        while await pool.fetchval(query) != "SELECT 1":  # noqa: ASYNC110 - the server has no event for it
            await asyncio.sleep(0.02)


async def test_the_connection_goes_with_the_block(dsn: str, pool: Pool):
    count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'zoetrope notices'"
    async with listen(dsn, SESSION, ["takes_ready"]):
        assert await pool.fetchval(count) == 1
    async with asyncio.timeout(30):
        while await pool.fetchval(count):  # noqa: ASYNC110 - the server has no event for it
            await asyncio.sleep(0.02)


async def test_a_first_connection_that_fails_is_told():
    with pytest.raises(SetupError, match="cannot be reached"):
        async with listen("postgresql://127.0.0.1:1/none", SESSION, ["takes_ready"]):
            pass
