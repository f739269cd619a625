"""What makes a loaded model faster at equal steps: attention kernels, a step cache, compiled blocks.

`exact` is plain diffusers to the bit. `balanced` takes what hardly shows, `fast` what may show in a side by side. On a
CPU all of it is `exact`: there is nothing to gain, and tests compare bits. Whether what is offered works here is found
out by `trial`.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from diffusers.hooks._helpers import TransformerBlockMetadata, TransformerBlockRegistry
from diffusers.hooks.first_block_cache import FirstBlockCacheConfig
from diffusers.hooks.hooks import HookRegistry
from diffusers.hooks.mag_cache import MagCacheConfig
from diffusers.models.attention_dispatch import (
    AttentionBackendName,
    _AttentionBackendRegistry,  # pyright: ignore[reportPrivateUsage] - nothing public sets the default back
)
from diffusers.models.cache_utils import CacheMixin
from diffusers.models.modeling_utils import ModelMixin
from diffusers.models.transformers.transformer_hunyuan_video15 import HunyuanVideo15TransformerBlock
from diffusers.models.transformers.transformer_skyreels_v2 import SkyReelsV2TransformerBlock
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from torch import nn

from clips.catalog import Placement, Speed
from clips.step_caches import Mag, StepCache, StepCaches
from generator.engines.diffusers.placing import denoisers

log = logging.getLogger(__name__)

_NATIVE = "native"
_ATTENTION: dict[Speed, Sequence[str]] = {
    Speed.EXACT: (),
    Speed.BALANCED: ("_flash_3", "flash", "_native_cudnn"),
    Speed.FAST: ("sage", "_flash_3", "flash", "_native_cudnn"),
}
"""Kernels by falling speed. `sage` computes in 8 bits."""
_UNREGISTERED = {
    SkyReelsV2TransformerBlock: TransformerBlockMetadata(return_hidden_states_index=0),
    HunyuanVideo15TransformerBlock: TransformerBlockMetadata(
        return_hidden_states_index=0, return_encoder_hidden_states_index=1
    ),
}
"""Blocks that a cache may leave out, and of which diffusers does not know what they return."""
_REPEATED = ("blocks", "transformer_blocks", "single_transformer_blocks")
"""Where a transformer has nearly all of its weights: in blocks of one or two classes. diffusers' own lists of what to
compile lack some of them. A UNet's blocks are each of another width.
"""
_HANDOVER = "_zoetrope_handover"
"""Where a denoiser with a step cache has the hook that tells which one is at work."""
_COMPILED = "_torchdynamo_orig_callable"
"""What marks a function that was compiled."""
_IN_PLACE = {Placement.WHOLE, Placement.EVICTED, Placement.OFFLOADED}
"""Where all of a denoiser is on the GPU while it runs: hooks in it that move its layers do not go with cached or
compiled blocks.
"""


@dataclass(frozen=True, slots=True)
class Levers:
    """What is pulled; `compiled` blocks take tens of seconds the first time, at whatever size."""

    attention: str = _NATIVE
    cache: StepCache | None = None
    compiled: bool = False

    @property
    def pulled(self) -> bool:
        return self != Levers()

    @property
    def said(self) -> str:
        parts = [f"{self.attention.strip('_').replace('_', ' ')} attention"]
        parts += [f"{self.cache.kind} cache at {self.cache.threshold:g}"] if self.cache is not None else []
        parts += ["compiled blocks"] if self.compiled else []
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Offer:
    """What could be pulled, untried: one of some attention kernels, the fastest first, and the rest."""

    attention: tuple[str, ...] = ()
    cache: StepCache | None = None
    compiled: bool = False


def choose_speed(wish: Speed | None, device: torch.device) -> Speed:
    """The preset in force on a device."""
    return Speed.EXACT if device.type != "cuda" else wish or Speed.BALANCED


def offered(pipe: DiffusionPipeline, speed: Speed, placement: Placement, caches: StepCaches) -> Offer:
    """What the preset allows, the model has a use for and the machine has. Nothing of it is pulled afterwards."""
    if speed is Speed.EXACT:
        slow_down(pipe)
        return Offer()
    models = _models(pipe)
    attention = tuple(kernel for kernel in _ATTENTION[speed] if _is_here(kernel, models))
    slow_down(pipe)
    if placement not in _IN_PLACE:
        return Offer(attention)
    cache = caches.balanced if speed is Speed.BALANCED else caches.fast
    if isinstance(cache, Mag) and len(models) > 1:
        log.warning("A mag cache is for models with one denoiser, since it counts the steps: left out.")
        cache = None
    if not any(isinstance(model, CacheMixin) for model in models):
        cache = None
    return Offer(attention, cache, compiled=bool(_blocks(models)))


def pull(pipe: DiffusionPipeline, levers: Levers, ratios: Sequence[float], steps: int) -> None:
    """Pull these levers and no others. Every take will have as many steps; `ratios` are `StepCaches.ratios`."""
    slow_down(pipe)
    models = _models(pipe)
    if levers.attention != _NATIVE:
        _attend(models, levers.attention)
    # Compiled first: a cache's hooks decide between blocks, which would end a graph, and stay outside.
    if levers.compiled:
        for block in _blocks(models):
            # For any number of tokens: left to itself the compiler makes two graphs of each, and more for each side.
            block.forward = torch.compile(block.forward, dynamic=True)
    if levers.cache is not None:
        _cache(models, levers.cache, ratios, steps)


def drop_cache(pipe: DiffusionPipeline, levers: Levers) -> Levers:
    """Undo the step cache alone: it keeps several copies of a denoiser's state."""
    for model in _models(pipe):
        if isinstance(model, CacheMixin) and model.is_cache_enabled:
            model.disable_cache()
        if _HANDOVER in vars(model):
            vars(model).pop(_HANDOVER).remove()
    return replace(levers, cache=None)


