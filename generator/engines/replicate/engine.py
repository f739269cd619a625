"""A model that Replicate runs. Every take is one prediction, and whatever breaks, it is paid for once.

An attempt that comes after another goes on where that one was: with the prediction it asked for, else with the search
for it (`paying`). An engine that is stopped leaves the prediction running; the take's next attempt fetches the clip.
"""

import asyncio

from clips.errors import CancelledError, MemberError
from generator.engines.base import Context, Job, Sink
from generator.engines.ends import see_out
from generator.engines.replicate.rendering import Bench, Rendering


class ReplicateEngine:
    """One model of the account. See `Engine`. Any number of renders may run at once."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    async def close(self) -> None:
        """There is nothing to give back: the connections are the account's."""

    async def render(self, job: Job, sink: Sink, context: Context) -> None:
        """See `Engine.render`. Of a cancelled take the prediction is cancelled too; otherwise it is left to go on."""
        if job.memory is None or job.folder is None or len(job.takes) != 1:
            raise ValueError("what is paid for is remembered, and one take at a time")
        if job.plan.microdollars <= 0:
            # Asked for by a catalogue in which it costs nothing: nobody approved what it costs here.
            raise MemberError(
                f"{self._bench.model.title} is billed by its provider, and this was asked for without a price. Ask "
                "again, or pick another model."
            )
        rendering = Rendering(self._bench, job, job.takes[0], job.memory, job.folder)
        work = asyncio.create_task(rendering.run())
        try:
            while not work.done():
                context.raise_if_cancelled()
                context.report(*rendering.progress)
                await asyncio.wait({work}, timeout=self._bench.pace.notice)
        except CancelledError:
            work.cancel()
            await see_out(work)
            await rendering.abandon()
            raise
        except BaseException:
            work.cancel()
            await see_out(work)
            raise
        sink.file(job.takes[0].index, work.result())
