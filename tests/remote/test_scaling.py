"""What the pages have a host copy is a catalogue, and what a catalogue says of a server is checked."""

import re
from pathlib import Path

import pytest

from clips.catalog import Catalog, EngineKind
from clips.errors import SetupError
from clips.servers import Dialect

PAGE = Path(__file__).parents[2] / "docs" / "scaling.md"
ENTRIES = re.findall(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize(("entry", "dialect"), list(zip(ENTRIES, Dialect, strict=True)))
def test_each_entry_of_the_page_is_a_model_on_its_server(entry: str, dialect: Dialect, tmp_path: Path):
    own = tmp_path / "catalog.toml"
    own.write_text(entry)
    model = Catalog.load(own).find("wan-cluster")
    assert model.engine is EngineKind.VIDEOS_API
    assert model.server is not None
    assert model.server.dialect is dialect
    assert not model.paid


def test_the_entry_of_the_page_on_hosted_models_is_one(tmp_path: Path):
    page = (PAGE.parent / "hosted.md").read_text(encoding="utf-8")
    [entry] = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    own = tmp_path / "catalog.toml"
    own.write_text(entry)
    model = Catalog.load(own).find("my-favourite")
    assert model.paid
    assert model.provider == "replicate"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("http://10.0.0.5:30010", "10.0.0.5:30010"), r"server\.url: .*must be http://host:port"),
        (("http://10.0.0.5", "http://me:secret@10.0.0.5"), r"server\.url: .*name the variable of the key"),
        (('dialect = "sglang"', 'dialect = "sora"'), r"server\.dialect"),
        (('"seed"]', '"seed", "end_photo"]'), "accepts no more than avoid, camera, motion, seed, strength"),
        (('engine = "videos-api"', 'engine = "sketch"'), "a model of videos-api, and no other, needs a table server"),
    ],
)
def test_a_server_that_cannot_be_is_told_with_the_field(change: tuple[str, str], says: str, tmp_path: Path):
    own = tmp_path / "catalog.toml"
    assert change[0] in ENTRIES[0]
    own.write_text(ENTRIES[0].replace(*change))
    with pytest.raises(SetupError, match=says) as refused:
        Catalog.load(own)
    assert "secret" not in str(refused.value)
