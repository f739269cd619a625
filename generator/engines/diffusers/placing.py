"""Putting a loaded pipeline where its memory plan wants it: on the GPU, in RAM, or streamed between the two."""

from collections.abc import Callable

import torch
from diffusers.hooks.group_offloading import GroupOffloadingHook, apply_group_offloading
from diffusers.hooks.hooks import HookRegistry
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.quantizers.quantization_config import BitsAndBytesConfig
from torch import nn

from clips.catalog import Placement
from generator.engines.diffusers.gpu_memory import is_out_of_memory
from generator.engines.diffusers.memory import MemoryPlan, is_denoiser, is_text_encoder
from generator.engines.diffusers.turns import Turns, tensors_of

_STREAMING = ("group_offloading", "layer_execution_tracker", "lazy_prefetch_group_offloading")
"""The hooks of diffusers' group offloading, by name."""
_IN_TURN = {Placement.OFFLOADED, Placement.GROUPED}
"""Where one part is on the GPU at a time, or as much of it as is not streamed."""
_AT_THE_END = "maybe_free_model_hooks"
"""What a pipeline does at the end of a call, and the runner at the end of any."""
_CPU = torch.device("cpu")


def modules(pipe: DiffusionPipeline) -> dict[str, nn.Module]:
    """The parts of a pipeline that have weights, by name."""
    return {name: part for name, part in pipe.components.items() if isinstance(part, nn.Module)}


def denoisers(pipe: DiffusionPipeline) -> list[nn.Module]:
    """The parts that run once a step and more."""
    return [part for name, part in modules(pipe).items() if is_denoiser(name)]


def goes_straight(name: str, plan: MemoryPlan) -> bool:
    """Whether a component is loaded right onto the device, and never seen in RAM."""
    if is_denoiser(name):
        return plan.straight
    if is_text_encoder(name):
        return plan.placement is Placement.WHOLE
    return plan.placement not in _IN_TURN


def place(
    pipe: DiffusionPipeline, plan: MemoryPlan, device: torch.device, before_each: Callable[[], None] = lambda: None
) -> None:
    """Place every component, from wherever an earlier plan or `park` left it. `before_each` of them is called; what it
    raises leaves the rest where it is.
    """
    unhook(pipe)
    turns = Turns(device)
    # What goes to RAM goes first, to make room for the rest.
    later: list[nn.Module] = []
    for name, part in modules(pipe).items():
        before_each()
        if is_denoiser(name) and plan.placement is Placement.FP8:
            in_8_bits(part)
        if is_text_encoder(name) and plan.placement is not Placement.WHOLE:
            _stream(part, device, "leaf_level")
        elif is_denoiser(name) and plan.placement is Placement.GROUPED:
            turns.take(part, _stream(part, device, "block_level"))
        elif plan.placement in _IN_TURN:
            _to_ram(part, pinned=device.type == "cuda")
            turns.take(part, tensors_of(part))
        elif not _is_quantised(part):
            later.append(part)
    for part in later:
        before_each()
        nn.Module.to(part, device)
    if plan.placement in _IN_TURN:
        vars(pipe)[_AT_THE_END] = turns.ended_by(pipe.maybe_free_model_hooks)


def park(pipe: DiffusionPipeline) -> None:
    """Leave the GPU to others: the weights wait in RAM, pinned where there is a GPU to go back to. `place` ends it."""
    unhook(pipe)
    for part in modules(pipe).values():
        _to_ram(part, pinned=any(tensor.is_cuda for tensor in tensors_of(part)))


def scrap(pipe: DiffusionPipeline) -> None:
    """Let go of all weights, whoever still refers to the pipeline. Nothing can be done with it afterwards."""
    unhook(pipe)
    for part in modules(pipe).values():
        for module in list(part.modules()):
            module.__dict__.clear()  # a layer in 4 bits has scales beside its parameters, and can be moved nowhere


def unhook(pipe: DiffusionPipeline) -> None:
    """Undo offloading and streaming; weights stay where they are just then."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()  # a block whose predecessor failed may still be on its way, in a stream of its own
    pipe.remove_all_hooks()
    vars(pipe).pop(_AT_THE_END, None)
    for part in modules(pipe).values():
        if any(hasattr(module, "_diffusers_hook") for module in part.modules()):
            registry = HookRegistry.check_if_exists_or_initialize(part)
            for name in _STREAMING:
                registry.remove_hook(name, recurse=True)


def in_8_bits(part: nn.Module) -> nn.Module:
    """Keep its weights in float8 between their uses, computed with in the type that they had. Not undone."""
    cast = getattr(part, "enable_layerwise_casting", None)
    if cast is not None and not any(tensor.dtype is torch.float8_e4m3fn for tensor in part.parameters()):
        cast(storage_dtype=torch.float8_e4m3fn)
    return part


def in_4_bits(dtype: torch.dtype) -> BitsAndBytesConfig:
    """How a denoiser is quantised while it is loaded; the library for it is checked when the plan is made."""
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)


def _stream(part: nn.Module, device: torch.device, kind: str) -> list[torch.Tensor]:
    """Its layers come to the GPU one after another, the next while one works, and leave it again. Not so what lies
    beside a denoiser's blocks, which is returned: diffusers would copy all of it back and forth in every pass.
    """
    # With a stream it would pin whatever is not, and fail where no more can be.
    streams = _to_ram(part, pinned=device.type == "cuda")
    apply_group_offloading(
        part,
        onload_device=device,
        offload_device=_CPU,
        offload_type=kind,
        num_blocks_per_group=1 if kind == "block_level" else None,
        non_blocking=streams,
        use_stream=streams,
    )
    hook = HookRegistry.check_if_exists_or_initialize(part).get_hook(_STREAMING[0])
    if kind != "block_level" or not isinstance(hook, GroupOffloadingHook):
        return []
    group = hook.group
    beside = [*group.parameters, *group.buffers]  # those of its modules too
    group.modules, group.parameters, group.buffers = [], [], []
    return beside


def _to_ram(part: nn.Module, *, pinned: bool) -> bool:
    """Let its weights wait in RAM, which the way to the GPU is quick from where they are pinned. One after another: for
    a moment RAM holds one of them twice. False: not pinned, or the system pins no more.
    """
    for tensor in tensors_of(part):
        if pinned and not tensor.is_pinned():
            try:
                tensor.data = torch.empty_like(tensor.data, device=_CPU, pin_memory=True).copy_(tensor.data)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                pinned = False
        tensor.data = tensor.data.cpu()
    return pinned


def _is_quantised(part: nn.Module) -> bool:
    return getattr(part, "is_quantized", False) or getattr(part, "hf_quantizer", None) is not None
