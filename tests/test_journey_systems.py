"""The same way for the systems after LISA: training, merge, both protocols of evaluation, an answer."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tests.house.tree import ROOT
from tests.test_journey import TIGHT, run

pytestmark = [pytest.mark.slow, TIGHT]
TRAIN, MERGE = ROOT / "train_ds.py", ROOT / "merge_lora_weights_and_save_hf_model.py"
SHORT = ("--dataset_dir=data", "--epochs=1", "--steps_per_epoch=2", "--batch_size=2", "--no_eval")
BENCHMARK = {"lisa_tiny": "ReasonSeg|val", "gsva_tiny": "grefcoco|unc|val", "keyseg_tiny": "ReasonSeg|val"}
OF_VIDEOS = ("glus_tiny", "sa2va_tiny", "desa2va_tiny")


def trained(recipe: str, folder: Path) -> None:
    """Two steps, and the merge."""
    run(TRAIN, f"--recipe={recipe}", f"--exp_name={recipe}", *SHORT, cwd=folder)
    weight = f"runs/{recipe}/portable"
    said = run(MERGE, "--weight", weight, "--save_path", f"merged/{recipe}", cwd=folder)
    assert "verified against the un-merged model" in said


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("systems")
    sizes = ("--images", "120", "--val_images", "4", "--test_images", "4")
    run("-m", "seglm.dataset.toy", "--dataset_dir", "data", *sizes, cwd=folder)
    for recipe in BENCHMARK:
        trained(recipe, folder)
    return folder


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a toy world that moves."""
    folder = tmp_path_factory.mktemp("videos")
    sizes = ("--sets", "all", "--images", "60", "--val_images", "4", "--test_images", "4")
    run("-m", "seglm.dataset.toy", "--dataset_dir", "data", *sizes, cwd=folder)
    return folder


@pytest.mark.parametrize("protocol", ["generate", "forced"])
@pytest.mark.parametrize("recipe", ["gsva_tiny", "keyseg_tiny"])
def test_a_merged_system_is_evaluated_by_both_protocols(place: Path, recipe: str, protocol: str) -> None:
    out = f"eval/{protocol}"
    flags = ("--version", f"merged/{recipe}", "--dataset_dir", "data", "--val_dataset", BENCHMARK[recipe])
    said = run("-m", "seglm.evaluation.run", *flags, "--protocol", protocol, "--out", out, cwd=place)
    assert "gIoU" in said and ("N_acc" in said) == (recipe == "gsva_tiny")
    [lines] = (place / out).glob(f"{recipe}*/predictions.csv")
    assert len(list(csv.DictReader(lines.open(encoding="utf-8")))) > 0


@pytest.mark.parametrize("recipe", ["gsva_tiny", "keyseg_tiny"])
def test_a_merged_system_answers(place: Path, recipe: str) -> None:
    image, prompt = ROOT / "imgs" / "toy_ring.png", "Please segment the ring in this image."
    version = f"merged/{recipe}"
    said = run(ROOT / "chat.py", "--version", version, "--image", image, "--prompt", prompt, cwd=place)
    assert "text_output" in said and f"recipe {recipe}" in said


def test_keyseg_sets_out_from_a_trained_lisa(place: Path) -> None:
    command = ("--recipe=keyseg_tiny", "--init_from=merged/lisa_tiny", "--exp_name=on lisa", *SHORT)
    said = run(TRAIN, *command, cwd=place)
    assert "it starts from weights of lisa_tiny" in said and "done after step 2 of 2" in said
    manifest = json.loads(
        (place / "runs" / "on lisa" / "portable" / "manifest.json").read_text(encoding="utf-8")
    )
    assert "merged/lisa_tiny lists ReasonSeg|train" in manifest["before"]["ReasonSeg|train"]
    said = run(TRAIN, *command, "--resume", "--epochs=2", cwd=place)
    assert "done after step 4 of 4" in said
    said = run(MERGE, "--weight", "runs/on lisa/portable", "--save_path", "merged/on lisa", cwd=place)
    assert "on merged/lisa_tiny:" in said and "is that their base?" not in said
    said = run(TRAIN, "--resume=runs/on lisa", "--epochs=3", cwd=place)
    assert "done after step 6 of 6" in said


def test_a_trained_file_of_gsva_is_scored_without_a_merge(place: Path) -> None:
    run("zero_to_fp32.py", ".", "../gsva.bin", cwd=place / "runs" / "gsva_tiny" / "ckpt_model")
    said = run(
        TRAIN, "--recipe=gsva_tiny", "--eval_only", "--weight=runs/gsva_tiny/gsva.bin", "--exp_name=scored",
        "--dataset_dir=data", "--val_dataset=grefcoco|unc|val", cwd=place,
    )  # fmt: skip
    assert "N_acc" in said
    said = run(
        "-m", "seglm.evaluation.run", "--recipe", "gsva_tiny", "--version", ROOT / "bases/llava",
        "--vision_pretrained", ROOT / "bases/sam", "--weight", "runs/gsva_tiny/gsva.bin", "--dataset_dir", "data",
        "--val_dataset", "grefcoco|unc|val", "--out", "eval/unmerged", cwd=place,
    )  # fmt: skip
    assert "N_acc" in said


@pytest.mark.parametrize("recipe", OF_VIDEOS)
def test_a_system_on_sam2_is_trained_merged_scored_and_answers_about_a_video(
    videos: Path, recipe: str
) -> None:
    trained(recipe, videos)
    version = ("--version", f"merged/{recipe}")
    said = run(
        "-m", "seglm.evaluation.run", *version, "--dataset_dir", "data", "--val_dataset", "mevis|valid_u", "--out",
        f"eval/{recipe}", "--protocol", "forced", cwd=videos,
    )  # fmt: skip
    assert "J&F" in said
    film = sorted((videos / "data" / "films").glob("*.mp4"))[0]
    prompt = ("--prompt", "Please segment the ring.", "--vis_save_path", f"chat/{recipe}")
    said = run(ROOT / "chat.py", *version, "--video", film, *prompt, cwd=videos)
    assert "text_output" in said and f"recipe {recipe}" in said
