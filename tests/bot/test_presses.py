"""Every button of a card, a reply and a panel, pressed by its owner, by others, twice and too late."""

import pytest
from people import Json, Person, Rest

from clips import ledger
from clips.blobs import BlobMissingError
from clips.domain import RequestKind, RequestStatus, TakeState, UserId
from clips.errors import RetryableError
from tests.bot.stage import HOME, Stage, button, jpeg, labels


@pytest.fixture
async def reply(stage: Stage, juno: Person, lobby: str) -> Json:
    """Juno's three takes, ready in the lobby."""
    await stage.ask(juno, lobby)
    await stage.finish(3)
    return await stage.shown(juno, lobby, lambda message: len(message["attachments"]) == 3)


@pytest.fixture
async def card(stage: Stage, juno: Person, lobby: str) -> Json:
    """Juno's request, waiting in the lobby."""
    await stage.ask(juno, lobby)
    return await stage.shown(juno, lobby, lambda message: "Cancel" in labels(message))


async def says(stage: Stage, who: Person, message: Json, label: str) -> str:
    return (await stage.answer(who, await stage.press(who, message, label)))["content"]


# ---- more of the same


async def test_reroll_is_the_clickers_own_request_with_another_seed(stage: Stage, theo: Person, reply: Json):
    assert "3 takes with Sketch" in await says(stage, theo, reply, "Reroll")
    first, second = [(await stage.read(each)).request for each in await stage.request_ids()]
    assert (second.kind, second.parent_id) == (RequestKind.REROLL, first.request_id)
    assert (second.spec, second.photo) == (first.spec, first.photo)
    assert second.seed != first.seed
    assert second.user_id == int(theo.id)
    assert (await ledger.balance(stage.pool, HOME, UserId(int(theo.id)))).held == 6


async def test_two_clicks_are_two_requests(stage: Stage, theo: Person, reply: Json):
    pressed = [await stage.press(theo, reply, "Reroll") for _ in range(2)]
    for each in pressed:
        await stage.answer(theo, each)
    assert len(await stage.request_ids()) == 3


async def test_the_clickers_credits_decide(stage: Stage, theo: Person, reply: Json):
    await stage.rule(daily_allowance=5)
    assert "You have 5 credits left today and this takes 6" in await says(stage, theo, reply, "Reroll")


async def test_variations_keep_the_take_that_they_vary(stage: Stage, theo: Person, reply: Json):
    whole = await stage.last()
    await stage.press(theo, reply, "2")
    starred = await stage.shown(theo, reply["channel_id"], lambda message: "2 ★" in labels(message))
    panel = await stage.answer(theo, await stage.press(theo, starred, "Vary…"))
    assert panel["content"].startswith("**Vary take 2**") and "at most 6 credits" in panel["content"]
    for label, variation in (("Subtle", 0.25), ("Strong", 0.6)):
        await says(stage, theo, panel, label)
        request = (await stage.last()).request
        assert (request.kind, request.variation) == (RequestKind.VARY, variation)
        assert request.parent_take == whole.takes[1].take_id


async def test_remix_comes_filled_in_and_goes_out_changed(stage: Stage, theo: Person, reply: Json):
    opened = await stage.press(theo, reply, "Remix…")
    form = (await theo.outcome(opened))["modal"]
    fields = {each["component"]["custom_id"]: each["component"] for each in form["components"]}
    assert form["title"] == "Remix" and list(fields) == ["motion", "avoid", "model", "length", "strength"]
    assert (fields["motion"]["value"], fields["length"]["value"]) == ("zoom in", "5")
    assert [one["value"] for one in fields["model"]["options"] if one["default"]] == ["sketch"]
    assert [one["value"] for one in fields["strength"]["options"] if one["default"]] == ["medium"]
    await stage.fill(theo, opened, motion="pull back", length="2,5 s", strength=["high"])
    request = (await stage.last()).request
    assert (request.spec.motion, request.spec.seconds, request.spec.strength) == ("pull back", 2.5, "high")
    assert (request.kind, request.takes) == (RequestKind.REMIX, 3)


async def test_a_form_with_nonsense_is_refused_in_words(stage: Stage, theo: Person, reply: Json):
    answer = await stage.fill(theo, await stage.press(theo, reply, "Remix…"), length="forever")
    assert answer["content"] == "“forever” is not a length. Open the form again and write seconds, 1 to 15."
    await stage.pool.execute("DELETE FROM drafts")
    opened = await stage.press(theo, reply, "Remix…")
    await theo.outcome(opened)
    await stage.pool.execute("DELETE FROM drafts")
    assert "more than a week old" in (await stage.fill(theo, opened, motion="x"))["content"]


async def test_the_recipe_on_ones_own_photo(stage: Stage, theo: Person, reply: Json):
    first = (await stage.last()).request
    opened = await stage.press(theo, reply, "On my photo…")
    photo = await theo.upload(jpeg(), "mine.jpg")
    await stage.fill(theo, opened, photo=[photo], motion="sway")
    request = (await stage.last()).request
    assert (request.kind, request.parent_id) == (RequestKind.ANIMATE, first.request_id)
    assert request.photo != first.photo
    assert request.spec.motion == "sway" and request.user_id == int(theo.id)


