"""Merged adapters are peft 0.4's own, on the originals' tensors."""

from __future__ import annotations

import pytest

from seglm.model.merge import merged
from seglm.model.released.lisa import lisa_names
from tests.conformance.goldens import assert_close, cases, facts, tensors
from tests.conformance.lisa_golden import load

FAMILY = "lisa"


@pytest.mark.parametrize("case", cases(FAMILY, having="merged.safetensors"))
def test_merged_weights_are_the_originals(case: str) -> None:
    model = load(FAMILY, case, facts(FAMILY, case, "io.json")).model
    ours = merged(model, model.recipe.trainable.lora)
    wanted = lisa_names(tensors(FAMILY, case, "merged.safetensors"), source=case)
    assert wanted
    for name, value in wanted.items():
        assert_close(ours[name], value, name)
    assert not any(".lora_" in name for name in ours)
