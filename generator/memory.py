"""What a take's job elsewhere leaves in the database, for whoever has the take next. The engines' `Memory`."""

from clips import hosted_jobs
from clips.catalog import Model
from clips.checkpoints import Checkpoint, Checkpoints
from clips.errors import LeaseLostError
from clips.hosted_jobs import HostedJob, Order, Outcome
from clips.postgres import Pool
from generator.insisting import insist
from generator.watch import Watch


class TakeMemory:
    """The memory of one claim. Every write is insisted on: what is paid for must not be lost to an outage."""

    def __init__(self, pool: Pool, watch: Watch, model: Model, checkpoints: Checkpoints) -> None:
        self._pool = pool
        self._watch = watch
        self._take_id = watch.claim.take_id
        self._provider = model.renderer
        self._checkpoints = checkpoints

    async def recall(self) -> HostedJob | None:
        return await insist(self._watch, lambda: hosted_jobs.recall(self._pool, self._take_id))

    async def intend(self, order: Order) -> HostedJob:
        claim, provider = self._watch.claim, self._provider
        job = await insist(self._watch, lambda: hosted_jobs.intend(self._pool, claim, provider, order))
        if job is None:
            raise LeaseLostError(f"take {self._take_id} belongs to another generator now")
        self._checkpoints.reached(Checkpoint.INTENDED)
        return job

    async def remember(self, external_id: str) -> None:
        self._checkpoints.reached(Checkpoint.CREATED)
        ours = await insist(
            self._watch,
            lambda: hosted_jobs.remember(self._pool, self._take_id, self._provider, external_id),
            last=True,
        )
        if not ours:
            raise LeaseLostError(f"take {self._take_id} waits for another job than {external_id}")
        self._checkpoints.reached(Checkpoint.REMEMBERED)

    async def forget(self, external_id: str) -> None:
        await insist(self._watch, lambda: hosted_jobs.forget(self._pool, self._take_id, external_id))

    async def withdraw(self) -> None:
        if not await insist(self._watch, lambda: hosted_jobs.withdraw(self._pool, self._watch.claim)):
            raise LeaseLostError(f"take {self._take_id} belongs to another generator now")

    async def settle(self, outcome: Outcome, microdollars: int) -> None:
        await insist(
            self._watch,
            lambda: hosted_jobs.settle(self._pool, self._take_id, outcome, microdollars),
            last=True,
        )
