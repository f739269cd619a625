"""`deploy/setup.sh` where it cannot succeed: one sentence each, exit code 2, and the next run mends what was left."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
UNREACHABLE = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0", "PIP_CONFIG_FILE": os.devnull}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What the script reads, in a folder with a name that needs quoting."""
    return copied(tmp_path / "a checkout")


def copied(folder: Path) -> Path:
    (folder / "deploy").mkdir(parents=True)
    for name in ("pyproject.toml", "constraints.txt", "deploy/setup.sh"):
        shutil.copy(PROJECT / name, folder / name)
    return folder


def setup(checkout: Path, purpose: str = "demo", **environment: str) -> tuple[int, str]:
    command = ["sh", str(checkout / "deploy" / "setup.sh"), purpose]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_"))}
    done = subprocess.run(command, env=clean | environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr.strip()


def sentence(said: str) -> str:
    """The refusal, which is the last line, and the only one that reads like one."""
    lines = said.splitlines()
    assert [line.startswith("✗ ") for line in lines] == [False] * (len(lines) - 1) + [True], said
    return lines[-1]


def test_an_unknown_purpose(checkout: Path):
    assert setup(checkout, "fun") == (2, "usage: sh deploy/setup.sh demo|generator|test|bench")


def test_no_python_that_will_do(checkout: Path, tmp_path: Path):
    old = tmp_path / "old python"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "python3").symlink_to(old)
    code, said = setup(checkout, PYTHON=str(folder / "python3"))
    assert (code, "3.11 or newer" in sentence(said), "is older" in said) == (2, True, True)
    code, said = setup(checkout, PYTHON="/nowhere/python3")
    assert (code, "no Python was found" in sentence(said)) == (2, True)


def test_a_python_that_cannot_make_environments(checkout: Path, tmp_path: Path):
    python = tmp_path / "python3"
    python.write_text(f'#!/bin/sh\ncase "$2" in *ensurepip*) exit 1;; esac\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    code, said = setup(checkout, PYTHON=str(python))
    assert (code, "install the package python3-venv" in sentence(said)) == (2, True)


def test_no_network_after_an_interrupted_installation(checkout: Path):
    """What a killed installation left may look whole to pip, so it goes before the next one starts."""
    left = checkout / ".venv" / "half a package"
    left.parent.mkdir()
    left.touch()
    (checkout / ".venv" / "unfinished").touch()
    code, said = setup(checkout, PYTHON=sys.executable, **UNREACHABLE)
    assert (code, "could not be fetched" in sentence(said)) == (2, True)
    assert "127.0.0.1" in (checkout / ".venv" / "install.log").read_text()
    assert not left.exists()


def test_a_full_disk(small_disk: Path):
    checkout = copied(small_disk / "checkout")
    code, said = setup(checkout, PYTHON=sys.executable, **UNREACHABLE)
    assert (code, "is full" in sentence(said)) == (2, True)


def test_what_is_installed_is_not_installed_again(checkout: Path):
    """An environment whose stamp fits is left alone: no pip, no network. A changed pin makes it be made again."""
    python = checkout / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    (python.parent / "zoetrope").symlink_to(sys.executable)
    fingerprint = '{ printf "%s\\n" "$(pwd -P)"; cat pyproject.toml constraints.txt; } | cksum'
    wanted = subprocess.run(["sh", "-c", fingerprint], cwd=checkout, capture_output=True, check=True).stdout
    stamp = checkout / ".venv" / "installed" / "demo"
    stamp.parent.mkdir()
    stamp.write_bytes(wanted)
    assert setup(checkout, PYTHON="/nowhere/python3") == (0, "")
    with (checkout / "constraints.txt").open("a") as constraints:
        constraints.write("other==1.0\n")
    assert "no Python was found" in setup(checkout, PYTHON="/nowhere/python3")[1]
