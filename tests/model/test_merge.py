"""The merge script takes trained weights in every form, verifies what it wrote, and leaves nothing behind that differs."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import merge_lora_weights_and_save_hf_model as script
from seglm.model import merge, probe
from seglm.model.build import base_weights
from seglm.model.load import load, load_with_trained
from seglm.model.recipe import Recipe
from seglm.model.released.errors import WeightsError, WrongRank
from seglm.model.released.identify import layout_of
from seglm.model.released.open import open_weights
from seglm.model.released.trained import Trained, read_trained
from seglm.model.segmenter import Segmenter
from tests.model.layouts import canonical_tensors, trainable_only, training_state, write_bases, write_llava
from tests.tiny import tiny_model

PARTS = ("llm.embed_tokens", "llm.lm_head", "decoder.mask_decoder", "project", "llm.layers")


@pytest.fixture(scope="module")
def trained() -> Segmenter:
    """A model whose base and whose trained weights are both known."""
    return tiny_model()


@pytest.fixture
def recipe(tmp_path: Path, trained: Segmenter) -> Recipe:
    return write_bases(tmp_path / "bases", trained)


def flags(recipe: Recipe, weight: Path, out: Path, *more: str) -> list[str]:
    return [
        "--recipe", "lisa_7b", "--version", recipe.backbone.weights, "--vision-tower", recipe.backbone.vision,
        "--vision_pretrained", recipe.decoder.weights, "--image_size", "64", "--lora_r", "2", "--lora_alpha", "4",
        "--precision", "fp32", "--weight", str(weight), "--save_path", str(out), *more,
    ]  # fmt: skip


def module_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """What zero_to_fp32 makes of our own run: the names of the module tree."""
    own = {"llm.": "backbone.llm.model.", "vision.": "backbone.vision.", "projector.": "backbone.projector."}
    named = {}
    for name, tensor in tensors.items():
        new = name.replace("llm.lm_head.", "backbone.llm.lm_head.", 1)
        for ours, theirs in own.items():
            new = theirs + new.removeprefix(ours) if new.startswith(ours) else new
        lora = new.replace(".lora_A.weight", ".lora_A.default.weight").replace(
            ".lora_B.weight", ".lora_B.default.weight"
        )
        named[lora] = tensor
    adapted = {name.split(".lora_A")[0] for name in named if ".lora_A" in name}
    return {
        f"{name.removesuffix('.weight')}.base_layer.weight"
        if name.removesuffix(".weight") in adapted
        else name: tensor
        for name, tensor in named.items()
    }


def as_file(folder: Path, state: dict[str, Tensor]) -> Path:
    torch.save(state, folder / "pytorch_model.bin")
    return folder / "pytorch_model.bin"


def as_folder_of_shards(folder: Path, state: dict[str, Tensor]) -> Path:
    """Today's zero_to_fp32.py: a folder called like the file, shards with an index inside."""
    inside = folder / "pytorch_model.bin"
    inside.mkdir()
    names = list(state)
    files = {name: f"pytorch_model-0000{1 + n % 2}-of-00002.bin" for n, name in enumerate(names)}
    for file in set(files.values()):
        torch.save({name: state[name] for name in names if files[name] == file}, inside / file)
    (inside / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": files}))
    return inside


def as_safetensors(folder: Path, state: dict[str, Tensor]) -> Path:
    save_file(state, folder / "model.safetensors")
    return folder


Write = Callable[[Path, dict[str, Tensor]], Path]
Spell = Callable[[dict[str, Tensor]], dict[str, Tensor]]


@pytest.mark.parametrize(
    "write, spell, full",
    [
        (as_safetensors, dict, False),
        (as_safetensors, dict, True),
        (as_file, module_names, False),
        (as_file, training_state, False),
        (as_file, training_state, True),
        (as_folder_of_shards, module_names, False),
        (as_folder_of_shards, module_names, True),
        (as_folder_of_shards, training_state, False),
    ],
)
def test_trained_weights_in_every_form_give_the_same_model(
    tmp_path: Path, trained: Segmenter, recipe: Recipe, write: Write, spell: Spell, full: bool
) -> None:
    (tmp_path / "run").mkdir()
    tensors = canonical_tensors(trained)
    weight = write(tmp_path / "run", spell(tensors if full else trainable_only(tensors)))
    base = base_weights(recipe)
    built = load_with_trained(base, str(weight), recipe)
    assert built.report.complete
    now = canonical_tensors(built.model)
    assert all(torch.equal(now[name], tensors[name]) for name in tensors)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_script_writes_a_folder_that_answers_as_the_unmerged_model(
    tmp_path: Path, trained: Segmenter, recipe: Recipe, precision: str, capsys: pytest.CaptureFixture[str]
) -> None:
    weight = as_file(tmp_path, training_state(trainable_only(canonical_tensors(trained))))
    script.main(flags(recipe, weight, tmp_path / "out", "--precision", precision))
    said = capsys.readouterr().out
    assert "recipe lisa_7b: --recipe says so" in said and "verified against the un-merged model" in said
    model, again = load(str(tmp_path / "out"))
    assert again.name == "lisa_7b" and again.engine.precision == precision
    probe.compare(probe.read(model), probe.read(trained), precision=again.engine.precision, source="test")  # type: ignore[arg-type]
    assert {file.name for file in (tmp_path / "out").iterdir()} >= {
        "config.json", "model.safetensors", "manifest.json", "preprocessor_config.json", "probe.safetensors", "tokenizer.json",
    }  # fmt: skip
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["recipe"] == "lisa_7b" and manifest["bases"]["llava"]["files"] and manifest["trainable"]


def test_merged_weights_are_the_sum_peft_itself_computes(trained: Segmenter) -> None:
    model = tiny_model()
    found = merge.merged(model, model.recipe.trainable.lora)
    for name, module in model.named_modules():
        if hasattr(module, "lora_A"):
            module.merge()
            ours = name.replace("backbone.llm.model.", "llm.") + ".weight"
            torch.testing.assert_close(found[ours], module.base_layer.weight, atol=1e-6, rtol=1e-6)


def test_the_folder_opens_with_auto_model_and_is_a_base_for_more_training(
    tmp_path: Path, trained: Segmenter, recipe: Recipe
) -> None:
    from transformers import AutoConfig, AutoModel

    import seglm.hf
    from seglm.model.build import assemble

    weight = as_file(tmp_path, trainable_only(canonical_tensors(trained)))
    script.main(flags(recipe, weight, tmp_path / "out"))
    assert isinstance(AutoConfig.from_pretrained(tmp_path / "out"), seglm.hf.SegLMConfig)
    model = AutoModel.from_pretrained(tmp_path / "out")
    assert isinstance(model, seglm.hf.SegLMModel) and model.recipe.name == "lisa_7b"
    half = AutoModel.from_pretrained(tmp_path / "out", dtype=torch.bfloat16)
    assert half.recipe.engine.precision == "bf16"
    checkpoint = open_weights(str(tmp_path / "out"))
    more = assemble(recipe, checkpoint, lora=True)
    assert more.report.complete and all(".lora_" in name for name in more.report.allowed)
    step_0 = probe.read(more.model)  # fresh adapters add nothing: init_from a model is that model
    probe.compare(step_0, probe.read(model.segmenter), precision="fp32", source="step 0")
    with pytest.raises(ValueError, match="dtype, device_map and revision, not quantization_config"):
        AutoModel.from_pretrained(tmp_path / "out", quantization_config={})


def test_the_original_layout_comes_back_as_the_same_model(
    tmp_path: Path, trained: Segmenter, recipe: Recipe
) -> None:
    weight = as_file(tmp_path, trainable_only(canonical_tensors(trained)))
    script.main(flags(recipe, weight, tmp_path / "out", "--format", "lisa"))
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["model_type"] == "llava" and config["architectures"] == ["LISAForCausalLM"]
    names = torch.load(tmp_path / "out" / "pytorch_model.bin")
    assert "model.text_hidden_fcs.0.2.bias" in names and not any("vision_tower" in name for name in names)
    model, _ = load(str(tmp_path / "out"), recipe="lisa_7b", precision="fp32")
    probe.compare(probe.read(model), probe.read(trained), precision="fp32", source="lisa")


def test_a_base_that_holds_its_vision_tower_gives_an_original_layout_that_holds_it(
    tmp_path: Path, trained: Segmenter, recipe: Recipe
) -> None:
    tensors = canonical_tensors(trained)
    base = write_llava(
        tmp_path / "llava", tensors, tower=True, mm_vision_tower="openai/clip-vit-large-patch14"
    )
    shutil.rmtree(recipe.backbone.vision)
    whole = replace(recipe, backbone=replace(recipe.backbone, weights=str(base)))
    script.main(
        flags(whole, as_file(tmp_path, trainable_only(tensors)), tmp_path / "out", "--format", "lisa")
    )
    shutil.rmtree(base)
    model, _ = load(str(tmp_path / "out"), recipe="lisa_7b", precision="fp32")
    probe.compare(probe.read(model), probe.read(trained), precision="fp32", source="lisa")


def test_large_models_are_written_in_shards(
    tmp_path: Path, trained: Segmenter, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    from seglm.model.released import folder

    monkeypatch.setattr(folder, "SHARD", "100KB")
    monkeypatch.setattr(folder.write_folder, "__kwdefaults__", {"shard": "100KB"})
    weight = as_file(tmp_path, trainable_only(canonical_tensors(trained)))
    script.main(flags(recipe, weight, tmp_path / "out"))
    assert len(list((tmp_path / "out").glob("model-*.safetensors"))) > 1
    load(str(tmp_path / "out"))


# ---- nothing that differs is left behind, and nothing is lost in silence ---------------------------------------------
def test_a_merge_that_differs_leaves_nothing_behind(
    tmp_path: Path, trained: Segmenter, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = merge.merged
    monkeypatch.setattr(merge, "merged", lambda model, lora: real(model, replace(lora, alpha=lora.alpha * 3)))
    weight = as_file(tmp_path, trainable_only(canonical_tensors(trained)))
    with pytest.raises(SystemExit, match=r"embedding differs by .*masks differs by"):
        script.main(flags(recipe, weight, tmp_path / "out"))
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".out*"))


def test_a_full_disk_is_told_with_the_place_and_leaves_nothing_behind(
    tmp_path: Path, trained: Segmenter, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(folder: Path, *_: Any, **__: Any) -> None:
        folder.mkdir()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(merge, "write_folder", write)
    weight = as_file(tmp_path, trainable_only(canonical_tensors(trained)))
    with pytest.raises(SystemExit, match="/out: the disk is full .*give another --save_path"):
        script.main(flags(recipe, weight, tmp_path / "out"))
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".out*"))


