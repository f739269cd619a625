"""One loaded model and how it renders: the part that all families share. Synchronous, for one thread.

Knows what an engine is asked for and nothing of queues, files of clips or event loops. A take depends on its own seed
and the job alone: not on its neighbours, nor on what was rendered or cancelled before.
"""

import logging
from contextlib import ExitStack, nullcontext
from enum import Enum, auto
from typing import Self

import torch
from diffusers.pipelines.pipeline_utils import DiffusionPipeline

from clips.catalog import Model, Placement, Speed
from clips.domain import ClipSpec
from clips.errors import MemberError, SetupError, ZoetropeError
from clips.machine import free_ram
from generator.engines.base import Context, Job, Sink
from generator.engines.diffusers.checkpoint import Checkpoint
from generator.engines.diffusers.delivery import Delivery, fitted
from generator.engines.diffusers.encodes import Encodes
from generator.engines.diffusers.estimate import largest, smallest
from generator.engines.diffusers.family import Family, Latents, Scene, family_of
from generator.engines.diffusers.gpu_memory import free_memory, is_fatal, is_out_of_memory
from generator.engines.diffusers.load_progress import LoadProgress
from generator.engines.diffusers.loading import check_room, choose_device, load_as_planned, plans_of
from generator.engines.diffusers.memory import MemoryPlan, leaner
from generator.engines.diffusers.noise import Noise
from generator.engines.diffusers.origins import find_all
from generator.engines.diffusers.placing import park, place, scrap
from generator.engines.diffusers.speed import Levers, choose_speed, drop_cache, slow_down
from generator.engines.diffusers.steering import StepBar, replaced
from generator.engines.diffusers.trial import for_every_shape, reason_of, speed_up

log = logging.getLogger(__name__)


class _Outcome(Enum):
    """How a try to render ended, if by nothing that ends the job."""

    DONE = auto()
    OUT_OF_MEMORY = auto()
    LEVERS_FAILED = auto()


