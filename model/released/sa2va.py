"""Released Sa2VA folders (ByteDance/Sa2VA-1B, -4B, -8B, Sa2VA-InternVL3-2B, Sa2VA-Qwen3-VL-4B ...), read and written.

InternVL's names, `text_hidden_fcs` beside them, and below `grounding_encoder.sam2_model` SAM-2's own, but for its `gamma`, which
the converter calls `g_weight` (projects/llava_sam2/hf/convert_to_hf.py of magic-research/Sa2VA at d01bf3f). The vision tower is
stored in bfloat16, all else in float32. convert_to_pth.py of bytedance/Sa2VA puts `mllm.model.` before the names of InternVL;
what a training leaves is in `sa2va_training.py`. On a Qwen-VL `model.` stands before what transformers calls its modules, all of
it in float32 (tools/convert_to_hf.py of bytedance/Sa2VA at 9832e1a).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seglm.model.backbones.internvl import InternVL
from seglm.model.backbones.qwen_vl import QwenVL
from seglm.model.decoders.sam2_kept import ORIGINAL
from seglm.model.recipe import Recipe
from seglm.model.released import sam2
from seglm.model.released.checkpoint import Checkpoint
from seglm.model.released.config_keys import number
from seglm.model.released.errors import WrongNames
from seglm.model.released.files import config_of, read_tensors
from seglm.model.released.folder import write_shards
from seglm.model.released.internvl import (
    INTERNLM,
    internvl_checkpoint,
    internvl_names,
)
from seglm.model.released.internvl import original_names as internvl_back
from seglm.model.released.llava import tokenizer_folder
from seglm.model.released.qwen_vl import SA2VA, qwen_vl_checkpoint
from seglm.model.released.qwen_vl import original_names as original_names_of_qwen
from seglm.model.released.qwen_vl import released_config as config_of_qwen
from seglm.model.released.transformers_4 import with_rotation, write_tokenizer
from seglm.model.sizes import Sizes

if TYPE_CHECKING:
    from torch import Tensor

SAM2, PROJECT, TRAINED = "grounding_encoder.sam2_model.", "text_hidden_fcs.", "mllm.model."
QWEN, TREE = "model.", "qwen3_vl"
"""before the names of a Qwen-VL's modules, and the generation whose release calls them as transformers does"""
SAM2_SIZES = "sam2_dims"
"""ours, in config.json: the sizes of a SAM-2 that is none of the released ones"""


def load_sa2va(path: str | Path) -> Checkpoint:
    """Reads a Sa2VA folder. Raises WrongNames for what looks like one and is not, and as InternVL and SAM-2 do."""
    source, config = str(path), config_of(path)
    own, rest = apart(read_tensors(path), source)
    is_qwen = any(name.startswith(f"{QWEN}model.visual.") for name in rest)
    read = qwen_vl_checkpoint if is_qwen else internvl_checkpoint
    rest = {name.removeprefix(QWEN): tensor for name, tensor in rest.items()} if is_qwen else rest
    base = read(rest, config, source=source, tokenizer=tokenizer_folder(path))
    sizes = {name: tuple(tensor.shape) for name, tensor in own.items()}
    hidden, width = sizes["project.0.weight"][0], sizes["project.2.weight"][0]
    return replace(
        base,
        kind="sa2va",
        tensors={**own, **base.tensors},
        decoder=sam2.sam2_dims(sizes, source=source, config=config.get(SAM2_SIZES)),
        project=(hidden, width),
        system="sa2va_qwen" if is_qwen else "sa2va",
    )


def sa2va_names(
    raw: Mapping[str, Tensor], *, source: str, text: Mapping[str, Any] | None = None
) -> dict[str, Tensor]:
    """Tensors of a Sa2VA under our names; text: the config of its language model. Raises WrongNames."""
    own, rest = apart(raw, source)
    return {**(internvl_names(rest, text or {}, source=source) if rest else {}), **own}


def apart(
    raw: Mapping[str, Tensor], source: str, *, partly: bool = False
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What a Sa2VA has beside its InternVL, under our names, and the InternVL under its own.

    partly: SAM-2 need not be whole. Raises WrongNames.
    """
    bare = {name.removeprefix(TRAINED): tensor for name, tensor in raw.items()}
    decoder = {name.removeprefix(SAM2): tensor for name, tensor in bare.items() if name.startswith(SAM2)}
    project = {name: tensor for name, tensor in bare.items() if name.startswith(PROJECT)}
    rest = {name: tensor for name, tensor in bare.items() if not name.startswith((SAM2, PROJECT))}
    for part, found in (("grounding_encoder", decoder), ("text_hidden_fcs", project)):
        if not found:
            raise WrongNames(
                f"{source}: {part} is not in this checkpoint, so it is no Sa2VA; a plain InternVL is a base (--version), and is "
                "trained with train_ds.py"
            )
    projected = {name.replace(PROJECT, "project."): tensor for name, tensor in project.items()}
    return {**sam2.sam2_names(decoder, source=source, partly=partly), **projected}, rest


def original_names(
    tensors: Mapping[str, Tensor], *, is_internlm: bool = False, groups: int = 1
) -> dict[str, Tensor]:
    """Our tensors under the names of a released folder (see `internvl.original_names`), which keeps no untrained mask decoder."""
    rest = {name: tensor for name, tensor in tensors.items() if not name.startswith(("decoder.", "project."))}
    return {**internvl_back(rest, is_internlm=is_internlm, groups=groups), **_own_names(tensors)}


def _own_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What a Sa2VA has beside its language model, under its own names."""
    tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith(ORIGINAL)}
    decoder = {name: tensor for name, tensor in tensors.items() if name.startswith("decoder.")}
    project = {name: tensor for name, tensor in tensors.items() if name.startswith("project.")}
    return {
        **{
            SAM2 + name.replace(".gamma", ".g_weight"): tensor
            for name, tensor in sam2.original_names(decoder).items()
        },
        **{name.replace("project.", PROJECT): tensor for name, tensor in project.items()},
    }


