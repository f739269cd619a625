"""One tiny model and one engine for all tests here: importing torch and diffusers takes most of their time."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from engine_harness import Told
from tiny_wan import save_wan_ti2v

from clips.catalog import Catalog, Model
from generator.engines.diffusers.engine import DiffusersEngine

torch.set_num_threads(1)  # on a busy machine two threads wait for each other through every small operation

SAMPLE = Path(__file__).parents[2] / "samples" / "raccoon.jpg"


@pytest.fixture(scope="session")
def tiny_wan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_wan_ti2v(tmp_path_factory.mktemp("models") / "wan-ti2v")


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
