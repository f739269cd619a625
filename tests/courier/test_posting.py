"""From a row in the database to a message in the channel, over real sockets, with a client that never connects."""

import asyncio

import pytest
from office import HOME, JUNO, LIMIT, Office, files, filmed, labels

from clips import deliveries, queue, requests
from clips.domain import Progress
from clips.ffmpeg import Encoded
from clips.notices import listen
from clips.postgres import Session
from courier.posting import tick_cards
from courier.wording import moment
from sandbox.world import Times


async def test_a_card_then_the_reply_then_no_card(office: Office) -> None:
    request = await office.ask(takes=1)
    await office.settle()
    card = await office.only_message()
    assert card["content"].startswith("**Next in line.**")
    assert labels(card) == ["Cancel"]
    assert card["mentions"] == []

    claim = await office.claim()
    await queue.beat(office.pool, claim, Progress("step", 3, 9), deliveries.LEASE)
    await office.settle()
    rendering = await office.only_message()
    assert rendering["id"] == card["id"]
    assert "step 3 of 9" in rendering["content"]

    await office.finish(claim)
    await office.settle()
    reply = await office.only_message()
    assert reply["id"] != card["id"]
    assert [user["id"] for user in reply["mentions"]] == [str(JUNO)]
    assert files(reply) == [f"zoetrope-{request}-take-1.mp4"]
    assert labels(reply) == ["Reroll", "Remix…", "Vary…", "On my photo…", "More…"]
    assert await office.settle() == 0


async def test_takes_join_the_reply_and_keep_what_is_attached(office: Office) -> None:
    request = await office.ask(takes=3, spoiler=True)
    seen: list[set[str]] = []
    for count in (1, 2, 3):
        await office.render()
        await office.settle()
        reply = await office.reply()
        assert len(files(reply)) == count
        assert all(name.startswith("SPOILER_") for name in files(reply))
        seen.append({attachment["id"] for attachment in reply["attachments"]})
    assert seen[0] < seen[1] < seen[2]
    reply = await office.only_message()
    assert "3 takes are ready" in reply["content"]
    assert labels(reply)[:3] == ["1 ★", "2", "3"]
    row = await office.row("reply", request)
    assert {int(attachment) for attachment in row["attached"].values()} == {int(one) for one in seen[2]}
    assert row["closed"]


async def test_a_choice_changes_the_star_and_no_file(office: Office) -> None:
    request = await office.ask(takes=2)
    await office.render()
    await office.render()
    await office.settle()
    before = await office.only_message()
    whole = await office.whole(request)
    async with office.pool.acquire() as conn:
        await requests.choose(conn, whole.request, whole.takes[1].take_id)
    await office.settle()
    after = await office.only_message()
    assert labels(after)[:2] == ["1", "2 ★"]
    assert [one["id"] for one in after["attachments"]] == [one["id"] for one in before["attachments"]]


async def test_all_failed_is_one_mention_and_no_card(office: Office) -> None:
    await office.ask(takes=2)
    await office.settle()
    await office.fail("The photo is too dark. Try a brighter one.")
    await office.fail("The photo is too dark. Try a brighter one.")
    await office.settle()
    reply = await office.only_message()
    assert "None of your takes could be made.** The photo is too dark. Try a brighter one. Nothing" in reply["content"]
    assert labels(reply) == ["Try again", "Change…"]
    assert len(reply["mentions"]) == 1


async def test_partial_failure_is_told_on_the_reply(office: Office) -> None:
    await office.ask(takes=3)
    await office.fail()
    await office.render()
    await office.fail()
    await office.settle()
    reply = await office.only_message()
    assert "Takes 1 and 3 failed; nothing was charged for them." in reply["content"]
    assert len(files(reply)) == 1


async def test_a_cancelled_request_leaves_its_card(office: Office) -> None:
    request = await office.ask(takes=2)
    await office.settle()
    await queue.cancel(office.pool, request)
    await office.settle()
    card = await office.only_message()
    assert card["content"].startswith("**Cancelled.** Nothing was charged.")
    assert labels(card) == ["Try again"]


