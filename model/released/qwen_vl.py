"""Qwen2.5-VL and Qwen3-VL: their folders, as released and as transformers has them, read and written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seglm.model.backbones.qwen_vl import COUNTED, FRAMES, GENERATIONS
from seglm.model.released.checkpoint import Checkpoint
from seglm.model.released.config_keys import followed, section
from seglm.model.released.dims import ranked
from seglm.model.released.errors import WeightsError
from seglm.model.released.files import config_of, read_tensors
from seglm.model.released.folder import write_shards
from seglm.model.released.keymap import Rule, mapped
from seglm.model.released.llava import tokenizer_folder, untied
from seglm.model.released.transformers_4 import with_rotation, write_tokenizer
from seglm.model.sizes import Sizes

if TYPE_CHECKING:
    from torch import Tensor

IMAGE, VIDEO = "<|image_pad|>", "<|video_pad|>"
NAMES: tuple[Rule, ...] = (
    (r"(?:model\.)?visual\.(.+)", r"vision.\1"),
    (r"(?:model\.language_model|model)\.((?:embed_tokens|layers|norm)\..+)", r"llm.\1"),
    (r"lm_head\.weight", r"llm.lm_head.weight"),
)
"""as released, and as transformers calls them since 4.52 -> ours"""
BACK: Mapping[str, tuple[Rule, ...]] = {
    "qwen2_5_vl": (
        (r"vision\.(.+)", r"visual.\1"),
        (r"llm\.lm_head\.weight", r"lm_head.weight"),
        (r"llm\.(.+)", r"model.\1"),
    ),
    "qwen3_vl": (
        (r"vision\.(.+)", r"model.visual.\1"),
        (r"llm\.lm_head\.weight", r"lm_head.weight"),
        (r"llm\.(.+)", r"model.language_model.\1"),
    ),
}
"""ours -> as released, by `model_type`"""
OTHER_QWEN = "Bases are Qwen2.5-VL and Qwen3-VL, those without experts. Give one of these as --version."
SA2VA = "sa2va_chat"
"""`model_type` of a system that holds a Qwen-VL"""
TEXT_KEYS = (
    "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "hidden_act",
    "max_position_embeddings", "rms_norm_eps", "rope_parameters", "attention_dropout",
)  # fmt: skip
TOWER_KEYS = (
    "hidden_size", "hidden_act", "intermediate_size", "in_channels", "patch_size", "spatial_merge_size",
    "temporal_patch_size", "out_hidden_size", "rope_parameters",
)  # fmt: skip


def load_qwen_vl(path: str | Path) -> Checkpoint:
    """Reads a Qwen-VL. Raises WeightsError for a config of another model, WrongNames for tensors of one."""
    return qwen_vl_checkpoint(
        read_tensors(path), config_of(path), source=str(path), tokenizer=tokenizer_folder(path)
    )


def qwen_vl_checkpoint(
    raw: Mapping[str, Tensor], config: Mapping[str, Any], *, source: str, tokenizer: str | None = None
) -> Checkpoint:
    """The same from tensors in memory; config: of a Qwen-VL, or of a system that holds one and says so in its `text_config`."""
    text, vision, is_tied = _sizes(config, source)
    tensors = mapped(raw, NAMES, source=source, layout="Qwen-VL", hint=OTHER_QWEN)
    table = "llm.embed_tokens.weight"
    ranked({name: tuple(tensor.shape) for name, tensor in tensors.items()}, {table: 2}, source=source)
    return Checkpoint(
        source=source,
        kind="qwen_vl",
        tensors=untied(tensors, {"tie_word_embeddings": is_tied}, source=source),
        llm={**text, "vocab_size": tensors[table].shape[0]},
        vision=vision,
        projector="in_tower",
        select_layer=-1,
        tokenizer=tokenizer,
    )


def write_qwen_vl(
    folder: Path, tensors: Mapping[str, Tensor], *, sizes: Sizes, tokenizer: Any, base: str | None = None
) -> None:
    """A new folder that transformers opens, and `QwenVL.load`; of a trained model the part that sees and speaks.

    tensors: under our names, adapters merged; those of other parts are left out. Stored as they are. base: see `write_tokenizer`.
    """
    named = original_names(tensors, sizes.llm["model_type"])
    folder.mkdir(parents=True)
    config = released_config(sizes, tokenizer)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    write_tokenizer(folder, tokenizer, base)
    write_shards(folder, {name: tensor.detach().cpu().contiguous() for name, tensor in named.items()})


def original_names(tensors: Mapping[str, Tensor], kind: str) -> dict[str, Tensor]:
    """What sees and speaks, under the names of the release; kind: its `model_type`."""
    own = {name: tensor for name, tensor in tensors.items() if name.startswith(("llm.", "vision."))}
    return mapped(own, BACK[kind], source="the model", layout="Qwen-VL")


def released_config(sizes: Sizes, tokenizer: Any) -> dict[str, Any]:
    """`config.json` of transformers' Qwen-VL of these sizes."""
    kind = sizes.llm["model_type"]
    ids = {
        "image_token_id": IMAGE, "video_token_id": VIDEO, "vision_start_token_id": "<|vision_start|>",
        "vision_end_token_id": "<|vision_end|>",
    }  # fmt: skip
    return {
        "model_type": kind,
        "architectures": [f"{GENERATIONS[kind].name}ForConditionalGeneration"],
        "tie_word_embeddings": False,
        **{key: tokenizer.convert_tokens_to_ids(token) for key, token in ids.items()},
        "text_config": {
            **with_rotation(sizes.llm),
            "model_type": f"{kind}_text",
            "tie_word_embeddings": False,
        },
        "vision_config": {
            **{COUNTED.get(key, key): value for key, value in sizes.vision.items()},
            "model_type": f"{kind}_vision",
        },
    }


