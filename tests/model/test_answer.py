"""Generation: one cache for all dialogues of an image, and the states that its slots are read from."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from seglm.dataset.collate import collate
from seglm.model.generate import generate
from tests.drawing import answer, forced, masks
from tests.tiny import tiny_encoder, tiny_example, tiny_model, tiny_prompt

QUESTIONS = (
    "Where is the ring?",
    "What is the blue thing in this image? Please output segmentation mask.",
    "Why?",
)


@pytest.mark.parametrize("share_prefix", [True, False])
def test_dialogues_behind_one_prefix_are_answered_as_each_alone(share_prefix: bool) -> None:
    model = tiny_model()
    together = generate(model, collate([tiny_prompt(QUESTIONS)], share_prefix=share_prefix), max_new_tokens=6)
    alone = [generate(model, collate([tiny_prompt((q,))]), max_new_tokens=6)[0] for q in QUESTIONS]
    assert [dialogue.ids for dialogue in together] == [dialogue.ids for dialogue in alone]
    for a, b in zip(together, alone, strict=True):
        torch.testing.assert_close(torch.stack(a.states), torch.stack(b.states), atol=1e-5, rtol=1e-5)


def test_greedy_ids_are_those_of_transformers_generate() -> None:
    model = tiny_model()
    batch = collate([tiny_prompt(QUESTIONS[:1])])
    [ours] = generate(model, batch, max_new_tokens=8)
    theirs = model.backbone.llm.generate(
        inputs_embeds=model.backbone.embed(batch),
        max_new_tokens=8,
        do_sample=False,
        eos_token_id=model.encoder.eos,
    )
    assert ours.ids == theirs[0].tolist()[: len(ours.ids)]


def test_a_generated_slot_draws_the_mask_of_the_same_answer_forced() -> None:
    model = tiny_model()
    wanted = [
        *tiny_encoder().tokenizer("Sure, ", add_special_tokens=False).input_ids,
        tiny_encoder().token_id("[SEG]"),
        2,
    ]
    example = tiny_example(("Sure, {}",))
    branch = example.branches[0]
    start = int((branch.labels != -100).argmax())
    wanted = branch.ids[start:].tolist()
    prompt = replace(
        example,
        branches=(
            replace(branch, ids=branch.ids[:start], labels=branch.labels[:start], frame=branch.frame[:start],
                    patch=branch.patch[:start], slots=()),
        ),
    )  # fmt: skip
    told = iter(wanted)
    head = model.backbone.llm.lm_head
    head.register_forward_hook(
        lambda module, given, result: torch.nn.functional.one_hot(
            torch.tensor([next(told)]), result.shape[-1]
        ).float()
    )
    [said] = answer(model, collate([prompt]), max_new_tokens=len(wanted))
    [given] = forced(model, collate([example]))
    spoken = said.spoken
    assert spoken.ids == tuple(wanted) and spoken.status == "ok" and spoken.tokens == ("[SEG]",)
    assert masks(said).shape == (1, *example.size)
    torch.testing.assert_close(masks(said), masks(given), atol=1e-4, rtol=1e-4)


def test_an_answer_without_a_slot_says_so_and_has_no_mask() -> None:
    model = tiny_model()
    with torch.no_grad():
        model.backbone.llm.lm_head.weight[model.encoder.token_id("[SEG]")] = 0
    for given in answer(model, collate([tiny_prompt(QUESTIONS)]), max_new_tokens=3):
        assert given.spoken.status == "no_seg_token" and given.masks == () == given.spoken.prompts
