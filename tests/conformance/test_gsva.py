"""GSVA's own forward values, losses, gradients and both passes of its validation, at tiny size, against ours."""

from __future__ import annotations

from functools import cache

import pytest
import torch

from seglm.dataset.collate import collate
from seglm.utils.types import IMAGE_POSITION
from tests.conformance.checks import check_forward, check_training
from tests.conformance.goldens import assert_close, cases, each, facts
from tests.conformance.lisa_golden import Golden, examples, load, original_gradients
from tests.drawing import forced, masks

FAMILY = "gsva"
CASES = cases(FAMILY)
TRAINING = [case for case in CASES if facts(FAMILY, case, "io.json").get("losses")]
VALIDATION = [case for case in CASES if "pred_seg_rej_sequence" in facts(FAMILY, case, "io.json")]
REEVALUATED = [case for case in VALIDATION if "reeval=True" in facts(FAMILY, case, "io.json")["mode"]]


@cache
def golden(case: str) -> Golden:
    return load(FAMILY, case, facts(FAMILY, case, "io.json"))


def test_every_case_is_checked() -> None:
    assert set(TRAINING) | set(VALIDATION) == set(CASES)


@each("case", TRAINING)
@pytest.mark.parametrize("share_prefix", [False, True])
def test_losses_and_every_gradient_are_the_original_ones(case: str, share_prefix: bool) -> None:
    said = golden(case)
    check_training(said, original_gradients(FAMILY, case, said), share_prefix=share_prefix)


@each("case", TRAINING)
def test_every_forward_value_is_the_original_one(case: str) -> None:
    check_forward(golden(case), by_dialogue=True)


@each("case", VALIDATION)
def test_the_model_rejects_what_the_original_rejects(case: str) -> None:
    said = golden(case)
    batch = collate(examples(said))
    [given] = forced(said.model.eval(), batch)
    ids = [said.model.encoder.token_id(token) for token in given.spoken.tokens]
    assert ids == said.about["pred_seg_rej_sequence"]
    written = batch.ids.flatten().clone()
    written[batch.slot_at] = torch.tensor(ids)
    assert written.where(written != IMAGE_POSITION, 0).tolist() == said.io["out.output_ids.0"].tolist()


@each("case", REEVALUATED)
def test_the_second_pass_draws_every_expression(case: str) -> None:
    said = golden(case)
    [given] = forced(said.model.eval(), collate(examples(said)))
    assert_close(masks(given), said.io["out.pred_masks.0"], "pred_masks")


@each("case", [case for case in VALIDATION if case not in REEVALUATED])
def test_the_first_pass_draws_what_is_there(case: str) -> None:
    said = golden(case)
    model, batch = said.model.eval(), collate(examples(said), share_prefix=False)
    with torch.no_grad():
        states = model.backbone.hidden(batch)
        queries = model.queries(model.slot_states(states.flatten(0, 1), batch))
        low = model.draw(queries, batch, model.features(batch))
    tail = said.io["out.logits_tail"]
    assert_close(model.backbone.head(states)[:, -tail.shape[1] :], tail, "logits_tail")
    assert_close(low, said.io["out.low_res_masks.0"], "low_res_masks")
    assert_close(model.masks_by_frame(low, batch)[0], said.io["out.pred_masks.0"], "pred_masks")
