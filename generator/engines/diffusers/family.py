"""What differs from one family of models to the next. An adapter answers these questions; the runner does the rest.

The adapter of a family is the module of its name, and its class is there as `FAMILY`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from importlib import import_module
from typing import ClassVar, Generic, Protocol, TypeVar

import numpy as np
import torch
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.utils import logging as diffusers_logging
from numpy.typing import NDArray
from PIL import Image
from torch import nn
from transformers.utils import logging as transformers_logging

from clips.catalog import Accepts, Model
from clips.domain import ClipSpec, Plan
from clips.errors import MemberError, SetupError
from clips.step_caches import LEAST_STEPS, StepCaches
from clips.wishes import joined
from generator.engines.diffusers.noise import Noise
from generator.engines.diffusers.schedule import scheduler_of, shifted
from generator.engines.diffusers.weights import Sources
from generator.engines.prompts import prompt

Pipe_co = TypeVar("Pipe_co", bound=DiffusionPipeline, covariant=True)

Latents = tuple[torch.Tensor, ...]
"""What `denoise` hands to `decode`: the picture's latents, and what else is decoded or needed there."""

USUAL_CONSISTENCY = 0.7
"""Where the member asks for none: what the pipelines do by themselves."""

IN_WORDS = frozenset(
    {Accepts.PHOTO, Accepts.PADDING, Accepts.MOTION, Accepts.CAMERA, Accepts.STRENGTH, Accepts.SEED, Accepts.VARIATION}
)
"""What every model honours that reads a prompt."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What all takes of a job share. The photos are RGB and have the plan's size already.

    `prompt` is what the model reads, `consistency` how faithful the clip stays to the photo, 0 to 1.
    """

    spec: ClipSpec
    plan: Plan
    photo: Image.Image
    end_photo: Image.Image | None
    prompt: str
    steps: int
    guidance: float
    consistency: float


@dataclass(frozen=True, slots=True)
class Grid:
    """The plans that a loaded model renders as they are: sides in multiples, and `offset` + n × `frames` frames."""

    width: int
    height: int
    frames: int
    offset: int = 1


class Out(Protocol):
    """Where a decode goes."""

    def frames(self, video: torch.Tensor) -> None:
        """The next frames: (1, 3, n, height, width), RGB, -1 to 1."""
        ...

    def pictures(self, made: NDArray[np.uint8]) -> None:
        """The next frames as the encoder takes them: (n, height, width, 3), RGB, 0 to 255."""
        ...

    def sound(self, samples: torch.Tensor, rate: int) -> None:
        """The take's whole sound: (channels, n), -1 to 1, `rate` samples a second. Before its last frames."""
        ...


