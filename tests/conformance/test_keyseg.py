"""KeySeg's released code at tiny size against `fusion.kind=faithful`: the fusion alone, training, and generation."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import Tensor

from seglm.dataset.collate import collate
from seglm.model.key_fusion import KeyFusion, KeyFusionModule
from tests.conformance.checks import check_forward, check_training
from tests.conformance.goldens import GRADIENT_RELATIVE, assert_close, cases, each, facts, tensors
from tests.conformance.lisa_golden import Golden, examples, load, original_gradients
from tests.drawing import answer, masks

FAMILY = "keyseg"
CASES = cases(FAMILY)
FUSIONS = [case for case in CASES if case.startswith("fusion")]
TRAINING = [case for case in CASES if facts(FAMILY, case, "io.json").get("losses")]
GENERATED = [case for case in CASES if "new_tokens" in facts(FAMILY, case, "io.json")]
BF16 = 2e-2  # tolerance of the goldens' README
UNWEIGHTED = ("bce", "dice")


@cache
def golden(case: str) -> Golden:
    """The released recipe with every weight of the fusion trained, as in the case."""
    said = load(FAMILY, case, facts(FAMILY, case, "io.json"))
    assert said.model.fuse is not None
    said.model.fuse.requires_grad_(True)
    return said


def fusion(case: str, dtype: torch.dtype) -> KeyFusionModule:
    weights = tensors(FAMILY, "fusion_weights", "model.safetensors")
    width, hidden = weights["query_proj.weight"].shape[1], weights["query_proj.weight"].shape[0]
    rows = facts(FAMILY, "fusion_weights", "model.json")["upsample_size"]
    kind = KeyFusion(kind="faithful", hidden=hidden, rows=rows)
    module = KeyFusionModule(kind, tokens=("[SEG]", "[KEY]"), width=width, hidden=1)
    table = {name: value for name, value in module.state_dict().items() if name.startswith("embedding_table")}
    module.load_state_dict({**weights, **table})
    return module.to(dtype)


def test_every_case_is_checked() -> None:
    assert set(FUSIONS) | set(TRAINING) | set(GENERATED) == set(CASES)


@each("case", FUSIONS)
def test_the_fusion_is_the_original_one(case: str) -> None:
    io = tensors(FAMILY, case, "io.safetensors")
    dtype = io["in.seg.0"].dtype
    module = fusion(case, dtype)
    total = torch.zeros(())
    inputs: dict[str, Tensor] = {}
    for number in range(sum(name.startswith("in.seg.") for name in io)):
        seg, key = (io[f"in.{name}.{number}"].clone().requires_grad_() for name in ("seg", "key"))
        inputs |= {f"grad.seg.{number}": seg, f"grad.key.{number}": key}
        fused = module.fused(seg, key)
        want = io[f"out.fused.{number}"]
        if dtype == torch.bfloat16:
            torch.testing.assert_close(fused.float(), want.float(), atol=BF16, rtol=BF16)
            continue
        assert_close(fused, want, f"fused {number}")
        total = total + (fused * io[f"in.loss_weight.{number}"]).sum()
    if dtype == torch.float32:
        total.backward()
        trained = {f"grad.{name}": parameter for name, parameter in module.named_parameters()}
        for name, want in io.items():
            if name.startswith("grad."):
                grad = (inputs | trained)[name].grad
                got = torch.zeros_like(want) if grad is None else grad
                assert_close(got, want, name, rtol=GRADIENT_RELATIVE)


@each("case", TRAINING)
@pytest.mark.parametrize("share_prefix", [False, True])
def test_losses_and_every_gradient_are_the_original_ones(case: str, share_prefix: bool) -> None:
    said = golden(case)
    wanted = original_gradients(FAMILY, case, said)
    check_training(said, wanted, share_prefix=share_prefix, unweighted=UNWEIGHTED)


@each("case", TRAINING)
def test_every_forward_value_is_the_original_one(case: str) -> None:
    check_forward(golden(case))


@each("case", GENERATED)
def test_generated_ids_and_masks_are_the_original_ones(case: str) -> None:
    said = golden(case)
    batch = collate(examples(said, is_open=True))
    [given] = answer(said.model.eval(), batch, max_new_tokens=32)
    prompt = said.io["in.input_ids"][0].tolist()
    assert prompt + list(given.spoken.ids) == said.io["out.output_ids"][0].tolist()
    assert_close(masks(given), said.io["out.pred_masks.0"], "pred_masks")
    words = " ".join(str(number) for number in said.about["new_tokens"]).partition(f" {said.ids['KEY']} ")[2]
    assert given.spoken.tokens == ("[SEG]",) and given.spoken.keywords == (words,)
