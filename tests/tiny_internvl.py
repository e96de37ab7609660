"""A tiny InternVL in the layout of its release, with random weights and a tokenizer of Qwen's kind; for tests, in a folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from seglm.model.released.internvl import original_names
from seglm.model.sizes import Sizes

SIDE, PATCH = 28, 7  # sixteen patches a square, which become four tokens
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
"""Qwen 2's, transformers/models/qwen2/tokenization_qwen2.py"""
ADDED = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<img>", "</img>", "<IMG_CONTEXT>")
WORDS = (
    "Please segment the red ring in this image. Sure, it is. <|user|> <|end|> <|assistant|>\nIt is.<|end|>"
)
VISION = dict(
    hidden_size=16,
    intermediate_size=32,
    num_hidden_layers=2,
    num_attention_heads=2,
    image_size=SIDE,
    patch_size=PATCH,
    attention_bias=True,
    use_qk_norm=False,
    norm_type="layer_norm",
    hidden_act="gelu",
    layer_norm_eps=1e-6,
)
LLM = dict(
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=512,
    rms_norm_eps=1e-6,
    hidden_act="silu",
)
KINDS = {"qwen2": "qwen2", "qwen3": "qwen3", "internlm2": "llama"}
"""`model_type` of the language model in the release -> in transformers"""


@cache
def tokenizer() -> PreTrainedTokenizerFast:
    made = Tokenizer(models.BPE())
    made.normalizer = normalizers.NFC()
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    made.decoder = decoders.ByteLevel()
    letters = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=letters, show_progress=False)
    made.train_from_iterator([WORDS] * 8, trainer)
    made.add_special_tokens(list(ADDED))
    return PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<|im_end|>", pad_token="<|endoftext|>")


def sizes_of(kind: str = "qwen2", **changes: object) -> Sizes:
    """Sizes in transformers' words; kind: `model_type` of the language model in the release."""
    llm = {**LLM, "vocab_size": len(tokenizer()), "tie_word_embeddings": False, "model_type": KINDS[kind]}
    return Sizes({**llm, **changes}, VISION, {}, "internvl_mlp", -1)


def random_tensors(shapes: Mapping[str, Tensor], *, seed: int = 0) -> dict[str, Tensor]:
    """Tensors of these shapes, large enough that nothing hides in rounding."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for name, like in shapes.items():
        scale = 0.1 if like.dim() < 2 else like[0].numel() ** -0.5
        base = 1.0 if "norm" in name and name.endswith("weight") else 0.0
        found[name] = base + scale * torch.randn(like.shape, generator=generator)
    return found


def config_of(kind: str = "qwen2") -> dict[str, Any]:
    """`config.json` of the release."""
    llm = {**LLM, "vocab_size": len(tokenizer()), "model_type": kind, "tie_word_embeddings": False}
    vision = {**VISION, "model_type": "intern_vit_6b", "qkv_bias": True, "qk_normalization": False}
    own = {"attention_bias", "use_qk_norm"}
    return {
        "model_type": "internvl_chat",
        "architectures": ["InternVLChatModel"],
        "downsample_ratio": 0.5,
        "ps_version": "v2",
        "select_layer": -1,
        "max_dynamic_patch": 12,
        "llm_config": llm,
        "vision_config": {key: value for key, value in vision.items() if key not in own},
    }


def write(folder: Path, tensors: Mapping[str, Tensor], *, kind: str = "qwen2") -> Path:
    """A folder of the release; tensors: under our names, of a backbone."""
    folder.mkdir(parents=True)
    groups = LLM["num_key_value_heads"]
    assert isinstance(groups, int)
    named = original_names(tensors, is_internlm=kind == "internlm2", groups=groups)
    save_file({name: tensor.contiguous() for name, tensor in named.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config_of(kind)))
    tokenizer().save_pretrained(folder)
    return folder
