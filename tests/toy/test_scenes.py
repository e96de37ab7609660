"""The pictures of the toy world: determined by seed and split, visible, and with parts that belong to their things."""

import numpy as np
import pytest

from seglm.dataset.toy.scenes import COLOURS, SPLITS, draw, make_scene, parts, visible_masks
from seglm.dataset.toy.scenes import _footprint as whole
from seglm.dataset.toy.shapes import SHAPES, inside_part, inside_shape, part_names

SEEDS = range(40)


def test_a_seed_gives_the_same_picture_and_masks_again() -> None:
    for seed in (0, 7):
        first, again = make_scene(seed), make_scene(seed)
        assert first == again
        assert np.array_equal(draw(first), draw(again))
        assert np.array_equal(visible_masks(first), visible_masks(again))


def test_no_two_splits_share_a_scene() -> None:
    seeds = [make_scene(seed, split=split).seed for split in SPLITS for seed in SEEDS]
    assert len(set(seeds)) == len(seeds)


def test_every_scene_has_one_to_six_things_and_at_least_sixty_percent_of_each_is_seen() -> None:
    for seed in SEEDS:
        scene = make_scene(seed)
        assert 1 <= len(scene.things) <= 6
        for thing, mask in zip(scene.things, visible_masks(scene), strict=True):
            assert mask.sum() >= 0.6 * whole(thing, scene.height, scene.width).sum()


def test_no_pixel_belongs_to_two_things() -> None:
    assert all(visible_masks(make_scene(seed)).sum(axis=0).max() <= 1 for seed in SEEDS)


def test_a_larger_picture_shows_the_same_scene() -> None:
    small, large = make_scene(3), make_scene(3, size=256)
    masks = visible_masks(large)[:, 1::2, 1::2], visible_masks(small)
    shared = (masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum()
    assert shared > 0.9
    assert draw(large).shape == (256, 256, 3)


def test_parts_are_parts_of_what_is_seen_and_left_and_right_halves_do_not_overlap() -> None:
    for seed in SEEDS:
        scene = make_scene(seed)
        for i, mask in enumerate(visible_masks(scene)):
            found = parts(scene, i)
            assert all((part & ~mask).sum() == 0 and part.any() for part in found.values())
            if {"left half", "right half"} <= set(found):
                assert not (found["left half"] & found["right half"]).any()


def test_every_shape_covers_about_as_much_as_its_name_says() -> None:
    axis = np.linspace(-1.3, 1.3, 261, dtype=np.float32)
    u, v = np.meshgrid(axis, axis)
    area = {shape: inside_shape(shape, u, v).mean() * 2.6**2 for shape in SHAPES}
    want = {"circle": np.pi, "square": 1.74**2, "ring": np.pi * (1 - 0.55**2), "cross": 4 * 0.72 - 0.72**2}
    for shape, value in want.items():
        assert area[shape] == pytest.approx(value, rel=0.03)
    assert set(area) == set(SHAPES) and min(area.values()) > 1.0


@pytest.mark.parametrize(
    "shape, part, point, inside",
    [
        ("star", "upper point", (0.0, -1.0), True),
        ("star", "upper point", (0.0, 0.3), False),
        ("ring", "inner edge", (0.6, 0.0), True),
        ("ring", "outer edge", (0.9, 0.0), True),
        ("cross", "left arm", (-0.8, 0.0), True),
        ("cross", "left arm", (0.0, 0.0), False),
        ("circle", "inner part", (0.2, 0.2), True),
        ("circle", "left half", (0.2, 0.2), False),
    ],
)
def test_a_named_part_is_where_its_name_says(
    shape: str, part: str, point: tuple[float, float], inside: bool
) -> None:
    u, v = (np.array([value], dtype=np.float32) for value in point)
    assert inside_shape(shape, u, v)[0]
    assert inside_part(shape, part, u, v)[0] == inside


def test_unknown_names_are_refused_with_the_known_ones() -> None:
    axis = np.zeros(1, dtype=np.float32)
    with pytest.raises(ValueError, match=r"unknown shape 'blob'; permitted: circle"):
        inside_shape("blob", axis, axis)
    with pytest.raises(ValueError, match=r"a ring has no part 'tail'; it has: left half"):
        inside_part("ring", "tail", axis, axis)
    with pytest.raises(ValueError, match=r"unknown split 'dev'; permitted: train, val, test"):
        make_scene(0, split="dev")  # type: ignore[arg-type]
    assert all(part_names(shape) for shape in SHAPES) and len(COLOURS) == 8
