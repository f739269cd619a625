"""The command line: what it makes, what it refuses in one sentence, how it ends, and what it leaves running."""

import asyncio
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from urllib.request import urlopen

import asyncpg
import pytest

from clips.embedded import embedded
from clips.ffmpeg import probe
from tests.ports import free_port
from zoetrope.cli import main

PROJECT = Path(__file__).parents[1]
CATALOG = PROJECT / "clips" / "catalog.toml"
PHOTO = PROJECT / "samples" / "raccoon.jpg"
ZOETROPE = [sys.executable, "-m", "zoetrope"]
OURS = ("ZOETROPE_", "DISCORD_", "DATABASE_")
UNREACHABLE = "postgresql://127.0.0.1:9/x"


def environment(folder: Path) -> dict[str, str]:
    """That of a host without settings: everything lies in the folder."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    return {**clean, "PYTHONPATH": str(PROJECT), "ZOETROPE_HOME": str(folder / "home"), "TERM": "xterm"}


def zoetrope(folder: Path, *arguments: object, **settings: str) -> tuple[int, str]:
    """The exit code, and what was said."""
    command, env = [*ZOETROPE, *map(str, arguments)], environment(folder) | settings
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=200, check=False)
    return done.returncode, done.stdout + done.stderr


def at_work_in(folder: Path) -> list[str]:
    """The command lines of the processes that have files of the folder open, a Postgres among them."""
    found: list[str] = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            opened = [link.readlink() for link in (process / "fd").iterdir()]
            if any(file.is_relative_to(folder) for file in opened):
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:  # it ended meanwhile
            continue
    return found


class Terminal:
    """A command in a terminal of its own. `until` reads what it says; `close` is the window's cross."""

    def __init__(self, folder: Path, *command: str) -> None:
        self.said = ""
        self._end, inner = pty.openpty()
        self.process = subprocess.Popen(
            ["setsid", "--ctty", "--wait", *command],
            cwd=folder,
            env=environment(folder),
            stdin=inner,
            stdout=inner,
            stderr=inner,
        )
        os.close(inner)

    def until(self, words: str) -> str:
        """All that was said, once these words were."""
        deadline = monotonic() + 120
        while words not in self.said:
            assert monotonic() < deadline, self.said
            if select.select([self._end], [], [], 0.1)[0]:
                self.said += os.read(self._end, 65536).decode(errors="replace")
        return self.said

    def press_ctrl_c(self) -> None:
        os.write(self._end, b"\x03")

    def close(self) -> None:
        os.close(self._end)


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run the command line in this process; give the one sentence that it ended with, and exit code 2."""
    for name in [name for name in os.environ if name.startswith(OURS)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ZOETROPE_HOME", str(tmp_path / "home"))

    def run(*arguments: object, **settings: str) -> str:
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr("sys.argv", ["zoetrope", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        assert (ended.value.code, said.err) == (2, "")
        mark, _, sentence = said.out.partition(" ")
        assert mark == "✗"
        assert sentence.count("\n") == 1
        return sentence.strip()

    return run


def test_animate_makes_the_takes_and_makes_them_again(tmp_path: Path):
    order = ("animate", PHOTO, "--motion", "[/x] slow zoom in", "--seconds", "1", "--seed", "7")
    code, said = zoetrope(tmp_path, *order, "--takes", "2", "--out", "clip.mp4")
    assert code == 0, said
    assert "2 takes of 1.0 s, 738×554 at 24 fps, with sketch (sketch, not a generated video)" in said
    assert said.splitlines()[-2:] == ["clip: clip-1.mp4", "clip: clip-2.mp4"]
    first, second = tmp_path / "clip-1.mp4", tmp_path / "clip-2.mp4"
    assert [probe(clip).frames for clip in (first, second)] == [24, 24]
    assert first.read_bytes() != second.read_bytes()
    # A host's own entry of the same engine is a sketch as well.
    (tmp_path / "ours.toml").write_text(CATALOG.read_text().replace("[models.sketch]", "[models.ours]", 1))
    ours = {"ZOETROPE_CATALOG": "ours.toml"}
    code, said = zoetrope(tmp_path, *order, "--model", "ours", "--out", "again.mp4", **ours)
    assert code == 0, said
    assert "with ours (sketch, not a generated video)" in said
    assert (tmp_path / "again.mp4").read_bytes() == first.read_bytes()
    assert at_work_in(tmp_path) == []


def test_ctrl_c_cancels_what_was_asked_for(tmp_path: Path):
    terminal = Terminal(tmp_path, *ZOETROPE, "animate", str(PHOTO), "--seconds", "15", "--size", "1080p")
    terminal.until(" of 360")
    terminal.press_ctrl_c()
    terminal.until("Cancelled.")
    assert terminal.process.wait(90) == 130
    terminal.close()
    assert at_work_in(tmp_path) == []
    assert [path.name for path in tmp_path.iterdir()] == ["home"]

    async def cancelled() -> list[bool]:
        async with embedded(tmp_path / "home" / "postgres") as dsn:
            conn = await asyncpg.connect(dsn)
            takes = await conn.fetch("SELECT state = 'cancelled' OR cancel_requested AS cancelled FROM takes")
            await conn.close()
            return [take["cancelled"] for take in takes]

    # A generator that was stopped in the middle may leave the last word to the next one.
    assert asyncio.run(cancelled()) == [True]


def test_demo_once(tmp_path: Path):
    code, said = zoetrope(tmp_path, "demo", "--once", "--port", free_port(), "--photo", PHOTO)
    assert code == 0, said
    clip = Path(said.splitlines()[-1].removeprefix("clip: "))
    assert clip == tmp_path / "home" / "demo" / "clips" / "zoetrope-1-take-1.mp4"
    assert probe(clip).frames == 120
    assert at_work_in(tmp_path) == []


def test_the_demo_stays_until_its_terminal_is_closed(tmp_path: Path):
    """With `make` in between, which gets the terminal's signal and passes nothing on."""
    port = free_port()
    demo = [*ZOETROPE, "demo", "--port", str(port), "--photo", str(PHOTO)]
    terminal = Terminal(tmp_path, "sh", "-c", 'trap "" HUP; "$@"; exit "$?"', "make", *demo)
    said = terminal.until("Ctrl-C stops all.")
    assert re.search(r"take 1.* step \d+ of 120, about \d+ s left", said)
    assert said.count("clip: ") == 3
    with urlopen(f"http://127.0.0.1:{port}/") as page:
        assert "zoetrope" in page.read().decode().lower()
    terminal.close()
    terminal.process.wait(90)
    assert at_work_in(tmp_path) == []


