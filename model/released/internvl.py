"""InternVL 2.5 and 3: the layout of their release (OpenGVLab, code beside the weights), read and written, and transformers' own.

Two matrices of the release are several of transformers': `qkv` of the vision tower, one below the other, and InternLM 2's `wqkv`,
which holds for each head of keys its queries, its keys and its values. An InternLM 2 is a Llama then, tensor by tensor.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seglm.model.backbones.internvl import PROJECTOR
from seglm.model.released.checkpoint import Checkpoint, count_layers
from seglm.model.released.config_keys import chosen, number, section
from seglm.model.released.dims import Shape, language_config, ranked
from seglm.model.released.errors import WeightsError, WrongNames, WrongShapes
from seglm.model.released.files import config_of, read_tensors
from seglm.model.released.keymap import Rule, mapped
from seglm.model.released.llava import tokenizer_folder, untied

if TYPE_CHECKING:
    from torch import Tensor

OTHER_INTERNVL = (
    "Bases are InternVL 2.5 and 3 on Qwen 2.5, Qwen 3 or InternLM 2. Give one of these as --version."
)
_BLOCK = r"vision_model\.encoder\.layers\.(\d+)\."
_LAYER = r"language_model\.model\.layers\.(\d+)\."
_WB = r"\.(weight|bias)"
ORIGINAL: tuple[Rule, ...] = (
    (r"vision_model\.embeddings\.class_embedding", r"vision.embeddings.cls_token"),
    (r"vision_model\.embeddings\.position_embedding", r"vision.embeddings.position_embeddings"),
    (
        rf"vision_model\.embeddings\.patch_embedding{_WB}",
        r"vision.embeddings.patch_embeddings.projection.\1",
    ),
    (rf"{_BLOCK}ls([12])", r"vision.encoder.layer.\1.lambda_\2"),
    (rf"{_BLOCK}norm1{_WB}", r"vision.encoder.layer.\1.layernorm_before.\2"),
    (rf"{_BLOCK}norm2{_WB}", r"vision.encoder.layer.\1.layernorm_after.\2"),
    (rf"{_BLOCK}attn\.qkv{_WB}", r"vision.encoder.layer.\1.attention.qkv.\2"),
    (rf"{_BLOCK}attn\.proj{_WB}", r"vision.encoder.layer.\1.attention.projection_layer.\2"),
    (rf"{_BLOCK}attn\.([qk]_norm)\.weight", r"vision.encoder.layer.\1.attention.\2.weight"),
    (rf"{_BLOCK}mlp\.(fc[12]){_WB}", r"vision.encoder.layer.\1.mlp.\2.\3"),
    (rf"mlp1\.([013]){_WB}", r"projector.\1.\2"),
    (r"language_model\.model\.tok_embeddings\.weight", r"llm.embed_tokens.weight"),
    (r"language_model\.output\.weight", r"llm.lm_head.weight"),
    (rf"{_LAYER}attention\.wqkv\.weight", r"llm.layers.\1.self_attn.wqkv.weight"),
    (rf"{_LAYER}attention\.wo\.weight", r"llm.layers.\1.self_attn.o_proj.weight"),
    (rf"{_LAYER}feed_forward\.w1\.weight", r"llm.layers.\1.mlp.gate_proj.weight"),
    (rf"{_LAYER}feed_forward\.w3\.weight", r"llm.layers.\1.mlp.up_proj.weight"),
    (rf"{_LAYER}feed_forward\.w2\.weight", r"llm.layers.\1.mlp.down_proj.weight"),
    (rf"{_LAYER}attention_norm\.weight", r"llm.layers.\1.input_layernorm.weight"),
    (rf"{_LAYER}ffn_norm\.weight", r"llm.layers.\1.post_attention_layernorm.weight"),
    (r"language_model\.model\.((?:embed_tokens|norm)\.weight)", r"llm.\1"),
    (rf"{_LAYER}((?:self_attn|mlp|input_layernorm|post_attention_layernorm)\..+)", r"llm.layers.\1.\2"),
    (r"language_model\.lm_head\.weight", r"llm.lm_head.weight"),
    (r".*\.rotary_emb\.inv_freq", None),
)
"""the release -> ours, but for `qkv` and `wqkv`, which are taken apart"""
# transformers' InternVLForConditionalGeneration, as saved and as its module tree is called
CONVERTED: tuple[Rule, ...] = (
    (r"(?:model\.)?vision_tower\.(.+)", r"vision.\1"),
    (rf"(?:model\.)?multi_modal_projector\.layer_norm{_WB}", r"projector.0.\1"),
    (rf"(?:model\.)?multi_modal_projector\.linear_1{_WB}", r"projector.1.\1"),
    (rf"(?:model\.)?multi_modal_projector\.linear_2{_WB}", r"projector.3.\1"),
    (r"(?:language_model\.)?lm_head\.weight", r"llm.lm_head.weight"),
    (r"(?:language_model\.model|model\.language_model)\.(.+)", r"llm.\1"),
)
# ours -> the release; of an InternLM 2 the second table first
BACK: tuple[Rule, ...] = (
    (r"vision\.embeddings\.cls_token", r"vision_model.embeddings.class_embedding"),
    (r"vision\.embeddings\.position_embeddings", r"vision_model.embeddings.position_embedding"),
    (
        rf"vision\.embeddings\.patch_embeddings\.projection{_WB}",
        r"vision_model.embeddings.patch_embedding.\1",
    ),
    (r"vision\.encoder\.layer\.(\d+)\.lambda_([12])", r"vision_model.encoder.layers.\1.ls\2"),
    (
        rf"vision\.encoder\.layer\.(\d+)\.layernorm_before{_WB}",
        r"vision_model.encoder.layers.\1.norm1.\2",
    ),
    (rf"vision\.encoder\.layer\.(\d+)\.layernorm_after{_WB}", r"vision_model.encoder.layers.\1.norm2.\2"),
    (
        rf"vision\.encoder\.layer\.(\d+)\.attention\.projection_layer{_WB}",
        r"vision_model.encoder.layers.\1.attn.proj.\2",
    ),
    (r"vision\.encoder\.layer\.(\d+)\.attention\.(.+)", r"vision_model.encoder.layers.\1.attn.\2"),
    (r"vision\.encoder\.layer\.(\d+)\.mlp\.(.+)", r"vision_model.encoder.layers.\1.mlp.\2"),
    (r"projector\.(.+)", r"mlp1.\1"),
    (r"llm\.lm_head\.weight", r"language_model.lm_head.weight"),
    (r"llm\.(.+)", r"language_model.model.\1"),
)
_OURS = r"llm\.layers\.(\d+)\."
_THEIRS = r"language_model.model.layers.\1."
INTERNLM_BACK: tuple[Rule, ...] = (
    (r"llm\.embed_tokens\.weight", r"language_model.model.tok_embeddings.weight"),
    (r"llm\.lm_head\.weight", r"language_model.output.weight"),
    (rf"{_OURS}self_attn\.wqkv\.weight", rf"{_THEIRS}attention.wqkv.weight"),
    (rf"{_OURS}self_attn\.o_proj\.weight", rf"{_THEIRS}attention.wo.weight"),
    (rf"{_OURS}mlp\.gate_proj\.weight", rf"{_THEIRS}feed_forward.w1.weight"),
    (rf"{_OURS}mlp\.up_proj\.weight", rf"{_THEIRS}feed_forward.w3.weight"),
    (rf"{_OURS}mlp\.down_proj\.weight", rf"{_THEIRS}feed_forward.w2.weight"),
    (rf"{_OURS}input_layernorm\.weight", rf"{_THEIRS}attention_norm.weight"),
    (rf"{_OURS}post_attention_layernorm\.weight", rf"{_THEIRS}ffn_norm.weight"),
)
INTERNLM = "internlm2"
TOWER = {  # InternViT-300M's, where a config leaves them out
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-6,
    "norm_type": "layer_norm",
}
FIXED: Mapping[str, tuple[object, ...]] = {
    "downsample_ratio": (0.5,),
    "ps_version": ("v2",),
    "select_layer": (-1,),
    "vision_feature_layer": (-1,),
    "pad2square": (False,),
    "use_backbone_lora": (0, False),
    "use_llm_lora": (0, False),
}
"""keys of which InternVL 2.5 and 3 have this value, and that the forward does not follow"""


def load_internvl(path: str | Path) -> Checkpoint:
    """Reads an InternVL. Raises WrongNames or WrongShapes for what is none, WeightsError for a config of another forward."""
    source = str(path)
    return internvl_checkpoint(
        read_tensors(path), config_of(path), source=source, tokenizer=tokenizer_folder(path)
    )


def internvl_checkpoint(
    raw: Mapping[str, Tensor], config: Mapping[str, Any], *, source: str, tokenizer: str | None = None
) -> Checkpoint:
    """The same from tensors in memory."""
    for key, allowed in FIXED.items():
        chosen(config, key, allowed, source=source)
    text = language_section(config, source)
    tensors = internvl_names(raw, text, source=source)
    sizes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    ranked(sizes, {"projector.1.weight": 2, "projector.3.weight": 2}, source=source)
    model_type = str(text.get("model_type"))
    llm = language_config(text, sizes, source=source)
    return Checkpoint(
        source=source,
        kind="internvl",
        tensors=untied(tensors, {**text, **_tie(config)}, source=source),
        llm={**llm, "model_type": "llama" if model_type == INTERNLM else model_type},
        vision=tower_config(section(config, "vision_config", source=source), sizes, source=source),
        projector=PROJECTOR,
        select_layer=-1,
        tokenizer=tokenizer,
    )


def internvl_names(raw: Mapping[str, Tensor], text: Mapping[str, Any], *, source: str) -> dict[str, Tensor]:
    """Tensors of either layout under our names; text: the config of the language model. Raises WrongNames."""
    is_original = any(name.startswith("vision_model.") for name in raw)
    table = ORIGINAL if is_original else CONVERTED
    found = mapped(dict(raw), table, source=source, layout="InternVL", hint=OTHER_INTERNVL)
    return dict(parted(found, text, source))


def original_names(tensors: Mapping[str, Tensor], *, is_internlm: bool, groups: int = 1) -> dict[str, Tensor]:
    """Our tensors of an InternVL under the names of its release; groups: heads of keys of the language model."""
    table = (*INTERNLM_BACK, *BACK) if is_internlm else BACK
    joined = dict(_together(tensors, groups if is_internlm else 0))
    return mapped(joined, table, source="the model", layout="InternVL")


def tower_config(config: Mapping[str, Any], sizes: Mapping[str, Shape], *, source: str) -> dict[str, Any]:
    """Keyword arguments of transformers' InternVLVisionConfig, its sides as whole numbers. Raises WrongShapes."""
    patches, places = (
        "vision.embeddings.patch_embeddings.projection.weight",
        "vision.embeddings.position_embeddings",
    )
    mlp = "vision.encoder.layer.0.mlp.fc1.weight"
    ranked(sizes, {patches: 4, places: 3, mlp: 2}, source=source)
    hidden, _, patch, _ = sizes[patches]
    heads = number(config, "num_attention_heads", int, source=source)
    if not heads or hidden % heads:
        raise WeightsError(
            f"{source}: config.json says num_attention_heads {heads} for a vision tower of {hidden} channels; the channels have "
            "to be a multiple"
        )
    seen = {
        "hidden_size": hidden,
        "intermediate_size": sizes[mlp][0],
        "num_hidden_layers": count_layers(sizes, "vision.encoder.layer."),
        "image_size": round((sizes[places][1] - 1) ** 0.5) * patch,
        "patch_size": patch,
        "attention_bias": "vision.encoder.layer.0.attention.q_proj.bias" in sizes,
        "use_qk_norm": "vision.encoder.layer.0.attention.q_norm.weight" in sizes,
    }
    for key in ("hidden_size", "intermediate_size", "num_hidden_layers"):
        if config.get(key) not in (None, seen[key]):
            raise WrongShapes(
                f"{source}: config.json says {key} {config[key]} of the vision tower, the tensors say {seen[key]}; the two are "
                "not of one model"
            )
    norm = chosen(config, "norm_type", ("layer_norm", "rms_norm"), source=source)
    said = {
        "hidden_act": chosen(config, "hidden_act", ("gelu",), source=source),
        "layer_norm_eps": number(config, "layer_norm_eps", float, source=source, least=0),
        "norm_type": norm,
    }
    return {
        **TOWER,
        **{key: value for key, value in said.items() if value is not None},
        **seen,
        "num_attention_heads": heads,
    }


