"""The contrast of objects and its bank, by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from seglm.dataset.collate import collate
from seglm.dataset.subjects import subject
from seglm.model.contrast import Bank, Contrast, drawn
from seglm.model.names import names
from seglm.utils.types import Target
from tests.tiny import tiny_example, tiny_model, tiny_recipe

# video, expression, frame, things, bits
ROWS = torch.tensor(
    [
        [1, 1, 0, 7, 0b01],  # 0: the slot's own
        [1, 2, 0, 7, 0b01],  # 1: the same thing, same frame, other words
        [1, 2, 4, 7, 0b01],  # 2: the same thing in another frame
        [1, 3, 0, 8, 0b11],  # 3: the same thing and another one
        [1, 4, 0, 9, 0b10],  # 4: another thing of the video
        [2, 5, 0, 7, 0b01],  # 5: another video
        [0, 0, 0, 0, 0],  # 6: an empty place
    ]
)


@pytest.mark.parametrize(("released", "negatives"), [(True, [2, 3, 4, 5]), (False, [4, 5])])
def test_who_is_pulled_and_who_is_pushed(released: bool, negatives: list[int]) -> None:
    positive, negative = Contrast(0.1, false_negatives=released).pairs(ROWS[:1], ROWS)
    assert positive[0].nonzero()[:, 0].tolist() == [1]
    assert negative[0].nonzero()[:, 0].tolist() == negatives


def test_a_bank_keeps_the_last_ones_in_order_and_no_row_without_a_video() -> None:
    bank = Bank(4, 1)
    for first in (1, 4):
        about = torch.zeros(3, 5, dtype=torch.int64)
        about[:2, 0] = torch.arange(first, first + 2)
        bank.push(torch.arange(first, first + 3.0)[:, None], about)
    assert bank.about[:, 0].tolist() == [1, 2, 4, 5] and bank.vectors[:, 0].tolist() == [1, 2, 4, 5]
    bank.push(torch.arange(6.0)[:, None], torch.ones(6, 5, dtype=torch.int64))  # more than it holds
    assert bank.vectors[:, 0].tolist() == [2, 3, 4, 5]


def test_draws_are_of_the_mask_and_nothing_breaks_where_it_is_empty() -> None:
    mask = torch.tensor([[False, True, False, True], [False] * 4])
    found = drawn(mask, 200)
    assert set(found[0].tolist()) == {1, 3} and found.shape == (2, 200)


def test_things_are_told_apart_and_their_order_is_not() -> None:
    def of(key: str, *objects: str) -> tuple[int, int, int]:
        return subject(Target((key,), lambda frames: np.zeros((1, 1, 1), np.bool_), key=key, objects=objects))

    assert of("a", "1", "2")[1:] == of("b", "2", "1")[1:] and of("a", "1", "2")[2] == 0b110
    assert of("a", "1")[0] != of("b", "1")[0] and of("a", "1")[1] != of("a", "1", "2")[1]
    assert of("a")[1:] == (0, 0)


def test_a_batch_without_slots_of_these_sets_touches_the_same_weights_and_loses_nothing() -> None:
    base = tiny_recipe()
    model = tiny_model(replace(base, terms=(*base.terms, Contrast(0.1, negatives=1))))
    for key in ("talk|train/1", "mevis|train/1"):
        model.zero_grad()
        output = model.train()(collate([tiny_example(("It is {}.", "It is {}."), key=key)]))
        output.loss.backward()
        assert output.parts["contrast"].sum == 0 and output.parts["contrast"].count == 1
        grads = {name: p.grad is not None for name, p in model.named_parameters() if p.requires_grad}
        assert all(grads.values())


def test_two_expressions_about_one_thing_are_pulled_together() -> None:
    base = tiny_recipe()
    model = tiny_model(replace(base, terms=(Contrast(1.0, negatives=2, tau=1.0),)))
    example = tiny_example(("It is {}.", "It is {}.", "It is {}."), key="mevis|train/1")
    subjects = np.array([[1, 7, 1], [2, 7, 1], [3, 8, 2]])
    batch = collate([replace(example, frames=(5,), subjects=subjects)])
    assert batch.about[:, 1:].tolist() == [[1, 5, 7, 1], [2, 5, 7, 1], [3, 5, 8, 2]]
    bank = model.banks["contrast"]
    assert isinstance(bank, Bank)
    output = model.train()(batch)
    assert output.parts["contrast"].sum == 0  # one negative is not enough
    output = model(batch)  # what it says a second time stands in the bank twice
    assert output.parts["contrast"].sum > 0
    kept = set(model.state_dict())
    assert int((bank.about[:, 0] != 0).sum()) == 6
    assert kept - set(names(model).values()) == {"banks.contrast.vectors", "banks.contrast.about"}  # a run's
