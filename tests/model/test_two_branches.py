"""DeSa2VA's two mask decoders on one SAM-2: how their masks mix, what is given back, and what is remembered of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from seglm.model.decoders.sam2 import Prompts
from seglm.model.decoders.sam2_memory import MemoryPolicy
from seglm.model.decoders.two_branches import DRAWN, TEXT, VISION, SharedMemory, TwoBranchDecoder, TwoBranches
from seglm.model.tracks import Tracks
from tests.tiny_sam2 import SAM2_0, SIDE, features_of, pictures, tiny_sam2

CHOICE = TwoBranches(image_size=SIDE, not_points=True, best_of_several=True, stretches=True)
FIXED = replace(CHOICE, mixing="fixed", reprompt=False, best_of_several=False)


def decoder(**changes: object) -> TwoBranchDecoder:
    """A SAM-2 whose branches differ."""
    made = TwoBranchDecoder(SAM2_0, replace(CHOICE, **changes)).eval()  # type: ignore[arg-type]
    made.load_state_dict(tiny_sam2(SAM2_0).state_dict(), strict=False)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, parameter in made.vision_branch.mask_decoder.named_parameters():
            own = made.mask_decoder.get_parameter(name)
            parameter.copy_(own + 0.3 * own.abs().mean() * torch.randn(own.shape, generator=generator))
    return made


def vectors(jobs: int, count: int = 2) -> Tensor:
    return torch.randn(jobs, count, SAM2_0.prompt_dim, generator=torch.Generator().manual_seed(9))


def test_the_share_is_one_half_at_the_start_and_learnt() -> None:
    made = decoder(reprompt=False)
    features, said = features_of(made, 2), vectors(2)
    masks, iou = made.decode(features, said)
    assert masks.shape == (2, 3, SIDE // 4, SIDE // 4) and iou.shape == (2, 3)
    assert not torch.allclose(masks[:, TEXT], masks[:, VISION], atol=1e-3)
    assert torch.equal(masks[:, DRAWN], 0.5 * masks[:, TEXT] + 0.5 * masks[:, VISION])
    share = made.vision_branch.share
    assert share is not None
    masks[:, DRAWN].square().mean().backward()
    assert share.weight.grad is not None and share.weight.grad.any()
    with torch.no_grad():
        share.weight.normal_(generator=torch.Generator().manual_seed(1))
    part = (said.flatten(1) @ share.weight.T + share.bias).sigmoid()[..., None]
    masks, _ = made.decode(features, said)
    torch.testing.assert_close(masks[:, DRAWN], (part * masks[:, TEXT] + (1 - part) * masks[:, VISION]))
    assert part[0] != part[1]


@pytest.mark.parametrize("mixing, place", [("text", 0), ("vision", 1)])
def test_one_branch_alone_draws_what_it_draws_beside_the_other(mixing: str, place: int) -> None:
    both = decoder(reprompt=False, mixing="fixed", best_of_several=False)
    alone = TwoBranchDecoder(SAM2_0, replace(FIXED, mixing=mixing))  # type: ignore[arg-type]
    alone.load_state_dict(both.state_dict())
    features, said = features_of(both, 2), vectors(2)
    want, _ = both.decode(features, said)
    got, _ = alone.eval().decode(features, said)
    assert torch.equal(got, want[:, [1 + place] * 3])


def test_at_inference_the_visions_mask_prompts_the_texts_decoder() -> None:
    made = decoder(best_of_several=False)
    features, said = features_of(made, 2), vectors(2)
    with torch.no_grad():
        twice, _ = made.decode(features, said)
        made.train()
        learning, _ = made.decode(features, said)
        made.eval()
        made.reprompt = False
        once, _ = made.decode(features, said)
        fine, middle, coarse = made.levels(features)
        asked = Prompts(torch.cat([made.no_points(2), said[:, :1]], dim=1), made.dense(once[:, VISION:]))
        want = made.candidates((fine, middle), made.without_memory(coarse), asked).logits[:, 0]
    assert torch.equal(learning, once) and torch.equal(twice[:, VISION], once[:, VISION])
    assert torch.equal(twice[:, TEXT], want) and not torch.allclose(want, once[:, TEXT], atol=1e-3)


@pytest.mark.parametrize("policy", [MemoryPolicy(), MemoryPolicy(by_mask=True)], ids=["by vector", "by mask"])
def test_branches_of_equal_weights_follow_an_object_as_the_one_sam2_does(policy: MemoryPolicy) -> None:
    one = tiny_sam2(SAM2_0)
    one.not_points = True
    two = TwoBranchDecoder(SAM2_0, replace(FIXED, mixing="dynamic")).eval()
    missing = two.load_state_dict(one.state_dict(), strict=False).missing_keys
    assert all(name.startswith("vision_branch.") for name in missing)
    own = {
        name: value for name, value in one.mask_decoder.state_dict().items() if not name.startswith("conv_s")
    }
    two.vision_branch.mask_decoder.load_state_dict(own)
    features = one.encode(pictures(3), [(SIDE, SIDE)] * 3)
    said = vectors(2, 1)
    single, double = Tracks(one, policy), Tracks(two, policy)
    for frame in range(3):
        now = said if frame == 0 else None
        objects = [0, 1] if frame < 2 else [1]  # one is left alone
        with torch.no_grad():
            want, single = single.draw(objects, features[frame][None], now, frame=frame)
            got, double = double.draw(objects, features[frame][None], now, frame=frame)
        assert torch.equal(got.logits, want.logits) and torch.equal(got.iou, want.iou)


def test_what_is_carried_on_by_mask_is_the_mixed_one() -> None:
    made = decoder(reprompt=False)
    share = made.vision_branch.share
    assert share is not None
    with torch.no_grad():
        share.bias.fill_(-8)  # nearly all of it is the vision's
        features, said = features_of(made, 2), vectors(2)
        policy = MemoryPolicy(by_mask=True)
        first, memory = made.follow(features[:1], said, made.remembering(policy), frame=0)
        after, _ = made.follow(features[1:], None, memory, frame=1)
        share.bias.fill_(8)
        _, other = made.follow(features[:1], said, made.remembering(policy), frame=0)
        apart, _ = made.follow(features[1:], None, other, frame=1)
        masks, _ = made.decode(features[:1].expand(2, -1, -1, -1), said)
    torch.testing.assert_close(first.logits[:, 0], masks[:, VISION], rtol=1e-2, atol=0.1)
    assert not torch.allclose(after.logits, apart.logits, atol=1e-3)


def test_an_object_keeps_its_share_where_nothing_is_said_of_it() -> None:
    made = decoder()
    share = made.vision_branch.share
    assert share is not None
    with torch.no_grad():
        share.weight.normal_(generator=torch.Generator().manual_seed(1))
        features, said = features_of(made, 2), vectors(2)
        first = made.remembering(MemoryPolicy())
        _, memory = made.follow(features[:1], said, first, frame=0)
        assert isinstance(memory, SharedMemory)
        assert memory.share is not None and memory.share[0] != memory.share[1]
        _, after = made.follow(features[1:], None, memory, frame=1)
        assert isinstance(after, SharedMemory)
        assert after.share is not None and torch.equal(after.share, memory.share)
        some = after.of([1])
    assert some.share is not None and torch.equal(some.share, memory.share[1:])
    with pytest.raises(ValueError, match="nothing is remembered of another"):
        made.follow(features[:1], None, first, frame=0)
