"""Which engine a model gets, and what is loaded for it and when."""

import subprocess
import sys

import pytest

from clips.catalog import Catalog
from clips.errors import SetupError
from generator.engines import loading
from generator.engines.sketch import SketchEngine

SKETCH, WAN = (Catalog.load().find(name) for name in ("sketch", "wan-2.2-ti2v-5b"))


async def test_the_sketch_needs_nothing():
    loading.check_installed(SKETCH)
    engine = await loading.load_engine(SKETCH, "cpu", context=None)  # pyright: ignore[reportArgumentType] - it asks nothing
    assert isinstance(engine, SketchEngine)
    await engine.close()


def test_a_diffusers_model_without_torch_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    loading.check_installed(WAN)
    monkeypatch.setattr(loading, "find_spec", lambda name: None if name == "torch" else name)
    with pytest.raises(SetupError, match=r"wan-2\.2-ti2v-5b runs on diffusers.*sh deploy/setup\.sh generator"):
        loading.check_installed(WAN)
    loading.check_installed(SKETCH)


def test_a_recipe_names_the_software_that_makes_the_seed_mean_something():
    assert loading.versions(WAN).keys() == {"zoetrope", "torch", "diffusers", "transformers"}


def test_torch_is_not_imported_before_a_model_needs_it():
    code = "import sys, generator.__main__, generator.engines.sketch; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_family_without_an_adapter_is_refused_at_the_start():
    dream = WAN.model_copy(update={"name": "dream-9000", "family": "dream"})
    with pytest.raises(
        SetupError, match=r"This version cannot run dream-9000 yet: it has nothing for the family dream\."
    ):
        loading.check_installed(dream)
