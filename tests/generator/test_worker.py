"""The worker around an engine that does what the test says, on a real database and blob store."""

import asyncio
import math
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from clips import library, queue
from clips.blobs import BlobStore
from clips.catalog import Model
from clips.domain import Camera, RequestId, RequestKind, Sha256, Strength, TakeId, TakeState
from clips.errors import FatalEngineError, MemberError, RetryableError, SetupError
from clips.ffmpeg import VideoError, probe
from clips.postgres import Pool
from clips.requests import Take
from generator.engines.base import Context, Engine, Job, NoRoomError, Sink, TakeSeed, Variation
from generator.engines.loading import Shelf
from tests.generator.rehearsal import SKETCH, SPEC, Rehearsed, endless, frames, raising, working
from tests.generator.studio import GUILD, SHORT, Studio


async def test_frames_become_a_clip_with_the_recipe_that_makes_it_again(room: Studio):
    spec = replace(SPEC, motion="zoom in", avoid="", camera=Camera.SWAY, strength=Strength.HIGH)
    request = await room.ask(spec=spec, seed=41, takes=2)
    async with working(room):
        _, second = await room.ended(request)
    clip = await library.clip(room.pool, GUILD, second.take_id)
    assert clip is not None
    master = room.folder / "master.mp4"
    await room.blobs.fetch_to(clip.master, master)
    assert (probe(master).frames, probe(master).width, probe(master).height) == (24, 160, 120)
    assert clip.recipe["spec"]["camera"] == "sway"
    assert clip.recipe["prompt"] == "zoom in, camera: sway"
    assert clip.recipe["plan"] == asdict(SHORT)
    assert (clip.recipe["photo"], clip.recipe["seed"], clip.recipe["variations"]) == (room.photo, 42, [])
    assert clip.recipe["versions"].keys() == {"zoetrope", "numpy", "opencv-python-headless"}
    assert clip.recipe["engine"] == "sketch"


async def test_a_variation_starts_from_the_noise_of_what_it_varies(room: Studio):
    rendered: list[TakeSeed] = []

    def note(job: Job, sink: Sink, context: Context) -> None:
        rendered.extend(job.takes)
        frames(job, sink, context)

    async def vary(parent: RequestId, take: Take, seed: int, strength: float) -> tuple[RequestId, Take]:
        child = await room.ask(
            seed=seed, kind=RequestKind.VARY, parent_id=parent, parent_take=take.take_id, variation=strength
        )
        return child, (await room.ended(child))[0]

    parent = await room.ask(seed=100, takes=2)
    async with working(room, note):
        _, second = await room.ended(parent)
        child, varied = await vary(parent, second, 900, 0.25)
        await vary(child, varied, 7000, 0.6)
        # A reroll of a variation names the request that was rerolled, and the take that both vary.
        await vary(child, second, 950, 0.25)
    assert rendered == [
        TakeSeed(1, 100),
        TakeSeed(2, 101),
        TakeSeed(1, 101, (Variation(900, 0.25),)),
        TakeSeed(1, 101, (Variation(900, 0.25), Variation(7000, 0.6))),
        TakeSeed(1, 101, (Variation(950, 0.25),)),
    ]


async def test_a_variation_of_a_take_that_there_is_not_fails_as_a_fault_of_ours(room: Studio):
    parent = await room.ask()
    request = await room.ask(kind=RequestKind.VARY, parent_id=parent, parent_take=TakeId(999), variation=0.25)
    async with working(room):
        [take] = await room.ended(request)
    assert take.state is TakeState.FAILED
    assert "Something broke" in (take.error or "")


@pytest.mark.parametrize(
    ("error", "state", "sentence"),
    [
        (MemberError("The end photo is too small."), TakeState.FAILED, "The end photo is too small."),
        (ValueError("a bug"), TakeState.FAILED, "Something broke in the generator"),
        (RetryableError("the network"), TakeState.BACKOFF, None),
        (SetupError("a licence is not accepted"), TakeState.BACKOFF, None),
        (VideoError("ffmpeg fell over"), TakeState.BACKOFF, None),
        (OSError(28, "No space left on device"), TakeState.BACKOFF, None),
    ],
)
async def test_an_error_fails_the_take_or_has_it_tried_again(
    room: Studio, error: Exception, state: TakeState, sentence: str | None
):
    request = await room.ask()
    async with working(room, raising(error)):
        whole = await room.until(request, lambda whole: whole.takes[0].state is state)
    [take] = whole.takes
    assert (take.attempts, take.charged) == ((1, None) if state is TakeState.BACKOFF else (0, 0))
    assert sentence is None or (take.error or "").startswith(sentence)
    assert str(error) in await room.pool.fetchval("SELECT fault FROM takes")
    assert list(room.folder.glob("tmp*")) == []


async def test_a_poisoned_process_gives_the_take_to_others_and_renders_no_more(room: Studio):
    request = await room.ask(takes=2)

    async def until_it_breaks() -> None:
        async with working(room, raising(FatalEngineError("CUDA error: an illegal memory access"))):
            await room.until(request, lambda whole: whole.takes[0].state is TakeState.BACKOFF)
            await room.pool.execute("UPDATE takes SET run_at = run_at + interval '1 h' WHERE state = 'backoff'")
            await asyncio.sleep(0.3)

    with pytest.raises(FatalEngineError):
        await until_it_breaks()
    assert [take.state for take in (await room.read(request)).takes] == [TakeState.BACKOFF, TakeState.READY]


