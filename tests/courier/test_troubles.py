"""Whatever happens between a row and its message, the channel shows it once, and nothing is lost."""

import asyncio
import signal
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from office import Office, files

from clips import deliveries
from clips.errors import SetupError
from clips.notices import listen
from clips.postgres import Pool, Session
from courier import posting
from courier.roads import logged_in
from sandbox.world import Times

POST = "/channels/[0-9]+/messages$"
A_MESSAGE = "/channels/[0-9]+/messages/[0-9]+$"


FORGETFUL = pytest.mark.parametrize("times", [Times(nonce=0)], ids=["no nonce"], indirect=True)
"""Discord remembers nonces for minutes only: what must hold after an hour is tested without them."""


@FORGETFUL
async def test_a_killed_courier_is_followed_without_a_double(office: Office, dsn: str) -> None:
    """Killed after the post and before the mark: at a card, a reply, an edit with a new file, a deletion."""
    request = await office.ask(takes=2)
    await killed(office, dsn)
    await killed(office, dsn)
    await office.settle()
    assert len(await office.messages()) == 1

    await office.render()
    await killed(office, dsn)
    assert len(await office.messages()) == 2
    await office.settle()
    first = await office.reply()
    assert (await office.row("reply", request))["mentioned_at"] is not None

    await office.render()
    await killed(office, dsn)
    assert len(files(await office.reply())) == 2
    await office.settle()
    last = await office.only_message()
    assert last["id"] == first["id"]
    assert len(files(last)) == 2
    assert len((await office.row("reply", request))["attached"]) == 2


async def killed(office: Office, dsn: str) -> None:
    """A courier dies between post and mark; its lease runs out."""
    script = Path(__file__).with_name("dying.py")
    process = await asyncio.create_subprocess_exec(
        sys.executable, script, dsn, office.box.address, str(office.folder / "blobs"), "posted-not-marked"
    )
    async with asyncio.timeout(90):
        assert await process.wait() == -signal.SIGKILL
    await office.hurry()


@FORGETFUL
@pytest.mark.parametrize("trouble", [{"status": 503}, {"drop_before": True}, {"drop_after": True}, {"status": 500}])
async def test_a_failed_or_unknown_send_is_one_message(office: Office, trouble: dict[str, object]) -> None:
    request = await office.ask(takes=1)
    await office.render()
    await office.fault("POST", POST, **trouble)
    await office.settle()
    await office.hurry()
    await office.settle()
    reply = await office.only_message()
    assert len(files(reply)) == 1
    assert (await office.standing(request)).message_id == int(reply["id"])


@pytest.mark.parametrize("trouble", [{"status": 503}, {"drop_before": True}, {"drop_after": True}])
async def test_a_failed_or_unknown_edit_attaches_a_take_once(office: Office, trouble: dict[str, object]) -> None:
    await office.ask(takes=2)
    await office.render()
    await office.settle()
    await office.render()
    await office.fault("PATCH", A_MESSAGE, **trouble)
    await office.settle()
    await office.hurry()
    await office.settle()
    assert len(files(await office.only_message())) == 2


async def test_a_short_rate_limit_is_slept_through_and_shared(office: Office) -> None:
    await office.ask(takes=1)
    await office.render()
    await office.fault("POST", POST, status=429, retry_after=0.2)
    assert await office.courier().deliver_one()
    assert len(files(await office.only_message())) == 1
    scope = await office.pool.fetchval("SELECT scope FROM discord_blocks")
    assert scope == f"channel {await office.lobby()}"


@pytest.mark.parametrize("everywhere", [False, True])
async def test_a_long_rate_limit_holds_everybody_still(office: Office, *, everywhere: bool) -> None:
    await office.ask(takes=1)
    await office.render()
    await office.fault("POST", POST, status=429, retry_after=45, **({"global": True} if everywhere else {}))
    assert await office.courier().deliver_one()
    assert not await office.courier().deliver_one()
    due = await deliveries.next_due(office.pool)
    assert due is not None and 30 < due <= 46
    other = await office.juno.channel("photos")
    await office.ask(takes=1, channel_id=int(other))
    assert await office.courier().deliver_one() is not everywhere
    await office.hurry()
    await office.settle()
    assert len(files(await office.only_message())) == 1


