"""The sizes of a Llama, a Phi-3, a Qwen and a CLIP tower, read by hand from `config.json` and checked against the tensors.

By hand, because the original LLaVA says `model_type: llava`, which transformers takes for its own LlavaConfig and misreads.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

from seglm.model.released.checkpoint import CLIP_L, count_layers
from seglm.model.released.config_keys import (
    VISION_TOWERS,
    chosen,
    followed,
    number,
    section,
)
from seglm.model.released.errors import WeightsError, WrongNames, WrongShapes
from seglm.model.sizes import ProjectorKind

Shape = tuple[int, ...]

COUNTS = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
          "max_position_embeddings", "head_dim")  # fmt: skip
HEADS = {768: 12, 1024: 16}  # channels of OpenAI's CLIPs -> heads
TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id")
LLAMA_DEFAULTS = {  # what configs of transformers 4.31 leave out: its LlamaConfig's own values
    "max_position_embeddings": 2048, "rms_norm_eps": 1e-6, "hidden_act": "silu", "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
PHI3_DEFAULTS = {  # Phi3Config's own
    "max_position_embeddings": 4096, "original_max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "hidden_act": "silu",
    "bos_token_id": 1, "eos_token_id": 32000, "pad_token_id": 0,
}  # fmt: skip


@dataclass(frozen=True)
class Family:
    """What language models of one kind share in their configs and tensors."""

    config: str
    """transformers' class of the config"""
    kinds: tuple[str, ...]
    """what `model_type` may be"""
    follows: tuple[str, ...]
    """numbers of its config that its forward follows, and not every one's"""
    defaults: Mapping[str, Any]
    """what its configs may leave out"""
    gate: tuple[str, int]
    """the first linear layer of an MLP, and how often the intermediate size its rows are"""
    is_fused: bool
    """queries, keys and values are one linear layer"""
    flags: tuple[str, ...] = ()
    """keys of its config that are true or false"""
    dropouts: tuple[str, ...] = ()
    """keys of its config that are shares"""
    rotary: str = "llama.modeling_llama:LlamaRotaryEmbedding"
    """transformers' class of its positions, below `transformers.models`"""


LLAMA = Family(
    config="LlamaConfig",
    kinds=("llava", "llava_llama", "llama", "internlm2"),
    follows=(),
    defaults=LLAMA_DEFAULTS,
    gate=("gate_proj", 1),
    is_fused=False,
    flags=("attention_bias", "mlp_bias"),
)
PHI3 = Family(
    config="Phi3Config",
    kinds=("llava", "llava_phi", "phi3"),
    follows=("sliding_window", "original_max_position_embeddings"),
    defaults=PHI3_DEFAULTS,
    gate=("gate_up_proj", 2),
    is_fused=True,
    dropouts=("resid_pdrop", "embd_pdrop", "attention_dropout"),
    rotary="phi3.modeling_phi3:Phi3RotaryEmbedding",
)
# Their windows are off (`use_sliding_window`), whatever the config says of their width.
QWEN2 = Family(
    config="Qwen2Config",
    kinds=("qwen2",),
    follows=("sliding_window", "max_window_layers"),
    defaults={"max_position_embeddings": 32768, "rms_norm_eps": 1e-6, "hidden_act": "silu"},
    gate=("gate_proj", 1),
    is_fused=False,
    dropouts=("attention_dropout",),
    rotary="qwen2.modeling_qwen2:Qwen2RotaryEmbedding",
)
QWEN3 = replace(
    QWEN2,
    config="Qwen3Config",
    kinds=("qwen3",),
    defaults={**QWEN2.defaults, "head_dim": 128},
    flags=("attention_bias",),
    rotary="qwen3.modeling_qwen3:Qwen3RotaryEmbedding",
)


def family_of(names: Iterable[str]) -> Family:
    """The family of a language model by the canonical names of its tensors; those of a vision tower may be among them."""
    marks = {name.partition(".self_attn.")[2] for name in names if name.startswith("llm.")}
    if "qkv_proj.weight" in marks:
        return PHI3
    if "q_norm.weight" in marks:
        return QWEN3
    # A Llama with biases has them in all four, a Qwen 2 has none in the last.
    return QWEN2 if "q_proj.bias" in marks and "o_proj.bias" not in marks else LLAMA


