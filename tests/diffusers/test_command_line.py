"""A host's own model, named in the host's catalogue, from the command line to the clip with its sound."""

import os
import subprocess
import sys
from pathlib import Path

from tiny_ltx import save_ltx2

from clips.ffmpeg import probe

PROJECT = Path(__file__).parents[2]

CATALOGUE = """
[models.ours]
title = "Ours"
summary = "a folder of this machine"
engine = "diffusers"
family = "ltx2"
repo = "{folder}"
licence = "ours"
goals = []
fps = 24
multiple = 32
frames = {{ offset = 1, step = 8, min = 17, max = 33 }}
sizes = {{ 480p = [96, 64] }}
default_size = "480p"
price = {{ 480p = 1.0 }}
steps = 2
guidance = 3.0
accepts = ["motion", "consistency", "seed", "end_photo"]
"""


def animate(folder: Path, dsn: str, *arguments: object) -> tuple[int, str]:
    """The exit code, and what was said."""
    done = subprocess.run(
        [sys.executable, "-m", "zoetrope", "animate", *map(str, arguments)],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": str(PROJECT),
            "DATABASE_URL": dsn,
            "ZOETROPE_HOME": str(folder / "home"),
            "ZOETROPE_CATALOG": str(folder / "ours.toml"),
            "ZOETROPE_DEVICE": "cpu",
            "HF_HUB_OFFLINE": "1",
        },
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_a_folder_of_the_hosts_own_makes_a_clip_with_sound(tmp_path: Path, dsn: str, photo: Path) -> None:
    (tmp_path / "ours.toml").write_text(CATALOGUE.format(folder=save_ltx2(tmp_path / "weights")), encoding="utf-8")
    order = (photo, "--model", "Ours", "--seed", 7, "--out", "clip.mp4")
    code, said = animate(tmp_path, dsn, *order, "--avoid", "rain")
    assert code == 2 and "Ours does not take words to avoid" in said
    code, said = animate(tmp_path, dsn, *order, "--end-photo", photo, "--consistency", 0.9, "--fit", "pad")
    assert code == 0, said
    assert "1 take of 1.4 s, 96×64 at 24 fps, with ours" in said, "as long as it can, which is not the usual 5 s"
    made = probe(tmp_path / "clip.mp4")
    assert (made.width, made.height, made.frames, made.fps) == (96, 64, 33, 24)
    assert made.has_sound
