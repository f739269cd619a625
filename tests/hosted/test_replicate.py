"""The engine `replicate` against a provider that does what it may: whatever comes, a take is paid once at most."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from clips.domain import ClipSpec
from clips.errors import CancelledError, LeaseLostError, MemberError, RetryableError, StoppingError, SwitchedOffError
from clips.hosted_jobs import Outcome
from generator.engines.replicate.words import ModerationError
from tests.hosted.provider import Provider
from tests.hosted.rehearsal import KilledError, Rehearsal, rehearsing

PRICE = 200_000
"""Two seconds of Wan 2.7 at 720p, in microdollars."""


@pytest.fixture
async def stage(provider: Provider, tmp_path: Path) -> AsyncGenerator[Rehearsal]:
    async with rehearsing(provider, tmp_path) as made:
        yield made


async def test_a_take_is_uploaded_predicted_fetched_and_tidied_up(stage: Rehearsal):
    stage.provider.polls = deque(["starting", "processing", "succeeded"])
    attempt = await stage.attempt()
    [asked] = stage.provider.predictions.values()
    assert asked["version"] == "wan-video/wan-2.7-i2v"
    [file_id] = stage.provider.files
    assert asked["input"] == {
        "first_frame": f"{stage.provider.address}/v1/files/{file_id}",
        "prompt": "waves roll in",
        "resolution": "720p",
        "duration": 2,
        "seed": 7,
    }
    assert stage.provider.deleted == [file_id]
    assert attempt.made is not None and attempt.made.frames == 24
    assert not attempt.made.has_sound  # nobody asked for it
    assert (stage.notebook.outcome, stage.notebook.microdollars) == (Outcome.SUCCEEDED, PRICE)
    parts = [done for phase, done, _ in attempt.reports if phase == "part"]
    assert parts and parts == sorted(parts)


async def test_sound_that_was_asked_for_stays_and_costs_its_price(stage: Rehearsal):
    attempt = await stage.attempt("kling-v2.6", spec=ClipSpec("", sound=True))
    assert attempt.made is not None and attempt.made.has_sound
    assert stage.provider.inputs[0]["generate_audio"] is True
    assert stage.notebook.microdollars == 300_000  # the two seconds that came, not the five that were asked for


async def test_a_communitys_model_is_asked_for_by_its_whole_version_and_charged_by_its_machine(stage: Rehearsal):
    await stage.attempt("pia-hosted")
    [asked] = stage.provider.predictions.values()
    assert asked["version"] == "open-mmlab/pia:7a673cec" + "1" * 56
    assert stage.notebook.microdollars == 14_000


async def test_words_alone_make_a_clip(stage: Rehearsal):
    await stage.attempt("p-video", photo=False)
    assert stage.provider.files == {}
    assert stage.provider.inputs[0]["disable_safety_filter"] is False


@pytest.mark.parametrize("word", ["500 after", "cut after", "garbled after"])
@pytest.mark.parametrize("name", ["wan-2.7-i2v", "p-video"])
async def test_a_prediction_whose_answer_was_lost_is_found_again(stage: Rehearsal, word: str, name: str):
    photo = name != "p-video"
    await stage.attempt(name, photo=photo)  # somebody else's, which says the same
    stage.taken = set(stage.provider.predictions)
    stage.notebook = type(stage.notebook)()
    stage.provider.create.append(word)
    await stage.attempt(name, photo=photo)
    assert (len(stage.provider.predictions), stage.notebook.intents) == (2, 1)


@pytest.mark.parametrize("word", ["500", "cut"])
async def test_what_certainly_was_not_created_is_asked_for_again(stage: Rehearsal, word: str):
    stage.provider.create.append(word)
    await stage.attempt()
    assert (stage.provider.paid, stage.notebook.intents) == (1, 2)


async def test_too_much_haste_waits_as_it_is_told(stage: Rehearsal):
    stage.provider.create.extend(["429", "429"])
    stage.provider.polls.extend(["429", "succeeded"])
    await stage.attempt()
    assert stage.provider.paid == 1


@pytest.mark.parametrize("moment", ["intended", "created", "remembered"])
@pytest.mark.parametrize("name", ["wan-2.7-i2v", "p-video"])
async def test_the_next_attempt_goes_on_where_the_last_one_died(stage: Rehearsal, moment: str, name: str):
    stage.notebook.dies_at = moment
    photo = name != "p-video"
    with pytest.raises(KilledError):
        await stage.attempt(name, photo=photo)
    await stage.attempt(name, photo=photo)
    assert (len(stage.provider.predictions), stage.provider.paid) == (1, 1)
    assert stage.notebook.outcome is Outcome.SUCCEEDED


async def test_a_clip_that_was_fetched_and_not_recorded_is_fetched_again(stage: Rehearsal):
    await stage.attempt()
    attempt = await stage.attempt()
    assert attempt.made is not None
    assert stage.provider.paid == 1


async def test_what_cannot_be_decided_is_given_up_and_not_asked_for_again(stage: Rehearsal):
    stage.notebook.dies_at = "created"
    with pytest.raises(KilledError):
        await stage.attempt()
    stage.provider.listing_forgets = True
    for _ in range(2):
        with pytest.raises(MemberError, match=r"does not say whether it began|did not take this"):
            await stage.attempt()
    assert len(stage.provider.predictions) == 1
    assert (stage.notebook.outcome, stage.notebook.microdollars) == (Outcome.UNDECIDED, PRICE)


async def test_one_that_comes_too_late_is_cancelled(stage: Rehearsal):
    """A process that slept through its lease: the take has another prediction by now."""
    stage.notebook.external_id = None
    original = stage.notebook.remember

    async def overtaken(external_id: str) -> None:
        stage.notebook.external_id = "another"
        await original(external_id)

    stage.notebook.remember = overtaken  # pyright: ignore[reportAttributeAccessIssue] - one object's own
    with pytest.raises(LeaseLostError):
        await stage.attempt()
    assert stage.provider.cancelled == list(stage.provider.predictions) == list(stage.notebook.surplus) != []


async def test_a_process_that_slept_after_its_intent_asks_whether_the_take_is_still_its_own(stage: Rehearsal):
    stage.pace = replace(stage.pace, fresh=0.1)
    stage.notebook.slow = 0.2
    stage.notebook.lost_after = 1
    with pytest.raises(LeaseLostError):
        await stage.attempt()
    assert stage.provider.predictions == {}


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["", "402", "429", "500", "cut", "500 after", "cut after", "garbled after"]),
            st.sampled_from(["", "intended", "created", "remembered"]),
        ),
        max_size=4,
    ),
    st.sampled_from(["wan-2.7-i2v", "p-video"]),
)
@example([("402", "")], "wan-2.7-i2v")
@settings(max_examples=11, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_lost_and_whenever_it_is_killed_a_take_has_one_prediction(
    clip: bytes, tmp_path: Path, attempts: list[tuple[str, str]], name: str
):
    async def all_of_them() -> None:
        async with Provider.running(clip) as provider, rehearsing(provider, tmp_path) as stage:
            an_hour_ago = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
            old = {"id": "old", "status": "canceled", "created_at": an_hour_ago, "data_removed": True}
            provider.predictions["old"] = old  # of somebody else; nobody can tell any more what it was asked for
            for answer, dies_at in attempts:
                provider.create = deque([answer])
                stage.notebook.dies_at = dies_at
                with suppress(KilledError, SwitchedOffError):
                    await stage.attempt(name, photo=name != "p-video")
                if answer == "402" and not dies_at:
                    stage.notebook.age = 3600.0  # the account's credit is back only then
            stage.notebook.dies_at = ""
            await stage.attempt(name, photo=name != "p-video")
            assert (len(provider.predictions) - 1, provider.paid, stage.notebook.surplus) == (1, 1, set())
            assert set(provider.deleted) == set(provider.files)

    asyncio.run(all_of_them())


async def test_a_take_of_another_generator_asks_for_nothing(stage: Rehearsal):
    stage.notebook.lost_after = 0
    with pytest.raises(LeaseLostError):
        await stage.attempt()
    assert stage.provider.predictions == {}


@pytest.mark.parametrize(("status", "cost"), [("starting", 0), ("processing", PRICE)])
async def test_a_cancel_ends_the_prediction_and_costs_what_had_begun(stage: Rehearsal, status: str, cost: int):
    stage.provider.polls = deque([status] * 1000)
    with pytest.raises(CancelledError):
        await stage.attempt(stop=CancelledError("cancelled"), at=status)
    assert stage.provider.cancelled == list(stage.provider.predictions)
    assert (stage.notebook.outcome, stage.notebook.microdollars) == (Outcome.CANCELLED, cost)


async def test_uploads_of_an_order_that_was_never_written_down_are_taken_back(stage: Rehearsal):
    stage.provider.uploads.extend(["", "503", "503", "503"])
    with pytest.raises(RetryableError):
        await stage.attempt(end_photo=True)
    assert stage.notebook.order is None
    assert stage.provider.deleted == list(stage.provider.files) != []


async def test_a_stop_leaves_the_prediction_to_the_next_attempt(stage: Rehearsal):
    stage.provider.held = True
    with pytest.raises(StoppingError):
        await stage.attempt(stop=StoppingError("stopped"), at="starting")
    assert stage.provider.cancelled == []
    stage.provider.held = False
    await stage.attempt()
    assert (len(stage.provider.predictions), stage.provider.paid) == (1, 1)


@pytest.mark.parametrize(
    ("polls", "error", "sentence", "outcome"),
    [
        (["processing", "failed"], "CUDA out of memory", "failed at its provider (“CUDA out of memory”)", "failed"),
        (["failed"], "The input image is too small", "could not use the photo (“The input image", "failed"),
        (["aborted"], "", "was stopped at its provider", "cancelled"),
        (["canceled"], "", "was stopped at its provider", "cancelled"),
        (["exploded"], "", "failed at its provider", "failed"),
        (["lost"], "", "was gone from its provider", "failed"),
        (["404"], "", "has lost this", "failed"),
    ],
)
async def test_an_end_without_a_clip_is_told_in_words(
    stage: Rehearsal, polls: list[str], error: str, sentence: str, outcome: str
):
    stage.provider.polls, stage.provider.error = deque(polls), error
    if polls == ["404"]:
        stage.notebook.dies_at = "remembered"
        with pytest.raises(KilledError):
            await stage.attempt()
    with pytest.raises(MemberError) as failed:
        await stage.attempt()
    assert sentence in failed.value.sentence
    assert stage.notebook.outcome == outcome
    assert stage.notebook.microdollars == (PRICE if polls in (["lost"], ["404"], ["canceled"]) else 0)


@pytest.mark.parametrize(
    "error",
    [
        "The input or output was flagged as sensitive. Please try again with different inputs. (E005)",
        "NSFW content detected",
        "Content violates usage policies",
        "Request blocked by our moderation system",
    ],
)
async def test_a_refusal_by_content_is_told_as_such(stage: Rehearsal, error: str):
    stage.provider.polls, stage.provider.error = deque(["failed"]), error
    with pytest.raises(ModerationError, match="content rules"):
        await stage.attempt()


async def test_an_unknown_status_is_waited_for(stage: Rehearsal):
    stage.provider.polls = deque(["queued", "500", "500", "processing", "succeeded"])
    await stage.attempt()
    assert stage.provider.paid == 1


async def test_a_prediction_without_an_end_is_ended(stage: Rehearsal):
    stage.provider.held = True
    stage.pace = replace(stage.pace, longest=0.1)
    with pytest.raises(MemberError, match="did not come to an end"):
        await stage.attempt()
    assert stage.provider.cancelled == list(stage.provider.predictions)
    # It has not ended yet: what it costs is found out when the take is over.
    assert (stage.notebook.outcome, stage.notebook.microdollars) == (None, None)


@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        ("gone", "was gone from its provider"),
        ("page", "no clip that plays"),
        ("huge", "no clip that plays"),
        ("inwards", "no clip that plays"),
    ],
)
async def test_an_output_that_is_no_clip_is_refused(stage: Rehearsal, output: str, sentence: str):
    stage.provider.output = output
    with pytest.raises(MemberError, match=sentence):
        await stage.attempt()
    # It is paid for all the same, and the host's books have to say so.
    assert (stage.notebook.outcome, stage.notebook.microdollars) == (Outcome.FAILED, PRICE)
    assert list(stage.folder.glob("*.mp4")) == []


async def test_a_download_that_breaks_is_tried_again(stage: Rehearsal):
    stage.provider.output = "flaky"
    await stage.attempt()
    assert stage.provider.paid == 1


@pytest.mark.parametrize("refusal", ["422", "403"])
async def test_a_request_that_the_provider_does_not_take_is_told_to_the_staff(stage: Rehearsal, refusal: str):
    stage.provider.create.append(refusal)
    for _ in range(2):
        with pytest.raises(MemberError, match=r"does not take this request|did not take this"):
            await stage.attempt()
    assert (stage.provider.predictions, stage.notebook.outcome, stage.notebook.microdollars) == ({}, Outcome.FAILED, 0)
    assert stage.gate.open


@pytest.mark.parametrize("how", ["key", "credit", "uploads"])
async def test_an_account_that_takes_no_work_closes_its_gate_and_the_take_waits(
    stage: Rehearsal, how: str, caplog: pytest.LogCaptureFixture
):
    match how:
        case "key":
            stage.provider.key = "r8_another"
        case "credit":
            stage.provider.create.append("402")
        case _:
            stage.provider.uploads.extend(["503"] * 3)
            stage.provider.ailing = True
    with pytest.raises(SwitchedOffError):
        await stage.attempt()
    assert not stage.gate.open and stage.gate.trouble
    assert "REPLICATE_API_TOKEN" in stage.gate.trouble or how != "key"
    assert "r8_loopback" not in caplog.text + stage.gate.trouble
    stage.provider.key, stage.provider.ailing = "r8_loopback", False
    await stage.gate.examine()
    assert stage.gate.open
    await stage.attempt()
    assert stage.provider.paid == 1
