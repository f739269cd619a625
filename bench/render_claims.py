"""What others publish of the same clips on the same cards, beside our figures. None of it was run here."""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.report import Cell, Table

_STEP, _WALL = "a step s", "wall s"


@dataclass(frozen=True)
class Claim:
    """A published figure: one GPU of that kind, bf16 unless `whose` says otherwise."""

    model: str
    figure: str
    whose: str
    card: str
    seconds: float


# Published by those named, for one card; for other versions and drivers than ours.
CLAIMS = (
    Claim("wan-2.1-i2v-480p", _STEP, "diffusers", "H100", 9.77),
    Claim("wan-2.1-i2v-480p", _STEP, "xDiT", "H100", 8.93),
    Claim("wan-2.1-i2v-480p", _STEP, "FastVideo", "H100", 7.35),
    Claim("wan-2.1-i2v-480p", _STEP, "SGLang", "H100", 6.13),
    Claim("wan-2.1-i2v-480p", _STEP, "LightX2V", "H100", 5.18),
    Claim("wan-2.2-i2v-a14b-4step", _WALL, "vLLM-Omni", "H100", 27.6),
    Claim("ltx-2-distilled", _WALL, "SGLang", "H100", 9.5),
    Claim("ltx-2-distilled", _WALL, "SGLang, fp8", "H100", 7.6),
    Claim("wan-2.2-ti2v-5b", _WALL, "SGLang", "H200", 90.9),
)


def beside_claims(models: Table, fifty: Sequence[Cell], gpu: str) -> Table:
    """The table of claims. `models` is `bench.render`'s of further models, `fifty` the computed row of TI2V-5B in fifty
    steps: way and wall.
    """
    ours = {
        (str(row[0]), figure): row[models.headings.index(figure)]
        for row in models.rows
        if row[2] == "balanced"
        for figure in (_STEP, _WALL)
    }
    ours["wan-2.2-ti2v-5b", _WALL] = fifty[1]
    clips = {str(row[0]): str(row[1]) for row in models.rows}
    clips["wan-2.2-ti2v-5b"] = "1280x704, 121 frames, 50 steps"
    table = Table(
        "render-claims",
        "Beside public figures (claims, not run here)",
        ["model", "clip", "whose claim", "on", "figure", "claimed", "ours, balanced", "ours ÷ claimed"],
        notes=[
            "Aim on the same card: at most 1.15 of SGLang's and LightX2V's.",
            "Our walls have one layer of text encoder; TI2V-5B's is whole, and its fifty steps are computed.",
            f"GPU: {gpu or 'none'}; a claim for another card compares only roughly.",
        ],
    )
    for claim in CLAIMS:
        our = ours.get((claim.model, claim.figure))
        ratio = our / claim.seconds if isinstance(our, float) else None
        table.add(claim.model, clips[claim.model], claim.whose, claim.card, claim.figure, claim.seconds, our, ratio)
    return table