async def test_try_again_and_change_after_a_failure(stage: Stage, juno: Person, lobby: str):
    await stage.ask(juno, lobby, takes=1)
    await stage.fail()
    failed = await stage.shown(juno, lobby, lambda message: labels(message) == ["Try again", "Change…"])
    first = (await stage.last()).request
    await says(stage, juno, failed, "Try again")
    again = (await stage.last()).request
    assert (again.kind, again.seed, again.spec) == (RequestKind.RETRY, first.seed, first.spec)
    await stage.fill(juno, await stage.press(juno, failed, "Change…"), motion="tilt up")
    assert (await stage.last()).request.spec.motion == "tilt up"


# ---- panels


async def test_the_recipe_shows_what_made_a_take(stage: Stage, theo: Person, reply: Json):
    panel = await stage.answer(theo, await stage.press(theo, reply, "More…"))
    recipe = await says(stage, theo, panel, "Recipe")
    take = (await stage.last()).takes[0]
    assert "**Recipe of take 1**" in recipe and f"seed: {take.seed}" in recipe and "steps: 4" in recipe


async def test_delete_asks_first_and_is_the_owners_and_staffs(
    stage: Stage, juno: Person, theo: Person, mara: Person, reply: Json
):
    panel_before = await stage.answer(theo, await stage.press(theo, reply, "Vary…"))
    others = await stage.answer(theo, await stage.press(theo, reply, "More…"))
    assert button(others, "Delete")["disabled"]
    staffs = await stage.answer(mara, await stage.press(mara, reply, "More…"))
    assert not button(staffs, "Delete")["disabled"]
    panel = await stage.answer(juno, await stage.press(juno, reply, "More…"))
    question = await stage.answer(juno, await stage.press(juno, panel, "Delete"))
    assert question["content"].startswith("**Delete all 3 clips of this request?**")
    master = (await stage.last()).takes[0].master
    assert master is not None and await stage.blobs.get(master)
    assert (await says(stage, juno, question, "Delete for good")).startswith("Deleted.")
    with pytest.raises(BlobMissingError):
        await stage.blobs.get(master)
    gone = await stage.shown(juno, reply["channel_id"], lambda message: "were deleted" in message["content"])
    assert not gone["attachments"]
    assert await says(stage, juno, question, "Delete for good") == "There is nothing left to delete."
    assert await says(stage, theo, panel_before, "Subtle") == "That clip has been deleted. `/animate` makes a new one."


async def test_a_deletion_counts_also_while_the_blob_store_is_away(
    stage: Stage, juno: Person, reply: Json, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    async def away(*_: object) -> bool:
        raise RetryableError("the bucket does not answer")

    assert stage.bot is not None
    monkeypatch.setattr(stage.bot.client.parts.blobs.__class__, "delete", away)
    panel = await stage.answer(juno, await stage.press(juno, reply, "More…"))
    question = await stage.answer(juno, await stage.press(juno, panel, "Delete"))
    assert (await says(stage, juno, question, "Delete for good")).startswith("Deleted.")
    assert "stays for now" in caplog.text


# ---- cancel


async def test_cancel_while_waiting_costs_nothing(stage: Stage, juno: Person, card: Json):
    assert await says(stage, juno, card, "Cancel") == "Cancelled before it started: nothing is charged for that."
    assert (await stage.last()).status is RequestStatus.CANCELLED
    assert (await ledger.balance(stage.pool, HOME, UserId(int(juno.id)))).available == 900
    assert "ended already" in await says(stage, juno, card, "Cancel")


async def test_cancel_while_rendering_stops_within_a_step(stage: Stage, juno: Person, card: Json):
    claim = await stage.begin()
    told = await says(stage, juno, card, "Cancel")
    assert told == (
        "Takes 2 and 3 are cancelled before they started: nothing is charged for that. "
        "The rendering stops within a step; the seconds that it has rendered are charged."
    )
    assert "is being cancelled already" in await says(stage, juno, card, "Cancel")
    whole = await stage.last()
    assert [take.state for take in whole.takes] == [TakeState.RUNNING, TakeState.CANCELLED, TakeState.CANCELLED]
    await stage.stop(claim)
    assert (await stage.last()).charged == 1


async def test_cancel_with_a_take_ready_keeps_it(stage: Stage, juno: Person, card: Json):
    await stage.finish()
    await stage.finish()
    assert "Takes 1 and 2 were ready before, and stay." in await says(stage, juno, card, "Cancel")
    assert (await stage.last()).status is RequestStatus.DONE


async def test_only_the_owner_and_staff_cancel(stage: Stage, theo: Person, mara: Person, juno: Person, card: Json):
    assert (
        await says(stage, theo, card, "Cancel") == f"Only <@{juno.id}>, who asked for it, or the staff can cancel it."
    )
    assert "Cancelled" in await says(stage, mara, card, "Cancel")


# ---- what is not there any more


async def test_a_button_of_a_request_that_is_not_known(stage: Stage, juno: Person, lobby: str):
    component = {"type": 2, "style": 2, "label": "Reroll", "custom_id": "z1:reroll:4711:0"}
    status, stray = await Rest(stage.session)(
        "POST", f"/channels/{lobby}/messages", {"content": "x", "components": [{"type": 1, "components": [component]}]}
    )
    assert status == 200
    assert await says(stage, juno, stray, "Reroll") == (
        "That request is not known here any more. `/animate` makes a new one."
    )
