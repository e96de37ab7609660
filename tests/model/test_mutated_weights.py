"""Good weights with one thing changed: each is read right, or refused by an error that names the file; nothing else happens."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from seglm.model.build import build
from seglm.model.load import load
from seglm.model.names import names
from seglm.model.recipe import Recipe
from seglm.model.released.errors import WeightsError
from seglm.model.segmenter import Segmenter
from tests.model.layouts import canonical_tensors, write_bases, write_lisa_release
from tests.model.mutations import (
    ADDED,
    BIN,
    CONFIG,
    PAGE,
    POINTER,
    ST,
    Mutation,
    State,
    both,
    config,
    content,
    cut,
    gone,
    one,
    part_of_config,
    poisoned,
    prefixed,
    renamed,
    rows,
    saved,
    tensors,
    without,
)
from tests.tiny import tiny_model, tiny_recipe

INDEX, SHARD = f"{BIN}.index.json", "pytorch_model-00002-of-00002.bin"
EMBED, HEAD = "embed_tokens.weight", "lm_head.weight"
NAN, INF = float("nan"), float("inf")
RIGHT = ""
"""what is expected where the weights are to be read as if nothing were changed"""


def doubled(state: State) -> State:
    return {name: tensor * 2 for name, tensor in state.items() if tensor.is_floating_point()}


def tied(state: State) -> None:
    state.pop(HEAD)


def as_old_pickle(folder: Path) -> None:
    state = torch.load(folder / "sam.pth")
    torch.save(state, folder / "sam.pth", _use_new_zipfile_serialization=False)


def as_list(state: State) -> list[Tensor]:
    return list(state.values())


# (part that is changed, what is done to it, what the error says; RIGHT: read as before)
TABLE: dict[str, tuple[str, Mutation, str]] = {
    # ---- which container counts --------------------------------------------------------------------------------------
    "one file instead of shards": ("lisa", tensors(lambda state: None), RIGHT),
    "safetensors": ("lisa", tensors(lambda state: None, name=ST), RIGHT),
    "the same as safetensors beside the shards": ("lisa", saved(ST, dict), RIGHT),
    "other values as safetensors beside the shards": ("lisa", saved(ST, doubled), f"{ST} and {INDEX}"),
    "other values as one file beside the shards": ("lisa", saved(BIN, doubled), f"{BIN} and {INDEX}"),
    "a trainer's leavings": ("lisa", saved("training_args.bin", doubled), RIGHT),
    "an optimizer's leavings": ("llava", saved("optimizer.pt", doubled), RIGHT),
    "a projector of its own": ("llava", saved("mm_projector.bin", doubled), RIGHT),
    "a shard is gone": ("lisa", gone(SHARD), f"not there: {SHARD}"),
    "the index is gone": ("lisa", gone(INDEX), RIGHT),
    "index and a shard are gone": ("lisa", both(gone(INDEX), gone(SHARD)), f"not there: {SHARD}"),
    "index of another save beside a whole file": (
        "lisa",
        both(tensors(lambda state: None), content(INDEX, b'{"weight_map": {"a": "b.bin"}}')),
        RIGHT,
    ),
    "index without a map": ("lisa", content(INDEX, b"{}"), INDEX),
    "index that is a list": ("lisa", content(INDEX, b"[]"), INDEX),
    "index with numbers for files": ("lisa", content(INDEX, b'{"weight_map": {"a": 1}}'), INDEX),
    "index that leaves the folder": ("lisa", content(INDEX, b'{"weight_map": {"a": "../x.bin"}}'), INDEX),
    "a name in two shards": ("lisa", both(saved("x", dict), gone(SHARD), lambda f: (f / "x").rename(f / SHARD)), SHARD),
    # ---- whole or not ------------------------------------------------------------------------------------------------
    "empty shard": ("lisa", content(SHARD, b""), f"{SHARD}: empty, 0 bytes"),
    "shard is a pointer": ("lisa", content(SHARD, POINTER), f"{SHARD}: a git-lfs pointer"),
    "shard is a web page": ("lisa", content(SHARD, PAGE), f"{SHARD}: a web page"),
    "shard is a message": ("lisa", content(SHARD, b"Entry not found"), f"{SHARD}: a text"),
    "half a shard": ("lisa", cut(SHARD, 0.5), f"{SHARD}: cut short"),
    "nearly all of a shard": ("lisa", cut(SHARD, 0.999), f"{SHARD}: cut short"),
    "noise": ("lisa", content(SHARD, bytes(range(256)) * 9), SHARD),
    "half a safetensors": ("lisa", both(tensors(lambda state: None, name=ST), cut(ST, 0.5)), f"{ST}: cut short"),
    "a header of safetensors": ("lisa", both(tensors(lambda state: None, name=ST), cut(ST, 0.01)), f"{ST}: cut"),
    "safetensors are a pointer": ("lisa", content(ST, POINTER), f"{ST}: a git-lfs pointer"),
    "safetensors of noise": ("lisa", content(ST, bytes(range(200, 256)) * 9), ST),
    "index is a pointer": ("lisa", content(INDEX, POINTER), f"{INDEX}: a git-lfs pointer"),
    "config is a pointer": ("lisa", content(CONFIG, POINTER), f"{CONFIG}: a git-lfs pointer"),
    "config is empty": ("lisa", content(CONFIG, b""), f"{CONFIG}: empty"),
    "config is a list": ("lisa", content(CONFIG, b"[1]"), f"{CONFIG}: expected a JSON object"),
    "config is half": ("lisa", cut(CONFIG, 0.5), f"{CONFIG}: not JSON"),
    "config with a byte order mark": (
        "lisa",
        lambda f: (f / CONFIG).write_bytes(b"\xef\xbb\xbf" + (f / CONFIG).read_bytes()) and None,
        RIGHT,
    ),
    "tokenizer is a pointer": ("lisa", content("tokenizer.model", POINTER), "tokenizer.model: a git-lfs"),
    "tokenizer is empty": ("lisa", content("tokenizer.model", b""), "tokenizer.model: empty"),
    "half a tokenizer": ("lisa", cut("tokenizer.model", 0.5), "tokenizer.model: not readable"),
    "tokenizer is a web page": ("llava", content("tokenizer.model", PAGE), "tokenizer.model: a web page"),
    "added tokens are a pointer": ("lisa", content(ADDED, POINTER), f"{ADDED}: a git-lfs pointer"),
    "an added token without a number": ("lisa", content(ADDED, b'{"[SEG]": "560"}'), ADDED),
    "SAM is empty": ("sam", content("sam.pth", b""), "sam.pth: empty"),
    "SAM is a pointer": ("sam", content("sam.pth", POINTER), "sam.pth: a git-lfs pointer"),
    "SAM is a web page": ("sam", content("sam.pth", PAGE), "sam.pth: a web page"),
    "half a SAM": ("sam", cut("sam.pth", 0.5), "sam.pth: cut short"),
    "CLIP is cut": ("clip", cut(BIN, 0.9), f"{BIN}: cut short"),
    "half an old pickle": ("sam", both(as_old_pickle, cut("sam.pth", 0.5)), "sam.pth: cut short"),
    "an old pickle": ("sam", as_old_pickle, RIGHT),
    "a module instead of tensors": ("sam", saved("sam.pth", lambda s: torch.nn.Linear(2, 2)), "holds torch.nn"),
    "a token far behind the others": ("lisa", content(ADDED, b'{"[SEG]": 9999}'), ADDED),
    "no tokenizer": ("lisa", gone("tokenizer.model"), "no tokenizer files"),
    "a list of tensors": ("clip", saved(BIN, as_list), BIN),
    "no tensor at all": ("lisa", tensors(lambda state: {}), "no tensor"),
    "numbers for names": ("lisa", tensors(lambda state: dict(enumerate(state.values()))), BIN),
    # ---- names -------------------------------------------------------------------------------------------------------
    "DDP's prefix on SAM": ("sam", prefixed("module."), RIGHT),
    "two prefixes on SAM": ("sam", prefixed("module._orig_mod."), RIGHT),
    "DDP's prefix on CLIP": ("clip", prefixed("module."), RIGHT),
    "DDP's prefix on LLaVA": ("llava", prefixed("module."), RIGHT),
    "DDP's prefix on LISA": ("lisa", prefixed("module."), RIGHT),
    "another prefix on SAM": ("sam", prefixed("net."), "Give SAM's own"),
    "HQ-SAM": ("sam", tensors(lambda s: s.update({"mask_decoder.hf_token.weight": torch.ones(1, 16)})), "an HQ-SAM"),
    "SAM 2": ("sam", renamed("image_encoder.", "image_encoder.trunk."), "a SAM 2"),
    "a name that CLIP lacks": ("clip", renamed("pre_layrnorm", "norm"), "--vision-tower"),
    "a name that LLaVA lacks": ("llava", tensors(lambda s: s.update({"model.image_newline": torch.ones(4)})), "1.6"),
    "a layer of CLIP is gone": ("clip", without("layers.1.mlp.fc2.bias"), "clip"),
    "a layer of SAM is gone": ("sam", without("blocks.1.mlp.lin1.bias"), "sam.pth"),
    "a layer of LLaVA is gone": ("llava", without("layers.1.mlp.up_proj.weight"), "llava"),
    "a size of SAM is gone": ("sam", without("patch_embed.proj.weight"), "sam.pth"),
    "a size of CLIP is gone": ("clip", without("position_embedding.weight"), "clip"),
    "SAM's squares are flat": ("sam", one("image_encoder.pos_embed", torch.flatten), "sam.pth"),
    "CLIP's patches are flat": ("clip", one("patch_embedding.weight", torch.flatten), "clip"),
    "a flat embedding": ("llava", one(EMBED, torch.flatten), EMBED),
    # ---- rows of the vocabulary --------------------------------------------------------------------------------------
    "a trained model without the row of [SEG]": ("lisa", both(rows(EMBED, 560), rows(HEAD, 560)), r"\[SEG\]"),
    "a head without the row of the last token": ("lisa", rows(HEAD, 562), "<im_end>"),
    "a base with fewer rows than tokens": ("llava", both(rows(EMBED, 500), rows(HEAD, 500)), "560|500"),
    "rows without tokens": ("llava", both(rows(EMBED, 563), rows(HEAD, 563)), ADDED),
    "padded rows": ("llava", both(rows(EMBED, 576), rows(HEAD, 576)), RIGHT),
    "a trained model with rows without tokens": ("lisa", both(rows(EMBED, 570), rows(HEAD, 570)), ADDED),
    # ---- values ------------------------------------------------------------------------------------------------------
    "a NaN in the LLM": ("lisa", one("layers.1.mlp.up_proj.weight", poisoned(NAN)), "NaN or infinity"),
    "a NaN in the head": ("lisa", one(HEAD, poisoned(NAN)), "llm.lm_head"),
    "an infinity in SAM": ("sam", one("iou_token.weight", poisoned(INF)), "sam.pth: .*iou_token"),
    "a NaN in CLIP": ("clip", one("class_embedding", poisoned(NAN)), "clip: .*class_embedding"),
    "whole numbers for weights": ("lisa", one("layers.0.mlp.up_proj.weight", Tensor.char), "quantised"),
    "complex numbers": ("lisa", one(HEAD, lambda t: t.cfloat()), BIN),
    "a sparse table": ("lisa", one(HEAD, Tensor.to_sparse), BIN),
    # ---- config ------------------------------------------------------------------------------------------------------
    "the class token is shown": ("lisa", config(mm_vision_select_feature="cls_patch"), "select_feature 'cls_patch'"),
    "pictures are cut into tiles": ("llava", config(image_aspect_ratio="anyres"), "image_aspect_ratio 'anyres'"),
    "pictures are padded, which LISA does not": ("llava", config(image_aspect_ratio="pad"), RIGHT),
    "pictures are square": ("lisa", config(image_aspect_ratio="square"), RIGHT),
    "patches are shown": ("lisa", config(mm_vision_select_feature="patch"), RIGHT),
    "several layers are shown": ("llava", config(mm_vision_select_layer=[-2, -5]), "mm_vision_select_layer"),
    "the layer as a text": ("llava", config(mm_vision_select_layer="-2"), "mm_vision_select_layer"),
    "the layer counted from the front": ("llava", config(mm_vision_select_layer=2), RIGHT),
    "a layer that is not there": ("llava", config(mm_vision_select_layer=-9), "selects layer -9"),
    "another projector": ("llava", config(mm_projector_type="mlp2x_gelu"), "mm_projector_type"),
    "an unknown projector": ("llava", config(mm_projector_type="resampler"), "mm_projector_type"),
    "a quantised model": ("lisa", config(quantization_config={"bits": 4}), "quantization_config"),
    "another model": ("lisa", config(model_type="mistral"), "model_type 'mistral'"),
    "a sliding window": ("llava", config(sliding_window=4096), "sliding_window"),
    "stretched positions of no kind": ("llava", config(rope_scaling={"factor": 2.0}), "rope_scaling"),
    "stretched positions of an unknown kind": ("llava", config(rope_scaling={"type": "x", "factor": 2.0}), "config"),
    "stretched positions as a text": ("llava", config(rope_scaling="linear"), "rope_scaling"),
    "no heads": ("llava", config(num_attention_heads=None), "num_attention_heads"),
    "heads as a text": ("llava", config(num_attention_heads="4"), "num_attention_heads '4'"),
    "heads that do not divide": ("llava", config(num_attention_heads=5), "5 attention heads"),
    "fewer key-value heads than there are": ("llava", config(num_key_value_heads=2), "num_key_value_heads"),
    "layers below zero": ("llava", config(num_hidden_layers=-2), "num_hidden_layers -2"),
    "an unknown activation": ("llava", config(hidden_act="silly"), "hidden_act"),
    "eps is no number": ("llava", config(rms_norm_eps="1e-6"), "rms_norm_eps"),
    "tied as a text": ("llava", config(tie_word_embeddings="false"), "tie_word_embeddings"),
    "tied, with a head of its own": ("llava", config(tie_word_embeddings=True), "tie_word_embeddings"),
    "tower as a list": ("lisa", config(mm_vision_tower=["a"]), "mm_vision_tower"),
    "CLIP is a SigLIP": ("clip", part_of_config("vision_config", model_type="siglip"), "model_type 'siglip'"),
    "CLIP's heads do not divide": ("clip", part_of_config("vision_config", num_attention_heads=3), "heads"),
    "CLIP's config is gone": ("clip", gone(CONFIG), "num_attention_heads"),
    "CLIP's config is a text": ("clip", config(vision_config="clip"), "vision_config"),
    "SAM's heads are a text": ("sam", config(dec_heads="2"), "dec_heads"),
    "SAM's heads do not divide": ("sam", config(dec_heads=3), "dec_heads"),
}  # fmt: skip


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `llava`, `clip`, `sam` and a merged `lisa` of one tiny model."""
    root = tmp_path_factory.mktemp("good")
    model = tiny_model()
    write_bases(root, model)
    lisa = canonical_tensors(model, adapters=False)
    write_lisa_release(root / "lisa", lisa, vision=str(root / "clip"))
    return root


