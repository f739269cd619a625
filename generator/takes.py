"""One take from its claim to its record: fetch the photo, load the engine, render into the encoder, store, record.

Every step can be repeated, and each outcome is decided by the database: what is left behind by a crash in between is a
lease that runs out, a blob that nothing refers to, and a folder that the next start clears.
"""

import asyncio
import logging
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from clips import queue, requests
from clips.blobs import BlobDamagedError, BlobMissingError, BlobStore
from clips.catalog import Model
from clips.checkpoints import Checkpoint, Checkpoints
from clips.domain import Sha256
from clips.errors import MemberError, RetryableError
from clips.ffmpeg import Encoded
from clips.inputs import InputRole, named
from clips.postgres import OUTAGE, Pool
from clips.queue import Ended
from clips.requests import Request
from clips.sound import Sound
from clips.video import Encoder
from generator.engines.base import Engine, Job, TakeSeed, Variation
from generator.engines.loading import Shelf, versions
from generator.recipes import Recipe
from generator.watch import Watch

log = logging.getLogger(__name__)

CLIP_TYPE = "video/mp4"
_PATIENCE = 300.0
"""Seconds: a render is worth a wait for the blob store."""
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Workshop:
    """What every take is made with. `folder` is for files under way."""

    pool: Pool
    blobs: BlobStore
    models: Mapping[str, Model]
    shelf: Shelf
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
        job = Job(request.spec, request.plan, inputs, [take])
        clip = await _render(engine, job, Path(folder, "clip.mp4"), watch, shop.checkpoints)
        shop.checkpoints.reached(Checkpoint.ENCODED)
        watch.report("store", 0, 1)
        master = await insist(watch, lambda: shop.blobs.put(shop.pool, clip.path, CLIP_TYPE))
    shop.checkpoints.reached(Checkpoint.STORED)
    recipe = Recipe.of(request, take, model, versions(model)).as_json()
    ended = await insist(
        watch, lambda: queue.record(shop.pool, watch.claim, master, clip, watch.gpu, recipe), last=True
    )
    shop.checkpoints.reached(Checkpoint.RECORDED)
    return ended


async def insist(watch: Watch, step: Callable[[], Awaitable[_Result]], *, last: bool = False) -> _Result:
    """Repeat a step while the database or the blob store is away: for five minutes, the last one for however long.

    Between attempts it raises `LeaseLostError` or `StoppingError` where the take is no longer to be finished here.
    """
    began = monotonic()
    while True:
        try:
            return await step()
        except (RetryableError, *OUTAGE) as error:
            watch.raise_if_over()
            # An error of the statement itself would come for ever; the last step outlasts nothing but outages.
            if monotonic() - began > _PATIENCE and not (last and isinstance(error, RetryableError)):
                raise
            log.warning("Take %d waits for what is away: %s", watch.claim.take_id, error)
            watch.stir()
        await asyncio.sleep(0.5)


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


async def _render(engine: Engine, job: Job, path: Path, watch: Watch, checkpoints: Checkpoints) -> Encoded:
    """Render and encode at once. The engine's time is measured; loading and the encoder's last frames are free."""
    with Encoder(path, job.plan.width, job.plan.height, job.plan.fps) as encoder:
        with watch.measuring():
            await engine.render(job, _Reel(encoder, watch, checkpoints), watch)
        return await asyncio.to_thread(encoder.finish)


class _Reel:
    """The `Sink` of one take: its frames and sound go to the encoder, and show that the engine lives."""

    def __init__(self, encoder: Encoder, watch: Watch, checkpoints: Checkpoints) -> None:
        self._encoder = encoder
        self._watch = watch
        self._checkpoints = checkpoints

    def frames(self, take: int, frames: NDArray[np.uint8]) -> None:
        self._check(take)
        self._encoder.write(frames)
        self._checkpoints.reached(Checkpoint.RENDERING)
        self._watch.stir()

    def sound(self, take: int, samples: NDArray[np.float32], rate: int) -> None:
        self._check(take)
        self._encoder.sound(Sound.of(samples, rate))
        self._watch.stir()

    def _check(self, take: int) -> None:
        if take != self._watch.claim.index:
            raise ValueError(f"the engine rendered take {take} and was asked for {self._watch.claim.index}")
