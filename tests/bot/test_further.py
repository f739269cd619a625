"""What models take beside a photo: asked for in forms, stored, inherited, and refused in words where it is no use."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from people import Json, Person, option

from clips import guilds, paid
from clips.blobs import Collected
from clips.inputs import named
from clips.paid import DOLLAR
from tests.bot.stage import ATTACHMENT, HOME, STRING, Stage, jpeg, labels
from tests.hostile import saved, scene
from tests.test_motion_video import movie

MOTION = "kling-v2.6-motion-control"
DIRECTED = "kling-v3-video"
GROK = "grok-imagine-r2v"
OVI = "ovi-i2v"
WORDS = "p-video"


@pytest.fixture
async def hosted(stage: Stage) -> Stage:
    """A stage with a model of each kind, in a server that may use them and is asked about nothing."""
    await stage.announce("sketch", MOTION, DIRECTED, GROK, OVI, WORDS)
    await guilds.know(stage.pool, HOME)
    await paid.approve(stage.pool, HOME, "replicate", 100 * DOLLAR)
    await stage.rule(confirm_above=100 * DOLLAR)
    return stage


async def animate(who: Person, channel: str, model: str, *more: Json, photo: bool = True) -> str:
    """`/animate` with one take; the interaction."""
    given = [option("model", STRING, model), option("takes", 4, 1), *more]
    if photo:
        given.append(option("photo", ATTACHMENT, await who.upload(jpeg(), "photo.jpg")))
    return await who.use(channel, "animate", *given)


async def form_of(who: Person, interaction: str) -> dict[str, Json]:
    """The labels of the form that an interaction opened, by the fields' names."""
    opened = await who.outcome(interaction)
    assert opened["state"] == "modal", opened
    return {each["component"]["custom_id"]: each for each in opened["modal"]["components"]}


async def filled(stage: Stage, who: Person, interaction: str, values: Mapping[str, object]) -> str:
    return (await stage.fill(who, interaction, **values))["content"]


async def recipe(stage: Stage) -> dict[str, Any]:
    """What the last request has beside its photos, by the names that engines know."""
    return named((await stage.last()).request.inputs)


async def test_a_motion_video_is_asked_for_and_decides_the_length(hosted: Stage, juno: Person, lobby: str):
    interaction = await animate(juno, lobby, MOTION)
    form = await form_of(juno, interaction)
    assert list(form) == ["motion_video"] and form["motion_video"]["component"]["required"]
    video = await juno.upload(movie(4), "dance.mp4")
    answer = await filled(hosted, juno, interaction, {"motion_video": [video]})
    assert "1 take with Kling v2.6 Motion Control, 4 s" in answer and "It is as long as your motion video." in answer
    request = (await hosted.last()).request
    assert request.photo is not None and list(await recipe(hosted)) == ["motion_video"]
    assert request.plan.microdollars == 280_000
    # Nothing of it is collected, and a child has it too.
    assert await hosted.blobs.collect(hosted.pool, timedelta(0)) == Collected(0, 0)
    await hosted.finish()
    reply = await hosted.shown(juno, lobby, lambda message: message["attachments"])
    await hosted.answer(juno, await hosted.press(juno, reply, "Reroll"))
    assert (await hosted.last()).request.inputs == request.inputs


@pytest.mark.parametrize(
    ("video", "sentence"),
    [
        (saved(scene(), "PNG"), "That is a PNG picture and no video to follow. Send an MP4 or MOV video."),
        (movie(4)[:2000], "The video cannot be read: it is damaged, or of an unusual kind."),
        (movie(13), "follows 3 to 10 s of a motion video, and yours lasts 13.1 s. Cut it and ask again."),
        (movie(32), "The video lasts 32.1 s; 1 to 30 s can be followed. Cut it and send it again."),
    ],
    ids=["a picture", "damaged", "too long for the model", "too long"],
)
async def test_a_video_that_cannot_be_followed_is_refused_in_words(
    hosted: Stage, juno: Person, lobby: str, video: bytes, sentence: str
):
    interaction = await animate(juno, lobby, MOTION)
    upload = await juno.upload(video, "video.mp4")
    assert sentence in await filled(hosted, juno, interaction, {"motion_video": [upload]})
    assert await hosted.request_ids() == []


async def test_pictures_are_references_and_no_first_frame(hosted: Stage, juno: Person, lobby: str):
    interaction = await animate(juno, lobby, GROK)
    form = await form_of(juno, interaction)
    assert form["references"]["component"]["max_values"] == 6 and not form["references"]["component"]["required"]
    more = [await juno.upload(saved(scene(100 + each, 100), "PNG"), f"{each}.png") for each in range(2)]
    answer = await filled(hosted, juno, interaction, {"references": more})
    assert "Your 3 pictures are references: who and what is on them appears" in answer
    request = (await hosted.last()).request
    assert request.photo is None
    assert list(await recipe(hosted)) == ["reference_1", "reference_2", "reference_3"]
    # As wide as the photo, which came first.
    assert request.plan.width > request.plan.height


