"""What a render adds to a model's weights, estimated from the configurations beside them. Pure.

Good to about a third: enough to tell which card will do. The constants count live tensors of the widest kind, by
running the networks on tensors without numbers; what a kernel takes for itself is not among them. A memory plan that
turns out too bold is mended by the next leaner one.
"""

import math
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import cast

from clips.catalog import Model, Size
from clips.domain import ClipSpec, Plan
from generator.engines.diffusers.checkpoint import Checkpoint, Config
from generator.engines.diffusers.memory import Needs, Part, is_denoiser


@dataclass(frozen=True, slots=True)
class _Denoiser:
    """What a denoiser holds at its peak: `live` tensors of its width for each token of a pass.

    `together`: a guided step is one pass of two clips, with the words and without. `frames`: a pass sees so many latent
    frames at most.
    """

    live: int
    together: bool = False
    frames: int = 1 << 20


_DENOISERS = {
    "WanTransformer3DModel": _Denoiser(12),
    "WanTransformer3DModel, timed": _Denoiser(33),
    "SkyReelsV2Transformer3DModel": _Denoiser(12),
    "LTXVideoTransformer3DModel": _Denoiser(30, together=True),
    "LTX2VideoTransformer3DModel": _Denoiser(45, together=True),
    "CogVideoXTransformer3DModel": _Denoiser(14, together=True),
    "HunyuanVideoTransformer3DModel": _Denoiser(19),
    "HunyuanVideoFramepackTransformer3DModel": _Denoiser(19, frames=12),  # 9 are painted, what it packs is as 3 more
    "HunyuanVideo15Transformer3DModel": _Denoiser(19),
}
"""By their classes. `timed`: each token has a time of its own, of six widths."""
_UNET = _Denoiser(33, together=True)
_OTHER = _Denoiser(33)


@dataclass(frozen=True, slots=True)
class _Decoder:
    """What a decoder holds at its peak: `live` tensors of its widest kind, what a causal one remembers among them.

    They are of `frames` frames at a time, the clip's where that is 0; in tiles, of `tiled` frames of so many pixels
    across and down. `rows`: a row of tiles is there for the whole clip, and else the whole picture for some frames.
    """

    live: int
    frames: int = 0
    tiled: int = 17
    tile: tuple[int, int] = (512, 512)
    rows: bool = False


_DECODERS = {
    "AutoencoderKL": _Decoder(6, 1, 1),
    "AutoencoderKLTemporalDecoder": _Decoder(8, 8, 1, tile=(1 << 20, 1 << 20)),  # knows no tiles
    "AutoencoderKLWan": _Decoder(13, 4, 4, (256, 256), rows=True),
    "AutoencoderKLWan, residual": _Decoder(21, 4, 4, (256, 256), rows=True),
    "AutoencoderKLCogVideoX": _Decoder(22, 8, 8, (360, 240), rows=True),
    "AutoencoderKLHunyuanVideo": _Decoder(9, 17, 17, (256, 256)),
    "AutoencoderKLHunyuanVideo15": _Decoder(15, 4, 4, (256, 256), rows=True),
    "AutoencoderKLLTX2Video": _Decoder(5),
}
"""By their classes; another one is taken for LTX-Video's, which decodes the clip in one piece."""
_LTX = _Decoder(6)
_COMPRESSIONS = {
    "AutoencoderKL": (8, 1),
    "AutoencoderKLTemporalDecoder": (8, 1),
    "AutoencoderKLLTXVideo": (32, 8),  # the first ones do not say
}
"""Of those VAEs that do not name theirs, and are not as most are."""
_COPIES_OF_TILES = 3
"""The tiles, which overlap, and what they are put together to."""


def needs_of(
    checkpoint: Checkpoint, precise: AbstractSet[str], itemsize: int, plan: Plan, *, guided: bool = True
) -> Needs:
    """What a checkpoint needs to render a plan: `precise` components take 4 bytes a number, the others `itemsize`.

    `guided`: by more than the words alone.
    """
    parts = {name: Part(numbers, 4 if name in precise else itemsize) for name, numbers in checkpoint.numbers.items()}
    vae, denoiser = checkpoint.configs.get("vae", {}), _denoiser(checkpoint.configs)
    width = parts["vae"].itemsize if "vae" in parts else itemsize
    return Needs.of(
        parts,
        step=step_room(denoiser, vae, plan, guided=guided) * itemsize // 2,
        decode=decode_room(vae, width, plan, tiled=False),
        tiled=decode_room(vae, width, plan, tiled=True),
    )


