"""What a single frame of a toy video tells about who is meant, to one who knows all looks.

A choice model: a softmax over the candidates of a weighted sum of features and their squares. It sees the place, the size, the
tilt, the colour, the shape, the pattern and the depth of every candidate at one moment, and which role is asked for, but not what
was before or after. For each role and moment it is fitted to clips that are in no world.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from seglm.dataset.toy.clips import Clip, cast_of, make_clip
from seglm.dataset.toy.layouts.ref_davis17 import ROUNDS
from seglm.dataset.toy.layouts.takes import Take
from seglm.dataset.toy.moving_language import Expression, expressions
from seglm.dataset.toy.scenes import COLOURS, MATERIALS
from seglm.dataset.toy.shapes import SHAPES

MIDDLE = 0.5
"""of a clip: the moment of the frame that is looked at"""
PURPOSES = ("mevis", "refer-youtube-vos", "revos", "reasonvos", "ref-davis17 does")
"""for which the sets draw their expressions"""
FIT_CLIPS, FIT_SEED = 160, 8_000_000  # clips of a family to learn from, and the first of their seeds
STEPS, RATE, DECAY = 120, 0.3, 0.02
REMEMBERED = 8  # takes


@dataclass(frozen=True)
class Question:
    """One role that one of the candidates plays."""

    role: str
    features: tuple[NDArray[np.float64], ...]
    """for each moment: float [candidates, features]"""
    answer: int
    """index of the candidate"""


def guess(take: Take, text: str) -> tuple[int, ...] | None:
    """The things that who saw the middle frame alone takes an expression to mean; None if the sets' language has no such text.

    What is said of looks is known. Of what things do the likeliest candidates are chosen, as many as are meant; if nothing is
    meant, one by lot, as no frame says that nothing fits.
    """
    found = _said(take).get(_plain(text))
    if found is None:
        return None
    expression, is_there = found
    there, members = expression.pair.there.targets, expression.candidates
    if expression.family == "looks":
        return there if is_there else ()
    if not is_there:
        return (int(take.rng(f"still frame {text}").choice(members)),)
    frame = moment_of(take.clip, MIDDLE)
    odds = squared(features(take.clip, frame, members)) @ _learnt(take.clip.family, take.clip.roles[there[0]])
    best = np.argsort(-odds, kind="stable")[: len(there)]
    return tuple(sorted(members[number] for number in best))


def questions(
    family: str, *, clips: int, first: int = 0, moments: Sequence[float] = (MIDDLE,)
) -> list[Question]:
    """One question about each clip in which one thing plays a role alone."""
    found = []
    for seed in range(first, first + clips):
        clip = make_clip(seed, split="test", family=family)
        rng, members = np.random.default_rng(seed), cast_of(clip)
        alone = [i for i in members if clip.roles.count(clip.roles[i]) == 1]
        if alone:
            answer = alone[int(rng.integers(len(alone)))]
            seen = tuple(features(clip, moment_of(clip, moment), members) for moment in moments)
            found.append(Question(clip.roles[answer], seen, members.index(answer)))
    return found


def moment_of(clip: Clip, moment: float) -> int:
    """The frame at a share of the clip's length, 0 to 1."""
    return round(moment * (len(clip.scenes) - 1))


def features(clip: Clip, frame: int, members: Sequence[int]) -> NDArray[np.float64]:
    """Of some things of a clip: float [members, features], each about -1 .. 1."""
    scene = clip.scenes[frame]
    things = [scene.things[i] for i in members]
    places = np.array([[t.x, t.y] for t in things]) / scene.width * 2 - 1
    gaps = np.linalg.norm(places[:, None] - places[None], axis=2) + 9 * np.eye(len(things))
    rows = []
    for number, (index, thing) in enumerate(zip(members, things, strict=True)):
        row = [*places[number], abs(places[number, 0]), abs(places[number, 1])]
        row += [float(np.linalg.norm(places[number])), gaps[number].min(), index / len(scene.things)]
        row += [thing.radius / scene.width * 8 - 1, np.cos(thing.angle), np.sin(thing.angle)]
        row += [float(np.cos(4 * thing.angle)), float(places[number, 0] - places[:, 0].mean())]
        row += [float(places[number, 1] - places[:, 1].mean())]
        for value, values in ((thing.colour, COLOURS), (thing.shape, SHAPES), (thing.material, MATERIALS)):
            row += [float(value == one) for one in values]
        rows.append(row)
    return np.array(rows)


def squared(seen: NDArray[np.float64]) -> NDArray[np.float64]:
    """Features and their squares, float [candidates, 2 features]."""
    return np.concatenate([seen, seen**2], axis=1)


def fit(known: Sequence[Question], moment: int) -> NDArray[np.float64]:
    """Weights of the choice model, by full-batch gradient steps on the mean log likelihood with some decay.

    moment: position in `Question.features`. Returns float [2 features]; one 0 without questions.
    """
    seen = [squared(question.features[moment]) for question in known]
    weights = np.zeros(seen[0].shape[1] if seen else 1)
    for _ in range(STEPS):
        slope = -DECAY * weights
        for of_all, question in zip(seen, known, strict=True):
            odds = np.exp(of_all @ weights)
            slope += (of_all[question.answer] - odds @ of_all / odds.sum()) / len(known)
        weights += RATE * slope
    return weights


@lru_cache(None)
def _learnt(family: str, role: str) -> NDArray[np.float64]:
    known = [one for one in _lessons(family) if one.role == role]
    return fit(known, 0)


@lru_cache(None)
def _lessons(family: str) -> tuple[Question, ...]:
    return tuple(questions(family, clips=FIT_CLIPS, first=FIT_SEED))


@lru_cache(REMEMBERED)
def _said(take: Take) -> dict[str, tuple[Expression, bool]]:
    """Text -> its expression, and whether it is the filling that fits."""
    found: dict[str, tuple[Expression, bool]] = {}
    for purpose in PURPOSES:
        rng = take.rng(purpose)
        for _ in range(ROUNDS):
            for one in expressions(take.clip, rng, split=take.split):
                found.setdefault(_plain(one.pair.there.text), (one, True))
                if one.pair.absent is not None:
                    found.setdefault(_plain(one.pair.absent.text), (one, False))
    return found


def _plain(text: str) -> str:
    """As loaders tell texts apart: lower case, one space between words."""
    return " ".join(text.lower().split())
