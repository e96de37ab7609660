"""What weights do after they were read: tied heads, new rows, stretched positions, numbers that are none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from seglm.dataset.collate import collate
from seglm.model.build import build
from seglm.model.generate import generate
from seglm.model.load import start
from seglm.model.names import names
from seglm.model.recipe import Recipe
from seglm.model.released.errors import NotFinite, WeightsError, WrongShapes
from seglm.model.released.trained import read_trained
from seglm.utils.portable import is_finite, refuse_not_finite, save_portable
from tests.model.layouts import (
    canonical_tensors,
    trainable_only,
    write_bases,
    write_clip,
    write_lisa_release,
    write_sam,
)
from tests.model.mutations import HEAD_AND_EMBEDDING, POINTER, config, one, poisoned, rows, without
from tests.tiny import SQUARE, tiny_model, tiny_prompt, tiny_recipe

NAN, INF = float("nan"), float("inf")


def bases(root: Path) -> Recipe:
    return write_bases(root, tiny_model())


def test_a_tied_head_is_trained_as_a_weight_of_its_own_and_begins_as_the_embedding(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    recipe = bases(tmp_path)
    config(tie_word_embeddings=True)(tmp_path / "llava")
    without("lm_head.weight")(tmp_path / "llava")
    built = build(recipe)
    inside, state = names(built.model), built.model.state_dict()
    embedding, head = (state[inside[f"llm.{name}.weight"]] for name in ("embed_tokens", "lm_head"))
    assert torch.equal(embedding[:560], head[:560]) and embedding.data_ptr() != head.data_ptr()
    assert {"llm.embed_tokens.weight", "llm.lm_head.weight"} <= set(built.table.trained)
    assert built.sizes.llm["tie_word_embeddings"] is False
    assert "the head is tied to the embedding; it is read as a weight of its own" in caplog.text


@pytest.mark.parametrize(
    "error", [MemoryError("no room"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_a_model_that_does_not_fit_is_no_fault_of_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def full(*_: object, **__: object) -> None:
        raise error

    recipe = bases(tmp_path)
    monkeypatch.setattr("seglm.model.build.construct", full)
    with pytest.raises(
        MemoryError, match=r"out of memory while the model is made .*python -m seglm.plan --recipe NAME"
    ):
        build(recipe)


def test_rows_that_a_recipe_adds_stand_in_the_report(tmp_path: Path) -> None:
    report = build(bases(tmp_path)).report
    assert report.new_rows == ("[SEG]", "<im_start>", "<im_end>")
    assert "new rows of the vocabulary: [SEG] <im_start> <im_end>" in str(report)


@pytest.mark.parametrize("lost, said", [(0, "[KEY]"), (3, "[SEG]")])
def test_a_trained_model_is_trained_on_with_new_tokens_but_not_without_its_own(
    tmp_path: Path, lost: int, said: str
) -> None:
    lisa = canonical_tensors(tiny_model(), adapters=False)
    clip, sam = write_clip(tmp_path / "clip", lisa), write_sam(tmp_path / "sam.pth", lisa)
    folder = write_lisa_release(tmp_path / "lisa", lisa, vision=str(clip))
    for name in HEAD_AND_EMBEDDING:
        rows(name, 563 - lost)(folder)
    recipe = tiny_recipe("keyseg_7b")
    recipe = replace(
        recipe,
        backbone=replace(recipe.backbone, weights=str(folder), vision=str(clip)),
        decoder=replace(recipe.decoder, weights=str(sam), image_size=SQUARE),
    )
    if not lost:
        assert start(recipe).report.new_rows == (said,)
        return
    with pytest.raises(WrongShapes) as caught:
        start(recipe)
    assert said in str(caught.value) and str(folder) in str(caught.value)


@pytest.mark.parametrize("key", ["rope_scaling", "rope_parameters"])
def test_stretched_positions_reach_the_model(tmp_path: Path, key: str) -> None:
    recipe = bases(tmp_path)
    plain = build(recipe).model.backbone.llm.model.rotary_emb.inv_freq
    kind = {"type": "linear"} if key == "rope_scaling" else {"rope_type": "linear", "rope_theta": 10000.0}
    config(**{key: kind | {"factor": 4.0}})(tmp_path / "llava")
    torch.testing.assert_close(build(recipe).model.backbone.llm.model.rotary_emb.inv_freq * 4, plain)


def test_a_layer_counted_from_the_front_is_the_same_one(tmp_path: Path) -> None:
    recipe = bases(tmp_path)
    config(mm_vision_select_layer=2)(tmp_path / "llava")
    assert build(recipe).model.backbone.select_layer == -2  # of four states of three blocks


# ---- numbers that are none ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_one_value_is_enough(dtype: torch.dtype, value: float) -> None:
    tensor = torch.ones(5, 7, dtype=dtype)
    assert is_finite(tensor) and is_finite(tensor[:0]) and is_finite(torch.ones(2).int())
    tensor[3, 2] = value
    assert not is_finite(tensor)


def test_what_the_precision_cannot_hold_is_not_loaded(tmp_path: Path) -> None:
    recipe = bases(tmp_path)
    one("layers.0.mlp.up_proj.weight", poisoned(1e6))(tmp_path / "llava")
    half = replace(recipe, engine=replace(recipe.engine, precision="fp16"))
    with pytest.raises(NotFinite, match=r"llava: 1 of .*up_proj\.weight.*in torch\.float16"):
        build(half)


@pytest.mark.parametrize("value", [NAN, INF])
def test_a_model_that_computes_no_numbers_writes_no_answer(value: float) -> None:
    model = tiny_model()
    with torch.no_grad():
        model.backbone.llm.lm_head.weight[7] = value
    with pytest.raises(FloatingPointError, match=r"token 1 of an answer: the logits are NaN or infinite"):
        generate(model, collate([tiny_prompt(("What is this?",))]), max_new_tokens=3)


def test_trained_weights_that_are_no_numbers_are_not_saved(tmp_path: Path) -> None:
    weights = {"a": torch.ones(3), "b": torch.tensor([1.0, NAN])}
    with pytest.raises(
        FloatingPointError, match=r"after step 7: 1 of 2 .* the first is b; nothing was saved"
    ):
        refuse_not_finite(weights, when="after step 7")
    with pytest.raises(FloatingPointError, match=r"the first is b"):
        save_portable(tmp_path / "portable", weights, {})
    assert not (tmp_path / "portable").exists()


@pytest.mark.parametrize(
    "file, content, said",
    [
        ("model.safetensors", POINTER, r"model\.safetensors: a git-lfs pointer"),
        ("model.safetensors", b"", r"model\.safetensors: empty, 0 bytes"),
        ("model.safetensors", b"\0" * 64, "its manifest says"),
        ("manifest.json", b"", r"manifest\.json: empty"),
        ("manifest.json", b"[]", r"manifest\.json: expected a JSON object"),
    ],
)
def test_a_portable_checkpoint_that_was_changed_is_refused_by_file(
    tmp_path: Path, file: str, content: bytes, said: str
) -> None:
    folder = tmp_path / "portable"
    save_portable(folder, trainable_only(canonical_tensors(tiny_model())), {"recipe": "lisa_7b"})
    (folder / file).write_bytes(content)
    with pytest.raises(WeightsError, match=said):
        read_trained(folder)
