"""What makes a take again: written with its clip, shown to members, given to a generator anywhere."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from clips.catalog import Model
from clips.domain import ClipSpec, Plan, Sha256
from clips.inputs import named
from clips.requests import Request
from generator.engines.base import Engine, Settled, TakeSeed, Variation


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Every parameter of one take, as it was in force. `prompt` is what the model read.

    `revision` is a commit; None: a folder of the host's own, or a hosted model's newest at that time. What is None
    beside it is the repository's own or unused; what is not here is fixed by the software in `versions`.
    """

    photo: Sha256 | None
    end_photo: Sha256 | None
    inputs: Mapping[str, Sha256]
    spec: ClipSpec
    prompt: str
    plan: Plan
    engine: str
    repo: str | None
    revision: str | None
    steps: int | None
    guidance: float | None
    guidance_2: float | None
    flow_shift: float | None
    sigmas: Sequence[float]
    renoise: bool
    loras: Sequence[Mapping[str, object]]
    parts: Mapping[str, Mapping[str, object]]
    seed: int
    variations: Sequence[Variation]
    versions: Mapping[str, str]

    @classmethod
    def of(cls, request: Request, take: TakeSeed, model: Model, engine: Engine, versions: Mapping[str, str]) -> Self:
        """The recipe of one take of a request, with what the engine settled that rendered it."""
        prompt = request.spec.prompt
        if isinstance(engine, Settled):
            model, prompt = engine.entry, engine.prompt(request.spec)
        return cls(
            photo=request.photo,
            end_photo=request.end_photo,
            inputs=named(request.inputs),
            spec=request.spec,
            prompt=prompt,
            plan=request.plan,
            engine=model.engine,
            repo=model.hosted.slug if model.hosted else model.repo,
            revision=model.hosted.version if model.hosted else model.revision,
            steps=model.steps,
            guidance=model.guidance,
            guidance_2=model.guidance_2,
            flow_shift=model.flow_shift,
            sigmas=model.sigmas,
            renoise=model.renoise,
            loras=[lora.model_dump() for lora in model.loras],
            parts={name: part.model_dump() for name, part in model.parts.items()},
            seed=take.seed,
            variations=take.variations,
            versions=versions,
        )

    def as_json(self) -> dict[str, Any]:
        """The recipe as it is stored."""
        return asdict(self)
