"""Rendering with Wan 2.2 TI2V-5B: our engine beside plain diffusers (`pipe(…)`, `export_to_video`) in one run.

On a CPU with small random weights, which shows what our path costs; on a GPU with full-size random weights from the
model's own configuration, which time like the trained ones. No network: `python -m bench.render [--cpu|--gpu]`.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bench.memory import measured
from bench.render_claims import beside_claims
from bench.render_models import CASES
from bench.render_run import MEMBERS, REROLLS, TAKES
from bench.report import Cell, Table

_LEAST = 60  # seconds below which a model is not begun
_ROOM = 40 * 10**9  # bytes for the full-size weights and some frames

Figures = Mapping[str, float]


@dataclass(frozen=True)
class Stage:
    """A device with what is rendered on it."""

    name: str
    device: str
    width: int
    height: int
    frames: int
    steps: int
    rounds: int

    @property
    def said(self) -> str:
        return f"{self.name}: {self.frames} frames of {self.width}x{self.height}, {self.steps} steps"


_SMALL = Stage("small, CPU", "cpu", 256, 160, 13, 6, rounds=5)
_FULL = Stage("full, GPU", "cuda", 1280, 704, 121, 4, rounds=1)


def main() -> None:
    """Measure what this machine can, and publish the tables."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--cpu", action="store_true", help="the small weights on the CPU only")
    options.add_argument("--gpu", action="store_true", help="the full-size weights on the GPU only")
    options.add_argument("--steps", type=int, default=4, help="denoising steps on the GPU")
    options.add_argument("--seconds", type=int, default=450, help="when to end, whatever is still to be measured")
    wish = options.parse_args()
    ends = time.monotonic() + wish.seconds
    gpu = _gpu()
    table = Table(
        "render",
        "Rendering a clip (Wan 2.2 TI2V-5B, random weights, guidance 5)",
        [
            "size",
            "way",
            "wall s",
            "÷ plain",
            "CPU s",
            "a step s",
            "decode s",
            "rest ÷ wall",
            "host MB",
            "GPU GB",
            "load s",
        ],
        notes=[
            "Wall: photo and prompt in, MP4 out, with the model loaded; the best round.",
            "Rest: the share of the wall outside the transformer, encodes and decode among it. Plain: diffusers alone.",
            "CPU: of all threads and of ffmpeg; on a busy machine it compares better than the wall does.",
            "Ours: the preset `exact`; `balanced` has faster attention and compiled blocks, in four steps no cache.",
            "Aim on one H100: `balanced` at 0.625 of plain or less (1.6 times as fast) at equal steps.",
            "Fifty steps are computed, without a step cache: what that may skip, random weights cannot tell.",
            "Host memory is the peak above the imports', with the loading and ffmpeg.",
            f"{_SMALL.said}, 1 thread. {replace(_FULL, steps=wish.steps).said}.",
            f"GPU: {gpu or 'none'}. {_versions()}",
        ],
    )
    checks = Table("render-checks", "The engine with full-size weights", ["what", "figure"])
    runs = Table(
        "render-run",
        "A run of takes by the real worker, with Postgres and a blob store",
        [
            "clip",
            "takes",
            "the engine renders",
            "kernels run",
            "between two s",
            "after a render s",
            "reroll: claim → engine s",
            "claim → first step s",
        ],
        notes=[
            "Aims: 0.95 or more, from the first step of the first take to the last frame of the last; 0.3 s or less.",
            f"{MEMBERS} members ask for {TAKES} takes each and are served in turns; no two takes in a row share words.",
            "The engine renders: from the call to its return. Kernels: from the first to the last, copies left out.",
            "After a render: the encoder's last frames, blob store and record, beside the next take's render.",
            f"Reroll: the same words and photo, to an idle worker; the slowest of {REROLLS}. The preset is `exact`.",
            f"GPU: {gpu or 'none'}. {_versions()}",
        ],
    )
    models = Table(
        "render-models",
        "Further models (random weights made in memory)",
        ["model", "clip", "way", "wall s", "÷ plain", "a step s", "rest ÷ wall", "GPU GB"],
        notes=[
            "Exact and balanced: our runner with that preset, after a first render; no step cache in so few steps.",
            "A step is all that its denoisers do in it. Text and image encoders have one layer.",
            "Aim on one H100: `balanced` at 0.625 of plain or less.",
            f"GPU: {gpu or 'none'}. {_versions()}",
        ],
    )
    fifty: list[Cell] = ["balanced", None]
    if gpu and not wish.cpu:
        _beside(table, checks, runs, replace(_FULL, steps=wish.steps), ends)
        fifty = _many_steps(table)
        for name in CASES:
            _model(models, name, ends)
    else:
        table.add(_FULL.name, "plain", *[None] * 9)
        table.add(_FULL.name, "ours", *[None] * 9)
        table.add(_FULL.name, "balanced", *[None] * 9)
        checks.add("everything", None)
        runs.add(_clip_of_run(_FULL), *[None] * 7)
        for name in CASES:
            models.add(name, _clip(name), "plain", *[None] * 5)
    if not wish.gpu:  # last: any machine can do this
        _beside(table, checks, runs, _SMALL, ends)
    for one in (table, checks, runs, models, beside_claims(models, fifty, gpu)):
        one.publish()


