"""How far the load of a model is."""

from generator.engines.base import Context
from generator.engines.diffusers.download import Advance


class LoadProgress:
    """Bytes that come from the hub, then bytes that are read, as one progress: the phase `load`, in kilobytes.

    What is done falls back only where a load begins anew, by a leaner plan.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._fetched = 0
        self._done = 0
        self._total = 0

    def fetching(self, missing: int, weights: int) -> Advance:
        """Begin with `missing` bytes to come, and as many to be read then as there are `weights`. See `Begin`."""
        self._fetched, self._total = missing, missing + weights
        return self._advance

    def reading(self, size: int) -> Advance:
        """Begin to read, for the first time or anew: `size` bytes, which is what there are `weights`, or less of it."""
        self._done, self._total = self._fetched, self._fetched + size
        return self._advance

    def _advance(self, count: int) -> None:
        """Tell so many bytes more. Raises what the context raises."""
        self._done += count
        self._context.report("load", self._done // 1000, self._total // 1000)
        self._context.raise_if_cancelled()
