"""Paid models in Discord: offered where approved, asked about before they cost much, never above the cap."""

import asyncio
from collections import Counter

import pytest
from people import Json, Person, option

from bot.client import Bot
from clips import guilds, paid
from clips.domain import RequestKind
from clips.paid import DOLLAR
from sandbox import seed
from tests.bot.stage import HOME, INTEGER, NUMBER, STRING, Stage, button, labels

KLING = "kling-v2.6"
PRICE = 350_000
"""Of a take of 5 s, silent."""


@pytest.fixture
async def kling(stage: Stage) -> Stage:
    """A stage whose generator runs Kling, in a server that may spend five dollars a month on it."""
    await stage.announce("sketch", KLING)
    await approve(stage, 5 * DOLLAR)
    return stage


async def approve(stage: Stage, monthly: int | None) -> None:
    await guilds.know(stage.pool, HOME)
    await paid.approve(stage.pool, HOME, "replicate", monthly)


async def press(stage: Stage, who: Person, message: Json, label: str) -> Json:
    return await stage.answer(who, await stage.press(who, message, label))


async def spent(stage: Stage) -> tuple[int, int]:
    """Reserved and spent this month."""
    (approval,) = await paid.approvals(stage.pool, HOME)
    return approval.reserved, approval.spent


async def offered(who: Person, channel: str, *options: Json) -> list[str]:
    """What `/animate` suggests for `model`."""
    body: Json = {"channel_id": channel, "command_id": await who.command_id(channel, "animate")}
    body |= {"options": [*options, {**option("model", STRING, ""), "focused": True}]}
    return [choice["value"] for choice in (await who.ask("POST", "/autocomplete", json=body))["choices"]]


async def test_a_server_without_an_approval_is_offered_and_given_local_models_only(
    stage: Stage, juno: Person, lobby: str
):
    await stage.announce("sketch", KLING)
    assert await offered(juno, lobby) == ["sketch"]
    refused = await stage.animate(juno, lobby, model=KLING)
    assert refused["content"] == (
        "Kling v2.6 costs real money, which replicate bills, and this server may not spend any with it. Pick another "
        f"model, or ask the host of this bot, who can allow it with `zoetrope paid approve {HOME} replicate "
        "--monthly 20` (dollars)."
    )
    await approve(stage, None)
    assert await offered(juno, lobby) == ["sketch", KLING]
    assert "may spend $0.00 a month" in (await stage.animate(juno, lobby, model=KLING))["content"]
    assert await stage.request_ids() == []


async def test_the_relaxed_lane_never_pays(kling: Stage, juno: Person, lobby: str):
    assert await offered(juno, lobby, option("lane", STRING, "relaxed")) == ["sketch"]
    refused = await kling.animate(juno, lobby, model=KLING, lane="relaxed")
    assert refused["content"].startswith("Kling v2.6 costs real money, and the relaxed lane is free.")
    await kling.rule(default_model=KLING)
    await kling.animate(juno, lobby, lane="relaxed")
    assert (await kling.last()).request.spec.model == "sketch"


async def test_below_the_price_that_asks_it_is_made_at_once_and_told_in_dollars(kling: Stage, juno: Person, lobby: str):
    answer = await kling.animate(juno, lobby, model=KLING, takes=1)
    assert "$0.35 of what this server may spend this month with replicate is set aside too." in answer["content"]
    assert await spent(kling) == (PRICE, 0)
    await kling.shown(juno, lobby, lambda message: "at most 70 credits and $0.35" in message["content"])
    await kling.finish()
    reply = await kling.shown(juno, lobby, lambda message: message["attachments"])
    assert await spent(kling) == (0, PRICE)
    recipe = await press(kling, juno, await press(kling, juno, reply, "More…"), "Recipe")
    assert "price: 70 credits and $0.35" in recipe["content"]


async def test_above_it_a_yes_is_asked_for_and_pays_once(kling: Stage, juno: Person, lobby: str):
    question = await kling.animate(juno, lobby, model=KLING)
    assert question["content"] == (
        "**This costs $1.05 of real money:** 3 takes of 5 s, each $0.35, with Kling v2.6. The host of this bot "
        "pays it, and this server asks first above $0.50. Nothing is charged yet."
    )
    assert labels(question) == ["Render for $1.05", "Only 1 take for $0.35"]
    assert await kling.request_ids() == [] and await spent(kling) == (0, 0)
    answers = await asyncio.gather(*(press(kling, juno, question, "Render for $1.05") for _ in range(3)))
    said = Counter(answer["content"].partition(" ")[0] for answer in answers)
    assert said == {"**On": 1, "You": 2}
    # The other button is of the same question.
    assert "You said yes to that before" in (await press(kling, juno, question, "Only 1 take for $0.35"))["content"]
    assert await spent(kling) == (3 * PRICE, 0)
    assert len(await kling.request_ids()) == 1