def test_a_folder_that_is_there_is_not_written_over(
    tmp_path: Path, trained: Segmenter, recipe: Recipe
) -> None:
    weight = as_file(tmp_path, trainable_only(canonical_tensors(trained)))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    with pytest.raises(SystemExit, match="exists already; give a new folder as --save_path"):
        script.main(flags(recipe, weight, tmp_path / "out"))


def test_a_merge_that_another_process_has_overtaken_is_told_so(
    tmp_path: Path, trained: Segmenter, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ends_elsewhere(_: Path) -> str:
        (tmp_path / "out").mkdir()
        (tmp_path / "out/config.json").write_text("theirs")
        return ""

    monkeypatch.setattr(merge.lock, "take", ends_elsewhere)
    weight = as_file(tmp_path, trainable_only(canonical_tensors(trained)))
    with pytest.raises(SystemExit, match="another process has written it meanwhile"):
        script.main(flags(recipe, weight, tmp_path / "out"))
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["config.json"]


@pytest.mark.parametrize("part", PARTS)
def test_a_trained_weight_that_is_not_in_the_file_is_never_filled_from_the_base(
    tmp_path: Path, trained: Segmenter, recipe: Recipe, part: str
) -> None:
    tensors = trainable_only(canonical_tensors(trained))
    lost = next(name for name in tensors if name.startswith(part))
    pair = {lost, lost.replace(".lora_A.", ".lora_B.")}
    weight = as_file(tmp_path, {name: tensor for name, tensor in tensors.items() if name not in pair})
    with pytest.raises(
        SystemExit, match=rf"{len(pair)} of \d+ trained weights are not in the file:\n  {lost}"
    ):
        script.main(flags(recipe, weight, tmp_path / "out"))


def test_what_a_term_remembers_is_no_part_of_the_trained_weights(tmp_path: Path, trained: Segmenter) -> None:
    """The contrast's bank of GLUS, in what zero_to_fp32.py makes of a run."""
    own = module_names(trainable_only(canonical_tensors(trained)))
    weight = as_file(tmp_path, own | {"banks.contrast.vectors": torch.ones(3, 4)})
    assert layout_of(weight) == "training"
    assert set(read_trained(weight).tensors) == set(trainable_only(canonical_tensors(trained)))


def test_an_llm_that_was_trained_in_full_has_no_adapters_to_be_missed(recipe: Recipe) -> None:
    full = replace(recipe, trainable=replace(recipe.trainable, lora=replace(recipe.trainable.lora, r=-1)))
    script.check_rank(full, Trained("runs/a", {}, 0, {}))
    with pytest.raises(WeightsError, match="adapters of rank 2, the recipe has rank -1"):
        script.check_rank(full, Trained("runs/a", {}, 2, {}))


def test_adapters_of_another_rank_are_refused_with_the_flag(
    tmp_path: Path, trained: Segmenter, recipe: Recipe
) -> None:
    weight = as_file(tmp_path, trainable_only(canonical_tensors(trained)))
    with pytest.raises(SystemExit, match=r"adapters of rank 2, the recipe has rank 8; give --lora_r 2"):
        script.main(flags(recipe, weight, tmp_path / "out", "--lora_r", "8"))
    wide = replace(recipe, trainable=replace(recipe.trainable, lora=replace(recipe.trainable.lora, r=8)))
    base = base_weights(recipe)
    with pytest.raises(WrongRank, match=r"adapters of rank 2, the model has rank 8 .*set --lora_r 2"):
        load_with_trained(base, str(weight), wide)


def test_half_an_adapter_is_refused(tmp_path: Path, trained: Segmenter, recipe: Recipe) -> None:
    tensors = trainable_only(canonical_tensors(trained))
    lost = next(name for name in tensors if ".lora_B." in name)
    weight = as_file(tmp_path, {name: tensor for name, tensor in tensors.items() if name != lost})
    with pytest.raises(SystemExit, match=f"has no counterpart {lost}"):
        script.main(flags(recipe, weight, tmp_path / "out"))


def test_a_vocabulary_of_another_size_says_so(tmp_path: Path, trained: Segmenter, recipe: Recipe) -> None:
    tensors = trainable_only(canonical_tensors(trained))
    tensors["llm.lm_head.weight"] = tensors["llm.lm_head.weight"][:-1]
    with pytest.raises(SystemExit, match="The weights know 562 tokens, the model 563"):
        script.main(flags(recipe, as_file(tmp_path, tensors), tmp_path / "out"))


@pytest.mark.parametrize(
    "extra, said",
    [
        (("--lr", "1e-4"), r"optim\.lr: no effect on a merge"),
        (("--eval_only",), "--eval_only: no effect on a merge"),
        (("--wieght", "x"), "unknown flag"),
    ],
)
def test_a_flag_without_effect_is_an_error(extra: tuple[str, ...], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        script.parse(["--weight", "a", "--save_path", "b", *extra])


def test_a_folder_whose_decoder_was_replaced_fails_its_probe(
    tmp_path: Path, trained: Segmenter, recipe: Recipe
) -> None:
    weight = as_file(tmp_path, trainable_only(canonical_tensors(trained)))
    script.main(flags(recipe, weight, tmp_path / "out"))
    file = tmp_path / "out" / "model.safetensors"
    tensors = load_file(file)
    name = "decoder.mask_decoder.output_hypernetworks_mlps.0.layers.2.weight"
    save_file(tensors | {name: tensors[name] * 1.1}, file, metadata={"format": "pt"})
    with pytest.raises(probe.ProbeFailed, match="does not answer its probe as it did when it was saved"):
        load(str(tmp_path / "out"))


def test_a_portable_checkpoint_carries_its_own_recipe_and_data(
    tmp_path: Path, trained: Segmenter, recipe: Recipe, capsys: pytest.CaptureFixture[str]
) -> None:
    from seglm.utils.config import to_json
    from seglm.utils.manifest import describe_ids, manifest
    from seglm.utils.portable import is_portable, save_portable

    content = manifest(
        recipe=recipe.name, system="lisa", resolved=to_json(recipe), data={"toy": describe_ids(["a"])}, step=7
    )
    save_portable(tmp_path / "portable", trainable_only(canonical_tensors(trained)), content)
    script.main(["--weight", str(tmp_path / "portable"), "--save_path", str(tmp_path / "out")])
    assert "the manifest beside" in capsys.readouterr().out
    kept = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert kept["data"]["toy"]["samples"] == 1 and kept["step"] == 7 and not is_portable(tmp_path / "out")
    assert load(str(tmp_path / "out"))[1].trainable.lora.r == 2
    with pytest.raises(ValueError, match="was made with recipe lisa_7b, not lisa_13b; drop --recipe"):
        load(str(tmp_path / "out"), recipe="lisa_13b")


def test_the_folders_of_a_run_say_where_its_weights_are(tmp_path: Path) -> None:
    (tmp_path / "portable").mkdir()
    with pytest.raises(SystemExit, match=r"the folder of a run; its trained weights are .*portable"):
        script.main(["--weight", str(tmp_path), "--save_path", str(tmp_path / "out")])
    (tmp_path / "ckpt_model").mkdir()
    (tmp_path / "ckpt_model" / "latest").touch()
    with pytest.raises(SystemExit, match=r"python zero_to_fp32\.py \. \.\./pytorch_model\.bin"):
        script.main(["--weight", str(tmp_path / "ckpt_model"), "--save_path", str(tmp_path / "out")])
