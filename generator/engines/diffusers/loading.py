"""From a folder of weights to a pipeline on its device: component by component, so that progress can be told."""

import logging
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from inspect import signature

import torch
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.utils import logging as diffusers_logging
from torch import nn
from transformers.utils import logging as transformers_logging

from clips.catalog import Model, Placement
from clips.domain import Plan
from clips.errors import SetupError, first_line
from clips.machine import free_ram
from generator.engines.base import NoRoomError
from generator.engines.diffusers.checkpoint import Checkpoint
from generator.engines.diffusers.download import Advance
from generator.engines.diffusers.estimate import largest, needs_of
from generator.engines.diffusers.family import Family
from generator.engines.diffusers.gpu_memory import free_memory, is_out_of_memory
from generator.engines.diffusers.lora import LowRank
from generator.engines.diffusers.memory import MemoryPlan, choose, is_denoiser, ladder, leaner, on_cpu
from generator.engines.diffusers.placing import goes_straight, in_4_bits, in_8_bits, place
from generator.engines.diffusers.reading import size_of, told
from generator.engines.diffusers.weights import Sources, weight_files
from generator.engines.ends import let_go

log = logging.getLogger(__name__)

_CROWDED = 512 * 1024**2
"""Bytes on the GPU above which this process holds a model; less is what CUDA's libraries left behind."""


def choose_device(wish: str) -> torch.device:
    """`auto` is a CUDA GPU if there is one. A GPU becomes the calling thread's own: streams and kernels that are given
    no device go to it. Raises `SetupError` where the wish cannot be had.
    """
    if wish == "auto":
        wish = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(wish)
        if device.type == "cuda":
            device = torch.device("cuda", device.index or 0)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = first_line(error).rstrip(".")
        raise SetupError(
            f"ZOETROPE_DEVICE: {wish} cannot be used here ({reason}). Take `auto`, `cpu`, or a GPU that torch sees."
        ) from error
    if device.type == "cuda":
        torch.cuda.set_device(device)
    return device


def plans_of(
    model: Model,
    family: type[Family[DiffusionPipeline]],
    checkpoint: Checkpoint,
    device: torch.device,
    clip: Plan | None = None,
) -> tuple[MemoryPlan, ...]:
    """Every way to place a model on a device, the preferred first, for a clip or the largest that can be asked for."""
    guided = family.guidance_of(model) > 1
    itemsize = 2 if device.type == "cuda" else 4
    needs = needs_of(checkpoint, family.precise, itemsize, clip or largest(model), guided=guided)
    if device.type != "cuda":
        return on_cpu(needs)
    # Nothing can be merged into 4 bits, and a UNet's convolutions, which are most of it, stay as they are.
    in_reach = not model.loras and not any(name.startswith("unet") for name in checkpoint.numbers)
    return ladder(needs, quantiser=in_reach and find_spec("bitsandbytes") is not None)


def choose_plan(model: Model, plans: tuple[MemoryPlan, ...], device: torch.device, others: int = 0) -> MemoryPlan:
    """The best plan for what would be free here if this process held nothing else, so that a seed does not depend on
    what was rendered before. `others`: the bytes of RAM that its other models hold.

    Raises `NoRoomError` where those have to make room for it first, `SetupError` as `check_wish` does; a CPU knows one
    way only, and takes that.
    """
    if device.type != "cuda":
        plan = plans[0]
        if plan.ram > free_ram() and model.memory is None:
            raise NoRoomError(0, plan.ram)
        return plan
    check_wish(model, plans)
    free_memory(device)  # a model that is gone may still be held by references in a circle
    free, _ = torch.cuda.mem_get_info(device)
    plan = choose(plans, free + torch.cuda.memory_reserved(device), free_ram() + others, model.memory)
    check_room(plan, device)
    _check_ram(plan, others)
    return plan


def check_wish(model: Model, plans: tuple[MemoryPlan, ...]) -> None:
    """Raise `SetupError` where the model cannot be placed on a GPU as its host wishes."""
    ways = list(dict.fromkeys(plan.placement for plan in plans))
    if model.memory is None or model.memory in ways:
        return
    if model.memory is not Placement.QUANTISED:
        why = "it has no text encoder that could be streamed"
    elif model.loras:
        why = "nothing can be merged into 4 bits, and it has LoRAs"
    elif find_spec("bitsandbytes") is None:
        why = "bitsandbytes is not installed here (sh deploy/setup.sh generator does that)"
    else:
        why = "most of its UNet would stay as it is"
    raise SetupError(
        f"{model.name} cannot be placed as `{model.memory}`: {why}. Set `memory` in its catalogue entry, or "
        f"ZOETROPE_MEMORY, to one of {', '.join(ways)}, or leave it out."
    )