async def test_what_was_cancelled_before_it_was_seen_is_not_shown(office: Office) -> None:
    request = await office.ask()
    await queue.cancel(office.pool, request)
    await office.settle()
    assert await office.messages() == []


async def test_deleted_clips_leave_the_channel(office: Office) -> None:
    request = await office.ask(takes=2)
    await office.render()
    await office.render()
    await office.settle()
    await office.delete(request)
    await office.settle()
    reply = await office.only_message()
    assert reply["content"].startswith("The clips were deleted")
    assert (files(reply), labels(reply)) == ([], [])


@pytest.mark.parametrize("times", [Times(nonce=0)], ids=["no nonce"], indirect=True)
async def test_a_late_last_take_is_mentioned_once_more_and_only_once(office: Office) -> None:
    await office.ask(takes=2)
    await office.render()
    await office.settle()
    await office.render()
    await office.pool.execute("UPDATE takes SET finished_at = now() + interval '3 minutes' WHERE index = 2")
    await office.settle()
    # As if that courier had died before it marked the mention.
    await office.pool.execute("UPDATE deliveries SET mentioned_at = now(), wanted_rev = wanted_rev + 1")
    await office.settle()
    reply, late = await office.messages()
    assert late["content"].startswith(f"<@{JUNO}> Take 2 is ready too")
    assert late["message_reference"]["message_id"] == reply["id"]
    assert [user["id"] for user in late["mentions"]] == [str(JUNO)]


async def test_nobody_is_notified_by_a_members_words(office: Office) -> None:
    motion = f"@everyone <@{office.box.world.app.owner_id}> **bold** \u202e [a](https://b.example)"
    await office.ask(takes=1, motion=motion)
    await office.settle()
    card = await office.only_message()
    assert (card["mentions"], card["mention_everyone"]) == ([], False)
    await office.render()
    await office.settle()
    reply = await office.only_message()
    assert [user["id"] for user in reply["mentions"]] == [str(JUNO)]
    assert not reply["mention_everyone"]
    assert "@\u200beveryone \\<@\u200b" in reply["content"]


async def test_a_message_that_is_the_same_is_not_sent_again(office: Office) -> None:
    await office.ask(takes=1)
    courier = office.courier()
    await office.settle(courier)
    claim = await office.claim()
    await queue.beat(office.pool, claim, Progress("load", 0, 0), deliveries.LEASE)
    await office.settle(courier)
    edits = office.box.record.calls["PATCH /channels/{channel_id}/messages/{message_id}"]
    assert edits == 1
    await office.pool.execute("UPDATE deliveries SET wanted_rev = wanted_rev + 1")
    await office.settle(courier)
    assert office.box.record.calls["PATCH /channels/{channel_id}/messages/{message_id}"] == edits
    # A courier that did not post it itself cannot know, and edits.
    await office.pool.execute("UPDATE deliveries SET wanted_rev = wanted_rev + 1")
    await office.settle()
    assert office.box.record.calls["PATCH /channels/{channel_id}/messages/{message_id}"] == edits + 1


async def test_what_another_courier_posted_meanwhile_is_not_taken_for_ours(office: Office) -> None:
    await office.ask(takes=1)
    courier = office.courier()
    await office.settle(courier)
    claim = await office.claim()
    await office.settle()
    assert await office.card_says("**Rendering**")
    await queue.give_back(office.pool, claim)
    await office.settle(courier)
    assert await office.card_says("**Next in line.**")


async def test_a_fresh_card_waits_and_a_reply_does_not(office: Office) -> None:
    await office.ask(takes=1)
    courier = office.courier()
    await office.settle(courier)
    # As if it had been posted in a minute: the seconds that it waits must not pass while the reply is made.
    await office.pool.execute("UPDATE deliveries SET posted_at = clock_timestamp() + interval '1 min'")
    await office.render()
    assert await courier.deliver_one()
    assert not await courier.deliver_one()
    due = await deliveries.next_due(office.pool)
    assert due is not None and 0 < due <= 60 + 3
    assert len(await office.messages()) == 2


