"""What GSVA and KeySeg say, what becomes of it, and which weights they train."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from seglm.dataset.collate import collate
from seglm.dataset.pipeline import example
from seglm.model.key_fusion import NO_WORD, KeyFusion, KeyFusionModule
from seglm.model.names import canonical
from seglm.model.older import with_settings
from seglm.model.scripts import SENTENCE_QUESTIONS, one_frame
from seglm.model.segmenter import Segmenter
from seglm.model.settings import Lora
from seglm.model.terms import Predicted
from seglm.utils.batch import Batch
from seglm.utils.dist import World
from seglm.utils.types import Clip, Script, Slot, Target, Turn
from tests.drawing import answer, forced, masks
from tests.tiny import SQUARE, VISION, tiny_model, tiny_recipe

SIZE = (40, 50)


def target(text: str, *, is_there: bool = True, keyword: str | None = None) -> tuple[Target, np.ndarray]:
    mask = np.zeros((1, *SIZE), dtype=np.bool_)
    mask[0, 5:20, 5:20] = is_there
    return Target(texts=(text,), masks=lambda frames: mask, keyword=keyword), mask


def a_clip(targets: Sequence[tuple[Target, np.ndarray]], *, key: str = "grefcoco|unc|train/1") -> Clip:
    picture = np.random.default_rng(0).integers(0, 256, (1, *SIZE, 3), np.uint8)
    return Clip(
        key=key,
        size=SIZE,
        seen=picture,
        drawn=picture,
        targets=tuple(one for one, _ in targets),
        masks=tuple(mask for _, mask in targets),
    )


def words(turn: Turn) -> tuple[str, str]:
    """Question and answer in plain text, slots as their tokens."""
    question = "".join(piece for piece in turn.question if isinstance(piece, str))
    return question, "".join(piece.token if isinstance(piece, Slot) else str(piece) for piece in turn.answer)


def a_batch(model: Segmenter, clip: Clip, script: Script) -> Batch:
    branches = model.encoder.encode_script(script, key=clip.key)
    shown = example(clip, branches, script, vision_size=VISION, decoder_size=SQUARE, pixels="fast")
    return collate([shown])


THREE = (target("the red ring"), target("A blue star.", is_there=False), target("the dog"))


def test_of_a_video_any_frame_is_learnt_from_and_a_picture_draws_nothing_of_the_stream() -> None:
    rng = np.random.default_rng(0)
    assert {one_frame(5, rng).seen for _ in range(50)} == {(frame,) for frame in range(5)}
    assert (frames := one_frame(5, rng)).seen == frames.drawn
    before = rng.bit_generator.state
    assert one_frame(1, rng).seen == (0,) and rng.bit_generator.state == before


# ---- GSVA -----------------------------------------------------------------------------------------------------------
def test_gsva_asks_for_all_in_one_question_and_rejects_what_is_not_there() -> None:
    recipe = tiny_recipe("gsva_7b")
    clip = a_clip(THREE)
    said = {words(recipe.script(clip, np.random.default_rng(seed), recipe)[0].turns[0]) for seed in range(40)}
    questions, answers = zip(*said, strict=True)
    assert "\nCan you segment the red ring, a blue star, the dog in this image?" in questions
    assert "Sure, they are the red ring:[SEG], A blue star:[REJ], the dog:[SEG]." in answers
    assert len(set(questions)) == 4 and len(set(answers)) == 5
    [dialogue] = recipe.script(clip, np.random.default_rng(0), recipe)
    slots = [piece for piece in dialogue.turns[0].answer if isinstance(piece, Slot)]
    assert [(slot.token, slot.target, slot.frames) for slot in slots] == [
        ("[SEG]", 0, (0,)), ("[REJ]", 1, ()), ("[SEG]", 2, (0,)),
    ]  # fmt: skip


def test_gsva_keeps_the_letters_of_an_expression() -> None:
    recipe = tiny_recipe("gsva_7b")
    clip = a_clip([target("the SEG logo", is_there=False)])
    _, said = words(recipe.script(clip, np.random.default_rng(0), recipe)[0].turns[0])
    assert "the SEG logo" in said and said.count("[REJ]") == 1


def test_gsva_asks_reasonseg_one_by_one() -> None:
    recipe = tiny_recipe("gsva_7b")
    script = recipe.script(a_clip(THREE, key="ReasonSeg|train/7"), np.random.default_rng(0), recipe)
    assert [dialogue.targets for dialogue in script] == [(0,), (1,), (2,)]


def test_gsva_answers_one_by_one_in_a_wording_that_it_was_taught() -> None:
    recipe = tiny_recipe("gsva_7b")
    shown = a_clip([target("Red ring.")])
    [asked] = recipe.prompt(shown, recipe)
    taught = {
        recipe.script(shown, np.random.default_rng(seed), recipe)[0].turns[0].question for seed in range(40)
    }
    assert asked.turns[0].question in taught and asked.turns[0].answer == ()
    sentence = a_clip([target("Red ring.")], key="ReasonSeg|val/1")
    assert recipe.prompt(sentence, recipe) == tiny_recipe("lisa_7b").prompt(sentence, recipe)


@pytest.mark.parametrize("key", ["ReasonSeg|val/1", "reasonvos|test/1"])
def test_gsva_puts_no_whole_sentence_into_a_list_of_names(key: str) -> None:
    recipe = tiny_recipe("gsva_7b")
    assert recipe.forced is not None
    one, mask = target("Which one could roll away?")
    clip = a_clip([(replace(one, is_sentence=True), mask)], key=key)
    asked = "\n Which one could roll away? Please output segmentation mask."
    [opened], [given] = recipe.prompt(clip, recipe), recipe.forced(clip, recipe)
    assert opened.turns[0].question[-1] == asked and opened.targets == given.targets == (0,)
    assert words(given.turns[0]) == (asked, "[SEG]")
    taught = {
        words(recipe.script(clip, np.random.default_rng(seed), recipe)[0].turns[0])[0] for seed in range(20)
    }
    assert taught == {question.format(one.texts[0]) for question in map("\n{}".format, SENTENCE_QUESTIONS)}


def test_gsva_rejects_a_sentence_about_nothing_outside_reasonseg() -> None:
    recipe = tiny_recipe("gsva_7b")
    one, mask = target("Which one could roll away?", is_there=False)
    clip = a_clip([(replace(one, is_sentence=True), mask), target("the dog")], key="revos|train/1")
    script = recipe.script(clip, np.random.default_rng(0), recipe)
    assert [words(dialogue.turns[0])[1].count("[REJ]") for dialogue in script] == [1, 0]


def test_gsva_is_validated_in_the_released_words() -> None:
    recipe = tiny_recipe("gsva_7b")
    assert recipe.forced is not None
    [dialogue] = recipe.forced(a_clip(THREE), recipe)
    assert words(dialogue.turns[0]) == (
        "\n What are the red ring, A blue star, the dogin this image? Please output segmentation masks.",
        "Sure,the red ring:[SEG], A blue star:[REJ], the dog:[SEG].",
    )


@pytest.mark.parametrize("rejected", ["leave_out", "peer"])
def test_a_rejected_expression_has_no_mask_to_lose(rejected: str) -> None:
    base = tiny_recipe("gsva_7b")
    recipe = with_settings(base, [("engine.rejected_masks", rejected)])
    model = tiny_model(recipe)
    clip = a_clip(THREE)
    output = model(a_batch(model, clip, recipe.script(clip, np.random.default_rng(0), recipe)))
    bce = output.parts["bce"]
    assert bce.count == (2 if rejected == "leave_out" else 3)
    alone = tiny_model(base)
    drawn = alone(a_batch(alone, clip, base.script(clip, np.random.default_rng(0), base))).parts["bce"].sum
    constant = 0.0 if rejected == "leave_out" else float(np.log(2))
    assert bce.sum.item() == pytest.approx(drawn.item() + constant, rel=1e-5)


def test_a_sample_in_which_all_is_rejected_can_be_trained() -> None:
    recipe = tiny_recipe("gsva_7b")
    model = tiny_model(recipe).train()
    clip = a_clip([target("a", is_there=False), target("b", is_there=False)])
    output = model(a_batch(model, clip, recipe.script(clip, np.random.default_rng(0), recipe)))
    output.loss.backward()
    assert output.parts["bce"].count == 0 and output.loss.isfinite()
    assert model.encoder.token_id("[REJ]") is not None


def test_masks_belong_to_the_expressions_of_their_slots() -> None:
    """In whatever order seg and rej stand, the k-th token answers the k-th expression."""
    recipe = tiny_recipe("gsva_7b")
    model = tiny_model(recipe)
    assert recipe.forced is not None
    clip = a_clip(THREE)
    [given] = forced(model, a_batch(model, clip, recipe.forced(clip, recipe)))
    assert masks(given).shape == (3, *SIZE)  # the second pass draws all of them
    assert len(given.spoken.tokens) == 3


def test_a_written_rejection_is_told_from_silence() -> None:
    recipe = tiny_recipe("gsva_7b")
    for token, status in (("[REJ]", "rejected"), ("[SEG]", "ok"), (".", "no_seg_token")):
        model = tiny_model(recipe)
        wanted = [model.encoder.tokenizer.convert_tokens_to_ids(token), model.encoder.eos]
        told = iter(wanted)
        model.backbone.llm.lm_head.register_forward_hook(
            lambda module, given, result, told=told: torch.nn.functional.one_hot(
                torch.tensor([next(told)]), result.shape[-1]
            ).float()
        )
        clip = a_clip(THREE[:1])
        [said] = answer(model, a_batch(model, clip, recipe.prompt(clip, recipe)), max_new_tokens=2)
        assert said.spoken.status == status
        assert len(said.masks) == len(said.spoken.tokens) == int(status != "no_seg_token")
        assert len([mask for mask in said.masks if mask is not None]) == int(status == "ok")


def trained_parts(model: Segmenter) -> set[str]:
    """The trained weights by the first two parts of their names."""
    return {
        ".".join(canonical(name).split(".")[:2])
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }


@pytest.mark.parametrize("rank, layers", [(-1, True), (0, False), (2, True)])
def test_the_rank_says_how_the_llm_is_trained(rank: int, layers: bool) -> None:
    base = tiny_recipe("gsva_7b")
    model = tiny_model(replace(base, trainable=replace(base.trainable, lora=Lora(r=rank))))
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert any(".layers." in name and name.startswith("backbone.llm") for name in names) == layers
    assert any("lora_" in name for name in names) == (rank > 0)
    full = {
        canonical(name)
        for name in names
        if "lora_" not in name and name.startswith("backbone.llm.model.layers")
    }
    assert bool(full) == (rank < 0)


# ---- KeySeg ---------------------------------------------------------------------------------------------------------
def test_keyseg_writes_the_keyword_behind_its_key() -> None:
    recipe = tiny_recipe("keyseg_7b")
    clip = a_clip([target("the thing that rolls", keyword="red ring"), target("The Dog")])
    script = recipe.script(clip, np.random.default_rng(0), recipe)
    endings = [words(dialogue.turns[0])[1].partition("[KEY]")[2] for dialogue in script]
    assert endings == [" red ring", " the dog"]
    model = tiny_model(recipe)
    batch = a_batch(model, clip, script)
    assert [slot.token for slot in batch.slots] == ["[SEG]", "[KEY]"] * 2 and len(batch.jobs) == 2
    first = [model.encoder.spoken(word, keep=False)[0][0] for word in ("red ring", "the dog")]
    assert batch.words.tolist() == [0, first[0], 0, first[1]]


def test_keyseg_learns_its_keywords_and_its_fusion() -> None:
    recipe = tiny_recipe("keyseg_7b")
    model = tiny_model(recipe).train()
    clip = a_clip([target("the thing that rolls", keyword="red ring"), target("the dog")])
    output = model(a_batch(model, clip, recipe.script(clip, np.random.default_rng(0), recipe)))
    output.loss.backward()
    assert output.parts["keyword"].count == 2 and output.parts["keyword"].sum > 0
    assert model.fuse is not None
    assert all(parameter.grad is not None for parameter in model.fuse.parameters())


def test_the_keyword_loss_moves_every_word_the_padding_token_too() -> None:
    """As in the original, which projects the whole table at once; a lookup gives its padding row no gradient."""
    recipe = tiny_recipe("keyseg_7b")
    model = tiny_model(recipe).train()
    clip = a_clip([target("the thing that rolls", keyword="red ring"), target("the dog")])
    batch = a_batch(model, clip, recipe.script(clip, np.random.default_rng(0), recipe))
    embed = model.backbone.llm.get_input_embeddings()
    loss = model(batch).parts["keyword"].sum
    (whole,) = torch.autograd.grad(loss, embed.weight)
    assert whole[embed.padding_idx].abs().max() > 0

    queries = torch.randn(len(batch.slots), model.decoder.prompt_dim)
    predicted = Predicted(queries, queries[:, None], queries, tuple)
    (got,) = torch.autograd.grad(model.terms["keyword"].total(batch, predicted, model), embed.weight)
    assert isinstance(model.fuse, KeyFusionModule)
    logits = model.fuse.keyword_logits(queries, embed.weight)
    plain = cross_entropy(logits, batch.words, ignore_index=NO_WORD, reduction="sum")
    (want,) = torch.autograd.grad(plain, embed.weight)
    torch.testing.assert_close(got, want)


def test_keyseg_as_released_trains_what_lisa_trains() -> None:
    drawn, released = tiny_recipe("keyseg_7b"), tiny_recipe("keyseg_7b_released")
    assert any(part.startswith("fuse") for part in trained_parts(tiny_model(drawn)))
    assert trained_parts(tiny_model(released)) == trained_parts(tiny_model(tiny_recipe("lisa_7b")))


def test_what_else_is_asked_about_a_picture_does_not_change_a_mask_of_keyseg_as_released() -> None:
    """In training it mixes all that is said of a picture; its authors ask one question at a time."""
    recipe = tiny_recipe("keyseg_7b_released")
    assert recipe.forced is not None
    model = tiny_model(recipe)
    clip = a_clip([target("the red ring"), target("the dog"), target("a blue star")])
    script = recipe.forced(clip, recipe)
    together = forced(model, a_batch(model, clip, script))
    for dialogue, said in zip(script, together, strict=True):
        [alone] = forced(model, a_batch(model, clip, (dialogue,)))
        torch.testing.assert_close(masks(said), masks(alone), atol=1e-4, rtol=1e-4)


def test_a_batch_without_keywords_still_touches_every_weight() -> None:
    recipe = tiny_recipe("keyseg_7b")
    model = tiny_model(recipe).train()
    clip = replace(a_clip(()), turns=(("What is it?", "A dog."),))
    output = model(a_batch(model, clip, recipe.script(clip, np.random.default_rng(0), recipe)))
    output.loss.backward()
    assert output.parts["keyword"].count == 0 and output.loss.isfinite()
    absent = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert absent == []


def test_a_fusion_without_a_key_token_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"fusion.kind=paper .* recipe lisa_7b has none; use fusion=Identity"
    ):
        replace(tiny_recipe(), fusion=KeyFusion(kind="paper")).check(World())


def test_keyseg_reads_keywords_out_of_what_was_written() -> None:
    recipe = tiny_recipe("keyseg_7b")
    model = tiny_model(recipe)
    ids = [
        model.encoder.token_id("[SEG]"),
        model.encoder.token_id("[KEY]"),
        *model.encoder.spoken("red ring", keep=False)[0],
        model.encoder.eos,
    ]
    told = iter(ids)
    model.backbone.llm.lm_head.register_forward_hook(
        lambda module, given, result: torch.nn.functional.one_hot(
            torch.tensor([next(told)]), result.shape[-1]
        ).float()
    )
    clip = a_clip(THREE[:1])
    [said] = answer(model, a_batch(model, clip, recipe.prompt(clip, recipe)), max_new_tokens=len(ids))
    spoken = said.spoken
    assert spoken.tokens == ("[SEG]",) and spoken.keywords == ("red ring",) and spoken.status == "ok"
