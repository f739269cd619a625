"""What Discord refuses: files that are too large, messages and channels that are gone, permissions that are missing."""

from pathlib import Path

import pytest
from office import HOME, Office, files, filmed, labels

from clips import library
from clips.domain import TakeId
from clips.ffmpeg import Encoded
from courier.channel import Upload
from courier.message import File
from courier.uploads import smaller_limit
from sandbox.permissions import EVERYONE, Permission


@pytest.fixture
def grainy(office: Office) -> Encoded:
    """A clip of some 400 kB that can be made smaller."""
    return filmed(office.folder / "grainy.mp4", grain=True, size=(160, 120), frames=36)


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
        assert (await office.only_message())["content"].startswith(
            "**Finished, but the answer cannot be posted yet.** The bot may not post here. In this channel it needs"
        )
        await office.hurry()
    assert [round(pause, -1) for pause in pauses] == [60, 300, 900, 1800]
    await office.settle()
    standing = await office.standing(request)
    assert standing.failure is not None and "it needs View Channel, Send Messages, Attach Files" in standing.failure
    card = await office.only_message()
    assert "Finished, but the clip could not be posted here.** The bot may not post here." in card["content"]
    assert labels(card) == []


async def test_an_outage_before_it_uses_up_no_patience_for_a_missing_permission(office: Office) -> None:
    request = await office.ask(takes=1)
    await office.settle()
    await office.render()
    for _ in range(5):
        await office.fault("POST", "/channels/[0-9]+/messages$", status=503)
        await office.settle()
        await office.hurry()
    bits = int(EVERYONE & ~Permission.ATTACH_FILES)
    await office.control("POST", f"/channels/{await office.lobby()}", {"bot_permissions": str(bits)})
    await office.settle()
    row = await office.row("reply", request)
    assert (row["attempts"], row["refusals"], row["failure"]) == (5, 1, None)


async def test_a_mended_permission_is_noticed(office: Office) -> None:
    lobby = await office.lobby()
    await office.control(
        "POST", f"/channels/{lobby}", {"bot_permissions": str(int(EVERYONE & ~Permission.ATTACH_FILES))}
    )
    request = await office.ask(takes=1)
    await office.render()
    await office.settle()
    trouble = (await office.standing(request)).trouble
    assert trouble is not None and trouble.startswith("The bot may not post here.")
    await office.fault("POST", "/channels/[0-9]+/messages$", status=503)
    await office.hurry()
    await office.settle()
    assert (await office.standing(request)).trouble == trouble, "an outage mends nothing"
    await office.control("POST", f"/channels/{lobby}", {"bot_permissions": None})
    await office.hurry()
    await office.settle()
    assert len(files(await office.only_message())) == 1
    assert (await office.standing(request)).trouble is None


def test_sizes_go_down_by_what_discord_is_known_to_take_then_by_quarters() -> None:
    mib = 1024 * 1024
    tried, size = list[float](), 40 * mib
    for _ in range(5):
        size = smaller_limit([Upload(File(TakeId(1), "a.mp4"), Path("a.mp4"), size)])
        tried.append(round(size / mib, 1))
    assert tried == [24.9, 9.9, 7.9, 6.0, 4.5]
