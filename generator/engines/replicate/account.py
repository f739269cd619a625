"""The host's account at Replicate: its engines, its gate, and what takes left behind there."""

import logging
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Self

from pydantic import SecretStr
from yarl import URL

from clips import hosted_jobs
from clips.catalog import Model
from clips.errors import SetupError, ZoetropeError
from clips.hosted_jobs import HostedJob, Outcome
from clips.postgres import OUTAGE, Pool
from generator.engines.base import Context, Engine
from generator.engines.gates import Gate
from generator.engines.replicate.api import RefusedError, Replicate
from generator.engines.replicate.engine import ReplicateEngine
from generator.engines.replicate.paying import Cashier, Pace, UndecidedError
from generator.engines.replicate.rendering import Bench
from generator.engines.replicate.settling import cost, settle
from generator.engines.upkeep import keep
from generator.engines.wakes import Calls

log = logging.getLogger(__name__)

PROVIDER = "replicate"
PACE = Pace()


class ReplicateAccount:
    """Gives the engines of its models; nothing of theirs is in memory here. `keep` runs beside them."""

    def __init__(
        self, api: Replicate, pool: Pool, pace: Pace, models: Iterable[Model], calls: Calls | None = None
    ) -> None:
        self._api = api
        self._pool = pool
        self._pace = pace
        self._calls = calls or Calls()
        hosted = [model.hosted for model in models if model.hosted]
        self._rates = {one.slug: one.usd_gpu_second for one in hosted}
        self._cashier = Cashier(api, self._taken, partial(hosted_jobs.note_surplus, pool), pace)
        self.gate = Gate("Replicate", api.check)
        self.loaded: list[str] = []

    @classmethod
    @asynccontextmanager
    async def open(
        cls, url: str, key: SecretStr, pool: Pool, models: Iterable[Model], calls: Calls | None = None
    ) -> AsyncGenerator[Self]:
        """The account behind a key, checked: it is announced closed where the key is not taken."""
        async with Replicate.open(URL(url), key) as api:
            account = cls(api, pool, PACE, models, calls)
            await account.gate.examine()
            yield account

    async def engine(self, model: Model, context: Context) -> Engine:
        """The model's engine. Nothing is loaded, so there is nothing to cancel."""
        del context
        if model.hosted is None:
            raise SetupError(f"{model.name} is not hosted.")
        bench = Bench(model, model.hosted, self._api, self._cashier, self.gate, self._pace, self._calls)
        return ReplicateEngine(bench)

    async def keep(self) -> None:
        """Open the gate when it can be, and tidy up what takes left behind, for ever."""
        await keep(self.gate, self.tidy)

    async def tidy(self) -> None:
        """End all predictions of takes that are over. One that cannot be ended keeps none of the others waiting."""
        for job in await hosted_jobs.left_behind(self._pool, PROVIDER, self._api.account):
            try:
                await self.end(job)
            except (ZoetropeError, *OUTAGE) as error:
                log.warning("What take %d left behind at Replicate is looked at later: %s", job.take_id, error)

    async def end(self, job: HostedJob) -> None:
        """End the prediction of a take that is over without it, and note what that cost."""
        external_id = job.external_id
        if external_id is None:
            try:
                found = await self._cashier.search(job)
            except UndecidedError as error:
                log.critical("Take %d may have cost something at Replicate: %s.", job.take_id, error)
                await self._settle(job, Outcome.UNDECIDED, job.order.price)
                return
            if found is None:
                await self._settle(job, Outcome.CANCELLED, 0)
                return
            external_id = found.id
        await self._api.cancel(external_id)
        try:
            prediction = await self._api.get(external_id)
        except RefusedError:  # forgotten there
            await self._settle(job, Outcome.CANCELLED, job.order.price)
            return
        if prediction.over:
            rate = self._rates.get(str(job.order.body.get("version")).partition(":")[0])
            await self._settle(job, Outcome.CANCELLED, cost(prediction, job.order.price, rate))
            log.info("The prediction of take %d, which is over, has ended: %s.", job.take_id, prediction.status)

    async def _settle(self, job: HostedJob, outcome: Outcome, microdollars: int) -> None:
        note = partial(hosted_jobs.settle, self._pool, job.take_id)
        await settle(self._api, note, job.order.files, outcome, microdollars)

    async def _taken(self, external_ids: Sequence[str]) -> set[str]:
        return await hosted_jobs.known(self._pool, PROVIDER, external_ids)
