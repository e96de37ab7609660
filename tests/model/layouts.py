"""Writes a tiny model in the layouts of the releases: LLaVA v1, CLIP, SAM, merged LISA, the original's training file."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seglm.model.backbones.encode import DialogueEncoder
from seglm.model.backbones.templates import template
from seglm.model.backbones.tokenizer import newer_tokenizer
from seglm.model.construct import construct
from seglm.model.names import names
from seglm.model.recipe import Recipe
from seglm.model.released.lisa_export import lisa_name
from seglm.model.segmenter import Segmenter
from seglm.model.settings import Lora
from seglm.model.sizes import Sizes
from tests.tiny import CLIP, SAM, TOKENIZER, tiny_recipe

LLM = {
    "architectures": ["LlavaLlamaForCausalLM"], "model_type": "llava", "hidden_size": 32, "intermediate_size": 64,
    "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 4, "max_position_embeddings": 1024,
    "rms_norm_eps": 1e-6, "vocab_size": 560, "mm_vision_select_layer": -2, "mm_use_im_start_end": True, "pad_token_id": 0,
    "bos_token_id": 1, "eos_token_id": 2, "use_cache": False, "transformers_version": "4.31.0",
}  # fmt: skip


def canonical_tensors(model: Segmenter, *, adapters: bool = True) -> dict[str, Tensor]:
    state = model.state_dict()
    every = {ours: state[inside].clone() for ours, inside in names(model).items()}
    return {name: tensor for name, tensor in every.items() if adapters or ".lora_" not in name}


def lisa_state(tensors: dict[str, Tensor], *, tower: bool = False) -> dict[str, Tensor]:
    """Merged names, CLIP left out unless `tower`, with a buffer that transformers 4.31 saved."""
    state = {
        lisa_name(name): tensor for name, tensor in tensors.items() if tower or not name.startswith("vision.")
    }
    return {**state, "model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)}


def training_state(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The names of the original's training: peft's prefix and adapters as peft 0.4 calls them."""
    state = lisa_state(tensors)
    return {f"base_model.model.{_peft(name)}": tensor for name, tensor in state.items()}