def _beside(table: Table, checks: Table, runs: Table, stage: Stage, ends: float) -> None:
    with tempfile.TemporaryDirectory(dir=_roomy(stage)) as folder:
        if _run("build", stage, folder, ends, checks) is None:
            return
        plain = _run("plain", stage, folder, ends, checks)
        ours = _run("ours", stage, folder, ends, checks)
        for way, figures in (("plain", plain), ("ours", ours)):
            table.add(stage.name, way, *_row(figures, plain, stage))
        if stage.device == "cuda":
            table.add(stage.name, "balanced", *_row(_run("balanced", stage, folder, ends, checks), plain, stage))
        _add_run(runs, _run("run", _stage_of_run(stage), folder, ends, runs), stage)
        if stage.device == "cuda":
            for part in ("text", "photo"):
                checks.add(f"{part} encode s", ours[0][part] if ours else None)
            spare = ends - _LEAST * len(CASES)
            for figures in (ours, _run("decoding", stage, folder, spare, checks)):
                for name, figure in (figures[0] if figures else {}).items():
                    if " " in name:  # the others are one word and in the table
                        checks.add(name, figure)


def _stage_of_run(stage: Stage) -> Stage:
    """Shorter takes: there are many, and what is between them weighs the more."""
    return replace(stage, frames=49) if stage.device == "cuda" else replace(stage, steps=2)


def _clip_of_run(stage: Stage) -> str:
    return _stage_of_run(stage).said


def _add_run(runs: Table, figures: tuple[Figures, float] | None, stage: Stage) -> None:
    if figures is None:
        runs.add(_clip_of_run(stage), *[None] * 7)
        return
    said, _ = figures
    kernels = said.get("kernels", "–")
    runs.add(
        _clip_of_run(stage),
        said["takes"],
        said["rendering"],
        kernels,
        said["gap"],
        said["afterwards"],
        said["to engine"],
        said["to step"],
    )


def _many_steps(table: Table) -> list[Cell]:
    """The same clip in fifty steps, computed: what is outside the transformer is done once, a step costs the same.

    Returns `balanced` and its wall.
    """
    fifty: dict[str, float] = {}
    for row in table.rows:
        if row[0] != _FULL.name or row[2] is None:
            continue
        wall, step, rest = (float(cell or 0) for cell in (row[2], row[5], row[7]))
        fifty[str(row[1])] = wall * rest + 50 * step
    plain = fifty.get("plain")
    for way, wall in fifty.items():
        table.add("full, GPU, 50 steps, computed", way, wall, wall / plain if plain else None, *[None] * 7)
    return ["balanced", fifty.get("balanced")]


def _model(models: Table, name: str, ends: float) -> None:
    """Rows of a model; where it failed or no time was left, why."""
    left = int(ends - time.monotonic())
    said: Figures | None = None
    if left < _LEAST:
        models.notes.append(f"No time was left for {name}.")
    else:
        try:
            said, _ = measured("bench.render_models", name, "cuda", str(left))
        except (RuntimeError, ValueError) as error:
            models.notes.append(f"{name} failed: {error}")
    print(f"{name}: {said}", file=sys.stderr, flush=True)
    for way in ("plain", "exact", "balanced"):
        if said is None or f"{way} wall" not in said:
            models.add(name, _clip(name), way, *[None] * 5)
            continue
        wall, denoise = said[f"{way} wall"], said[f"{way} denoise"]
        step = denoise / CASES[name].steps
        models.add(
            name, _clip(name), way, wall, wall / said["plain wall"], step, 1 - denoise / wall, said[f"{way} gpu"]
        )


def _clip(name: str) -> str:
    plan = CASES[name].plan
    return f"{plan.width}x{plan.height}, {plan.frames} frames, {CASES[name].steps} steps"


def _run(way: str, stage: Stage, folder: str, ends: float, checks: Table) -> tuple[Figures, float] | None:
    """A way's figures and its peak of host memory in MB; None, and why, where it failed or there was no time left."""
    left = int(ends - time.monotonic())
    if left < 20:
        checks.notes.append(f"{stage.device}: no time was left for “{way}”.")
        return None
    numbers = (stage.width, stage.height, stage.frames, stage.steps, stage.rounds, left)
    began = time.monotonic()
    try:
        figures = measured("bench.render_child", way, folder, stage.device, *map(str, numbers))
    except (RuntimeError, ValueError) as error:
        checks.notes.append(f"{stage.device}: “{way}” failed: {error}")
        figures = None
    print(f"{stage.device} {way}: {time.monotonic() - began:.0f} s, {figures}", file=sys.stderr, flush=True)
    return figures


def _row(figures: tuple[Figures, float] | None, plain: tuple[Figures, float] | None, stage: Stage) -> list[Cell]:
    if figures is None:
        return [None] * 9
    said, host = figures
    return [
        said["wall"],
        said["wall"] / plain[0]["wall"] if plain else None,
        said["cpu"],
        said["transformer"] / stage.steps,
        said["decoder"],
        1 - said["transformer"] / said["wall"],
        host,
        said["gpu"] if stage.device == "cuda" else "–",
        said["load"],
    ]


def _roomy(stage: Stage) -> str | None:
    """A folder in memory for the full-size weights, where there is one with room; else the usual one."""
    memory = Path("/dev/shm")
    fits = stage.device == "cuda" and memory.is_dir() and shutil.disk_usage(memory).free > _ROOM
    return str(memory) if fits else None


def _gpu() -> str:
    """The GPU's name, empty without one; asked in a process of its own, because a CUDA context takes memory."""
    ask = "import torch; print(torch.cuda.get_device_name() if torch.cuda.is_available() else '')"
    return subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True).stdout.strip()


def _versions() -> str:
    said: list[str] = []
    for library in ("torch", "diffusers", "transformers", "accelerate"):
        try:
            said.append(f"{library} {version(library)}")
        except PackageNotFoundError:
            said.append(f"{library} ?")
    return ", ".join(said)


if __name__ == "__main__":
    main()
