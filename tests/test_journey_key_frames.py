"""GLUS' key frames the whole way at the smallest size: draw, count, teach a selector, choose, and draw again from there."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seglm.dataset.toy.write_videos import write_videos
from tests.house.tree import ROOT
from tests.model.test_released_sam2 import write as write_sam2
from tests.test_journey import TIGHT, run
from tests.tiny_sam2 import SAM2_0, SIDE, tiny_sam2

pytestmark = [pytest.mark.slow, TIGHT]
TRAIN, MERGE = ROOT / "train_ds.py", ROOT / "merge_lora_weights_and_save_hf_model.py"
SHORT = (
    "--dataset_dir=data", "--epochs=1", "--steps_per_epoch=1", "--batch_size=1", "--no_eval", "engine.workers=0",
    "decoder.weights=sam2.pt", f"decoder.image_size={SIDE}", "data.mixture=refer_seg_video", "data.rates=1",
    "data.sets.refer_seg_video=mevis",
)  # fmt: skip
KEYS = ("-m", "seglm.evaluation.keyframes")
SCORED = ("--dataset_dir", "data", "--val_dataset")
RUN = (
    "-m",
    "seglm.evaluation.run",
    "--inference_only",
    "--protocol",
    "forced",
    "--version",
    "merged/glus",
    *SCORED,
)


def test_from_masks_to_key_frames_to_masks(tmp_path: Path) -> None:
    write_videos(tmp_path / "data", images=20, val_images=4, test_images=0, size=64)
    write_sam2(tmp_path / "sam2.pt", tiny_sam2(replace(SAM2_0, image_size=SIDE)))
    run(TRAIN, "--recipe=glus_tiny", "--exp_name=glus", *SHORT, cwd=tmp_path)
    run(MERGE, "--weight", "runs/glus/portable", "--save_path", "merged/glus", cwd=tmp_path)

    run(*RUN, "mevis|train", "--allow_leak", "--out", "drawn", cwd=tmp_path)
    [drawn] = (tmp_path / "drawn").iterdir()
    said = run(*KEYS, "--predictions", drawn, *SCORED, "mevis|train", "--out", "ious.json", cwd=tmp_path)
    ious = json.loads((tmp_path / "ious.json").read_text())
    assert sorted(map(len, ious.values())) == [5, 6] and "IoUs of 11 expressions, mean 0." in said
    video, expressions = next(iter(ious.items()))
    for expression, row in expressions.items():
        folder = drawn / "masks" / video.partition("/")[2] / expression
        assert len(row) == len(list(folder.glob("*.png"))) and all(0 <= iou <= 1 for iou in row)

    selector = (TRAIN, "--recipe=glus_tiny_key", "--exp_name=key", *SHORT)
    refused = run(*selector, cwd=tmp_path, fails=True)
    assert "terms.score.targets is empty" in refused
    assert "draws no mask" in run(*(one for one in selector if one != "--no_eval"), cwd=tmp_path, fails=True)
    said = run(*selector, "terms.score.targets=ious.json", cwd=tmp_path)
    assert "done after step 1 of 1" in said and "project.score" not in said.partition("trained:")[0]
    [line] = csv.DictReader((tmp_path / "runs" / "key" / "metrics.csv").open(encoding="utf-8"))
    assert float(line["score"]) >= 0 and float(line["language"]) > 0
    run(MERGE, "--weight", "runs/key/portable", "--save_path", "merged/key", cwd=tmp_path)

    choose = (*KEYS, "--version", "merged/key", "--out", "keys.json")
    said = run(*choose, *SCORED, "mevis|valid_u", cwd=tmp_path)
    assert "keys.json: 8 key frames, mean score " in said
    keys = json.loads((tmp_path / "keys.json").read_text())
    assert len(keys) == 8 and all(int(frame) < 18 for frame in keys.values())
    assert "keys.json is there already" in run(*choose, *SCORED, "mevis|valid_u", cwd=tmp_path, fails=True)
    assert "draws masks and scores no frame" in run(
        *KEYS,
        "--version",
        "merged/glus",
        "--out",
        "no.json",
        *SCORED,
        "mevis|valid_u",
        cwd=tmp_path,
        fails=True,
    )

    run(*RUN, "mevis|valid_u", "--out", "out", "--keyframes", "keys.json", cwd=tmp_path)
    run(*RUN, "mevis|valid_u", "--out", "out", cwd=tmp_path)
    plain, outwards = (tmp_path / "out" / f"glus_mevis_valid_u{end}" for end in ("", "_keyframes"))
    files = sorted(file.relative_to(plain) for file in plain.rglob("masks/*/*/*.png"))
    assert files == sorted(file.relative_to(outwards) for file in outwards.rglob("masks/*/*/*.png")) and files
    differs = {
        f"{file.parts[1]}_{file.parts[2]}"
        for file in files
        if not np.array_equal(np.asarray(Image.open(plain / file)), np.asarray(Image.open(outwards / file)))
    }
    assert differs and differs <= {
        key for key, frame in keys.items() if int(frame) > 0
    }  # from the first frame it is the same

    film = next((tmp_path / "data").rglob("valid_u/JPEGImages/*"))
    ask = ("--video", film, "--prompt", "Segment the ring.", "--expression", "the ring")
    run(*choose, *ask, "--overwrite", cwd=tmp_path)
    [(name, frame)] = json.loads((tmp_path / "keys.json").read_text()).items()
    assert name == f"{film.name}_Segment the ring." and (film / f"{frame}.jpg").is_file()
