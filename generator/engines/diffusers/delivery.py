"""What goes into a render and what comes out of it: photos in the clip's size, frames and sound in the sink's form."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from clips.photo import fit_photo
from generator.engines.base import Context, Job, Sink
from generator.engines.diffusers.pictures import AT_ONCE, in_bytes

if TYPE_CHECKING:
    from generator.engines.diffusers.family import Latents


class Delivery:
    """A job's frames and sound on their way to the sink, each once: a second try leaves out what the first one sent. It
    decodes the same latents, or the clip would go over into another.
    """

    def __init__(self, job: Job, sink: Sink, context: Context) -> None:
        self._plan = job.plan
        self._sink = sink
        self._context = context
        self._sent = {take.index: 0 for take in job.takes}
        self._sounded: set[int] = set()
        self._take = -1
        self._seen = 0
        self.latents: dict[int, Latents] = {}
        """Those of the take that is decoded, on its device, until it is whole: a decode holds them anyway."""

    def complete(self, take: int) -> bool:
        """Whether all frames of a take were sent."""
        return self._sent[take] == self._plan.frames

    def begin(self, take: int) -> None:
        """Expect the frames of a take, from its first one on."""
        self._take, self._seen = take, 0
        self.beat()

    def beat(self) -> None:
        """Tell how far the decode is, and end it if the take was cancelled."""
        if self._take >= 0:
            self._context.report("decode", sum(self._sent.values()), len(self._sent) * self._plan.frames)
        self._context.raise_if_cancelled()

    def frames(self, video: torch.Tensor) -> None:
        """See `Out`."""
        for made in in_bytes(video):
            self._next(made)

    def pictures(self, made: NDArray[np.uint8]) -> None:
        """See `Out`."""
        for first in range(0, len(made), AT_ONCE):
            self._next(made[first : first + AT_ONCE])

    def _next(self, frames: NDArray[np.uint8]) -> None:
        first, self._seen = self._seen, self._seen + len(frames)
        if self._seen > self._plan.frames or frames.shape[1:] != (self._plan.height, self._plan.width, 3):
            raise ValueError(f"the model decoded {self._seen} frames of {frames.shape[1:]}, planned were {self._plan}")
        new = frames[max(0, self._sent[self._take] - first) :]
        if len(new):
            self._sink.frames(self._take, new)
            self._sent[self._take] += len(new)
        self.beat()

    def sound(self, samples: torch.Tensor, rate: int) -> None:
        """See `Out`."""
        if self._take not in self._sounded:
            self._sink.sound(self._take, samples.float().cpu().numpy(), rate)
            self._sounded.add(self._take)
        self.beat()

    def end(self) -> None:
        """Raise `ValueError` where the take came to fewer frames than were planned."""
        if self._seen != self._plan.frames:
            raise ValueError(f"the model decoded {self._seen} frames of {self._plan.frames}")
        self._take = -1
        self.latents.clear()


def fitted(job: Job, name: str) -> Image.Image:
    """One of a job's photos, made to fit its clip."""
    with Image.open(job.inputs[name]) as photo:
        return fit_photo(photo.convert("RGB"), job.plan.width, job.plan.height, job.spec.fit)
