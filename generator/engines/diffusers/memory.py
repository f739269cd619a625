"""How much memory a model takes in each way of placing it, and which way a machine gets. Pure: sizes in, a plan out.

The figures are estimates, and meant to be a little too high; where one is too low all the same, a render runs out of
memory and the model goes one way further down.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from clips.catalog import Placement

GIB = 1024**3
_CONTEXT = GIB
"""What CUDA, its libraries and the allocator's gaps take beside everything counted here."""
_STREAMED = 0.09
"""The share of a denoiser that is on the GPU at a time while its blocks are streamed: this one, the next, the rest."""
_STREAMED_UNET = 0.6
"""The same of a UNet, whose blocks are few and the deep ones large."""
_LARGEST_LEAF = 1 / 5
"""The share of a text encoder that is its largest layer: the table of its words."""
_SHARE = {Placement.FP8: 0.55, Placement.QUANTISED: 0.32}
"""What is left of a denoiser in bfloat16; norms and embeddings stay as they are."""
_SPILL = 0.75
"""A plan that is to mend an out of memory needs at most so much of what the failed one was to need."""


def is_denoiser(name: str) -> bool:
    """Whether a component of this name runs once a step and more."""
    return name.startswith(("transformer", "unet"))


def is_text_encoder(name: str) -> bool:
    """Whether a component of this name reads the words."""
    return name.startswith("text_encoder")


@dataclass(frozen=True, slots=True)
class Part:
    """A component of a checkpoint: how many numbers, and the bytes that each takes once it is loaded."""

    numbers: int
    itemsize: int

    @property
    def size(self) -> int:
        return self.numbers * self.itemsize


@dataclass(frozen=True, slots=True)
class Needs:
    """What a model needs, in bytes: weights by their role, and what a render adds for a while.

    `step`: the activations of a denoising step. `decode`: those of a decode in one piece, `tiled` of one in tiles.
    `streamed`: the share of a denoiser that is on the GPU at a time while its blocks are streamed.
    """

    text: int
    denoisers: tuple[int, ...]
    rest: int
    step: int
    decode: int
    tiled: int
    streamed: float = _STREAMED

    @classmethod
    def of(cls, parts: Mapping[str, Part], step: int, decode: int, tiled: int) -> "Needs":
        """Sort components into their roles by the names that every diffusers pipeline gives them."""
        texts = [name for name in parts if is_text_encoder(name)]
        denoisers = [name for name in parts if is_denoiser(name)]
        others = [name for name in parts if name not in texts and name not in denoisers]
        return cls(
            text=sum(parts[name].size for name in texts),
            denoisers=tuple(parts[name].size for name in denoisers),
            rest=sum(parts[name].size for name in others),
            step=step,
            decode=decode,
            tiled=min(tiled, decode),
            streamed=_STREAMED_UNET if any(name.startswith("unet") for name in denoisers) else _STREAMED,
        )

    @property
    def weights(self) -> int:
        return self.text + sum(self.denoisers) + self.rest


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """A way to place a model. In bytes: `vram` at its peak, of that `held` between renders; `ram` for weights while it
    is loaded, of that `kept` afterwards. `straight`: denoisers are read right onto the GPU, and never seen in RAM.
    """

    placement: Placement
    tiled: bool
    vram: int
    ram: int
    held: int
    kept: int
    straight: bool = True

    def fits(self, vram: int, ram: int) -> bool:
        return self.vram <= vram and self.ram <= ram

    def short_of(self, vram: int, ram: int) -> str:
        """In words, what it takes of that which is too little."""
        needs = ((self.vram, vram, "GPU memory"), (self.ram, ram, "RAM"))
        return " and ".join(f"{need / GIB:.1f} GiB of {name}" for need, there, name in needs if need > there)

    @property
    def said(self) -> str:
        """In words, for the log and the command line."""
        way = _WORDS[self.placement] if self.vram else "in RAM"
        tiles = ", decoded in tiles" if self.tiled else ""
        sizes = ((self.vram, "GPU memory"), (self.ram, "RAM"))
        return f"{way}{tiles}: about {' and '.join(f'{size / GIB:.1f} GiB of {name}' for size, name in sizes if size)}"


