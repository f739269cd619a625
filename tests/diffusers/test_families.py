"""What holds for every family: a render is the plain pipeline's, the same whatever was rendered before, and can be
cancelled at any step. One tiny model each; `families` lists them.
"""

import asyncio
import gc
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from engine_harness import Collected, Report, Told, failing, grid_of, network_of, pipe_of
from families import FAMILIES, ONE_EACH, WORDS, Loaded, digest
from PIL import Image
from tiny import Tiny

from clips.catalog import Accepts, Placement, Speed
from clips.domain import Camera, ClipSpec, Strength
from clips.errors import CancelledError, MemberError, SetupError
from clips.step_caches import StepCaches
from generator.engines.base import TakeSeed, Variation
from generator.engines.diffusers import pictures
from generator.engines.diffusers.engine import DiffusersEngine
from generator.engines.diffusers.family import family_of
from generator.engines.diffusers.placing import denoisers
from generator.engines.diffusers.speed import Levers, offered, pull, slow_down

WISHES: dict[Accepts, dict[str, Any]] = {
    Accepts.MOTION: {"motion": "rain"},
    Accepts.AVOID: {"avoid": "blur"},
    Accepts.CAMERA: {"camera": Camera.PAN_LEFT},
    Accepts.STRENGTH: {"strength": Strength.HIGH},
    Accepts.CONSISTENCY: {"consistency": 0.1},
    Accepts.SPEECH: {"speech": "good evening"},
}
"""The seed, variations and the end photo have tests of their own."""


@dataclass(frozen=True)
class Album:
    """The folder of all families' models, and what came of seed 7 of those that were rendered."""

    folder: Path
    digests: dict[str, str] = field(default_factory=dict[str, str])

    async def open(self, tiny: Tiny, photo: Path) -> Loaded:
        """A family's model, saved once, in an engine of its own."""
        folder = tiny.saved(self.folder)
        model = tiny.model(folder)
        return Loaded(tiny, folder, model, await DiffusersEngine.load(model, "cpu", Told()), photo)

    async def close(self, loaded: Loaded) -> None:
        if loaded.kept:
            self.digests[loaded.tiny.entry] = digest(loaded.kept[0])
        await loaded.engine.close()


@pytest.fixture(scope="module")
def album(shelf: Path) -> Album:
    return Album(shelf)


@pytest.fixture(scope="module", params=FAMILIES, ids=lambda tiny: tiny.entry)
def loaded(request: pytest.FixtureRequest, album: Album, photo: Path) -> Iterator[Loaded]:
    one = asyncio.run(album.open(request.param, photo))
    yield one
    asyncio.run(album.close(one))


