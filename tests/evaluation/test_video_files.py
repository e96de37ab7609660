"""Predictions of videos from folders, zips and run lengths: equal scores from all, and errors that name the frame."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco

from seglm.evaluation.scores.expressions import Asked, Track, score
from seglm.evaluation.scores.video_files import open_predictions, read_numbers, score_files
from tests.evaluation.pngs import GREY, PALETTE, RGB, RGBA
from tests.evaluation.pngs import png as by_hand

ASKED = [Asked("a", "0"), Asked("a", "1"), Asked("b", "0"), Asked("c", "0")]
PREDICTED = ASKED[:3]
FRAMES = ("00000", "00005", "00007")
SIZE = (12, 17)


def drawn(asked: Asked, frame: str, seed: int) -> NDArray[np.bool_]:
    """A box; the prediction's seed is 0, the truth's 1. The last frame of a/1 is empty in the prediction."""
    rng = np.random.default_rng([seed, *map(ord, f"{asked}{frame}")])
    mask = np.zeros(SIZE, dtype=np.bool_)
    top, left = rng.integers(0, 5, 2)
    mask[top : top + 6, left : left + 8] = (str(asked), frame, seed) != ("a/1", "00007", 0)
    return mask


class BoxTruth:
    """The true boxes."""

    def frames(self, asked: Asked) -> Sequence[str]:
        return FRAMES

    def masks(self, asked: Asked) -> Iterator[NDArray[np.bool_]]:
        return (drawn(asked, frame, 1) for frame in FRAMES)


def png(numbers: NDArray[np.uint8], mode: str = "L") -> bytes:
    data = io.BytesIO()
    picture = Image.fromarray(numbers)
    if mode == "P":
        picture.putpalette([0, 0, 0, 128, 0, 0] + [255] * 762)
    elif mode != "L":
        picture = picture.convert(mode)
    picture.save(data, "PNG")
    return data.getvalue()


def files() -> dict[str, bytes]:
    return {
        f"{one}/{frame}.png": png(drawn(one, frame, 0).astype(np.uint8) * 255)
        for one in PREDICTED
        for frame in FRAMES
    }


@pytest.fixture(params=["folder", "folder in Annotations", "zip", "zip in Annotations", "json"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The same predictions in every form."""
    top = "Annotations/" if request.param.endswith("Annotations") else ""
    if request.param == "json":
        content: dict[str, dict[str, object]] = {}
        for one in PREDICTED:
            masks = [drawn(one, frame, 0) for frame in FRAMES]
            lengths = [
                coco.encode(np.asfortranarray(mask.view(np.uint8))) if mask.any() else None for mask in masks
            ]
            texts = [one and {**one, "counts": one["counts"].decode()} for one in lengths]
            content.setdefault(one.video, {})[one.name] = {"prediction_masks": texts}
        (tmp_path / "results.json").write_text(json.dumps(content))
        return tmp_path / "results.json"
    if request.param.startswith("zip"):
        with zipfile.ZipFile(tmp_path / "out.zip", "w") as archive:
            for name, data in files().items():
                archive.writestr(top + name, data)
        return tmp_path / "out.zip"
    for name, data in files().items():
        path = tmp_path / "out" / top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path / "out"


def tracks_of(place: Path, asked: Sequence[Asked]) -> list[Track]:
    return list(score_files(asked, open_predictions(place), BoxTruth()))


def test_every_form_gives_the_same_scores_and_a_missing_expression_is_listed(
    place: Path, tmp_path: Path
) -> None:
    got = score(tracks_of(place, ASKED), ASKED)
    boxes = [(drawn(one, frame, 0), drawn(one, frame, 1)) for one in PREDICTED for frame in FRAMES]
    ratios = [np.count_nonzero(shown & true) / np.count_nonzero(shown | true) for shown, true in boxes]
    assert got.j == pytest.approx(sum(ratios) / len(FRAMES) / len(ASKED))
    assert (got.n, got.missing) == (4, ("c/0",))


def test_two_processes_give_what_one_gives_to_the_last_bit(tmp_path: Path) -> None:
    for name, data in files().items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    with ProcessPoolExecutor(2, mp_context=get_context("fork")) as pool:
        parts = list(pool.map(tracks_of, [tmp_path] * 2, [ASKED[1::2], ASKED[::2]]))
    assert score([*parts[0], *parts[1]], ASKED) == score(tracks_of(tmp_path, ASKED), ASKED)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA"])
def test_pictures_of_every_usual_mode_hold_numbers(mode: str) -> None:
    numbers = np.array([[0, 255, 0]] if mode != "P" else [[0, 2, 0]], dtype=np.uint8)
    got = read_numbers(png(numbers, mode), "x.png", of_objects=False)
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got > 0, numbers > 0)


NUMBERS = np.array([[0, 1, 2], [3, 1, 0]])
RED, GREEN = (255, 0, 0), (0, 255, 0)


@pytest.mark.parametrize("depth", [2, 4, 8])
@pytest.mark.parametrize("kind", [GREY, PALETTE])
def test_numbers_are_those_in_the_file_whatever_the_depth(depth: int, kind: int) -> None:
    content = by_hand(NUMBERS, depth, kind, palette=[(0, 0, 0), RED, GREEN, RED] if kind == PALETTE else [])
    for of_objects in (True, False):
        np.testing.assert_array_equal(read_numbers(content, "x.png", of_objects=of_objects), NUMBERS)


