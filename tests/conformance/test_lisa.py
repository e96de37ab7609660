"""LISA's own forward values, losses, gradients, generated ids and masks, at tiny size, against ours."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from peft.tuners.lora import LoraLayer

from seglm.dataset.collate import collate
from seglm.model.generate import generate
from seglm.model.names import module_name
from seglm.model.released.lisa import lisa_names
from tests.conformance.checks import check_forward, check_training
from tests.conformance.goldens import assert_close, cases, each, facts, tensors
from tests.conformance.lisa_golden import Golden, examples, load, original_gradients
from tests.conformance.lost_head import restore_head
from tests.drawing import answer, forced, masks

FAMILY = "lisa"
CASES = cases(FAMILY)
TRAINING = [case for case in CASES if (facts(FAMILY, case, "io.json").get("losses"))]
GENERATED = [case for case in CASES if "max_new_tokens" in facts(FAMILY, case, "io.json")]
FORCED = [case for case in CASES if case not in TRAINING and case not in GENERATED]


@cache
def golden(case: str) -> Golden:
    said = load(FAMILY, case, facts(FAMILY, case, "io.json"))
    if case in TRAINING:
        batch = collate(examples(said), share_prefix=False)
        restore_head(said.model, batch, said.io["out.logits_tail"], original_gradients(FAMILY, case, said))
    return said


@each("case", TRAINING)
@pytest.mark.parametrize("share_prefix", [False, True])
def test_losses_and_every_gradient_are_the_original_ones(case: str, share_prefix: bool) -> None:
    said = golden(case)
    check_training(said, original_gradients(FAMILY, case, said), share_prefix=share_prefix)


@each("case", TRAINING + FORCED)
def test_every_forward_value_is_the_original_one(case: str) -> None:
    check_forward(golden(case))


@each("case", FORCED)
def test_forced_masks_are_the_original_ones(case: str) -> None:
    said = golden(case)
    answers = forced(said.model.eval(), collate(examples(said)))
    assert_close(torch.cat([masks(given) for given in answers]), said.io["out.pred_masks.0"], "pred_masks")


@each("case", GENERATED)
def test_generated_ids_and_masks_are_the_original_ones(case: str) -> None:
    said = golden(case)
    batch = collate(examples(said, is_open=True))
    [given] = answer(said.model.eval(), batch, max_new_tokens=said.about["max_new_tokens"])
    prompt = said.io["in.input_ids"][0].tolist()
    assert prompt + list(given.spoken.ids) == said.io["out.output_ids"][0].tolist()
    assert_close(masks(given), said.io["out.pred_masks.0"], "pred_masks")
    assert given.scores == pytest.approx(said.io["out.iou_pred.0"].flatten().tolist(), abs=1e-4)
    [written] = generate(said.model, batch, max_new_tokens=said.about["max_new_tokens"])
    states = torch.stack(written.states)
    slots = [place for place, token in enumerate(written.ids) if token == said.ids["SEG"]]
    assert_close(
        said.model.backbone.head(states[: len(written.ids)]), said.io["out.step_logits"], "step_logits"
    )
    assert_close(states[slots], said.io["out.seg_hidden_state"], "seg_hidden_state")
    assert_close(said.model.queries(states[slots]), said.io["out.pred_embeddings"], "pred_embeddings")


@each("case", [case for case in CASES if case in set(cases(FAMILY, having="merged.safetensors"))])
def test_merged_adapters_are_the_original_merged_weights(case: str) -> None:
    said = golden(case)
    wanted = lisa_names(tensors(FAMILY, case, "merged.safetensors"), source=case)
    for name, want in wanted.items():
        inside, _, leaf = module_name(name, said.model).removesuffix(".base_layer.weight").rpartition(".")
        module = said.model.get_submodule(f"{inside}.{leaf}" if leaf.endswith("_proj") else inside)
        if isinstance(module, LoraLayer):
            got = module.get_base_layer().weight + module.get_delta_weight("default")  # type: ignore[operator]
        else:
            got = said.model.get_parameter(module_name(name, said.model))
        assert_close(got, want, name)
