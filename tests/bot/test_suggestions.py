"""What `/animate` suggests while it is typed: models and lengths, each with the price of what is being asked."""

import asyncio
import math
from datetime import timedelta
from typing import Any

import pytest
from discord.app_commands import Namespace
from hypothesis import given
from hypothesis import strategies as st
from people import Json, Person, option

from bot import quotes, suggestions
from bot.plans import spec_of
from clips import guilds, paid
from clips.catalog import Catalog, Model
from clips.domain import Lane, Size
from clips.guilds import Rules
from clips.intakes import Wish
from courier.wording import seconds_of
from tests.bot.stage import BOOLEAN, HOME, INTEGER, NUMBER, STRING, Stage

CATALOG = Catalog.load()
RULES = Rules(900, 20_000, 450, 10, 2, timedelta(minutes=30), None, 500_000)
models = st.sampled_from([*CATALOG])
wishes = st.builds(
    Wish,
    seconds=st.none() | st.floats(0, 99),
    takes=st.none() | st.integers(1, 4),
    size=st.sampled_from(Size),
    lane=st.sampled_from(Lane),
    sound=st.booleans(),
)


def named(wish: Wish, model: str, rules: Rules = RULES) -> list[str]:
    return [name for name, _ in quotes.lengths(wish, CATALOG.find(model), rules)]


def offered(wish: Wish, model: str, begin: str = "starts at once", rules: Rules = RULES) -> str:
    return quotes.offer(wish, CATALOG.find(model), rules, begin)


# ---- lengths


@given(wish=wishes, model=models)
def test_every_length_is_one_that_is_rendered_and_is_told_as_it_will_be(wish: Wish, model: Model):
    found = quotes.lengths(wish, model, RULES)
    assert len({name for name, _ in found}) == len(found) <= 25
    for name, seconds in found:
        assert 1 <= seconds <= 15 and len(name) <= 100
        if model.length_from is None:
            plan = model.plan(spec_of(Wish(seconds=seconds, size=wish.size), model), None)
            assert name.startswith(f"{seconds_of(plan.seconds)} · ")
    if found and wish.seconds is not None and model.length_from is None:
        nearest = model.plan(spec_of(wish, model), None)
        assert found[0][0].startswith(f"{seconds_of(nearest.seconds)} · ")


def test_lengths_are_spread_over_all_that_the_model_renders():
    wan = named(Wish(), "wan-2.2-ti2v-5b")
    assert (wan[0], wan[-1]) == ("2.04 s · 3 takes · 111 credits", "5.04 s · 3 takes · 273 credits")
    assert len(wan) == 13
    assert named(Wish(takes=1), "kling-v2.6") == [
        "5 s · 1 take · 70 credits and $0.35",
        "10 s · 1 take · 140 credits and $0.70",
    ]
    assert len(named(Wish(), "sketch")) == 15
    assert named(Wish(seconds=15), "ltx-2")[0].startswith("15.04 s")


def test_what_was_typed_comes_first_as_it_will_be():
    assert named(Wish(seconds=5), "wan-2.2-i2v-a14b-4step")[0] == "5.06 s · 3 takes · 84 credits"
    assert named(Wish(seconds=12), "wan-2.2-ti2v-5b")[0] == "5.04 s · 3 takes · 273 credits"
    assert named(Wish(seconds=7), "svd-xt") == ["3.57 s · 3 takes · 54 credits"]


def test_a_price_is_that_of_the_click():
    assert named(Wish(seconds=5), "wan-2.2-i2v-a14b")[0] == "5.06 s · 1 take · 395 credits"
    dear = "5.06 s · 4 takes · 1580 credits, above the limit of 450 a click"
    assert named(Wish(seconds=5, takes=4), "wan-2.2-i2v-a14b")[0] == dear
    assert named(Wish(seconds=5, lane=Lane.RELAXED), "wan-2.2-i2v-a14b")[0] == "5.06 s · 3 takes · free"
    assert named(Wish(seconds=5, size=Size.P1080), "sketch")[0] == "5 s · 3 takes · 24 credits"
    assert named(Wish(size=Size.P1080), "wan-2.2-ti2v-5b") == []
    assert named(Wish(size=Size.P1080), "hailuo-2.3-fast") == ["6 s · 3 takes · 198 credits and $0.99"]