def language_config(config: Mapping[str, Any], sizes: Mapping[str, Shape], *, source: str) -> dict[str, Any]:
    """Keyword arguments of transformers' config of the language model (`Family.config`) for these canonical shapes.

    config: `config.json` or its `text_config`. The vocabulary is taken from the tensors: tokens may have been added after the
    config was written. A tied head is read as a weight of its own (`llava.untied`), so here nothing is tied.
    Raises WrongShapes if config and tensors contradict each other, WeightsError for what the class cannot be.
    """
    if "llm.embed_tokens.weight" not in sizes:
        raise WrongNames(
            f"{source}: no token embeddings (llm.embed_tokens.weight) among {len(sizes)} tensors; not a language model"
        )
    ranked(sizes, {"llm.embed_tokens.weight": 2}, source=source)
    if not config.get("num_attention_heads"):
        raise WrongNames(
            f"{source}: no config.json with num_attention_heads beside the weights; tensors alone do not tell the heads"
        )
    family = family_of(sizes)
    followed(config, source=source, kinds=family.kinds, also=family.follows)
    known = {**family.defaults, **_said(config, family, source)}
    vocab, hidden = sizes["llm.embed_tokens.weight"]
    gate = sizes.get(f"llm.layers.0.mlp.{family.gate[0]}.weight")
    seen = {"hidden_size": hidden, "num_hidden_layers": count_layers(sizes, "llm.layers.")}
    seen |= {"intermediate_size": gate[0] // family.gate[1]} if gate else {}
    for key, value in seen.items():
        if known.setdefault(key, value) != value:
            raise WrongShapes(
                f"{source}: config.json says {key} {known[key]}, the tensors say {value}; the two are not of one model"
            )
    _check_heads(known, sizes, family, source)
    result = {**known, "vocab_size": vocab, "tie_word_embeddings": False}
    _prove(result, family, source)
    return result


def _said(config: Mapping[str, Any], family: Family, source: str) -> dict[str, Any]:
    """What the config says itself, each value of its type and in its range."""
    said = {key: number(config, key, int, source=source) for key in (*COUNTS, *family.follows)}
    said |= {key: number(config, key, int, source=source, least=-1) for key in TOKENS}
    said |= {key: number(config, key, float, source=source, least=0) for key in family.dropouts}
    said["rms_norm_eps"] = number(config, "rms_norm_eps", float, source=source, least=0)
    said["rope_theta"] = number(config, "rope_theta", float, source=source)
    said["hidden_act"] = chosen(config, "hidden_act", _activations(), source=source)
    said |= {key: chosen(config, key, (True, False), source=source) for key in family.flags}
    said |= {key: _rotation(config, key, source) for key in ("rope_scaling", "rope_parameters")}
    return {key: value for key, value in said.items() if value is not None}


def _rotation(config: Mapping[str, Any], key: str, source: str) -> dict[str, Any] | None:
    """How positions are stretched; an object that does not say its kind would be taken for none at all."""
    value = dict(section(config, key, source=source))
    if value and key == "rope_scaling" and not (value.get("rope_type") or value.get("type")):
        raise WeightsError(f"{source}: config.json says rope_scaling {value} without a type, e.g. linear")
    return value or None


def _check_heads(known: Mapping[str, Any], sizes: Mapping[str, Shape], family: Family, source: str) -> None:
    heads, hidden = known["num_attention_heads"], known["hidden_size"]
    groups = known.get("num_key_value_heads", heads)
    if (hidden % heads and "head_dim" not in known) or heads % groups:
        raise WeightsError(
            f"{source}: config.json says {heads} attention heads and {groups} key-value heads for a hidden size of {hidden}; "
            "each has to be a multiple of the one before"
        )
    wide = known.get("head_dim", hidden // heads)
    parts = [("q", "num_attention_heads", heads), ("k", "num_key_value_heads", groups)]
    if family.is_fused:
        parts = [("qkv", "num_attention_heads and num_key_value_heads, together", heads + 2 * groups)]
    for part, key, count in parts:
        shape = sizes.get(f"llm.layers.0.self_attn.{part}_proj.weight")
        if shape and shape[0] != count * wide:
            raise WrongShapes(
                f"{source}: config.json says {key} {count} of {wide} channels, {part}_proj of the tensors has "
                f"{shape[0]} rows; the two are not of one model"
            )


def _prove(config: Mapping[str, Any], family: Family, source: str) -> None:
    """Makes the one thing that only transformers can judge: what it takes for rotary positions."""
    import transformers

    module, _, name = family.rotary.partition(":")
    rotary: Any = getattr(import_module(f"transformers.models.{module}"), name)
    try:
        rotary(getattr(transformers, family.config)(**copy.deepcopy(dict(config))))
    except Exception as error:
        raise WeightsError(
            f"{source}: config.json is not one that transformers' {family.config} can be made of ({type(error).__name__}: "
            f"{' '.join(str(error).split())}); fetch the original file"
        ) from error


def _activations() -> tuple[str, ...]:
    from transformers.activations import ACT2FN

    return tuple(ACT2FN)


def ranked(sizes: Mapping[str, Shape], ranks: Mapping[str, int], *, source: str) -> None:
    """Raises WrongNames or WrongShapes where a tensor that tells a size is absent, or has not so many axes."""
    for name, axes in ranks.items():
        if name not in sizes:
            raise WrongNames(f"{source}: {name} is absent; it tells a size of the model")
        if len(sizes[name]) != axes or 0 in sizes[name]:
            raise WrongShapes(
                f"{source}: {name} has shape {sizes[name]}, expected {axes} axes, none of them empty"
            )


def clip_config(config: Mapping[str, Any], sizes: Mapping[str, Shape], *, source: str) -> dict[str, Any]:
    """Keyword arguments of CLIPVisionConfig; `config` is a CLIP config or its `vision_config`, empty if there is none.

    Shapes fix all but the heads; without a config they are those of OpenAI's CLIPs (HEADS), or left open.
    """
    prefix = "vision.embeddings."
    if f"{prefix}patch_embedding.weight" not in sizes:
        raise WrongNames(f"{source}: no CLIP vision tower in these weights; give one with --vision-tower")
    mlp = "vision.encoder.layers.0.mlp.fc1.weight"
    tells = {f"{prefix}patch_embedding.weight": 4, f"{prefix}position_embedding.weight": 2, mlp: 2}
    ranked(sizes, tells, source=source)
    followed(config, source=source, kinds=VISION_TOWERS)
    hidden, _, patch, _ = sizes[f"{prefix}patch_embedding.weight"]
    side = round(
        (sizes[f"{prefix}position_embedding.weight"][0] - 1) ** 0.5
    )  # one position is the class token
    counts = {key: number(config, key, int, source=source) for key in CLIP_L if isinstance(CLIP_L[key], int)}
    said = {
        **counts,
        "hidden_act": chosen(config, "hidden_act", _activations(), source=source),
        "layer_norm_eps": number(config, "layer_norm_eps", float, source=source, least=0),
    }
    said = {key: value for key, value in said.items() if value is not None}
    seen = {
        "hidden_size": hidden,
        "intermediate_size": sizes[mlp][0],
        "num_hidden_layers": count_layers(sizes, "vision.encoder.layers."),
        "image_size": side * patch,
        "patch_size": patch,
    }
    wrong = {key: value for key, value in seen.items() if said.get(key, value) != value}
    if wrong and config.get("model_type") in ("clip_vision_model", None):
        raise WrongShapes(
            f"{source}: config.json contradicts the tensors, which say {wrong}; the two are not of one model"
        )
    defaults = {"hidden_act": CLIP_L["hidden_act"], "layer_norm_eps": CLIP_L["layer_norm_eps"]}
    heads = {"num_attention_heads": HEADS[hidden]} if hidden in HEADS else {}
    result: dict[str, Any] = {**heads, **defaults, **said, **seen}
    if hidden % result.get("num_attention_heads", 1):
        raise WeightsError(
            f"{source}: config.json says num_attention_heads {result['num_attention_heads']} for a vision tower of "
            f"{hidden} channels; the channels have to be a multiple"
        )
    return result


def projector_kind(
    sizes: Mapping[str, Shape], *, source: str, config: Mapping[str, Any] | None = None
) -> ProjectorKind:
    """`linear` (LLaVA v1) or `mlp2x_gelu` (LLaVA 1.5), by the names. Raises WrongNames if there is no projector, or if
    `mm_projector_type` is the other one."""
    kind: ProjectorKind | None = None
    if "projector.weight" in sizes:
        kind = "linear"
    elif "projector.0.weight" in sizes and "projector.2.weight" in sizes:
        kind = "mlp2x_gelu"
    said = (config or {}).get("mm_projector_type")
    if kind and said not in (None, kind):
        raise WrongNames(
            f"{source}: config.json says mm_projector_type {said!r}, the tensors are those of {kind!r}; they are not of one model"
        )
    if kind:
        return kind
    inside = sorted(name for name in sizes if name.startswith("projector."))
    raise WrongNames(
        f"{source}: no mm_projector that we know (a Linear, or mlp2x_gelu); projector tensors: {inside or 'none'}"
    )
