"""The engine `videos-api`: a model on a server of the host's own, often on several GPUs.

Renders there cost nothing, so a job that a server forgot is simply asked for again; but not while the first one may
still render. What has been asked for is written down before it is looked at, so that another attempt of the take, after
a crash or in another generator, goes on waiting for it instead of beginning anew. A server that is down closes its
gate: its takes wait in line for it and lose no attempt. One that is up and fails a single take costs that an attempt.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from io import BytesIO
from itertools import count
from pathlib import Path
from time import monotonic

from PIL import Image

from clips.catalog import Model
from clips.domain import Fit, Plan
from clips.errors import CancelledError, RetryableError, SetupError
from clips.ffmpeg import VideoError
from clips.finished import adopt
from clips.hosted_jobs import Order, Outcome
from clips.photo import fit_photo
from generator.engines.base import Context, Job, Memory, Sink, TakeSeed
from generator.engines.gates import Gate
from generator.engines.http import GoneError, UnusableError, part_after, pauses, rest
from generator.engines.videos_api.dialects import form_of, tells_the_start
from generator.engines.videos_api.server import BusyError, ForgottenError, Remote, ServerError, Status, VideoServer

log = logging.getLogger(__name__)

_SILENCE = 60.0
"""Seconds for which a server may not answer while it renders: as long as its restart behind a proxy takes."""
_BUSY = 600.0
"""Seconds for which a server may be too busy to take the job; then the take goes back in line."""
_PATIENCE = 900.0
"""Seconds that a render may take at least, however short its plan says it is."""
_DOWNLOADS = 3
_PARTS = 100


class VideosApiEngine:
    """One model on one server. See `Engine`."""

    def __init__(
        self,
        model: Model,
        server: VideoServer,
        gate: Gate,
        *,
        pace: Callable[[], Iterator[float]] = pauses,
        silence: float = _SILENCE,
    ) -> None:
        """`pace` gives the seconds between looks; `silence` is how long the server may not answer one."""
        self._model = model
        self._server = server
        self._gate = gate
        self._pace = pace
        self._silence = silence

    async def close(self) -> None:
        """There is nothing to give back: the server keeps its model loaded."""

    async def render(self, job: Job, sink: Sink, context: Context) -> None:
        """See `Engine.render`: from a job on the server to a file. One take at a time, for the sake of its memory."""
        if job.folder is None or job.memory is None or len(job.takes) != 1:
            raise ValueError("what is rendered elsewhere is one take, with a folder and a memory")
        await self._make(job, job.takes[0], job.folder, job.memory, sink, context)

    async def _make(self, job: Job, take: TakeSeed, folder: Path, memory: Memory, sink: Sink, context: Context) -> None:
        waiting = _Waiting(self._model, job.plan, context)
        external_id = await self._resumed(memory)
        try:
            if external_id is None:
                external_id = await self._asked(job, take, memory, context)
            await self._finished(external_id, waiting, context)
            clip = await self._downloaded(external_id, folder, memory, context)
            await memory.settle(Outcome.SUCCEEDED, 0)
            sink.file(take.index, clip)
        except CancelledError:
            # The member's doing. Whoever else ends this leaves the job to the take's next attempt.
            if external_id is not None:
                await self._server.abort(external_id)
            raise

    async def _resumed(self, memory: Memory) -> str | None:
        """The job that an earlier attempt asked for, if its clip can still come; what cannot is struck out."""
        earlier = await memory.recall()
        if earlier is None or earlier.external_id is None:
            return None
        try:
            remote = await self._server.look(earlier.external_id)
        except ForgottenError:
            remote = None
        except (RetryableError, ServerError) as error:
            raise await self._gate.blame(error) from error
        if remote is not None and remote.status not in {Status.FAILED, Status.LOST}:
            log.info("Going on with what an earlier attempt asked for.")
            return earlier.external_id
        if remote is not None:
            await self._server.abort(earlier.external_id)
        await memory.forget(earlier.external_id)
        return None

    async def _asked(self, job: Job, take: TakeSeed, memory: Memory, context: Context) -> str:
        """A new job on the server, written down."""
        photo = await asyncio.to_thread(_fitted, job.inputs["photo"], job.plan, job.spec.fit)
        fields = form_of(self._model, job.spec, job.plan, take.seed)
        await memory.intend(Order(None, {"seed": take.seed}, (), 0))
        until = monotonic() + _BUSY
        context.report("queue", 0, 0)
        while True:
            context.raise_if_cancelled()
            try:
                remote = await self._server.create(fields, photo)
            except BusyError as busy:
                if monotonic() + busy.pause > until:
                    raise self._gate.close(str(busy)) from busy
                context.report("queue", 0, 0)
                await rest(context, busy.pause)
            except (RetryableError, ServerError) as error:
                raise await self._gate.blame(error) from error
            else:
                self._gate.prove()
                await memory.remember(remote.external_id)
                return remote.external_id

    async def _finished(self, external_id: str, waiting: "_Waiting", context: Context) -> None:
        """Wait for a job's end. Raises `RetryableError` where no clip comes of it, and what `context` raises."""
        silent_since: float | None = None
        for pause in self._pace():
            try:
                remote = await self._server.look(external_id)
            except ForgottenError as error:
                raise RetryableError(f"{error}; the take is rendered again") from error
            except (RetryableError, ServerError) as error:
                silent_since = silent_since or monotonic()
                if monotonic() - silent_since > self._silence:
                    raise await self._gate.blame(error) from error
            else:
                silent_since = None
                if self._over(remote):
                    return
                if waiting.too_long(remote):
                    await self._server.abort(external_id)
                    raise RetryableError(f"the server did not finish within {waiting.longest:.0f} s")
            await rest(context, pause)

    def _over(self, remote: Remote) -> bool:
        match remote.status:
            case Status.COMPLETED:
                return True
            case Status.FAILED:
                raise RetryableError(f"the server failed to render: {remote.reason or 'it did not say why'}")
            case Status.LOST:
                raise RetryableError("somebody aborted the job on the server; the take is rendered again")
            case Status.QUEUED | Status.IN_PROGRESS:
                return False

    async def _downloaded(self, external_id: str, folder: Path, memory: Memory, context: Context) -> Path:
        """The clip as a master. Raises `RetryableError`, and `SetupError` where the server gives none."""
        fetched, master = folder / "fetched", folder / "master.mp4"
        for attempt in count(1):
            context.raise_if_cancelled()
            context.report("decode", attempt, _DOWNLOADS)
            try:
                await self._server.fetch(external_id, fetched)
                await asyncio.to_thread(adopt, fetched, master, sound=False)
            except GoneError as error:
                # Another look would find it completed again, and again without its clip.
                await self._server.abort(external_id)
                await memory.forget(external_id)
                raise RetryableError(f"{error}; the take is rendered again") from error
            except (UnusableError, VideoError) as error:
                await self._server.abort(external_id)
                what = str(error) if isinstance(error, UnusableError) else "what came does not play"
                raise SetupError(f"{self._model.name}: {what}. See what its server puts out.") from error
            except RetryableError:
                if attempt == _DOWNLOADS:
                    raise
                await rest(context, attempt)
            else:
                return master
        raise AssertionError


