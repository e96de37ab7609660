"""Scores that the originals' own evaluation code printed for videos, against ours, on the same masks; equal to the last bit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from seglm.dataset.masks import decode
from seglm.evaluation.scores.expressions import Asked, score, track
from seglm.evaluation.scores.regions import FrameCounts, count_frame, tolerance
from tests.conformance.goldens import ROOT, each, facts

METRICS = ROOT / "metrics"
Mask = NDArray[np.bool_]


def expected(name: str) -> dict[str, Any]:
    return facts("metrics", name, "expected.json") if (METRICS / name / "expected.json").exists() else {}


def shown(path: Path) -> Mask:
    """A mask as the originals read it: whatever is not 0."""
    return np.asarray(Image.open(path)) > 0


# ---- J and F --------------------------------------------------------------------------------------------------------
@each("case", [case["id"] for case in expected("jf_unit").get("cases", [])])
def test_j_and_f_of_one_frame(case: str) -> None:
    want = next(one for one in expected("jf_unit")["cases"] if one["id"] == case)
    stored = np.load(METRICS / "jf_unit" / "cases.npz")
    truth, prediction = stored[f"{case}_gt"] > 0, stored[f"{case}_pred"] > 0
    got = count_frame(prediction, truth)
    assert (got.j, got.f) == (want["J"], want["F"])
    assert tolerance(truth.shape) == want["bound_pix"]
    assert (got.predicted_contour, got.target_contour) == (want["n_pred_boundary"], want["n_gt_boundary"])
    for near, value in want.get("F_by_bound_th", {}).items():
        assert count_frame(prediction, truth, radius=tolerance(truth.shape, float(near))).f == value, near
    if "J_void" in want:
        got = count_frame(prediction, truth, ignore=stored[f"{case}_void"] > 0)
        assert (got.j, got.f) == (want["J_void"], want["F_void"])


# ---- MeViS ----------------------------------------------------------------------------------------------------------
def mevis_asked() -> list[Asked]:
    videos = facts("metrics", "mevis", "mevis", "valid_u", "meta_expressions.json")["videos"]
    return [Asked(video, name) for video, about in videos.items() for name in about["expressions"]]


def mevis_frames(asked: Asked) -> Iterator[FrameCounts]:
    folder = ("metrics", "mevis", "mevis", "valid_u")
    about = facts(*folder, "meta_expressions.json")["videos"][asked.video]
    masks = facts(*folder, "mask_dict.json")
    for number, frame in enumerate(about["frames"]):
        prediction = shown(METRICS / "mevis" / "predictions" / asked.video / asked.name / f"{frame}.png")
        parts = [masks[str(one)][number] for one in about["expressions"][asked.name]["anno_id"]]
        yield count_frame(prediction, united([part for part in parts if part], prediction.shape))


def united(parts: list[Any], size: tuple[int, ...]) -> Mask:
    return np.any(
        [np.zeros(size, dtype=np.bool_), *(decode(part, (size[0], size[1])) for part in parts)], axis=0
    )


@each("name", expected("mevis").get("per_frame", {}))
def test_mevis_frames(name: str) -> None:
    want = expected("mevis")["per_frame"][name]
    video, _, number = name.rpartition("_")
    got = list(mevis_frames(Asked(video, number)))
    assert ([one.j for one in got], [one.f for one in got]) == (want["J"], want["F"])


@each("system", [name for name in expected("mevis") if name != "per_frame"])
def test_mevis_scores(system: str) -> None:
    want, asked = expected("mevis")[system], mevis_asked()
    found = [one for one in asked if (METRICS / "mevis" / "predictions" / one.video / one.name).is_dir()]
    tracks = [track(one, mevis_frames(one)) for one in found]
    got = score(reversed(tracks), asked, convention="found" if system == "VideoLISA" else "every")
    assert (got.j, got.f, got.jf, got.n) == (want["J"], want["F"], want["J&F"], want["n"])
    assert got.missing and set(got.missing) == {str(one) for one in asked if one not in found}
    for one in tracks:
        assert [one.j, one.f] == want["per_expression"][f"{one.asked.video}_{one.asked.name}"]


# ---- ReasonVOS: only some frames have a truth ------------------------------------------------------------------------
def reasonvos_asked() -> list[Asked]:
    videos = facts("metrics", "reasonvos", "ReasonVOS", "meta_expressions.json")["videos"]
    return [
        Asked(f"{about['source']}_{video}_{one['obj_id']}", str(one["exp_id"]))
        for video, about in videos.items()
        for one in about["expressions"]
    ]


@each("system", ["VideoLISA", "GLUS"] if expected("reasonvos") else [])
def test_reasonvos_scores(system: str) -> None:
    want, asked, tracks = expected("reasonvos")[system], reasonvos_asked(), []
    for one in asked:
        predictions = METRICS / "reasonvos" / "predictions_videolisa" / one.video / one.name
        if predictions.is_dir():
            truths = sorted((METRICS / "reasonvos" / "ReasonVOS" / "Annotations" / one.video).glob("*.png"))
            tracks.append(
                track(one, (count_frame(shown(predictions / path.name), shown(path)) for path in truths))
            )
            assert [tracks[-1].j, tracks[-1].f] == want["per_expression"][f"{one.video}_{one.name}"]
    got = score(tracks, asked, convention="found")
    assert (got.j, got.f, got.jf) == (want["J"], want["F"], want["J&F"])
    assert (got.n, got.n + len(got.missing)) == (want["n_scored"], want["n_total"])


# ---- Ref-YouTube-VOS: the server is closed; what it is taken to do ------------------------------------------------------
@each("protocol", ["rvos"] if expected("youtube_vos") else [])
def test_ref_youtube_vos_scores(protocol: str) -> None:
    want = expected("youtube_vos")[protocol]
    videos = facts("metrics", "youtube_vos", "meta_expressions", "valid_gt", "meta_expressions.json")[
        "videos"
    ]
    asked = [Asked(video, name) for video, about in videos.items() for name in about["expressions"]]
    tracks = [track(one, youtube_frames(one, videos[one.video])) for one in asked]
    for one in tracks:
        assert {"J": one.j, "F": one.f} == want["per_expression"][f"{one.asked.video}_{one.asked.name}"]
    got = score(tracks, asked)
    assert (got.j, got.f, got.jf) == (want["J"], want["F"], want["J&F"])


def youtube_frames(asked: Asked, about: dict[str, Any]) -> Iterator[FrameCounts]:
    folder, number = METRICS / "youtube_vos", int(about["expressions"][asked.name]["obj_id"])
    for frame in about["frames"]:
        truth = np.asarray(Image.open(folder / "valid_gt" / "Annotations" / asked.video / f"{frame}.png"))
        (path,) = folder.glob(f"predictions_rvos/**/{asked.video}/{asked.name}/{frame}.png")
        yield count_frame(shown(path), truth == number)