def language_section(config: Mapping[str, Any], source: str) -> Mapping[str, Any]:
    """The config of the language model. Raises WrongNames if there is none."""
    text = section(config, "llm_config", source=source) or section(config, "text_config", source=source)
    if not text:
        raise WrongNames(
            f"{source}: no config.json with llm_config or text_config beside the weights; fetch it, too"
        )
    return text


def _tie(config: Mapping[str, Any]) -> dict[str, Any]:
    """What the whole config says of the head; it goes before what its part says."""
    return {key: config[key] for key in ("tie_word_embeddings",) if config.get(key) is not None}


def parted(
    tensors: Mapping[str, Tensor], text: Mapping[str, Any] | None, source: str
) -> Iterator[tuple[str, Tensor]]:
    """Fused matrices, and adapters of such, as those of queries, keys and values; text: None leaves the language model's fused.

    Raises WrongShapes if the sizes of the language model do not fit.
    """
    for name, tensor in tensors.items():
        if ".attention.qkv." in name:
            for part, rows in zip("qkv", tensor.chunk(3), strict=True):
                yield name.replace(".qkv.", f".{part}_proj."), rows.contiguous()
        elif text is None or ".self_attn.wqkv." not in name:
            yield name, tensor
        elif ".lora_A." in name:  # what the three are made of is the same
            yield from ((name.replace(".wqkv.", f".{part}_proj."), tensor) for part in "qkv")
        else:
            heads, groups = (
                number(text, key, int, source=source) or 0
                for key in ("num_attention_heads", "num_key_value_heads")
            )
            if not groups or heads % groups or tensor.shape[0] % (heads + 2 * groups):
                raise WrongShapes(
                    f"{source}: wqkv has {tensor.shape[0]} rows for {heads} heads and {groups} of keys; config.json and tensors "
                    "are not of one model"
                )
            each = heads // groups
            rows = tensor.unflatten(0, (groups, each + 2, -1))
            parts = {"q": rows[:, :each], "k": rows[:, each], "v": rows[:, each + 1]}
            for part, own in parts.items():
                yield name.replace(".wqkv.", f".{part}_proj."), own.reshape(-1, tensor.shape[1]).contiguous()


def _together(tensors: Mapping[str, Tensor], groups: int) -> Iterator[tuple[str, Tensor]]:
    """And back; groups: 0 leaves the language model's as they are."""
    import torch

    for name, tensor in tensors.items():
        is_tower = ".attention.q_proj." in name
        is_fused = bool(groups) and ".self_attn.q_proj." in name
        if not (is_tower or is_fused):
            if not any(f".{part}_proj." in name for part in _rest(name, groups)):
                yield name, tensor
            continue
        parts = [tensors[name.replace(".q_proj.", f".{part}_proj.")] for part in "qkv"]
        if is_tower:
            yield name.replace(".q_proj.", ".qkv."), torch.cat(parts)
            continue
        wide = parts[1].shape[0] // groups
        rows = [part.unflatten(0, (groups, -1, wide)) for part in parts]
        yield name.replace(".q_proj.", ".wqkv."), torch.cat(rows, dim=1).flatten(0, 2)


def _rest(name: str, groups: int) -> Iterable[str]:
    """Parts of a fused matrix that stand in its `q_proj`'s place."""
    return "kv" if ".attention." in name or (groups and ".self_attn." in name) else ""