async def test_live_cards_are_drawn_again_as_they_age(office: Office) -> None:
    """A rendering one after 3 s, a waiting one after 60 s, and few at a time."""
    running, waiting = await office.ask(takes=1), await office.ask(takes=1)
    await office.settle()
    assert (await office.claim()).request_id == running
    stale: list[set[int]] = []
    for age in (1, 4, 61):
        await office.pool.execute(
            "UPDATE deliveries SET posted_rev = wanted_rev, posted_at = clock_timestamp() - $1 * interval '1 s'", age
        )
        await deliveries.refresh_cards(office.pool, 10)
        rows = await office.pool.fetch("SELECT request_id FROM deliveries WHERE posted_rev < wanted_rev")
        stale.append({row["request_id"] for row in rows})
    assert stale == [set(), {running}, {running, waiting}]
    await office.pool.execute("UPDATE deliveries SET posted_rev = wanted_rev")
    await deliveries.refresh_cards(office.pool, 1)
    assert await office.pool.fetchval("SELECT count(*) FROM deliveries WHERE posted_rev < wanted_rev") == 1


async def test_a_request_whose_model_nobody_runs_says_so(office: Office) -> None:
    await queue.leave(office.pool, office.generator)
    request = await office.ask(takes=2)
    await office.settle()
    card = await office.only_message()
    due = (await office.whole(request)).takes[0].due_at
    assert due is not None
    assert card["content"].startswith(
        "**No generator runs this model right now:** sketch, not a generated video. Takes"
    )
    assert f"(it gives up {moment(due)})" in card["content"]


async def test_the_whole_loop_wakes_by_notice_and_stops_at_once(office: Office, dsn: str) -> None:
    async with listen(dsn, Session("zoetrope tests"), [deliveries.CHANGED]) as notices:
        running = asyncio.create_task(office.courier().run(notices))
        ticking = asyncio.create_task(tick_cards(office.pool))
        try:
            await office.ask(takes=1)
            await office.until(office.messages)
            claim = await office.claim()
            await queue.beat(office.pool, claim, Progress("step", 2, 3), deliveries.LEASE)
            await office.until(lambda: office.card_says("step 2 of 3"))
            await office.finish(claim)
            await office.until(lambda: office.card_says("Your clip is ready"))
        finally:
            ticking.cancel()
            running.cancel()
            await asyncio.wait([running, ticking], timeout=30)
    assert running.cancelled() and ticking.cancelled()
    assert len(files(await office.only_message())) == 1


@pytest.fixture(scope="module")
def heavy(tmp_path_factory: pytest.TempPathFactory) -> Encoded:
    """Three seconds of grain: more than 10 MiB."""
    clip = filmed(tmp_path_factory.mktemp("heavy") / "heavy.mp4", grain=True, size=(640, 360), frames=80)
    assert clip.bytes > LIMIT
    return clip


async def test_a_large_clip_gets_a_smaller_copy_that_is_kept(office: Office, heavy: Encoded) -> None:
    await office.ask(takes=1)
    await office.render(heavy)
    await office.settle()
    (attachment,) = (await office.only_message())["attachments"]
    assert 1024 * 1024 < attachment["size"] <= LIMIT
    assert await office.pool.fetchval("SELECT count(*) FROM copies") == 1
    async with office.session.get(attachment["url"]) as response:
        assert (await response.read())[4:8] == b"ftyp"


async def test_a_boosted_server_gets_the_master(office: Office, heavy: Encoded) -> None:
    await office.control("POST", f"/guilds/{HOME}", {"attachment_limit": 50 * 1024 * 1024})
    await office.ask(takes=1)
    await office.render(heavy)
    await office.settle()
    assert (await office.only_message())["attachments"][0]["size"] == heavy.bytes