def test_a_motion_video_has_its_own_length():
    name = "As long as your motion video · $0.07 and 14 credits a second"
    assert named(Wish(seconds=4), "kling-v2.6-motion-control") == [name]


# ---- models


@given(wish=wishes, model=models, begin=st.sampled_from(["starts at once", "starts in about 1234 min"]))
def test_a_model_fits_the_list_with_its_name_price_and_start(wish: Wish, model: Model, begin: str):
    told = quotes.offer(wish, model, RULES, begin)
    assert len(told) <= 100
    name, *facts = told.split(" · ")
    assert name.rstrip("…") in model.title
    assert begin in facts
    for summary in facts[facts.index(begin) + 1 :]:
        assert len(summary) > 1 and model.summary.startswith(summary.rstrip("…"))


def test_a_model_is_offered_at_the_price_of_the_wish():
    told = "Wan 2.2 TI2V 5B · 273 credits for 3 takes of 5.04 s · starts at once · "
    assert offered(Wish(), "wan-2.2-ti2v-5b").startswith(told)
    assert " · at most 5.04 s · " in offered(Wish(seconds=9), "wan-2.2-ti2v-5b")
    assert " · not in 480p · " in offered(Wish(size=Size.P480), "wan-2.2-ti2v-5b")
    assert " · free for 1 take of 2.04 s · " in offered(Wish(seconds=1, takes=1, lane=Lane.RELAXED), "wan-2.2-ti2v-5b")
    assert " · 140 credits and $0.70 for 2 takes of 5 s · " in offered(Wish(takes=2), "kling-v2.6")
    assert " · 1114 credits, above the limit of 450 a click · " in offered(Wish(), "wan-2.1-i2v-720p")
    assert " · $0.07 and 14 credits a second · " in offered(Wish(), "kling-v2.6-motion-control")


# ---- half typed


def options(**values: object) -> Namespace:
    """What discord.py makes of options: as Discord sent them, whatever that is."""
    namespace = Namespace.__new__(Namespace)
    namespace.__dict__.update(values)
    return namespace


@pytest.mark.parametrize(
    ("typed", "seconds"),
    [
        ("5", 5), ("5.", 5), ("5,5", 5.5), (" 7.25 s", 7.25), ("5.04 s · 3 takes · 273 credits", 5.04),
        (math.nan, None), ("", None), ("five", None), ("-3", None), ("1e99", 1), ("9" * 400, 999_999), (4.5, 4.5),
    ],
)  # fmt: skip
def test_a_half_typed_length_counts_as_far_as_it_is_a_number(typed: object, seconds: float | None):
    assert suggestions.wished(options(), length=typed).seconds == seconds
    assert suggestions.wished(options(length=typed)).seconds == seconds


@given(
    st.dictionaries(
        st.sampled_from(["model", "platform", "length", "takes", "size", "lane", "sound"]),
        st.none() | st.text() | st.integers() | st.floats() | st.booleans(),
    )
)
def test_nothing_that_may_be_typed_is_too_odd(values: dict[str, Any]):
    wish = suggestions.wished(options(**values))
    for model in ("sketch", "kling-v2.6"):
        assert quotes.offer(wish, CATALOG.find(model), RULES, "starts at once")
        quotes.lengths(wish, CATALOG.find(model), RULES)


def test_the_other_options_count_once_they_are_whole():
    wish = suggestions.wished(options(takes=2, size="720p", lane="relaxed", platform="sketch", sound=True, model="wan"))
    assert (wish.takes, wish.size, wish.lane, wish.platform) == (2, Size.P720, Lane.RELAXED, "sketch")
    assert wish.sound and wish.model == "wan"
    half = suggestions.wished(options(takes="", size="72", lane="rel", platform="sk", model=" "))
    assert half == Wish()


# ---- through Discord


async def suggested(who: Person, channel: str, focused: Json, *others: Json) -> list[Json]:
    body = {
        "channel_id": channel,
        "command_id": await who.command_id(channel, "animate"),
        "options": [*others, focused | {"focused": True}],
    }
    return (await who.ask("POST", "/autocomplete", json=body))["choices"]


def names(choices: list[Json]) -> list[str]:
    return [choice["name"] for choice in choices]


