"""Forms of speech that never name the thing: facts that everybody knows, and two steps of thought.

As in the other forms, both fillings of a wording share all words but the ones that decide, and those are drawn alike.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np

from seglm.dataset.toy.facts import FACTS, Fact
from seglm.dataset.toy.relating import SIDE_WORDS, side_holds
from seglm.dataset.toy.scenes import Scene, Split, Thing
from seglm.dataset.toy.words import (
    FIELDS,
    Pair,
    Phrase,
    absent_look,
    choose,
    describe,
    is_held_out,
    may_ask,
    pick,
)

SENTENCES = ("What {v}?", "Which thing {v}?", "Can you find what {v}?", "Which of the things {v}?")
WORDINGS = ("thing that {v}", "object that {v}", "one that {v}", "one you can see that {v}")
SHARE_SAYINGS = (
    "thing that has the same {f} as the {a}",
    "object that shares its {f} with the {a}",
    "one that has the {f} of the {a}",
)
ODD_SAYINGS = (
    "odd one out",
    "one that is not like the others",
    "one that differs from the others",
    "odd one",
)
SHARED = ("colour", "shape")


def reasoning_form(scene: Scene, rng: np.random.Generator, split: Split) -> Pair | None:
    """One thing by thought: a fact, two facts, a fact and a side, a shared look, the odd one out."""
    roll = rng.random()
    if roll < 0.5:
        return _one_fact(scene, rng, split)
    if roll < 0.65:
        return _two_facts(scene, rng, split)
    if roll < 0.8:
        return _beside_fact(scene, rng, split)
    return _shared(scene, rng, split) if roll < 0.92 else _odd_one(scene, rng, split)


@cache
def facts_of(attribute: str, value: str, *, split: Split) -> tuple[Fact, ...]:
    """The facts about a value that a split may ask; empty for values about which nothing is known (plain)."""
    return tuple(
        f
        for f in FACTS
        if (f.attribute, f.value) == (attribute, value) and not (split == "train" and f.held_out)
    )


def fact_of(thing: Thing, attribute: str, rng: np.random.Generator, *, split: Split) -> Fact | None:
    """A fact that is true of the thing's value of the attribute; outside training the held-out one half of the time."""
    facts = facts_of(attribute, getattr(thing, attribute), split=split)
    if not facts:
        return None
    return facts[-1] if split != "train" and rng.random() < 0.5 else choose(facts, rng)


def odd_one(scene: Scene) -> tuple[int, str] | None:
    """The thing that differs, and in what; None unless it is the only one that any attribute sets apart."""
    found: dict[int, str] = {}
    for name in reversed(FIELDS):
        values = [getattr(thing, name) for thing in scene.things]
        alone = [i for i, value in enumerate(values) if values.count(value) == 1]
        if len(values) >= 3 and len(alone) == 1 and len(set(values)) == 2:
            found.setdefault(alone[0], name)
    if len(found) != 1:
        return None
    index, name = next(iter(found.items()))
    return (index, name) if name in SHARED else None


def _one_fact(scene: Scene, rng: np.random.Generator, split: Split) -> Pair | None:
    attribute = choose(("colour", "shape", "colour", "shape", "material"), rng)
    index = int(rng.integers(len(scene.things)))
    absent = absent_look(scene, (attribute,), rng, split=split)
    there_fact = fact_of(scene.things[index], attribute, rng, split=split)
    if absent is None or there_fact is None:
        return None
    absent_facts = facts_of(attribute, getattr(absent, attribute), split=split)
    if not absent_facts:
        return None
    absent_fact = absent_facts[-1] if split != "train" and rng.random() < 0.5 else choose(absent_facts, rng)
    same = [t for t in scene.things if getattr(t, attribute) == there_fact.value]
    if len(same) != 1:
        return None
    verbs = (there_fact.verb, absent_fact.verb)
    return _pair(scene, verbs, rng, split=split, index=index, reason=there_fact.reason, said=(attribute,))


def _two_facts(scene: Scene, rng: np.random.Generator, split: Split) -> Pair | None:
    """A colour and a shape, both unsaid."""
    index = int(rng.integers(len(scene.things)))
    thing = scene.things[index]
    absent = absent_look(scene, SHARED, rng, split=split)
    alike = [t for t in scene.things if (t.colour, t.shape) == (thing.colour, thing.shape)]
    if absent is None or alike != [thing]:
        return None
    model = Thing(absent.shape, absent.colour, "", "", 0, 0, 0, 0)
    facts = [[fact_of(t, name, rng, split=split) for name in SHARED] for t in (thing, model)]
    verbs = [" and ".join(fact.verb for fact in pair if fact is not None) for pair in facts]
    reason = " and ".join(fact.reason for fact in facts[0] if fact is not None)
    return _pair(scene, verbs, rng, split=split, index=index, reason=reason, said=SHARED)


