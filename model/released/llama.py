"""The sizes of a Llama and of a CLIP tower, read by hand from `config.json` and checked against the tensors.

By hand, because the original LLaVA says `model_type: llava`, which transformers takes for its own LlavaConfig and misreads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seglm.model.released.checkpoint import CLIP_L, ProjectorKind, count_layers
from seglm.model.released.errors import WrongNames, WrongShapes

Shape = tuple[int, ...]

LLAMA_KEYS = (
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
    "max_position_embeddings", "rms_norm_eps", "hidden_act", "rope_theta", "rope_scaling", "rope_parameters", "head_dim",
    "attention_bias", "mlp_bias", "bos_token_id", "eos_token_id", "pad_token_id", "tie_word_embeddings",
)  # fmt: skip
LLAMA_DEFAULTS = {  # what configs of transformers 4.31 leave out: its LlamaConfig's own values
    "max_position_embeddings": 2048, "rms_norm_eps": 1e-6, "hidden_act": "silu", "tie_word_embeddings": False,
    "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
CLIP_KEYS = tuple(CLIP_L)


def llama_config(config: Mapping[str, Any], sizes: Mapping[str, Shape], *, source: str) -> dict[str, Any]:
    """Keyword arguments of LlamaConfig for these canonical shapes.

    config: `config.json` or its `text_config`. The vocabulary is taken from the tensors: tokens may have been added after the
    config was written. Raises WrongShapes if config and tensors contradict each other.
    """
    if "llm.embed_tokens.weight" not in sizes:
        raise WrongNames(
            f"{source}: no token embeddings (llm.embed_tokens.weight) among {len(sizes)} tensors; not a language model"
        )
    if not config.get("num_attention_heads"):
        raise WrongNames(
            f"{source}: no config.json with num_attention_heads beside the weights; tensors alone do not tell the heads"
        )
    chosen = {**LLAMA_DEFAULTS, **{key: config[key] for key in LLAMA_KEYS if config.get(key) is not None}}
    vocab, hidden = sizes["llm.embed_tokens.weight"]
    seen = {
        "hidden_size": hidden,
        "num_hidden_layers": count_layers(sizes, "llm.layers."),
        "intermediate_size": sizes.get(
            "llm.layers.0.mlp.gate_proj.weight", (chosen.get("intermediate_size"),)
        )[0],
    }
    for key, value in seen.items():
        if chosen.setdefault(key, value) != value:
            raise WrongShapes(
                f"{source}: config.json says {key} {chosen[key]}, the tensors say {value}; the two are not of one model"
            )
    return {**chosen, "vocab_size": vocab}


def clip_config(config: Mapping[str, Any], sizes: Mapping[str, Shape], *, source: str) -> dict[str, Any]:
    """Keyword arguments of CLIPVisionConfig; `config` is a CLIP config or its `vision_config`, empty if there is none.

    Shapes fix all but the heads; without a config these are CLIP's own, one for each 64 channels.
    """
    prefix = "vision.embeddings."
    if f"{prefix}patch_embedding.weight" not in sizes:
        raise WrongNames(f"{source}: no CLIP vision tower in these weights; give one with --vision-tower")
    hidden, _, patch, _ = sizes[f"{prefix}patch_embedding.weight"]
    side = round(
        (sizes[f"{prefix}position_embedding.weight"][0] - 1) ** 0.5
    )  # one position is the class token
    chosen = {key: config[key] for key in CLIP_KEYS if config.get(key) is not None}
    seen = {
        "hidden_size": hidden,
        "intermediate_size": sizes["vision.encoder.layers.0.mlp.fc1.weight"][0],
        "num_hidden_layers": count_layers(sizes, "vision.encoder.layers."),
        "image_size": side * patch,
        "patch_size": patch,
    }
    wrong = {key: value for key, value in seen.items() if chosen.get(key, value) != value}
    if wrong and config.get("model_type") in ("clip_vision_model", None):
        raise WrongShapes(
            f"{source}: config.json contradicts the tensors, which say {wrong}; the two are not of one model"
        )
    defaults = {"hidden_act": CLIP_L["hidden_act"], "layer_norm_eps": CLIP_L["layer_norm_eps"]}
    return {"num_attention_heads": max(1, hidden // 64), **defaults, **chosen, **seen}


def projector_kind(sizes: Mapping[str, Shape], *, source: str) -> ProjectorKind:
    """`linear` (LLaVA v1) or `mlp2x_gelu` (LLaVA 1.5), by the names. Raises WrongNames if there is no projector."""
    if "projector.weight" in sizes:
        return "linear"
    if "projector.0.weight" in sizes and "projector.2.weight" in sizes:
        return "mlp2x_gelu"
    inside = sorted(name for name in sizes if name.startswith("projector."))
    raise WrongNames(
        f"{source}: no mm_projector that we know (a Linear, or mlp2x_gelu); projector tensors: {inside or 'none'}"
    )
