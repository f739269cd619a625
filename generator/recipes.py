"""What makes a take again: written with its clip, shown to members, given to a generator anywhere."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from clips.catalog import Model
from clips.domain import ClipSpec, Plan, Sha256
from clips.inputs import named
from clips.requests import Request
from generator.engines.base import TakeSeed, Variation


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Every parameter of one take. `revision` None: the model's newest at that time."""

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
    seed: int
    variations: Sequence[Variation]
    versions: Mapping[str, str]

    @classmethod
    def of(cls, request: Request, take: TakeSeed, model: Model, versions: Mapping[str, str]) -> Self:
        """The recipe of one take of a request."""
        return cls(
            photo=request.photo,
            end_photo=request.end_photo,
            inputs=named(request.inputs),
            spec=request.spec,
            prompt=request.spec.prompt,
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
            seed=take.seed,
            variations=take.variations,
            versions=versions,
        )

    def as_json(self) -> dict[str, Any]:
        """The recipe as it is stored."""
        return asdict(self)
