"""LLaVA bases: the original v1 folders, transformers' conversions of LLaVA, and CLIP towers of their own.

The original holds no CLIP (`mm_vision_tower` names it); its projector is one Linear (v1) or two with GELU (1.5).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seglm.model.released.checkpoint import Checkpoint
from seglm.model.released.config_keys import flag, followed, place, section, select_layer
from seglm.model.released.dims import clip_config, family_of, language_config, projector_kind, ranked
from seglm.model.released.errors import DeltaWeights, WeightsError, WrongNames
from seglm.model.released.files import called, config_of, read_tensors
from seglm.model.released.keymap import Rule, mapped

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)
# Buffers that transformers 4.31 saved and that are computed today
_BUFFERS: tuple[Rule, ...] = (
    (r".*\.rotary_emb\.inv_freq", None),
    (r"(?:.*\.)?embeddings\.position_ids", None),
)
_LLM = r"((?:embed_tokens|layers|norm)\..+)"
_TOWER = r"((?:embeddings|pre_layrnorm|encoder|post_layernorm)\..+)"
# llava/model at LLaVA 1.0 to 1.6, and what LISA keeps of it
ORIGINAL: tuple[Rule, ...] = (
    *_BUFFERS,
    (rf"model\.{_LLM}", r"llm.\1"),
    (r"lm_head\.(.+)", r"llm.lm_head.\1"),
    (r"model\.mm_projector\.((?:[02]\.)?(?:weight|bias))", r"projector.\1"),
    (rf"model\.vision_tower\.vision_tower\.(?:vision_model\.)?{_TOWER}", r"vision.\1"),
)
# transformers' LlavaForConditionalGeneration: as saved, and as its module tree is called since 4.52
CONVERTED: tuple[Rule, ...] = (
    *_BUFFERS,
    (rf"(?:language_model\.model|model\.language_model)\.{_LLM}", r"llm.\1"),
    (r"(?:language_model\.)?lm_head\.(.+)", r"llm.lm_head.\1"),
    (r"(?:model\.)?multi_modal_projector\.linear_1\.(.+)", r"projector.0.\1"),
    (r"(?:model\.)?multi_modal_projector\.linear_2\.(.+)", r"projector.2.\1"),
    (rf"(?:model\.)?vision_tower\.(?:vision_model\.)?{_TOWER}", r"vision.\1"),
)
# CLIPVisionModel, or the vision half of CLIPModel
CLIP: tuple[Rule, ...] = (
    *_BUFFERS,
    (rf"(?:vision\.)?(?:vision_model\.)?{_TOWER}", r"vision.\1"),
    (r"text_model\..+|(?:visual|text)_projection\.weight|logit_scale", None),
)
OTHER_LLAVA = (
    "Bases are LLaVA v1 and 1.5; 1.6 (NeXT) and later ones hold more. Give one of these as --version."
)
OTHER_TOWER = "The vision tower is a CLIP, e.g. openai/clip-vit-large-patch14; give one as --vision-tower."
NORM_FLOOR = 0.1  # mean |weight| of RMSNorms; they start at 1 and LLaMA's last one is near 2, a difference of two is near 0
EMBEDDING_FLOOR = 1e-3  # root mean square of token embeddings; LLaMA's is near 0.017


def load_llava(path: str | Path) -> Checkpoint:
    """Reads a LLaVA base, original or converted. Raises DeltaWeights for a published difference, WrongNames for other
    models."""
    source = str(path)
    raw, config = read_tensors(path), config_of(path)
    return llava_checkpoint(raw, config, source=source, tokenizer=tokenizer_folder(path))


def llava_checkpoint(
    raw: Mapping[str, Tensor], config: Mapping[str, Any], *, source: str, tokenizer: str | None = None
) -> Checkpoint:
    """The same from tensors in memory."""
    converted = any(name.startswith(("language_model.", "model.language_model.")) for name in raw)
    table = CONVERTED if converted else ORIGINAL
    tensors = mapped(raw, table, source=source, layout="LLaVA", hint=OTHER_LLAVA)
    refuse_delta(tensors, config, source=source)
    family = family_of(tensors)
    followed(config, source=source, kinds=family.kinds, also=family.follows)
    text = section(config, "text_config", source=source) or config
    if converted and config.get("projector_hidden_act") == "linear":
        tensors = _single_linear(tensors, source)
    sizes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    tower = section(config, "vision_config", source=source)
    vision = clip_config(tower, sizes, source=source) if _has_tower(sizes) else None
    return Checkpoint(
        source=source,
        kind="llava",
        tensors=untied(tensors, text, source=source),
        llm=language_config(text, sizes, source=source),
        vision=vision,
        projector=projector_kind(sizes, source=source, config=config),
        select_layer=select_layer(config, source=source),
        vision_path=place(config, "mm_vision_tower", "vision_tower", source=source),
        tokenizer=tokenizer,
    )


def load_clip(path: str | Path) -> Checkpoint:
    """Reads a CLIP vision tower: a CLIPVisionModel or a whole CLIPModel, whose text half is left out."""
    source, config = str(path), config_of(path)
    tensors = mapped(read_tensors(path), CLIP, source=source, layout="CLIP", hint=OTHER_TOWER)
    sizes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    return Checkpoint(
        source=source,
        kind="clip",
        tensors=tensors,
        vision=clip_config(section(config, "vision_config", source=source) or config, sizes, source=source),
    )


def refuse_delta(tensors: Mapping[str, Tensor], config: Mapping[str, Any], *, source: str) -> None:
    """Raises DeltaWeights if the weights are a difference to LLaMA: by their name, or because norms or embeddings are
    near zero."""
    name = f"{called(source)} {config.get('_name_or_path', '')}".strip()
    reason = f"the name says so ({name})" if "-delta" in name.lower() else _looks_like_delta(tensors)
    if reason:
        raise DeltaWeights(
            f"{source}: these are delta weights, {reason}; they have to be added to LLaMA's before use:\n"
            f"  python -m seglm.model.released.delta --base <folder of LLaMA> --delta {source} --target <new folder>"
        )


def tokenizer_folder(path: str | Path) -> str | None:
    """The folder of `path` if tokenizer files lie in it."""
    path = Path(path)
    folder = path if path.is_dir() else path.parent
    known = ("tokenizer.model", "tokenizer.json", "tokenizer_config.json")
    return str(folder) if any((folder / name).is_file() for name in known) else None


def _looks_like_delta(tensors: Mapping[str, Tensor]) -> str:
    import torch

    norms = [
        t.float().abs().mean()
        for name, t in tensors.items()
        if name.startswith("llm.") and "norm.weight" in name
    ]
    if norms and float(torch.stack(norms).mean()) < NORM_FLOOR:
        return f"the mean |weight| of its norms is {float(torch.stack(norms).mean()):.3g} where a model has about 1"
    table = tensors.get("llm.embed_tokens.weight")
    if table is not None and table.numel():
        rms = float(table[: min(2000, table.shape[0])].float().square().mean().sqrt())
        if rms < EMBEDDING_FLOOR:
            return f"the root mean square of its token embeddings is {rms:.2g} where LLaMA has 0.017"
    return ""


def _has_tower(sizes: Mapping[str, Any]) -> bool:
    return "vision.embeddings.patch_embedding.weight" in sizes


def untied(tensors: dict[str, Tensor], config: Mapping[str, Any], *, source: str) -> dict[str, Tensor]:
    """A tied head is not saved; it is the embedding table. Here it becomes a weight of its own, with the same values.

    So a tied model is used as it is, and trained like any other: its head and its embedding may then part, and what is written
    holds both. Raises WeightsError if the config says tied and the file holds another head.
    """
    import torch

    embedding, head = "llm.embed_tokens.weight", "llm.lm_head.weight"
    if not flag(config, "tie_word_embeddings", source=source) or embedding not in tensors:
        return tensors
    if head in tensors and not torch.equal(tensors[head], tensors[embedding]):
        raise WeightsError(
            f"{source}: config.json says tie_word_embeddings true, but {head} is not {embedding}; set it to false if the "
            "head was trained, or remove the head from the file if the two are one"
        )
    log.info("%s: the head is tied to the embedding; it is read as a weight of its own", source)
    return {**tensors, head: tensors[embedding].clone()}


def _single_linear(tensors: dict[str, Tensor], source: str) -> dict[str, Tensor]:
    """A linear `multi_modal_projector` is v1's single Linear followed by an identity."""
    import torch

    if absent := [name for name in ("projector.2.weight", "projector.2.bias") if name not in tensors]:
        raise WrongNames(f"{source}: config.json says projector_hidden_act linear, but {absent[0]} is absent")
    second = tensors.pop("projector.2.weight")
    bias = tensors.pop("projector.2.bias")
    ranked({"projector.2.weight": tuple(second.shape)}, {"projector.2.weight": 2}, source=source)
    if not torch.equal(second, torch.eye(second.shape[0], dtype=second.dtype)) or bool(bias.any()):
        raise WrongNames(
            f"{source}: a linear projector of two layers whose second is not the identity is not supported"
        )
    renamed = {"projector.0.weight": "projector.weight", "projector.0.bias": "projector.bias"}
    return {renamed.get(name, name): tensor for name, tensor in tensors.items()}


def with_vision(base: Checkpoint, tower: Checkpoint) -> Checkpoint:
    """The base with the tower's tensors, where it has none of its own."""
    return replace(base.joined(tower, prefixes=("vision.",)), vision_path=None)
