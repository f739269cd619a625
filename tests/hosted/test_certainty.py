"""What is certain of a hosted take and what is not: nothing that may have cost money is closed, nothing that did not
cost any is left to be looked for.
"""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from clips.errors import RetryableError, StoppingError, SwitchedOffError
from clips.ffmpeg import VideoError
from clips.hosted_jobs import Body, Outcome
from generator.engines.replicate import paying
from generator.engines.replicate.api import Prediction
from generator.faults import judge
from tests.hosted.provider import Provider
from tests.hosted.rehearsal import KilledError, Notebook, Rehearsal, rehearsing


@pytest.fixture
async def stage(provider: Provider, tmp_path: Path) -> AsyncGenerator[Rehearsal]:
    async with rehearsing(provider, tmp_path) as made:
        yield made


@pytest.mark.parametrize("output", ["rubbish", "cut short"])
async def test_a_clip_that_ffmpeg_does_not_play_is_fetched_again_by_the_next_attempt(stage: Rehearsal, output: str):
    """It may have been ffmpeg's own doing, and the clip is paid for."""
    stage.provider.output = output
    with pytest.raises(VideoError) as failed:
        await stage.attempt()
    assert judge(failed.value).retry
    assert stage.notebook.outcome is None
    assert (list(stage.folder.glob("*.mp4")), stage.provider.deleted) == ([], [])
    stage.provider.output = "clip"
    attempt = await stage.attempt()
    assert attempt.made is not None
    assert (stage.provider.paid, stage.notebook.outcome) == (1, Outcome.SUCCEEDED)


@pytest.mark.parametrize("moment", ["intended", "created"])
async def test_a_list_that_is_not_shown_decides_nothing(stage: Rehearsal, moment: str):
    stage.notebook.dies_at = moment
    with pytest.raises(KilledError):
        await stage.attempt()
    stage.provider.listing_refused = True
    with pytest.raises(RetryableError, match="403"):
        await stage.attempt()
    assert stage.notebook.outcome is None
    stage.provider.listing_refused = False
    await stage.attempt()
    assert (len(stage.provider.predictions), stage.provider.paid) == (1, 1)


@pytest.mark.parametrize("no", ["401", "402", "429", "connection"])
async def test_a_certain_no_leaves_nothing_to_look_for(stage: Rehearsal, no: str, monkeypatch: pytest.MonkeyPatch):
    await stage.attempt()  # somebody else's, and by now the list does not tell what it was asked for
    stage.provider.listing_forgets = True
    stage.notebook = Notebook()
    with monkeypatch.context() as patched:
        if no == "connection":
            patched.setattr(stage.api, "create", _unreachable)
        else:
            patched.setattr(paying, "_HASTE", -1.0)
            stage.provider.create.append(no)
        with pytest.raises(RetryableError if no in {"429", "connection"} else SwitchedOffError):
            await stage.attempt()
    assert (stage.notebook.intents, stage.notebook.order) == (1, None)
    assert stage.provider.deleted == list(stage.provider.files)
    await stage.attempt()
    assert (len(stage.provider.predictions), stage.notebook.outcome) == (2, Outcome.SUCCEEDED)


async def _unreachable(body: Body) -> Prediction:
    raise RetryableError("a request to Replicate (POST) failed: ClientConnectorError")


async def test_a_take_that_is_stopped_while_it_is_put_off_leaves_nothing_behind(stage: Rehearsal):
    stage.provider.create.extend(["429"] * 10_000)
    with pytest.raises(StoppingError):
        await stage.attempt(stop=StoppingError("stopped"), when=lambda: stage.notebook.intents > 1)
    assert stage.notebook.order is None
    assert stage.provider.deleted == list(stage.provider.files) != []
    stage.provider.create.clear()
    await stage.attempt()
    assert stage.provider.paid == 1


async def test_an_upload_that_fails_where_all_else_works_closes_nothing(stage: Rehearsal):
    """It costs its take an attempt: else one that cannot be made would switch every model off again and again."""
    stage.provider.uploads.extend(["503"] * 3)
    with pytest.raises(RetryableError, match="503"):
        await stage.attempt()
    assert stage.gate.open
    await stage.attempt()
    assert stage.provider.paid == 1


@pytest.mark.parametrize("name", ["wan-2.7-i2v", "p-video"], ids=["by its mark", "by its words"])
async def test_a_prediction_that_is_listed_twice_is_one(stage: Rehearsal, name: str):
    """It was the last of a page when another one came before all of them, and so the first of the next page too."""
    await stage.attempt()
    [older] = stage.provider.predictions.values()
    stage.notebook = Notebook(dies_at="created")
    with pytest.raises(KilledError):
        await stage.attempt(name, photo=name != "p-video")
    stage.provider.predictions["newer"] = {**older, "id": "newer"}
    stage.notebook.dies_at, stage.provider.listing_grows = "", 1
    await stage.attempt(name, photo=name != "p-video")
    assert stage.provider.listing_grows == 0
    assert (stage.provider.cancelled, stage.notebook.surplus) == ([], set())
    assert stage.notebook.outcome == Outcome.SUCCEEDED


async def test_of_two_predictions_one_is_kept_and_both_are_paid_for(stage: Rehearsal):
    stage.notebook.dies_at = "created"
    with pytest.raises(KilledError):
        await stage.attempt()
    [first] = stage.provider.predictions.values()
    stage.provider.predictions["twin"] = {**first, "id": "twin"}
    await stage.attempt()
    assert (stage.notebook.external_id, stage.notebook.outcome) == (first["id"], Outcome.SUCCEEDED)
    assert (stage.provider.cancelled, stage.notebook.surplus) == (["twin"], {"twin"})
