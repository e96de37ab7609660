"""Who may look at whom in a row that holds several dialogues."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from seglm.dataset.collate import collate
from seglm.model.attention import allowed, any_mask, as_mask, attention_mask, flex_mask
from seglm.model.generate import generate
from seglm.model.segmenter import Segmenter
from tests.tiny import tiny_example, tiny_model, tiny_prompt, tiny_recipe

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


@pytest.mark.parametrize("name", ["eager", "sdpa", "prefix"])
def test_the_lowest_number_is_added_where_nothing_may_be_seen(name: str) -> None:
    free = allowed(GROUP, BRANCH, POSITIONS)
    mask = as_mask(free, implementation=name, dtype=torch.float32)
    assert torch.equal(mask == 0, free)
    assert torch.equal(mask == torch.finfo(torch.float32).min, ~free)


def with_attention(name: str) -> Segmenter:
    recipe = tiny_recipe()
    return tiny_model(replace(recipe, engine=replace(recipe.engine, attention=name)))  # type: ignore[arg-type]


ASKED = tiny_example(("It is {}.", "Sure, the segmentation result is {}."), seed=1)


def test_flash_attention_refuses_rows_that_hold_several_dialogues() -> None:
    with pytest.raises(AssertionError, match=r"several dialogues share a row: samples \('tiny/0',\)"):
        attention_mask(collate([ASKED]), implementation="flash_attention_2", dtype=torch.float32)
    batch = collate([ASKED], share_prefix=False)
    mask = attention_mask(batch, implementation="flash_attention_2", dtype=torch.float32)
    assert torch.equal(mask, batch.group >= 0)


def test_a_mask_over_pairs_makes_flash_attention_step_aside() -> None:
    free = allowed(GROUP, BRANCH, POSITIONS)
    with pytest.raises(ValueError, match="takes no mask over"):
        as_mask(free, implementation="flash_attention_2", dtype=torch.float32)
    llm = tiny_model().backbone.llm
    for own, inside in (
        ("flash_attention_2", "sdpa"),
        ("flex_attention", "flex_attention"),
        ("eager", "eager"),
    ):
        llm.config._attn_implementation = own
        with any_mask(llm):
            assert llm.config._attn_implementation == inside
        assert llm.config._attn_implementation == own


@pytest.mark.slow
def test_flex_attention_gives_the_states_and_the_answers_of_sdpa() -> None:
    """Run without the compiler, which takes a minute here; there is no backward pass of FlexAttention on a CPU."""
    reference, flex = with_attention("sdpa"), with_attention("flex")
    prompts = collate([tiny_prompt(("Where is it?", "What is this thing?"))])
    with torch.no_grad(), torch.compiler.set_stance("force_eager"):
        want, got = (model.backbone.hidden(collate([ASKED])) for model in (reference, flex))
        assert torch.allclose(got, want, atol=1e-5)
        said = [
            [one.ids for one in generate(model, prompts, max_new_tokens=4)] for model in (reference, flex)
        ]
    assert said[0] == said[1]


@pytest.mark.gpu
def test_flash_attention_gives_the_loss_and_gradients_of_sdpa() -> None:
    pytest.importorskip("flash_attn", reason="needs flash-attn: pip install flash-attn --no-build-isolation")
    batch = collate([ASKED], share_prefix=False).to("cuda")
    results = []
    for name in ("sdpa", "flash_attention_2"):
        recipe = tiny_recipe()
        engine = replace(recipe.engine, attention=name, precision="bf16")  # type: ignore[arg-type]
        model = tiny_model(replace(recipe, engine=engine)).to("cuda").train()
        out = model(batch)
        out.loss.backward()
        gradients = [p.grad.float().flatten() for p in model.parameters() if p.grad is not None]
        results.append((out.loss.item(), torch.cat(gradients)))
    (want, want_gradient), (got, gradient) = results
    assert got == pytest.approx(want, rel=2e-2)  # bfloat16 has 8 bits
    assert torch.nn.functional.cosine_similarity(gradient, want_gradient, dim=0) > 0.99


@pytest.mark.gpu
def test_the_flex_kernel_gives_the_values_and_gradients_of_sdpa() -> None:
    from torch.nn.attention.flex_attention import flex_attention

    batch = collate([ASKED, ASKED], row_tokens=1000).to("cuda")
    rules = (batch.group, batch.branch, batch.positions)
    shape = (3, *batch.ids.shape[:1], 2, batch.ids.shape[1], 64)
    inputs = torch.randn(shape, generator=torch.Generator().manual_seed(0)).cuda().requires_grad_()
    want = torch.nn.functional.scaled_dot_product_attention(*inputs, attn_mask=allowed(*rules))
    (want_gradient,) = torch.autograd.grad(want.square().sum(), inputs)
    got = torch.compile(flex_attention)(*inputs, block_mask=flex_mask(*rules))
    (gradient,) = torch.autograd.grad(got.square().sum(), inputs)
    real = (batch.group >= 0)[:, None, :, None]
    assert torch.allclose(got * real, want * real, atol=5e-3)  # TF32 inside the kernel
    assert torch.nn.functional.cosine_similarity(gradient.flatten(), want_gradient.flatten(), dim=0) > 0.999
