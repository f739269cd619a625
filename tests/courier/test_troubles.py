"""Whatever happens between a row and its message, the channel shows it once, and nothing is lost."""

import asyncio
import signal
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from office import HOME, Office, files, filmed, labels

from clips import deliveries, library
from clips.domain import TakeId
from clips.errors import SetupError
from clips.ffmpeg import Encoded
from clips.notices import listen
from clips.postgres import Pool, Session
from courier import posting
from courier.channel import Upload
from courier.message import File
from courier.roads import logged_in
from courier.uploads import smaller_limit
from sandbox.permissions import EVERYONE, Permission
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
    async with asyncio.timeout(30):
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


async def test_a_channel_that_takes_less_than_it_says_gets_smaller_files(office: Office, grainy: Encoded) -> None:
    await office.control("POST", f"/guilds/{HOME}", {"attachment_limit": grainy.bytes * 4 // 5})
    request = await office.ask(takes=2)
    await office.render(grainy)
    await office.settle()
    (small,) = (await office.reply())["attachments"]
    assert small["size"] <= grainy.bytes * 4 // 5
    assert (await office.row("reply", request))["limit_bytes"] == grainy.bytes * 3 // 4
    refused = sum(one.status == 413 for one in office.box.record.exchanges)
    await office.render(grainy)
    await office.settle()
    assert len(files(await office.only_message())) == 2
    assert sum(one.status == 413 for one in office.box.record.exchanges) == refused == 1


async def test_a_take_that_fits_at_no_size_is_told_and_kept(office: Office, grainy: Encoded) -> None:
    request = await office.ask(takes=2)
    await office.render()
    await office.render(grainy)
    await office.pool.execute("UPDATE deliveries SET limit_bytes = 2000")
    await office.settle()
    reply = await office.only_message()
    assert files(reply) == [f"zoetrope-{request}-take-1.mp4"]
    assert (
        "Take 2 is not attached: it is too large for this channel at any size. `/my clips` keeps it."
        in reply["content"]
    )


async def test_a_file_that_is_missing_from_the_store_is_told(office: Office) -> None:
    await office.ask(takes=1)
    await office.render()
    for blob in (office.folder / "blobs").glob("??/*"):
        blob.unlink()
    await office.settle()
    (reply,) = [message for message in await office.messages() if "not attached" in message["content"]]
    assert "its file is missing from the store" in reply["content"]


async def test_a_card_that_a_moderator_deleted_stays_deleted(office: Office) -> None:
    request = await office.ask(takes=1)
    await office.settle()
    card = await office.only_message()
    await office.control("DELETE", f"/messages/{card['channel_id']}/{card['id']}")
    await office.claim()
    await office.settle()
    assert await office.messages() == []
    row = await office.row("card", request)
    assert row["closed"] and row["failure"] == "The message was deleted in its channel."


async def test_a_reply_that_a_moderator_deleted_is_given_up_and_the_clip_kept(office: Office) -> None:
    request = await office.ask(takes=2)
    await office.render()
    await office.settle()
    reply = await office.reply()
    await office.control("DELETE", f"/messages/{reply['channel_id']}/{reply['id']}")
    await office.render()
    await office.settle()
    assert (await office.standing(request)).failure == "The message was deleted in its channel."
    whole = await office.whole(request)
    assert all([await library.clip(office.pool, HOME, take.take_id) for take in whole.takes])


async def test_a_deleted_channel_is_final(office: Office) -> None:
    lobby = await office.lobby()
    request = await office.ask(takes=1)
    await office.control("POST", f"/channels/{lobby}", {"deleted": True})
    await office.render()
    await office.settle()
    assert (await office.standing(request)).failure == "The channel was deleted."
    assert await office.settle() == 0


async def test_a_channel_that_the_bot_does_not_see_is_final(office: Office) -> None:
    lobby = await office.lobby()
    request = await office.ask(takes=1)
    await office.render()
    await office.control("POST", f"/channels/{lobby}", {"bot_permissions": "0"})
    await office.settle()
    assert (
        await office.standing(request)
    ).failure == "The bot no longer sees this channel. Give it View Channel there."


async def test_a_missing_permission_is_waited_for_then_told_on_the_card(office: Office) -> None:
    lobby = await office.lobby()
    bits = int(EVERYONE & ~Permission.ATTACH_FILES)
    await office.control("POST", f"/channels/{lobby}", {"bot_permissions": str(bits)})
    request = await office.ask(takes=1)
    await office.settle()
    await office.render()
    pauses: list[float] = []
    for _ in range(4):
        await office.settle()
        row = await office.row("reply", request)
        pauses.append((row["next_at"] - row["posted_at"]).total_seconds())
        assert row["failure"] is None
        assert (await office.only_message())["content"].startswith("**Finished.** The answer is being posted.")
        await office.hurry()
    assert [round(pause, -1) for pause in pauses] == [60, 300, 900, 1800]
    await office.settle()
    standing = await office.standing(request)
    assert standing.failure is not None and "it needs View Channel, Send Messages, Attach Files" in standing.failure
    card = await office.only_message()
    assert "Finished, but the clip could not be posted here.** The bot may not post here." in card["content"]
    assert labels(card) == []


async def test_a_mended_permission_is_noticed(office: Office) -> None:
    lobby = await office.lobby()
    await office.control(
        "POST", f"/channels/{lobby}", {"bot_permissions": str(int(EVERYONE & ~Permission.ATTACH_FILES))}
    )
    await office.ask(takes=1)
    await office.render()
    await office.settle()
    await office.control("POST", f"/channels/{lobby}", {"bot_permissions": None})
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
        await asyncio.wait([running], timeout=5)
    assert running.cancelled()
    assert (await office.row("reply", request))["lease_until"] is None
    await office.settle()
    await asyncio.sleep(1)
    await office.settle()
    assert len(files(await office.only_message())) == 1


async def test_a_lease_is_renewed_while_a_send_takes_long(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliveries, "LEASE", timedelta(seconds=0.6))
    await office.ask(takes=1)
    await office.render()
    await office.fault("POST", POST, delay=1.5)
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
    assert held.count(True) > 8 and False not in held


async def test_a_fault_of_ours_is_put_off_and_logged(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    request = await office.ask(takes=1)
    plan = await office.pool.fetchval("SELECT plan FROM requests")
    await office.pool.execute("UPDATE requests SET plan = $1", plan | {"width": "wide"})
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


@pytest.fixture
def grainy(office: Office) -> Encoded:
    """A clip of some 400 kB that can be made smaller."""
    return filmed(office.folder / "grainy.mp4", grain=True, size=(160, 120), frames=36)


def test_sizes_go_down_by_what_discord_is_known_to_take_then_by_quarters() -> None:
    mib = 1024 * 1024
    tried, size = list[float](), 40 * mib
    for _ in range(5):
        size = smaller_limit([Upload(File(TakeId(1), "a.mp4"), Path("a.mp4"), size)])
        tried.append(round(size / mib, 1))
    assert tried == [24.9, 9.9, 7.9, 6.0, 4.5]
