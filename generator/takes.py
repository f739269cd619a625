"""One take from its claim to its record: fetch the photo, load the engine, render into the encoder, store, record.

What comes after the render needs no engine, and shares nothing with the take that the engine renders meanwhile.
Every step can be repeated, and each outcome is decided by the database: what is left behind by a crash in between is a
lease that runs out, a blob that nothing refers to, and a folder that the next start clears.
"""

import asyncio
import logging
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from clips import queue, requests
from clips.blobs import BlobDamagedError, BlobMissingError, BlobStore
from clips.catalog import Model
from clips.checkpoints import Checkpoint, Checkpoints
from clips.domain import Plan, Sha256
from clips.errors import MemberError
from clips.ffmpeg import Encoded, probe
from clips.inputs import InputRole, named
from clips.postgres import Pool
from clips.queue import Ended
from clips.requests import Request
from clips.sound import Sound
from clips.video import Encoder
from generator.engines.base import Context, Engine, Job, Parkable, TakeSeed, Variation
from generator.engines.loading import versions
from generator.insisting import insist
from generator.memory import TakeMemory
from generator.recipes import Recipe
from generator.watch import Watch

log = logging.getLogger(__name__)

CLIP_TYPE = "video/mp4"


class Engines(Protocol):
    """Where the engine of a model comes from."""

    @property
    def loaded(self) -> list[str]:
        """The models in memory, by name."""
        ...

    async def engine(self, model: Model, context: Context) -> Engine:
        """The model's engine, ready to render."""
        ...


@dataclass(frozen=True, slots=True)
class Workshop:
    """What every take is made with. `folder` is for files under way."""

    pool: Pool
    blobs: BlobStore
    models: Mapping[str, Model]
    shelf: Engines
    folder: Path
    checkpoints: Checkpoints


async def make(shop: Workshop, watch: Watch) -> Ended:
    """Make a claimed take. Raises what ends it otherwise: see `Context`, and `generator.faults` for the rest."""
    shop.checkpoints.reached(Checkpoint.CLAIMED)
    request, take = await insist(watch, lambda: _read(shop.pool, watch))
    log.info("Take %d of request %d begins (trace %s).", watch.claim.take_id, request.request_id, request.trace_id)
    model = shop.models[request.spec.model]
    with tempfile.TemporaryDirectory(dir=shop.folder) as folder:
        inputs = await _fetch(shop.blobs, request, Path(folder), watch)
        engine = await shop.shelf.engine(model, watch)
        watch.raise_if_cancelled()
        memory = TakeMemory(shop.pool, watch, model, shop.checkpoints)
        job = Job(request.spec, request.plan, inputs, [take], Path(folder), memory)
        clip, manner = await _render(engine, job, Path(folder, "clip.mp4"), watch, shop.checkpoints)
        shop.checkpoints.reached(Checkpoint.ENCODED)
        watch.report("store", 0, 1)
        master = await insist(watch, lambda: shop.blobs.put(shop.pool, clip.path, CLIP_TYPE))
    shop.checkpoints.reached(Checkpoint.STORED)
    recipe = Recipe.of(request, take, model, engine, {**versions(model), **manner}).as_json()
    ended = await insist(
        watch, lambda: queue.record(shop.pool, watch.claim, master, clip, watch.gpu, recipe), last=True
    )
    shop.checkpoints.reached(Checkpoint.RECORDED)
    return ended


async def _read(pool: Pool, watch: Watch) -> tuple[Request, TakeSeed]:
    """The request of a claim and the take's seeds."""
    claim = watch.claim
    whole = await requests.read(pool, claim.guild_id, claim.request_id)
    if whole is None:
        raise LookupError(f"take {claim.take_id} belongs to request {claim.request_id}, which there is not")
    first, *mixed = await requests.seeds(pool, claim.guild_id, claim.take_id)
    if first.variation is not None:
        raise LookupError(f"take {claim.take_id} varies a take that there is not")
    variations = tuple(Variation(later.seed, later.variation or 0.0) for later in mixed)
    return whole.request, TakeSeed(claim.index, first.seed, variations)


async def _fetch(blobs: BlobStore, request: Request, folder: Path, watch: Watch) -> dict[str, Path]:
    """The request's pictures and videos as files, by the names that engines know them by."""
    wanted = {"photo": request.photo, "end_photo": request.end_photo, **named(request.inputs)}
    inputs: dict[str, Path] = {}
    for name, sha256 in wanted.items():
        if sha256 is not None:
            inputs[name] = folder / f"{name}.{'mp4' if name == InputRole.MOTION_VIDEO else 'png'}"
            await insist(watch, partial(_fetch_one, blobs, sha256, inputs[name]))
    return inputs


async def _fetch_one(blobs: BlobStore, sha256: Sha256, path: Path) -> None:
    try:
        await blobs.fetch_to(sha256, path)
    except (BlobMissingError, BlobDamagedError) as error:
        what = "video" if path.suffix == ".mp4" else "photo"
        raise MemberError(f"The {what} is not stored any more. Upload it again.") from error


async def _render(
    engine: Engine, job: Job, path: Path, watch: Watch, checkpoints: Checkpoints
) -> tuple[Encoded, Mapping[str, str]]:
    """Render and encode at once: the clip, and the manner in which it was rendered. The engine's time is measured;
    loading and the encoder's last frames are free.
    """
    with _Reel(path, job.plan, watch, checkpoints) as reel:
        with watch.measuring():
            await engine.render(job, reel, watch)
        # Once the engine is known to be free, another take may change its manner, or close it to make room.
        manner = engine.manner if isinstance(engine, Parkable) else {}
        watch.rendered.set()
        return await asyncio.to_thread(reel.finish), manner


class _Reel:
    """The `Sink` of one take: frames and sound go to the encoder, and show that the engine lives; or a file comes."""

    def __init__(self, path: Path, plan: Plan, watch: Watch, checkpoints: Checkpoints) -> None:
        self._path = path
        self._plan = plan
        self._watch = watch
        self._checkpoints = checkpoints
        self._encoder: Encoder | None = None

    def frames(self, take: int, frames: NDArray[np.uint8]) -> None:
        self._encoding(take).write(frames)
        self._checkpoints.reached(Checkpoint.RENDERING)
        self._watch.stir()

    def sound(self, take: int, samples: NDArray[np.float32], rate: int) -> None:
        self._encoding(take).sound(Sound.of(samples, rate))
        self._watch.stir()

    def file(self, take: int, path: Path) -> None:
        self._check(take)
        path.replace(self._path)
        self._checkpoints.reached(Checkpoint.FETCHED)

    def finish(self) -> Encoded:
        """The clip, whole and checked. Raises `VideoError` where there is none."""
        return self._encoder.finish() if self._encoder else probe(self._path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._encoder:
            self._encoder.abort()

    def _encoding(self, take: int) -> Encoder:
        """The encoder, started by the first frames: a take that comes whole needs none."""
        self._check(take)
        if self._encoder is None:
            self._encoder = Encoder(self._path, self._plan.width, self._plan.height, self._plan.fps)
        return self._encoder

    def _check(self, take: int) -> None:
        if take != self._watch.claim.index:
            raise ValueError(f"the engine rendered take {take} and was asked for {self._watch.claim.index}")