_WORDS = {
    Placement.WHOLE: "all on the GPU",
    Placement.EVICTED: "the text encoder streamed from RAM, the rest on the GPU",
    Placement.OFFLOADED: "the text encoder streamed from RAM, each other part on the GPU for its turn",
    Placement.GROUPED: "streamed block by block from RAM",
    Placement.FP8: "weights kept in 8 bits, which changes the picture slightly",
    Placement.QUANTISED: "weights in 4 bits, which changes the picture somewhat",
}

# From the fastest to the leanest, but for what changes the picture, which comes last. Where one denoiser at a time has
# room, its copies from RAM take about as long as what tiles compute twice; so of those ways the exact ones go first.
# Blocks that are streamed come with every step, and without what makes steps faster.
_ORDER = tuple(
    (placement, tiled)
    for alike in (
        (Placement.WHOLE, Placement.EVICTED, Placement.OFFLOADED),
        (Placement.GROUPED,),
        (Placement.FP8,),
        (Placement.QUANTISED,),
    )
    for tiled in (False, True)
    for placement in alike
)


def ladder(needs: Needs, *, quantiser: bool) -> tuple[MemoryPlan, ...]:
    """Every way on a GPU, the preferred first. `quantiser`: a library for 4 bits is installed."""
    return tuple(
        _plan(needs, placement, tiled=tiled)
        for placement, tiled in _ORDER
        if (quantiser or placement is not Placement.QUANTISED) and (needs.text or placement is not Placement.EVICTED)
    )


def on_cpu(needs: Needs) -> tuple[MemoryPlan, ...]:
    """Without a GPU everything is in RAM, and only the decode can be made leaner."""
    return tuple(MemoryPlan(Placement.WHOLE, tiled, 0, needs.weights, 0, needs.weights) for tiled in (False, True))


def choose(plans: tuple[MemoryPlan, ...], vram: int, ram: int, wished: Placement | None = None) -> MemoryPlan:
    """The first that fits; of a wished placement among them, where one is wished. Where none does, the one nearest to
    it.
    """
    offered = [plan for plan in plans if wished in {None, plan.placement}]
    fitting = (plan for plan in offered if plan.fits(vram, ram))
    return next(fitting, min(offered, key=lambda plan: (plan.ram > ram, plan.vram)))


def leaner(plans: tuple[MemoryPlan, ...], failed: MemoryPlan, ram: int) -> MemoryPlan | None:
    """What to go on with after `failed` ran out of memory; None where nothing would help.

    Bits of a loaded model are not thrown away in the middle of its work, so 4 bits stay and do not come.
    """
    lower = [
        plan
        for plan in plans
        if plan.tiled
        and (plan.vram < failed.vram or not failed.tiled)
        and plan.ram <= max(ram, failed.ram)
        and (plan.placement is Placement.QUANTISED) == (failed.placement is Placement.QUANTISED)
        and (failed.placement is not Placement.FP8 or plan.placement is Placement.FP8)
    ]
    enough = (plan for plan in lower if plan.vram <= failed.vram * _SPILL)
    return next(enough, min(lower, key=lambda plan: plan.vram, default=None))


def _plan(needs: Needs, placement: Placement, *, tiled: bool) -> MemoryPlan:
    decode = needs.tiled if tiled else needs.decode
    denoisers, widest = sum(needs.denoisers), max(needs.denoisers, default=0)
    leaf = int(needs.text * _LARGEST_LEAF)
    straight, reading = True, 0
    match placement:
        case Placement.WHOLE:
            held, kept = needs.weights, 0
            peak = held + max(needs.step, decode)
        case Placement.EVICTED | Placement.FP8 | Placement.QUANTISED:
            held, kept = int(denoisers * _SHARE.get(placement, 1.0)) + needs.rest, needs.text
            peak = held + max(needs.step, decode, leaf)
            # Cast one after another, each whole at first: on the GPU where a render takes as much, else in RAM.
            if placement is Placement.FP8 and held + widest * (1 - _SHARE[placement]) > peak:
                straight, reading = False, widest
        case Placement.OFFLOADED | Placement.GROUPED:
            held, kept, straight = 0, needs.weights, False
            there = widest if placement is Placement.OFFLOADED else int(widest * needs.streamed)
            # Of the rest one part is there at a time; what has seen the photo may still be there for the words.
            peak = max(there + needs.step, needs.rest + max(decode, leaf))
    return MemoryPlan(placement, tiled, peak + _CONTEXT, max(kept, reading), held, kept, straight)
