"""One frame of a video after the other: what a batch, a mode, a dtype or a gradient may change, and transformers' session."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from seglm.model.decoders.sam2 import Prompts, Sam2Decoder
from seglm.model.decoders.sam2_memory import PREDICTING, TRAINING, Memory, MemoryPolicy
from seglm.model.decoders.sam2_step import ABSENT, Drawn, step
from tests.model.sessions import check_walk
from tests.tiny_sam2 import SAM2, SAM2_0, SIDE, features_of, tiny_sam2, vectors

OBJECTS, FRAMES = 4, 6


def walk(
    decoder: Sam2Decoder, features: Tensor, said: Prompts, policy: MemoryPolicy = PREDICTING
) -> tuple[list[Drawn], Memory]:
    """All frames, the first with prompts."""
    memory, drawn = Memory(policy), []
    for frame in range(len(features)):
        prompts = said if frame == 0 else None
        found, memory = step(decoder, features[frame : frame + 1], memory, frame=frame, prompts=prompts)
        drawn.append(found)
    return drawn, memory


@pytest.mark.parametrize("dims", [SAM2, SAM2_0], ids=["2.1", "2.0"])
def test_objects_of_one_batch_are_drawn_as_each_alone(dims: object) -> None:
    decoder = tiny_sam2(dims)  # type: ignore[arg-type]
    features, said = features_of(decoder, FRAMES), vectors(OBJECTS)
    with torch.no_grad():
        together, memory = walk(decoder, features, said)
        for number in range(OBJECTS):
            alone, own = walk(decoder, features, Prompts(said.sparse[number : number + 1]))
            for all_of_them, one in zip(together, alone, strict=True):
                assert all_of_them.logits.shape[:2] == (OBJECTS, 1)
                torch.testing.assert_close(
                    all_of_them.logits[number : number + 1], one.logits, atol=1e-4, rtol=1e-4
                )
                torch.testing.assert_close(all_of_them.score[number : number + 1], one.score)
            for got, want in zip(memory.recent, own.recent, strict=True):
                torch.testing.assert_close(
                    got.pointer[number : number + 1], want.pointer, atol=1e-4, rtol=1e-4
                )


def test_two_videos_of_one_batch_are_drawn_as_each_alone() -> None:
    decoder, said = tiny_sam2(), vectors(2)
    videos = [features_of(decoder, 3, seed=seed) for seed in (1, 2)]
    memory = Memory()
    with torch.no_grad():
        each = [walk(decoder, video, Prompts(said.sparse[n : n + 1]))[0] for n, video in enumerate(videos)]
        for frame in range(3):
            both = torch.stack([video[frame] for video in videos])
            found, memory = step(decoder, both, memory, frame=frame, prompts=said if frame == 0 else None)
            want = torch.cat([one[frame].logits for one in each])
            torch.testing.assert_close(found.logits, want, atol=1e-4, rtol=1e-4)


def test_training_mode_draws_what_prediction_draws() -> None:
    decoder, said = tiny_sam2(), vectors(2)
    features = features_of(decoder, 4)
    with torch.no_grad():
        want, _ = walk(decoder, features, said)
        got, _ = walk(decoder.train(), features, said)
    for one, other in zip(got, want, strict=True):
        assert torch.equal(one.logits, other.logits) and torch.equal(one.score, other.score)


def test_masks_and_memories_are_float32_under_autocast_and_from_features_in_bfloat16() -> None:
    decoder, said = tiny_sam2(), vectors(2)
    features = features_of(decoder, 3).to(torch.bfloat16)
    with torch.no_grad():
        want, _ = walk(decoder, features.float(), said)
        with torch.autocast("cpu", torch.bfloat16):
            got, memory = walk(decoder, features, said)
    assert torch.equal(got[0].logits, want[0].logits)
    # behind memory attention, which follows the autocast
    for one, other in zip(got[1:], want[1:], strict=True):
        assert one.logits.dtype == one.conditioned.dtype == torch.float32
        assert 1e-5 < (one.conditioned - other.conditioned).norm() / other.conditioned.norm() < 2e-2
    written = [*memory.conditioning, *memory.recent]
    assert {entry.pointer.dtype for entry in written} == {torch.float32}
    assert {entry.features.dtype for entry in written if entry.features is not None} == {torch.float32}


def test_what_is_remembered_is_never_changed() -> None:
    decoder, said = tiny_sam2(), vectors(2)
    features = features_of(decoder, 3)
    with torch.no_grad():
        _, memory = step(decoder, features[:1], Memory(), frame=0, prompts=said)
        written = memory.conditioning[0].features
        assert written is not None
        before = written.clone()
        for frame in (1, 2):
            _, memory = step(decoder, features[frame : frame + 1], memory, frame=frame)
    assert memory.conditioning[0].features is written and torch.equal(written, before)


def test_the_parts_are_made_of_their_own_configs_and_sizes() -> None:
    decoder = tiny_sam2(replace(SAM2, dec_depth=3, memory_dim=4))
    assert type(decoder.mask_decoder.config).__name__ == "Sam2VideoMaskDecoderConfig"
    assert [len(block.mlp.layers) for block in decoder.mask_decoder.transformer.layers] == [0, 0, 0]
    with torch.no_grad():
        drawn, _ = walk(decoder, features_of(decoder, 3), vectors(2))
    assert torch.isfinite(drawn[-1].logits).all()


def test_an_absent_object_has_no_mask_and_its_memory_says_so() -> None:
    decoder, said = tiny_sam2(), vectors(2)
    decoder.mask_decoder.pred_obj_score_head.proj_out.bias.data.fill_(-30)
    features = features_of(decoder, 2)
    with torch.no_grad():
        drawn, memory = walk(decoder, features, said)
        kept, _ = walk(decoder, features, said, replace(PREDICTING, occlusion=False))
        older = tiny_sam2(SAM2_0)
        older.load_state_dict({n: t for n, t in decoder.state_dict().items() if n in older.state_dict()})
        _, without = walk(older, features, said)
    assert all((found.logits == ABSENT).all() for found in drawn)
    assert all((found.logits > ABSENT).all() for found in kept)
    assert torch.equal(drawn[0].pointer, decoder.no_object_pointer.expand(2, -1))
    added = memory.conditioning[0].features - without.conditioning[0].features  # type: ignore[operator]
    said_so = decoder.occlusion_spatial_embedding_parameter[0][None, :, None, None]
    torch.testing.assert_close(added, said_so.expand_as(added), atol=1e-5, rtol=1e-5)


def test_a_mask_that_was_given_is_the_answer() -> None:
    decoder = tiny_sam2()
    masks = torch.zeros(2, 1, SIDE, SIDE, dtype=torch.bool)
    masks[0, :, 16:48, 8:40] = True
    with torch.no_grad():
        drawn, memory = step(decoder, features_of(decoder, 1), Memory(), frame=0, masks=masks)
        found, _ = step(decoder, features_of(decoder, 1), memory, frame=1)
    small = masks[:, :, ::4, ::4]
    assert torch.equal(drawn.logits[0] > 0, small[0]) and (drawn.logits[1] < 0).all()
    assert drawn.score[:, 0].tolist() == [10, -10]
    assert torch.equal(drawn.pointer[1], decoder.no_object_pointer[0])
    assert found.logits.shape == drawn.logits.shape


def test_boxes_and_points_are_the_prompts_that_transformers_makes_of_them() -> None:
    decoder = tiny_sam2()
    points, labels = (
        torch.tensor([[[5.0, 9.0], [30.0, 2.0]], [[1.0, 1.0], [60.0, 40.0]]]),
        torch.tensor([[1, 0], [1, 1]]),
    )
    boxes = torch.tensor([[4.0, 8.0, 20.0, 30.0], [0.0, 0.0, 64.0, 64.0]])
    with torch.no_grad():
        sparse, _ = decoder.prompt_encoder(points[:, None], labels[:, None], None, None)
        torch.testing.assert_close(decoder.prompts_of_points(points, labels), sparse[:, 0])
        cornered, _ = decoder.prompt_encoder(None, None, boxes[:, None] - 0.5, None)
        torch.testing.assert_close(decoder.prompts_of_boxes(boxes), cornered[:, 0])
        again, dense = decoder.prompt_encoder(
            points[:, None], labels[:, None], None, torch.ones(2, 1, 16, 16)
        )
        torch.testing.assert_close(decoder.dense(torch.ones(2, 1, 16, 16)), dense)
        improved, _ = step(
            decoder,
            features_of(decoder, 1),
            Memory(),
            frame=0,
            prompts=Prompts(again[:, 0], dense, is_ambiguous=False),
        )
        plain, _ = step(
            decoder,
            features_of(decoder, 1),
            Memory(),
            frame=0,
            prompts=Prompts(again[:, 0], is_ambiguous=False),
        )
    assert not torch.allclose(improved.logits, plain.logits)


@pytest.mark.parametrize("backwards", [False, True])
def test_a_long_walk_is_the_one_of_transformers_session(backwards: bool) -> None:
    from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoInferenceSession

    check_walk(tiny_sam2(), Sam2VideoInferenceSession, side=SIDE, frames=22, backwards=backwards)


# ---- gradients -------------------------------------------------------------------------------------------------------
def _loss(decoder: Sam2Decoder, features: Tensor, policy: MemoryPolicy) -> Callable[[Tensor], Tensor]:
    """The loss of the last frame's masks as a function of the first frame's prompts."""

    def loss(sparse: Tensor) -> Tensor:
        drawn, _ = walk(decoder, features, Prompts(sparse), policy)
        return drawn[-1].logits.sigmoid().sum()

    return loss


@pytest.mark.parametrize("dims", [SAM2, SAM2_0], ids=["2.1", "2.0"])
def test_the_gradient_of_the_third_mask_at_the_first_prompt_is_what_differences_say(dims: object) -> None:
    decoder = tiny_sam2(dims, seed=3)  # type: ignore[arg-type]
    features, sparse = features_of(decoder, 3), vectors(2).sparse
    loss = _loss(decoder, features, TRAINING)
    (gradient,) = torch.autograd.grad(loss(sparse.requires_grad_()), sparse)
    step_size = 5e-3  # smaller, and float32 has no digits left; larger, and the function bends
    with torch.no_grad():
        for number in range(4):
            way = torch.randn(sparse.shape, generator=torch.Generator().manual_seed(number))
            difference = (loss(sparse + step_size * way) - loss(sparse - step_size * way)) / (2 * step_size)
            assert abs(difference - (gradient * way).sum()) <= 0.03 * gradient.norm()
    assert gradient.norm() > 1e-3


def test_a_detached_memory_lets_no_gradient_through_and_the_same_masks() -> None:
    decoder, sparse = tiny_sam2(), vectors(2).sparse
    features = features_of(decoder, 3)
    whole, cut = (
        _loss(decoder, features, policy)(sparse.requires_grad_())
        for policy in (TRAINING, replace(TRAINING, detach=True))
    )
    assert torch.equal(whole, cut)
    assert torch.autograd.grad(cut, sparse, allow_unused=True)[0] is None


def test_reading_and_writing_are_trained_by_a_later_frame() -> None:
    decoder = tiny_sam2()
    _loss(decoder, features_of(decoder, 3), TRAINING)(vectors(2).sparse).backward()
    for name in (
        "memory_encoder.projection",
        "memory_attention.layers.0.cross_attn_image.k_proj",
        "object_pointer_proj.proj_out",
    ):
        weight = decoder.get_submodule(name).weight
        assert isinstance(weight, Tensor) and weight.grad is not None and weight.grad.abs().max() > 0, name


# ---- what is refused -------------------------------------------------------------------------------------------------
def test_a_first_frame_needs_something_to_look_for() -> None:
    decoder = tiny_sam2()
    with pytest.raises(ValueError, match="frame 7 has no prompt and no mask, and nothing is remembered"):
        step(decoder, features_of(decoder, 1), Memory(), frame=7)


def test_objects_that_come_later_are_refused_with_their_numbers() -> None:
    decoder = tiny_sam2()
    features = features_of(decoder, 1)
    _, memory = step(decoder, features, Memory(), frame=0, prompts=vectors(2))
    with pytest.raises(ValueError, match="3 objects in prompts, 2 objects in the memory"):
        step(decoder, features, memory, frame=1, prompts=vectors(3))


def test_more_frames_than_there_are_temporal_positions_are_refused() -> None:
    decoder = tiny_sam2()
    features = features_of(decoder, 1)
    _, memory = step(decoder, features, Memory(MemoryPolicy(frames=7)), frame=0, prompts=vectors(1))
    with pytest.raises(ValueError, match="frames=7: this SAM-2 knows temporal positions of 6 frames"):
        step(decoder, features, memory, frame=1)