async def test_without_a_photo_the_references_are_needed(hosted: Stage, juno: Person, lobby: str):
    interaction = await animate(juno, lobby, GROK, photo=False)
    field = (await form_of(juno, interaction))["references"]["component"]
    assert (field["required"], field["min_values"], field["max_values"]) == (True, 1, 7)
    uploads = [await juno.upload(saved(scene(100 + each, 100), "PNG"), f"{each}.png") for each in range(7)]
    await filled(hosted, juno, interaction, {"references": uploads})
    assert len((await hosted.last()).request.inputs) == 7


async def test_a_remix_leaves_out_what_the_other_model_does_not_take_and_asks_for_what_it_needs(
    hosted: Stage, juno: Person, lobby: str
):
    await filled(hosted, juno, await animate(juno, lobby, GROK), {})
    await hosted.finish()
    reply = await hosted.shown(juno, lobby, lambda message: message["attachments"])
    opened = await hosted.press(juno, reply, "Remix…")
    question = await hosted.fill(juno, opened, model=[OVI], motion="she laughs")
    assert question["content"] == (
        "Ovi I2V needs a photo. Nothing was charged. Add it in the form, or pick another model."
    )
    form = await hosted.press(juno, question, "Add it…")
    assert list(await form_of(juno, form)) == ["photo", "speech", "ambient"]
    photo = await juno.upload(jpeg(), "photo.jpg")
    answer = await filled(hosted, juno, form, {"photo": [photo], "speech": "Hello!"})
    assert "Ovi I2V does not take reference images: left out." in answer
    request = (await hosted.last()).request
    assert (request.inputs, request.spec.speech, request.spec.motion) == ((), "Hello!", "she laughs")
    assert request.photo is not None


async def test_speech_and_sounds_are_plain_text(hosted: Stage, juno: Person, lobby: str):
    interaction = await animate(juno, lobby, OVI, option("motion", STRING, "she speaks"))
    assert list(await form_of(juno, interaction)) == ["speech", "ambient"]
    await filled(hosted, juno, interaction, {"speech": "Good evening.", "ambient": "rain on a roof"})
    spec = (await hosted.last()).request.spec
    assert (spec.motion, spec.speech, spec.ambient) == ("she speaks", "Good evening.", "rain on a roof")
    assert spec.audible


async def test_a_directed_model_asks_how_and_can_be_left_to_itself(hosted: Stage, juno: Person, lobby: str):
    interaction = await animate(juno, lobby, DIRECTED)
    assert list(await form_of(juno, interaction)) == ["camera_direction", "subject", "speed"]
    await filled(hosted, juno, interaction, {"camera_direction": "push in", "subject": "he nods", "speed": "slow"})
    spec = (await hosted.last()).request.spec
    assert (spec.camera_direction, spec.subject, spec.speed) == ("push in", "he nods", "slow")
    await filled(hosted, juno, await animate(juno, lobby, DIRECTED), {})
    assert (await hosted.last()).request.spec.camera_direction == ""


async def test_words_alone_are_enough_for_a_model_that_needs_no_photo(hosted: Stage, juno: Person, lobby: str):
    words = option("motion", STRING, "a fox crosses a frozen river")
    await hosted.answer(juno, await animate(juno, lobby, WORDS, words, photo=False))
    request = (await hosted.last()).request
    assert request.photo is None and request.spec.motion == "a fox crosses a frozen river"
    await hosted.finish()
    reply = await hosted.shown(juno, lobby, lambda message: message["attachments"])
    await hosted.answer(juno, await hosted.press(juno, reply, "Reroll"))
    assert (await hosted.last()).request.photo is None


async def test_a_photo_that_lacks_is_asked_for_where_a_model_was_named(hosted: Stage, juno: Person, lobby: str):
    interaction = await animate(juno, lobby, "sketch", photo=False)
    assert list(await form_of(juno, interaction)) == ["photo"]
    await filled(hosted, juno, interaction, {"photo": [await juno.upload(jpeg(), "photo.jpg")]})
    assert (await hosted.last()).request.photo is not None
    nothing = await hosted.answer(juno, await juno.use(lobby, "animate", option("motion", STRING, "zoom in")))
    assert nothing["content"] == "There is no photo to animate. Attach one and ask again."


async def test_sound_is_off_unless_asked_and_refused_where_there_is_none(hosted: Stage, juno: Person, lobby: str):
    await hosted.animate(juno, lobby, model=WORDS, takes=1)
    assert not (await hosted.last()).request.spec.sound
    await hosted.animate(juno, lobby, model=WORDS, takes=1, sound=True)
    assert (await hosted.last()).request.spec.sound
    refused = await hosted.animate(juno, lobby, model="sketch", sound=True)
    assert refused["content"] == ("Sketch does not take sound. Leave that out, or pick a model that does.")


async def test_no_form_is_opened_for_a_model_that_is_refused_anyway(hosted: Stage, juno: Person, lobby: str):
    await paid.withdraw(hosted.pool, HOME, "replicate")
    refused = await hosted.answer(juno, await animate(juno, lobby, MOTION))
    assert refused["content"].startswith("Kling v2.6 Motion Control costs real money") and labels(refused) == []