def opened(root: Path, part: str) -> Segmenter:
    """The merged model to be used, or the base to be trained, with whatever was changed."""
    clip, sam = str(root / "clip"), str(root / "sam" / "sam.pth")
    if part == "lisa":
        return load(str(root / "lisa"), recipe="lisa_7b", vision=clip, decoder=sam, precision="fp32")[0]
    return build(recipe_of(root)).model


def recipe_of(root: Path) -> Recipe:
    recipe = tiny_recipe()
    backbone = replace(recipe.backbone, weights=str(root / "llava"), vision=str(root / "clip"))
    return replace(
        recipe, backbone=backbone, decoder=replace(recipe.decoder, weights=str(root / "sam/sam.pth"))
    )


def values(model: Segmenter) -> dict[str, Tensor]:
    state = model.state_dict()
    return {ours: state[inside] for ours, inside in names(model).items()}


@pytest.fixture(scope="module")
def reference(good: Path) -> Callable[[str], dict[str, Tensor]]:
    found = {part: values(opened(good, part)) for part in ("lisa", "llava")}
    return lambda part: found["lisa" if part == "lisa" else "llava"]


@pytest.mark.parametrize("name", TABLE)
def test_changed_weights_are_read_right_or_refused_by_name(
    tmp_path: Path, good: Path, reference: Callable[[str], dict[str, Tensor]], name: str
) -> None:
    part, mutate, said = TABLE[name]
    root = Path(shutil.copytree(good, tmp_path / "w"))
    mutate(root / part)
    if said != RIGHT:
        with pytest.raises(WeightsError) as caught:
            opened(root, part)
        assert re.search(said, str(caught.value)), caught.value
        assert str(root / part) in str(caught.value) and "weights_only" not in str(caught.value)
        return
    got, want = values(opened(root, part)), reference(part)
    assert got.keys() == want.keys()
    assert [name for name in want if not torch.equal(got[name], want[name])] == []


def test_a_padding_that_lisa_leaves_out_is_said(
    tmp_path: Path, good: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    root = Path(shutil.copytree(good, tmp_path / "w"))
    opened(root, "llava")
    assert "image_aspect_ratio" not in caplog.text
    config(image_aspect_ratio="pad")(root / "llava")
    opened(root, "llava")
    assert (
        "says image_aspect_ratio 'pad': LLaVA pads a picture to a square; here, as in LISA, the LLM sees"
        in caplog.text
    )


def test_the_table_is_as_long_as_it_should_be() -> None:
    assert len(TABLE) >= 60
