"""`python -m bot`: killed in the middle it loses and doubles nothing; what must be mended is said in a sentence."""

import asyncio
import signal
from asyncio.subprocess import Process

import pytest
from people import Person, option

from tests.bot.stage import ATTACHMENT, BOUND, Stage, jpeg


async def killed_at(stage: Stage, who: Person, channel: str, checkpoint: str) -> str:
    """Use `/animate` with a bot that dies at a checkpoint; the interaction."""
    async with stage.process(ZOETROPE_KILL_AT=checkpoint) as process:
        await stage.until(lambda: stage.box.world.online)
        photo = await who.upload(jpeg(), "photo.jpg")
        interaction = await who.use(channel, "animate", option("photo", ATTACHMENT, photo))
        assert await asyncio.wait_for(process.wait(), BOUND) == -signal.SIGKILL
    await stage.until(lambda: not stage.box.world.online)
    return interaction


async def refusals(stage: Stage) -> list[str | None]:
    """What became of the intakes: a refusal, or None for a request."""
    rows = await stage.pool.fetch("SELECT refusal FROM intakes WHERE finished_at IS NOT NULL")
    return [row["refusal"] for row in rows]


async def control(stage: Stage, path: str, **body: object) -> None:
    async with stage.session.post(f"/control/{path}", json=body) as answer:
        assert answer.status < 300


@pytest.mark.parametrize("checkpoint", ["intake-stored", "held"])
async def test_a_killed_intake_leads_to_one_request(empty: Stage, juno: Person, lobby: str, checkpoint: str):
    interaction = await killed_at(empty, juno, lobby, checkpoint)
    assert len(await empty.request_ids()) == (checkpoint == "held")
    # The dead one may have leased the card's delivery: as if that minute had passed.
    await empty.pool.execute("UPDATE deliveries SET lease_until = now()")
    async with empty.playing():
        if checkpoint == "intake-stored":
            answer = await empty.answer(juno, interaction)
            assert "On its way" in answer["content"]
        card = await empty.shown(juno, lobby, lambda message: "Cancel" in str(message["components"]))
        await asyncio.sleep(0.5)
        cards = [one for one in await juno.messages(lobby) if not one["ephemeral"]]
        assert [one["id"] for one in cards] == [card["id"]]
    assert len(await empty.request_ids()) == 1
    assert await empty.pool.fetchval("SELECT count(*) FROM holds") == 3
    assert await refusals(empty) == [None]


async def test_an_upload_that_expired_meanwhile_is_refused_in_its_place(empty: Stage, juno: Person, lobby: str):
    interaction = await killed_at(empty, juno, lobby, "intake-stored")
    await control(empty, "expire", attachments=True)
    async with empty.playing():
        answer = await empty.answer(juno, interaction)
        assert answer["content"].startswith("The photo is no longer where it was uploaded")
    assert await empty.request_ids() == []


async def test_a_refusal_that_nobody_can_be_told_is_still_on_record(empty: Stage, juno: Person, lobby: str):
    await killed_at(empty, juno, lobby, "intake-stored")
    await control(empty, "expire", attachments=True, tokens=True)
    async with empty.playing():
        told = await empty.eventually(lambda: refusals(empty))
    assert len(told) == 1 and str(told[0]).startswith("The photo is no longer where it was uploaded")


async def test_a_channel_that_closed_meanwhile_gets_no_clip(empty: Stage, juno: Person, lobby: str):
    interaction = await killed_at(empty, juno, lobby, "intake-stored")
    await control(empty, f"channels/{lobby}", bot_permissions=str(1 << 10))
    async with empty.playing():
        answer = await empty.answer(juno, interaction)
        assert "I lack Send Messages, Attach Files and Read Message History here" in answer["content"]
    assert await empty.request_ids() == []


async def said(process: Process) -> tuple[int | None, str]:
    _, words = await asyncio.wait_for(process.communicate(), BOUND)
    return process.returncode, words.decode()


async def test_a_signal_ends_it_cleanly(empty: Stage):
    async with empty.process() as process:
        await empty.until(lambda: empty.box.world.online)
        process.send_signal(signal.SIGTERM)
        code, words = await said(process)
    assert code == 0, words
    assert "Traceback" not in words and words.rstrip().endswith("stopped")


async def test_what_must_be_mended_is_one_sentence(empty: Stage):
    async with empty.process(DISCORD_TOKEN="wrong") as process:
        code, words = await said(process)
    assert (code, words.splitlines()[-1].startswith("bot: DISCORD_TOKEN: Discord does not know this token.")) == (
        2,
        True,
    )
    missing = await empty.pool.fetchval(
        "DELETE FROM applied_migrations WHERE number = (SELECT max(number) FROM applied_migrations) RETURNING name"
    )
    async with empty.process() as process:
        code, words = await said(process)
    assert (code, words.splitlines()[-1]) == (
        2,
        f"bot: The database lacks the migration {missing}. Run `zoetrope migrate`, then start the bot again.",
    )
    assert "Traceback" not in words
