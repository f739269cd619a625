"""From a wish to a model, a clip and a number of takes."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.modals import Form, filled_in
from bot.needs import fitted
from bot.plans import TAKES, choose_model, count_takes, specify
from clips.catalog import Accepts, Catalog, EngineKind
from clips.domain import Fit, Lane, Plan, RequestId, Size
from clips.errors import MemberError
from clips.guilds import Rules
from clips.intakes import Wish

CATALOG = Catalog.load()
PHOTO_ALONE = Wish(photo_url="https://cdn.discordapp.com/photo.png")
NAMES = [model.name for model in CATALOG]
RULES = Rules(
    daily_allowance=900,
    daily_budget=20000,
    click_limit=450,
    max_waiting=24,
    max_running=2,
    longest_wait=timedelta(hours=1),
    default_model=None,
    confirm_above=500_000,
)


@given(
    st.sets(st.sampled_from(NAMES)),
    st.sampled_from([None, *NAMES]),
    st.sampled_from([None, *EngineKind]),
    st.sampled_from(Lane),
    st.sampled_from([frozenset[str](), frozenset({"replicate"})]),
)
def test_whatever_is_chosen_is_at_work_and_a_sketch_only_where_there_is_nothing_else(
    alive: set[str], default: str | None, platform: EngineKind | None, lane: Lane, approved: frozenset[str]
):
    wish = Wish(platform=platform, lane=lane)
    payable = approved if lane is Lane.FAST else frozenset[str]()
    offered = [
        model
        for model in CATALOG
        if model.name in alive and platform in {None, model.engine} and (not model.paid or model.provider in payable)
    ]
    if not offered:
        with pytest.raises(MemberError):
            choose_model(wish, CATALOG, alive, default, approved)
        return
    chosen = choose_model(wish, CATALOG, alive, default, approved)
    assert chosen in offered
    plain = [model for model in offered if model.needs == frozenset({Accepts.PHOTO})]
    if default in {model.name for model in offered}:
        assert chosen.name == default
    elif chosen.engine is EngineKind.SKETCH:
        assert all(model.engine is EngineKind.SKETCH for model in plain)
    elif chosen.paid:
        assert all(model.paid or model.engine is EngineKind.SKETCH for model in plain or offered)


def test_what_was_distilled_on_words_alone_is_taken_where_there_is_nothing_else():
    fastwan = "fastwan-2.2-ti2v-5b"
    for model in CATALOG:
        if model.engine is EngineKind.DIFFUSERS and model.needs == frozenset({Accepts.PHOTO}) and model.name != fastwan:
            assert choose_model(PHOTO_ALONE, CATALOG, {fastwan, model.name}, None, frozenset()) == model
    assert choose_model(PHOTO_ALONE, CATALOG, {fastwan, "sketch"}, None, frozenset()).name == fastwan


def test_padding_is_for_models_whose_photo_is_fitted_here():
    padded = replace(PHOTO_ALONE, fit=Fit.PAD)
    assert specify(padded, CATALOG.find("ltx-video")).fit is Fit.PAD
    with pytest.raises(MemberError, match=r"Kling v2\.6 does not take padding"):
        specify(padded, CATALOG.find("kling-v2.6"))
    child = replace(padded, parent_id=RequestId(1))
    assert fitted(child, CATALOG.find("kling-v2.6")) == (replace(child, fit=Fit.CROP), [Accepts.PADDING])


@pytest.mark.parametrize("name", NAMES)
def test_without_a_length_every_model_gives_one_that_it_can(name: str):
    model = CATALOG.find(name)
    if model.needs > {Accepts.PHOTO} or not model.takes_photo:
        with pytest.raises(
            MemberError, match=r"needs (a motion video|reference images|an end photo) as well|does not take a photo"
        ):
            specify(PHOTO_ALONE, model)
        return
    spec = specify(PHOTO_ALONE, model)
    assert model.plan(spec, (640, 480)).seconds == pytest.approx(max(model.shortest, min(5, model.longest)), abs=0.2)


@given(
    st.integers(1, 1000),
    st.integers(1, 1000),
    st.sampled_from([None, 1, 2, 3, 4]),
    st.sampled_from([Lane.FAST, Lane.RELAXED]),
)
def test_a_click_never_passes_its_limit_and_keeps_what_was_counted(
    price: int, limit: int, takes: int | None, lane: Lane
):
    plan = Plan(width=64, height=48, frames=24, fps=24, credits=price)
    wish, rules = Wish(takes=takes, lane=lane), replace(RULES, click_limit=limit)
    if lane is Lane.FAST and price * (takes or 1) > limit:
        with pytest.raises(MemberError):
            count_takes(wish, plan, rules)
        return
    counted = count_takes(wish, plan, rules)
    assert takes is None or counted == takes
    assert counted >= 1 and (takes is not None or counted <= TAKES)
    assert lane is Lane.RELAXED or counted * price <= limit


def test_another_model_makes_its_own_size():
    wish = Wish(model="sketch", size=Size.P1080)
    assert filled_in(wish, Form({"model": "sketch"}, {})).size is Size.P1080
    changed = replace(filled_in(wish, Form({"model": "ltx-video"}, {})), photo_url=PHOTO_ALONE.photo_url)
    assert specify(changed, CATALOG.find("ltx-video")).size is Size.NATIVE
