"""Masks and refs in the files' own coding: nothing is lost on the way to disk."""

import pickle

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from seglm.dataset.masks import run_lengths
from seglm.dataset.toy.layouts import pickles
from seglm.dataset.toy.layouts.outlines import edge_polygons, pixel_polygons, plain_run_lengths
from seglm.dataset.toy.scenes import Mask, make_scene, visible_masks
from tests.toy.fill import filled, painted

HOLES = ("#####", "#...#", "#.#.#", "#...#", "#####")
TOUCHING = ("##...", "##...", "..##.", "..##.", "....#")


def rows(*lines: str) -> Mask:
    return np.array([[cell == "#" for cell in line] for line in lines])


@pytest.mark.parametrize(
    "lines", [HOLES, TOUCHING, ("#",), ("#.", ".#"), (".#.", "#.#", ".#."), ("####", "####")]
)
def test_polygons_and_run_lengths_give_back_the_very_same_pixels(lines: tuple[str, ...]) -> None:
    mask = rows(*lines)
    assert (filled(edge_polygons(mask), mask) == mask).all()
    shapes = [{"label": "target", "points": points} for points in pixel_polygons(mask)]
    assert (painted(shapes, mask.shape) == mask).all()
    assert (coco_mask.decode(run_lengths(mask)) == mask).all()
    assert (coco_mask.decode(coco_mask.frPyObjects(plain_run_lengths(mask), *mask.shape)) == mask).all()


def test_every_mask_of_a_few_scenes_survives_both_kinds_of_polygons() -> None:
    for seed in range(6):
        for mask in visible_masks(make_scene(seed)):
            shapes = [{"label": "target", "points": points} for points in pixel_polygons(mask)]
            assert (painted(shapes, mask.shape) == mask).all()
            assert (filled(edge_polygons(mask), mask) == mask).all()


@pytest.mark.parametrize("value", [{}, [], {"a": [1, -2, {"b": "c" * 300}]}, [{"left half": []}, 70000]])
def test_what_is_dumped_is_loaded_again(value: object) -> None:
    assert pickle.loads(pickles.dump(value)) == value


def test_only_what_refs_files_hold_can_be_dumped() -> None:
    with pytest.raises(ValueError, match=r"holds no float \(1\.5\)"):
        pickles.dump([1.5])