def slow_down(pipe: DiffusionPipeline) -> Levers:
    """Undo all of it: plain diffusers again."""
    drop_cache(pipe, Levers())
    models = _models(pipe)
    for model in models:
        if _listens(model):
            model.reset_attention_backend()
    for block in _blocks(models):
        if hasattr(vars(block).get("forward"), _COMPILED):
            del block.forward
    return Levers()


def _models(pipe: DiffusionPipeline) -> list[ModelMixin]:
    return [part for part in denoisers(pipe) if isinstance(part, ModelMixin)]


def _blocks(models: Iterable[ModelMixin]) -> list[nn.Module]:
    return [block for model in models for name in _REPEATED for block in getattr(model, name, ())]


def _listens(model: ModelMixin) -> bool:
    """Whether any attention of a model can be told which kernel to use."""
    return any(hasattr(getattr(part, "processor", None), "_attention_backend") for part in model.modules())


def _is_here(kernel: str, models: Sequence[ModelMixin]) -> bool:
    """Whether all denoisers can be told to use a kernel."""
    if not all(_listens(model) for model in models):
        return False
    try:
        _attend(models, kernel)
    except (RuntimeError, ValueError) as error:
        log.debug("No %s attention: %s", kernel, error)
        return False
    return True


def _attend(models: Sequence[ModelMixin], kernel: str) -> None:
    """Raises where the kernel is not installed."""
    try:
        for model in models:
            model.set_attention_backend(kernel)
    finally:
        # It was made everybody's default too; a VAE's attention may be too wide for it.
        _AttentionBackendRegistry.set_active_backend(AttentionBackendName.NATIVE)


def _cache(models: Sequence[ModelMixin], cache: StepCache, ratios: Sequence[float], steps: int) -> None:
    for block, metadata in _UNREGISTERED.items():
        TransformerBlockRegistry.register(block, metadata)
    handover = _Handover()
    for model in models:
        vars(model)[_HANDOVER] = model.register_forward_pre_hook(handover)
        # Both count and remember by pass, with the words and without.
        if isinstance(model, CacheMixin) and isinstance(cache, Mag):
            model.enable_cache(MagCacheConfig(cache.threshold, cache.most, cache.kept, steps, list(ratios)))
        elif isinstance(model, CacheMixin):
            model.enable_cache(FirstBlockCacheConfig(cache.threshold))


class _Handover:
    """Empties the cache of a denoiser once another one works: the take does not come back to the first."""

    def __init__(self) -> None:
        self._last: nn.Module | None = None

    def __call__(self, denoiser: nn.Module, _: object) -> None:
        if self._last is not None and self._last is not denoiser:
            HookRegistry.check_if_exists_or_initialize(self._last).reset_stateful_hooks()
        self._last = denoiser
