"""One loaded model and how it renders: the part that all families share. Synchronous, for one thread.

Knows what an engine is asked for and nothing of queues, files of clips or event loops. A take depends on its own seed
and the job alone: not on its neighbours, nor on what was rendered or cancelled before.
"""

import gc
from contextlib import ExitStack
from typing import Self

import numpy as np
import torch
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from numpy.typing import NDArray
from PIL import Image

from clips.catalog import Model
from clips.errors import FatalEngineError, MemberError
from clips.photo import fit_photo
from generator.engines.base import Context, Job, Sink
from generator.engines.diffusers.family import Family, Scene, family_of
from generator.engines.diffusers.loading import Placement, choose_device, load_pipeline
from generator.engines.diffusers.noise import Noise
from generator.engines.diffusers.steering import Encodes, StepBar, replaced
from generator.engines.diffusers.weights import Advance, find_all

_CONSISTENCY = 0.7  # where the member asks for none


class Runner:
    """A model on its device. All calls, `load` too, come from the same thread: a CUDA context belongs to it."""

    def __init__(
        self,
        model: Model,
        family: Family[DiffusionPipeline],
        pipe: DiffusionPipeline,
        device: torch.device,
        placement: Placement,
    ) -> None:
        self._model = model
        self._family = family
        self._pipe = pipe
        self._device = device
        self._encodes = Encodes(family.encoders())
        self._lean = False
        self.placement = placement

    @classmethod
    def load(cls, model: Model, device: str, context: Context) -> Self:
        """Get the weights and load them, told as `load` in bytes. Raises `SetupError`, `RetryableError`."""
        family = family_of(model)
        chosen = choose_device(device)
        progress = _Bytes(context)
        sources = find_all(model, progress.begin)
        pipe, placement = load_pipeline(family, sources, chosen, progress.begin)
        return cls(model, family(pipe, model), pipe, chosen, placement)

    def render(self, job: Job, sink: Sink, context: Context) -> None:
        """Render the takes of a job, one after another; see `Engine.render`.

        Out of GPU memory, the job goes on once with less of everything on the GPU. Raises `MemberError` where that is
        still too much, `FatalEngineError` after which this process can use its GPU no more, and what context raises.
        """
        delivery = _Delivery(job, sink, context)
        try:
            if self._attempt(job, delivery, context):
                return
            if not self._lean:
                self._go_lean()
                if self._attempt(job, delivery, context):
                    return
            self._free_memory()
        except RuntimeError as error:
            if _is_fatal(error):
                raise FatalEngineError(f"{self._model.name}: the GPU failed: {error}") from error
            raise
        plan = job.plan
        raise MemberError(
            f"{plan.width}x{plan.height} with {plan.frames} frames is too large for this GPU. Take a shorter clip or a "
            "smaller size, or another model."
        )

    def close(self) -> None:
        """Give the memory back. Nothing can be rendered after it."""
        self._encodes.forget()
        self._pipe.remove_all_hooks()
        self._pipe.to("meta")
        self._free_memory()

    def _attempt(self, job: Job, delivery: "_Delivery", context: Context) -> bool:
        """Render what the delivery lacks. False: out of GPU memory."""
        try:
            with torch.no_grad():
                self._takes(job, delivery, context)
        except RuntimeError as error:
            if _is_out_of_memory(error):
                return False
            raise
        finally:
            self._pipe.maybe_free_model_hooks()  # or step caches of a broken-off render leak into the next one
        return True

    def _takes(self, job: Job, delivery: "_Delivery", context: Context) -> None:
        self._family.check(job.plan, job.inputs.keys())
        scene = self._scene(job)
        updates = self._family.updates(scene)
        with ExitStack() as stack:
            stack.enter_context(self._encodes.reused(context))
            for decoder in self._family.decoders():
                stack.callback(decoder.register_forward_pre_hook(lambda *_: delivery.beat()).remove)
            for position, take in enumerate(job.takes):
                if delivery.complete(take.index):
                    continue
                context.raise_if_cancelled()
                noise, bar = Noise(take), StepBar(context, position * updates, len(job.takes) * updates)
                with noise.everywhere(self._device):
                    with replaced(self._pipe, "progress_bar", bar):
                        latents = self._family.denoise(scene, noise)
                    if not all(torch.isfinite(part).all() for part in latents):
                        raise ArithmeticError(f"{self._model.name} came to no picture with seed {take.seed}")
                    delivery.begin(take.index)
                    self._family.decode(scene, latents, delivery)
                    delivery.end()

    def _scene(self, job: Job) -> Scene:
        model, spec = self._model, job.spec
        return Scene(
            spec=spec,
            plan=job.plan,
            photo=_fitted(job, "photo"),
            end_photo=_fitted(job, "end_photo") if "end_photo" in job.inputs else None,
            steps=self._family.steps if model.steps is None else model.steps,
            guidance=self._family.guidance if model.guidance is None else model.guidance,
            consistency=_CONSISTENCY if spec.consistency is None else spec.consistency,
        )

    def _go_lean(self) -> None:
        """What did not fit once will not fit the next time either: this holds until the model is loaded anew."""
        self._encodes.forget()  # tiles encode to slightly other numbers
        self._free_memory()
        self._family.tile()
        if self._device.type == "cuda" and self.placement is Placement.WHOLE:
            self._pipe.enable_model_cpu_offload(device=self._device)
            self.placement = Placement.OFFLOADED
        self._lean = True

    def _free_memory(self) -> None:
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()


