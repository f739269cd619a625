"""`/animate` from the option to the request: what is accepted, what is refused and in which words."""

from people import Person

from clips.domain import Camera, Lane, RequestStatus, Size, Strength
from tests.bot.stage import Stage, labels


async def test_a_photo_alone_is_enough(stage: Stage, juno: Person, lobby: str):
    answer = await stage.animate(juno, lobby)
    whole = await stage.last()
    assert "3 takes with Sketch (a sketch, not a generated video), 5.0 s each" in answer["content"]
    assert f"<#{lobby}>" in answer["content"] and "<t:" in answer["content"]
    assert "6 credits (2 a take) are set aside" in answer["content"]
    assert "894 credits left today" in answer["content"]
    assert whole.request.takes == 3 and whole.request.user_id == int(juno.id)
    card = await stage.shown(juno, lobby, lambda message: "Cancel" in labels(message))
    assert "sketch, not a generated video" in card["content"]
