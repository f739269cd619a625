"""What a recipe says was in force: the adapter's numbers where the entry has none, the words as read, the commits."""

from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from engine_harness import Told
from fake_hub import COMMIT, Hub
from families import BY_ENTRY

from clips.catalog import Model
from clips.domain import ClipSpec, RequestId, Strength
from clips.repositories import Lora
from clips.requests import Request
from generator.engines.base import TakeSeed
from generator.engines.diffusers.engine import DiffusersEngine
from generator.engines.diffusers.weights import Sources
from generator.recipes import Recipe
from tests.library_of import ask_for

OPEN = {"steps": None, "guidance": None, "guidance_2": None, "flow_shift": None}
"""What an entry may leave to its adapter."""


async def recipe(model: Model, **wishes: Any) -> dict[str, Any]:
    """Of a take that the model's engine would render."""
    spec = ClipSpec(model.name, **wishes)
    ask = ask_for(1, 2, spec=spec)
    asked = {one.name: getattr(ask, one.name) for one in fields(ask)}
    now = datetime(2026, 1, 1, tzinfo=UTC)
    request = Request(**asked, request_id=RequestId(1), chosen_take=None, trace_id=uuid4(), created_at=now)
    engine = await DiffusersEngine.load(model, "cpu", Told())
    await engine.close()
    return Recipe.of(request, TakeSeed(0, 7), model, engine, {"torch": "2"}).as_json()


@pytest.mark.parametrize(
    ("entry", "numbers"),
    [
        ("wan-2.2-i2v-a14b", (50, 5.0, 5.0, None)),
        ("wan-2.2-ti2v-5b", (50, 5.0, None, None)),
        ("skyreels-v2-14b", (50, 5.0, None, 5.0)),
        ("framepack", (25, 10.0, None, None)),
    ],
)
async def test_numbers_that_the_entry_leaves_open_are_the_adapters(
    entry: str, numbers: tuple[float | None, ...], shelf: Path
) -> None:
    tiny = BY_ENTRY[entry]
    made = await recipe(tiny.model(tiny.saved(shelf)).model_copy(update=OPEN))
    assert (made["steps"], made["guidance"], made["guidance_2"], made["flow_shift"]) == numbers


@pytest.mark.parametrize(
    ("entry", "wishes", "prompt"),
    [
        ("wan-2.2-ti2v-5b", {"motion": "waves", "strength": Strength.LOW}, "waves, subtle, slow, gentle movement"),
        ("wan-2.2-ti2v-5b", {}, "the scene comes to life with natural, lifelike motion"),
        ("pia", {"motion": "waves", "strength": Strength.LOW}, "waves"),
        ("svd-xt", {"strength": Strength.LOW}, ""),
    ],
)
async def test_the_prompt_is_what_the_model_reads(entry: str, wishes: dict[str, Any], prompt: str, shelf: Path) -> None:
    tiny = BY_ENTRY[entry]
    made = await recipe(tiny.model(tiny.saved(shelf)), **wishes)
    assert made["prompt"] == prompt


async def test_parts_from_elsewhere_are_named(shelf: Path) -> None:
    tiny = BY_ENTRY["framepack"]
    folder = tiny.saved(shelf)
    parts = (await recipe(tiny.model(folder)))["parts"]
    assert parts.keys() == {"transformer", "image_encoder", "feature_extractor"}
    assert parts["transformer"] == {"repo": str(folder / "parts" / "transformer"), "folder": "", "revision": None}


async def test_the_revision_is_the_commit_that_was_loaded(hub: Hub, model: Model) -> None:
    assert (await recipe(model.model_copy(update={"repo": hub.repo})))["revision"] == COMMIT
    assert (await recipe(model))["revision"] is None, "a folder of the host's own has none"


def test_each_repository_has_a_commit_of_its_own(model: Model, tmp_path: Path) -> None:
    pia, few = BY_ENTRY["pia"].model(tmp_path), Lora(repo="some/body", file="few/few.safetensors", revision="main")
    snapshots = [tmp_path / f"models--some--{name}" / "snapshots" / name for name in ("whole", "low", "part")]
    sources = Sources(snapshots[0], ((few, snapshots[1] / few.file),), {"motion_adapter": snapshots[2] / "there"})
    pinned = sources.pinned(pia)
    assert (pinned.revision, pinned.loras[0].revision, pinned.parts["motion_adapter"].revision) == (
        "whole",
        "low",
        "part",
    )
    assert pinned.loras[0].file == few.file and pinned.parts["motion_adapter"].repo == pia.parts["motion_adapter"].repo
