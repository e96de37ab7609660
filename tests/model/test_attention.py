"""Who may look at whom in a row that holds several dialogues."""

from __future__ import annotations

import pytest
import torch

from seglm.model.attention import allowed, as_mask, flex_mask

#           two examples and one padding token: prefix "ab", branches "cd" and "e"; then "fg", alone
GROUP = torch.tensor([[0, 0, 0, 0, 0, 1, 1, -1]])
BRANCH = torch.tensor([[0, 0, 1, 1, 2, 1, 1, 0]])
POSITIONS = torch.tensor([[0, 1, 2, 3, 2, 0, 1, 0]])
WANT = [
    # abcdefg.
    "#.......",  # a
    "##......",  # b
    "###.....",  # c
    "####....",  # d
    "##..#...",  # e sees the prefix, not the other branch
    ".....#..",  # f sees nothing of the other example
    ".....##.",  # g
    ".......#",  # padding sees itself, so that no softmax is empty
]


def picture(mask: torch.Tensor) -> list[str]:
    return ["".join("#" if seen else "." for seen in row) for row in mask.tolist()]


def test_a_token_sees_its_prefix_and_its_own_branch() -> None:
    mask = allowed(GROUP, BRANCH, POSITIONS)
    assert mask.shape == (1, 1, 8, 8) and mask.dtype == torch.bool
    assert picture(mask[0, 0]) == WANT


@pytest.mark.parametrize("queries", [1, 3, 8])
def test_the_last_queries_alone_see_the_same(queries: int) -> None:
    mask = allowed(GROUP, BRANCH, POSITIONS, queries=queries)
    assert picture(mask[0, 0]) == WANT[-queries:]


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4, 5, 6, 7], [6, 4, 1, 0, 7, 3, 2, 5]])
def test_the_rule_does_not_depend_on_the_layout_of_the_row(order: list[int]) -> None:
    columns = torch.tensor(order)
    moved = allowed(GROUP[:, columns], BRANCH[:, columns], POSITIONS[:, columns])[0, 0]
    assert torch.equal(moved, allowed(GROUP, BRANCH, POSITIONS)[0, 0][columns][:, columns])


def test_flex_attention_follows_the_same_rule() -> None:
    from torch.nn.attention.flex_attention import create_mask

    rows = [torch.cat([values, values.flip(1)]) for values in (GROUP, BRANCH, POSITIONS)]
    blocks = flex_mask(*rows, block=4)
    dense = create_mask(blocks.mask_mod, 2, 1, 8, 8, device="cpu")
    assert torch.equal(dense, allowed(*rows))
    kept = blocks.to_dense().bool()[0, 0]  # 2 x 2 blocks of 4 tokens: the upper right one holds nothing
    assert kept.tolist() == [[True, False], [True, True]]


def test_eager_attention_gets_the_lowest_number_where_nothing_may_be_seen() -> None:
    free = allowed(GROUP, BRANCH, POSITIONS)
    mask = as_mask(free, implementation="eager", dtype=torch.float32)
    assert torch.equal(mask == 0, free)
    assert torch.equal(mask == torch.finfo(torch.float32).min, ~free)
    assert as_mask(free, implementation="sdpa", dtype=torch.float32) is free
