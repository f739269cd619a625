"""Tokenizers and text encoders of the tiny models, made here: there is no hub in the tests."""

import re
import string
from collections.abc import Callable
from typing import TypeVar, cast

from transformers import (
    AddedToken,
    ByT5Tokenizer,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    CLIPVisionConfig,
    LlamaConfig,
    LlamaModel,
    LlamaTokenizer,
    LlavaConfig,
    LlavaForConditionalGeneration,
    Qwen2_5_VLTextConfig,
    Qwen2_5_VLTextModel,
    Qwen2Tokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
    UMT5Config,
    UMT5EncoderModel,
)

Part = TypeVar("Part")

LETTERS = string.ascii_letters + string.digits + string.punctuation


def made(kind: Callable[..., Part], **parameters: object) -> Part:
    """A part of a pipeline. Diffusers annotates many a parameter narrower than what it takes and its models have."""
    return kind(**parameters)


def byte_letters() -> list[str]:
    """The letter that a byte-level vocabulary writes for each byte: its own where it can be printed."""
    printed = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in printed]
    letters = {byte: chr(byte) for byte in printed} | {byte: chr(256 + n) for n, byte in enumerate(rest)}
    return [letters[byte] for byte in range(256)]


def clip_tokenizer() -> CLIPTokenizer:
    """A token a letter."""
    letters = byte_letters()
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={token: n for n, token in enumerate(tokens)}, merges=[], model_max_length=77)


def clip_text(width: int, *, projection: int = 8) -> CLIPTextModel:
    """For `clip_tokenizer`."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=514,
            hidden_size=width,
            intermediate_size=16,
            num_attention_heads=2,
            num_hidden_layers=2,
            projection_dim=projection,
            bos_token_id=512,
            eos_token_id=513,
            pad_token_id=513,
        )
    ).eval()


def t5_tokenizer() -> T5Tokenizer:
    """A token a letter."""
    return T5Tokenizer(
        vocab=[("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *((letter, -3.0) for letter in LETTERS)],
        extra_ids=0,
    )


def t5_text(width: int) -> T5EncoderModel:
    """For `t5_tokenizer`."""
    return T5EncoderModel(
        T5Config(
            vocab_size=len(LETTERS) + 4,
            d_model=width,
            d_kv=8,
            d_ff=37,
            num_layers=2,
            num_heads=2,
            relative_attention_num_buckets=8,
        )
    ).eval()


def llama_tokenizer(template: str) -> LlamaTokenizer:
    """A token a word of the template, whose tokens the pipeline counts, and a token a letter of anything else."""
    words = dict.fromkeys(re.findall(r"<[^>]*>|[a-z]+|[0-9.:,]", template.replace("{}", ""), re.IGNORECASE))
    tokens = ["<unk>", "<s>", "</s>", "<pad>", "▁", *LETTERS]
    tokenizer = LlamaTokenizer(
        vocab={token: n for n, token in enumerate(tokens)},
        merges=[],
        add_prefix_space=False,
        add_bos_token=True,
        padding_side="right",
        pad_token="<pad>",
    )
    tokenizer.add_tokens([AddedToken(word, lstrip=not word.startswith("<")) for word in words if word not in tokens])
    tokenizer.add_tokens(["\n\n"])
    return tokenizer


def llama_text(template: str) -> LlamaModel:
    """For `llama_tokenizer`."""
    return LlamaModel(_llama_config(template)).eval()


def llava(template: str) -> LlavaForConditionalGeneration:
    """For `llama_tokenizer`. It makes 576 tokens of a photo, as many as the pipeline counts on."""
    tokenizer = llama_tokenizer(template)
    return LlavaForConditionalGeneration(
        made(
            LlavaConfig,
            vision_config=CLIPVisionConfig(
                hidden_size=8,
                intermediate_size=16,
                num_attention_heads=2,
                num_hidden_layers=2,
                image_size=336,
                patch_size=14,
                projection_dim=8,
            ),
            text_config=_llama_config(template),
            pad_token_id=cast("int", tokenizer.pad_token_id),
            image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        )
    ).eval()


def _llama_config(template: str) -> LlamaConfig:
    tokenizer = llama_tokenizer(template)
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=3,  # the pipelines read the states of the last but two
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        pad_token_id=cast("int", tokenizer.pad_token_id),
    )


def qwen_tokenizer() -> Qwen2Tokenizer:
    """A token a letter, in Qwen's chat form."""
    tokens = ["<|endoftext|>", *byte_letters()]
    tokenizer = Qwen2Tokenizer(vocab={token: n for n, token in enumerate(tokens)}, merges=[])
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.chat_template = (
        "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    return tokenizer


def qwen_text() -> Qwen2_5_VLTextModel:
    """For `qwen_tokenizer`."""
    return Qwen2_5_VLTextModel(
        made(
            Qwen2_5_VLTextConfig,
            vocab_size=259,
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=3,  # the pipeline reads the states of the last but two
            num_attention_heads=2,
            num_key_value_heads=2,
            rope_parameters={"rope_type": "default", "rope_theta": 1e6, "mrope_section": [1, 1, 2]},
            bos_token_id=None,
            eos_token_id=0,
            pad_token_id=0,
        )
    ).eval()


def byt5_tokenizer() -> ByT5Tokenizer:
    """A token a byte: it needs no vocabulary."""
    return ByT5Tokenizer(extra_ids=0)


def byt5_text(width: int) -> T5EncoderModel:
    """For `byt5_tokenizer`."""
    return T5EncoderModel(T5Config(vocab_size=259, d_model=width, d_kv=8, d_ff=37, num_layers=2, num_heads=2)).eval()


def umt5_text(width: int) -> UMT5EncoderModel:
    """For `t5_tokenizer`."""
    return UMT5EncoderModel(
        UMT5Config(
            vocab_size=len(LETTERS) + 4,
            d_model=width,
            d_kv=8,
            d_ff=37,
            num_layers=2,
            num_heads=4,
            relative_attention_num_buckets=8,
        )
    ).eval()
