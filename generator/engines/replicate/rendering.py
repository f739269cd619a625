"""One take on its way through Replicate: uploaded, predicted, waited for, fetched, and its cost written down."""

import asyncio
import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from time import monotonic

from PIL import Image
from yarl import URL

from clips.catalog import Model
from clips.errors import LeaseLostError, MemberError, RetryableError
from clips.ffmpeg import Encoded
from clips.finished import adopt
from clips.hosted_jobs import HostedJob, Order, Outcome
from clips.hosting import Hosted
from generator.engines.base import Job, Memory, TakeSeed
from generator.engines.gates import Gate
from generator.engines.http import ForbiddenAddressError, GoneError, UnusableError, download, part_after, pauses
from generator.engines.replicate.api import AccountError, HasteError, Prediction, RefusedError, Replicate
from generator.engines.replicate.paying import Cashier, Pace, UndecidedError, patiently
from generator.engines.replicate.settling import cost, remove, settle
from generator.engines.replicate.words import refusal
from generator.engines.wakes import Calls

log = logging.getLogger(__name__)

_SILENCE = 600.0
"""Seconds for which the provider may not answer while a prediction runs."""
_SMALL = 8 * 1024 * 1024
"""Bytes that every model takes as a picture."""
_BOOT, _PER_SECOND = 20.0, 12.0
"""Seconds that a prediction takes, and more for each second of its clip: for a bar, no promise."""
_PARTS = 100
_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".mp4": "video/mp4"}


@dataclass(frozen=True, slots=True)
class Bench:
    """What the takes of one model are made with."""

    model: Model
    hosted: Hosted
    api: Replicate
    cashier: Cashier
    gate: Gate
    pace: Pace
    calls: Calls = field(default_factory=Calls)


