"""Where the tiny LLaVA is taught to attend: facts at the things they mean, each part of an answer at its own thing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from seglm.bases import scene_cache, tiny_llava, tiny_llava_losses, vocabulary
from seglm.bases.attention_lessons import attention_targets
from seglm.bases.packing import Packed, Packer
from seglm.bases.patch_lessons import PATCH, filled_by
from seglm.bases.scene_cache import DrawnScenes
from seglm.dataset.toy.asking import Question
from seglm.dataset.toy.facts import FACTS
from seglm.dataset.toy.scenes import Scene, make_scene
from seglm.model.backbones.tokenizer import load_tokenizer

LLAVA = Path(scene_cache.__file__).resolve().parent / "llava"
PATCHES = (scene_cache.SIDE // PATCH) ** 2


@pytest.fixture(scope="module")
def packer() -> Packer:
    return Packer(load_tokenizer(LLAVA, tokens=(), image_tokens=vocabulary.IMAGE_TOKENS), patches=PATCHES)


@pytest.fixture(scope="module")
def base(packer: Packer) -> tiny_llava.TinyLlava:
    return tiny_llava.TinyLlava(packer.word_ids)


def drawn(scene: Scene) -> DrawnScenes:
    return DrawnScenes((scene,), scene_cache.shrunk(scene)[None], scene_cache.owner_map(scene)[None])


def packed(packer: Packer, *questions: Question) -> Packed:
    """One row; questions about nothing fill it up."""
    more = [Question(f"How many things are there?{' ' * n}", "Two.", "count") for n in range(3)]
    return packer.pack([[*questions, *more]])


def aim(
    base: tiny_llava.TinyLlava, scene: Scene, row: Packed, layer: int, place: tuple[int, int]
) -> np.ndarray:
    places, shares = attention_targets(base.words, drawn(scene), row)[layer]
    [at] = [n for n, one in enumerate(places.tolist()) if tuple(one) == place]
    return shares[at].numpy()


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact.verb)
def test_every_fact_is_found_where_its_last_word_stands(packer: Packer, fact: object) -> None:
    text = f"Can you find what {fact.verb}?"  # type: ignore[attr-defined]
    row = packed(packer, Question(text, "It is nowhere.", "where", "none"))
    [(_, found, (line, place))] = row.facts
    assert found is fact
    assert packer.words(row.ids[line, place : place + 1])[0].strip("\u2581") == found.verb.split()[-1]


def test_a_fact_is_looked_for_at_the_things_it_means_but_never_when_it_is_asked_alone(
    packer: Packer, base: tiny_llava.TinyLlava
) -> None:
    scene = make_scene(3)
    fact = next(f for f in FACTS if f.attribute == "colour" and f.value == scene.things[0].colour)
    asked = Question(
        f"The thing that {fact.verb} Where is it?", "It is f7, 3 by 4.", "where", "reasoning", (0,)
    )
    row = packed(packer, asked)
    [(_, _, place)] = row.facts
    same = [i for i, thing in enumerate(scene.things) if thing.colour == fact.value]
    there = filled_by(scene_cache.owner_map(scene), len(scene.things))[:, same].sum(1)
    np.testing.assert_allclose(aim(base, scene, row, 1, place), there / there.sum(), rtol=1e-6)
    alone = packed(packer, asked, Question(f"Which colour {fact.verb}?", f"It is {fact.value}.", "fact"))
    places = [p for question, _, p in alone.facts if question.kind == "fact"]
    looked = {tuple(one) for one in attention_targets(base.words, drawn(scene), alone)[1][0].tolist()}
    assert places and not looked & set(places)


def test_each_part_of_an_answer_looks_at_the_thing_it_names(
    packer: Packer, base: tiny_llava.TinyLlava
) -> None:
    scene = next(s for s in map(make_scene, range(50)) if len(s.things) >= 3)
    left, right = sorted((0, 1), key=lambda i: scene.things[i].x)
    question = Question("Where are they?", "It is c4, 3 by 4 and k9, 5 by 5.", "where", "multi", (0, 1))
    row = packed(packer, question)
    [(_, start, end)] = [span for span in row.spans if span[0] is question]
    filled = filled_by(scene_cache.owner_map(scene), len(scene.things))
    for at, token in zip(range(start, end), packer.words(row.answers[start:end]), strict=True):
        place = (0, int(row.predicts[at, 1]))
        got = aim(base, scene, row, 2, place)
        before = packer.words(row.answers[start:at])
        named = sum(word.strip("\u2581") in ("c4", "k9") for word in before)
        things = [0, 1] if named == 0 else [left] if named == 1 and "k9" not in token else [right]
        want = filled[:, things].sum(1)
        np.testing.assert_allclose(got, want / want.sum(), rtol=1e-6, err_msg=token)


def test_knowledge_is_learnt_without_a_look(packer: Packer, base: tiny_llava.TinyLlava) -> None:
    fact = FACTS[0]
    row = packed(packer, Question(f"Which {fact.attribute} {fact.verb}?", f"It is {fact.value}.", "fact"))
    [(_, _, place)] = row.facts
    state = torch.zeros(1, row.ids.shape[1], 128)
    embedded = base.llava.model.language_model.embed_tokens.weight.detach()
    right = base.words[fact.attribute][("red", "green").index(fact.value)]
    state[0, place[1]] = 50 * embedded[right]
    loss, share = tiny_llava_losses.fact_loss(base, row, [state])
    wrong, _ = tiny_llava_losses.fact_loss(base, row, [-state])
    assert share == 1.0 and loss < wrong
