"""What a member is told before anything is set aside, and that what came of it is what stands in the end."""

import asyncio
from typing import Any

import pytest
from people import Json, Person, option

from bot import answering
from clips import guilds, paid
from tests.bot.stage import ATTACHMENT, BEFOREHAND, HOME, NUMBER, STRING, Stage, button, jpeg

SKETCH = "with Sketch (a sketch, not a generated video)"


async def fault(stage: Stage, **body: Any) -> None:
    async with stage.session.post("/control/faults", json={"times": 1, **body}) as answer:
        assert answer.status < 300


async def begun(juno: Person, lobby: str, *options: Json) -> str:
    """`/animate` up to its being heard; the interaction."""
    photo = option("photo", ATTACHMENT, await juno.upload(jpeg(), "photo.jpg"))
    return await juno.use(lobby, "animate", photo, *options)


async def beforehand(stage: Stage, who: Person, interaction: str) -> str:
    """What is told before anything is held."""
    told = (await stage.said(who, interaction, lambda content: content.startswith(BEFOREHAND)))["content"]
    assert await stage.pool.fetchval("SELECT count(*) FROM holds") == 0
    return told


async def test_length_and_price_are_told_while_the_photo_is_fetched(stage: Stage, juno: Person, lobby: str):
    await stage.announce("sketch", "svd-xt")
    await fault(stage, method="GET", route="/cdn/", delay=300)
    interaction = await begun(juno, lobby, option("model", STRING, "svd-xt"))
    assert await beforehand(stage, juno, interaction) == (
        "**About to be made:** 3 takes with Stable Video Diffusion XT, 3.57 s each, 480p, for 54 credits. "
        "Reading what you sent…"
    )
    await stage.no_more_faults()
    answer = await stage.answer(juno, interaction)
    assert "3 takes with Stable Video Diffusion XT, 3.57 s each" in answer["content"]
    assert "54 credits (18 a take) are set aside" in answer["content"]


async def test_dollars_are_told_and_what_is_asked_back_comes_after_them(stage: Stage, juno: Person, lobby: str):
    await stage.announce("sketch", "kling-v2.6")
    await guilds.know(stage.pool, HOME)
    await paid.approve(stage.pool, HOME, "replicate", 5_000_000)
    await fault(stage, method="GET", route="/cdn/", delay=300)
    asked = [option("model", STRING, "kling-v2.6"), option("length", NUMBER, 8)]
    interaction = await begun(juno, lobby, *asked)
    told = await beforehand(stage, juno, interaction)
    assert "3 takes with Kling v2.6, 10 s each, 1080p, for 420 credits and $2.10." in told
    await stage.no_more_faults()
    question = await stage.answer(juno, interaction)
    assert question["content"].endswith("You asked for 8 s; 10 s is the nearest that Kling v2.6 can.")
    answer = await stage.answer(juno, await stage.press(juno, question, "Only 1 take for $0.70"))
    assert answer["content"].startswith("**On its way:** 1 take with Kling v2.6, 10 s")


async def test_a_button_tells_it_before_anything_is_held(
    stage: Stage, juno: Person, theo: Person, lobby: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(answering, "_FIRST", 300)
    await stage.ask(juno, lobby, takes=2)
    await stage.finish(2)
    reply = await stage.shown(juno, lobby, lambda message: len(message["attachments"]) == 2)
    await fault(stage, method="PATCH", route="/webhooks/", delay=300)
    interaction = await theo.press(reply, button(reply, "Reroll")["custom_id"])
    await stage.until(lambda: not stage.box.faults.waiting)
    await asyncio.sleep(0.3)
    assert len(await stage.request_ids()) == 1, "it is still being told"
    await stage.no_more_faults()
    assert (await stage.answer(theo, interaction))["content"].startswith(f"**On its way:** 2 takes {SKETCH}")


async def test_what_costs_too_much_is_refused_before_the_photo_is_fetched(stage: Stage, juno: Person, lobby: str):
    await stage.rule(click_limit=1)
    await fault(stage, method="GET", route="/cdn/", delay=20)
    assert "One take of this costs 2 credits" in (await stage.animate(juno, lobby))["content"]
    assert stage.box.faults.waiting, "nobody fetched it"


@pytest.mark.parametrize("trouble", [{"status": 500}, {"drop_before": True}, {"drop_after": True}, {"status": 404}])
async def test_a_word_beforehand_that_fails_is_no_failure(
    stage: Stage, juno: Person, lobby: str, trouble: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(answering, "_ASTRAY", 0.1)
    await fault(stage, method="PATCH", route="/webhooks/", **trouble)
    answer = await stage.animate(juno, lobby)
    assert answer["content"].startswith(f"**On its way:** 3 takes {SKETCH}")


async def test_a_word_beforehand_that_comes_late_does_not_stand(
    stage: Stage, juno: Person, lobby: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(answering, "_FIRST", 0.2)
    await fault(stage, method="PATCH", route="/webhooks/", delay=300)
    interaction = await begun(juno, lobby)

    async def reads(begin: str) -> None:
        await stage.said(juno, interaction, lambda content: content.startswith(begin))

    await reads("**On its way:**")  # nothing waited for it
    await stage.no_more_faults()
    await reads(BEFOREHAND)
    await reads("**On its way:**")


async def test_a_limit_that_the_word_beforehand_used_up_holds_the_answer_up_no_longer(
    stage: Stage, juno: Person, lobby: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(answering, "_ASTRAY", 0.1)
    await fault(stage, method="PATCH", route="/webhooks/", status=429, retry_after=600)
    async with asyncio.timeout(120):
        assert "On its way" in (await stage.animate(juno, lobby))["content"]
