"""What makes a loaded model faster at equal steps: attention kernels, a step cache, compiled blocks.

`exact` is plain diffusers to the bit. `balanced` takes what hardly shows, `fast` what may show in a side by side. On a
CPU all of it is `exact`: there is nothing to gain, and tests compare bits. Whatever a machine lacks is left out.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers.hooks.first_block_cache import FirstBlockCacheConfig
from diffusers.models.attention_dispatch import (
    AttentionBackendName,
    _AttentionBackendRegistry,  # pyright: ignore[reportPrivateUsage] - nothing public sets the default back
)
from diffusers.models.modeling_utils import ModelMixin
from diffusers.pipelines.pipeline_utils import DiffusionPipeline

from clips.catalog import Placement, Speed
from generator.engines.diffusers.placing import denoisers

log = logging.getLogger(__name__)

_NATIVE = "native"
_ATTENTION: dict[Speed, Sequence[str]] = {
    Speed.EXACT: (),
    Speed.BALANCED: ("_flash_3", "flash", "_native_cudnn"),
    Speed.FAST: ("sage", "_flash_3", "flash", "_native_cudnn"),
}
"""Kernels by falling speed. `sage` computes in 8 bits."""
_THRESHOLD = {Speed.BALANCED: 0.05, Speed.FAST: 0.1}
"""How much the first block's output may change from a full step on before the other blocks run again."""
_CACHED = {"WanTransformer3DModel", "LTXVideoTransformer3DModel", "CogVideoXTransformer3DModel"}
"""Denoisers whose first block tells how much the others will change. LTX-2 refuses it; UNets have no blocks."""
_MOST_CACHED = 20
"""Steps below which every step matters: models distilled to few steps fall apart with a cache."""
_IN_PLACE = {Placement.WHOLE, Placement.EVICTED}
"""Where a denoiser's weights stay on the GPU: hooks that move them do not go with cached or compiled blocks."""


@dataclass(frozen=True, slots=True)
class Levers:
    """What was pulled, for the log; `compiled` blocks take tens of seconds the first time, at whatever size."""

    attention: str = _NATIVE
    cache: float | None = None
    compiled: bool = False

    @property
    def pulled(self) -> bool:
        return self != Levers()

    @property
    def said(self) -> str:
        parts = [f"{self.attention.strip('_').replace('_', ' ')} attention"]
        parts += [f"first-block cache at {self.cache:g}"] if self.cache is not None else []
        parts += ["compiled blocks"] if self.compiled else []
        return ", ".join(parts)


def choose_speed(wish: Speed | None, device: torch.device) -> Speed:
    """The preset in force on a device."""
    return Speed.EXACT if device.type != "cuda" else wish or Speed.BALANCED


def speed_up(pipe: DiffusionPipeline, speed: Speed, placement: Placement, steps: int) -> Levers:
    """Pull what the preset allows, the model honours and the machine has."""
    if speed is Speed.EXACT:
        return Levers()
    models = [part for part in denoisers(pipe) if isinstance(part, ModelMixin)]
    in_place = placement in _IN_PLACE
    cache = _cache(models, _THRESHOLD[speed]) if in_place and steps >= _MOST_CACHED else None
    return Levers(_attend(models, _ATTENTION[speed]), cache, in_place and _compile(models))


def slow_down(pipe: DiffusionPipeline) -> Levers:
    """Undo all of it: plain diffusers again."""
    for part in denoisers(pipe):
        if not isinstance(part, ModelMixin):
            continue
        part.set_attention_backend(_NATIVE)
        if getattr(part, "is_cache_enabled", False):
            part.disable_cache()
        for block in part.modules():
            block._compiled_call_impl = None  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - torch has no other way back
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


def _cache(models: Sequence[ModelMixin], threshold: float) -> float | None:
    if not models or any(type(model).__name__ not in _CACHED for model in models):
        return None
    for model in models:
        model.enable_cache(FirstBlockCacheConfig(threshold=threshold))
    return threshold


def _compile(models: Sequence[ModelMixin]) -> bool:
    """Only the blocks that repeat: seconds instead of minutes. A cache decides between blocks, which ends a graph."""
    compiled = False
    for model in models:
        if getattr(model, "_repeated_blocks", None):
            # For any number of tokens: left to itself the compiler makes two graphs of each, and more for each side.
            model.compile_repeated_blocks(dynamic=True)
            compiled = True
    return compiled