class Family(ABC, Generic[Pipe_co]):
    """An adapter, made with its loaded pipeline. Called from the engine's thread only, without gradients."""

    pipeline: ClassVar[type[DiffusionPipeline]]
    """Explicit: several repositories name another class than the one that takes a photo."""

    dtype: ClassVar[torch.dtype] = torch.bfloat16
    """What weights are in on a GPU: what the authors and diffusers show, since what comes of a seed depends on it."""

    dtypes: ClassVar[Mapping[str, torch.dtype]] = {}
    """Components that are in another 16 bits there."""

    precise: ClassVar[AbstractSet[str]] = frozenset()
    """Components that are in float32 there."""

    texts: ClassVar[str] = "encode_prompt"
    """The pipeline's function that encodes one text, where it has one: what many requests avoid is encoded once."""

    makes_denoiser: ClassVar[bool] = False
    """Whether `assemble` computes the denoiser from loaded parts, which then cannot be in 8 bits."""

    steps: ClassVar[int]
    """Where the catalogue gives none; so `guidance`."""

    guidance: ClassVar[float]

    flow_shift: ClassVar[float | None] = None
    """The same; None leaves the scheduler as its repository has it."""

    honours: ClassVar[AbstractSet[str]] = frozenset()
    """Which of `sigmas`, `renoise`, `guidance_2` and `flow_shift` it keeps to; an entry with another is refused."""

    accepts: ClassVar[AbstractSet[Accepts]] = IN_WORDS | {Accepts.AVOID}
    """What its models can honour of a wish; an entry that accepts more is refused. So is `AVOID` where the guidance is
    1 or less: what to avoid is the other end of the guidance.
    """

    caches: ClassVar[AbstractSet[str]] = frozenset()
    """The kinds of step cache that go with its denoiser; an entry that names another is refused."""

    usual_caches: ClassVar[StepCaches] = StepCaches()
    """What the presets leave out where the catalogue's entry has no `cache`."""

    def __init__(self, pipe: Pipe_co, model: Model) -> None:
        """Raises `SetupError` where the weights are not what the entry says."""
        shift = self.flow_shift if model.flow_shift is None else model.flow_shift
        usual = {"steps": self.steps_of(model), "guidance": self.guidance_of(model), "flow_shift": shift}
        model = model.model_copy(update=usual)
        if model.sigmas:
            pipe.scheduler = scheduler_of(model)
        elif model.flow_shift is not None:
            pipe.scheduler = shifted(pipe.scheduler, model.flow_shift)
        self._pipe = pipe
        self._model = model
        if Accepts.END_PHOTO in model.accepts and "end_photo" not in self.inputs:
            raise SetupError(_ignoring([Accepts.END_PHOTO]))

    @property
    def entry(self) -> Model:
        """The catalogue's entry, with what it leaves to the adapter filled in."""
        return self._model

    @classmethod
    def assemble(cls, sources: Sources, parts: Mapping[str, object]) -> DiffusionPipeline:
        """The pipeline from its loaded parts, on whichever device each is. Small ones come from the folder."""
        return cls.pipeline.from_pretrained(sources.folder, **parts)

    @classmethod
    def dtype_of(cls, component: str, device: torch.device) -> torch.dtype:
        """What a component's weights are in on a device."""
        if device.type != "cuda" or component in cls.precise:
            return torch.float32
        return cls.dtypes.get(component, cls.dtype)

    @classmethod
    def step_caches(cls, model: Model) -> StepCaches:
        """What the presets leave out of a model's steps: nothing where it has few, or is distilled."""
        if model.sigmas or cls.steps_of(model) < LEAST_STEPS:
            return StepCaches()
        return cls.usual_caches if model.cache is None else model.cache

    @property
    @abstractmethod
    def grid(self) -> Grid:
        """What the pipeline would silently round otherwise."""

    @property
    def inputs(self) -> AbstractSet[str]:
        """The inputs beside the photo that these weights honour."""
        return frozenset({"end_photo"} if Accepts.END_PHOTO in self.accepts else ())

    def check(self, plan: Plan, inputs: AbstractSet[str]) -> None:
        """Raise `SetupError` for a plan or `MemberError` for an input that the pipeline would change or ignore."""
        if further := inputs - {"photo"} - self.inputs:
            names = " or ".join(sorted(further)).replace("_", " ")
            raise MemberError(f"{self._model.title} takes no {names}. Leave that out, or pick another model.")
        self.check_grid(plan)

    def check_grid(self, plan: Plan) -> None:
        """Raise `SetupError` for sides or frames that the pipeline would round."""
        grid = self.grid
        if plan.width % grid.width or plan.height % grid.height or (plan.frames - grid.offset) % grid.frames:
            raise SetupError(
                f"{self._model.title} cannot render {plan.width}x{plan.height} with {plan.frames} frames: it takes "
                f"multiples of {grid.width}x{grid.height} and {grid.frames}n + {grid.offset} frames. Mend the "
                "catalogue's entry."
            )

    def encoders(self) -> tuple[tuple[object, str], ...]:
        """(owner, name) of the pipeline's functions that give every take of a job the same, in the order of their
        calls: each is run once for the same arguments. Usually the text, and the photos as the VAE sees them.
        """
        return (self._pipe, self.texts), (self._pipe.vae, "encode")

    def decoders(self) -> tuple[nn.Module, ...]:
        """What a decode calls time and again: each call shows that it lives, and is where a cancel takes effect."""
        return (self._pipe.vae.decoder,)

    @classmethod
    def steps_of(cls, model: Model) -> int:
        """Steps of a take."""
        return cls.steps if model.steps is None else model.steps

    @classmethod
    def guidance_of(cls, model: Model) -> float:
        """The guidance of a take; at 1 or less there is none."""
        return cls.guidance if model.guidance is None else model.guidance

    def prompt(self, spec: ClipSpec) -> str:
        """The words that the model reads, the strength among them; none where it reads none."""
        return prompt(spec)

    def scene(self, spec: ClipSpec, plan: Plan, photo: Image.Image, end_photo: Image.Image | None) -> Scene:
        """A job's, with the numbers of the catalogue's entry where it has some."""
        return Scene(
            spec=spec,
            plan=plan,
            photo=photo,
            end_photo=end_photo,
            prompt=self.prompt(spec),
            steps=self.steps_of(self._model),
            guidance=self.guidance_of(self._model),
            consistency=USUAL_CONSISTENCY if spec.consistency is None else spec.consistency,
        )

    def updates(self, scene: Scene) -> int:
        """How often the pipeline updates its progress bar in a take."""
        return scene.steps

    @abstractmethod
    def denoise(self, scene: Scene, noise: Noise) -> Latents:
        """Run the pipeline to latents, on the pipeline's device. All that is random in it comes from `noise`."""

    @abstractmethod
    def decode(self, scene: Scene, latents: Latents, out: Out) -> None:
        """Turn latents into the plan's frames, in order and as soon as they are there."""

    def tile(self) -> None:
        """From now on encode and decode in tiles: far less memory, seams that are blended."""
        self._pipe.vae.enable_tiling()


