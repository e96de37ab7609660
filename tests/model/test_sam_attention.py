"""SAM's attention without its matrix of scores is segment_anything's attention."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from seglm.model.decoders.sam import SamDecoder
from seglm.model.decoders.sam_attention import SamAttention
from seglm.model.decoders.sam_package import load_sam_package
from tests.tiny import SAM

WIDTH, HEADS = 24, 3


def package(side: int) -> nn.Module:
    """segment_anything's module for a grid of so many cells a side, its positions as large as what they are added to."""
    load_sam_package()
    from segment_anything.modeling.image_encoder import Attention

    torch.manual_seed(side)
    module = Attention(WIDTH, HEADS, input_size=(side, side), use_rel_pos=True)
    for table in (module.rel_pos_h, module.rel_pos_w):
        nn.init.normal_(table)
    return module  # type: ignore[no-any-return]


def ours(module: nn.Module) -> SamAttention:
    return SamAttention(deepcopy(module))


@pytest.mark.parametrize(("made_for", "side"), [(4, 4), (7, 7), (1, 1), (5, 8), (8, 5)])
def test_values_and_gradients_are_the_package_s(made_for: int, side: int) -> None:
    theirs = package(made_for)
    mine, x = ours(theirs), torch.randn(3, side, side, WIDTH)
    found = []
    for module in (theirs, mine):
        given = x.clone().requires_grad_()
        said = module(given)
        said.square().sum().backward()
        names = {name: parameter.grad for name, parameter in module.named_parameters()}
        found.append({"said": said.detach(), "x": given.grad, **names})
    assert found[0].keys() == found[1].keys()
    for name, value in found[0].items():
        torch.testing.assert_close(
            found[1][name], value, rtol=1e-4, atol=1e-4, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_in_bf16_it_is_no_farther_from_the_truth() -> None:
    theirs, x = package(7), torch.randn(2, 7, 7, WIDTH)
    with torch.no_grad():
        truth = deepcopy(theirs).double()(x.double())

    def off(module: Callable[[Tensor], Tensor]) -> float:
        return float((module(x.bfloat16()).detach().double() - truth).norm() / truth.norm())

    assert off(ours(theirs).bfloat16()) < 1.2 * off(deepcopy(theirs).bfloat16()) < 0.03


def test_numbers_whose_squares_float16_cannot_hold_do_not_blank_a_picture() -> None:
    torch.manual_seed(0)
    encoder = SamDecoder(SAM).eval().image_encoder
    seen = 300 * torch.randn(2, SAM.prompt_dim, 4, 4)  # between the two convolutions
    for norm in (encoder.neck[1], encoder.neck[3]):
        truth = torch.nn.functional.layer_norm(seen.movedim(1, -1), (SAM.prompt_dim,), eps=norm.eps)
        for dtype, limit in ((torch.float32, 1e-5), (torch.float16, 1e-3), (torch.bfloat16, 2e-2)):
            said = norm.to(dtype)(seen.to(dtype))
            assert said.dtype is dtype
            assert float((said.detach().float().movedim(1, -1) - truth).norm() / truth.norm()) < limit


def test_the_encoder_has_it_in_every_layer_and_the_names_of_the_weights_stay() -> None:
    encoder = SamDecoder(SAM).image_encoder
    assert all(isinstance(block.attn, SamAttention) for block in encoder.blocks)
    names = {name for name, _ in encoder.blocks[0].attn.named_parameters()}
    assert names == {name for name, _ in package(2).named_parameters()}