def _beside_fact(scene: Scene, rng: np.random.Generator, split: Split) -> Pair | None:
    """The thing to one side of a thing that is meant by a fact; the absent wording has a side where nothing is."""
    index, name = int(rng.integers(len(scene.things))), choose(tuple(SIDE_WORDS), rng)
    fact = fact_of(scene.things[index], choose(SHARED, rng), rng, split=split)
    if fact is None or sum(getattr(t, fact.attribute) == fact.value for t in scene.things) != 1:
        return None
    if split == "train" and is_held_out(scene.things[index]):
        return None
    sides = {side: _on_side(scene, side, index) for side in SIDE_WORDS}
    alone = [side for side, (there, maybe) in sides.items() if len(there) == 1 and there == maybe]
    empty = [side for side, (_, maybe) in sides.items() if not maybe]
    if not alone or not empty:
        return None
    name, other = choose(alone, rng), choose(empty, rng)
    verbs = [f"is {choose(SIDE_WORDS[side][0], rng)} the one that {fact.verb}" for side in (name, other)]
    return _pair(scene, verbs, rng, split=split, index=sides[name][0][0], reason=fact.reason)


def _on_side(scene: Scene, side: str, anchor: int) -> tuple[list[int], list[int]]:
    """The things on a side of the anchor, and those that may be."""
    holds = side_holds(scene, side, scene.things[anchor])
    verdicts = {i: holds(thing) for i, thing in enumerate(scene.things) if i != anchor}
    there = [i for i, verdict in verdicts.items() if verdict]
    return there, [i for i, verdict in verdicts.items() if verdict is not False]


def _shared(scene: Scene, rng: np.random.Generator, split: Split) -> Pair | None:
    """The one other thing that shares a look with a named thing; the absent wording names a thing that shares it with none."""
    attribute = choose(SHARED, rng)
    naming = "shape" if attribute == "colour" else "colour"
    values = [getattr(thing, attribute) for thing in scene.things]
    names = [getattr(thing, naming) for thing in scene.things]
    pairs = [i for i, value in enumerate(values) if values.count(value) == 2 and names.count(names[i]) == 1]
    loners = [i for i, value in enumerate(values) if values.count(value) == 1 and names.count(names[i]) == 1]
    if not pairs or not loners:
        return None
    saying = pick(SHARE_SAYINGS, rng, split=split).replace("{f}", attribute)
    index, loner = choose(pairs, rng), choose(loners, rng)
    target = next(i for i, value in enumerate(values) if value == values[index] and i != index)
    if not may_ask(scene, (target, index, loner), split=split):
        return None
    texts = [saying.format(a=describe(scene.things[i], (naming,)).say()) for i in (index, loner)]
    reason = f"the {attribute} of both is {values[index]}"
    return _as_pair(scene, texts, target, reason, is_sentence=False, said=(attribute,))


def _odd_one(scene: Scene, rng: np.random.Generator, split: Split) -> Pair | None:
    odd = odd_one(scene)
    if odd is None or not may_ask(scene, odd[:1], split=split):
        return None
    text = pick(ODD_SAYINGS, rng, split=split)
    rest = getattr(scene.things[odd[0] - 1], odd[1])
    return _as_pair(
        scene, [text], odd[0], f"the {odd[1]} of all the others is {rest}", is_sentence=False, said=odd[1:]
    )


def _pair(
    scene: Scene,
    verbs: Sequence[str],
    rng: np.random.Generator,
    *,
    split: Split,
    index: int,
    reason: str,
    said: tuple[str, ...] = (),
) -> Pair | None:
    """The pair of two verb phrases, the first true of one thing, the second of none."""
    if not may_ask(scene, (index,), split=split):
        return None
    is_sentence = bool(rng.random() < 0.6)
    saying = pick(SENTENCES if is_sentence else WORDINGS, rng, split=split)
    texts = [saying.format(v=verb) for verb in verbs]
    return _as_pair(
        scene,
        texts,
        index,
        reason,
        is_sentence=is_sentence,
        said=said,
    )


def _as_pair(
    scene: Scene,
    texts: Sequence[str],
    index: int,
    reason: str,
    *,
    is_sentence: bool,
    said: tuple[str, ...] = (),
) -> Pair:
    """The phrase with its explanation, and the absent one where there is a second text."""
    name = describe(scene.things[index], ("colour", "shape")).say()
    because = f"It is the {name}, because {reason}."
    there = Phrase(texts[0], "reasoning", (index,), is_sentence, name, because, None, "reasoning", said)
    absent = Phrase(texts[1], "none", (), is_sentence, "thing", form="reasoning") if len(texts) > 1 else None
    return Pair(there, absent)
