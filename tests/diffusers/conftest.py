"""One tiny model and one engine for all tests here: importing torch and diffusers takes most of their time."""

import asyncio
import gc
import os
from collections.abc import Generator, Iterator
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # read at the import: nothing here asks a hub but the one that a test serves

import pytest
import torch
from engine_harness import Told
from fake_hub import Hub, point_to, serving
from huggingface_hub import constants
from huggingface_hub.utils import close_session
from tiny_wan import save_wan_ti2v

from clips.catalog import Catalog, Model
from generator.engines.diffusers.engine import DiffusersEngine

torch.set_num_threads(1)  # on a busy machine two threads wait for each other through every small operation


@pytest.fixture(scope="session", autouse=True)
def known_to_stay() -> Iterator[None]:
    """What the imports made is looked through no more: each close of an engine would do it, for a quarter second."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


SAMPLE = Path(__file__).parents[2] / "samples" / "raccoon.jpg"


@pytest.fixture(scope="session")
def tiny_wan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_wan_ti2v(tmp_path_factory.mktemp("models") / "wan-ti2v")


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the tiny models of all families stand that were saved once."""
    return tmp_path_factory.mktemp("shelf")


@pytest.fixture(scope="session")
def model(tiny_wan: Path) -> Model:
    return Catalog.load().find("wan-2.2-ti2v-5b").model_copy(update={"repo": str(tiny_wan), "steps": 3})


@pytest.fixture(scope="session")
def engine(model: Model) -> Iterator[DiffusersEngine]:
    loaded = asyncio.run(DiffusersEngine.load(model, "cpu", Told()))
    yield loaded
    asyncio.run(loaded.close())


@pytest.fixture(scope="session")
def photo() -> Path:
    return SAMPLE


@pytest.fixture
def hub(tiny_wan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Hub]:
    with serving(Hub(tiny_wan)) as hub:
        point_to(hub.url, monkeypatch)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        yield hub
        close_session()