async def test_couriers_side_by_side_post_each_message_once(office: Office) -> None:
    async with logged_in("sandbox", office.pool) as another:
        for _ in range(5):
            await office.ask(takes=1)
        couriers = [office.courier(), office.courier(another)]
        await asyncio.gather(*(office.settle(courier) for courier in couriers * 2))
        assert len(await office.messages()) == 5
        for _ in range(5):
            await office.render()
        await asyncio.gather(*(office.settle(courier) for courier in couriers * 2))
        await office.settle()
    replies = await office.messages()
    assert len(replies) == 5
    assert all(len(files(reply)) == 1 for reply in replies)


@pytest.mark.parametrize("times", [Times(), Times(nonce=0)], ids=["nonce", "no nonce"], indirect=True)
async def test_a_lease_lost_on_the_way_leaves_one_message(office: Office) -> None:
    """A courier stalls in its send for longer than its lease; another delivers meanwhile.

    Without the nonce, which Discord forgets in minutes, the stalled one takes its own message away again.
    """
    request = await office.ask(takes=1)
    await office.render()
    await office.fault("POST", POST, delay=3.0)
    stalled = asyncio.create_task(office.courier().deliver_one())
    await office.until(office.is_sending)
    await office.hurry()
    # Of another process: a client sends into a channel one message at a time.
    async with logged_in("sandbox", office.pool) as another:
        await office.settle(office.courier(another))
    assert await stalled
    await office.settle()
    reply = await office.only_message()
    assert (await office.standing(request)).message_id == int(reply["id"])


@pytest.mark.parametrize("grace", [10.0, 0.1])
async def test_a_stopping_courier_leaves_neither_loss_nor_double(
    office: Office, dsn: str, monkeypatch: pytest.MonkeyPatch, grace: float
) -> None:
    monkeypatch.setattr(posting, "_GRACE", grace)
    request = await office.ask(takes=1)
    await office.render()
    await office.fault("POST", POST, delay=1.0)
    async with listen(dsn, Session("zoetrope tests"), [deliveries.CHANGED]) as notices:
        running = asyncio.create_task(office.courier().run(notices))
        await office.until(office.is_sending)
        running.cancel()
        await asyncio.wait([running], timeout=30)
    assert running.cancelled()
    assert (await office.row("reply", request))["lease_until"] is None
    await office.settle()
    await asyncio.sleep(1)
    await office.settle()
    assert len(files(await office.only_message())) == 1


async def test_a_lease_is_renewed_while_a_send_takes_long(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliveries, "LEASE", timedelta(seconds=3))
    await office.ask(takes=1)
    await office.render()
    await office.fault("POST", POST, delay=5)
    sending = asyncio.create_task(office.courier().deliver_one())
    await office.until(office.is_sending)
    held: list[bool | None] = []
    while not sending.done():
        held.append(
            await office.pool.fetchval("SELECT lease_until > clock_timestamp() FROM deliveries WHERE kind = 'reply'")
        )
        await asyncio.sleep(0.1)
    assert await sending
    # None: let go of, once it was marked.
    assert held.count(True) > 3 and False not in held


async def test_a_fault_of_ours_is_put_off_and_logged(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    request = await office.ask(takes=1)
    plan = await office.pool.fetchval("SELECT plan FROM requests")
    await office.pool.execute("UPDATE requests SET plan = $1", plan | {"frames": "many"})
    assert await office.settle() == 2
    assert "failed." in caplog.text and "Traceback" in caplog.text
    row = await office.row("card", request)
    assert (row["attempts"], row["failure"], row["lease_owner"]) == (1, None, None)
    await office.pool.execute("UPDATE requests SET plan = $1", plan)
    await office.hurry()
    await office.settle()
    assert (await office.only_message())["content"].startswith("**Next in line.**")


async def test_a_wrong_token_and_a_server_that_is_away_are_said(office: Office, pool: Pool) -> None:
    with pytest.raises(SetupError, match="DISCORD_TOKEN"):
        async with logged_in("wrong", pool):
            raise AssertionError
    await office.fault("GET", "/users/@me$", drop_before=True, times=9)
    with pytest.raises(SetupError, match="cannot be reached"):
        async with logged_in("sandbox", pool):
            raise AssertionError
