"""Objects followed through a clip: the order of frames, gradients through what is remembered, and objects that are left out."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from seglm.dataset.collate import collate
from seglm.model.decoders import sam2_step
from seglm.model.decoders.sam2 import WITHOUT_GRADIENT, Prompts, Sam2, Sam2Decoder
from seglm.model.decoders.sam2_memory import MemoryPolicy
from seglm.model.decoders.sam2_propagate import carry
from seglm.model.decoders.sam2_step import recall
from seglm.model.draw import Asked, draw
from seglm.model.recipe import Recipe
from seglm.model.segmenter import Segmenter
from seglm.model.systems.glus import AT_INFERENCE, END_TO_END, RELEASED
from seglm.model.tracks import Tracks
from seglm.utils.answers import Spoken
from seglm.utils.batch import Batch
from seglm.utils.dist import World
from seglm.utils.types import Dialogue, Example, Images, Slot, Turn
from tests.tiny import tiny_encoder, tiny_example, tiny_model, tiny_recipe
from tests.tiny_sam2 import SAM2, SAM2_0, SIDE, features_of, pictures, tiny_sam2, vectors

ON_CPU = World(rank=0, size=1, local_rank=0, device=torch.device("cpu"))
STEP = 5e-3  # smaller, and float32 has no digits left; larger, and the function bends
POLICY = replace(AT_INFERENCE, stride=1, stable=False)


def with_memory(**changes: object) -> Recipe:
    """LISA with a SAM-2 that remembers; all of its memory is trained."""
    base = tiny_recipe()
    frozen = tuple(dict.fromkeys((*base.trainable.frozen, *WITHOUT_GRADIENT)))
    full = (*base.trainable.full, "decoder.memory_encoder", "decoder.memory_attention")
    decoder = Sam2(image_size=SIDE, stretches=True, memory=POLICY, training_memory=END_TO_END)
    return replace(
        base,
        decoder=replace(decoder, **changes),  # type: ignore[arg-type]
        trainable=replace(base.trainable, frozen=frozen, full=full),
    )


def model_with_memory(**changes: object) -> Segmenter:
    return tiny_model(with_memory(**changes), decoder=asdict(SAM2_0))


def film(frames: int, targets: int, *, key: str, seed: int = 0) -> Example:
    """Each target has a dialogue with a slot for each frame."""
    still = tiny_example(tuple("It is {}." for _ in range(targets)), key=key, seed=seed)
    script = tuple(
        Dialogue(
            tuple(
                Turn((Images((0,)), "\nWhere?"), ("", Slot("[SEG]", number, (frame,)), "."))
                for frame in range(frames)
            ),
            targets=(number,),
        )
        for number in range(targets)
    )
    branches = tuple(tiny_encoder().encode(dialogue, key=key) for dialogue in script)
    drawn = pictures(frames, seed=seed).numpy()
    masks = still.masks.repeat(frames, 1)
    return replace(still, branches=branches, drawn=drawn, resized=(SIDE, SIDE), masks=masks, ignore=None)


def low_of(model: Segmenter, batch: Batch, queries: Tensor) -> Tensor:
    return model.draw(queries, batch, model.features(batch))


def queries_of(batch: Batch, *, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(max(1, len(batch.slots)), SAM2_0.prompt_dim, generator=generator)


def test_clips_of_all_lengths_are_drawn_as_each_would_be_alone() -> None:
    model, lengths = model_with_memory(), {"a": (3, 2), "b": (1, 1), "c": (2, 3)}
    films = [film(*size, key=key, seed=seed) for seed, (key, size) in enumerate(lengths.items())]
    with torch.no_grad():
        for share_prefix in (True, False):
            batch = collate(films, share_prefix=share_prefix)
            queries = queries_of(batch)
            together = low_of(model, batch, queries)
            alone, slot = [], 0
            for one in films:
                own = collate([one], share_prefix=share_prefix)
                alone.append(low_of(model, own, queries[slot : slot + len(own.slots)]))
                slot += len(own.slots)
    # a product of more rows is summed in another order, and what is remembered passes that on
    torch.testing.assert_close(together, torch.cat(alone), atol=2e-4, rtol=2e-4)


def test_a_frame_looks_back_on_the_ones_before_it_and_on_no_later_one() -> None:
    model, batch = model_with_memory(), collate([film(3, 1, key="a")])
    queries = queries_of(batch)
    with torch.no_grad():
        before = low_of(model, batch, queries)
        changed = queries.clone()
        changed[1] += 1
        after = low_of(model, batch, changed)
    same = [torch.equal(one, other) for one, other in zip(before, after, strict=True)]
    assert same == [True, False, False]


def test_the_third_mask_moves_with_the_first_prompt_as_differences_say() -> None:
    model, batch = model_with_memory(), collate([film(3, 2, key="a")])
    features, queries = model.features(batch), queries_of(batch)
    first = [slot for slot, frame in batch.jobs if frame == 0]
    last = [job for job, (_, frame) in enumerate(batch.jobs) if frame == 2]

    def loss(values: Tensor) -> Tensor:
        return model.draw(values, batch, features)[last].sigmoid().sum()

    start = queries.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(start), start)
    ways = torch.zeros(2, *queries.shape)
    ways[:, first] = torch.randn(2, len(first), queries.shape[1], generator=torch.Generator().manual_seed(6))
    norm = gradient[first].norm()
    assert norm > 1e-3
    with torch.no_grad():
        for way in ways:
            difference = (loss(queries + STEP * way) - loss(queries - STEP * way)) / (2 * STEP)
            assert abs(difference - (gradient * way).sum()) <= 0.03 * norm


def test_a_constant_memory_lets_no_gradient_through_and_draws_the_same() -> None:
    batch = collate([film(3, 1, key="a")])
    queries = queries_of(batch).requires_grad_()
    free, constant = model_with_memory(), model_with_memory(training_memory=RELEASED)
    masks = low_of(free, batch, queries), low_of(constant, batch, queries)
    torch.testing.assert_close(*masks)
    (gradient,) = torch.autograd.grad(masks[1][2].sum(), queries)
    assert not gradient[:2].any() and gradient[2].any()


@pytest.mark.parametrize(
    "examples",
    [[tiny_example(("It is a ring.",), key="talk")], [film(1, 2, key="still")], [film(2, 1, key="film")]],
    ids=["words only", "stills only", "a film"],
)
def test_memory_is_written_and_read_on_every_rank(examples: list[Example]) -> None:
    model = model_with_memory().train()
    output = model(collate(examples))
    output.loss.backward()
    assert torch.isfinite(output.loss)
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name


def test_one_that_is_left_out_of_a_frame_remembers_what_it_was_drawn_in() -> None:
    decoder, features = tiny_sam2(SAM2_0), features_of(tiny_sam2(SAM2_0), 4)
    said = [vectors(2, seed=seed).sparse for seed in range(4)]
    drawn_in = {"a": (0, 1, 2, 3), "b": (0, 2, 3)}
    tracks, masks = Tracks(decoder, POLICY), {}
    with torch.no_grad():
        for frame in range(4):
            now = [name for name in drawn_in if frame in drawn_in[name]]
            rows = [list(drawn_in).index(name) for name in now]
            drawn, tracks = tracks.draw(now, features[frame : frame + 1], said[frame][rows], frame=frame)
            masks |= {(name, frame): logits for name, logits in zip(now, drawn.logits, strict=True)}
        for row, (name, frames) in enumerate(drawn_in.items()):
            memory = decoder.remembering(POLICY)
            for frame in frames:
                prompt = said[frame][row : row + 1]
                seen, memory = decoder.follow(features[frame : frame + 1], prompt, memory, frame=frame)
                alone = seen.logits
                torch.testing.assert_close(masks[name, frame], alone[0], atol=1e-5, rtol=1e-5)
    assert sorted(names for names, _ in tracks.groups) == [("a",), ("b",)]


def test_many_objects_are_drawn_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder, features, said = tiny_sam2(SAM2_0), features_of(tiny_sam2(SAM2_0), 1), vectors(5).sparse
    with torch.no_grad():
        whole, _ = Tracks(decoder, POLICY).draw(range(5), features, said, frame=0)
        monkeypatch.setattr("seglm.model.tracks.OBJECTS_AT_ONCE", 2)
        parts, tracks = Tracks(decoder, POLICY).draw(range(5), features, said, frame=0)
    torch.testing.assert_close(whole.logits, parts.logits, atol=1e-5, rtol=1e-5)
    assert [len(names) for names, _ in tracks.groups] == [2, 2, 1]


def test_a_short_video_is_followed_with_the_distances_that_sam2_has_there() -> None:
    """SAM-2.1 measures how far away a pointer's frame is against the length of a video of fewer than 16 frames."""
    model = tiny_model(with_memory(memory=MemoryPolicy()), decoder=asdict(SAM2)).eval()
    decoder = cast(Sam2Decoder, model.decoder)
    decoder.load_state_dict(tiny_sam2(SAM2).state_dict())
    said = torch.randn(1, SAM2.prompt_dim, generator=torch.Generator().manual_seed(0))
    spoken = (Spoken("", (), "ok", ("[SEG]",), (said,)),)
    seen = [picture.to(torch.uint8) for picture in torch.rand(5, 3, SIDE, SIDE) * 255]
    asked = [
        Asked(one, (SIDE, SIDE), (SIDE, SIDE), spoken, frame=n, num_frames=5, is_said=n == 0)
        for n, one in enumerate(seen)
    ]
    features = decoder.encode(seen, [(SIDE, SIDE)] * 5)
    walk = carry(decoder, lambda numbers: features[list(numbers)], {0: Prompts(said[None])}, num_frames=5)
    for [answer], (_, want) in zip(draw(model, asked), walk, strict=True):
        full = model.restored(want.logits, resized=(SIDE, SIDE), size=(SIDE, SIDE))
        torch.testing.assert_close(answer.masks[0], full[0, 0])