def test_a_mask_of_one_bit_and_one_in_colours_are_what_is_not_0() -> None:
    bits = np.minimum(NUMBERS, 1)
    clear = np.stack([bits * 0 + 255] * 3 + [bits * 255], -1)  # white, and transparent around
    for content in (
        by_hand(bits, 1, GREY),
        by_hand(np.array([(0, 0, 0), RED, GREEN, RED])[NUMBERS], 8, RGB),
        by_hand(clear, 8, RGBA),
    ):
        got = read_numbers(content, "x.png", of_objects=False)
        np.testing.assert_array_equal(got > 0, NUMBERS > 0)


@pytest.mark.parametrize(
    ("content", "of_objects", "told"),
    [
        (b"PNG", False, "is no PNG"),
        (b"", False, r"is empty \(0 bytes\)"),
        (by_hand(NUMBERS, 8, GREY)[:20], False, "is damaged or cut short"),
        (by_hand(NUMBERS, 8, GREY)[:-20], False, "is damaged or cut short"),
        (by_hand(NUMBERS, 16, GREY), True, "is a 16-bit grey PNG with the values 0, 1, 2, 3; save the numbers as"),
        (by_hand(np.stack([NUMBERS] * 3, -1), 16, RGB), False, "is a 16-bit RGB PNG with the values 0, 1, 2, 3"),
        (by_hand(np.array([(0, 0, 0), RED, GREEN, RED])[NUMBERS], 8, RGB), True, "is a 8-bit RGB PNG with the colours"),
        (by_hand(np.stack([NUMBERS] * 3 + [NUMBERS * 50], -1), 8, RGBA), False, "is a 8-bit RGBA PNG that is half transparent"),
    ],
)  # fmt: skip
def test_what_holds_no_numbers_or_other_ones_is_refused(content: bytes, of_objects: bool, told: str) -> None:
    with pytest.raises(ValueError, match=f"^x.png {told}"):
        read_numbers(content, "x.png", of_objects=of_objects)


def test_a_missing_frame_is_an_error_that_names_it_and_what_is_there(tmp_path: Path) -> None:
    for name, data in files().items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    (tmp_path / "a" / "0" / "00005.png").unlink()
    with pytest.raises(FileNotFoundError, match="no a/0/00005.png; 2 of 3 scored frames are in a/0"):
        tracks_of(tmp_path, ASKED)


def test_a_mask_of_another_size_is_an_error_that_names_both_sizes(tmp_path: Path) -> None:
    (tmp_path / "a" / "0").mkdir(parents=True)
    (tmp_path / "a" / "0" / "00000.png").write_bytes(png(np.zeros((3, 4), dtype=np.uint8)))
    with pytest.raises(
        ValueError, match=r"a/0: the mask of frame 00000 is 3 x 4, the true one 12 x 17 \(H x W\)"
    ):
        tracks_of(tmp_path, ASKED[:1])


def test_run_lengths_are_of_every_frame_or_of_those_that_are_scored(tmp_path: Path) -> None:
    path, every = tmp_path / "results.json", ["00000", "00001", "00005", "00010"]
    texts = [
        {"size": [1, 4], "counts": [number, 1, 3 - number]} for number in range(4)
    ]  # one pixel, which moves
    for given, frames in ((texts, every[1::2]), (texts[1::2], every[1::2]), (texts, every)):
        path.write_text(json.dumps({"a": {"0": {"prediction_masks": given}}}))
        shown = list(open_predictions(path).masks(ASKED[0], frames, every))
        assert [int(mask.argmax()) for mask in shown if mask is not None] == [
            every.index(one) for one in frames
        ]
    with pytest.raises(ValueError, match="a/0 has 4 masks, 1 frames of 3 are scored"):
        list(open_predictions(path).masks(ASKED[0], every[:1], every[:3]))


def test_run_lengths_of_another_number_or_broken_ones_are_errors(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    for masks, says in (
        ([None], "a/0 has 1 masks, 3 frames are scored"),
        ([None, {"size": [12, 17], "counts": "5"}, None], "a/0, frame 00005: run lengths add up"),
    ):
        path.write_text(json.dumps({"a": {"0": {"prediction_masks": masks}}}))
        with pytest.raises(ValueError, match=says):
            tracks_of(path, ASKED[:1])


@pytest.mark.parametrize(
    "content, said",
    [
        ([], "the file holds a list, permitted is dict"),
        ({"a": []}, "a holds a list, permitted is dict"),
        ({"a": {"0": []}}, "a/0 holds a list, permitted is dict"),
        ({"a": {"0": {}}}, "`prediction_masks` of a/0 holds a NoneType, permitted is list"),
        (
            {"a": {"0": {"prediction_masks": "ab"}}},
            "`prediction_masks` of a/0 holds a str, permitted is list",
        ),
        *(
            (
                {"a": {"0": {"prediction_masks": [mask, None, None]}}},
                "a/0, frame 00000: .*; permitted are null and run",
            )
            for mask in (
                {},
                [],
                "ab",
                3,
                {"counts": "5"},
                {"size": [12], "counts": "5"},
                {"size": ["a", 1], "counts": "5"},
            )
        ),
    ],
)
def test_run_lengths_of_another_form_are_an_error_that_says_where(
    content: object, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(content), encoding="utf-8-sig")
    found, one = open_predictions(path), ASKED[0]
    with pytest.raises(ValueError, match=f"^{path}: .*{said}"):
        assert found.has(one)
        list(found.masks(one, ["00000", "00005", "00010"]))


def test_what_holds_no_predictions_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no predictions there"):
        open_predictions(tmp_path / "nowhere")
    (tmp_path / "notes.txt").write_text("no masks")
    with pytest.raises(ValueError, match="is no folder, no zip and no .json"):
        open_predictions(tmp_path / "notes.txt")