def write_sa2va(
    folder: Path,
    tensors: Mapping[str, Tensor],
    *,
    recipe: Recipe,
    sizes: Sizes,
    tokenizer: Any,
    base: str | None = None,
) -> None:
    """Writes a new folder as a release has it: weights, config and tokenizer; the code beside them is Sa2VA's own.

    base: see `write_tokenizer`.
    Raises ValueError for a recipe whose language model or mask decoder no Sa2VA has.
    """
    import torch

    from seglm.model.decoders.sam2 import Sam2

    backbone = recipe.backbone
    is_sam2 = type(recipe.decoder) is Sam2
    if not isinstance(backbone, InternVL | QwenVL) or not is_sam2:
        raise ValueError(
            f"recipe {recipe.name}: only an InternVL or a Qwen-VL with a SAM-2 of one mask decoder has a place in Sa2VA's "
            "layout; export with --format seglm"
        )
    if isinstance(backbone, QwenVL):
        inside = original_names_of_qwen(tensors, TREE)
        named = {**{QWEN + name: tensor for name, tensor in inside.items()}, **_own_names(tensors)}
        config = released_config_on_qwen(backbone, sizes, tokenizer)
    else:
        groups = number(sizes.llm, "num_key_value_heads", int, source=recipe.name) or 1
        is_internlm = sizes.llm["model_type"] == "llama"
        named = original_names(tensors, is_internlm=is_internlm, groups=groups)
        config = released_config(recipe, backbone, sizes)
    stored = {
        name: tensor.detach()
        .to("cpu", torch.bfloat16 if name.startswith("vision_model.") else torch.float32)
        .contiguous()
        for name, tensor in named.items()
    }
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    write_tokenizer(folder, tokenizer, base)
    write_shards(folder, stored)


def released_config(recipe: Recipe, backbone: InternVL, sizes: Sizes) -> dict[str, Any]:
    """`config.json` of a released Sa2VA."""
    is_internlm = sizes.llm["model_type"] == "llama"
    kind = {"qwen2": "Qwen2", "qwen3": "Qwen3", "llama": "InternLM2"}[sizes.llm["model_type"]]
    own = {"attention_bias", "use_qk_norm"}
    vision = {key: value for key, value in sizes.vision.items() if key not in own}
    return {
        "architectures": ["Sa2VAChatModel"],
        "auto_map": {
            "AutoConfig": "configuration_sa2va_chat.Sa2VAChatConfig",
            "AutoModel": "modeling_sa2va_chat.Sa2VAChatModel",
            "AutoModelForCausalLM": "modeling_sa2va_chat.Sa2VAChatModel",
        },
        "model_type": SA2VA,
        "template": backbone.template,
        "downsample_ratio": 0.5,
        "ps_version": "v2",
        "select_layer": -1,
        "force_image_size": sizes.vision["image_size"],
        "min_dynamic_patch": 1,
        "max_dynamic_patch": backbone.tiles,
        "dynamic_image_size": True,
        "use_thumbnail": True,
        "tie_word_embeddings": False,
        "llm_config": {
            **with_rotation(sizes.llm),
            # InternLM 2's own code has biases where the config does not speak of any.
            **({"bias": False, "model_type": INTERNLM} if is_internlm else {}),
            "architectures": [f"{kind}ForCausalLM"],
        },
        "vision_config": {
            **vision,
            "model_type": "intern_vit_6b",
            "qkv_bias": sizes.vision["attention_bias"],
            "qk_normalization": sizes.vision["use_qk_norm"],
        },
        SAM2_SIZES: dict(sizes.decoder),
    }


def released_config_on_qwen(backbone: QwenVL, sizes: Sizes, tokenizer: Any) -> dict[str, Any]:
    """`config.json` of a released Sa2VA on a Qwen-VL."""
    code = {"AutoModel": "Sa2VAChatModelQwen", "AutoModelForCausalLM": "Sa2VAChatModelQwen"}
    return {
        **config_of_qwen(sizes, tokenizer),
        "architectures": ["Sa2VAChatModelQwen"],
        "auto_map": {
            "AutoConfig": "configuration_sa2va_chat.Sa2VAChatConfigQwen",
            **{auto: f"modeling_sa2va_qwen.{name}" for auto, name in code.items()},
        },
        "model_type": SA2VA,
        "template": backbone.template,
        SAM2_SIZES: dict(sizes.decoder),
    }
