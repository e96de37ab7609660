"""The LLM in 8 and 4 bit: which layers, and that answers stay."""

from __future__ import annotations

import sys
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from torch import nn

from seglm.evaluation.asking.ask import asker
from seglm.evaluation.scores.first_mask import mask_of
from seglm.model.quantize import Bits, bits_of, quantize
from seglm.model.segmenter import Segmenter
from seglm.model.settings import Lora
from tests.evaluation.fakes import BENCHMARK, FakeSource
from tests.tiny import tiny_model, tiny_recipe


def plain_model() -> Segmenter:
    """As after merging: no adapters."""
    recipe = tiny_recipe()
    return tiny_model(replace(recipe, trainable=replace(recipe.trainable, lora=Lora(r=0))))


class Small(nn.Linear):
    """Stands for bitsandbytes' layers where the library is not installed."""

    def __init__(self, rows: int, columns: int, bias: bool, **settings: object) -> None:
        super().__init__(rows, columns, bias)
        self.settings = settings


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    library: Any = ModuleType("bitsandbytes")
    library.nn = ModuleType("bitsandbytes.nn")
    for name in ("Linear8bitLt", "Linear4bit"):
        setattr(library.nn, name, type(name, (Small,), {}))
    library.nn.Int8Params = library.nn.Params4bit = lambda weight, requires_grad, **_: nn.Parameter(
        weight, requires_grad
    )
    monkeypatch.setitem(sys.modules, "bitsandbytes", library)


@pytest.mark.parametrize("bits, done", [("8bit", "14 of 14"), ("4bit", "2 of 14")])
def test_only_linear_layers_of_the_llm_s_blocks_change(stand_in: None, bits: Bits, done: str) -> None:
    model = plain_model()
    assert bits_of(model) is None
    assert quantize(model, bits).startswith(
        f"{done} linear layers of the LLM"
    )  # rows of 32 have no whole block of 64
    assert bits_of(model) == bits
    small = [name for name, module in model.named_modules() if isinstance(module, Small)]
    assert small and all(name.startswith("backbone.llm.model.layers.") for name in small)
    assert type(model.backbone.llm.lm_head) is nn.Linear


def test_a_model_with_adapters_is_refused(request: pytest.FixtureRequest) -> None:
    model = tiny_model()  # first: peft looks for the real library
    request.getfixturevalue("stand_in")
    with pytest.raises(ValueError, match="8 and 4 bit are for a merged model"):
        quantize(model, "8bit")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("bits, agreement", [("8bit", 0.97), ("4bit", 0.8)])
def test_masks_of_a_small_model_stay(bits: Bits, agreement: float) -> None:
    pytest.importorskip("bitsandbytes", reason="needs bitsandbytes: pip install bitsandbytes")
    sample = BENCHMARK.select(FakeSource(1)).sample(0)
    masks = []
    for wanted in (None, bits):
        model = plain_model()
        if wanted:
            quantize(model, wanted)
            model.to("cpu")
        [drawn] = asker(model, protocol="forced", max_new_tokens=1)([sample])
        masks.append(np.stack([mask_of(answer, sample.size) for answer in drawn.answers]))
    assert (masks[0] == masks[1]).mean() > agreement