def latent_frames(frames: int, along: int) -> int:
    """How many latents a causal VAE makes of frames: one of the first, then one of every `along`."""
    return (frames - 1) // along + 1


def family_of(model: Model) -> type[Family[DiffusionPipeline]]:
    """The adapter of a model. Raises `SetupError` where there is none, or one that would ignore part of the entry."""
    for talk in (diffusers_logging, transformers_logging):
        talk.set_verbosity_error()  # as they are imported, and at each render, they warn of what is meant so
    try:
        family: object = import_module(f"{__package__}.{model.family}").FAMILY
    except (ModuleNotFoundError, AttributeError):
        family = None
    if not (isinstance(family, type) and issubclass(family, Family)):
        raise SetupError(
            f"There is no adapter for the family “{model.family}”. Mend `family` in the catalogue, or "
            "install a newer version."
        )
    named = {
        "sigmas": model.sigmas,
        "renoise": model.renoise,
        "guidance_2": model.guidance_2 is not None,
        "flow_shift": model.flow_shift is not None,
    }
    if ignored := [name for name, value in named.items() if value and name not in family.honours]:
        raise SetupError(
            f"Models of the family “{model.family}” have no use for {' and '.join(ignored)}. Take that "
            "out of the catalogue's entry."
        )
    if model.guidance_2 is not None and family.guidance_of(model) <= 1 < model.guidance_2:
        raise SetupError(
            "Where `guidance` is 1 or less there is none, and `guidance_2` would be ignored. Mend them in the "
            "catalogue's entry."
        )
    honoured = family.accepts - ({Accepts.AVOID} if family.guidance_of(model) <= 1 else set())
    if vain := [wish for wish in Accepts if wish in model.accepts - honoured]:
        raise SetupError(_ignoring(vain))
    if model.cache is not None and (unfit := model.cache.kinds - family.caches):
        raise SetupError(
            f"No {' or '.join(sorted(unfit))} cache goes with models of the family “{model.family}”. "
            "Take `cache` out of the catalogue's entry."
        )
    return family


def _ignoring(wishes: Sequence[Accepts]) -> str:
    return (
        f"Its network or its guidance would ignore {joined(wishes)}. Take that out of `accepts` in the "
        "catalogue's entry."
    )