def check_room(plan: MemoryPlan, device: torch.device) -> None:
    """Raise `NoRoomError` where the plan would fit if this process gave up what it holds on the GPU."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        if plan.vram > free and torch.cuda.memory_reserved(device) >= _CROWDED:
            raise NoRoomError(plan.vram, plan.ram)


def _check_ram(plan: MemoryPlan, others: int) -> None:
    if others and plan.ram > free_ram():
        raise NoRoomError(0, plan.ram)


def load_as_planned(
    model: Model,
    family: type[Family[DiffusionPipeline]],
    sources: Sources,
    device: torch.device,
    plans: tuple[MemoryPlan, ...],
    others: int,
    begin: Callable[[int], Advance],
) -> tuple[DiffusionPipeline, MemoryPlan]:
    """Load by the best plan; where that was too bold, by the next leaner one. See `choose_plan` and `load_pipeline`.

    Raises what they raise, `SetupError` where no plan is lean enough.
    """
    plan: MemoryPlan | None = choose_plan(model, plans, device, others)
    while plan:
        log.info("%s goes onto %s %s.", model.name, device, plan.said)
        try:
            return load_pipeline(family, sources, device, plan, begin), plan
        except BaseException as error:
            let_go(error)
            free_memory(device)
            if not isinstance(error, RuntimeError | MemoryError) or not is_out_of_memory(error):
                raise
            log.warning("%s ran out of memory while it was loaded: %s", model.name, str(error))
        plan = leaner(plans, plan, free_ram() + others)
        if plan:
            _check_ram(plan, others)
    raise SetupError(f"The GPU is too full for {model.title}. End what else runs on it, and try again.")


def load_pipeline(
    family: type[Family[DiffusionPipeline]],
    sources: Sources,
    device: torch.device,
    plan: MemoryPlan,
    begin: Callable[[int], Advance],
) -> DiffusionPipeline:
    """Load every component in the type that its family gives it on the device, and place it.

    What the plan wants on the device is read right into its memory. `begin` is told how many bytes are to be read, and
    gives what is told of each LoRA, tensor and placed component; what that raises ends the load. Raises `SetupError`
    where the folder does not fit the family, an error that `is_out_of_memory` where the plan was too bold.
    """
    folder = sources.folder
    for talk in (diffusers_logging, transformers_logging):
        talk.disable_progress_bar()
    taken = signature(family.pipeline).parameters  # a safety checker, for one, is of no use to PIA
    index = {name: kind for name, kind in sources.components().items() if name in taken}
    dtypes = {name: family.dtype_of(name, device) for name in index}
    files = {name: weight_files(sources.at(name)) for name in index}
    advance = begin(size_of(file for them in (*files.values(), [file for _, file in sources.loras]) for file in them))
    parts: dict[str, object] = {}
    try:
        changes: list[LowRank] = []
        for lora, file in sources.loras:
            changes.append(LowRank.read(family.pipeline, lora, file, index.keys()))
            advance(size_of([file]))
        # Denoisers first: one in 8 bits has left the RAM before the text encoder comes.
        for name, (library, kind) in sorted(index.items(), key=lambda part: not is_denoiser(part[0])):
            if not files[name] and name not in sources.parts:
                continue  # tokenizer, scheduler …: small, and the pipeline's to load where they are its own
            loader = getattr(import_module(_package(library)), kind)
            if not files[name]:
                parts[name] = loader.from_pretrained(sources.at(name))
                continue
            options = _options(name, dtypes[name], plan, device)
            with told(sources.at(name), advance):
                parts[name] = part = loader.from_pretrained(sources.at(name), **options)
            for change in changes:
                advance(0)
                change.merge(name, part)
            if plan.placement is Placement.FP8 and is_denoiser(name) and not family.makes_denoiser:
                advance(0)
                nn.Module.to(in_8_bits(part), device)  # before the next one comes
        pipe = family.assemble(sources, parts)
        place(pipe, plan, device, lambda: advance(0))
    except (OSError, ValueError, KeyError, AttributeError, ImportError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise
        raise SetupError(
            f"{folder} cannot be loaded as {family.pipeline.__name__}: {first_line(error).rstrip('.')}. Is it whole, "
            "and of the family that the catalogue's entry names? `zoetrope models pull` looks at each file."
        ) from error
    return pipe


def _options(name: str, dtype: torch.dtype, plan: MemoryPlan, device: torch.device) -> dict[str, object]:
    """How a component with weights is read."""
    options: dict[str, object] = {"dtype": dtype, "use_safetensors": True}
    if goes_straight(name, plan):
        options["device_map"] = {"": device}
    if plan.placement is Placement.QUANTISED and is_denoiser(name):
        options["quantization_config"] = in_4_bits(dtype)
    return options


def _package(library: str) -> str:
    """Where an index's library is: a few pipelines have components of their own, such as the vocoder of LTX-2."""
    return library if library in {"diffusers", "transformers"} else f"diffusers.pipelines.{library}"