class _Waiting:
    """The progress of one job: the server's own where it has any, else how long such a render takes."""

    def __init__(self, model: Model, plan: Plan, context: Context) -> None:
        self._queues = model.server is not None and tells_the_start(model.server.dialect)
        self._expected = float(plan.credits)
        self.longest = max(_PATIENCE, 10 * self._expected)
        self._context = context
        self._began_at: float | None = None
        self._shown = 0

    def too_long(self, remote: Remote) -> bool:
        """Tell of a job that is not over; whether it never will be."""
        now = monotonic()
        if self._began_at is None and not (self._queues and remote.status is Status.QUEUED):
            self._began_at = now
        if self._began_at is None:
            self._context.report("queue", 0, 0)
            return False
        part = remote.progress / 100 if 0 < remote.progress < 100 else part_after(now - self._began_at, self._expected)
        self._shown = max(self._shown, int(part * _PARTS))
        self._context.report("step", self._shown, _PARTS)
        return now - self._began_at > self.longest


def _fitted(photo: Path, plan: Plan, fit: Fit) -> bytes:
    """The photo as the clip's first frame, so that no server has to guess at another shape."""
    out = BytesIO()
    with Image.open(photo) as opened:
        fit_photo(opened.convert("RGB"), plan.width, plan.height, fit).save(out, "PNG")
    return out.getvalue()
