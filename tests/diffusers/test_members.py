"""A member picks every tiny model, and so does the command line: a catalogue of them, the bot, and a generator."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import aiohttp
import pytest
from families import FAMILIES, ONE_EACH
from rich.console import Console
from tiny import Tiny

from clips.blobs import BlobStore
from clips.domain import ClipSpec, Lane, TakeState
from clips.ffmpeg import probe
from clips.postgres import Pool
from clips.settings import Settings
from sandbox import seed
from sandbox.server import running
from tests.bot.stage import PATIENT, Stage, jpeg
from tests.generator.studio import generating
from zoetrope.animate import Order, animate_photo


def entry_of(tiny: Tiny, shelf: Path) -> str:
    """The catalogue's entry over the tiny weights, with the tiny plan as its one size and length."""
    model, plan = tiny.model(tiny.saved(shelf)), tiny.plan
    fields = model.model_dump(mode="json", exclude_defaults=True, exclude={"name", "gpu", "weights", "cache"})
    small = {
        "multiple": 2,
        "fps": min(plan.fps, plan.frames),  # nobody can ask for less than a second
        "frames": {"offset": plan.frames, "step": 1, "min": plan.frames, "max": plan.frames},
        "sizes": {model.default_size: (plan.width, plan.height)},
        "price": {model.default_size: 1.0},
        "free_aspect": False,
    }
    lines = [f"{name} = {_toml(value)}" for name, value in (fields | small).items()]
    return "\n".join([f"[models.{json.dumps(tiny.entry)}]", *lines, ""])


def _toml(value: object) -> str:
    if isinstance(value, Mapping):
        named = cast("Mapping[str, object]", value)
        return "{" + ", ".join(f"{json.dumps(name)} = {_toml(each)}" for name, each in named.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, cast("list[object]", value))) + "]"
    return json.dumps(value)


async def from_the_command_line(tiny: Tiny, catalog: Path, dsn: str, photo: Path, folder: Path) -> None:
    """`zoetrope animate` without a length: as long as the model can."""
    settings = Settings(database_url=dsn, home=folder / "home", blobs=str(folder / "blobs"), catalog=catalog)
    end_photo = photo if "end_photo" in tiny.needs else None
    order = Order(photo, end_photo, ClipSpec(tiny.entry), None, 1, 7, Lane.FAST, folder / f"{tiny.entry}.mp4")
    await animate_photo(settings, order, Console(quiet=True))
    made = probe(order.out)
    assert (made.width, made.height, made.frames) == (tiny.plan.width, tiny.plan.height, tiny.plan.frames)


@pytest.mark.timeout(420)  # twenty models, one after another, and the imports of a process
async def test_a_member_gets_a_clip_of_every_family(
    shelf: Path, photo: Path, dsn: str, pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    catalog = tmp_path / "ours.toml"
    catalog.write_text("\n".join(entry_of(tiny, shelf) for tiny in FAMILIES), encoding="utf-8")
    names = [tiny.entry for tiny in FAMILIES]
    async with running(tmp_path / "world", times=PATIENT) as box, aiohttp.ClientSession(box.address) as session:
        stage = Stage(box, session, dsn, pool, BlobStore.from_url(str(tmp_path / "blobs")), tmp_path)
        await stage.announce(*names)
        juno = stage.person(seed.JUNO)
        lobby = await juno.channel("lobby")
        async with stage.playing(catalog=catalog):
            for tiny in FAMILIES:
                end_photo = jpeg() if "end_photo" in tiny.needs else None
                answer = await stage.animate(juno, lobby, model=tiny.entry, takes=1, end_photo=end_photo)
                assert "1 take with" in answer["content"]
            settings = {"models": ",".join(names), "catalog": str(catalog), "device": "cpu"}
            async with generating(dsn, tmp_path, **settings) as generator:
                replies = await stage.replies(juno, lobby, within=300.0)
                requests = [await stage.read(request_id) for request_id in await stage.request_ids()]
                for tiny in ONE_EACH:  # whose engines are loaded by now
                    await from_the_command_line(tiny, catalog, dsn, photo, tmp_path)
                assert await generator.stopped() == 0, generator.said
        await stage.promises_hold()
    assert {request.request.spec.model for request in requests} == set(names)
    assert [take.state for request in requests for take in request.takes] == [TakeState.DONE] * len(names)
    assert [len(reply["attachments"]) for reply in replies] == [1] * len(names)
