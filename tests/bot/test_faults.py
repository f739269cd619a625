"""What goes wrong on our side: said with a number, logged with its trace, never charged and never doubled."""

import asyncio
import logging
import re
from datetime import timedelta
from typing import Any

import pytest
from people import Person, option

from clips import intakes
from tests.bot.stage import ATTACHMENT, Stage, jpeg


async def control(stage: Stage, path: str, **body: object) -> None:
    async with stage.session.post(f"/control/{path}", json=body) as answer:
        assert answer.status < 300


async def test_a_fault_of_ours_has_a_number_that_is_in_the_log(
    stage: Stage, juno: Person, lobby: str, caplog: pytest.LogCaptureFixture
):
    await stage.pool.execute("ALTER TABLE role_weights RENAME TO mislaid")
    answer = await stage.animate(juno, lobby)
    found = re.search(r"Something broke on our side, and nothing was charged.*`(\w+)`", answer["content"])
    assert found is not None, answer["content"]
    assert any(found[1] in record.message and record.exc_info for record in caplog.records)
    assert found[1] in await stage.pool.fetchval("SELECT refusal FROM intakes")
    assert await stage.request_ids() == []


async def test_a_fault_in_a_command_and_in_a_button_is_answered_too(
    stage: Stage, juno: Person, lobby: str, caplog: pytest.LogCaptureFixture
):
    await stage.ask(juno, lobby)
    card = await stage.shown(juno, lobby, lambda message: message["components"])
    await stage.pool.execute("ALTER TABLE takes RENAME TO mislaid")
    try:
        pressed = await stage.answer(juno, await stage.press(juno, card, "Cancel"))
        asked = await stage.answer(juno, await juno.use(lobby, "my", {"type": 1, "name": "queue", "options": []}))
    finally:
        await stage.pool.execute("ALTER TABLE mislaid RENAME TO takes")
    for answer in (pressed, asked):
        assert answer["content"].startswith("Something broke on our side")
    assert sum(record.levelno == logging.ERROR and "trace" in record.message for record in caplog.records) == 2


async def test_an_interaction_delivered_twice_is_one_request(stage: Stage, juno: Person, lobby: str):
    assert stage.bot is not None
    parsers: dict[str, Any] = stage.bot.client._connection.parsers  # pyright: ignore[reportPrivateUsage] - where the gateway's events come in
    once = parsers["INTERACTION_CREATE"]

    def twice(delivered: Any) -> None:
        once(delivered)
        once(delivered)

    parsers["INTERACTION_CREATE"] = twice
    assert "On its way" in (await stage.animate(juno, lobby))["content"]
    await asyncio.sleep(0.3)
    assert len(await stage.request_ids()) == 1
    assert await stage.pool.fetchval("SELECT count(*) FROM intakes") == 1


async def test_what_could_not_be_written_down_goes_on_once_it_can(stage: Stage, juno: Person, lobby: str):
    assert stage.bot is not None
    await control(stage, "faults", method="GET", route="/cdn/", delay=300, times=1)
    photo = await juno.upload(jpeg(), "photo.jpg")
    interaction = await juno.use(lobby, "animate", option("photo", ATTACHMENT, photo))
    await stage.until(lambda: not stage.box.faults.waiting)  # the download has begun
    await stage.pool.execute("ALTER TABLE intakes RENAME TO mislaid")
    try:
        await stage.no_more_faults()
        await stage.bot.client.parts.intake.close(timedelta(seconds=60))
    finally:
        await stage.pool.execute("ALTER TABLE mislaid RENAME TO intakes")
    assert await stage.request_ids() == []
    async with stage.playing():
        assert "On its way" in (await stage.answer(juno, interaction))["content"]
    assert len(await stage.request_ids()) == 1


async def test_what_another_process_has_refused_becomes_no_request(stage: Stage, juno: Person, lobby: str):
    await control(stage, "faults", method="GET", route="/cdn/", delay=300, times=1)
    photo = await juno.upload(jpeg(), "photo.jpg")
    interaction = int(await juno.use(lobby, "animate", option("photo", ATTACHMENT, photo)))
    await stage.until(lambda: not stage.box.faults.waiting)  # the download has begun
    await intakes.refuse(stage.pool, interaction, "The other bot said no.")
    assert stage.bot is not None
    await stage.no_more_faults()
    await stage.bot.client.parts.intake.close(timedelta(seconds=60))
    assert await stage.request_ids() == []
    assert await stage.pool.fetchval("SELECT count(*) FROM holds") == 0
    # What this process said beforehand does not stand over it.
    assert (await stage.answer(juno, str(interaction)))["content"] == "The other bot said no."


async def test_an_answer_that_the_network_swallowed_is_not_called_a_failure(
    stage: Stage, juno: Person, lobby: str, caplog: pytest.LogCaptureFixture
):
    # What it says beforehand, and the answer itself.
    await control(stage, "faults", method="PATCH", route="/webhooks/", drop_before=True, times=2)
    photo = await juno.upload(jpeg(), "photo.jpg")
    interaction = await juno.use(lobby, "animate", option("photo", ATTACHMENT, photo))
    await stage.until(lambda: "could not be answered" in caplog.text)
    assert len(await stage.request_ids()) == 1
    await asyncio.sleep(0.3)
    said = (await juno.outcome(interaction))["messages"]
    assert not any("Something broke" in message["content"] for message in said)


async def test_a_refusal_that_the_network_swallowed_is_said_later(
    stage: Stage, juno: Person, lobby: str, caplog: pytest.LogCaptureFixture
):
    assert stage.bot is not None
    # What it says beforehand, and the answer itself.
    await control(stage, "faults", method="PATCH", route="/webhooks/", drop_before=True, times=2)
    photo = await juno.upload(b"no photo", "photo.jpg")
    interaction = await juno.use(lobby, "animate", option("photo", ATTACHMENT, photo))
    await stage.until(lambda: "could not be answered" in caplog.text)
    intake = stage.bot.client.parts.intake
    await stage.eventually(lambda: intakes_open(stage))
    await intake.resume(stage.bot.client, await intakes.now(stage.pool))
    assert "photo" in (await stage.answer(juno, interaction))["content"]
    assert not await intakes_open(stage)


async def intakes_open(stage: Stage) -> int:
    return await stage.pool.fetchval("SELECT count(*) FROM intakes WHERE finished_at IS NULL")