def test_three_stages_of_zero_and_a_memory_in_training_are_refused_before_anything_loads() -> None:
    recipe = with_memory()
    sharded = replace(recipe, engine=replace(recipe.engine, zero=3))
    with pytest.raises(ValueError, match=r"engine\.zero .*=3.*permitted are 1 and 2"):
        sharded.check(ON_CPU)
    recipe.check(ON_CPU)


def test_memory_is_read_in_the_precision_of_the_recipe_in_training_and_in_use(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Most of what a step through a video costs; nobody else opens an autocast for it."""
    seen: list[bool] = []

    def spied(*given: Any) -> Tensor:
        seen.append(torch.is_autocast_enabled("cpu"))
        return recall(*given)

    monkeypatch.setattr(sam2_step, "recall", spied)
    recipe = with_memory()
    recipe = replace(recipe, engine=replace(recipe.engine, precision="bf16"))
    model = tiny_model(recipe, decoder=asdict(SAM2_0))
    model.train()(collate([film(3, 1, key="a")])).loss.backward()
    in_training = len(seen)
    said = torch.randn(1, SAM2_0.prompt_dim, generator=torch.Generator().manual_seed(0))
    spoken = (Spoken("", (), "ok", ("[SEG]",), (said,)),)
    still = torch.zeros(3, SIDE, SIDE, dtype=torch.uint8)
    list(draw(model.eval(), [Asked(still, (SIDE, SIDE), (SIDE, SIDE), spoken, frame=n) for n in range(3)]))
    assert in_training and len(seen) > in_training and all(seen)
