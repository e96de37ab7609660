"""Pictures as grids of cells: how many, how they lie in a batch, and where their tokens are placed in time, height and width."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from seglm.dataset.collate import collate
from seglm.dataset.pixels import vision_cells
from seglm.model.backbones.encode import DialogueEncoder
from seglm.model.backbones.templates import template
from seglm.utils.tiles import cells_of, grids, shapes, views
from seglm.utils.types import Dialogue, Example, Images, Look, Pointed, Script, Turn
from tests.tiny import tiny_encoder

SIDE = 4
LOOK = Look("cells", fine=(96, 192), full=(32, 96), depth=2, pace=2.0)
"""of 4 pixels a side: 6 to 12 cells of what is shown finely, 2 to 6 of anything else"""
SIZE = (8, 12)
"""two rows of three cells, in either budget"""


def encoder() -> DialogueEncoder:
    return DialogueEncoder(
        tokenizer=tiny_encoder().tokenizer,
        template=template("llava_v1"),
        patches=1,
        image_tokens=("<im_start>", "<im_end>"),
        tokens=("[SEG]",),
        max_length=200,
        look=LOOK,
        side=SIDE,
    )


def script(*pieces: Images | Pointed | str) -> Script:
    return (Dialogue((Turn(pieces, ("Sure.",)),)),)


@pytest.mark.parametrize(
    "size, pixels, want",  # of cells of 28 pixels, counted by hand
    [
        ((280, 560), (1, 10**9), (10, 20)),
        ((293, 295), (1, 10**9), (10, 11)),  # 10.46 and 10.54
        ((42, 70), (1, 10**9), (2, 2)),  # 1.5 and 2.5: halves go to the even number
        ((280, 280), (1, 50 * 28**2), (7, 7)),  # a hundred cells, and at most fifty: sqrt(50) = 7.07
        ((28, 280), (1, 3 * 28**2), (1, 5)),  # 0.55 rows become one, 5.48 columns five
        ((28, 28), (3 * 28**2, 10**9), (2, 2)),  # sqrt(3) = 1.73
        ((10, 28), (4 * 28**2, 10**9), (2, 4)),  # nothing rounds to no row at all
    ],
)
def test_a_picture_has_as_many_cells_as_its_pixels_and_the_budget_allow(
    size: tuple[int, int], pixels: tuple[int, int], want: tuple[int, int]
) -> None:
    assert cells_of(size, pixels, side=28) == want


def test_a_line_is_no_picture() -> None:
    assert cells_of((1, 200), (1, 10**9), side=1) == (1, 200)
    with pytest.raises(ValueError, match=r"201 x 1 pixels \(H x W\) is more than 200 times as long as wide"):
        cells_of((201, 1), (1, 10**9), side=1)
    with pytest.raises(ValueError, match="k: a picture of 2000 x 1 pixels"):
        encoder().encode_script(script(Images((0,)), "What?"), key="k", size=(2000, 1))


def test_what_is_shown_finely_has_the_larger_budget() -> None:
    shown = script(Images((0,), "fine"), Images((1,)))
    assert shapes(shown, 2, (16, 16), look=LOOK, side=SIDE) == ((3, 3), (2, 2))
    assert views(shown, 2, (16, 16), look=LOOK, side=SIDE) == (9, 4)
    assert shapes(shown, 2, (16, 16), look=Look("fill", tiles=4), side=SIDE) == ()


def test_a_piece_of_video_is_one_grid() -> None:
    shown = script(Images((0,)), Images((1, 2, 3), "moving"), Images((4,)))
    assert grids(shown, [(2, 3)] * 5) == ((1, 2, 3), (3, 2, 3), (1, 2, 3))
    assert grids(shown, ()) == ()
    with pytest.raises(ValueError, match=r"frames \(0, 2\) are shown as one piece of video"):
        grids(script(Images((0, 2), "moving")), [(2, 3)] * 3)
    with pytest.raises(ValueError, match=r"frame 1 is shown in \(0, 1\) and in \(1,\)"):
        grids(script(Images((0, 1), "moving"), Images((1,))), [(2, 3)] * 2)


def test_cells_are_cut_row_by_row() -> None:
    rows, columns = np.mgrid[0:2, 0:3]
    picture = np.kron(10 * rows + columns, np.ones((SIDE, SIDE), np.int64))[..., None].repeat(3, 2)
    cells = vision_cells(picture.astype(np.uint8), SIDE, (2, 3), mode="peer")
    assert cells.shape == (6, 3, SIDE, SIDE)
    assert cells.mean((1, 2, 3)).tolist() == [0, 1, 2, 10, 11, 12]
    assert vision_cells(picture.astype(np.uint8), 2 * SIDE, (1, 2), mode="fast").shape == (2, 3, 8, 8)


def test_a_picture_lies_side_by_side_and_the_text_behind_its_longer_side() -> None:
    [branch] = encoder().encode_script(script(Images((0,)), "What?"), key="k", size=SIZE)
    assert branch.rotary is not None
    [shown] = [np.flatnonzero(branch.frame >= 0)]
    assert branch.frame[shown].tolist() == [0, 1, 2, 3, 4, 5] and not branch.patch[shown].any()
    begin = int(shown[0])
    assert branch.rotary[:, :begin].tolist() == [list(range(begin))] * 3
    time, height, width = (branch.rotary[:, shown] - begin).tolist()
    assert (time, height, width) == ([0] * 6, [0, 0, 0, 1, 1, 1], [0, 1, 2, 0, 1, 2])
    behind = branch.rotary[:, shown[-1] + 1 :]
    assert behind.tolist() == [list(range(begin + 3, begin + 3 + behind.shape[1]))] * 3


def test_layers_of_a_video_stand_behind_each_other_in_time() -> None:
    frames = Images((0, 1, 2), "moving")
    [branch] = encoder().encode_script(script("a", frames, "What?"), key="k", size=SIZE)
    assert branch.rotary is not None
    [shown] = [np.flatnonzero(branch.frame >= 0)]
    # Frames 0 and 1 are a layer, whose tokens are named by frame 0's cells, and frame 2 is one.
    assert branch.frame[shown].tolist() == [*range(6), *range(12, 18)]
    time = branch.rotary[0, shown] - branch.rotary[0, shown[0]]
    assert time.tolist() == [0] * 6 + [2] * 6
    assert encoder().rendered(script("a", frames)[0]).count("<image>") == 1


def test_a_region_is_pointed_at_by_its_cells_one_by_one() -> None:
    mask = np.zeros(SIZE, np.bool_)
    mask[4:, 4:] = True
    [branch] = encoder().encode_script(
        script(Images((0,)), Images((1,)), "this", Pointed(1, mask), "?"), key="k", size=SIZE
    )
    assert branch.rotary is not None
    [shown] = [np.flatnonzero(branch.frame >= 0)]
    assert branch.frame[shown].tolist() == [*range(12), 10, 11]
    again = branch.rotary[:, shown[-2:]]
    assert (again == again[0]).all() and again[0, 1] == again[0, 0] + 1


def test_cells_are_never_pooled() -> None:
    with pytest.raises(ValueError, match="a frame is shown pooled"):
        encoder().encode_script(script(Images((0,), "pooled"), "What?"), key="k", size=SIZE)


def example(key: str, *frames: int) -> Example:
    asked = tuple(
        Dialogue((Turn((Images(frames), "\n", what), ("Sure.",)),)) for what in ("What?", "Who else?")
    )
    cells = math.prod(SIZE) // SIDE**2 * len(frames)
    return Example(
        key=key,
        branches=encoder().encode_script(asked, key=key, size=SIZE),
        vision=np.zeros((cells, 3, SIDE, SIDE), np.uint8),
        drawn=np.zeros((0, 3, 1, 1), np.uint8),
        resized=(1, 1),
        size=SIZE,
        masks=np.zeros((0, 0, *SIZE), np.bool_),
        grids=grids(asked, [(2, 3)] * len(frames)),
    )


@pytest.mark.parametrize("share_prefix", [True, False])
def test_a_batch_places_every_dialogue_as_its_branch_does(share_prefix: bool) -> None:
    examples = [example("a", 0), example("b", 0, 1)]
    batch = collate(examples, share_prefix=share_prefix)
    assert batch.grids == ((1, 2, 3),) * 3 and batch.rotary is not None
    assert batch.rotary.shape == (3, *batch.ids.shape) and len(batch.vision) == 18
    branches = [branch for one in examples for branch in one.branches]
    for branch, laid in zip(branches, batch.laid, strict=True):
        kind = batch.branch[laid.row]
        mine = (batch.group[laid.row] == laid.example) & ((kind == 0) | (kind == kind[laid.last]))
        assert branch.rotary is not None
        assert torch.equal(batch.rotary[:, laid.row, mine], torch.from_numpy(branch.rotary))
    assert sorted(set(batch.image_frame.tolist())) == list(range(18))
