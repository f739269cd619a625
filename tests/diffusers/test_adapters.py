"""What single families have of their own: strengths that are numbers, one size only, wrong weights."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine_harness import Collected, Told, job_of
from families import BY_ENTRY as TINIES
from PIL import Image
from pydantic import ValidationError
from tiny import Shot, Tiny

from clips.catalog import Accepts, Catalog, EngineKind, Model
from clips.domain import ClipSpec, Plan, Strength
from clips.errors import SetupError
from clips.photo import fit_photo
from clips.step_caches import FirstBlock, StepCaches
from generator.engines.diffusers import hunyuan15_attention
from generator.engines.diffusers.engine import DiffusersEngine
from generator.engines.diffusers.family import family_of
from generator.engines.diffusers.pictures import AT_ONCE
from generator.engines.diffusers.reading import size_of
from generator.engines.diffusers.svd import noise_in_photo
from generator.engines.diffusers.weights import components, numbers, weight_files


async def loaded(tiny: Tiny, folder: Path) -> DiffusersEngine:
    return await DiffusersEngine.load(tiny.model(tiny.save(folder)), "cpu", Told())


async def test_what_the_pipeline_has_no_use_for_is_not_loaded(tmp_path: Path) -> None:
    told, tiny = Told(), TINIES["pia"]
    folder = tiny.save(tmp_path)
    engine = await DiffusersEngine.load(tiny.model(folder), "cpu", told)
    await engine.close()
    used = [folder / name for name in ("text_encoder", "unet", "vae")] + [folder / "parts" / "motion_adapter"]
    assert numbers(folder / "safety_checker") > 0
    assert "safety_checker" not in components(folder), "it is not fetched and not planned for either"
    kilobytes = size_of(file for component in used for file in weight_files(component)) // 1000
    assert {total for _, _, total in told.reports} == {kilobytes}
    assert told.reports[-1] == ("load", kilobytes, kilobytes)


@pytest.mark.parametrize("entry", ["svd-xt", "pia"])
async def test_a_strength_that_is_no_words_changes_how_much_moves(entry: str, photo: Path, tmp_path: Path) -> None:
    tiny = TINIES[entry]
    engine = await loaded(tiny, tmp_path)
    made: list[bytes] = []
    for strength in Strength:
        sink = Collected()
        await engine.render(
            job_of(photo, 7, plan=tiny.plan, spec=ClipSpec(model=entry, strength=strength)), sink, Told()
        )
        made.append(sink.clip().tobytes())
    await engine.close()
    assert len(set(made)) == len(Strength)


def test_the_more_consistent_the_less_noise_is_in_the_photo() -> None:
    assert noise_in_photo(0.7) == pytest.approx(0.02), "what the pipeline takes by itself"
    levels = [noise_in_photo(step / 10) for step in range(11)]
    assert levels == sorted(levels, reverse=True) and levels[-1] == 0


async def test_a_model_of_one_size_refuses_others(photo: Path, tmp_path: Path) -> None:
    engine = await loaded(TINIES["cogvideox-5b-i2v"], tmp_path)
    for odd, said in (
        (Plan(width=32, height=48, frames=17, fps=8, credits=1), "renders 48x32 and nothing else"),
        (Plan(width=48, height=32, frames=9, fps=8, credits=1), r"16n \+ 1 frames"),
    ):
        with pytest.raises(SetupError, match=said):
            await engine.render(job_of(photo, 7, plan=odd), Collected(), Told())
    await engine.close()


def test_a_portrait_photo_gets_a_portrait_clip_where_the_model_can() -> None:
    names = ("svd-xt", "cogvideox-5b-i2v", "cogvideox-1.5-5b-i2v", "framepack")
    models = {name: Catalog.load().find(name) for name in names}
    plans = {name: model.plan(ClipSpec(model=name), (600, 900)) for name, model in models.items()}
    assert (plans["svd-xt"].width, plans["svd-xt"].height) == (576, 1024)
    assert (plans["cogvideox-5b-i2v"].width, plans["cogvideox-5b-i2v"].height) == (720, 480), "it knows no other"
    newer = plans["cogvideox-1.5-5b-i2v"]
    assert (newer.width, newer.height) == (768, 1360), "its shorter side is always the same"
    assert plans["framepack"].width < plans["framepack"].height


@pytest.mark.parametrize(
    ("entry", "changes", "said"),
    [
        ("skyreels-v2-14b", {"sigmas": (1.0, 0.5), "renoise": True}, "no use for sigmas and renoise"),
        ("ltx-video", {"sigmas": (1.0, 0.5)}, "no use for sigmas"),
        ("ltx-video-0.9.5", {"guidance_2": 1.0}, "no use for guidance_2"),
        ("wan-2.2-i2v-a14b", {"guidance": 1.0}, "`guidance_2` would be ignored"),
        ("hunyuan-i2v", {"flow_shift": 3.0}, "no use for flow_shift"),
        ("ltx-2", {"cache": StepCaches(balanced=FirstBlock(threshold=0.05))}, "No first-block cache goes with"),
        ("framepack", {"cache": StepCaches(balanced=FirstBlock(threshold=0.05))}, "No first-block cache goes with"),
    ],
)
def test_an_entry_with_steps_that_its_family_would_ignore_is_refused(
    entry: str, changes: Mapping[str, object], said: str
) -> None:
    with pytest.raises(SetupError, match=said):
        family_of(Catalog.load().find(entry).model_copy(update=changes))


@pytest.mark.parametrize(
    ("entry", "changes", "said"),
    [
        ("hunyuan-i2v", {"accepts": {"motion", "consistency", "avoid"}}, "would ignore avoid and consistency"),
        ("wan-2.2-ti2v-5b", {"guidance": 1.0}, "or its guidance would ignore avoid"),
        ("ltx-2", {"guidance": 1.0, "accepts": {"avoid", "consistency"}}, "would ignore avoid\\."),
        ("svd", {"accepts": {"motion", "camera", "strength"}}, "would ignore motion and camera"),
        ("skyreels-v2-14b", {"accepts": {"end_photo"}}, "would ignore end_photo"),
        ("ltx-2", {"accepts": {"sound", "speech"}}, "would ignore speech"),
    ],
)
def test_an_entry_that_accepts_what_its_family_would_ignore_is_refused(
    entry: str, changes: Mapping[str, Any], said: str
) -> None:
    changes = {**changes, "accepts": frozenset(map(Accepts, changes["accepts"]))} if "accepts" in changes else changes
    with pytest.raises(SetupError, match=rf"{said}.*Take that out of `accepts`"):
        family_of(Catalog.load().find(entry).model_copy(update=changes))


async def test_a_second_guidance_is_for_two_transformers(model: Model) -> None:
    with pytest.raises(SetupError, match="that of a second transformer, and there is one"):
        await DiffusersEngine.load(model.model_copy(update={"guidance_2": 3.5}), "cpu", Told())


async def test_an_end_photo_that_the_weights_would_ignore_is_refused(model: Model) -> None:
    with pytest.raises(SetupError, match="would ignore end_photo"):
        await DiffusersEngine.load(
            model.model_copy(update={"accepts": model.accepts | {Accepts.END_PHOTO}}), "cpu", Told()
        )


def test_what_the_catalogue_says_is_accepted_is_honoured() -> None:
    for model in Catalog.load():
        if model.engine is EngineKind.DIFFUSERS:
            family_of(model)


def test_steps_at_given_levels_cannot_be_shifted_as_well() -> None:
    entry = Catalog.load().find("fastwan-2.2-ti2v-5b").model_dump()
    with pytest.raises(ValidationError, match="no flow_shift moves them"):
        Model.model_validate(entry | {"flow_shift": 5.0})


async def test_the_first_hunyuan_weights_are_refused(tmp_path: Path) -> None:
    tiny = TINIES["hunyuan-i2v"]
    config = tiny.save(tmp_path) / "transformer" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"image_condition_type": "latent_concat"}))
    with pytest.raises(SetupError, match="Take the later weights"):
        await DiffusersEngine.load(tiny.model(tmp_path), "cpu", Told())


async def test_the_size_is_the_plans_where_the_pipeline_would_pick_one(photo: Path, tmp_path: Path) -> None:
    engine = await loaded(TINIES["hunyuan-1.5-480p"], tmp_path)
    sink = Collected()
    await engine.render(job_of(photo, 7, plan=Plan(width=32, height=48, frames=5, fps=24, credits=1)), sink, Told())
    await engine.close()
    assert sink.clip().shape == (5, 48, 32, 3)


async def test_framepack_emits_from_the_front_what_the_pipeline_builds_from_the_end(
    photo: Path, tmp_path: Path
) -> None:
    three = replace(TINIES["framepack"], plan=Plan(width=32, height=32, frames=109, fps=30, credits=1))
    engine = await loaded(three, tmp_path)
    sink = Collected()
    await engine.render(
        job_of(photo, 7, plan=three.plan, spec=ClipSpec(model="framepack", motion="rain")), sink, Told()
    )
    await engine.close()
    with Image.open(photo) as image:
        fitted = fit_photo(image.convert("RGB"), 32, 32)
    plain = three.plain(tmp_path, Shot(fitted, None, "rain", "", 7, three.plan, three.model(tmp_path)))
    assert all(len(chunk) <= AT_ONCE for chunk in sink.chunks[0]), "of a section too, as soon as they are there"
    assert np.abs(sink.clip() / 255 - plain).max() <= 0.5 / 255 + 1e-5


async def test_hunyuan_1_5_makes_no_mask_as_large_as_the_square_of_its_tokens(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny, masks = TINIES["hunyuan-1.5-480p"], list[torch.Tensor]()
    attend = hunyuan15_attention.dispatch_attention_fn

    def noted(*args: Any, attn_mask: torch.Tensor, **options: Any) -> torch.Tensor:
        masks.append(attn_mask)
        return attend(*args, attn_mask=attn_mask, **options)

    monkeypatch.setattr(hunyuan15_attention, "dispatch_attention_fn", noted)
    engine = await loaded(tiny, tmp_path)
    await engine.render(job_of(photo, 7, plan=tiny.plan), Collected(), Told())
    await engine.close()
    assert masks and all(mask.numel() == mask.shape[-1] for mask in masks)
    assert not all(mask.all() for mask in masks), "what pads the words is hidden"
