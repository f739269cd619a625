"""What makes a loaded model faster at equal steps: attention kernels, a step cache, compiled blocks.

`exact` is plain diffusers to the bit. `balanced` takes what hardly shows, `fast` what may show in a side by side. On a
CPU all of it is `exact`: there is nothing to gain, and tests compare bits. Whatever a machine lacks is left out.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from diffusers.hooks._helpers import TransformerBlockMetadata, TransformerBlockRegistry
from diffusers.hooks.first_block_cache import FirstBlockCacheConfig
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
_COMPILED = "_torchdynamo_orig_callable"
"""What marks a function that was compiled."""
_IN_PLACE = {Placement.WHOLE, Placement.EVICTED}
"""Where a denoiser's weights stay on the GPU: hooks that move them do not go with cached or compiled blocks."""


@dataclass(frozen=True, slots=True)
class Levers:
    """What was pulled, for the log; `compiled` blocks take tens of seconds the first time, at whatever size."""

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


def choose_speed(wish: Speed | None, device: torch.device) -> Speed:
    """The preset in force on a device."""
    return Speed.EXACT if device.type != "cuda" else wish or Speed.BALANCED


def speed_up(pipe: DiffusionPipeline, speed: Speed, placement: Placement, caches: StepCaches, steps: int) -> Levers:
    """Pull what the preset allows, the model honours and the machine has. Every take will have as many steps."""
    if speed is Speed.EXACT:
        return Levers()
    models = [part for part in denoisers(pipe) if isinstance(part, ModelMixin)]
    attention = _attend(models, _ATTENTION[speed])
    if placement not in _IN_PLACE:
        return Levers(attention)
    # Compiled first: a cache's hooks decide between blocks, which would end a graph, and stay outside.
    compiled = _compile(models)
    cache = caches.balanced if speed is Speed.BALANCED else caches.fast
    return Levers(attention, _cache(models, cache, caches.ratios, steps), compiled)


def drop_cache(pipe: DiffusionPipeline, levers: Levers) -> Levers:
    """Undo the step cache alone: it keeps several copies of a denoiser's state."""
    for part in denoisers(pipe):
        if isinstance(part, CacheMixin) and part.is_cache_enabled:
            part.disable_cache()
    return replace(levers, cache=None)


def slow_down(pipe: DiffusionPipeline) -> Levers:
    """Undo all of it: plain diffusers again."""
    drop_cache(pipe, Levers())
    for part in denoisers(pipe):
        if not isinstance(part, ModelMixin):
            continue
        part.set_attention_backend(_NATIVE)
        for block in part.modules():
            if hasattr(vars(block).get("forward"), _COMPILED):
                del block.forward
    return Levers()


def _attend(models: Sequence[ModelMixin], kernels: Sequence[str]) -> str:
    """The first kernel that is installed, for all denoisers alike."""
    try:
        for kernel in (*kernels, _NATIVE):
            try:
                for model in models:
                    model.set_attention_backend(kernel)
            except (RuntimeError, ValueError) as error:
                log.debug("No %s attention: %s", kernel, error)
            else:
                return kernel
    finally:
        # It was made everybody's default too; a VAE's attention may be too wide for it.
        _AttentionBackendRegistry.set_active_backend(AttentionBackendName.NATIVE)
    return _NATIVE


def _cache(
    models: Sequence[ModelMixin], cache: StepCache | None, ratios: Sequence[float], steps: int
) -> StepCache | None:
    """The cache, unless there is none for these models."""
    if isinstance(cache, Mag) and len(models) > 1:
        log.warning("A mag cache is for models with one denoiser, since it counts the steps: left out.")
        return None
    caching = [model for model in models if isinstance(model, CacheMixin)]
    if cache is None or not caching:
        return None
    for block, metadata in _UNREGISTERED.items():
        TransformerBlockRegistry.register(block, metadata)
    for model in caching:
        # Both count and remember by pass, with the words and without.
        if isinstance(cache, Mag):
            model.enable_cache(MagCacheConfig(cache.threshold, cache.most, cache.kept, steps, list(ratios)))
        else:
            model.enable_cache(FirstBlockCacheConfig(cache.threshold))
    return cache


def _compile(models: Sequence[ModelMixin]) -> bool:
    """Only the blocks that repeat: seconds instead of minutes."""
    blocks = [
        block
        for model in models
        for block in model.modules()
        if type(block).__name__ in (getattr(model, "_repeated_blocks", None) or ())
    ]
    for block in blocks:
        # For any number of tokens: left to itself the compiler makes two graphs of each, and more for each side.
        block.forward = torch.compile(block.forward, dynamic=True)
    return bool(blocks)
