"""Rows of tokens as a reader sees them: a letter is a token, a capital is trained, "#" a visual feature, "*" a slot."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from seglm.dataset.collate import collate
from seglm.dataset.rows import shared_prefix
from seglm.utils.batch import Batch, Bound, Laid
from seglm.utils.types import IGNORE_LABEL, IMAGE_POSITION, Branch, Example, Placed, Slot

SIDE = 8  # of the square pictures below, pixels


def branch(text: str, *, target: int = 0, frames: tuple[int, ...] = (0,)) -> Branch:
    """Each "*" is a slot of the next target; "#" are the patches of frame 0, "%" those of frame 1."""
    shown = {"#": 0, "%": 1}
    ids = [IMAGE_POSITION if c in shown else ord(c) for c in text]
    labels = [ord(c) if c.isupper() or c == "*" else IGNORE_LABEL for c in text]
    frame = [shown.get(c, -1) for c in text]
    patch = [text[:n].count(c) if c in shown else -1 for n, c in enumerate(text)]
    places = [n for n, c in enumerate(text) if c == "*"]
    slots = tuple(Placed(Slot("*", target + k, frames), place) for k, place in enumerate(places))
    arrays = (np.array(values, np.int64) for values in (ids, labels, frame, patch))
    return Branch(*arrays, slots)


def example(*branches: Branch, key: str = "e", seen: int = 1, drawn: int = 1, targets: int = 4) -> Example:
    rng = np.random.default_rng(len(key))
    return Example(
        key=key,
        branches=branches,
        vision=rng.integers(0, 99, (seen, 3, 4, 4)).astype(np.uint8),
        drawn=rng.integers(0, 99, (drawn, 3, SIDE, SIDE)).astype(np.uint8),
        resized=(SIDE, SIDE - 2),
        size=(SIDE + 1, SIDE - 1),
        masks=rng.random((targets, drawn, SIDE + 1, SIDE - 1)) > 0.5,
    )


def letters(batch: Batch) -> list[str]:
    """One string a row; padding is "."."""
    return [
        "".join(
            "." if g < 0 else "#" if n == IMAGE_POSITION else chr(n) for n, g in zip(ids, group, strict=True)
        )
        for ids, group in zip(batch.ids.tolist(), batch.group.tolist(), strict=True)
    ]


def digits(values: torch.Tensor) -> list[str]:
    return ["".join("." if value < 0 else str(value) for value in row) for row in values.tolist()]


def predicted(batch: Batch) -> list[str]:
    """For each trained token: the token whose state predicts it, and the token."""
    ids = batch.ids.flatten()
    return [
        chr(ids[at]) + chr(label)
        for at, label in zip(batch.labelled_at.tolist(), batch.labels.tolist(), strict=True)
    ]


ONE = example(branch("s##qaYZ"))
TWO = example(branch("s##qaY*Z"), branch("s##qbbX*", target=1), key="two")


@pytest.mark.parametrize(
    "texts, want",
    [
        (["s##qaYZ"], 0),  # a single dialogue shares with nobody
        (["s##qaY", "s##qbY"], 4),  # up to the first difference
        (["s##qaY", "s##qaZ"], 4),  # "a" predicts the first trained token, so it is not shared
        (["s##qa*", "s##qa*"], 4),  # nor is the state that predicts a slot
        (["s##q", "s##q"], 3),  # open prompts: the state that predicts the answer is each one's own
        (["s##qa", "s##q"], 3),
        (["s#%qa", "s##qa"], 2),  # another frame is another token
        (["aY", "bY"], 0),
        (["aY", "aY"], 0),
        (["abcdeY", "abcdeY", "abXdeY"], 1),  # the third trains its third token
    ],
)
def test_dialogues_share_what_is_equal_and_read_by_nobody(texts: list[str], want: int) -> None:
    assert shared_prefix([branch(text) for text in texts]) == want


def test_another_patch_is_another_token() -> None:
    left = branch("s##qa")
    right = replace(left, patch=left.patch + (left.patch == 1))
    assert shared_prefix([left, right]) == 2


def test_a_prefix_stands_once_and_its_branches_follow() -> None:
    batch = collate([ONE, TWO])
    assert letters(batch) == ["s##qaYZ.....", "s##qaY*ZbbX*"]
    assert digits(batch.group) == ["0000000.....", "111111111111"]
    assert digits(batch.branch) == ["111111100000", "000011112222"]
    assert digits(batch.positions) == ["012345600000", "012345674567"]
    assert predicted(batch) == ["aY", "YZ", "aY", "Y*", "*Z", "bX", "X*"]
    assert batch.image_at.tolist() == [1, 2, 13, 14]
    assert batch.image_frame.tolist() == [0, 0, 1, 1]
    assert batch.image_patch.tolist() == [0, 1, 0, 1]
    assert batch.laid == (Laid(0, 0, (0, 0), (0, 7)), Laid(1, 1, (0, 4), (4, 8)), Laid(1, 1, (0, 4), (8, 12)))
    assert [(laid.origin, laid.last) for laid in batch.laid] == [(0, 6), (0, 7), (4, 11)]
    assert batch.keys == ("e", "two")


def test_without_sharing_every_dialogue_has_a_row_to_itself() -> None:
    batch = collate([ONE, TWO], share_prefix=False)
    assert letters(batch) == ["s##qaYZ.", "s##qaY*Z", "s##qbbX*"]
    assert digits(batch.group) == ["0000000.", "11111111", "11111111"]
    assert digits(batch.branch) == ["11111110", "11111111", "22222222"]
    assert digits(batch.positions) == ["01234560", "01234567", "01234567"]
    assert predicted(batch) == predicted(collate([ONE, TWO]))
    assert batch.image_frame.tolist() == [0, 0, 1, 1, 1, 1]
    assert [(laid.row, laid.prefix, laid.last) for laid in batch.laid] == [
        (0, (0, 0), 6),
        (1, (0, 0), 7),
        (2, (0, 0), 7),
    ]


@pytest.mark.parametrize(
    "budget, want",
    [
        (None, ["aB..", "cD..", "eeeF", "gH.."]),
        (4, ["aBgH", "cD..", "eeeF"]),
        (6, ["aBgH", "cD..", "eeeF"]),  # "aBcD.." and "eeeFgH" would be as many positions, in longer rows
        (3, ["aBgH", "cD..", "eeeF"]),  # "eeeF" is longer than the budget: all rows may be as long as it
        (99, ["aBcDeeeFgH"]),
    ],
)
def test_rows_are_packed_to_a_budget_and_hold_whole_examples(budget: int | None, want: list[str]) -> None:
    examples = [example(branch(text), key=text) for text in ("aB", "cD", "eeeF", "gH")]
    batch = collate(examples, row_tokens=budget)
    assert letters(batch) == want
    pairs = dict(zip(["aB", "cD", "eeeF", "gH"], ["aB", "cD", "eF", "gH"], strict=True))
    assert sorted(predicted(batch)) == sorted(pairs.values())


def test_a_row_budget_never_means_more_positions_than_a_row_each() -> None:
    rng = np.random.default_rng(3)
    for _ in range(50):
        lengths = rng.integers(2, 40, rng.integers(1, 9))
        examples = [example(branch("a" * (length - 1) + "B"), key=str(n)) for n, length in enumerate(lengths)]
        apart = collate(examples).ids
        budget = int(rng.integers(1, 120))
        packed = collate(examples, row_tokens=budget)
        assert packed.ids.numel() <= apart.numel()
        assert packed.ids.shape[1] <= max(budget, apart.shape[1])
        assert int((packed.group >= 0).sum()) == lengths.sum()


def dialogue_of(batch: Batch, laid: Laid, number: int) -> Branch:
    """A dialogue read back from the rows, with nothing but what the batch says."""
    row, column = laid.row, laid.last
    group, kind = batch.group[row], batch.branch[row]
    mine = (group == group[column]) & ((kind == 0) | (kind == kind[column]))
    order = torch.nonzero(mine).flatten()
    assert batch.positions[row, order].tolist() == list(range(len(order)))
    flat = (row * batch.ids.shape[1] + order).tolist()
    frames = dict(zip(batch.image_at.tolist(), batch.image_frame.tolist(), strict=True))
    patches = dict(zip(batch.image_at.tolist(), batch.image_patch.tolist(), strict=True))
    trained = dict(zip(batch.labelled_at.tolist(), batch.labels.tolist(), strict=True))
    labels = [IGNORE_LABEL, *(trained.get(before, IGNORE_LABEL) for before, _ in pairwise(flat))]
    slots = [slot for slot in batch.slots if (slot.example, slot.branch) == (laid.example, number)]
    placed = tuple(Placed(Slot(s.token, s.target, s.frames), order.tolist().index(s.place)) for s in slots)
    columns = (
        batch.ids[row, order].tolist(),
        labels,
        [frames.get(at, -1) for at in flat],
        [patches.get(at, -1) for at in flat],
    )
    return Branch(*(np.array(values, np.int64) for values in columns), placed)


@pytest.mark.parametrize("options", [{}, {"share_prefix": False}, {"row_tokens": 40}, {"row_tokens": 20}])
def test_every_dialogue_can_be_read_back_from_the_rows(options: dict[str, int]) -> None:
    rng = np.random.default_rng(7)
    examples = []
    for number in range(6):
        start = "s##" + "".join(rng.choice(list("ab"), rng.integers(0, 6)))
        asks = ["".join(rng.choice(list("abc"), rng.integers(1, 5))) for _ in range(rng.integers(1, 4))]
        said = ["".join(rng.choice(list("AB*"), rng.integers(0, 5))) for _ in asks]
        branches = [branch(f"{start}{ask}{answer}") for ask, answer in zip(asks, said, strict=True)]
        examples.append(example(*branches, key=f"e{number}"))
    batch = collate(examples, **options)
    wanted = [(n, k, one) for n, ex in enumerate(examples) for k, one in enumerate(ex.branches)]
    for laid, (number, k, one) in zip(batch.laid, wanted, strict=True):
        got = dialogue_of(batch, laid, k)
        assert laid.example == number
        assert got.ids.tolist() == one.ids.tolist()
        assert got.labels.tolist() == one.labels.tolist()
        assert got.frame.tolist() == np.where(one.frame < 0, -1, one.frame + number).tolist()
        assert got.patch.tolist() == one.patch.tolist()
        assert [(p.slot.target, p.place) for p in got.slots] == [(p.slot.target, p.place) for p in one.slots]


def test_jobs_are_sorted_by_frame_and_masks_follow_them() -> None:
    video = example(
        branch("s##a*", target=2, frames=(1, 0)), branch("s##b**", frames=(1,)), key="video", drawn=2
    )
    words = example(branch("sQ"), key="words")
    words = replace(words, ignore=np.ones((1, SIDE + 1, SIDE - 1), np.bool_))
    batch = collate([words, video])
    assert batch.slots == (
        Bound("*", 1, 0, target=2, row=1, place=4, frames=(2, 1)),
        Bound("*", 1, 1, target=0, row=1, place=6, frames=(2,)),
        Bound("*", 1, 1, target=1, row=1, place=7, frames=(2,)),
    )
    width = batch.ids.shape[1]
    assert batch.slot_at.tolist() == [width + 4, width + 6, width + 7]
    assert batch.jobs == ((0, 1), (0, 2), (1, 2), (2, 2))
    assert batch.job_slot.tolist() == [0, 0, 1, 2]
    assert batch.job_frame.tolist() == [1, 2, 2, 2]
    assert [len(mask) for mask in batch.masks] == [0, 1, 3]
    assert (batch.masks[1].numpy() == video.masks[[2], 0]).all()
    assert (batch.masks[2].numpy() == video.masks[[2, 0, 1], 1]).all()
    assert batch.ignore[0] is not None and batch.ignore[1:] == (None, None)
    assert batch.frame_example == (0, 1, 1)
    assert batch.sizes == ((SIDE + 1, SIDE - 1),) * 3 and batch.resized == ((SIDE, SIDE - 2),) * 3


def test_a_batch_without_slots_has_empty_indices_of_the_right_type() -> None:
    batch = collate([example(branch("sQ"), key="words", seen=0, drawn=0)])
    for name in ("slot_at", "job_slot", "job_frame", "image_at", "image_frame", "image_patch"):
        assert getattr(batch, name).dtype == torch.int64 and getattr(batch, name).shape == (0,)
    assert batch.masks == () and batch.vision.shape == (0, 3, 4, 4)


@pytest.mark.parametrize(
    "bad, message",
    [
        (example(branch("s*", target=4), key="k"), r"k: Slot\(token='\*', target=4.*there are 4 targets"),
        (example(branch("s*", frames=(1,)), key="k"), r"k: Slot.*masks in 1 frames"),
        (example(branch("s%Q"), key="k"), "k: shows frame 1, but there are 1 frames"),
        (example(branch("Qs"), key="k"), "k: a dialogue that is empty or trains its first token"),
        (example(key="k"), "k: no dialogue"),
        (
            replace(example(branch("sQ"), key="k"), masks=np.zeros((1, 2, 9, 7), np.bool_)),
            "k: masks for 2 frames",
        ),
    ],
)
def test_an_example_that_asks_for_what_it_has_not_is_named(bad: Example, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        collate([bad])


def test_contradicting_or_empty_requests_are_errors() -> None:
    with pytest.raises(ValueError, match="row_tokens=9 packs rows, share_prefix=False"):
        collate([ONE], share_prefix=False, row_tokens=9)
    with pytest.raises(ValueError, match="no examples"):
        collate([])