async def test_a_cancel_stops_the_render_at_once_and_costs_what_was_measured(room: Studio):
    request = await room.ask(replace(SHORT, credits=90))
    async with working(room, endless, lease=timedelta(minutes=10)):
        await room.rendering(request)
        await asyncio.sleep(0.4)
        await queue.cancel(room.pool, request)
        [take] = await room.ended(request)  # by the notice: the next beat is minutes away
    gpu = await room.pool.fetchval("SELECT gpu_ms FROM takes")
    assert gpu > 400
    assert (take.state, take.charged) == (TakeState.CANCELLED, math.ceil(gpu / 1000))


async def test_only_rendering_is_charged_not_loading(room: Studio):
    loaded = asyncio.Event()
    rendered_for = 0.0

    async def slowly(_: Model, __: str, context: Context, ___: int) -> Engine:
        context.report("load", 1, 6)
        await loaded.wait()
        return Rehearsed(timed)

    def timed(job: Job, sink: Sink, context: Context) -> None:
        nonlocal rendered_for
        began = time.monotonic()
        frames(job, sink, context)
        rendered_for = time.monotonic() - began

    request = await room.ask(replace(SHORT, credits=90))
    async with working(room, shelf=Shelf("cpu", load=slowly)):
        await room.until(request, lambda whole: whole.takes[0].total == 6)
        await asyncio.sleep(3)
        loaded.set()
        [take] = await room.ended(request)
    gpu = await room.pool.fetchval("SELECT gpu_ms FROM takes")
    assert gpu < 1000 * rendered_for + 3000
    assert take.charged == math.ceil(gpu / 1000)


async def test_a_photo_that_vanished_is_told_to_the_member(room: Studio):
    request = await room.ask()
    for file in (room.folder / "blobs").glob(f"*/{room.photo}"):
        file.unlink()
    async with working(room):
        [take] = await room.ended(request)
    assert take.error == "The photo is not stored any more. Upload it again."


class Flaky(BlobStore):
    """A blob store that is away for the first three puts."""

    refusals = 3

    async def put(self, pool: Pool, content: Path | bytes, media_type: str) -> Sha256:
        if self.refusals:
            self.refusals -= 1
            raise RetryableError("The blob store did not take a blob: 503 Slow Down")
        return await super().put(pool, content, media_type)


async def test_a_render_outlasts_a_blob_store_that_is_away(room: Studio):
    request = await room.ask()
    blobs = Flaky.from_url(str(room.folder / "blobs"))
    async with working(room, blobs=blobs):
        [take] = await room.ended(request)
    assert (take.state, take.attempts, blobs.refusals) == (TakeState.DONE, 0, 0)


async def test_one_model_makes_room_for_the_next_and_the_queue_knows_which_is_loaded(room: Studio):
    made: list[tuple[str, Rehearsed]] = []

    class Heavy(Rehearsed):
        vram, ram, can_park = 0, 1, True
        manner: Mapping[str, str] = {"placement": "on the shelf"}

        async def park(self) -> None:
            raise AssertionError("it holds nothing on a GPU")

        async def wake(self) -> None: ...

    async def load(model: Model, _: str, __: Context, ___: int) -> Engine:
        if not all(engine.closed for _, engine in made):
            raise NoRoomError(vram=0, ram=1)
        made.append((model.name, Heavy(frames)))
        return made[-1][1]

    models = {"sketch": SKETCH, "other": SKETCH.model_copy(update={"name": "other"})}
    await queue.announce(room.pool, uuid4(), "another", list(models), [])
    asked = [
        await room.ask(spec=replace(SPEC, model=name), user_id=user)
        for name, user in (("sketch", 11), ("other", 12), ("sketch", 11), ("other", 12))
    ]
    async with working(room, shelf=Shelf("cpu", load=load), models=models):
        for request in asked:
            await room.ended(request)
    # The queue prefers what is loaded: two loads serve four takes.
    assert [name for name, _ in made] == ["sketch", "other"]
    [take] = await room.ended(asked[0])
    clip = await library.clip(room.pool, GUILD, take.take_id)
    assert clip is not None and clip.recipe["versions"]["placement"] == "on the shelf"


async def test_told_to_stop_it_finishes_what_it_renders(room: Studio):
    request = await room.ask(takes=2)
    asked = threading.Event()

    def slow(job: Job, sink: Sink, context: Context) -> None:
        context.report("step", 0, 1)
        assert asked.wait(60)
        frames(job, sink, context)

    async with working(room, slow, stop_seconds=60) as stopping:
        await room.rendering(request)
        stopping.ask()
        asked.set()
        await room.until(request, lambda whole: whole.takes[0].state is TakeState.DONE)
    assert [take.state for take in (await room.read(request)).takes] == [TakeState.DONE, TakeState.READY]


async def test_past_the_bound_it_gives_the_take_back_and_no_attempt_is_lost(room: Studio):
    request = await room.ask()
    async with working(room, endless, stop_seconds=0.2) as stopping:
        await room.rendering(request)
        stopping.ask()
        whole = await room.until(request, lambda whole: whole.takes[0].state is TakeState.READY)
    assert (whole.takes[0].attempts, whole.takes[0].charged) == (0, None)


async def test_asked_twice_it_stops_at_once(room: Studio):
    request = await room.ask()
    async with working(room, endless, stop_seconds=600) as stopping:
        await room.rendering(request)
        stopping.ask()
        stopping.ask()
        await room.until(request, lambda whole: whole.takes[0].state is TakeState.READY)