class Rendering:
    """The take's present attempt."""

    def __init__(self, bench: Bench, job: Job, take: TakeSeed, memory: Memory, folder: Path) -> None:
        self._bench = bench
        self._job = job
        self._take = take
        self._memory = memory
        self._folder = folder
        self._files: list[str] = []
        self._began: datetime | None = None
        self._shown = 0

    @property
    def progress(self) -> tuple[str, int, int]:
        """The phase, the part done, the whole: by the time that it usually takes."""
        if self._began is None:
            return "queue", 0, 0
        elapsed = (datetime.now(UTC) - self._began).total_seconds()
        expected = _BOOT + _PER_SECOND * self._job.plan.seconds
        self._shown = max(self._shown, int(_PARTS * part_after(elapsed, expected)))
        return "part", self._shown, _PARTS

    async def run(self) -> Path:
        """The finished clip as a file. Raises as `Engine.render`."""
        try:
            prediction = await self._over(await self._prediction())
        except AccountError as error:
            raise self._bench.gate.close(str(error)) from error
        match prediction.status:
            case "succeeded":
                return await self._fetched(prediction)
            case "canceled" | "aborted":
                await self._settle(Outcome.CANCELLED, self._cost(prediction))
                raise MemberError(f"{self._title} was stopped at its provider before the end. Try again.")
            case _:
                await self._settle(Outcome.FAILED, self._cost(prediction))
                raise refusal(self._bench.model, prediction.error)

    async def abandon(self) -> None:
        """The member cancelled: end the prediction too, and note what it cost. What fails here is tidied up later."""
        try:
            job = await self._memory.recall()
            if job is None:
                await self._take_back()
            if job is None or job.external_id is None:
                return
            await self._bench.api.cancel(job.external_id)
            for pause in (0.2, 0.5, 1.0, 2.0):
                prediction = await self._bench.api.get(job.external_id)
                if prediction.over:
                    outcome = Outcome.SUCCEEDED if prediction.status == "succeeded" else Outcome.CANCELLED
                    await self._settle(outcome, self._cost(prediction))
                    return
                await asyncio.sleep(pause)
        except (RetryableError, RefusedError, HasteError, AccountError) as error:
            log.warning("A cancelled prediction is left to be tidied up: %s", error)

    @property
    def _title(self) -> str:
        return self._bench.model.title

    async def _prediction(self) -> Prediction:
        """The take's one prediction: an earlier attempt's, or a new one."""
        job = await self._memory.recall()
        if job is not None:
            self._files = list(job.order.files)
            if job.order.account not in {None, self._bench.api.account}:
                # Not to be found from here: what pays for it may come for it, and nobody pays twice.
                raise RetryableError(f"it was asked for by another account, {job.order.account}")
        try:
            if job is None:
                return await self._predicted(await self._ordered())
            if job.external_id is not None:
                return await self._known(job, job.external_id)
            if job.outcome is not None:
                raise MemberError(f"{self._title} did not take this. Try again, or pick another model.")
            log.info("An earlier attempt was about to ask Replicate; looking for what came of it.")
            found = await self._bench.cashier.found(self._memory, job)
            return found or await self._predicted(job.order)
        except UndecidedError as error:
            log.critical("It cannot be decided whether Replicate has a prediction of a take: %s.", error)
            await self._settle(Outcome.UNDECIDED, self._job.plan.microdollars)
            raise MemberError(
                f"{self._title}'s provider was asked for this and does not say whether it began. It is not asked "
                "twice, so that nothing is paid twice; the host of this bot is told. Try again."
            ) from error
        except RefusedError as error:
            await self._settle(Outcome.FAILED, 0)
            log.warning("Replicate refuses what %s asks for: %s", self._bench.model.name, error)
            raise MemberError(
                f"{self._title}'s provider does not take this request (“{error.detail}”). Tell the host of "
                "this bot, or pick another model."
            ) from error

    async def _known(self, job: HostedJob, external_id: str) -> Prediction:
        try:
            return await patiently(lambda: self._bench.api.get(external_id), self._bench.pace)
        except RefusedError as error:
            await self._settle(Outcome.FAILED, job.order.price)
            raise MemberError(f"{self._title}'s provider has lost this. Try again.") from error

    async def _ordered(self) -> Order:
        """The order. Where there comes none, nobody will ever know of what was uploaded so far: it goes again."""
        try:
            return await self._order()
        except BaseException:
            await self._take_back()
            raise

    async def _predicted(self, order: Order) -> Prediction:
        """A new prediction. Where there is none and the order was struck out again, its uploads go too."""
        try:
            return await self._bench.cashier.predicted(self._memory, order)
        except LeaseLostError:
            raise  # whoever has the take may need them
        except BaseException:
            if await self._memory.recall() is None:
                await self._take_back()
            raise

    async def _order(self) -> Order:
        """Upload what the model needs; the first file's address is the take's mark."""
        try:
            version = await patiently(self._version, self._bench.pace, attempts=3)
            addresses: dict[str, str] = {}
            for name, path in self._job.inputs.items():
                small = await asyncio.to_thread(_small, path)
                kind = _TYPES[small.suffix]
                upload = partial(self._bench.api.upload, small, kind, f"{name}{small.suffix}")
                uploaded = await patiently(upload, self._bench.pace, attempts=3)
                addresses[name] = uploaded.urls.get
                self._files.append(uploaded.id)
        except RetryableError as error:
            raise await self._bench.gate.blame(error) from error
        size = self._bench.model.size_of(self._job.spec)
        given = self._bench.hosted.input_for(self._job.spec, self._job.plan, size, self._take.seed, addresses)
        mark = next(iter(addresses.values()), None)
        body: dict[str, object] = {"version": version, "input": given}
        if self._bench.calls.address is not None:
            body |= {"webhook": self._bench.calls.address, "webhook_events_filter": ["completed"]}
        return Order(mark, body, self._files, self._job.plan.microdollars, self._bench.api.account)

    async def _version(self) -> str:
        """What is asked for: an official model by its name, a community's by its version too."""
        slug, version = self._bench.hosted.slug, self._bench.hosted.version
        if version is None:
            return slug
        whole = version if len(version) == 64 else await self._bench.api.version(slug, version)
        return f"{slug}:{whole}"

    async def _over(self, prediction: Prediction) -> Prediction:
        """Wait until it is over."""
        self._bench.gate.prove()
        self._began = prediction.created_at or datetime.now(UTC)
        until = monotonic() + self._bench.pace.longest
        heard_at = monotonic()
        with self._bench.calls.wakes.awaiting(prediction.id) as rest:
            for pause in pauses(first=self._bench.pace.first, most=self._bench.pace.most):
                if prediction.over:
                    return prediction
                if monotonic() > until:
                    # What it costs is not known before it has heard this: it is tidied up once the take is over.
                    await self._bench.api.cancel(prediction.id)
                    raise MemberError(
                        f"{self._title} did not come to an end at its provider. Try again, or another model."
                    )
                await rest.pause(pause)
                try:
                    prediction = await self._bench.api.get(prediction.id)
                    heard_at = monotonic()
                except HasteError as haste:
                    await asyncio.sleep(haste.pause)
                except RetryableError:
                    if monotonic() - heard_at > _SILENCE:
                        raise
        raise AssertionError

    async def _fetched(self, prediction: Prediction) -> Path:
        """The clip, downloaded at once: it lives for an hour there.

        A `VideoError` may be this machine's own (ffmpeg killed, or too slow): the next attempt fetches the clip again.
        """
        clip = self._folder / "master.mp4"
        try:
            fetched = await self._downloaded(prediction)
            made = await asyncio.to_thread(adopt, fetched, clip, sound=self._job.spec.audible)
        except GoneError as error:
            await self._settle(Outcome.FAILED, self._cost(prediction))
            raise MemberError(
                f"The clip of {self._title} was gone from its provider before it could be fetched. Try again."
            ) from error
        except (UnusableError, ForbiddenAddressError) as error:
            await self._settle(Outcome.FAILED, self._cost(prediction))
            raise MemberError(
                f"What {self._title}'s provider gave back is no clip that plays. Try again, or pick another model."
            ) from error
        await self._settle(Outcome.SUCCEEDED, self._cost(prediction, made))
        return clip

    async def _downloaded(self, prediction: Prediction) -> Path:
        if prediction.clip is None:
            raise GoneError("there is no clip any more" if prediction.data_removed else "nothing came out")
        try:
            address = URL(prediction.clip, encoded=True)
        except ValueError as error:
            raise UnusableError("what came out has no address") from error
        fetched = self._folder / "fetched"
        await patiently(lambda: download(self._bench.api.session, address, fetched), self._bench.pace, attempts=4)
        return fetched

    def _cost(self, prediction: Prediction, made: Encoded | None = None) -> int:
        """What the provider charges, in microdollars, for the seconds that came out."""
        hosted, plan, spec = self._bench.hosted, self._job.plan, self._job.spec
        seconds = made.seconds if made else plan.seconds
        quote = hosted.microdollars(seconds, self._bench.model.size_of(spec), sound=spec.audible)
        return cost(prediction, quote, hosted.usd_gpu_second)

    async def _settle(self, outcome: Outcome, microdollars: int) -> None:
        await settle(self._bench.api, self._memory.settle, self._files, outcome, microdollars)

    async def _take_back(self) -> None:
        """Remove what was uploaded for an order that is not written down."""
        files, self._files = self._files, []
        await remove(self._bench.api, files)


def _small(path: Path) -> Path:
    """The file, or a JPEG of it where it is a picture too heavy for some models."""
    if path.suffix != ".png" or path.stat().st_size <= _SMALL:
        return path
    lighter = path.with_suffix(".jpg")
    with Image.open(path) as opened:
        opened.convert("RGB").save(lighter, "JPEG", quality=93)
    return lighter
