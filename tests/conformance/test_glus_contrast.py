"""GLUS's contrast of objects: the original's loss of a slot, and of a batch against a bank that it drew from."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from seglm.dataset.collate import collate
from seglm.model import contrast
from seglm.model.contrast import Bank, loss_of
from tests.conformance.checks import LOSS_NAMES
from tests.conformance.glus_golden import FAMILY, clips, golden, released
from tests.conformance.goldens import (
    GRADIENT_RELATIVE,
    LOSS_RELATIVE,
    assert_close,
    cases,
    each,
    facts,
    tensors,
)

ALONE = [case for case in cases(FAMILY) if "in.negative_pool" in tensors(FAMILY, case, "io.safetensors")]
IN_TRAINING = [case for case in cases(FAMILY) if "in.bank_prefill" in tensors(FAMILY, case, "io.safetensors")]
# (video, expression, things) of the five expressions that the goldens' banks speak of: two are about the same
EXPRESSIONS = ((1, 1, 1), (1, 2, 1), (1, 3, 2), (2, 4, 3), (2, 5, 4))
IN_BATCH = ((0, 3), (2, 3), (3, 0))
"""of each dialogue of the batch: which of these expressions, and the first of its frames"""


def told(expression: int, frame: int) -> list[int]:
    """A row of `Batch.about`."""
    video, number, things = EXPRESSIONS[expression]
    return [video, number, frame, things, 1 << things]


def prefilled(count: int) -> Tensor:
    """What is known of the bank's first entries: expression by expression, then the next of ten frames."""
    rows = [told(entry % 5, entry // 5 % 10) for entry in range(count)]
    return torch.tensor(rows)


@each("case", ALONE)
def test_the_loss_of_a_slot_and_its_gradient_are_the_original_ones(case: str) -> None:
    io, about = tensors(FAMILY, case, "io.safetensors"), facts(FAMILY, case, "io.json")
    slot = io["in.token"][None].requires_grad_()
    loss = loss_of(slot, torch.cat([io["in.positive"][None], io["in.negatives"]])[None], about["tau"])
    assert loss.item() == pytest.approx(io["out.loss"].item(), rel=LOSS_RELATIVE)
    (gradient,) = torch.autograd.grad(loss.sum(), slot)
    assert_close(gradient[0], io["grad.token"], "gradient of the slot", rtol=GRADIENT_RELATIVE)


@each("case", ALONE)
def test_the_pools_of_a_slot_are_the_original_ones(case: str) -> None:
    io = tensors(FAMILY, case, "io.safetensors")
    bank = io["in.bank"]
    term = contrast.Contrast(0.1, false_negatives=True)
    positive, negative = term.pairs(torch.tensor([told(0, 3)]), prefilled(len(bank)))
    assert torch.equal(bank[positive[0]], io["in.positive_pool"])
    assert torch.equal(bank[negative[0]], io["in.negative_pool"])
    fewer = replace(term, false_negatives=False).pairs(torch.tensor([told(0, 3)]), prefilled(len(bank)))[1]
    about = prefilled(len(bank))
    dropped = about[negative[0] & ~fewer[0]]
    assert set(map(tuple, dropped[:, [0, 1]].tolist())) == {(1, 2)}  # the same things in other frames
    assert set(dropped[:, 2].tolist()) == set(range(10)) - {3}


@each("case", IN_TRAINING)
def test_a_batch_is_contrasted_with_the_bank_as_the_original_does(
    case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    io, about = tensors(FAMILY, case, "io.safetensors"), facts(FAMILY, case, "io.json")
    said = golden(released(contrast=True))
    bank = said.model.banks["contrast"]
    assert isinstance(bank, Bank)
    bank.push(io["in.bank_prefill"], prefilled(len(io["in.bank_prefill"])))
    rows = [told(expression, first + frame) for expression, first in IN_BATCH for frame in range(3)]
    batch = replace(collate(clips(said)), about=torch.tensor(rows))
    recorded = about["contrastive"]
    choices = {
        1: [[place] for place, _ in recorded["pos_choice_index_and_pool_size"]],
        128: torch.tensor(recorded["neg_indices"]).view(-1, 128).tolist(),
    }

    def as_recorded(mask: Tensor, count: int) -> Tensor:
        """The original's choices, for the slots that have a positive."""
        mine, found = iter(choices[count]), torch.zeros(len(mask), count, dtype=torch.int64)
        for slot in positives:
            found[slot] = mask[slot].nonzero()[:, 0][next(mine)]
        return found

    term = said.model.terms["contrast"]
    assert isinstance(term, contrast.Contrast)
    positives = [
        slot for slot, (expression, _) in enumerate(IN_BATCH) if expression == 0 for slot in range(3)
    ]
    monkeypatch.setattr(contrast, "drawn", as_recorded)
    output = said.model.train()(batch)
    for name, part in output.parts.items():
        value = said.model.terms[name].weight * part.sum.item() / part.count
        assert value == pytest.approx(about["losses"][LOSS_NAMES[name]], rel=LOSS_RELATIVE), name
    assert output.loss.item() == pytest.approx(about["losses"]["loss"], rel=LOSS_RELATIVE)
    output.loss.backward()
    wanted = tensors(FAMILY, case, "grads.safetensors")
    for name, value in wanted.items():
        layer = said.model.project[int(name.split(".")[-2])]
        got = getattr(layer, name.rsplit(".", 1)[1]).grad
        assert_close(got, value, name, rtol=GRADIENT_RELATIVE)
