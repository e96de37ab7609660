"""LISA's own layouts (dvlab-research/LISA at 3cb2d43).

* Merged folders (`xinlai/LISA-7B-v1`, `-13B-llama2-v1`, `-explanatory`): the names of `LISAForCausalLM`. CLIP is not in
  them; SAM is, and its mask decoder is the *trained* one, so SAM's own file must never be read over it.
* Training files (`pytorch_model.bin` of zero_to_fp32): the same names behind `base_model.model.`, adapters as peft 0.4 or
  newer names them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seglm.model.names import nearest
from seglm.model.released.checkpoint import Checkpoint
from seglm.model.released.config_keys import followed, place, section, select_layer
from seglm.model.released.dims import clip_config, family_of, language_config, projector_kind, ranked
from seglm.model.released.errors import AdapterOnly, OldLayout, WrongNames
from seglm.model.released.files import config_of, read_tensors
from seglm.model.released.glus import drawing, is_glus
from seglm.model.released.keymap import Rule, mapped
from seglm.model.released.llava import ORIGINAL, refuse_delta, tokenizer_folder, untied
from seglm.model.released.sam import sam_dims
from seglm.model.released.sam2 import sam2_dims

if TYPE_CHECKING:
    from torch import Tensor

V0_FILE = "pytorch_model-text_hidden_fcs.bin"
SAM_PARTS = r"((?:image_encoder|prompt_encoder|mask_decoder)\..+)"
MERGED: tuple[Rule, ...] = (
    *ORIGINAL,
    (rf"model\.visual_model\.{SAM_PARTS}", r"decoder.\1"),
    (r"model\.visual_model\.pixel_(?:mean|std)", None),
    (r"model\.text_hidden_fcs\.0\.([02]\.(?:weight|bias))", r"project.\1"),
    (r"keyword_fusion\.(.+)", r"fuse.\1"),  # KeySeg's, at 8dbcc31
    (r"embedding_table_proj\.(weight|bias)", r"fuse.embedding_table_proj.\1"),
    (r"keyword_text_proj\.(?:weight|bias)", None),  # held and never used
)
_LAYER = r"model\.(layers\.\d+\.(?:self_attn|mlp)\.\w+)"
TRAINING: tuple[Rule, ...] = (
    (rf"{_LAYER}\.lora_([AB])\.default\.weight", r"llm.\1.lora_\2.weight"),
    (rf"{_LAYER}\.base_layer\.(weight|bias)", r"llm.\1.\2"),
    *MERGED,
)
WRAPPERS = ("module.", "base_model.model.")
"""what DeepSpeed and peft put before every name"""


def load_lisa(path: str | Path) -> Checkpoint:
    """Reads a merged LISA folder.

    Raises OldLayout, AdapterOnly, DeltaWeights or WrongNames for what looks like one and is not.
    """
    source = str(path)
    refuse_v0(path)
    raw, config = read_tensors(path), config_of(path)
    return lisa_checkpoint(raw, config, source=source, tokenizer=tokenizer_folder(path))


def lisa_checkpoint(
    raw: Mapping[str, Tensor], config: Mapping[str, Any], *, source: str, tokenizer: str | None = None
) -> Checkpoint:
    """The same from tensors in memory; training names are read as well if the base is among them."""
    tensors = lisa_names(raw, source=source)
    refuse_delta(tensors, config, source=source)
    family = family_of(tensors)
    followed(config, source=source, kinds=family.kinds, also=family.follows)
    sizes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if "llm.embed_tokens.weight" not in sizes or "llm.norm.weight" not in sizes:
        raise AdapterOnly(
            f"{source}: trained weights without their base ({len(sizes)} tensors, no llm.norm); give the base as --version and "
            "this as --weight"
        )
    for part, what in (
        ("decoder.mask_decoder.", "the trained mask decoder"),
        ("project.", "text_hidden_fcs"),
    ):
        if not any(name.startswith(part) for name in sizes):
            raise WrongNames(
                f"{source}: {what} is not in this checkpoint, so it is not a LISA model (a plain LLaVA would segment "
                "at random: gIoU 0.05); give a LISA checkpoint, or train from this base with train_ds.py --version"
            )
    ranked(sizes, {"project.0.weight": 2, "project.2.weight": 2}, source=source)
    tower = "vision.embeddings.patch_embedding.weight" in sizes
    return Checkpoint(
        source=source,
        kind="lisa",
        tensors=untied(tensors, config, source=source),
        llm=language_config(config, sizes, source=source),
        vision=clip_config(section(config, "vision_config", source=source), sizes, source=source)
        if tower
        else None,
        projector=projector_kind(sizes, source=source, config=config),
        select_layer=select_layer(config, source=source),
        vision_path=None if tower else place(config, "mm_vision_tower", "vision_tower", source=source),
        decoder=_decoder(sizes, config, source=source),
        project=(sizes["project.0.weight"][1], sizes["project.2.weight"][0]),
        lora_rank=lora_rank(sizes, source=source),
        tokenizer=tokenizer,
        system="glus" if is_glus(map(unwrapped, raw)) else "lisa",
    )


def _decoder(
    sizes: Mapping[str, tuple[int, ...]], config: Mapping[str, Any], *, source: str
) -> dict[str, Any] | None:
    """The sizes of the mask decoder that these weights hold, SAM or SAM-2; None if they hold no whole one."""
    if "decoder.image_encoder.pos_embed" in sizes:
        return sam_dims(sizes, source=source, config=config)
    if "decoder.image_encoder.backbone.pos_embed" in sizes:
        return sam2_dims(sizes, source=source, config=config)
    return None


def lisa_names(raw: Mapping[str, Tensor], *, source: str) -> dict[str, Tensor]:
    """LISA's or GLUS's merged or training names -> canonical names. Raises WrongNames that lists unknown names."""
    bare = {unwrapped(name): tensor for name, tensor in raw.items()}
    if len(bare) != len(raw):
        raise WrongNames(
            f"{source}: {len(raw) - len(bare)} tensors stand twice, with and without {' or '.join(WRAPPERS)}"
        )
    if not is_glus(bare):
        return mapped(bare, TRAINING, source=source, layout="LISA")
    rest, drawn = drawing(bare, source=source)
    return {**mapped(rest, TRAINING, source=source, layout="GLUS"), **drawn}


def unwrapped(name: str) -> str:
    """The name without what DeepSpeed and peft put before it."""
    for wrapper in WRAPPERS:
        name = name.removeprefix(wrapper)
    return name


def lora_rank(sizes: Mapping[str, tuple[int, ...]], *, source: str) -> int:
    """Rank of the adapters among canonical shapes, 0 without. Raises WrongNames if ranks differ or a half is missing."""
    halves = {name: 2 for name in sizes if ".lora_A." in name or ".lora_B." in name}
    ranked(sizes, halves, source=source)
    ranks = {shape[0] for name, shape in sizes.items() if name.endswith(".lora_A.weight")}
    if len(ranks) > 1:
        raise WrongNames(
            f"{source}: adapters of several ranks {sorted(ranks)}; one rank a model is supported"
        )
    for name in sizes:
        for half, other in ((".lora_A.", ".lora_B."), (".lora_B.", ".lora_A.")):
            if half in name and (pair := name.replace(half, other)) not in sizes:
                raise WrongNames(
                    f"{source}: {name} has no counterpart {pair}; nearest names: {nearest(pair, sizes)}"
                )
    return ranks.pop() if ranks else 0


def refuse_v0(path: str | Path) -> None:
    """Raises OldLayout for LISA's v0 checkpoints."""
    if (Path(path) / V0_FILE).exists():
        raise OldLayout(
            f"{path}: a LISA v0 checkpoint ({V0_FILE} lies beside the shards); its prompts and token order are "
            "those of LISA's commit 0e26916 and no newer code reads it. Use a v1 checkpoint: "
            "xinlai/LISA-7B-v1 or xinlai/LISA-13B-llama2-v1"
        )
