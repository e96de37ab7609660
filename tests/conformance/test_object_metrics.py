"""DAVIS-2017, Ref-DAVIS17, ReVOS and LV-VIS as their own evaluation code printed them, against ours; equal to the last bit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco

from seglm.dataset.masks import decode
from seglm.evaluation.scores import davis, lvvis, ref_davis17, revos
from seglm.evaluation.scores.expressions import Asked, score, track
from seglm.evaluation.scores.regions import count_frame
from tests.conformance.goldens import each, facts
from tests.conformance.test_video_metrics import METRICS, expected, shown

DAVIS, REF_DAVIS, REVOS = (METRICS / name for name in ("davis2017", "ref_davis17", "revos"))
TASKS = {"semi-supervised": "Annotations", "unsupervised": "Annotations_unsupervised"}


def numbers(path: Path) -> NDArray[np.uint8]:
    return np.asarray(Image.open(path))


# ---- DAVIS-2017 -----------------------------------------------------------------------------------------------------
@each("case", range(len(expected("jf_unit").get("db_statistics", []))))
def test_davis_statistics(case: int) -> None:
    want = expected("jf_unit")["db_statistics"][case]
    got = davis.statistics([nan if value is None else value for value in want["per_frame"]])
    values = [nan if want[name] is None else want[name] for name in "MRD"]
    np.testing.assert_array_equal([got.mean, got.recall, got.decay], values)


def video_score(task: str, video: str) -> davis.VideoScore:
    truths = DAVIS / "DAVIS" / TASKS[task] / "480p" / video
    names = sorted(path.name for path in truths.iterdir())
    scored = names[1:-1] if task == "semi-supervised" else names
    frames = ((numbers(DAVIS / "results" / task / video / name), numbers(truths / name)) for name in scored)
    run = davis.semi_supervised if task == "semi-supervised" else davis.unsupervised
    return run(video, frames, objects=davis.num_objects(numbers(truths / names[0])))


@each("task", [task for task in TASKS if task in expected("davis2017")])
def test_davis_objects_and_scores(task: str) -> None:
    if task == "unsupervised":
        pytest.importorskip("scipy", reason="matching needs SciPy, which requirements.txt lists")
    want = expected("davis2017")[task]
    asked = (DAVIS / "DAVIS" / "ImageSets" / "2017" / "val.txt").read_text().split()
    videos = [video_score(task, video) for video in asked]
    for video in videos:
        for number, one in enumerate(video.objects, start=1):
            values = (one.j.mean, one.f.mean, one.j.recall, one.j.decay, one.f.recall, one.f.decay)
            assert values == tuple(want["objects"][f"{video.video}_{number}"].values()), (video.video, number)
    got = davis.score(reversed(videos), asked)
    assert all_of(got) == tuple(want["global"].values())
    assert davis.csv_text(got) == want["global_results-val.csv"]


def all_of(got: davis.Score) -> tuple[float, ...]:
    return (got.jf, *(value for one in (got.j, got.f) for value in (one.mean, one.recall, one.decay)))


# ---- Ref-DAVIS17 ----------------------------------------------------------------------------------------------------
def merged(annotation: int, video: str, names: list[str]) -> list[NDArray[np.uint8]]:
    folder = REF_DAVIS / "predictions" / video
    mine = sorted(
        number
        for number in map(int, (path.name for path in folder.iterdir()))
        if ref_davis17.object_and_annotation(number)[1] == annotation
    )
    return [ref_davis17.merge([shown(folder / str(number) / name) for number in mine]) for name in names]


@each("annotation", range(ref_davis17.ANNOTATIONS) if expected("ref_davis17") else [])
def test_ref_davis17_objects_are_merged_as_there(annotation: int) -> None:
    stored = np.load(REF_DAVIS / "merged.npz")
    for key in (name for name in stored if name.startswith(f"anno_{annotation}/")):
        video = key.partition("/")[2]
        names = sorted(path.name for path in (REF_DAVIS / "predictions" / video / "0").iterdir())
        np.testing.assert_array_equal(merged(annotation, video, names), stored[key])


@each("protocol", ["four_annotators"] if expected("ref_davis17") else [])
def test_ref_davis17_in_the_official_protocol(protocol: str) -> None:
    pytest.importorskip("scipy", reason="matching needs SciPy, which requirements.txt lists")
    want = expected("ref_davis17")[protocol]
    truths = REF_DAVIS / "ref-davis" / "DAVIS" / "Annotations_unsupervised" / "480p"
    asked, scores = sorted(path.name for path in truths.iterdir()), []
    for annotation, values in enumerate(want["anno"]):
        videos = []
        for video in asked:
            names = sorted(path.name for path in (truths / video).iterdir())
            truth = [numbers(truths / video / name) for name in names]
            frames = zip(merged(annotation, video, names), truth, strict=True)
            videos.append(davis.unsupervised(video, frames, objects=davis.num_objects(truth[0])))
        scores.append(davis.score(videos, asked))
        assert all_of(scores[-1]) == tuple(values.values())[:7]
        assert davis.csv_text(scores[-1], 5) == values["global_results-val.csv (VideoLISA, %.5f)"]
    assert all_of(ref_davis17.score(scores)) == tuple(want["mean"].values())


@each("protocol", ["VISA_GLUS_Sa2VA_per_expression"] if expected("ref_davis17") else [])
def test_ref_davis17_expression_by_expression(protocol: str) -> None:
    want = expected("ref_davis17")[protocol]
    folder = ("metrics", "ref_davis17", "ref-davis", "meta_expressions", "valid", "meta_expressions.json")
    videos, tracks = facts(*folder)["videos"], []
    for video, about in videos.items():
        for name, expression in about["expressions"].items():
            frames = (
                count_frame(
                    shown(REF_DAVIS / "predictions" / video / name / f"{frame}.png"),
                    numbers(REF_DAVIS / "ref-davis" / "valid" / "Annotations" / video / f"{frame}.png")
                    == int(expression["obj_id"]),
                )
                for frame in about["frames"]
            )
            tracks.append(track(Asked(video, name), frames))
            assert [tracks[-1].j, tracks[-1].f] == want["per_expression"][f"{video}_{name}"]
    got = score(tracks, [one.asked for one in tracks])
    assert (got.j, got.f, got.jf) == (want["J"], want["F"], want["J&F"])


# ---- ReVOS ----------------------------------------------------------------------------------------------------------
def revos_tracks() -> Iterator[revos.RevosTrack]:
    """All of them have predictions, in the order of the file."""
    meta, masks, whole = (
        facts("metrics", "revos", "ReVOS", name)
        for name in ("meta_expressions_valid_.json", "mask_dict.json", "mask_dict_foreground.json")
    )
    for video, about in meta["videos"].items():
        size = (about["height"], about["width"])
        areas = [int(np.sum(coco.area(one))) for one in whole[video]["masks_rle"]]
        for name, one in about["expressions"].items():
            kind = revos.KINDS[one["type_id"]]
            yield revos.track(
                Asked(video, name, kind, kind == revos.NOT_THERE),
                (
                    revos.count(
                        shown(REVOS / "predictions_0_255" / "Annotations" / video / name / f"{frame}.png"),
                        cover([masks[str(part)][number] for part in one["anno_id"]], size),
                        foreground=areas[number],
                    )
                    for number, frame in enumerate(about["frames"])
                ),
            )


def cover(parts: list[Any], size: tuple[int, int]) -> NDArray[np.uint8]:
    nothing = np.zeros(size, dtype=np.uint8)
    return np.sum([nothing, *(decode(part, size) for part in parts if part)], axis=0, dtype=np.uint8)


READINGS = {
    "VISA_png_0_255": ("legacy_a", "legacy_r"),
    "VISA_png_0_1": ("sa2va_a", "sa2va_r"),
    "Sa2VA_rle": ("sa2va_a", "sa2va_r"),
}


@each("system", expected("revos"))
def test_revos_expressions_and_scores(system: str) -> None:
    want, tracks = expected("revos")[system], list(revos_tracks())
    accuracy, robustness = READINGS[system]
    for one in tracks if "unrounded_J_F_A_R" in want else []:
        values = [getattr(one.accuracies, name) for name in (accuracy, robustness)]
        name = f"{one.track.asked.video}_{one.track.asked.name}"
        assert [one.track.j, one.track.f, *values] == want["unrounded_J_F_A_R"][name], name
    for one, row in zip(tracks, want["csv_rows"], strict=True):
        values = [getattr(one.rounded, name) for name in ("j", "f", accuracy, robustness)]
        assert values == [row[name] for name in "JFAR"], row["videxp"]
    got = revos.score(reversed(tracks), [one.track.asked for one in tracks])
    for name, group in (("referring", got.referring), ("reason", got.reasoning), ("overall", got.overall)):
        values = [getattr(group, field) for field in ("j", "f", accuracy, robustness, "jf")]
        assert values == [want["results_json"][name][field] for field in ("J", "F", "A", "R", "JF")], name
    assert got.n + got.num_empty == want.get("n", got.n + got.num_empty)


# ---- LV-VIS ---------------------------------------------------------------------------------------------------------
def lvvis_cells() -> list[lvvis.Cell]:
    truth = facts("metrics", "lvvis", "LVVIS", "val", "val_instances.json")
    tubes: dict[tuple[int, int], tuple[list[lvvis.Tube], list[lvvis.Tube]]] = defaultdict(lambda: ([], []))
    for one in truth["annotations"]:
        size = (one["height"], one["width"])
        masks = [lvvis.run_lengths(mask, size) for mask in one["segmentations"]]
        tubes[one["video_id"], one["category_id"]][1].append(lvvis.Tube(masks, is_crowd=bool(one["iscrowd"])))
    for one in facts("metrics", "lvvis", "results.json"):
        tubes[one["video_id"], one["category_id"]][0].append(lvvis.Tube(one["segmentations"], one["score"]))
    return [lvvis.cell(video, category, *both) for (video, category), both in tubes.items()]


@each("name", expected("lvvis"))
def test_lvvis_scores(name: str) -> None:
    want, cells = expected("lvvis")[name], lvvis_cells()
    categories = facts("metrics", "lvvis", "LVVIS", "val", "val_instances.json")["categories"]
    base = {one["id"]: one["partition"] < 2 for one in categories}
    got = lvvis.score(reversed(cells), base=base, convention="lvvis" if name == "LVVIS" else "youtube_vis")
    averages = [*got.precision.values(), *got.recall.values()]
    assert [printed(one.all) for one in averages] == want["stats"]
    if name == "LVVIS":
        assert (got.precision["AP"].base, got.precision["AP"].novel) == (want["APb"], want["APn"])
        assert {str(key): printed(value) for key, value in got.categories.items()} == want["per_category_AP"]
        for one in cells:
            if one.overlaps and one.target_areas:
                assert [list(row) for row in one.overlaps] == want["ious"][f"{one.video},{one.category}"]
        values = [value for one in averages for value in (one.all, one.base, one.novel)]
        assert [f"{printed(value):.3f}" for value in values] == [
            line[-6:].strip() for line in want["printed"]
        ]


def printed(value: float | None) -> float:
    """As COCO's programs write that there is nothing to take a mean of."""
    return -1 if value is None else value
