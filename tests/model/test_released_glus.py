"""GLUS's releases, as tiny folders: written by us in their layout, read strictly, and begun from a released LISA."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from seglm.model.build import build, refuse_absent_base
from seglm.model.decoders.sam2 import Sam2
from seglm.model.load import load
from seglm.model.recipe import Recipe
from seglm.model.recipes import recipe as named
from seglm.model.released.errors import WeightsError, WrongNames
from seglm.model.released.files import config_of, read_tensors
from seglm.model.released.glus import VISUAL
from seglm.model.released.lisa import lisa_names, load_lisa
from seglm.model.released.lisa_export import write_lisa
from seglm.model.segmenter import Segmenter
from seglm.model.sizes import Sizes
from tests.model.layouts import LLM, canonical_tensors, write_clip, write_lisa_release, write_llava
from tests.model.test_released_sam2 import write
from tests.tiny import CLIP, tiny_model, tiny_recipe
from tests.tiny_sam2 import SAM2_0, SIDE, tiny_sam2


def tiny_glus() -> Recipe:
    recipe, base = named("glus_a"), tiny_recipe()
    return replace(
        recipe,
        backbone=replace(recipe.backbone, pool="2x2"),  # type: ignore[call-arg]
        decoder=replace(recipe.decoder, image_size=SIDE),
        engine=base.engine,
        trainable=replace(recipe.trainable, lora=base.trainable.lora),
    )


def glus(seed: int = 3) -> Segmenter:
    return tiny_model(tiny_glus(), seed=seed, decoder=asdict(SAM2_0))


def release(folder: Path, tensors: dict[str, Tensor], clip: Path) -> Path:
    """What `merge_lora_weights_and_save_hf_model.py --format lisa` writes."""
    recipe = tiny_glus()
    recipe = replace(recipe, backbone=replace(recipe.backbone, vision=str(clip)))
    sizes = Sizes({**LLM, "vocab_size": len(tensors["llm.lm_head.weight"])}, CLIP, asdict(SAM2_0))
    base = str(write_llava(folder.with_name("llava"), tensors))
    write_lisa(folder, tensors, recipe=recipe, sizes=sizes, tokenizer=glus().encoder.tokenizer, base=base)
    return folder


def test_a_release_goes_out_and_comes_back(tmp_path: Path) -> None:
    tensors = canonical_tensors(glus(), adapters=False)
    clip = write_clip(tmp_path / "clip", tensors)
    folder = release(tmp_path / "GLUS-A", tensors, clip)
    raw = read_tensors(folder)
    assert {name.split(".")[2] for name in raw if "visual_model" in name} >= {
        "sam_mask_decoder", "sam_prompt_encoder", "memory_attention", "obj_ptr_proj", "maskmem_tpos_enc"
    }  # fmt: skip
    assert config_of(folder)["architectures"] == ["GLUSForCausalLM"]
    found = load_lisa(folder)
    assert found.system == "glus" and found.decoder == asdict(SAM2_0)
    wanted = {name: value for name, value in tensors.items() if not name.startswith("vision.")}
    assert set(found.tensors) == set(wanted)
    assert all(torch.equal(found.tensors[name], value) for name, value in wanted.items())
    model, recipe = load(str(folder), recipe="glus_a", vision=str(clip), precision="fp32")
    assert recipe.name == "glus_a" and model.decoder.image_size == SIDE


def test_the_tokenizer_goes_out_as_transformers_4_31_reads_it(tmp_path: Path) -> None:
    tensors = canonical_tensors(glus(), adapters=False)
    folder = release(tmp_path / "GLUS-A", tensors, write_clip(tmp_path / "clip", tensors))
    pieces = (tmp_path / "llava" / "tokenizer.model").read_bytes()
    assert (folder / "tokenizer.model").read_bytes() == pieces
    assert json.loads((folder / "tokenizer_config.json").read_text())["tokenizer_class"] == "LlamaTokenizer"
    added = {"[SEG]": 560, "<im_start>": 561, "<im_end>": 562}
    assert json.loads((folder / "added_tokens.json").read_text()) == added


def test_a_tensor_that_no_sam2_has_is_named() -> None:
    raw = {f"{VISUAL}sam_mask_decoder.{name}.weight": torch.ones(1) for name in ("iou_token", "strange")}
    with pytest.raises(WrongNames, match=r"sam_mask_decoder\.strange\.weight"):
        lisa_names(raw, source="GLUS-A")


def test_training_begins_from_a_released_lisa_with_a_sam2_and_a_new_projection(tmp_path: Path) -> None:
    lisa = canonical_tensors(tiny_model(seed=1), adapters=False)
    clip = write_clip(tmp_path / "clip", lisa)
    folder = write_lisa_release(tmp_path / "LISA-7B-v1", lisa, vision=str(clip))
    sam2 = tiny_sam2(SAM2_0, seed=5)
    recipe = tiny_glus()
    recipe = replace(
        recipe,
        backbone=replace(recipe.backbone, weights=str(folder), vision=str(clip)),
        decoder=replace(recipe.decoder, weights=str(tmp_path / "sam2.pt")),
    )
    with pytest.raises(FileNotFoundError, match=r"sam2\.pt"):  # before the language model is read
        refuse_absent_base(recipe)
    write(tmp_path / "sam2.pt", sam2)
    built = build(recipe)
    fresh = {name.split(".")[0] for name in built.report.allowed if ".lora_" not in name}
    assert built.report.complete and fresh == {"project"}
    state = built.model.state_dict()
    wanted = sam2.state_dict()
    assert all(torch.equal(state[f"decoder.{name}"], value) for name, value in wanted.items())
    assert torch.equal(state["backbone.llm.lm_head.weight"], lisa["llm.lm_head.weight"])
    with pytest.raises(WeightsError, match="holds a mask decoder that is no SAM-2"):
        load(str(folder), recipe="glus_a", vision=str(clip), decoder=str(tmp_path / "sam2.pt"))


def test_a_folder_says_of_itself_how_it_shows_pictures() -> None:
    told = Sam2(stretches=True).preprocessing()
    assert told["resize"] == "both sides, bilinear" and "pad" not in told
    assert "pad" in Sam2().preprocessing()
    assert json.dumps(told)