def _sizes(config: Mapping[str, Any], source: str) -> tuple[dict[str, Any], dict[str, Any], bool]:
    """(arguments of the language model's config, of the tower's, whether the head is the embedding). Raises WeightsError."""
    import transformers

    said = section(config, "text_config", source=source) or config
    kind = str(config.get("model_type"))
    if kind == SA2VA:
        kind = str(said.get("model_type")).removesuffix("_text")
    if kind not in GENERATIONS:
        raise WeightsError(
            f"{source}: config.json says model_type {kind!r}, known are {', '.join(GENERATIONS)}. {OTHER_QWEN}"
        )
    followed(said, source=source, kinds=(kind, f"{kind}_text"), also=("sliding_window",))
    own = GENERATIONS[kind]
    try:
        parsed = getattr(transformers, f"{own.name}Config").from_dict({**config, "model_type": kind})
        text, tower = parsed.text_config, parsed.vision_config
        sizes = {key: getattr(text, key) for key in (*TEXT_KEYS, *own.text_keys)}
        vision = {key: getattr(tower, key) for key in (*TOWER_KEYS, *own.tower_keys)}
        vision |= {ours: getattr(tower, theirs) for ours, theirs in COUNTED.items()}
    except Exception as error:
        raise WeightsError(
            f"{source}: config.json is not one that transformers' {own.name}Config can be made of ({type(error).__name__}: "
            f"{' '.join(str(error).split())[:200]}); fetch the original file"
        ) from error
    if vision["temporal_patch_size"] != FRAMES:
        raise WeightsError(
            f"{source}: config.json says temporal_patch_size {vision['temporal_patch_size']}, known is {FRAMES}. {OTHER_QWEN}"
        )
    return {**_plain(sizes), "model_type": kind}, _plain(vision), bool(parsed.tie_word_embeddings)


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON gives it back."""
    found: dict[str, Any] = json.loads(json.dumps(values))
    return found
