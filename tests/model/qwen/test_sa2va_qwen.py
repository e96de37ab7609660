"""Sa2VA on Qwen-VL: what it answers, what training reaches, and where a trained model opens."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForImageTextToText

from seglm.dataset.collate import collate
from seglm.dataset.pipeline import example
from seglm.evaluation.asking.ask import ask, asker
from seglm.model import merge
from seglm.model.backbones.qwen_vl import QwenVL
from seglm.model.build import assemble, base_weights
from seglm.model.generate import generate
from seglm.model.load import load
from seglm.model.released.identify import identify
from seglm.model.released.open import open_weights
from seglm.model.released.qwen_vl import write_qwen_vl
from seglm.model.segmenter import Segmenter
from seglm.utils.batch import Batch
from seglm.utils.types import Images, Sample, Target
from tests.tiny_qwen import (
    LIKE_THEIRS,
    QUESTION,
    RECIPES,
    SIZE,
    clip,
    picture,
    rows,
    shown,
    talk,
    their_inputs,
    theirs,
    tiny_recipe,
)
from tests.tiny_sam2 import SIDE


# ---- answers --------------------------------------------------------------------------------------------------------
def test_answers_are_those_of_transformers_generate(kind: str, folder: Path) -> None:
    recipe = tiny_recipe(kind, folder)
    built = assemble(recipe, base_weights(recipe), lora=False)
    model = built.model
    examples = [
        shown(model.encoder, clip(1), talk(Images((0,), "fine"), QUESTION, answer=""), kind=kind),
        shown(
            model.encoder,
            clip(2, (96, 64), seed=3),
            talk(Images((0,)), "\n", Images((1,)), "\nIt is?", answer=""),
            kind=kind,
        ),
    ]
    hf = theirs(kind)
    hf.resize_token_embeddings(len(model.encoder.tokenizer))
    with torch.no_grad():
        hf.get_input_embeddings().weight.copy_(model.backbone.table())
        hf.lm_head.weight.copy_(model.backbone.llm.lm_head.weight)
    model.encoder._stops = set()  # neither side stops early
    written = generate(model, collate(examples), max_new_tokens=6)
    for one, answer in zip(examples, written, strict=True):
        given = their_inputs(collate([one]), [one], kind)
        got = hf.generate(
            **given,
            max_new_tokens=6,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=0,
            output_hidden_states=True,
            return_dict_in_generate=True,
        )
        assert answer.ids == got.sequences[0, given["input_ids"].shape[1] :].tolist()
        states = torch.stack([step[-1][0, -1] for step in got.hidden_states])
        torch.testing.assert_close(torch.stack(answer.states[:6]), states, **LIKE_THEIRS)


def trained(kind: str, folder: Path, **engine: Any) -> Segmenter:
    """With adapters that are not zero."""
    recipe = tiny_recipe(kind, folder)
    recipe = replace(recipe, engine=replace(recipe.engine, **engine))
    model = assemble(recipe, base_weights(recipe)).model
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_" in name:
                parameter.normal_(0, 0.1, generator=generator)
    return model


def asked(model: Segmenter, kind: str) -> Batch:
    """A still and a video, of which two things are asked for each."""
    found = []
    for frames in (1, 2):
        target = Target(("the ring",), lambda seen: np.ones((len(seen), *SIZE), np.bool_))
        rng = np.random.default_rng(frames)
        seen = replace(
            clip(frames, seed=frames),
            drawn=tuple(picture(frames + number) for number in range(frames)),
            targets=(target, target),
            masks=tuple(rng.random((2, frames, *SIZE)) > 0.5),
            drawn_at=tuple(range(frames)),
        )
        script = model.recipe.script(seen, rng, model.recipe)
        found.append(
            example(
                seen,
                model.encoder.encode_script(script, key=seen.key, size=seen.size),
                script,
                vision_size=model.backbone.vision_size,
                decoder_size=SIDE,
                pixels="fast",
                stretched=model.recipe.decoder.stretches,
                look=model.recipe.look,
            )
        )
    return collate(found)


def test_training_reaches_the_adapters_and_the_slots_rows_and_nothing_frozen(kind: str, folder: Path) -> None:
    model = trained(kind, folder).train()
    batch = asked(model, kind)
    assert batch.grids == ((1, 2, 3),) * 3 and len(batch.slots) == 4
    loss = model(batch).loss
    loss.backward()
    grads = {name: parameter.grad for name, parameter in model.named_parameters()}
    trains = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    adapters = [name for name in trains if ".lora_" in name]
    assert len(adapters) == 3 * 7 * 2
    for name in adapters:
        grad = grads[name]
        assert grad is not None and bool(grad.abs().any()), name
    seg = model.encoder.token_id("[SEG]")
    for table in ("backbone.llm.model.embed_tokens.weight", "backbone.llm.lm_head.weight"):
        grad = grads[table]
        assert grad is not None and bool(grad[seg].abs().any())
    frozen = [
        name for name, grad in grads.items() if name.startswith("backbone.vision.") and grad is not None
    ]
    assert not frozen and not any(name.startswith("backbone.vision.") for name in trains)


def test_half_precision_loses_little(kind: str, folder: Path) -> None:
    losses = []
    for precision in ("fp32", "bf16"):
        model = trained(kind, folder, precision=precision).train()
        torch.manual_seed(0)
        losses.append(float(model(asked(model, kind)).loss.detach()))
    assert abs(losses[1] - losses[0]) < 0.02 * losses[0]  # bf16 has 8 bits: 0.4 % a value


def test_layers_computed_again_have_the_same_gradients(kind: str, folder: Path) -> None:
    def gradients(**engine: Any) -> dict[str, Tensor]:
        model = trained(kind, folder, **engine).train()
        torch.manual_seed(0)
        model(asked(model, kind)).loss.backward()
        return {name: one.grad for name, one in model.named_parameters() if one.grad is not None}

    want, got = gradients(), gradients(gradient_checkpointing=True)
    assert set(got) == set(want)
    for name, grad in want.items():
        torch.testing.assert_close(got[name], grad, atol=1e-5, rtol=1e-4)


def test_the_part_that_merges_patches_can_be_trained(kind: str, folder: Path) -> None:
    recipe = tiny_recipe(kind, folder)
    full = (*recipe.trainable.full, "vision.merger")
    recipe = replace(recipe, trainable=replace(recipe.trainable, full=full))
    model = assemble(recipe, base_weights(recipe)).model.train()
    model(asked(model, kind)).loss.backward()
    found = {
        name
        for name, parameter in model.named_parameters()
        if name.startswith("backbone.vision.") and parameter.grad is not None and parameter.grad.abs().any()
    }
    assert found == {
        name for name, _ in model.named_parameters() if name.startswith("backbone.vision.merger.")
    }


def test_a_trained_model_is_merged_and_opens_here_and_in_transformers(
    kind: str, folder: Path, tmp_path: Path
) -> None:
    model = trained(kind, folder)
    recipe = model.recipe
    built = replace(assemble(recipe, base_weights(recipe)), model=model)
    tensors = merge.merged(model, recipe.trainable.lora)
    examples = rows(kind, model.encoder)
    batch = collate(examples)
    real = batch.group >= 0
    with torch.no_grad():
        want = model.backbone.head(model.backbone.hidden(batch))
    write_qwen_vl(tmp_path / "hf", tensors, sizes=built.sizes, tokenizer=model.encoder.tokenizer)
    hf, report = AutoModelForImageTextToText.from_pretrained(tmp_path / "hf", output_loading_info=True)
    assert not any(report[part] for part in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    with torch.no_grad():
        logits = hf.eval()(**their_inputs(batch, examples, kind)).logits
    torch.testing.assert_close(logits[real], want[real], atol=1e-4, rtol=1e-4)
    merge.export(built, tmp_path / "merged", manifest={"recipe": recipe.name, "system": recipe.system})
    again, kept = load(str(tmp_path / "merged"))
    assert isinstance(kept.backbone, QwenVL) and kept.backbone.look == recipe.backbone.look
    with torch.no_grad():
        got = again.backbone.head(again.backbone.hidden(batch))
    torch.testing.assert_close(got[real], want[real], atol=1e-4, rtol=1e-4)


def test_a_trained_model_is_a_released_folder_and_comes_back_from_it(
    kind: str, folder: Path, tmp_path: Path
) -> None:
    model = trained(kind, folder)
    recipe = model.recipe
    batch = collate(rows(kind, model.encoder))
    real = batch.group >= 0
    with torch.no_grad():
        want = model.backbone.head(model.backbone.hidden(batch))[real]
    built = replace(assemble(recipe, base_weights(recipe)), model=model)
    merge.export(built, tmp_path / "mine", manifest={}, kind="sa2va")
    stored = load_file(tmp_path / "mine" / "model.safetensors")
    of_llm = {name for name in stored if name.startswith("model.")}
    assert of_llm == {f"model.{name}" for name in theirs(kind).state_dict()}
    rest = {name.split(".")[0] for name in stored.keys() - of_llm}
    assert rest == {"text_hidden_fcs", "grounding_encoder"}
    assert not any(name.endswith(".gamma") for name in stored)
    found = identify(tmp_path / "mine")
    assert (found.layout, found.system, found.recipe) == ("sa2va", "sa2va_qwen", RECIPES[kind])
    again = assemble(recipe, open_weights(str(tmp_path / "mine")), lora=False)
    with torch.no_grad():
        got = again.model.backbone.head(again.model.backbone.hidden(batch))[real]
    torch.testing.assert_close(got, want, atol=1e-4, rtol=1e-4)
    merge.export(again, tmp_path / "again", manifest={}, kind="sa2va")
    second = load_file(tmp_path / "again" / "model.safetensors")
    assert set(second) == set(stored)
    assert all(torch.equal(second[name], stored[name]) for name in stored)


@pytest.mark.parametrize("frames", [1, 3])
def test_a_question_is_answered_about_a_picture_and_a_video(frames: int, kind: str, folder: Path) -> None:
    recipe = tiny_recipe(kind, folder)
    model = assemble(recipe, base_weights(recipe), lora=False).model
    target = Target(("the ring",), lambda seen: np.ones((len(seen), *SIZE), np.bool_))
    sample = Sample(key="k", size=SIZE, frame=picture, num_frames=frames, targets=(target,))
    drawn = list(asker(model, protocol="forced", max_new_tokens=3)([sample]))
    assert [one.frame for one in drawn] == list(range(frames))
    masks = [mask for one in drawn for answer in one.answers for mask in answer.masks]
    assert len(masks) == frames and all(mask is not None and mask.shape == SIZE for mask in masks)
    said = list(ask(model, sample, "Please segment it.", max_new_tokens=3))
    assert [one.frame for one in said] == list(range(frames))