class _Delivery:
    """A job's frames and sound on their way to the sink, each once: a second try leaves out what the first one sent."""

    def __init__(self, job: Job, sink: Sink, context: Context) -> None:
        self._plan = job.plan
        self._sink = sink
        self._context = context
        self._sent = {take.index: 0 for take in job.takes}
        self._sounded: set[int] = set()
        self._take = -1
        self._seen = 0

    def complete(self, take: int) -> bool:
        return self._sent[take] == self._plan.frames

    def begin(self, take: int) -> None:
        self._take, self._seen = take, 0
        self.beat()

    def beat(self) -> None:
        """Tell how far the decode is, and end it if the take was cancelled."""
        if self._take >= 0:
            self._context.report("decode", sum(self._sent.values()), len(self._sent) * self._plan.frames)
        self._context.raise_if_cancelled()

    def frames(self, video: torch.Tensor) -> None:
        """See `Out`."""
        frames = _as_bytes(video)
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
        if self._seen != self._plan.frames:
            raise ValueError(f"the model decoded {self._seen} frames of {self._plan.frames}")
        self._take = -1


class _Bytes:
    """The bytes of a load as progress: first those that are downloaded, then those that are read."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._done = 0
        self._total = 0

    def begin(self, size: int) -> Advance:
        self._total += size
        return self._advance

    def _advance(self, count: int) -> None:
        self._done += count
        self._context.report("load", self._done, self._total)
        self._context.raise_if_cancelled()


def _fitted(job: Job, name: str) -> Image.Image:
    with Image.open(job.inputs[name]) as photo:
        return fit_photo(photo.convert("RGB"), job.plan.width, job.plan.height, job.spec.fit)


def _as_bytes(video: torch.Tensor) -> NDArray[np.uint8]:
    """(1, 3, n, height, width) from -1 to 1 as (n, height, width, 3) from 0 to 255.

    Converted on the device, to a quarter of the bytes; rounded and clipped first, because a float out of range wraps.
    """
    scaled = video[0].permute(1, 2, 3, 0).float() * 127.5 + 127.5
    return scaled.round_().clamp_(0, 255).to(torch.uint8).contiguous().cpu().numpy()


def _is_out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "ALLOC_FAILED" in str(error)


def _is_fatal(error: RuntimeError) -> bool:
    """After such an error every later call on the GPU fails too."""
    return isinstance(error, torch.AcceleratorError) or str(error).startswith(("CUDA error", "cuDNN error"))
