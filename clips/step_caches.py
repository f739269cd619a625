"""What a local model leaves out of its steps to be faster, as data of the catalogue. Only the engine knows how."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from clips.entries import Entry

LEAST_STEPS = 20
"""Steps below which every one matters: models distilled to few fall apart with a cache."""


class FirstBlock(Entry):
    """A step runs its first block only, while that one's output differs by less than `threshold`, as a share, from what
    it was in the last whole step.
    """

    kind: Literal["first-block"] = "first-block"
    threshold: float = Field(gt=0, lt=1)


class Mag(Entry):
    """A step runs no block while the errors that the measured ratios foretell add up to less than `threshold`: at most
    `most` steps in a row, and none of the first ones, of which the share `kept` stays whole.
    """

    kind: Literal["mag"] = "mag"
    threshold: float = Field(gt=0, lt=1)
    most: int = Field(ge=1)
    kept: float = Field(ge=0, lt=1)


StepCache = Annotated[FirstBlock | Mag, Field(discriminator="kind")]


class StepCaches(Entry):
    """A model's, by preset; none where there is none. `ratios`, for `mag`: how large each step's change by the blocks
    is beside that of the step before, the first 1, measured over the passes with the words.
    """

    balanced: StepCache | None = None
    fast: StepCache | None = None
    ratios: tuple[Annotated[float, Field(gt=0)], ...] = ()

    @model_validator(mode="after")
    def _measured(self) -> Self:
        if any(isinstance(cache, Mag) for cache in (self.balanced, self.fast)) != bool(self.ratios):
            raise ValueError("the kind mag, and no other, needs ratios")
        if self.ratios and (self.ratios[0] != 1 or len(self.ratios) < LEAST_STEPS):
            raise ValueError(f"ratios are one a step, the first of them 1, for {LEAST_STEPS} steps and more")
        return self

    @property
    def kinds(self) -> frozenset[str]:
        """Those that its presets have."""
        return frozenset(cache.kind for cache in (self.balanced, self.fast) if cache is not None)

    def check(self, steps: int | None, *, distilled: bool) -> None:
        """Raise `ValueError` where a model has steps that no cache should leave out, or other ratios than these."""
        if distilled or (steps is not None and steps < LEAST_STEPS):
            raise ValueError(
                f"a cache is for models of {LEAST_STEPS} steps and more that are not distilled: of few, each matters"
            )
        if steps is not None and len(self.ratios) == 2 * steps:
            raise ValueError("ratios are one a step: leave out every second one, of the passes without the words")
