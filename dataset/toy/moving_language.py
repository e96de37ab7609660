"""What is said of a clip: things are asked for by what they do, by what that reminds of, and by their looks.

As with pictures, a wording is filled twice, see `words.Pair`: once it fits, once nothing in the clip fits it. Both fillings
share all words but the role (or the event), and roles are dealt out alike, so the words never tell which of the two it is.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from seglm.dataset.toy.clips import Clip, cast_of
from seglm.dataset.toy.crowds import couple_form, crowd_form
from seglm.dataset.toy.families import ANCHOR, BY_NAME, Family
from seglm.dataset.toy.moving_words import EVENTS, RANK_SAYINGS, inflect
from seglm.dataset.toy.reasoning import reasoning_form
from seglm.dataset.toy.referring import Form, attribute_form
from seglm.dataset.toy.scenes import Split
from seglm.dataset.toy.words import Description, Pair, Phrase, choose, describe, nothing, pick

NOUNS = ("thing", "object", "one")
SAYINGS = ("{n} that {v}", "{n} in the video that {v}", "{n} which {v}")
ONE_SENTENCES = ("Which {n} {v}?", "Can you find the {n} that {v}?", "Which of them is the {n} that {v}?")
MANY_SENTENCES = ("Which {n} {v}?", "Can you find all {n} that {v}?", "Which of them are the {n} that {v}?")
SENTENCE_ODDS = 0.6  # of a wording by likeness
SHARED_LOOKS = ("shape", "colour")  # by which a part of the cast may be named
WHOLE_CAST_ODDS = 0.5  # of a wording that says nothing about looks
LOOK_FORMS: tuple[tuple[Form, int], ...] = (  # with the number of tries per clip
    (attribute_form, 3),
    (crowd_form, 2),
    (couple_form, 1),
    (reasoning_form, 3),
)
ROLE_TRIES = {"one": 8, "several": 5, "like one": 4, "like several": 2, "rank": 6}
NONE_ODDS = 0.2  # of an expression that can be filled both ways


@dataclass(frozen=True)
class Expression:
    """A wording about a clip, with both fillings."""

    pair: Pair
    """the targets are indices of the clip's things; kinds: see `families`"""
    family: str
    """of the clip if the wording is about what things do, "looks" if it is not"""
    candidates: tuple[int, ...]
    """the things that its words on looks fit, at least two; who does not know what they do must guess among them"""


def expressions(clip: Clip, rng: np.random.Generator, *, split: Split) -> list[Expression]:
    """All that was found to say, in random order.

    No text is in two of them, whichever way they are filled, and none means everything in the clip.
    """
    family, found, taken = BY_NAME[clip.family], [], set[str]()
    for expression in _all_found(clip, family, rng, split):
        fillings = [one for one in (expression.pair.there, expression.pair.absent) if one is not None]
        texts = {one.text for one in fillings}
        if texts & taken or len(expression.pair.there.targets) == len(clip.things):
            continue
        taken |= texts
        found.append(expression)
    return [found[i] for i in rng.permutation(len(found))]


def fill(pair: Pair, rng: np.random.Generator, *, none_odds: float = NONE_ODDS) -> Phrase:
    """One of the two fillings, by a coin that falls alike for all wordings."""
    return pair.absent if pair.absent is not None and rng.random() < none_odds else pair.there


def _all_found(clip: Clip, family: Family, rng: np.random.Generator, split: Split) -> Iterator[Expression]:
    makers: dict[str, Callable[[], Expression | None]] = {
        "one": lambda: _by_role(clip, family, rng, split, several=False, by_likeness=False),
        "several": lambda: _by_role(clip, family, rng, split, several=True, by_likeness=False),
        "like one": lambda: _by_role(clip, family, rng, split, several=False, by_likeness=True),
        "like several": lambda: _by_role(clip, family, rng, split, several=True, by_likeness=True),
        "rank": lambda: _by_rank(clip, family, rng, split),
    }
    for name, make in makers.items():
        if (name == "rank") == family.is_ranked:
            for _ in range(ROLE_TRIES[name]):
                if (made := make()) is not None:
                    yield made
    if family.may_ask_looks:
        for form, tries in LOOK_FORMS:
            for _ in range(tries):
                pair = form(clip.scenes[0], rng, split)
                if pair is not None and pair.absent is not None and _holds_in_every_frame(pair, family):
                    yield Expression(pair, "looks", tuple(range(len(clip.things))))


def _holds_in_every_frame(pair: Pair, family: Family) -> bool:
    """False for what is said of places (it names no look) and for sizes that change."""
    return bool(pair.there.said) and not (family.kind == "growth" and "size" in pair.there.said)


