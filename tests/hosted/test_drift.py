"""Recorded schemas against the catalogue: silent where they agree, a sentence with what to do for each drift."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clips.catalog import Catalog, Model
from clips.drift import Drift, drifts
from clips.errors import SetupError
from clips.hosting import Tool
from clips.schemas import InputSchema

RECORDED = sorted((Path(__file__).parent / "schemas").glob("*.json"))
CATALOG = Catalog.load()
ENTRIES: dict[str, Model | Tool] = {
    entry.hosted.slug: entry for entry in (*CATALOG, *CATALOG.tools.values()) if entry.hosted is not None
}
Input = dict[str, Any]


def compared(file: str, change: Callable[[Input, dict[str, Any]], object] = lambda told, page: None) -> list[Drift]:
    """The drifts of a recorded schema after a change to its input or to the page around it."""
    page = json.loads((Path(__file__).parent / "schemas" / f"{file}.json").read_text())
    change(page["latest_version"]["openapi_schema"]["components"]["schemas"]["Input"], page)
    schema = InputSchema.of_page(json.dumps(page), file)
    return drifts(ENTRIES[schema.slug], schema)


@pytest.mark.parametrize("file", [path.stem for path in RECORDED])
def test_a_schema_that_agrees_is_no_drift(file: str):
    assert compared(file) == []


def _rename(told: Input, old: str, new: str) -> None:
    told["properties"][new] = told["properties"].pop(old)


def _enum(page: dict[str, Any], name: str, *values: object) -> None:
    page["latest_version"]["openapi_schema"]["components"]["schemas"][name]["enum"] = list(values)


@pytest.mark.parametrize(
    ("file", "change", "found", "fix"),
    [
        (
            "wan-2.7-i2v",
            lambda told, _: _rename(told, "first_frame", "first_frame_image"),
            "has no field first_frame any more",
            "Rename it to first_frame_image, if that is the same.",
        ),
        (
            "wan-2.7-i2v",
            lambda told, _: told["properties"].pop("negative_prompt"),
            "has no field negative_prompt any more",
            "Take it out of the entry.",
        ),
        (
            "wan-2.7-i2v",
            lambda told, _: told["properties"]["duration"].update(maximum=10),
            "duration does not take 11, 12, 13, 14; it takes integer at least 2 and at most 10",
            "Correct duration, and the lengths, sizes or words that it comes from.",
        ),
        (
            "wan-2.7-i2v",
            lambda told, _: told["properties"]["enable_prompt_expansion"].update(default=False),
            "enable_prompt_expansion is off by default now, and was on",
            "Look at a clip made so; then correct enable_prompt_expansion in defaults, or send it as a constant.",
        ),
        (
            "wan-2.7-i2v",
            lambda told, _: told["properties"].update(generate_sound={"type": "boolean", "default": True}),
            "can make sound (generate_sound, by default on); the entry says that it is silent",
            'Add generate_sound = { from = "sound" } to its fields and "sound" to what it accepts.',
        ),
        (
            "hailuo-2.3-fast",
            lambda _, page: _enum(page, "resolution", "512p", "768p"),
            'resolution does not take "1080p"; it takes one of "512p", "768p"',
            "Correct resolution, and the lengths, sizes or words that it comes from.",
        ),
        (
            "hailuo-2.3-fast",
            lambda _, page: _enum(page, "duration", "6", "10"),
            'duration does not take 6, 10; it takes one of "6", "10"',
            "Correct duration, and the lengths, sizes or words that it comes from.",
        ),
        (
            "hailuo-2.3-fast",
            lambda told, _: told["required"].append("mode"),
            "requires mode, which is not sent",
            "Add mode to the entry's fields.",
        ),
        (
            "kling-v2.6",
            lambda told, _: told["required"].append("negative_prompt"),
            "requires negative_prompt, which is left out where nothing is asked",
            "Give negative_prompt a default in the entry.",
        ),
        (
            "kling-v2.6",
            lambda told, _: told["properties"].update(nsfw_check={"type": "boolean", "default": False}),
            "has a switch nsfw_check, by default off",
            "Send nsfw_check as a constant that keeps the provider's filter on.",
        ),
        (
            "p-video",
            lambda told, _: told["properties"]["save_audio"].update(type="string"),
            "save_audio does not take false, true; it takes string",
            "Correct save_audio, and the lengths, sizes or words that it comes from.",
        ),
        (
            "i2vgen-xl",
            lambda _, page: page["latest_version"].update(id="ab12cd34" + "0" * 56),
            "runs version 5821a338; there is a newer one, ab12cd34",
            "",
        ),
        (
            "mmaudio",
            lambda told, _: told["properties"].pop("cfg_strength"),
            "has no field cfg_strength any more, which was left at 4.5",
            "Take it out of defaults.",
        ),
    ],
)
def test_a_drift_is_told_with_what_to_do(
    file: str, change: Callable[[Input, dict[str, Any]], object], found: str, fix: str
):
    assert compared(file, change) == [Drift(found, fix)]


def test_a_schema_is_read_however_it_is_told():
    """A list of types in the place of a choice, a reference to nothing, a schema that nobody here reads."""

    def told_anew(told: Input, page: dict[str, Any]) -> None:
        told["properties"]["seed"] = {"type": ["integer", "null"], "default": None}
        told["properties"]["resolution"] = {"$ref": "#/components/schemas/resolution"}
        told["properties"]["negative_prompt"] = {"$ref": "#/components/schemas/Nowhere"}
        schemas = page["latest_version"]["openapi_schema"]["components"]["schemas"]
        schemas["Strange"] = {"properties": True, "enum": "none"}
        told["properties"]["prompt"] = {"allOf": [{"$ref": "#/components/schemas/Strange"}]}

    assert compared("wan-2.7-i2v", told_anew) == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("<html>", "recorded.json: not a provider's page of a model"),
        ('{"owner": "wan-video"}', "name: Field required"),
        ('{"owner": "wan-video", "name": "wan", "latest_version": null}', "wan-video/wan has no version"),
        (
            (
                '{"owner": "wan-video", "name": "wan", "latest_version": {"id": "1", "openapi_schema": '
                '{"components": {"schemas": {"Input": {"properties": []}}}}}}'
            ),
            "wan-video/wan: its schema tells nothing of its input",
        ),
    ],
)
def test_a_page_that_is_none_is_refused_with_its_name(text: str, says: str):
    with pytest.raises(SetupError, match=says):
        InputSchema.of_page(text, "recorded.json")
