"""KeySeg's fusion, both ways: what the released code cannot do is pinned, what the drawn one must do is proven."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from seglm.model.fusion import paired
from seglm.model.key_fusion import KeyFusion, KeyFusionModule

WIDTH, HIDDEN = 16, 24
SEG, KEY = "[SEG]", "[KEY]"


@dataclass(frozen=True)
class Said:
    token: str
    example: int = 0
    branch: int = 0


def fusion(kind: str, *, seed: int = 0) -> KeyFusionModule:
    torch.manual_seed(seed)
    module = KeyFusionModule(
        KeyFusion(kind=kind, hidden=32),  # type: ignore[arg-type]
        tokens=(SEG, KEY),
        width=WIDTH,
        hidden=HIDDEN,
    )
    if kind == "paper":  # as after some training: nothing is zero any more
        for parameter in module.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    return module


def rows(count: int, *, seed: int = 1) -> Tensor:
    return torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(seed))


def influence(module: KeyFusionModule, slots: list[Said], *, of: int, on: int) -> float:
    """Largest gradient of row `on` of the output by row `of` of the input."""
    queries = rows(len(slots)).requires_grad_()
    module(queries, slots)[on].sum().backward()
    assert queries.grad is not None
    return float(queries.grad[of].abs().max())


def test_as_released_a_single_seg_has_no_influence_on_its_own_mask() -> None:
    slots = [Said(SEG), Said(KEY)]
    assert influence(fusion("faithful"), slots, of=0, on=0) == 0
    assert influence(fusion("faithful"), slots, of=1, on=0) > 0


def test_as_released_the_expressions_of_an_image_get_almost_the_same_prompt() -> None:
    slots = [Said(token, branch=branch) for branch in range(3) for token in (SEG, KEY)]
    fused = fusion("faithful")(rows(6), slots)[[0, 2, 4]]
    assert float((fused - fused.mean(0)).norm() / fused.norm()) < 0.01


def test_as_drawn_a_seg_takes_in_its_own_key_and_no_other() -> None:
    slots = [Said(token, branch=branch) for branch in range(2) for token in (SEG, KEY)]
    module = fusion("paper")
    assert influence(module, slots, of=0, on=0) > 0 and influence(module, slots, of=1, on=0) > 0
    assert influence(module, slots, of=2, on=0) == 0 and influence(module, slots, of=3, on=0) == 0


def test_as_drawn_it_starts_as_what_it_was_given() -> None:
    module = KeyFusionModule(
        KeyFusion(kind="paper", hidden=32), tokens=(SEG, KEY), width=WIDTH, hidden=HIDDEN
    )
    queries = rows(4)
    assert torch.equal(module(queries, [Said(SEG), Said(KEY), Said(SEG, 1), Said(KEY, 1)]), queries)


@pytest.mark.parametrize("kind", ["paper", "faithful"])
def test_images_do_not_know_of_each_other(kind: str) -> None:
    module, queries = fusion(kind), rows(4)
    slots = [Said(SEG), Said(KEY), Said(SEG, 1), Said(KEY, 1)]
    together = module(queries, slots)
    apart = torch.cat([module(queries[:2], slots[:2]), module(queries[2:], slots[2:])])
    torch.testing.assert_close(together, apart)


@pytest.mark.parametrize("kind", ["paper", "faithful"])
def test_a_seg_without_a_key_is_still_fused(kind: str) -> None:
    assert fusion(kind)(rows(1), [Said(SEG)]).isfinite().all()


@pytest.mark.parametrize("kind", ["paper", "faithful"])
def test_without_slots_every_weight_still_takes_part(kind: str) -> None:
    module = fusion(kind)
    queries = rows(1)
    (module(queries, []).sum() + module.keyword_logits(queries, torch.randn(5, HIDDEN)).sum()).backward()
    unused = {"faithful": ("norm1", "norm2", "mlp"), "paper": ()}[kind]
    absent = {name.split(".")[0] for name, weight in module.named_parameters() if weight.grad is None}
    assert absent == set(unused)


def test_the_keyword_logits_are_cosines_over_the_temperature() -> None:
    module, keys, table = fusion("paper"), rows(2), torch.randn(5, HIDDEN)
    words = module.embedding_table_proj(table)
    want = torch.cosine_similarity(keys[:, None], words[None], dim=-1) / 0.07
    torch.testing.assert_close(module.keyword_logits(keys, table), want)


def test_a_word_of_zeros_leaves_the_others_their_part_of_a_clipped_step() -> None:
    module, keys, table = fusion("faithful"), rows(2), torch.randn(5, HIDDEN)
    table[0] = 0  # the released projection has no bias to begin with
    table.requires_grad_()
    module.keyword_logits(keys, table).square().sum().backward()
    assert table.grad is not None
    assert table.grad[0].norm() == 0 and (table.grad[1:].norm(dim=1) > 0).all()


@pytest.mark.parametrize(
    "said, want",
    [
        ("SK", [1, None]),
        ("SKSK", [1, None, 3, None]),
        ("SSK", [None, 2, None]),
        ("KS", [None, None]),
        ("SKK", [1, None, None]),
    ],
)
def test_a_key_belongs_to_the_seg_right_before_it(said: str, want: list[int | None]) -> None:
    slots = [Said({"S": SEG, "K": KEY}[letter]) for letter in said]
    assert paired(slots, draws=SEG, keys=KEY) == want


def test_a_key_of_another_dialogue_is_nobodys() -> None:
    assert paired([Said(SEG), Said(KEY, branch=1)], draws=SEG, keys=KEY) == [None, None]