async def test_models_are_suggested_with_price_and_wait(stage: Stage, juno: Person, lobby: str):
    await stage.announce("sketch", "wan-2.2-ti2v-5b")

    async def found(typed: str, *others: Json) -> list[str]:
        return names(await suggested(juno, lobby, option("model", STRING, typed), *others))

    every = await found("")
    assert len(every) == 2 and every[0].startswith("Sketch · 6 credits for 3 takes of 5 s · starts at once")
    assert [name.split(" · ")[0] for name in await found("WAN")] == ["Wan 2.2 TI2V 5B"]
    assert [name.split(" · ")[0] for name in await found("", option("platform", STRING, "sketch"))] == ["Sketch"]
    assert await found("svd") == []
    asked = [option("length", NUMBER, 3), option("takes", INTEGER, 2), option("size", STRING, "1080p")]
    assert (await found("sk", *asked))[0].startswith("Sketch · 10 credits for 2 takes of 3 s · ")
    await stage.announce("wan-2.2-ti2v-5b")
    await stage.animate(juno, lobby)
    assert "273 credits for 3 takes of 5.04 s · starts in about 2 min" in (await found("wan"))[0]


async def test_lengths_are_suggested_for_the_model_in_question(stage: Stage, juno: Person, lobby: str):
    await stage.announce("sketch", "wan-2.2-ti2v-5b")

    async def found(typed: str, *others: Json) -> list[Json]:
        return await suggested(juno, lobby, option("length", NUMBER, typed), *others)

    assert (await found("5"))[0] == {"name": "5.04 s · 3 takes · 273 credits", "value": 5.04}
    assert (await found(""))[0] == {"name": "2.04 s · 3 takes · 111 credits", "value": 2.04}
    for typed in ("sketch", "SK"):
        assert (await found("2", option("model", STRING, typed)))[0]["name"] == "2 s · 3 takes · 3 credits"
    assert await found("2", option("model", STRING, "dream")) == []
    assert (await found("2", option("platform", STRING, "sketch")))[0]["name"].startswith("2 s · 3 takes · 3 credits")
    takes = option("takes", INTEGER, 1)
    assert (await found("three", takes))[0]["name"] == "2.04 s · 1 take · 37 credits"
    await stage.rule(default_model="sketch", click_limit=1)
    assert (await found("5"))[0]["name"] == "5 s · 1 take · 2 credits, above the limit of 1 a click"
    # What was picked is what comes.
    await stage.rule(default_model=None, click_limit=450)
    picked = (await found("3,1"))[0]
    answer = await stage.animate(juno, lobby, length=picked["value"])
    assert f"3 takes with Wan 2.2 TI2V 5B, {picked['name'].split(' · ')[0]} each" in answer["content"]


async def test_lengths_of_a_paid_model_are_told_in_dollars_with_the_sound(stage: Stage, juno: Person, lobby: str):
    await stage.announce("sketch", "kling-v2.6")
    await guilds.know(stage.pool, HOME)
    await paid.approve(stage.pool, HOME, "replicate", 5_000_000)
    kling = option("model", STRING, "kling-v2.6")
    silent = await suggested(juno, lobby, option("length", NUMBER, ""), kling, option("takes", INTEGER, 1))
    assert names(silent) == ["5 s · 1 take · 70 credits and $0.35", "10 s · 1 take · 140 credits and $0.70"]
    loud = [kling, option("takes", INTEGER, 1), option("sound", BOOLEAN, True)]
    assert names(await suggested(juno, lobby, option("length", NUMBER, "5"), *loud))[0] == (
        "5 s · 1 take · 70 credits and $0.75"
    )


async def test_a_fault_or_a_slow_database_suggests_nothing_and_is_no_failure(
    stage: Stage, juno: Person, lobby: str, caplog: pytest.LogCaptureFixture
):
    await stage.pool.execute("ALTER TABLE generators RENAME TO mislaid")
    try:
        assert await suggested(juno, lobby, option("model", STRING, "")) == []
        assert await suggested(juno, lobby, option("length", NUMBER, "5")) == []
    finally:
        await stage.pool.execute("ALTER TABLE mislaid RENAME TO generators")
    assert caplog.text.count("nothing could be suggested") == 2
    async with stage.pool.acquire() as conn, conn.transaction():
        await conn.execute("LOCK TABLE generators IN ACCESS EXCLUSIVE MODE")
        async with asyncio.timeout(9):  # and not the ten seconds that a statement waits for a lock
            assert await suggested(juno, lobby, option("length", NUMBER, "5")) == []