def trainable_only(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """What LISA trains, by canonical names."""
    parts = ("llm.embed_tokens.", "llm.lm_head.", "decoder.mask_decoder.", "project.")
    return {name: tensor for name, tensor in tensors.items() if ".lora_" in name or name.startswith(parts)}


def write_clip(folder: Path, tensors: dict[str, Tensor]) -> Path:
    folder.mkdir(parents=True)
    state = {
        f"vision_model.{name.removeprefix('vision.')}": t
        for name, t in tensors.items()
        if name.startswith("vision.")
    }
    state["vision_model.embeddings.position_ids"] = torch.arange(5)[None]
    state["text_model.final_layer_norm.weight"] = torch.ones(3)
    state["logit_scale"] = torch.tensor(1.0)
    torch.save(state, folder / "pytorch_model.bin")
    (folder / "config.json").write_text(json.dumps({"model_type": "clip", "vision_config": CLIP}))
    return folder


def write_sam(file: Path, tensors: dict[str, Tensor]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    (file.parent / "config.json").write_text(json.dumps({"dec_heads": SAM.dec_heads}))
    torch.save({n.removeprefix("decoder."): t for n, t in tensors.items() if n.startswith("decoder.")}, file)
    return file


def write_llava(
    folder: Path, tensors: dict[str, Tensor], *, rows: int = 560, tower: bool = False, **config: Any
) -> Path:
    """The old LLaVA layout in two shards with an index; the vocabulary has no tokens of ours yet. tower: with its CLIP inside."""
    parts = ("llm.", "projector.", *(("vision.",) if tower else ()))
    base = {name: t for name, t in tensors.items() if name.startswith(parts) and ".lora_" not in name}
    base |= {name: base[name][:rows].clone() for name in ("llm.embed_tokens.weight", "llm.lm_head.weight")}
    _two_shards(folder, lisa_state(base, tower=tower))
    _config_and_tokenizer(folder, LLM | ({"vision_config": CLIP} if tower else {}) | config)
    return folder


def write_lisa_release(folder: Path, tensors: dict[str, Tensor], *, vision: str, **config: Any) -> Path:
    """A merged LISA as its releases are: two `.bin` shards, old config, no CLIP."""
    _two_shards(folder, lisa_state(tensors))
    rows = len(tensors["llm.embed_tokens.weight"])
    said = {
        "architectures": ["LISAForCausalLM"],
        "mm_vision_tower": vision,
        "out_dim": 16,
        "vocab_size": rows,
    }
    _config_and_tokenizer(folder, LLM | said | config)
    added = {"[SEG]": 560, "<im_start>": 561, "<im_end>": 562}
    (folder / "added_tokens.json").write_text(json.dumps(added))
    return folder


def write_bases(root: Path, model: Segmenter) -> Recipe:
    """LLaVA, CLIP and SAM of a model as three releases; returns the tiny recipe that starts from them."""
    tensors = canonical_tensors(model, adapters=False)
    vision = write_clip(root / "clip", tensors)
    llava = write_llava(root / "llava", tensors, mm_vision_tower=str(vision))
    sam = write_sam(root / "sam" / "sam.pth", tensors)
    recipe = tiny_recipe()
    return replace(
        recipe,
        backbone=replace(recipe.backbone, weights=str(llava), vision=str(vision)),
        decoder=replace(recipe.decoder, weights=str(sam)),
    )


def sam_dims_of_tiny() -> dict[str, Any]:
    return asdict(SAM)


def _peft(name: str) -> str:
    return name.replace(".lora_A.weight", ".lora_A.default.weight").replace(
        ".lora_B.weight", ".lora_B.default.weight"
    )


def _two_shards(folder: Path, state: dict[str, Tensor]) -> None:
    folder.mkdir(parents=True)
    order = list(state)
    files = {
        name: f"pytorch_model-0000{1 + (n >= len(order) // 2)}-of-00002.bin" for n, name in enumerate(order)
    }
    for file in sorted(set(files.values())):
        torch.save({name: state[name] for name in order if files[name] == file}, folder / file)
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": files}))


def _config_and_tokenizer(folder: Path, config: dict[str, Any]) -> None:
    (folder / "config.json").write_text(json.dumps(config))
    shutil.copy(TOKENIZER / "tokenizer.model", folder)


# ---- LLaVA-Phi-3 ------------------------------------------------------------------------------------------------------
SIZES_OF_PHI3 = (
    "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
    "max_position_embeddings", "original_max_position_embeddings", "rms_norm_eps", "pad_token_id", "bos_token_id",
    "eos_token_id",
)  # fmt: skip
PHI3_TOKENS = ("<|endoftext|>", "<|assistant|>", "<|system|>", "<|end|>", "<|user|>")
PHI3 = {
    **{key: value for key, value in LLM.items() if key not in ("architectures", "mm_use_im_start_end")},
    "architectures": ["LlavaPhiForCausalLM"], "model_type": "llava_phi", "mm_projector_type": "mlp2x_gelu",
    "original_max_position_embeddings": 1024, "resid_pdrop": 0.0, "sliding_window": 2047,
    "transformers_version": "4.41.0",
}  # fmt: skip


def write_phi3_tokenizer(folder: Path) -> Path:
    """Llama's pieces with Phi-3's control tokens behind them, as transformers 4.41 writes it."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(TOKENIZER / "tokenizer.model", folder)
    flags = {"lstrip": False, "normalized": False, "single_word": False, "special": True}
    listed = {
        str(560 + number): {"content": token, "rstrip": number > 0, **flags}
        for number, token in enumerate(PHI3_TOKENS)
    }
    config = {
        "tokenizer_class": "LlamaTokenizer", "legacy": False, "add_bos_token": True, "bos_token": "<s>",
        "eos_token": "<|endoftext|>", "unk_token": "<unk>", "pad_token": "<|endoftext|>", "added_tokens_decoder": listed,
    }  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    added = {token: 560 + number for number, token in enumerate(PHI3_TOKENS)}
    (folder / "added_tokens.json").write_text(json.dumps(added))
    return folder


def write_phi3_bases(root: Path, *, window: int | None = None) -> Recipe:
    """LLaVA-Phi-3, CLIP and SAM with random weights as three releases, and VideoLISA's recipe that starts from them."""
    recipe = tiny_recipe("videolisa_3_8b")
    folder = write_phi3_tokenizer(root / "llava-phi3")
    encoder = DialogueEncoder(
        tokenizer=newer_tokenizer(folder, ())[0],
        template=template("phi3_instruct"),
        patches=4,
        image_tokens=None,
        tokens=(),
        max_length=512,
    )
    arguments = {key: value for key, value in PHI3.items() if key in SIZES_OF_PHI3}
    sizes = Sizes({**arguments, "vocab_size": 568}, CLIP, asdict(SAM), "mlp2x_gelu")
    torch.manual_seed(0)
    bare = replace(recipe, trainable=replace(recipe.trainable, lora=Lora(r=0)))
    tensors = canonical_tensors(construct(bare, sizes, encoder)[0])
    vision = write_clip(root / "clip", tensors)
    base = {name: t for name, t in tensors.items() if name.startswith(("llm.", "projector."))}
    torch.save(lisa_state(base), folder / "pytorch_model.bin")
    said = {**PHI3, "vocab_size": 568, "mm_vision_tower": str(vision), "sliding_window": window}
    (folder / "config.json").write_text(json.dumps(said))
    sam = write_sam(root / "sam" / "sam.pth", tensors)
    return replace(
        recipe,
        backbone=replace(recipe.backbone, weights=str(folder), vision=str(vision)),
        decoder=replace(recipe.decoder, weights=str(sam)),
    )
