"""Scores that the originals' own evaluation code printed, against ours, on the same masks."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools import mask as coco

from seglm.dataset.masks import decode
from seglm.evaluation.asking.benchmark import benchmark
from seglm.evaluation.offline import score_folder
from seglm.evaluation.scores.boxes import Boxes, score_boxes
from seglm.evaluation.scores.grefer import gsva_line, rela_results, score
from seglm.evaluation.scores.iou import Counts, ciou, count, giou, precision_at
from tests.conformance.goldens import ROOT, each, facts

TOLERANCE = 1e-6  # the original sums in float32
EXACT = 1e-9
REASONSEG, REFCOCO, GREFCOCO = (ROOT / "metrics" / name for name in ("reasonseg", "refcoco", "grefcoco"))
IGNORED = 255
Mask = NDArray[np.bool_]


def expected(folder: Path) -> dict[str, Any]:
    return facts("metrics", folder.name, "expected.json") if (folder / "expected.json").exists() else {}


def grey(path: Path) -> NDArray[np.uint8]:
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert image is not None, path
    return image.astype(np.uint8)


# ---- ReasonSeg ------------------------------------------------------------------------------------------------------
def reasonseg_masks(case: str) -> Iterator[tuple[Mask, NDArray[np.uint8]]]:
    """(prediction, truth of 0, 1 and 255) of each picture, in the order of the goldens."""
    logits = np.load(REASONSEG / "logits.npz")
    for picture in expected(REASONSEG)[case]["per_image"]:
        truth = grey(REASONSEG / f"gt_masks_{case}" / f"{Path(picture['image']).stem}.png")
        yield logits[picture["image"]] > 0, truth


@each("case", expected(REASONSEG))
def test_reasonseg_counts_and_scores_are_the_original_s(case: str) -> None:
    want = expected(REASONSEG)[case]
    got = [count(mask, truth == 1, ignore=truth == IGNORED) for mask, truth in reasonseg_masks(case)]
    assert [(one.intersection, one.union) for one in got] == [
        (picture["intersection"], picture["union"]) for picture in want["per_image"]
    ]
    assert [one.target for one in got] == [picture["gt_pixels"]["target"] for picture in want["per_image"]]
    for one, picture in zip(got, want["per_image"], strict=True):
        assert giou([one]) * (1 + 1e-5) == pytest.approx(picture["iou"], abs=TOLERANCE)
    for system in ("LISA", "VISA", "VideoLISA"):
        assert giou(got) == pytest.approx(want[system]["gIoU"], abs=TOLERANCE)
        assert ciou(got) == pytest.approx(want[system]["cIoU"], abs=TOLERANCE)
    assert f"giou: {giou(got):.4f}, ciou: {ciou(got):.4f}" == want["LISA"]["printed"]


@each("case", expected(REASONSEG))
def test_stored_predictions_are_the_thresholded_logits(case: str) -> None:
    names = [picture["image"] for picture in expected(REASONSEG)[case]["per_image"]]
    for name, (mask, _) in zip(names, reasonseg_masks(case), strict=True):
        np.testing.assert_array_equal(grey(REASONSEG / "predictions" / f"{Path(name).stem}.png") > 0, mask)


@each("case", expected(REASONSEG))
def test_gsva_s_reasonseg_score_is_ours_with_ignored_pixels_as_target(case: str) -> None:
    want = expected(REASONSEG)[case]["GSVA_ignore_becomes_target"]
    logits = np.load(REASONSEG / "logits.npz")
    names = [picture["image"] for picture in expected(REASONSEG)[case]["per_image"]]
    truths = [truth > 0 for _, truth in reasonseg_masks(case)]
    for threshold in (np.greater, np.greater_equal):  # its two validators differ in this
        got = [count(threshold(logits[name], 0), truth) for name, truth in zip(names, truths, strict=True)]
        if giou(got) == pytest.approx(want["gIoU"], abs=TOLERANCE):
            assert ciou(got) == pytest.approx(want["cIoU"], abs=TOLERANCE)
            return
    pytest.fail(f"neither > 0 nor >= 0 gives gIoU {want['gIoU']}")


# ---- RefCOCO --------------------------------------------------------------------------------------------------------
def refcoco_sums(split: str) -> Iterator[tuple[Mask, NDArray[np.int64]]]:
    """(prediction, how many polygons cover a pixel) of each sentence, in the order of the goldens."""
    content = facts("metrics", "refcoco", "refer_seg", "refcoco", "instances.json")
    sizes = {image["id"]: (image["height"], image["width"]) for image in content["images"]}
    annotations = {annotation["id"]: annotation for annotation in content["annotations"]}
    refs = pickle.loads((REFCOCO / "refer_seg" / "refcoco" / "refs(unc).p").read_bytes())
    ref_of = {sentence["sent_id"]: ref for ref in refs for sentence in ref["sentences"]}
    for sentence in expected(REFCOCO)[split]["per_sentence"]:
        ref = ref_of[sentence["sent_id"]]
        height, width = sizes[ref["image_id"]]
        parts = coco.frPyObjects(annotations[ref["ann_id"]]["segmentation"], height, width)
        path = REFCOCO / "predictions" / f"{sentence['sent_id']}.png"
        assert path.exists() != sentence["pred_missing"]
        mask = grey(path) > 0 if path.exists() else np.zeros((height, width), dtype=np.bool_)
        yield mask, coco.decode(parts).sum(2).astype(np.int64)


def refcoco_counts(split: str) -> list[Counts]:
    return [count(mask, covered > 0) for mask, covered in refcoco_sums(split)]


@each("split", expected(REFCOCO))
def test_refcoco_counts_are_those_of_binary_masks(split: str) -> None:
    for got, want in zip(refcoco_counts(split), expected(REFCOCO)[split]["per_sentence"], strict=True):
        assert (got.intersection, got.union, got.target) == (
            want["intersection_binary"],
            want["union_binary"],
            want["gt_pixels_binary"],
        ), want["sent_id"]


@each("split", expected(REFCOCO))
def test_refcoco_scores_are_gsva_s_and_the_plain_ones(split: str) -> None:
    want, got = expected(REFCOCO)[split], refcoco_counts(split)
    assert giou(got) == pytest.approx(want["GSVA_binary_gt"]["gIoU"], abs=TOLERANCE)
    assert ciou(got) == pytest.approx(want["GSVA_binary_gt"]["cIoU"], abs=TOLERANCE)
    assert giou(got, "plain") == pytest.approx(want["plain"]["mIoU(mean over sentences)"], abs=EXACT)
    assert ciou(got, "plain") == pytest.approx(want["plain"]["oIoU(sum I/sum U)"], abs=EXACT)


@each("split", expected(REFCOCO))
def test_refcoco_scores_and_precisions_are_rela_s_in_percent(split: str) -> None:
    want, got = expected(REFCOCO)[split]["ReLA"], refcoco_counts(split)
    assert 100 * giou(got, "plain") == pytest.approx(want["gIoU"], abs=100 * EXACT)
    assert 100 * ciou(got, "plain") == pytest.approx(want["cIoU"], abs=100 * EXACT)
    precisions = {key: float(key.removeprefix("Pr@")) for key in want if key.startswith("Pr@")}
    assert precisions
    for key, threshold in precisions.items():
        assert 100 * precision_at(got, threshold) == pytest.approx(want[key], abs=100 * EXACT)


@each("split", expected(REFCOCO))
def test_lisa_s_own_refcoco_score_is_ours_with_overlaps_out_of_the_target(split: str) -> None:
    """The released loader adds polygons: a pixel of value 2 is no target, yet a prediction there enlarges the union."""
    want = expected(REFCOCO)[split]["LISA_value2_quirk"]
    sums = list(refcoco_sums(split))
    twice = [sentence["gt_pixels_value2"] for sentence in expected(REFCOCO)[split]["per_sentence"]]
    assert [int((covered == 2).sum()) for _, covered in sums] == twice
    got = [count(mask, covered == 1) for mask, covered in sums]
    assert giou(got) == pytest.approx(want["gIoU"], abs=TOLERANCE)
    assert ciou(got) == pytest.approx(want["cIoU"], abs=TOLERANCE)


# ---- gRefCOCO -------------------------------------------------------------------------------------------------------
def grefcoco_annotations(
    split: str,
) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]], tuple[int, int]]]:
    """(sentence of the goldens, the annotations it means, (H, W) of its picture), in the order of the goldens."""
    folder = ("metrics", "grefcoco", "refer_seg", "grefcoco")
    content, refs = facts(*folder, "instances.json"), facts(*folder, "grefs(unc).json")
    sizes = {image["id"]: (image["height"], image["width"]) for image in content["images"]}
    annotations = {annotation["id"]: annotation for annotation in content["annotations"]}
    meant = {sentence["sent_id"]: ref["ann_id"] for ref in refs for sentence in ref["sentences"]}  # type: ignore[index]
    for sentence in expected(GREFCOCO)[split]["per_sentence"]:
        ids = [number for number in meant[sentence["sent_id"]] if number != -1]
        yield sentence, [annotations[number] for number in ids], sizes[sentence["image_id"]]


def grefcoco_counts(split: str, *, from_zero: bool, crowds: bool) -> list[Counts]:
    """from_zero: a logit of exactly 0 is in the mask; crowds: annotations of crowds are part of the truth."""
    logits, counts = np.load(GREFCOCO / "logits.npz"), []
    for sentence, meant, size in grefcoco_annotations(split):
        parts = [decode(one["segmentation"], size) for one in meant if crowds or not one["iscrowd"]]
        truth = np.any([np.zeros(size, dtype=np.bool_), *parts], axis=0)
        drawn = logits[str(sentence["sent_id"])]
        counts.append(count(drawn >= 0 if from_zero else drawn > 0, truth))
    return counts


@each("split", expected(GREFCOCO))
def test_grefcoco_counts_are_those_of_both_thresholds_with_and_without_crowds(split: str) -> None:
    for names, from_zero, crowds in (
        (("intersection_gt0", "union_gt0", "gt_pixels"), False, True),
        (("intersection_ge0", "union_ge0", "gt_pixels"), True, True),
        (("intersection_gt0_no_crowd", "union_gt0_no_crowd", "gt_pixels_no_crowd"), False, False),
    ):
        got = grefcoco_counts(split, from_zero=from_zero, crowds=crowds)
        for one, want in zip(got, expected(GREFCOCO)[split]["per_sentence"], strict=True):
            numbers = (one.intersection, one.union, one.target)
            assert numbers == tuple(want[name] for name in names), want["sent_id"]


@each("split", expected(GREFCOCO))
def test_grefcoco_scores_are_gsva_s_to_the_last_bit(split: str) -> None:
    want = expected(GREFCOCO)[split]["GSVA"]
    rejected = [sentence["pred_nt"] for sentence in expected(GREFCOCO)[split]["per_sentence"]]
    got = score(grefcoco_counts(split, from_zero=True, crowds=True), rejected, convention="gsva")
    assert {"gIoU": got.giou, "cIoU": got.ciou, "N_acc": got.n_acc, "T_acc": got.t_acc} == want
    line = "giou: {gIoU:.4f}, ciou: {cIoU:.4f}, N_acc: {N_acc:.4f}, T_acc: {T_acc:.4f}".format(**want)
    assert gsva_line(got) == line


@each("split", expected(GREFCOCO))
def test_grefcoco_scores_are_rela_s_to_the_last_bit(split: str) -> None:
    sentences = expected(GREFCOCO)[split]["per_sentence"]
    rejected, empty = ([sentence[name] for sentence in sentences] for name in ("pred_nt", "no_target"))
    counts = grefcoco_counts(split, from_zero=False, crowds=False)
    got = score(counts, rejected, convention="rela", empty=empty)
    assert rela_results(got) == expected(GREFCOCO)[split]["ReLA"]


@each("split", expected(GREFCOCO))
def test_grefcoco_boxes_score_as_in_its_own_repository(split: str) -> None:
    predicted, answers = facts("metrics", "grefcoco", "predictions_boxes.json"), []
    for sentence, meant, _ in grefcoco_annotations(split):
        found = np.array(predicted[str(sentence["sent_id"])], dtype=np.float32).reshape(-1, 5)
        scores = [box[4] for box in predicted[str(sentence["sent_id"])]]
        corners = [(x, y, x + width, y + height) for x, y, width, height in (one["bbox"] for one in meant)]
        answers.append(Boxes(found[:, :4], scores, np.array(corners, dtype=np.float32).reshape(-1, 4)))
    got = score_boxes(answers)
    want = expected(GREFCOCO)[split]["GREC_gRefCOCO_repo"]
    assert {"F1_score": got.f1, "T_acc": got.t_acc, "N_acc": got.n_acc} == want


# ---- the whole way, from the data set's own files and a folder of masks ----------------------------------------------
@each("split", expected(REFCOCO))
def test_run_eval_gives_the_plain_score_of_a_folder_of_masks(split: str, tmp_path: Path) -> None:
    want = expected(REFCOCO)[split]
    chosen = benchmark(f"refcoco|unc|{split}")
    arguments = {"out_dir": tmp_path, "convention": "plain", "missing_is_empty": True}
    scores = score_folder(REFCOCO / "predictions", chosen.open(REFCOCO), chosen, **arguments)  # type: ignore[arg-type]
    assert scores.all.n == want["n_sentences"]
    assert scores.all.giou == pytest.approx(want["plain"]["mIoU(mean over sentences)"], abs=EXACT)
    assert scores.all.ciou == pytest.approx(want["plain"]["oIoU(sum I/sum U)"], abs=EXACT)


def test_run_eval_gives_lisa_s_reasonseg_score_for_the_opencv_at_hand(tmp_path: Path) -> None:
    newer = tuple(map(int, cv2.__version__.split(".")[:2])) >= (4, 11)  # outlines of polygons changed then
    case = "opencv_ge_4.11" if newer else "opencv_le_4.10"
    if case not in expected(REASONSEG):
        pytest.skip(f"the goldens have no case {case}")
    chosen = benchmark("ReasonSeg|val")
    scores = score_folder(REASONSEG / "predictions", chosen.open(REASONSEG), chosen, out_dir=tmp_path)
    assert scores.all.giou == pytest.approx(expected(REASONSEG)[case]["LISA"]["gIoU"], abs=TOLERANCE)
    assert scores.all.ciou == pytest.approx(expected(REASONSEG)[case]["LISA"]["cIoU"], abs=TOLERANCE)
