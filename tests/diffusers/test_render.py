"""A render from the photo to the frames, with the real pipeline and tiny weights."""

from pathlib import Path

import numpy as np
import pytest
from engine_harness import PLAN, Collected, Told, job_of, pipe_of

from clips.catalog import Model
from clips.domain import ClipSpec, Fit, Plan, Strength
from clips.errors import MemberError, SetupError
from clips.video import Encoder
from generator.engines.base import Job, TakeSeed, Variation
from generator.engines.diffusers.engine import DiffusersEngine
from generator.engines.prompts import prompt


async def test_frames_stream_into_the_encoder(engine: DiffusersEngine, photo: Path, tmp_path: Path) -> None:
    with Encoder(tmp_path / "clip.mp4", PLAN.width, PLAN.height, PLAN.fps) as encoder:

        class IntoEncoder(Collected):
            def frames(self, take: int, frames: np.ndarray) -> None:
                encoder.write(frames)

        await engine.render(job_of(photo, 7), IntoEncoder(), Told())
        made = encoder.finish()
    assert (made.width, made.height, made.frames) == (PLAN.width, PLAN.height, PLAN.frames)


async def test_progress_tells_encode_steps_and_decode_over_all_takes(engine: DiffusersEngine, photo: Path) -> None:
    told = Told()
    plan = Plan(width=64, height=64, frames=PLAN.frames, fps=24, credits=1)
    spec = ClipSpec(model="tiny", motion="what no other test asks for")
    await engine.render(job_of(photo, 5, 7, plan=plan, spec=spec), Collected(), told)
    assert told.phases == ["encode", "step", "decode", "step", "decode"]
    encoded = [done for phase, done, total in told.reports if phase == "encode" and total == 2]
    assert encoded == [0, 1, 1, 2], "after the prompt, what to avoid, and the photo"
    steps = [done for phase, done, total in told.reports if phase == "step" and total == 6]
    assert steps == [0, 1, 2, 3, 3, 4, 5, 6]
    decoded = [done for phase, done, total in told.reports if phase == "decode" and total == 2 * PLAN.frames]
    assert decoded == sorted(decoded) and decoded[0] == 0 and decoded[-1] == 2 * PLAN.frames


async def test_text_and_photo_are_encoded_once_for_all_takes_of_a_request(model: Model, photo: Path) -> None:
    engine = await DiffusersEngine.load(model, "cpu", Told())
    pipe, calls = pipe_of(engine), list[str]()
    hooks = [
        pipe.text_encoder.register_forward_hook(lambda *_: calls.append("text")),
        pipe.vae.encoder.register_forward_hook(lambda *_: calls.append("photo")),
    ]
    separate = [Collected(), Collected()]
    for seed, sink in enumerate(separate):  # a claim each, as the worker does it
        await engine.render(job_of(photo, seed), sink, Told())
    assert calls == ["text", "text", "photo"], "the prompt, what to avoid, and the photo"
    await engine.render(job_of(photo, 0, spec=ClipSpec(model="tiny", motion="rain", avoid="blur")), Collected(), Told())
    assert calls[3:] == ["text"], "another prompt over the same photo, with the same to avoid"
    together = Collected()
    await engine.render(job_of(photo, 0, 1), together, Told())
    for hook in hooks:
        hook.remove()
    await engine.close()
    for take in (0, 1):
        assert np.array_equal(together.clip(take), separate[take].clip())


async def test_a_variation_starts_at_its_parent_and_moves_away(engine: DiffusersEngine, photo: Path) -> None:
    strengths = [0.0, 0.1, 0.6, 1.0]
    takes = [TakeSeed(index, 7, (Variation(8, s),)) for index, s in enumerate(strengths)]
    sink = Collected()
    await engine.render(job_of(photo, takes=[*takes, TakeSeed(4, 7), TakeSeed(5, 8)]), sink, Told())
    parent = sink.clip(4).astype(float)
    same, subtle, strong, other = (np.abs(sink.clip(index) - parent).mean() for index in range(4))
    assert same == 0
    assert 0 < subtle < strong < other
    assert np.array_equal(sink.clip(3), sink.clip(5)), "all of the variation is the other seed's clip"


def test_strength_is_said_in_words() -> None:
    prompts = {strength: prompt(ClipSpec(model="tiny", motion="waves", strength=strength)) for strength in Strength}
    assert prompts[Strength.MEDIUM] == "waves"
    assert all("waves, " in prompts[strength] for strength in (Strength.LOW, Strength.HIGH))
    assert len(set(prompts.values())) == 3
    assert prompt(ClipSpec(model="tiny")), "a photo alone is enough"


async def test_what_the_pipeline_would_change_or_ignore_is_refused(engine: DiffusersEngine, photo: Path) -> None:
    odd = Plan(width=96, height=64, frames=14, fps=24, credits=1)
    with pytest.raises(SetupError, match="14 frames"):
        await engine.render(job_of(photo, 7, plan=odd), Collected(), Told())
    narrow = Plan(width=80, height=64, frames=13, fps=24, credits=1)
    with pytest.raises(SetupError, match="80x64"):
        await engine.render(job_of(photo, 7, plan=narrow), Collected(), Told())
    job = job_of(photo, 7)
    with pytest.raises(MemberError, match="end photo"):
        await engine.render(
            Job(spec=job.spec, plan=job.plan, inputs={"photo": photo, "end_photo": photo}, takes=job.takes),
            Collected(),
            Told(),
        )


async def test_a_photo_of_another_shape_is_cropped_or_padded(engine: DiffusersEngine, photo: Path) -> None:
    tall = Plan(width=64, height=128, frames=5, fps=24, credits=1)
    cropped, padded = Collected(), Collected()
    for sink, fit in ((cropped, Fit.CROP), (padded, Fit.PAD)):
        await engine.render(job_of(photo, 7, plan=tall, spec=ClipSpec(model="tiny", fit=fit)), sink, Told())
    assert not np.array_equal(cropped.clip(), padded.clip())
