"""Two calls of SDPA for rows of prefixes and dialogues, beside one call under the mask of the whole row."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from seglm.dataset.collate import collate
from seglm.model import prefix_attention
from seglm.model.attention import added, allowed
from seglm.model.build import build
from seglm.model.generate import generate
from seglm.model.prefix_attention import attend, how_to_attend, plan
from seglm.utils.batch import Batch
from seglm.utils.types import IGNORE_LABEL, Branch, Example
from tests.model.layouts import write_phi3_bases
from tests.tiny import tiny_example, tiny_model, tiny_prompt

ASKED = [
    tiny_example(("It is {}.", "Sure, it is {}.", "It is {}, I think."), seed=1),
    tiny_example(("It is {}.",), seed=2),
]


def batch_of(*shares: tuple[int, ...], row_tokens: int | None = None) -> Batch:
    """An example for each tuple: the length of its prefix, and what each of its dialogues says behind it."""
    examples = []
    for prefix, *owns in shares:
        branches = []
        for number, own in enumerate(owns):
            ids = np.concatenate([np.arange(prefix), 100 * (number + 1) + np.arange(own)])
            nothing = np.full(len(ids), -1)
            branches.append(Branch(ids, np.full(len(ids), IGNORE_LABEL), nothing, nothing))
        vision = np.zeros((0, 3, 8, 8), np.uint8)
        examples.append(
            Example(
                key="e",
                size=(8, 8),
                branches=tuple(branches),
                vision=vision,
                drawn=(),
                resized=(8, 8),
                masks=np.zeros((0, 0, 8, 8), np.bool_),
            )
        )
    return collate(examples, row_tokens=row_tokens)


LAYOUTS = {
    "one dialogue": batch_of((0, 7)),
    "dialogues alone, of other lengths": batch_of((0, 7), (0, 3)),
    "behind prefixes": batch_of((5, 2, 3, 1), (2, 4, 4)),
    "some alone, some not, packed": batch_of((5, 2, 3), (0, 4), (1, 6, 2), (0, 1), row_tokens=14),
}


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("window", [None, 3, 50])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_answers_and_gradients_are_those_of_the_mask(layout: str, window: int | None, device: str) -> None:
    batch = LAYOUTS[layout].to(device)
    rows, length = batch.ids.shape
    made = torch.Generator().manual_seed(0)
    query, key, value = (
        torch.randn((rows, heads, length, 8), generator=made).to(device).requires_grad_()
        for heads in (4, 2, 2)
    )
    module = SimpleNamespace(num_key_value_groups=2, is_causal=True)
    mask = added(allowed(batch.group, batch.branch, batch.positions, window=window), torch.float32)
    real = batch.group >= 0
    found = []
    for prefix_plan in (None, plan(batch.laid, batch.positions, torch.float32, window=window)):
        out, _ = attend(module, query, key, value, mask, prefix_plan=prefix_plan)  # type: ignore[arg-type]
        gradients = torch.autograd.grad(out[real].square().sum(), (query, key, value))
        found.append((out[real], *gradients))
    for got, want in zip(found[1], found[0], strict=True):
        torch.testing.assert_close(got, want)


def test_no_dialogue_is_held_against_another() -> None:
    """Two rows: one prefix of 5 with dialogues of 2, 3 and 1 behind it, one of 2 with 4 and 4."""
    made = plan(LAYOUTS["behind prefixes"].laid, LAYOUTS["behind prefixes"].positions, torch.float32)
    assert made.alone.tolist() == [[0, 1, 2, 3, 4], [11, 12, 12, 12, 12]] and made.alone_mask is None
    assert made.asking.tolist()[1:4] == [[7, 8, 9, 9], [10, 10, 10, 10], [13, 14, 15, 16]]
    assert made.seen.tolist()[3] == [11, 12, 13, 14, 15, 16, 16, 16]
    assert made.seen_mask[3, 0].eq(0).int().tolist() == [
        [1, 1, 1, 0, 0, 0, 0, 0],
        [1, 1, 1, 1, 0, 0, 0, 0],
        [1, 1, 1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 1, 1, 0, 0],
    ]
    assert made.back.tolist()[:11] == [0, 1, 2, 3, 4, 10, 11, 14, 15, 16, 18]


@pytest.mark.parametrize("long", [0, 10_000])
def test_short_rows_keep_their_mask(long: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefix_attention, "LONG", long)
    how = how_to_attend(collate(ASKED), implementation="prefix", dtype=torch.float32)
    assert set(how) == ({"attention_mask", "prefix_plan"} if long == 0 else {"attention_mask"})
    assert (how["attention_mask"] is None) == (long == 0)


def test_states_and_what_is_written_are_those_of_sdpa(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefix_attention, "LONG", 0)
    model = tiny_model().eval()
    batch, prompts = collate(ASKED), collate([tiny_prompt(("Where is it?", "What is this thing?"))])
    found = []
    for name in ("sdpa", "prefix"):
        model.backbone.llm.config._attn_implementation = name
        with torch.no_grad():
            states = model.backbone.hidden(batch)[batch.group >= 0]
        found.append((states, [one.ids for one in generate(model, prompts, max_new_tokens=4)]))
    torch.testing.assert_close(found[1][0], found[0][0])
    assert found[1][1] == found[0][1]


@pytest.mark.parametrize("window", [None, 3])
def test_fused_layers_and_a_window_say_what_they_say_under_a_mask(
    window: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefix_attention, "LONG", 0)
    model = build(write_phi3_bases(tmp_path, window=window)).model
    assert model.backbone.window == window
    batch = LAYOUTS["some alone, some not, packed"]
    states = []
    for name in ("sdpa", "prefix"):
        model.backbone.llm.config._attn_implementation = name
        with torch.no_grad():
            states.append(model.backbone.hidden(batch)[batch.group >= 0])
    torch.testing.assert_close(states[1], states[0])
