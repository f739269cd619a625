"""What each hosted model and tool is asked for, to the letter; and what members are refused before anything is held.

A golden file holds two requests: the plainest there is, and one with everything that the model takes.
`python -m tests.hosted.golden` writes them again; read the difference before you commit it.
"""

import json
from dataclasses import fields, replace

import pytest

from clips.catalog import Accepts, Model
from clips.domain import ClipSpec, Size
from clips.errors import MemberError
from clips.fields import ProviderField, Source, Wishes, filled
from clips.hosting import Tool
from tests.hosted.golden import CATALOG, GOLDEN, HOSTED, requests_of


def test_every_entry_has_a_golden_request():
    assert {file.stem for file in GOLDEN.glob("*.json")} == {entry.name for entry in HOSTED}
    assert len(HOSTED) >= 18


@pytest.mark.parametrize("entry", HOSTED, ids=lambda entry: entry.name)
def test_an_entry_is_asked_for_as_its_golden_file_says(entry: Model | Tool):
    assert requests_of(entry) == json.loads((GOLDEN / f"{entry.name}.json").read_text())


@pytest.mark.parametrize("model", [entry for entry in HOSTED if isinstance(entry, Model)], ids=lambda model: model.name)
def test_what_a_model_accepts_reaches_the_provider(model: Model):
    """Each thing accepted fills a field, and what fills a field is accepted or planned."""
    assert model.hosted is not None
    sources = {source for field in model.hosted.fields.values() for source in field.sources}
    in_the_prompt = {Accepts.MOTION, Accepts.CAMERA}
    always = {Source.SECONDS, Source.FRAMES, Source.FPS, Source.SIZE, Source.ASPECT, Source.PROMPT, Source.CAMERA}
    audible = {Accepts.SOUND} if Accepts.SPEECH in model.accepts else set[Accepts]()
    told = {str(wish) for wish in (model.accepts | model.needs) - in_the_prompt - audible}
    assert told == sources - {str(source) for source in always}
    assert "prompt" in sources or not model.accepts & in_the_prompt


def test_a_wish_is_a_source_or_a_word_of_a_part():
    words = {"speech", "ambient", "camera_direction", "subject", "speed"}
    assert {field.name for field in fields(Wishes)} == {str(source) for source in Source} | words


def test_members_cannot_write_a_providers_marks():
    said = ProviderField(parts=("{prompt}", "<S>{speech}<E>"))
    found = filled({"prompt": said}, Wishes(prompt="she smiles {speech}", speech="hi<E> <S>and bye"))
    assert found == {"prompt": "she smiles {speech} <S>hi   and bye<E>"}


@pytest.mark.parametrize(
    ("name", "wish", "given", "sentence"),
    [
        ("gen4-turbo", ClipSpec("", avoid="blur"), {Accepts.PHOTO}, "Runway Gen4 Turbo does not take words to avoid."),
        ("kling-v2.6", ClipSpec(""), {Accepts.PHOTO, Accepts.SEED}, "Kling v2.6 does not take a seed."),
        ("wan-2.7-i2v", ClipSpec("", sound=True), {Accepts.PHOTO}, "Wan 2.7 I2V does not take sound."),
        ("kling-v2.6-motion-control", ClipSpec(""), {Accepts.PHOTO}, "Kling v2.6 Motion Control needs a motion video"),
        ("grok-imagine-r2v", ClipSpec(""), {Accepts.PHOTO}, "Grok Imagine R2V does not take a photo."),
        ("p-video", ClipSpec(""), {Accepts.END_PHOTO}, "An end photo needs a photo to begin with."),
        ("hailuo-2.3-fast", ClipSpec("", seconds=10, size=Size.P1080), {Accepts.PHOTO}, "1080p for at most 6 s"),
        ("hailuo-2.3-fast", ClipSpec("", size=Size.P480), {Accepts.PHOTO}, "renders 720p and 1080p, not 480p"),
    ],
)
def test_what_a_model_lacks_is_refused_in_a_sentence(name: str, wish: ClipSpec, given: set[Accepts], sentence: str):
    model = CATALOG.find(name)
    with pytest.raises(MemberError) as refused:
        model.check(replace(wish, model=name), given)
    assert sentence in refused.value.sentence


def test_a_length_is_snapped_to_what_there_is_and_priced_so():
    hailuo, kling = CATALOG.find("hailuo-2.3-fast"), CATALOG.find("kling-v2.6")
    plans = [
        hailuo.plan(ClipSpec("", seconds=seconds, size=size), (1366, 768))
        for seconds, size in ((5, Size.NATIVE), (9, Size.NATIVE), (6.4, Size.P1080))
    ]
    assert [(plan.seconds, plan.microdollars) for plan in plans] == [(6, 192_000), (10, 320_000), (6, 330_000)]
    assert [kling.plan(ClipSpec("", sound=sound), None).microdollars for sound in (False, True)] == [350_000, 750_000]


def test_local_models_cost_no_dollars():
    local = [model for model in CATALOG if not model.paid]
    assert {model.plan(ClipSpec(""), (640, 480)).microdollars for model in local} == {0}
