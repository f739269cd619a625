"""`/animate` from its options to the request: what is accepted, what is refused, and in which words."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from hostile import ODD_BUT_FINE, REFUSED
from people import Person, option

from clips import intakes
from clips.domain import Camera, Fit, Lane, Size, Strength
from sandbox import seed
from tests.bot.stage import ATTACHMENT, INTEGER, STRING, Stage, jpeg, labels


async def test_a_photo_alone_is_enough(stage: Stage, juno: Person, lobby: str):
    answer = await stage.animate(juno, lobby)
    whole = await stage.last()
    assert "3 takes with Sketch (a sketch, not a generated video), 5 s each" in answer["content"]
    assert f"<#{lobby}>" in answer["content"] and "<t:" in answer["content"]
    assert "6 credits (2 a take) are set aside" in answer["content"]
    assert "894 credits left today" in answer["content"]
    assert whole.request.takes == 3 and whole.request.user_id == int(juno.id)
    card = await stage.shown(juno, lobby, lambda message: "Cancel" in labels(message))
    assert "sketch, not a generated video" in card["content"]


async def test_every_option_arrives(stage: Stage, juno: Person, lobby: str):
    answer = await stage.animate(
        juno,
        lobby,
        motion="zoom in slowly",
        model="Sketch",
        platform="sketch",
        length=3,
        takes=2,
        size="720p",
        camera="pan left",
        strength="high",
        fit="pad",
        seed=4294967295,
        lane="relaxed",
        spoiler=True,
    )
    assert "2 takes" in answer["content"] and "It is free in the relaxed lane" in answer["content"]
    request = (await stage.last()).request
    assert (request.spec.motion, request.spec.seconds, request.spec.size) == ("zoom in slowly", 3, Size.P720)
    assert (request.spec.camera, request.spec.strength) == (Camera.PAN_LEFT, Strength.HIGH)
    assert request.spec.fit is Fit.PAD
    assert (request.seed, request.takes, request.lane, request.spoiler) == (4294967295, 2, Lane.RELAXED, True)


async def test_a_length_that_the_model_rounds_is_told(stage: Stage, juno: Person, lobby: str):
    await stage.announce("svd-xt")
    answer = await stage.animate(juno, lobby, length=4)
    assert "You asked for 4 s; 3.57 s is the nearest that Stable Video Diffusion XT can." in answer["content"]


async def test_a_length_that_the_model_has_nothing_near_to_is_asked_about(stage: Stage, juno: Person, lobby: str):
    await stage.announce("svd-xt")
    question = await stage.animate(juno, lobby, length=2)
    assert question["content"] == (
        "**You asked for 2 s, and the nearest that Stable Video Diffusion XT renders is 3.57 s.** 3 takes of that cost "
        "54 credits. Nothing is charged yet. Take it so, or pick another model."
    )
    assert await stage.request_ids() == []
    answer = await stage.answer(juno, await stage.press(juno, question, "Make 3 takes of 3.57 s"))
    assert "3 takes with Stable Video Diffusion XT, 3.57 s each" in answer["content"]
    assert "You asked for" not in answer["content"]
    again = await stage.answer(juno, await stage.press(juno, question, "Make 3 takes of 3.57 s"))
    assert "You said yes to that before" in again["content"] and len(await stage.request_ids()) == 1
    free = await stage.animate(juno, lobby, length=2, takes=1, lane="relaxed")
    assert "1 take of that is free in the relaxed lane." in free["content"]


async def test_a_length_that_nobody_asked_for_is_not_asked_about(stage: Stage, juno: Person, lobby: str):
    await stage.announce("cogvideox-5b-i2v")
    answer = await stage.animate(juno, lobby, takes=1)
    assert "1 take with CogVideoX 5B I2V, 6.12 s" in answer["content"]
    await stage.finish()
    reply = await stage.shown(juno, lobby, lambda message: message["attachments"])
    assert "On its way" in (await stage.answer(juno, await stage.press(juno, reply, "Reroll")))["content"]


async def test_the_best_at_work_is_taken_and_a_sketch_last(stage: Stage, juno: Person, lobby: str):
    await stage.announce("sketch", "ltx-video", "wan-2.2-ti2v-5b")
    await stage.animate(juno, lobby)
    assert (await stage.last()).request.spec.model == "wan-2.2-ti2v-5b"
    await stage.rule(default_model="ltx-video")
    await stage.animate(juno, lobby)
    assert (await stage.last()).request.spec.model == "ltx-video"
    await stage.animate(juno, lobby, platform="sketch")
    assert (await stage.last()).request.spec.model == "sketch"


async def test_takes_are_reduced_to_what_one_click_may_cost(stage: Stage, juno: Person, lobby: str):
    await stage.rule(click_limit=5)
    answer = await stage.animate(juno, lobby)
    assert "2 takes" in answer["content"] and "limit of 5 credits a click" in answer["content"]
    refused = await stage.animate(juno, lobby, takes=3)
    assert "3 takes cost 6 credits, and this server allows 5 for one click. Ask for 2" in refused["content"]
    await stage.rule(click_limit=1)
    assert "One take of this costs 2 credits" in (await stage.animate(juno, lobby))["content"]
    assert len(await stage.request_ids()) == 1


async def test_what_a_model_cannot_do_is_refused(stage: Stage, juno: Person, lobby: str):
    wishes: list[dict[str, Any]] = [
        {"model": "dream-9000"},
        {"model": "svd-xt"},
        {"model": "sketch", "platform": "diffusers"},
        {"avoid": "text"},
        {"end_photo": jpeg()},
        {"platform": "diffusers"},
    ]
    refusals = [(await stage.animate(juno, lobby, **wish))["content"] for wish in wishes]
    assert refusals[0].startswith("There is no model “dream-9000”. There are: sketch,")
    told = (await stage.animate(juno, lobby, model="dream" * 1000))["content"]
    assert told.startswith("There is no model “dreamdream")
    assert refusals[1] == ("No generator can render Stable Video Diffusion XT just now. At work now: Sketch.")
    assert refusals[2] == "Sketch runs on sketch, not on diffusers. Leave one of them out."
    assert refusals[3] == "Sketch does not take words to avoid. Leave that out, or pick a model that does."
    assert refusals[4] == "Sketch does not take an end photo. Leave that out, or pick a model that does."
    assert refusals[5].startswith("No generator can render anything on diffusers just now.")
    assert await stage.request_ids() == []


async def test_a_blocked_member_hears_why_and_until_when(stage: Stage, juno: Person, theo: Person, lobby: str):
    await stage.block(seed.JUNO, "floods the lobby.", hours=2)
    await stage.block(seed.THEO, "sold clips")
    bound = (await stage.animate(juno, lobby))["content"]
    assert bound.startswith(
        "The staff of this server have stopped your requests: floods the lobby. Please talk to them."
    )
    assert "It ends <t:" in bound
    assert "It ends" not in (await stage.animate(theo, lobby))["content"]
    assert await stage.request_ids() == []


async def test_where_the_bot_may_not_post_nothing_is_begun(stage: Stage, juno: Person):
    closed = await juno.channel("bot-cannot-post")
    answer = await stage.animate(juno, closed)
    assert "I may not post clips in this channel: I lack Send Messages here." in answer["content"]
    assert await stage.request_ids() == []


async def test_credits_that_ran_out_are_explained(stage: Stage, juno: Person, lobby: str):
    await stage.rule(daily_allowance=5)
    answer = await stage.animate(juno, lobby)
    assert "You have 5 credits left today and this takes 6" in answer["content"]
    assert "2 takes" in (await stage.animate(juno, lobby, takes=2))["content"]


async def test_a_member_has_so_many_takes_under_way_and_no_more(stage: Stage, juno: Person, lobby: str):
    await stage.rule(max_waiting=3)
    await stage.animate(juno, lobby)
    answer = await stage.animate(juno, lobby, takes=1)
    assert "and this asks for 1 more, but this server allows 3 at once" in answer["content"]


async def test_a_wait_that_is_too_long_is_an_offer_of_fewer_takes(stage: Stage, juno: Person, lobby: str):
    await stage.announce("ltx-video")
    await stage.rule(longest_wait=timedelta(seconds=40))
    answer = await stage.animate(juno, lobby)
    assert "this server's limit is 1 minutes" in answer["content"] and "Nothing was charged" in answer["content"]
    assert labels(answer) == ["Make 2 takes"]
    assert await stage.request_ids() == []
    accepted = await stage.answer(juno, await stage.press(juno, answer, "Make 2 takes"))
    assert "2 takes with LTX-Video" in accepted["content"]
    assert (await stage.last()).request.takes == 2


async def test_an_upload_that_has_expired_is_refused(stage: Stage, juno: Person, lobby: str):
    photo = await juno.upload(jpeg(), "photo.jpg")
    async with stage.session.post(
        "/control/faults", json={"method": "GET", "route": "/cdn/", "status": 404, "times": 9}
    ):
        pass
    answer = await stage.answer(juno, await juno.use(lobby, "animate", option("photo", ATTACHMENT, photo)))
    assert answer["content"] == ("The photo is no longer where it was uploaded: its link has expired. Attach it again.")


async def test_a_cdn_that_stumbles_is_asked_again(stage: Stage, juno: Person, lobby: str):
    async with stage.session.post(
        "/control/faults", json={"method": "GET", "route": "/cdn/", "status": 503, "times": 1}
    ):
        pass
    assert "On its way" in (await stage.animate(juno, lobby))["content"]


async def test_every_hostile_file_is_refused_in_its_words(stage: Stage, juno: Person, lobby: str):
    # Only a test makes an error of the warning that refuses this one earlier.
    words_of = {name: words for name, (_, words) in REFUSED.items()} | {"small bomb": "100 million pixels"}

    async def refused(name: str) -> None:
        build, words = REFUSED[name][0], words_of[name]
        answer = await stage.animate(juno, lobby, build())
        assert words in answer["content"], (name, answer["content"])
        assert "On its way" not in answer["content"], name

    await asyncio.gather(*(refused(name) for name in REFUSED))
    assert await stage.request_ids() == []


async def test_odd_photos_come_through(stage: Stage, juno: Person, lobby: str):
    for name in ("HEIC", "animated GIF", "CMYK JPEG with Adobe marker", "orientation 6"):
        assert "On its way" in (await stage.animate(juno, lobby, ODD_BUT_FINE[name](), takes=1))["content"], name


async def test_fifty_members_at_once_are_acknowledged_before_anything_is_written_or_read(
    stage: Stage, juno: Person, lobby: str, monkeypatch: pytest.MonkeyPatch
):
    await stage.rule(max_waiting=100)
    photos = [await juno.upload(jpeg(), "photo.jpg") for _ in range(50)]
    command = await juno.command_id(lobby, "animate")

    async def use(number: int, photo: str) -> str:
        # Every tenth is rendered; the others are refused, which spares the machine 45 decodings.
        model = option("model", STRING, "sketch" if number % 10 == 0 else "svd-xt")
        given = [option("photo", ATTACHMENT, photo), model, option("takes", INTEGER, 1)]
        body = {"channel_id": lobby, "command_id": command, "options": given}
        return (await juno.ask("POST", "/commands", json=body))["interaction_id"]

    # Until all are acknowledged no intake is written and no photo can be had.
    acknowledged, open_intake = asyncio.Event(), intakes.open_intake

    async def held(*args: Any, **wish: Any) -> intakes.Intake | None:
        await acknowledged.wait()
        return await open_intake(*args, **wish)

    monkeypatch.setattr(intakes, "open_intake", held)
    async with stage.session.post(
        "/control/faults", json={"method": "GET", "route": "/cdn/", "status": 404, "times": 99}
    ):
        pass
    made = await asyncio.gather(*(use(number, photo) for number, photo in enumerate(photos)))
    states = [await juno.outcome(each) for each in made]
    assert [state["state"] for state in states] == ["acknowledged"] * 50
    await stage.no_more_faults()
    acknowledged.set()
    for each in made:
        await stage.answer(juno, each)
    assert len(await stage.request_ids()) == 5


async def test_a_button_makes_fewer_takes_where_the_limit_has_sunk(stage: Stage, juno: Person, lobby: str):
    await stage.ask(juno, lobby, takes=2)
    await stage.finish(2)
    reply = await stage.shown(juno, lobby, lambda message: len(message["attachments"]) == 2)
    await stage.rule(click_limit=3)
    answer = await stage.answer(juno, await stage.press(juno, reply, "Reroll"))
    assert "1 take with" in answer["content"] and "More takes would pass this server's limit of 3" in answer["content"]