async def test_one_take_is_what_the_other_button_makes(kling: Stage, juno: Person, theo: Person, lobby: str):
    question = await kling.animate(juno, lobby, model=KLING, motion="she waves")
    await press(kling, juno, question, "Only 1 take for $0.35")
    request = (await kling.last()).request
    assert (request.takes, request.provider, request.spec.motion) == (1, "replicate", "she waves")
    await kling.rule(confirm_above=0)
    again = await kling.animate(theo, lobby, model=KLING, takes=1)
    assert labels(again) == ["Render for $0.35"]
    assert again["content"].startswith("**This costs $0.35 of real money:** 1 take of 5 s with Kling v2.6. ")


async def test_buttons_of_a_reply_ask_too_and_say_what_a_seedless_model_cannot(
    kling: Stage, juno: Person, theo: Person, lobby: str
):
    await kling.rule(confirm_above=2 * DOLLAR)
    await kling.animate(juno, lobby, model=KLING, takes=2)
    await kling.finish(2)
    reply = await kling.shown(juno, lobby, lambda message: len(message["attachments"]) == 2)
    assert "Vary…" not in labels(reply)
    await kling.rule(confirm_above=DOLLAR // 2)
    question = await press(kling, theo, reply, "Reroll")
    assert labels(question) == ["Render for $0.70", "Only 1 take for $0.35"]
    answer = await press(kling, theo, question, "Render for $0.70")
    assert "Kling v2.6 knows no seeds: what comes is new by chance" in answer["content"]
    request = (await kling.last()).request
    assert (request.kind, request.user_id) == (RequestKind.REROLL, int(theo.id))
    assert await spent(kling) == (2 * PRICE, 2 * PRICE)


async def test_a_burst_of_clicks_stops_at_the_cap(kling: Stage, juno: Person, lobby: str):
    await approve(kling, 2 * PRICE + 1)
    asked = await asyncio.gather(*(kling.animate(juno, lobby, model=KLING, takes=1) for _ in range(5)))
    said = Counter(answer["content"].startswith("**On its way:**") for answer in asked)
    assert said == {True: 2, False: 3}
    assert await spent(kling) == (2 * PRICE, 0)
    assert {answer["content"].partition("; ")[0] for answer in asked if answer["content"].startswith("This")} == {
        "This server may spend $0.70 a month with replicate, and $0.00 of that is left"
    }


async def test_what_the_cap_does_not_hold_is_refused_before_it_is_asked_about(kling: Stage, juno: Person, lobby: str):
    await approve(kling, DOLLAR)
    refused = await kling.animate(juno, lobby, model=KLING)
    assert "Ask for fewer takes (2 would fit), or use a model that the host renders." in refused["content"]
    assert refused["components"] == []


async def test_a_cancel_and_a_failure_give_the_dollars_back(kling: Stage, juno: Person, lobby: str):
    await kling.animate(juno, lobby, model=KLING, takes=1)
    card = await kling.shown(juno, lobby, lambda message: "Cancel" in labels(message))
    await press(kling, juno, card, "Cancel")
    await kling.animate(juno, lobby, model=KLING, takes=1)
    assert await spent(kling) == (PRICE, 0)
    await kling.fail()
    assert await spent(kling) == (0, 0)


async def test_staff_see_the_dollars_and_say_when_to_ask(kling: Stage, mara: Person, juno: Person, lobby: str):
    async def quota(name: str, *options: Json) -> str:
        subcommand = {"name": name, "type": 1, "options": [*options]}
        return (await kling.answer(mara, await mara.use(lobby, "quota", subcommand)))["content"]

    await kling.animate(juno, lobby, model=KLING, takes=1)
    lines = (await quota("view")).splitlines()
    assert lines[1] == "Paid models of replicate: $0.00 spent this month and $0.35 set aside, of $5.00."
    assert lines[2] == "A click asks first above $0.50."
    told = await quota("set", option("confirm_above", NUMBER, 0.1), option("server_daily", INTEGER, 9000))
    assert told.endswith("From now on, a click on a paid model asks first above $0.10.")
    assert "midnight UTC" in told
    assert labels(await kling.animate(juno, lobby, model=KLING, takes=1)) == ["Render for $0.35"]
    await paid.withdraw(kling.pool, HOME, "replicate")
    assert "Paid models: none. Only the host of this bot can allow them" in await quota("view")


async def test_the_price_waits_with_the_photo_for_the_next_process(empty: Stage, juno: Person, lobby: str):
    """The question outlives the bot that asked it: its yes is met by another."""
    await empty.announce(KLING)
    await approve(empty, 5 * DOLLAR)
    async with empty.playing():
        question = await empty.animate(juno, lobby, model=KLING)
    async with empty.playing() as second:
        assert isinstance(second, Bot)
        answer = await press(empty, juno, question, button(question, "Render for $1.05")["label"])
    assert answer["content"].startswith("**On its way:** 3 takes with Kling v2.6")
    assert (await empty.last()).request.user_id == seed.JUNO.id
