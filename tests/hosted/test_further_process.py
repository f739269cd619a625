"""What members give in forms, on its whole way: to the database, a generator, the provider, and back as a clip."""

from pathlib import Path

import aiohttp
from people import Person, option

from clips import guilds, paid
from clips.blobs import BlobStore
from clips.domain import TakeState
from clips.postgres import Pool
from sandbox import seed
from sandbox.server import running
from tests.bot.stage import ATTACHMENT, HOME, INTEGER, PATIENT, STRING, Stage, jpeg
from tests.generator.studio import generating
from tests.hosted.provider import KEY, Provider
from tests.test_motion_video import movie

FORMS = {
    "kling-v2.6-motion-control": ("motion_video",),
    "grok-imagine-r2v": ("references",),
    "ovi-i2v": ("speech", "ambient"),
}


async def test_what_a_form_asks_for_reaches_the_provider_and_comes_back_as_a_clip(
    dsn: str, pool: Pool, tmp_path: Path, provider: Provider
):
    async with running(tmp_path / "world", times=PATIENT) as box, aiohttp.ClientSession(box.address) as session:
        stage = Stage(box, session, dsn, pool, BlobStore.from_url(str(tmp_path / "blobs")), tmp_path)
        await guilds.know(pool, HOME)
        await paid.approve(pool, HOME, "replicate", 20 * paid.DOLLAR)
        await stage.announce(*FORMS)
        juno = stage.person(seed.JUNO)
        lobby = await juno.channel("lobby")
        async with stage.playing():
            for model, fields in FORMS.items():
                await _asked(stage, juno, lobby, model, fields)
            fields = {"models": "replicate", "replicate_url": provider.address, "lease_seconds": "6"}
            async with generating(dsn, tmp_path, "pays at once", key=KEY, **fields) as generator:
                await stage.eventually(lambda: _ended(stage))
                states = [(await stage.read(each)).takes[0].state for each in await stage.request_ids()]
                assert states == [TakeState.DONE] * len(FORMS), generator.said
                assert await generator.stopped() == 0, generator.said
        await stage.promises_hold()
        (approval,) = await paid.approvals(pool, HOME)
        assert approval.reserved == 0 and approval.spent > 0
    sent = {body["version"]: body["input"] for body in provider.predictions.values()}
    followed = sent["kwaivgi/kling-v2.6-motion-control"]
    assert provider.files[followed["video"].rpartition("/")[2]][4:8] == b"ftyp"
    assert len(sent["xai/grok-imagine-r2v"]["reference_images"]) == 2
    assert "<S>Hello.<E>" in sent["character-ai/ovi-i2v"]["prompt"]


async def _ended(stage: Stage) -> bool:
    return all([(await stage.read(each)).ended for each in await stage.request_ids()])


async def _asked(stage: Stage, juno: Person, channel: str, model: str, fields: tuple[str, ...]) -> None:
    """`/animate` with a photo and the form behind it."""
    photo = option("photo", ATTACHMENT, await juno.upload(jpeg(), "photo.jpg"))
    interaction = await juno.use(channel, "animate", option("model", STRING, model), option("takes", INTEGER, 1), photo)
    given: dict[str, object] = {
        "motion_video": [await juno.upload(movie(4), "dance.mp4")],
        "references": [await juno.upload(jpeg(), "friend.jpg")],
        "speech": "Hello.",
        "ambient": "rain",
    }
    answer = await stage.fill(juno, interaction, **{name: given[name] for name in fields})
    assert answer["content"].startswith("**On its way:**"), answer["content"]
