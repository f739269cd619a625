"""Low-rank weights in one form, whatever form a file has them in, and nothing of the file left out unsaid.

Whose names are whose is diffusers' to know. It leaves most scales to another library, and drops what it cannot use.
"""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, cast

import torch
from safetensors import safe_open
from safetensors.torch import load_file

UP, DOWN, BIAS = ".lora_B.weight", ".lora_A.weight", ".lora_B.bias"
_ALPHA = ".alpha"
_ALIASES = {".lora_up.": ".lora_B.", ".lora.up.": ".lora_B.", ".lora_down.": ".lora_A.", ".lora.down.": ".lora_A."}
_IS_UP = re.compile(r"\.lora(_B|_up|\.up)\.weight$")
_MAY_CHANGE = re.compile(rf"{_IS_UP.pattern}|\.lora(_A|_down|\.down)\.weight$|\.alpha$")
"""What diffusers scales or splits on the way; all else it hands on as it is, or drops."""
_HEADER = "lora_adapter_metadata"  # where diffusers writes how an adapter was trained
_MOST_NAMED = 3


class ReadsLoras(Protocol):
    """A pipeline's class that knows in which forms the low-rank weights of its models are published."""

    @classmethod
    def lora_state_dict(cls, weights: dict[str, torch.Tensor], /) -> dict[str, torch.Tensor]: ...


def low_rank(pipeline: type, file: Path) -> dict[str, torch.Tensor]:
    """`UP`, `DOWN` and `BIAS` after the component and the path in it → what to multiply and add there, scaled already
    by alpha over the rank.

    Raises `ValueError` where the file holds none, or anything else that would change a model.
    """
    given = load_file(file)
    left = {
        _renamed(name): weight for name, weight in cast("type[ReadsLoras]", pipeline).lora_state_dict({**given}).items()
    }
    unused = _dropped(given, left)
    trained = _trained(file)
    read: dict[str, torch.Tensor] = {}
    for path in sorted(name.removesuffix(UP) for name in left if name.endswith(UP) and _twin(name) in left):
        read[path + UP], down = left.pop(path + UP), left.pop(path + DOWN)
        alpha, rank = left.pop(path + _ALPHA, None), down.shape[0]
        scale = _scale(trained, path, rank) if alpha is None else alpha.item() / rank
        read[path + DOWN] = down if scale == 1 else down.float() * scale
        if path + BIAS in left:
            read[path + BIAS] = left.pop(path + BIAS) * scale
    read |= {name: left.pop(name) for name in sorted(left) if name.endswith(BIAS)}
    unused += [name for name, weight in left.items() if weight.any()]
    if unused:
        more = f" and {len(unused) - _MOST_NAMED} more" if len(unused) > _MOST_NAMED else ""
        raise ValueError(f"it holds what cannot be merged: {', '.join(sorted(unused)[:_MOST_NAMED])}{more}")
    if not read:
        raise ValueError("it holds no low-rank weights")
    return read


def _renamed(name: str) -> str:
    for alias, ours in _ALIASES.items():
        name = name.replace(alias, ours)
    return name


def _twin(up: str) -> str:
    return up.removesuffix(UP) + DOWN


def _dropped(given: Mapping[str, torch.Tensor], named: Mapping[str, torch.Tensor]) -> list[str]:
    """What diffusers made nothing of; zeros, such as the changes of norms often are, are no loss."""
    kept = {weight.data_ptr() for weight in named.values()}
    ups = [sum(_IS_UP.search(name) is not None for name in names) for names in (given, named)]
    return [
        name
        for name, weight in given.items()
        if weight.data_ptr() not in kept and (ups[1] < ups[0] or not _MAY_CHANGE.search(name)) and weight.any()
    ]


def _trained(file: Path) -> Mapping[str, object]:
    with safe_open(file, "pt") as opened:
        header = cast("Mapping[str, str] | None", opened.metadata()) or {}
    return json.loads(header.get(_HEADER, "{}"))


def _scale(trained: Mapping[str, object], path: str, rank: int) -> float:
    """As the header says; 1 where it says nothing."""
    component, _, module = path.partition(".")
    alpha = cast("float", trained.get(f"{component}.lora_alpha", rank))
    special = cast("Mapping[str, float]", trained.get(f"{component}.alpha_pattern") or {})
    alpha = next((own for names, own in special.items() if re.fullmatch(rf"(.*\.)?({names})", module)), alpha)
    return alpha / (math.sqrt(rank) if trained.get(f"{component}.use_rslora") else rank)
