"""`zoetrope models pull` as a process that is killed and interrupted in the middle of a file."""

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from fake_hub import Hub
from test_models_command import ENTRY

TRANSFORMER = "transformer/diffusion_pytorch_model.safetensors"


@contextmanager
def pulling(hub: Hub, folder: Path, *, held: bool) -> Generator[tuple[subprocess.Popen[bytes], int]]:
    """A pull at a terminal of its own, whose end is given too. `held`: it has come to the middle of the transformer."""
    (folder / "own.toml").write_text(ENTRY.format(name="tiny", repo=hub.repo))
    hub.held = TRANSFORMER if held else ""
    ours, theirs = pty.openpty()
    environment = os.environ | {
        "HF_ENDPOINT": hub.url,
        "HF_HUB_OFFLINE": "0",
        "HF_HOME": str(folder / "home"),
        "ZOETROPE_CATALOG": str(folder / "own.toml"),
        "TERM": "xterm",
        "COLUMNS": "160",
    }
    command = [sys.executable, "-m", "zoetrope", "models", "pull", "tiny", "--yes"]
    with subprocess.Popen(command, env=environment, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        try:
            assert not held or hub.holding.wait(200)
            yield process, ours
        finally:
            process.kill()
            hub.go.set()
            os.close(ours)


def said(terminal: int) -> str:
    """All that was shown, until the process has let go of its terminal."""
    shown = b""
    while True:
        try:
            shown += os.read(terminal, 65536)
        except OSError:
            return shown.decode()


def files(folder: Path, kind: str) -> list[Path]:
    return sorted((folder / "home" / "hub").glob(f"models--*/{kind}"))


def test_a_pull_that_is_killed_goes_on_with_the_file_that_it_was_at(hub: Hub, tmp_path: Path) -> None:
    with pulling(hub, tmp_path, held=True) as (process, _):
        process.send_signal(signal.SIGKILL)
        assert process.wait(60) == -signal.SIGKILL
    assert len(files(tmp_path, "blobs/*.incomplete")) == 1
    before = set(hub.served)
    assert TRANSFORMER in before and "vae/config.json" not in before
    hub.served.clear()
    with pulling(hub, tmp_path, held=False) as (process, terminal):
        assert "All of it is here and whole." in said(terminal)
        assert process.wait(60) == 0
    assert before & set(hub.served) == {TRANSFORMER}
    assert files(tmp_path, "blobs/*.incomplete") == []
    assert len(files(tmp_path, "blobs/*")) == len(set(hub.files().values()))


def test_a_pull_shows_how_far_it_is_and_stops_at_ctrl_c_with_nothing_broken(hub: Hub, tmp_path: Path) -> None:
    with pulling(hub, tmp_path, held=True) as (process, terminal):
        process.send_signal(signal.SIGINT)
        shown = said(terminal)
        assert process.wait(60) == 130
    assert "fetching" in shown and "MB" in shown
    assert "Stopped. The files that came whole are kept: pull again to go on." in shown
    assert files(tmp_path, "blobs/*.incomplete") == []
    assert all(link.exists() for link in files(tmp_path, "snapshots/*/**/*"))
    assert files(tmp_path, "snapshots/*/transformer/*.safetensors") == []
