"""A model that could not be loaded is not offered: seen from its files and the machine, before a member asks for it."""

import asyncio
import shutil
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import torch
from fake_hub import Hub, point_to
from huggingface_hub import snapshot_download
from huggingface_hub.errors import SafetensorsParsingError

from clips import queue
from clips.catalog import Model, Placement
from clips.errors import RetryableError, SetupError
from clips.postgres import Pool
from clips.repositories import Lora
from generator.engines.diffusers import loading, outlook, readiness
from generator.engines.diffusers.hub import whole
from generator.engines.diffusers.readiness import check, check_files, check_size
from generator.engines.loading import gates_of
from tests.generator.studio import generating
from zoetrope.findings import Finding
from zoetrope.offered import is_offered
from zoetrope.weights import examine_model

GIB = 1024**3

ENTRY = """
[models.tiny]
title = "Tiny"
summary = "for tests"
engine = "diffusers"
family = "wan"
repo = "{repo}"
licence = "Some Licence 1.0"
goals = []
fps = 24
multiple = 32
frames = {{ offset = 1, step = 4, min = 5, max = 13 }}
sizes = {{ 480p = [96, 64] }}
default_size = "480p"
price = {{ 480p = 1.0 }}
accepts = ["motion"]
"""


@pytest.fixture
def hosted(model: Model, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Model:
    monkeypatch.setattr("time.sleep", lambda _: None)  # the hub's own client tries for 23 seconds
    return model.model_copy(update={"repo": hub.repo})


def weights_served(hub: Hub) -> list[str]:
    return [name for name in hub.served if name.endswith(".safetensors")]


# ---- the files


def test_what_a_hub_has_may_come_with_the_first_take(hosted: Model, hub: Hub) -> None:
    check(hosted, "cpu")
    assert hub.served and not weights_served(hub), "nothing but what says how large it is"
    assert not whole(hosted)


def test_what_is_here_needs_no_hub(hosted: Model, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot_download(hub.repo)
    point_to("http://127.0.0.1:9", monkeypatch)
    hub.served.clear()
    check(hosted, "cpu")
    assert hub.served == []


async def test_a_hub_that_comes_back_heals_it(hosted: Model, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    [gate] = gates_of([hosted], "cpu").values()
    assert (gate.open, gate.trouble) == (False, None), "nobody has looked yet"
    point_to("http://127.0.0.1:9", monkeypatch)
    await gate.examine()
    assert not gate.open
    assert gate.trouble is not None and gate.trouble.endswith(
        "is not (all) here. Check this machine's network. Once the hub answers, all goes on by itself; or bring "
        "the files here: zoetrope models pull wan-2.2-ti2v-5b"
    )
    point_to(hub.url, monkeypatch)
    await gate.examine()
    assert (gate.open, gate.trouble) == (True, None)


def test_a_download_that_was_broken_off_is_not_taken_for_a_whole(
    hosted: Model, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(snapshot_download(hub.repo))
    point_to("http://127.0.0.1:9", monkeypatch)
    assert whole(hosted)
    one = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    first = one.with_name("diffusion_pytorch_model-00001-of-00002.safetensors")
    one.rename(first)
    with pytest.raises(RetryableError, match="cannot be reached"):
        check_files(hosted)
    first.unlink()
    assert not whole(hosted), "a configuration without weights"
    for file in (folder / "transformer").iterdir():
        file.unlink()
    assert not whole(hosted), "nothing of a component"


def test_a_disk_without_room_is_said_before_the_first_take(hosted: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")._replace(free=2**30)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    with pytest.raises(SetupError, match=r"Wan 2\.2 TI2V 5B needs 0\.0 GB more in .*, and 1\.1 GB are free"):
        check_files(hosted)


# ---- the size


def test_a_model_too_large_for_the_machine_is_refused_unless_its_host_insists(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_size(model, "cpu")
    monkeypatch.setattr(readiness, "total_ram", lambda: 100_000)
    with pytest.raises(
        SetupError, match=r"does not fit here: even 1280x704 .* takes 0\.0 GiB of RAM, and there are 0\.0 GiB"
    ):
        check_size(model, "cpu")
    check_size(model.model_copy(update={"memory": Placement.WHOLE}), "cpu")


def test_a_gpu_is_measured_by_the_smallest_clip(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "choose_device", lambda _: torch.device("cuda"))
    for vram, fits in ((2 * GIB, True), (GIB, False)):
        monkeypatch.setattr(outlook, "memory_of", lambda _, vram=vram: vram)
        if fits:
            check_size(model, "auto")
            continue
        with pytest.raises(
            SetupError, match=r"GiB of GPU memory, and there are 1\.0 GiB of GPU memory and .* of RAM\."
        ):
            check_size(model, "auto")
    merged = model.model_copy(update={"memory": Placement.QUANTISED, "loras": (Lora(repo="a/b", file="c"),)})
    with pytest.raises(SetupError, match="cannot be placed as `quantised`"):
        check_size(merged, "auto")


def test_a_hub_that_shows_no_headers_is_no_reason_against_it(
    hosted: Model, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise SafetensorsParsingError("no header")

    monkeypatch.setattr("huggingface_hub.HfApi.parse_safetensors_file_metadata", refuse)
    check(hosted, "cpu")
    index = Path(snapshot_download(hub.repo)) / "transformer" / "diffusion_pytorch_model.safetensors"
    index.write_bytes(b"cut")
    with pytest.raises(SetupError, match="is broken or cut off"):
        check(hosted, "cpu")


async def test_a_library_that_fails_over_one_model_leaves_the_generator_its_others(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "describe", lambda _: {}["vae"])
    [gate] = gates_of([model], "cpu").values()
    await gate.examine()
    assert gate.trouble == "Wan 2.2 TI2V 5B cannot be examined ('vae'). The log says more."


def test_the_doctor_says_so_too(hosted: Model, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot_download(hub.repo)
    assert examine_model(hosted, "cpu") == Finding(hosted.name, "its files are here")
    monkeypatch.setattr(readiness, "total_ram", lambda: 100_000)
    found = examine_model(hosted, "cpu")
    assert found.found == "cannot be loaded here" and "does not fit here" in found.fix


# ---- a generator


@asynccontextmanager
async def at_work(dsn: str, folder: Path, repo: str) -> AsyncGenerator[Callable[[str], Awaitable[None]]]:
    """A generator of the tiny model and the sketch; waits for what it says."""
    (folder / "own.toml").write_text(ENTRY.format(repo=repo), encoding="utf-8")
    settings = {"models": "tiny,sketch", "catalog": str(folder / "own.toml"), "device": "cpu"}
    async with generating(dsn, folder, **settings) as generator:
        yield generator.says


async def waited_for(pool: Pool, model: str) -> None:
    async with asyncio.timeout(240):
        while not await is_offered(pool, model):  # noqa: ASYNC110 - another process has no event to wait for
            await asyncio.sleep(0.2)


async def test_a_generator_offers_the_others_and_says_what_to_do(
    dsn: str, pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    async with at_work(dsn, tmp_path, "somebody/tiny-wan") as says:
        await says(
            "tiny is switched off: The weights of somebody/tiny-wan are not (all) on this machine, and HF_HUB_OFF"
        )
        with pytest.raises(SetupError, match="tiny: The weights of somebody/tiny-wan are not"):
            await waited_for(pool, "tiny")
        assert await queue.alive_models(pool) == {"sketch"}


async def test_a_generator_offers_what_it_can_download(
    dsn: str, pool: Pool, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    async with at_work(dsn, tmp_path, hub.repo):
        await waited_for(pool, "tiny")
    assert not weights_served(hub)
