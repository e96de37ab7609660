"""The story's beginning: which recipe, which folder, what is said first. What follows is in tests/test_journey.py."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import train_ds
from seglm.dataset.toy.write import write
from seglm.evaluation.asking.leak import refuse_leak
from seglm.evaluation.scores.origin import read_origin
from seglm.model.load import on_whole
from seglm.model.recipe import Recipe
from seglm.model.recipes import listing, recipe
from seglm.model.segmenter import Segmenter
from seglm.model.toy import BASES
from seglm.training.choose import choose, configured, run_of, weights_to_score
from seglm.training.from_recipe import effective_batch, found_data
from seglm.training.validation import origin_of, seen_before
from seglm.utils.cli import read
from seglm.utils.config import to_json
from seglm.utils.portable import save_portable
from tests.evaluation.fakes import FakeSource


def test_a_recipe_is_named_or_told_by_the_weights_but_never_guessed(tmp_path: Path) -> None:
    assert choose(read(["--recipe", "lisa_13b"])).recipe.name == "lisa_13b"
    with pytest.raises(ValueError, match="which recipe\\? give --recipe NAME"):
        choose(read([]))
    trained = replace(recipe("lisa_13b"), name="lisa_13b")
    kept = {"recipe": "lisa_13b", "system": "lisa", "resolved": to_json(trained)}
    (tmp_path / "manifest.json").write_text(json.dumps(kept))
    told = choose(read(["--init_from", str(tmp_path), "--lr", "1e-5"]))
    assert told.recipe.name == "lisa_13b" and told.recipe.optim.lr == 1e-5
    assert "manifest" in told.reason


def test_a_revision_is_that_of_version_wherever_it_is_looked_for_and_of_no_other_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str | None]] = []

    def found(path: str, *, revision: str | None = None) -> Path:
        asked.append((path, revision))
        return MERGED_LISA

    for room in ("choose", "validation"):
        monkeypatch.setattr(f"seglm.training.{room}.resolve", found)
    options = read(["--version=owner/lisa", "--revision=v2", "--exp_name=new", f"--log_base_dir={tmp_path}"])
    chosen = choose(options).recipe
    seen_before(chosen, [], options)
    assert set(asked) == {("owner/lisa", "v2")} and chosen.backbone.revision == "v2"
    assert chosen.backbone.on("owner/lisa").revision == "v2"
    assert chosen.backbone.on("/my/lisa").revision is None  # which would refuse one


def test_a_recipe_other_than_the_weights_own_is_an_error(tmp_path: Path) -> None:
    kept = {"recipe": "lisa_13b", "system": "lisa", "resolved": to_json(recipe("lisa_13b"))}
    (tmp_path / "manifest.json").write_text(json.dumps(kept))
    with pytest.raises(ValueError, match="lisa_13b, not lisa_7b; drop --recipe"):
        choose(read(["--init_from", str(tmp_path), "--recipe", "lisa_7b"]))


def test_a_run_is_scored_with_the_settings_that_it_was_trained_with(tmp_path: Path) -> None:
    """Some change no shape of a weight, so that nothing else would tell."""
    tiny = recipe("lisa_tiny")
    lora = replace(tiny.trainable.lora, alpha=640)
    trained = to_json(replace(tiny, trainable=replace(tiny.trainable, lora=lora)))
    manifest = {"recipe": "lisa_tiny", "system": "lisa", "resolved": trained}
    save_portable(tmp_path / "mine" / "portable", {"project.0.weight": torch.zeros(1)}, manifest)
    mine = ["--recipe=lisa_tiny", "--exp_name=mine", f"--log_base_dir={tmp_path}"]
    scored = choose(read([*mine, "--eval_only", "--dataset_dir=x"])).recipe
    assert scored.trainable.lora.alpha == 640 and scored.data.dataset_dir == "x"
    assert choose(read([*mine, "--eval_only", "--lora_alpha=8"])).recipe.trainable.lora.alpha == 8
    assert choose(read(mine)).recipe.trainable.lora.alpha == tiny.trainable.lora.alpha
    with pytest.raises(ValueError, match="made with recipe lisa_tiny, not gsva_tiny; drop --recipe"):
        choose(read(["--recipe=gsva_tiny", *mine[1:], "--eval_only"]))


def test_a_run_that_began_with_a_whole_model_is_scored_and_not_that_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = to_json(on_whole(recipe("lisa_tiny"), str(MERGED_LISA)))
    best = tmp_path / "mine" / "portable"
    manifest = {"recipe": "lisa_tiny", "system": "lisa", "resolved": begun}
    save_portable(best, {"project.0.weight": torch.zeros(1)}, manifest)

    def scored(*more: str) -> str:
        told = ["--eval_only", "--exp_name=mine", f"--log_base_dir={tmp_path}", *more]
        options = read(told)
        return weights_to_score(choose(options).recipe, options)

    for same in ([], ["--recipe=lisa_tiny"], [f"--init_from={MERGED_LISA}"], [f"--version={MERGED_LISA}"]):
        assert scored(*same) == str(best)
    other = tmp_path / "other"
    other.symlink_to(MERGED_LISA)
    assert scored(f"--init_from={other}") == scored(f"--version={other}") == str(other)
    assert scored("--exp_name=new", f"--version={MERGED_LISA}") == str(MERGED_LISA)

    def opened(built: Recipe, weights: str) -> None:
        raise ValueError(f"{weights} on {built.backbone.weights}")

    monkeypatch.setattr(train_ds, "look_at", lambda recipe: None)
    monkeypatch.setattr(train_ds, "start", opened)
    both = [
        f"--init_from={MERGED_LISA}",
        f"--version={BASES / 'llava'}",
    ]  # of which a training reads the first
    with pytest.raises(SystemExit, match=f"error: {best} on {MERGED_LISA}"):
        train_ds.main(["--eval_only", "--exp_name=mine", f"--log_base_dir={tmp_path}", *both])


def test_a_merged_model_is_scored_with_what_the_command_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Segmenter] = []
    monkeypatch.setattr(train_ds, "look_at", lambda recipe: None)
    monkeypatch.setattr(train_ds, "origin_of", lambda *_, **__: None)
    monkeypatch.setattr(train_ds, "evaluate", lambda model, **_: seen.append(model))
    merged = Path(__file__).parent / "goldens" / "49f5cfb" / "merged_lisa"
    settings = ["backbone.template=llava_llama_2", "backbone.max_length=300", "engine.attention=eager"]
    train_ds.main(
        ["--eval_only", f"--version={merged}", f"--log_base_dir={tmp_path}", "--exp_name=x", *settings]
    )
    [model] = seen
    assert (model.encoder.template.name, model.encoder.max_length) == ("llava_llama_2", 300)
    assert model.backbone.llm.config._attn_implementation == "eager"


MERGED_LISA = Path(__file__).parent / "goldens" / "49f5cfb" / "merged_lisa"


def test_a_score_of_eval_only_says_whose_it_is_and_that_it_is_none(tmp_path: Path) -> None:
    write(tmp_path / "data", images=16, val_images=4, test_images=4, seed=0)
    cached = tmp_path / "models--xinlai--LISA-7B-v1" / "snapshots" / "0a1b"
    cached.parent.mkdir(parents=True)
    cached.symlink_to(MERGED_LISA)
    command = ["--eval_only", f"--version={cached}", f"--log_base_dir={tmp_path}", "--exp_name=x"]
    command += [f"--dataset_dir={tmp_path / 'data'}", "evaluate.protocol=forced"]
    with pytest.raises(SystemExit, match="LEAK: LISA-7B-v1: its authors trained it on"):
        train_ds.main([*command, "--val_dataset=ReasonSeg|val"])
    train_ds.main([*command, "--val_dataset=ReasonSeg|val", "--allow_leak"])
    told = (tmp_path / "x" / "eval" / "ReasonSeg_val" / "scores.md").read_text()
    assert f"Weights: {cached}" in told and "LEAK: LISA-7B-v1" in told
    origin = read_origin(tmp_path / "x" / "eval" / "ReasonSeg_val")
    assert origin is not None and origin.protocol == "forced" and origin.leak.startswith("LISA-7B-v1")


def test_a_score_is_of_the_weights_that_were_opened_and_not_of_another_revision() -> None:
    """A hub id alone would be looked up once more, as its newest."""
    scored: Any = SimpleNamespace(fingerprint=dict)
    origin = origin_of("owner/lisa", MERGED_LISA, recipe("lisa_tiny"), scored, "", is_whole=True)
    assert origin.weights == f"owner/lisa ({MERGED_LISA})"
    assert set(origin.about["weights"]) == {file.name for file in MERGED_LISA.iterdir()}


def test_a_training_that_begins_with_a_whole_model_has_it_as_its_base(tmp_path: Path) -> None:
    """A merge and a score take the base from the recipe: adapters on another one are a model that nobody trained."""
    keyseg = recipe("keyseg_tiny")
    begun = on_whole(keyseg, str(MERGED_LISA))
    assert begun.backbone.weights == str(MERGED_LISA)
    assert replace(begun, backbone=keyseg.backbone) == keyseg
    save_portable(tmp_path, {"project.0.weight": torch.zeros(1)}, {})
    assert on_whole(keyseg, str(tmp_path)) == on_whole(keyseg, None) == keyseg


def test_a_run_that_began_with_weights_of_another_system_goes_on_by_the_same_command(tmp_path: Path) -> None:
    slot = tmp_path / "mine" / "slots" / "a"
    slot.mkdir(parents=True)
    (slot / "COMPLETE").write_text('{"step": 2, "facts": {}, "files": {}}')
    same = ["--recipe=keyseg_tiny", "--exp_name=mine", f"--log_base_dir={tmp_path}", "--lr=1e-5"]
    for begun in ("--init_from", "--version"):
        command = [*same, f"{begun}={MERGED_LISA}"]
        first, later = (choose(read([*command, *more])).recipe for more in ([], ["--resume"]))
        assert first == later and later.name == "keyseg_tiny"
    kept = {"recipe": "lisa_tiny", "system": "lisa", "resolved": to_json(recipe("lisa_tiny"))}
    (tmp_path / "mine" / "manifest.json").write_text(json.dumps(kept))
    with pytest.raises(ValueError, match="made with recipe lisa_tiny, not keyseg_tiny; drop --recipe"):
        choose(read([*same, "--resume"]))


def test_a_run_that_goes_on_with_other_data_knows_what_it_was_fed_before(tmp_path: Path) -> None:
    fed = {"data": {"ReasonSeg|val": {}, "ReasonSeg|train": {}}, "before": {"mevis|train": "told"}}
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "manifest.json").write_text(json.dumps(fed))
    command = ["--recipe=lisa_tiny", "--exp_name=mine", f"--log_base_dir={tmp_path}"]

    class Train(FakeSource):
        name = "ReasonSeg|train"

    def before(*more: str) -> dict[str, str]:
        return seen_before(recipe("lisa_tiny"), [Train(2)], read([*command, *more]))

    assert set(before("--resume")) == {"ReasonSeg|val", "mevis|train"}
    with pytest.raises(ValueError, match="LEAK: .*fed with it before it stopped"):
        refuse_leak("ReasonSeg|val", version=None, manifest={"before": before("--resume")}, allow=False)
    assert not before()


@pytest.mark.parametrize(
    "command, folder",
    [
        (["--recipe", "lisa_7b"], "runs/lisa_7b"),
        (["--recipe", "lisa_7b", "--exp_name", "mine"], "runs/mine"),
        (["--exp_name", "mine", "--log_base_dir", "/x"], "/x/mine"),
        (["--resume", "elsewhere/run"], "elsewhere/run"),
        (["--resume", "--exp_name", "mine"], "runs/mine"),
        (["--version", "some/model"], "runs/found"),
    ],
)
def test_a_run_lies_where_its_name_says(command: list[str], folder: str) -> None:
    assert run_of(read(command), "found").folder == Path(folder)


def test_resume_without_any_name_asks_for_one() -> None:
    with pytest.raises(ValueError, match="--resume: which run"):
        run_of(read(["--resume"]))


def test_the_effective_batch_is_said_and_a_far_smaller_one_is_warned_of() -> None:
    warned = effective_batch(recipe("lisa_7b"))
    assert warned.startswith("effective batch 20 images") and "WARNING" in warned
    gentle = replace(recipe("lisa_7b"), optim=replace(recipe("lisa_7b").optim, lr=3e-5))
    assert "WARNING" not in effective_batch(gentle)
    assert "WARNING" not in effective_batch(recipe("lisa_tiny"))


def test_families_and_rates_have_to_agree() -> None:
    data = recipe("lisa_7b").data
    assert replace(data, mixture=("vqa",), rates=(1.0,)).shares() == {"vqa": 1.0}
    with pytest.raises(ValueError, match="names 1 families, vqa; .*gives 4 weights"):
        replace(data, mixture=("vqa",)).shares()
    with pytest.raises(ValueError, match="unknown family .* 'sem_segg'; did you mean sem_seg"):
        replace(data, mixture=("sem_segg",)).families()


def test_data_are_found_where_users_of_the_original_keep_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SEGLM_DATA", raising=False)
    data = recipe("lisa_7b").data
    assert found_data(data) == data
    (tmp_path / "dataset" / "reason_seg").mkdir(parents=True)
    assert found_data(data).dataset_dir == "./dataset"
    (tmp_path / "data" / "ade20k").mkdir(parents=True)
    assert found_data(data).dataset_dir == "./data"
    monkeypatch.setenv("SEGLM_DATA", str(tmp_path / "dataset"))
    assert found_data(data).dataset_dir == str(tmp_path / "dataset")
    own = replace(data, dataset_dir="elsewhere")
    assert found_data(own) == own


def test_a_quantised_training_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    command = ["--recipe", "lisa_tiny", "--load_in_4bit", "--log_base_dir", str(tmp_path)]
    with pytest.raises(SystemExit, match="are for chat.py and --eval_only"):
        train_ds.main(command)
    assert not list(tmp_path.iterdir())


def test_an_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="unknown recipe 'lisa_7B'; did you mean lisa_7b"):
        recipe("lisa_7B")


def test_the_listing_names_every_recipe_and_every_field() -> None:
    assert "lisa_7b " in listing() and "lisa_tiny " in listing()
    fields = listing(configured(recipe("lisa_7b"), read(["--lr", "1e-5"]))).splitlines()
    assert "optim.lr=1e-05" in fields and "terms.bce.weight=2.0" in fields


def test_a_wrong_command_ends_with_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"error: unknown flag '--batchsize'; did you mean --batch_size"):
        train_ds.main(["--batchsize", "3"])


@pytest.mark.parametrize("error", [FloatingPointError("weights hold NaN"), MemoryError("12 GiB asked for")])
def test_a_run_that_cannot_go_on_ends_with_one_line(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def stop(*_: object) -> None:
        raise error

    monkeypatch.delenv("SEGLM_TRACEBACK", raising=False)
    monkeypatch.setattr(train_ds, "train", stop)
    with pytest.raises(SystemExit, match=f"error: {error}"):
        train_ds.main(["--recipe", "lisa_tiny"])