async def test_a_render_is_the_plain_pipelines(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, told = loaded.tiny.plan, Told()
    monkeypatch.setattr(pictures, "AT_ONCE", plan.frames)  # what is decoded together comes together
    job = loaded.job(7, end_photo="end_photo" not in loaded.tiny.refuses)
    made = await loaded.render(job, told)
    expected = loaded.expected(job)
    assert made.clip().shape == (plan.frames, plan.height, plan.width, 3)
    assert made.clip().std() > 5, "a picture, not a plane"
    assert np.abs(made.clip() / 255 - expected).max() <= 0.5 / 255 + 1e-5, "only the rounding to bytes differs"
    assert (len(made.chunks[0]) > 1) == loaded.tiny.streams
    assert told.phases == ["encode", "step", "decode"]
    steps = [(done, total) for phase, done, total in told.reports if phase == "step"]
    assert steps[0][0] == 0 and steps[-1][0] == steps[-1][1], "from the first step to the last"
    for phase in told.phases:
        done = [done for reported, done, _ in told.reports if reported == phase]
        assert done == sorted(done)


async def test_a_take_depends_on_its_seed_alone(loaded: Loaded) -> None:
    alone = await loaded.usual()
    beside = await loaded.render(loaded.job(5, 7))
    other = ClipSpec(model="tiny", motion="rain")
    await loaded.render(loaded.job(9, spec=other))
    later = await loaded.render(loaded.job(7))
    assert np.array_equal(alone.clip(), beside.clip(1))
    assert np.array_equal(alone.clip(), later.clip())
    assert not np.array_equal(beside.clip(0), beside.clip(1))


async def test_a_variation_lies_between_its_seeds(loaded: Loaded) -> None:
    takes = [TakeSeed(index, 7, (Variation(8, strength),)) for index, strength in enumerate((0.0, 0.3, 1.0))]
    made, parent = await loaded.render(loaded.job(takes=takes)), (await loaded.usual()).clip()
    assert np.array_equal(made.clip(0), parent)
    differences = [np.abs(made.clip(index).astype(float) - parent).mean() for index in (1, 2)]
    assert 0 < differences[0] < differences[1]


async def test_a_cancel_ends_it_there_and_leaves_nothing(loaded: Loaded, tmp_path: Path) -> None:
    Image.new("RGB", (64, 64), "white").save(tmp_path / "white.png")
    usual = await loaded.usual()
    points: dict[str, Callable[[Report], bool]] = {
        "after an encode": lambda report: report[0] == "encode" and report[1] > 0,
        "after a step": lambda report: report[:2] == ("step", 1),
        "after the last step": lambda report: report[0] == "step" and report[1] == report[2],
        "before the decode": lambda report: report[0] == "decode",
    }
    for name, at in points.items():
        told, cut = Told(cancel_at=at), Collected()
        job = loaded.job(3, spec=replace(WORDS, motion=name))
        unseen = replace(job, inputs={**job.inputs, "photo": tmp_path / "white.png"})
        with pytest.raises(CancelledError):
            await loaded.engine.render(unseen, cut, told)
        assert at(told.reports[-1]), "nothing went on"
        assert cut.chunks == {}
        after = await loaded.render(loaded.job(7))
        assert np.array_equal(after.clip(), usual.clip()), name


async def test_a_broken_off_render_keeps_no_tensor_though_its_error_is_kept(loaded: Loaded) -> None:
    made: list[weakref.ref[torch.Tensor]] = []
    hook = network_of(loaded.engine).register_forward_hook(lambda _, __, out: made.append(weakref.ref(out[0])))
    gc.collect()
    gc.disable()
    try:
        with pytest.raises(CancelledError) as cut:
            await loaded.render(loaded.job(3), Told(cancel_at=lambda report: report[:2] == ("step", 1)))
        assert made and not any(output() is not None for output in made), cut
    finally:
        hook.remove()
        gc.enable()


async def test_a_decode_that_fails_is_tried_again_with_the_same_latents(loaded: Loaded) -> None:
    runner, network = loaded.engine._runner, network_of(loaded.engine)  # pyright: ignore[reportPrivateUsage]
    decoder = runner._family.decoders()[-1]  # pyright: ignore[reportPrivateUsage]
    errors, drawn, late = [RuntimeError("No available kernel.")], list[float](), int(loaded.tiny.streams)
    hook = decoder.register_forward_pre_hook(lambda *_: drawn.append(torch.rand(1).item()))
    with failing(network, []) as calls:
        usual = await loaded.render(loaded.job(5))
        whole, noise = len(calls), drawn.copy()
        calls.clear()
        drawn.clear()
        runner._levers = Levers("flash")  # pyright: ignore[reportPrivateUsage] - no CPU has it
        with failing(decoder, errors, after=late):
            again = await loaded.render(loaded.job(5, 7))
    hook.remove()
    assert errors == [] and len(calls) == 2 * whole, "each take is denoised once"
    assert drawn[late + 1 :][: len(noise)] == noise, "what a decode draws is the take's own"
    for take, expected in enumerate((usual, await loaded.usual())):
        assert np.array_equal(again.clip(take), expected.clip())
        assert not expected.sounds or np.array_equal(again.sounds[take].samples, expected.sounds[0].samples)


async def test_an_end_photo_is_honoured_or_refused(loaded: Loaded, tmp_path: Path) -> None:
    refuses = "end_photo" in loaded.tiny.refuses
    assert refuses is (Accepts.END_PHOTO not in loaded.model.accepts), "the catalogue says what the family does"
    job = loaded.job(7, end_photo=True)
    if refuses:
        with pytest.raises(MemberError, match="takes no end photo"):
            await loaded.render(job)
        return
    Image.new("RGB", (64, 64), "white").save(tmp_path / "white.png")
    usual = await loaded.render(job)
    white = await loaded.render(replace(job, inputs={**job.inputs, "end_photo": tmp_path / "white.png"}))
    assert not np.array_equal(usual.clip(), white.clip())


async def test_what_a_model_needs_is_asked_for(loaded: Loaded) -> None:
    for name in loaded.tiny.needs:
        job = loaded.job(7)
        inputs = {given: path for given, path in job.inputs.items() if given != name}
        with pytest.raises(MemberError, match=f"Add an {name.replace('_', ' ')}"):
            await loaded.render(replace(job, inputs=inputs))


async def test_a_wish_that_is_accepted_changes_the_clip(loaded: Loaded) -> None:
    if loaded.tiny not in ONE_EACH:  # the others have the same network, or less steps of it
        return
    specs = [replace(WORDS, **WISHES[wish]) for wish in WISHES if wish in loaded.model.accepts]
    clips = [(await loaded.render(loaded.job(7, spec=spec))).clip().tobytes() for spec in (WORDS, *specs)]
    assert len(set(clips)) == len(clips)


async def test_a_wish_that_would_be_ignored_is_refused(loaded: Loaded) -> None:
    for wish in WISHES.keys() - loaded.model.accepts:
        with pytest.raises(MemberError, match="does not take"):
            loaded.model.check(ClipSpec("tiny", **WISHES[wish]), loaded.model.needs)
        with pytest.raises(SetupError, match=f"would ignore {wish}"):
            family_of(loaded.model.model_copy(update={"accepts": loaded.model.accepts | {wish}}))


async def test_a_consistency_that_nobody_asks_for_is_the_pipelines_own(loaded: Loaded) -> None:
    if Accepts.CONSISTENCY in loaded.model.accepts:
        usual = (await loaded.render(loaded.job(7, spec=replace(WORDS, consistency=0.7)))).clip()
        assert np.array_equal(usual, (await loaded.usual()).clip())


async def test_sound_comes_with_the_take_or_not_at_all(loaded: Loaded) -> None:
    if not loaded.tiny.sound:
        assert (await loaded.usual()).sounds == {}
        return
    made = await loaded.render(loaded.job(5, 7))
    first, second = made.sounds[0], made.sounds[1]
    assert first.rate == loaded.tiny.sound
    assert first.samples.dtype == np.float32 and first.samples.shape[0] == 2
    assert first.samples.std() > 0 and not np.array_equal(first.samples, second.samples)
    alone = await loaded.usual()
    assert np.array_equal(alone.sounds[0].samples, second.samples)


async def test_the_catalogue_plans_what_the_family_renders(loaded: Loaded) -> None:
    grid = grid_of(loaded.engine)
    assert loaded.model.multiple % grid.width == 0 and loaded.model.multiple % grid.height == 0
    rule = loaded.model.frames
    assert all((frames - grid.offset) % grid.frames == 0 for frames in (rule.snap(0), rule.snap(rule.max)))


async def test_only_levers_that_move_something_are_offered(loaded: Loaded) -> None:
    pipe, family = pipe_of(loaded.engine), loaded.model.family
    offer = offered(pipe, Speed.BALANCED, Placement.WHOLE, StepCaches())
    unet = family in {"svd", "i2vgen", "pia"}
    assert offer.attention == (() if unet or family == "cogvideox" else ("_native_cudnn",))
    pull(pipe, Levers(compiled=offer.compiled), (), 0)
    parts = denoisers(pipe)
    configs = [cast("Mapping[str, int]", part.config) for part in parts]
    depth = sum(config.get("num_layers", 0) + config.get("num_single_layers", 0) for config in configs)
    assert sum("forward" in vars(block) for part in parts for block in part.modules()) == depth
    assert offer.compiled == (not unet) == (depth > 0)
    slow_down(pipe)


async def test_out_of_memory_once_goes_on_with_less(loaded: Loaded) -> None:
    """The last test of a family: its engine is lean from here on."""
    usual = await loaded.usual()
    network = network_of(loaded.engine)
    with failing(network, [torch.OutOfMemoryError("CUDA out of memory")], after=1):
        rescued = await loaded.render(loaded.job(7))
    assert rescued.clip().shape == usual.clip().shape, "each frame once"
    difference = np.abs(rescued.clip()[0].astype(int) - usual.clip()[0]).mean()
    assert 0 < difference < 25 if loaded.tiny.blurs else difference == 0, "the same clip, but for tiles in time"
    errors: list[RuntimeError] = [torch.OutOfMemoryError("CUDA out of memory")]
    with failing(network, errors), pytest.raises(MemberError, match="too large for this GPU"):
        await loaded.render(loaded.job(7))
    after = await loaded.render(loaded.job(7))
    assert np.array_equal(after.clip(), rescued.clip())


async def test_takes_are_the_same_in_a_fresh_process(album: Album, photo: Path) -> None:
    """One process for all: most of its time is the imports. Its families come in another order."""
    for tiny in FAMILIES:
        if tiny.entry not in album.digests:
            one = await album.open(tiny, photo)
            await one.usual()
            await album.close(one)
    here = Path(__file__).parent
    run = subprocess.run(  # noqa: ASYNC221 - nothing else runs meanwhile
        [sys.executable, "-m", "render_again", str(photo), str(album.folder)],
        cwd=here.parents[1],
        env={
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": f"{here}:{here.parents[1]}",
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == [album.digests[tiny.entry] for tiny in reversed(FAMILIES)]
