"""Low-rank weights in the forms in which they are published: as strong as they were trained, or refused."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from diffusers.models.modeling_utils import ModelMixin
from diffusers.pipelines.ltx.pipeline_ltx_condition import LTXConditionPipeline
from diffusers.pipelines.ltx2.pipeline_ltx2_condition import LTX2ConditionPipeline
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.pipelines.wan.pipeline_wan_i2v import WanImageToVideoPipeline
from safetensors.torch import save_file
from tiny_ltx import ltx_transformer
from tiny_wan import wan_transformer
from torch import nn

from clips.errors import SetupError
from clips.repositories import Lora
from generator.engines.diffusers.lora import LowRank

LORA = Lora(repo="somebody/lora", file="few.safetensors")
RANK = 4
QUERY = "blocks.1.attn1.to_q"
"""24 to 24 numbers in the tiny Wan."""
LTX_QUERY = "transformer_blocks.1.attn1.to_q"
"""32 to 32 in the tiny LTX."""


def ones(name: str, width: int, down: str = "lora_A", up: str = "lora_B") -> dict[str, torch.Tensor]:
    """Up times down is `RANK` everywhere."""
    return {f"{name}.{down}.weight": torch.ones(RANK, width), f"{name}.{up}.weight": torch.ones(width, RANK)}


def merged(
    folder: Path,
    weights: Mapping[str, torch.Tensor],
    header: Mapping[str, object] | None = None,
    pipeline: type[DiffusionPipeline] = WanImageToVideoPipeline,
    transformer: ModelMixin | None = None,
    path: str = QUERY,
) -> float:
    """What was added to each weight at the path."""
    torch.manual_seed(1)
    transformer = transformer or wan_transformer(36, 16)
    linear = transformer.get_submodule(path)
    assert isinstance(linear, nn.Linear)
    before = linear.weight.detach().clone()
    told = {"lora_adapter_metadata": json.dumps(header)} if header else None
    save_file(dict(weights), folder / "lora.safetensors", metadata=told)
    LowRank.read(pipeline, LORA, folder / "lora.safetensors", {"transformer"}).merge("transformer", transformer)
    change = linear.weight.detach() - before
    assert change.std() < 1e-5
    return float(change.mean())


def test_without_an_alpha_it_is_as_strong_as_it_is_written(tmp_path: Path) -> None:
    assert merged(tmp_path, ones(f"transformer.{QUERY}", 24)) == pytest.approx(RANK)


@pytest.mark.parametrize(
    ("name", "down", "up"),
    [
        (f"transformer.{QUERY}", "lora_A", "lora_B"),
        ("diffusion_model.blocks.1.self_attn.q", "lora_down", "lora_up"),
        ("diffusion_model.blocks.1.self_attn.q", "lora_A", "lora_B"),
    ],
)
def test_alpha_over_the_rank_scales_it(name: str, down: str, up: str, tmp_path: Path) -> None:
    weights = ones(name, 24, down, up) | {f"{name}.alpha": torch.tensor(1.0)}
    assert merged(tmp_path, weights) == pytest.approx(1.0)


def test_a_module_without_an_alpha_has_none_of_its_neighbours(tmp_path: Path) -> None:
    other = "transformer.blocks.0.attn1.to_q"
    weights = ones(f"transformer.{QUERY}", 24) | ones(other, 24) | {f"{other}.alpha": torch.tensor(1.0)}
    assert merged(tmp_path, weights) == pytest.approx(RANK)


@pytest.mark.parametrize(
    ("header", "change"),
    [
        ({"transformer.lora_alpha": 2, "transformer.r": RANK}, 2.0),
        ({"transformer.lora_alpha": 2, "transformer.alpha_pattern": {"attn1.to_q": 8}}, 8.0),
        ({"transformer.lora_alpha": 2, "transformer.alpha_pattern": {"attn2.to_q": 8}}, 2.0),
        ({"transformer.lora_alpha": 2, "transformer.use_rslora": True}, 4.0),
    ],
)
def test_the_header_of_a_trained_adapter_scales_it(header: Mapping[str, object], change: float, tmp_path: Path) -> None:
    assert merged(tmp_path, ones(f"transformer.{QUERY}", 24), header) == pytest.approx(change)


@pytest.mark.parametrize(("down", "up"), [("lora_A", "lora_B"), ("lora_down", "lora_up")])
def test_the_names_of_ltx_are_its_own(down: str, up: str, tmp_path: Path) -> None:
    name = f"diffusion_model.{LTX_QUERY}"
    weights = ones(name, 32, down, up) | {f"{name}.alpha": torch.tensor(2.0)}
    assert merged(tmp_path, weights, None, LTXConditionPipeline, ltx_transformer(), LTX_QUERY) == pytest.approx(2.0)


def test_a_changed_bias_is_added(tmp_path: Path) -> None:
    transformer, name = wan_transformer(36, 16), "diffusion_model.blocks.0.ffn.0"
    bias = transformer.get_parameter("blocks.0.ffn.net.0.proj.bias")
    before = bias.detach().clone()
    save_file({f"{name}.diff_b": torch.ones(32)}, tmp_path / "bias.safetensors")
    change = LowRank.read(WanImageToVideoPipeline, LORA, tmp_path / "bias.safetensors", {"transformer"})
    change.merge("transformer", transformer)
    assert torch.allclose(bias, before + 1)


WAN = ones("diffusion_model.blocks.1.self_attn.q", 24)


@pytest.mark.parametrize(
    ("pipeline", "weights", "said"),
    [
        (WanImageToVideoPipeline, WAN | {"diffusion_model.blocks.0.norm3.diff": torch.ones(24)}, "norm3.diff"),
        (WanImageToVideoPipeline, WAN | {"diffusion_model.patch_embedding.diff": torch.ones(24)}, "patch_embedding"),
        (
            WanImageToVideoPipeline,
            ones(f"transformer.{QUERY}", 24) | {f"transformer.{QUERY}.dora_scale": torch.ones(24)},
            "dora_scale",
        ),
        (WanImageToVideoPipeline, {f"transformer.{QUERY}.lora_B.weight": torch.ones(24, RANK)}, "to_q.lora_B.weight"),
        (LTX2ConditionPipeline, ones(f"diffusion_model.{LTX_QUERY}", 32) | ones("other.to_q", 32), "other.to_q.lora"),
        (LTXConditionPipeline, {f"transformer.{LTX_QUERY}.diff": torch.ones(32, 32)}, "to_q.diff"),
        (WanImageToVideoPipeline, {}, "no low-rank weights"),
    ],
)
def test_what_would_be_left_out_is_refused(
    pipeline: type[DiffusionPipeline], weights: Mapping[str, torch.Tensor], said: str, tmp_path: Path
) -> None:
    with pytest.raises(SetupError, match=rf"few.safetensors of somebody/lora does not fit into transformer \(.*{said}"):
        merged(tmp_path, weights, None, pipeline)


def test_zeros_in_the_place_of_a_change_are_no_loss(tmp_path: Path) -> None:
    assert merged(tmp_path, WAN | {"diffusion_model.blocks.0.norm3.diff": torch.zeros(24)}) == pytest.approx(RANK)