def largest(model: Model) -> Plan:
    """The most that a member can ask of a model."""
    return max(_plans(model, model.longest), key=_volume)


def smallest(model: Model) -> Plan:
    """The least that a member can ask of a model."""
    return min(_plans(model, model.shortest), key=_volume)


def _plans(model: Model, seconds: float) -> list[Plan]:
    sizes = cast("Mapping[Size, tuple[int, int]]", model.sizes).items()
    return [model.plan(ClipSpec(model.name, seconds=seconds, size=size), wide) for size, wide in sizes]


def _volume(plan: Plan) -> int:
    return plan.width * plan.height * plan.frames


def step_room(denoiser: Config, vae: Config, plan: Plan, *, guided: bool) -> int:
    """Bytes of activations in one step of the denoiser, in 16 bits."""
    across, along = _compression(vae)
    kind = f"{denoiser.get('_class_name')}"
    # A photo that is not among the channels is among the latents, and is not as noisy as they are.
    timed = denoiser.get("in_channels") == denoiser.get("out_channels") is not None
    heads, wide = denoiser.get("num_attention_heads"), denoiser.get("attention_head_dim")
    if isinstance(heads, int) and isinstance(wide, int):
        width, usual = heads * wide, _OTHER
    else:
        width, usual = _first(denoiser, "block_out_channels", 320), _UNET
    live = _DENOISERS.get(f"{kind}, timed" if timed else kind) or _DENOISERS.get(kind, usual)
    patch = denoiser.get("patch_size", 1)
    over = _first(denoiser, "patch_size_t", 1)
    sides = cast("list[int]", patch) if isinstance(patch, list) else [over, cast("int", patch), cast("int", patch)]
    frames = min(math.ceil(plan.frames / along), live.frames)
    tokens = math.ceil(frames / sides[0]) * (plan.height // across) * (plan.width // across) // math.prod(sides[1:])
    clips = 2 if guided and live.together else 1
    return tokens * width * 2 * live.live * clips


def decode_room(vae: Config, itemsize: int, plan: Plan, *, tiled: bool) -> int:
    """Bytes of activations while latents become frames, and of the frames that are not with the encoder yet."""
    kind = f"{vae.get('_class_name')}{', residual' if vae.get('is_residual') else ''}"
    decoder = _DECODERS.get(kind, _LTX)
    width, height, at_once = plan.width, plan.height, min(decoder.frames or plan.frames, plan.frames)
    held = width * height * at_once
    if tiled:
        width, height = min(width, decoder.tile[0]), min(height, decoder.tile[1])
        at_once = min(decoder.tiled, plan.frames)
        row = plan.width * height * plan.frames
        held = (row if decoder.rows else plan.width * plan.height * at_once) * _COPIES_OF_TILES
    patch = vae.get("patch_size")
    folded = patch**2 if isinstance(patch, int) else 1
    channels = _first(vae, "decoder_base_dim", 0) or _first(vae, "base_dim", 0)
    channels = channels or _first(vae, "decoder_block_out_channels", 0) or _first(vae, "block_out_channels", 128)
    channels //= _first(vae, "upsample_factor", 1)
    return (width * height // folded * at_once * channels * decoder.live + held * 3) * itemsize


def _denoiser(configs: Mapping[str, Config]) -> Config:
    return next((config for name, config in configs.items() if is_denoiser(name)), {})


def _compression(vae: Config) -> tuple[int, int]:
    """How many pixels across, and how many frames, a latent stands for."""
    across = _first(vae, "scale_factor_spatial", 0) or _first(vae, "spatial_compression_ratio", 0)
    along = _first(vae, "scale_factor_temporal", 0) or _first(vae, "temporal_compression_ratio", 0)
    usual = _COMPRESSIONS.get(f"{vae.get('_class_name')}", (8, 4))
    return across or usual[0], along or usual[1]


def _first(config: Config, name: str, default: int) -> int:
    """A number of a configuration, or the first of several."""
    found = config.get(name)
    if isinstance(found, list) and found:
        found = cast("list[object]", found)[0]
    return found if isinstance(found, int) else default