def test_a_taken_port(refused: Callable[..., str]):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = refused("demo", "--port", port, "--photo", PHOTO)
    assert said.startswith(f"Port {port} cannot be had (Address already in use)")
    assert said.endswith("or choose another port with PORT=number (or --port).")


def test_what_a_demo_cannot_start_with(refused: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    missing = tmp_path / "[/no].jpg"
    assert refused("demo", "--photo", missing) == f"There is no photo {missing}. Name one with PHOTO=path (or --photo)."
    assert refused("demo", "--model", "nope").startswith("There is no model “nope”. There are: sketch, ")
    own = tmp_path / "catalog.toml"
    wan = re.search(r'\[models\."wan-2\.2-ti2v-5b"\].*?(?=\n\[)', CATALOG.read_text(), re.DOTALL)
    assert wan is not None
    own.write_text(wan[0].replace("wan-2.2-ti2v-5b", "dream-9000", 1).replace('"wan"', '"dream"'))
    monkeypatch.setenv("ZOETROPE_CATALOG", str(own))
    assert "cannot run dream-9000 yet" in refused("demo", "--model", "dream-9000")
    closed = tmp_path / "home" / "demo" / "clips"
    closed.mkdir(parents=True)
    monkeypatch.setattr("os.access", lambda path, _: path != closed)
    assert refused("demo", "--photo", PHOTO).startswith(f"No right to use {closed}: it belongs to another user.")


def test_a_full_disk(refused: Callable[..., str], small_disk: Path):
    said = refused("demo", "--photo", PHOTO, ZOETROPE_HOME=str(small_disk))
    assert said.startswith(f"The disk that holds {small_disk} is full: 16 MiB are free, and a start needs 100.")


def test_settings_and_databases_that_do_not_work(refused: Callable[..., str]):
    assert refused("db", DATABASE_URL=UNREACHABLE).startswith("DATABASE_URL names a database already")
    assert "127.0.0.1 cannot be reached" in refused("migrate")
    assert "127.0.0.1 cannot be reached" in refused("animate", PHOTO)
    assert refused("doctor", ZOETROPE_LEASE_SECONDS="soon").startswith("ZOETROPE_LEASE_SECONDS: ")


def test_orders_that_cannot_be_met(refused: Callable[..., str], dsn: str, tmp_path: Path):
    def said(*order: object) -> str:
        return refused("animate", *order, DATABASE_URL=dsn)

    assert said(tmp_path / "none.jpg") == f"Cannot read {tmp_path}/none.jpg: No such file or directory."
    assert said(PROJECT / "README.md").startswith("That is plain text, not a photo that can be animated.")
    assert said(PHOTO, "--seconds", 16).startswith("Sketch renders at most 15.0 s in one go; 16 s is too long.")
    assert (
        said(PHOTO, "--out", tmp_path) == f"{tmp_path} is a folder. Name the clip's file, such as {tmp_path}/clip.mp4."
    )
    assert said(PHOTO, "--out", tmp_path / "no" / "a.mp4") == f"There is no folder {tmp_path}/no to write the clip to."


def test_a_damaged_installation():
    lost = "import sys; sys.modules['aiohttp'] = None; from zoetrope.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-c", lost], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(
        r"✗ The installation in .* is damaged: .*aiohttp.*\. Remove it and start again\.\n", done.stderr
    )


def test_db_runs_until_it_is_told_to_stop(tmp_path: Path):
    """SIGTERM ends the built-in Postgres in good order: exit code 0, nothing left."""
    keeper = subprocess.Popen(
        [*ZOETROPE, "db"], cwd=tmp_path, env=environment(tmp_path), stdout=subprocess.PIPE, text=True
    )
    assert keeper.stdout
    assert keeper.stdout.readline().startswith("DATABASE_URL=postgresql://")
    assert at_work_in(tmp_path)
    keeper.send_signal(signal.SIGTERM)
    keeper.communicate(timeout=90)
    assert keeper.returncode == 0
    assert at_work_in(tmp_path) == []
