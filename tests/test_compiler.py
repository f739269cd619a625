"""Whether the doctor knows what compiling for a GPU takes."""

import sysconfig
from pathlib import Path

import pytest

from clips.settings import Settings
from zoetrope import compiler, doctor
from zoetrope.compiler import examine_compiler


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with a GPU and nothing to compile with: a folder for its programs and headers."""
    monkeypatch.setattr(compiler, "_has_gpu", lambda device: device != "cpu")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))
    return tmp_path


def test_it_says_what_is_missing_and_what_that_costs(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = examine_compiler("auto")
    assert found is not None
    assert found.found == "no C compiler: models render without compiled blocks, and slower"
    assert "install gcc, libc6-dev and python3-dev" in found.fix
    (bare / "gcc").touch(mode=0o755)
    found = examine_compiler("auto")
    assert found is not None and found.fix and found.found.startswith("no headers of Python: ")
    (bare / "Python.h").touch()
    found = examine_compiler("auto")
    assert found is not None and not found.fix
    (bare / "gcc").unlink()
    monkeypatch.setenv("CC", "/opt/cc")
    assert examine_compiler("cuda:1") == found


@pytest.mark.parametrize(
    ("wish", "asked"),
    [
        ({"models": "svd-xt,ltx-2"}, True),
        ({"models": "ltx-2", "speed": "exact"}, False),
        ({"models": "ltx-2", "device": "cpu"}, False),
        ({"models": "sketch"}, False),
    ],
)
@pytest.mark.usefixtures("bare")
async def test_it_is_looked_for_where_models_are_compiled(wish: dict[str, str], asked: bool) -> None:  # noqa: FBT001
    found = await doctor._compiler(Settings.model_validate(wish))  # pyright: ignore[reportPrivateUsage]
    assert [finding.check for finding in found] == ["compiler"] * asked
