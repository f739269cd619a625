"""The tiny models of all families: what the shared tests run over. A new family's are added here."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import tiny_cogvideox
import tiny_framepack
import tiny_hunyuan
import tiny_hunyuan15
import tiny_ltx
import tiny_skyreels
import tiny_unets
import tiny_wan
from engine_harness import Collected, Told, job_of
from numpy.typing import NDArray
from PIL import Image
from tiny import Shot, Tiny

from clips.catalog import Catalog, Model
from clips.domain import ClipSpec
from clips.photo import fit_photo
from generator.engines.base import Job, TakeSeed
from generator.engines.diffusers.engine import DiffusersEngine
from generator.engines.prompts import prompt

FAMILIES: tuple[Tiny, ...] = (
    *tiny_wan.TINIES,
    *tiny_ltx.TINIES,
    *tiny_unets.TINIES,
    *tiny_cogvideox.TINIES,
    *tiny_hunyuan.TINIES,
    *tiny_hunyuan15.TINIES,
    *tiny_framepack.TINIES,
    *tiny_skyreels.TINIES,
)

BY_ENTRY = {tiny.entry: tiny for tiny in FAMILIES}

ONE_EACH = tuple({Catalog.load().find(tiny.entry).family: tiny for tiny in reversed(FAMILIES)}.values())
"""One of each adapter, the last family first."""

WORDS = ClipSpec(model="tiny", motion="the leaves rustle")


@dataclass(frozen=True)
class Loaded:
    """A family's tiny model in an engine."""

    tiny: Tiny
    folder: Path
    model: Model
    engine: DiffusersEngine
    photo: Path
    kept: list[Collected] = field(default_factory=list[Collected])

    def job(self, *seeds: int, takes: Sequence[TakeSeed] = (), spec: ClipSpec = WORDS, end_photo: bool = False) -> Job:
        """A job that the model takes, with an end photo where it needs or is given one."""
        names = self.tiny.needs | ({"end_photo"} if end_photo else set())
        job = job_of(self.photo, *seeds, takes=takes, spec=spec, plan=self.tiny.plan)
        return replace(job, inputs={"photo": self.photo, **dict.fromkeys(names, self.photo)})

    async def render(self, job: Job, told: Told | None = None) -> Collected:
        """What comes of a job."""
        sink = Collected()
        await self.engine.render(job, sink, told or Told())
        return sink

    def expected(self, job: Job) -> NDArray[np.float32]:
        """What the pipeline alone makes of a job's first take: frames (n, height, width, 3) from 0 to 1."""
        plan, spec = job.plan, job.spec
        with Image.open(self.photo) as image:
            fitted = fit_photo(image.convert("RGB"), plan.width, plan.height)
        ending = fitted if "end_photo" in job.inputs else None
        shot = Shot(fitted, ending, prompt(spec), spec.avoid, job.takes[0].seed, plan, self.model)
        return self.tiny.plain(self.folder, shot)

    async def usual(self) -> Collected:
        """What comes of seed 7: rendered once."""
        if not self.kept:
            self.kept.append(await self.render(self.job(7)))
        return self.kept[0]


def digest(made: Collected) -> str:
    """Of the first take's frames."""
    return hashlib.sha256(made.clip().tobytes()).hexdigest()
