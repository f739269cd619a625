"""How a take's prediction is closed: what it cost is written down, and the member's files go from the provider."""

import logging
from collections.abc import Awaitable, Callable, Sequence

from clips.errors import RetryableError
from clips.hosted_jobs import Outcome
from generator.engines.replicate.api import AccountError, HasteError, Prediction, RefusedError, Replicate

log = logging.getLogger(__name__)

_CHARGED = {"succeeded", "canceled"}


def cost(prediction: Prediction, quote: int, usd_gpu_second: float | None) -> int:
    """What the provider charges, in microdollars: its machine's time where that has a price, else the quote.

    One cancelled while it ran may be charged; one that was aborted before it began or that failed is not.
    """
    if usd_gpu_second is not None and prediction.metrics and prediction.metrics.predict_time is not None:
        return round(usd_gpu_second * prediction.metrics.predict_time * 1e6)
    return quote if prediction.status in _CHARGED else 0


async def settle(
    api: Replicate,
    note: Callable[[Outcome, int], Awaitable[None]],
    files: Sequence[str],
    outcome: Outcome,
    microdollars: int,
) -> None:
    """`note` how it ended and what it cost, then remove the uploads."""
    await note(outcome, microdollars)
    await remove(api, files)


async def remove(api: Replicate, files: Sequence[str]) -> None:
    """Remove uploads. One that cannot be is left to the provider, where it expires."""
    for file_id in files:
        try:
            await api.delete_file(file_id)
        except (RetryableError, RefusedError, HasteError, AccountError) as error:
            log.warning("An upload stays at Replicate until it expires: %s", error)