def _by_role(
    clip: Clip, family: Family, rng: np.random.Generator, split: Split, *, several: bool, by_likeness: bool
) -> Expression | None:
    """Things by their role, among the whole cast or those of a look; None if no role fits that number of them."""
    look, members = _group(clip, rng)
    fits = {role: tuple(i for i in members if clip.roles[i] == role) for role in family.roles}
    there = [role for role, who in fits.items() if (len(who) > 1 if several else len(who) == 1)]
    absent = [role for role, who in fits.items() if not who]
    if not there or not absent:
        return None
    role = choose(there, rng)
    kind = "reasoning" if by_likeness else "multi" if several else family.kind
    saying = _saying(look, rng, split, several=several, by_likeness=by_likeness)
    anchor = anchor_name(clip)

    def text(name: str) -> str:
        words = family.roles[name].likenesses if by_likeness else family.roles[name].verbs
        verb = inflect(pick(words, rng, split=split), plural=several)
        return saying.replace("{v}", verb).replace("{a}", anchor)

    verb = inflect(family.roles[role].verbs[0], plural=several).replace("{a}", anchor)
    because = f"It is the {_name(clip, fits[role])}, because it {verb}."
    if several:
        because = f"These are the {_name(clip, fits[role])}, because they {verb}."
    phrase = Phrase(
        text(role),
        kind,
        fits[role],
        saying.endswith("?"),
        _name(clip, fits[role]),
        because if by_likeness else None,
        form=kind,
        said=look.said(),
    )
    none = nothing(text(choose(absent, rng)), kind, keyword="thing", is_sentence=phrase.is_sentence)
    return Expression(Pair(phrase, none), clip.family, members)


def _by_rank(clip: Clip, family: Family, rng: np.random.Generator, split: Split) -> Expression:
    """One thing by when it acts; the other filling names an event that never happens in the clip."""
    members = cast_of(clip)
    index = choose(members, rng)
    saying = pick(RANK_SAYINGS, rng, split=split).replace("{rank}", clip.roles[index])
    shared = [look for look, who in _groups(clip) if who == members]
    look = choose(shared, rng) if shared and rng.random() > WHOLE_CAST_ODDS else Description()
    saying = inflect(saying).replace("{n}", look.say(noun=choose(NOUNS, rng)))
    texts = [
        saying.replace("{e}", pick(EVENTS[name], rng, split=split)) for name in (family.name, family.sibling)
    ]
    kind, name = family.kind, _name(clip, (index,))
    phrase = Phrase(texts[0], kind, (index,), False, name, form=kind, said=look.said())
    return Expression(Pair(phrase, nothing(texts[1], kind, keyword="thing")), clip.family, members)


def _saying(
    look: Description, rng: np.random.Generator, split: Split, *, several: bool, by_likeness: bool
) -> str:
    """The words around the verb phrase {v}."""
    templates = SAYINGS
    if by_likeness and rng.random() < SENTENCE_ODDS:
        templates = MANY_SENTENCES if several else ONE_SENTENCES
    saying = pick(templates, rng, split=split)
    return saying.replace("{n}", look.say(noun=choose(NOUNS, rng), plural=several))


def _group(clip: Clip, rng: np.random.Generator) -> tuple[Description, tuple[int, ...]]:
    """The whole cast, or those of its things that share a look."""
    groups = _groups(clip)
    if not groups or rng.random() < WHOLE_CAST_ODDS:
        return Description(), cast_of(clip)
    return choose(groups, rng)


def _groups(clip: Clip) -> list[tuple[Description, tuple[int, ...]]]:
    """The looks that two or more of the cast share, with those who have them."""
    cast = cast_of(clip)
    found: dict[Description, tuple[int, ...]] = {}
    for names in (*((name,) for name in SHARED_LOOKS), SHARED_LOOKS):
        for i in cast:
            look = describe(clip.things[i], names)
            found[look] = tuple(j for j in cast if look.fits(clip.things[j]))
    return [(look, members) for look, members in found.items() if len(members) > 1]


def anchor_name(clip: Clip) -> str:
    """The short name of the thing that the clip turns around; empty if there is none."""
    anchors = [thing for thing, role in zip(clip.things, clip.roles) if role == ANCHOR]
    return describe(anchors[0], ("colour", "shape")).say() if anchors else ""


def _name(clip: Clip, targets: Sequence[int]) -> str:
    """The short names of things, by colour and shape."""
    return " and the ".join(describe(clip.things[i], ("colour", "shape")).say() for i in targets)
