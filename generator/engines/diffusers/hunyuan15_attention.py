"""HunyuanVideo 1.5's attention without the mask that diffusers makes for it: a square of the clip's tokens, 10 GiB at
480p and 50 at 720p.

Words that only pad the prompt are hidden from all tokens here. diffusers hides all tokens from them as well, which
changes nothing that anybody sees: what becomes of them is thrown away.
"""

from typing import Any, cast

import torch
from diffusers.models.attention_dispatch import dispatch_attention_fn
from diffusers.models.attention_processor import Attention
from diffusers.models.embeddings import apply_rotary_emb
from diffusers.models.transformers.transformer_hunyuan_video15 import (
    HunyuanVideo15AttnProcessor2_0,
    HunyuanVideo15Transformer3DModel,
)
from torch import nn

Tensors = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def mask_keys_only(transformer: HunyuanVideo15Transformer3DModel) -> None:
    """From now on its blocks need no room for the square. Weights and results are the same."""
    for block in transformer.transformer_blocks:
        cast("Any", block.attn).set_processor(_KeysMasked())  # its types know only processors of long ago


class _KeysMasked(HunyuanVideo15AttnProcessor2_0):
    """Called by a block with the clip's tokens and the words': (1, n, width), and a mask of the words (1, words)."""

    def __call__(  # pyright: ignore[reportIncompatibleMethodOverride] - a block gives all of them
        self,
        attn: Attention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        attention_mask: torch.Tensor,
        image_rotary_emb: object,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        count = hidden_states.shape[1]
        query, key, value = _heads(attn, hidden_states, ("to_q", "to_k", "to_v"), ("norm_q", "norm_k"))
        query, key = (
            cast("torch.Tensor", apply_rotary_emb(one, cast("Any", image_rotary_emb), sequence_dim=1))
            for one in (query, key)
        )
        words = _heads(
            attn, encoder_hidden_states, ("add_q_proj", "add_k_proj", "add_v_proj"), ("norm_added_q", "norm_added_k")
        )
        query, key, value = (torch.cat(pair, 1) for pair in zip((query, key, value), words, strict=True))
        keys = nn.functional.pad(attention_mask.bool(), (key.shape[1] - attention_mask.shape[1], 0), value=True)
        seen = dispatch_attention_fn(
            query,
            key,
            value,
            attn_mask=keys[:, None, None, :],
            backend=self._attention_backend,
            parallel_config=self._parallel_config,
        )
        seen = seen.flatten(2, 3).to(query.dtype)
        out, dropout = cast("nn.ModuleList", attn.to_out)
        return dropout(out(seen[:, :count])), cast("nn.Linear", attn.to_add_out)(seen[:, count:])


def _heads(attn: Attention, tokens: torch.Tensor, layers: tuple[str, str, str], norms: tuple[str, str]) -> Tensors:
    """Queries, keys and values, (1, n, heads, width of a head), the first two normed."""
    query, key, value = (getattr(attn, name)(tokens).unflatten(2, (attn.heads, -1)) for name in layers)
    return getattr(attn, norms[0])(query), getattr(attn, norms[1])(key), value