class Runner:
    """A model on its device. All calls, `load` too, come from the same thread: which GPU and stream are in use, and
    whether gradients are computed, is each thread's own.
    """

    def __init__(
        self,
        model: Model,
        family: Family[DiffusionPipeline],
        pipe: DiffusionPipeline,
        device: torch.device,
        plans: tuple[MemoryPlan, ...],
        plan: MemoryPlan,
    ) -> None:
        """`plans` are all ways to place the model, `plan` the one in which it is loaded."""
        self._model = model
        self._family = family
        self._pipe = pipe
        self._device = device
        self._plans = plans
        self._placed = True
        self._levers = Levers()
        self._denoised: tuple[Placement, Levers] | None = None
        self._encodes = Encodes(family.encoders())
        self.plan = plan
        if plan.tiled:
            family.tile()

    @classmethod
    def load(cls, model: Model, device: str, context: Context, speed: Speed | None = None, others: int = 0) -> Self:
        """Get the weights and load them, told as `LoadProgress` does, and try what makes the model faster. `others`:
        see `choose_plan`.

        Raises `SetupError`, `RetryableError`, `NoRoomError`, and what context raises.
        """
        family = family_of(model)
        chosen = choose_device(device)
        progress = LoadProgress(context)
        sources = find_all(model, progress.fetching)
        model = sources.pinned(model)
        plans = plans_of(model, family, Checkpoint.read(sources), chosen)
        pipe, plan = load_as_planned(model, family, sources, chosen, plans, others, progress.reading)
        try:
            adapter = family(pipe, model)
            for clip in smallest(model), largest(model):
                adapter.check_grid(clip)
            runner = cls(model, adapter, pipe, chosen, plans, plan)
            runner.speed_up(choose_speed(speed, chosen), context)
        except BaseException:
            scrap(pipe)
            free_memory(chosen)
            raise
        return runner

    def speed_up(self, speed: Speed, context: Context) -> None:
        """Pull the preset's levers. Each is tried first, which also compiles what is to be compiled, told as `warm`;
        what fails is let go of. Raises what context raises.
        """
        self._levers = speed_up(self._model, self._family, self._pipe, self.plan.placement, speed, context)
        free_memory(self._device)
        log.info("%s renders with %s.", self._model.name, self._levers.said)

    def render(self, job: Job, sink: Sink, context: Context) -> None:
        """Render the takes of a job, one after another; see `Engine.render`.

        Out of memory, the job goes on without a step cache, where the steps have one, and then once with less of
        everything on the GPU. Raises `MemberError` where that is still too much, what `wake` raises, and what context
        raises.
        """
        delivery = Delivery(job, sink, context)
        self.wake()
        ways_down = iter(
            (
                lambda: not delivery.latents and self._go_without_cache(),  # the steps are over, and it is empty
                lambda: self._go_lean() and self._return(),
            )
        )
        while (outcome := self._attempt(job, delivery, context)) is not _Outcome.DONE:
            if outcome is _Outcome.LEVERS_FAILED:
                self._levers = slow_down(self._pipe)
                free_memory(self._device)
            elif not any(go() for go in ways_down):  # each is gone once a job
                free_memory(self._device)
                plan = job.plan
                raise MemberError(
                    f"{plan.width}x{plan.height} with {plan.frames} frames is too large for this GPU. Take a shorter "
                    "clip or a smaller size, or another model."
                )

    def close(self) -> None:
        """Give the memory back. Nothing can be rendered after it."""
        self._encodes.forget()
        scrap(self._pipe)
        free_memory(self._device)

    @property
    def vram(self) -> int:
        """Bytes on the GPU between renders."""
        return 0 if self._in_ram else self.plan.held

    @property
    def ram(self) -> int:
        """Bytes in RAM between renders."""
        return self.plan.kept + (self.plan.held if self._in_ram else 0)

    @property
    def manner(self) -> dict[str, str]:
        """How the last take was made, before that how one would be. A decode may have changed what comes next."""
        placement, levers = self._denoised or (self.plan.placement, self._levers)
        tiles = ", decoded in tiles" if self.plan.tiled else ""
        return {"device": self._device.type, "placement": f"{placement}{tiles}", "speed": levers.said}

    @property
    def entry(self) -> Model:
        """See `Settled`."""
        return self._family.entry

    def prompt(self, spec: ClipSpec) -> str:
        """See `Settled`."""
        return self._family.prompt(spec)

    @property
    def can_park(self) -> bool:
        """Whether `place` would bring all of it back."""
        return self.plan.placement is not Placement.QUANTISED

    def park(self) -> None:
        """Leave the GPU to others until `wake`."""
        if self._placed:
            self._placed = False  # first: whatever fails half-way, `wake` has to place all of it again
            self._leave()

    def wake(self) -> None:
        """Take the GPU back, by a leaner plan where it is too full by now. Raises `NoRoomError` as loading does,
        `SetupError` where no plan is lean enough.
        """
        if self._placed:
            return
        self._leave()  # what a failure left there would count as another's
        if self.can_park:  # else its own weights would
            check_room(self.plan, self._device)
        if not self._return():
            raise SetupError(f"The GPU is too full for {self._model.title}. End what else runs on it, and try again.")

    @property
    def _in_ram(self) -> bool:
        """Whether all of it waits there for `wake`."""
        return self.can_park and not self._placed

    def _leave(self) -> None:
        if self.can_park:
            park(self._pipe)
        free_memory(self._device)

    def _return(self) -> bool:
        """Place it by its plan or the first leaner one for which there is room. False: there is none."""
        while not self._place():
            if not self._go_lean():
                self._leave()
                return False
        return True

    def _place(self) -> bool:
        """Place it by its plan. False: out of memory, and parts of it may be anywhere."""
        try:
            place(self._pipe, self.plan, self._device)
        except (RuntimeError, MemoryError) as error:
            if is_out_of_memory(error):
                return False
            raise
        self._placed = True
        free_memory(self._device)  # streaming that was undone holds what it had pinned, in a circle
        return True

    def _attempt(self, job: Job, delivery: Delivery, context: Context) -> "_Outcome":
        """Render what the delivery lacks. Raises what is no fault of memory or levers."""
        try:
            with torch.no_grad(), for_every_shape() if self._levers.compiled else nullcontext():
                self._takes(job, delivery, context)
        except (ZoetropeError, OSError):
            raise
        except Exception as error:  # kernels and compilers fail in ways of their own, and some at certain sizes only
            if is_out_of_memory(error):
                return _Outcome.OUT_OF_MEMORY
            if not self._levers.pulled or is_fatal(error):
                raise
            log.warning("%s goes on without %s: %s", self._model.name, self._levers.said, reason_of(error))
            return _Outcome.LEVERS_FAILED
        finally:
            self._pipe.maybe_free_model_hooks()  # or step caches of a broken-off render leak into the next one
        return _Outcome.DONE

    def _takes(self, job: Job, delivery: Delivery, context: Context) -> None:
        self._family.check(job.plan, job.inputs.keys())
        end_photo = fitted(job, "end_photo") if "end_photo" in job.inputs else None
        scene = self._family.scene(job.spec, job.plan, fitted(job, "photo"), end_photo)
        updates = self._family.updates(scene)
        with ExitStack() as stack:
            stack.enter_context(self._encodes.reused(context))
            for decoder in self._family.decoders():
                stack.callback(decoder.register_forward_pre_hook(lambda *_: delivery.beat()).remove)
            for position, take in enumerate(job.takes):
                if delivery.complete(take.index):
                    delivery.latents.pop(take.index, None)  # of a decode that failed after its last frame
                    continue
                context.raise_if_cancelled()
                noise, bar = Noise(take), StepBar(context, position * updates, len(job.takes) * updates)
                if take.index not in delivery.latents:
                    delivery.latents[take.index] = self._latents(scene, noise, bar)
                with noise.everywhere(self._device):  # from the seed again, whether it was denoised just now or not
                    delivery.begin(take.index)
                    self._family.decode(scene, delivery.latents[take.index], delivery)
                    delivery.end()

    def _latents(self, scene: Scene, noise: Noise, bar: StepBar) -> Latents:
        with noise.everywhere(self._device), replaced(self._pipe, "progress_bar", bar):
            latents = self._family.denoise(scene, noise)
        if not all(torch.isfinite(part).all() for part in latents):
            raise ArithmeticError(f"{self._model.name} came to no picture with seed {noise.seed}")
        self._denoised = self.plan.placement, self._levers
        return latents

    def _go_without_cache(self) -> bool:
        """Give up the step cache until the model is loaded anew; False where there is none."""
        if self._levers.cache is None:
            return False
        log.warning("%s ran out of memory and goes on without a step cache.", self._model.name)
        self._levers = drop_cache(self._pipe, self._levers)
        free_memory(self._device)
        return True

    def _go_lean(self) -> bool:
        """Take the next leaner plan, by which it is placed next; False where there is none.

        What did not fit once will not fit the next time either: this holds until the model is loaded anew.
        """
        self._encodes.forget()  # tiles encode to slightly other numbers, and the plan may want their RAM
        plan = leaner(self._plans, self.plan, free_ram() + self.ram)
        if plan is None:
            return False
        log.warning("%s ran out of memory and goes on %s.", self._model.name, plan.said)
        self._placed = False
        free_memory(self._device)
        self._levers = slow_down(self._pipe)
        self._family.tile()
        self.plan = plan
        return True
