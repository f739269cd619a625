"""A host's own catalogue file: what is wrong with it is said in one sentence, before anybody can pick a model of it."""

from pathlib import Path

import pytest

from clips.catalog import Catalog
from clips.domain import ClipSpec
from clips.errors import MemberError, SetupError

ENTRY = """
[models.harbour]
title = "Harbour"
summary = "our fine-tune"
engine = "diffusers"
family = "wan"
repo = "/srv/models/harbour"
licence = "ours"
goals = ["quality"]
fps = 16
multiple = 16
frames = { offset = 1, step = 4, min = 33, max = 81 }
sizes = { 480p = [832, 480] }
default_size = "480p"
price = { 480p = 78.0 }
accepts = ["motion"]
"""
SIDES = "the sides of its sizes must be multiples of `multiple`, which is 16."


def refusal(folder: Path, content: str | bytes) -> str:
    """What is said of a file, without its name."""
    file = folder / "own.toml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SetupError) as refused:
        Catalog.load(file)
    return str(refused.value).removeprefix(f"{file}: ")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("harbour", '"Harbour"', "model Harbour: nobody could ask for a name with capitals, spaces"),
        ("harbour", '"har,bour"', "model har,bour: nobody could ask for a name with capitals, spaces"),
        ("[832, 480] }", "[832, 481] }\nfree_aspect = false", f"model harbour: {SIDES}"),
        ("[832, 480]", "[0, 480]", f"model harbour: {SIDES}"),
        ("title =", "name = 'pier'\ntitle =", "model harbour has its name from its table's. Take `name` out."),
        ("min = 33, max = 81", "min = 81, max = 33", "model harbour frames: no offset + n × step lies between"),
        ("min = 33, max = 81", "min = 34, max = 36", "model harbour frames: no offset + n × step lies between"),
        ("= 78.0", "= -1", "model harbour price.480p: Input should be greater than or equal to 0."),
        ("= 78.0", "= nan", "model harbour price.480p: Input should be a finite number."),
        ("frames = {", "seconds = 5 #", "model harbour: lengths in seconds are [5, 10] or { min = 2, max = 15 }"),
        ("fps = 16", "seconds = [2, 4]", "model harbour fps: Field required."),
        ('default_size = "480p"', 'default_size = "720p"', "model harbour: default_size 720p is not among its sizes."),
    ],
)
def test_an_entry_that_cannot_be_meant(old: str, new: str, said: str, tmp_path: Path) -> None:
    assert old in ENTRY
    assert refusal(tmp_path, ENTRY.replace(old, new, 1)).startswith(said)


def test_an_entry_that_is_said_otherwise(tmp_path: Path) -> None:
    told = ENTRY.replace("[832, 480]", "[854, 480]").replace("fps = 16", "fps = 16.0")
    told = told.replace("frames = { offset = 1, step = 4, min = 33, max = 81 }", "seconds = [2, 4]")
    file = tmp_path / "own.toml"
    file.write_text(told)
    model = Catalog.load(file).find("harbour")
    plan = model.plan(ClipSpec("harbour", seconds=4), (1600, 900))
    assert (plan.frames, plan.width % 16, plan.height % 16) == (64, 0, 0)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\xfe", "'utf-8' codec can't decode byte 0xff"),
        ("[models.harbour\n", "Expected ']'"),
        ("[modles.harbour]\n", "nothing reads “modles”. Its tables are [models.its-name] and [tools.its-name]."),
        ("models = 3\n", "its tables are [models.its-name] and [tools.its-name]."),
        ("[models]\nharbour = 3\n", "harbour is a single value, and an entry is a table"),
    ],
)
def test_a_file_that_is_no_catalogue(content: str | bytes, said: str, tmp_path: Path) -> None:
    assert refusal(tmp_path, content).startswith(said)


def test_a_name_that_is_nearly_one_is_guessed() -> None:
    with pytest.raises(MemberError, match=r"^There is no model “Wan-2.2-TI2V5B”\. Did you mean wan-2.2-ti2v-5b"):
        Catalog.load().find("Wan-2.2-TI2V5B")
    with pytest.raises(
        MemberError, match=r"“wan-2.1”\. Did you mean wan-2.1-i2v-480p or wan-2.1-i2v-720p or wan-2.1-f"
    ):
        Catalog.load().find("wan-2.1")
    with pytest.raises(MemberError, match=r"Did you mean wan-2.2-ti2v-5b or wan-2.2-i2v-a14b"):
        Catalog.load().find("Wan2.2")
