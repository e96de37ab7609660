"""What one frame tells of the answer: `python -m tests.toy.oracle` prints it for every family of clips.

The oracle sees one frame. It knows the place, the size, the tilt, the colour, the shape, the pattern and the depth of every
candidate, and which role it is asked for, but not what was before or after. Two oracles are asked:

* `best rule`: of all rules "the candidate with the most (or the least) of one feature", for each role and frame the one that
  did best on the first half of the clips, asked about the second half;
* `fitted`: a choice model (a softmax over the candidates of a weighted sum of the features and their squares), for each role
  and frame fitted to the first half, asked about the second half.

Chance is the mean of 1 / number of candidates.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seglm.dataset.toy.clips import Clip, cast_of, make_clip
from seglm.dataset.toy.families import BY_NAME, FAMILIES, HIDDEN_KINDS
from seglm.dataset.toy.scenes import COLOURS, MATERIALS
from seglm.dataset.toy.shapes import SHAPES

MOMENTS = (0.0, 0.5, 1.0)
"""of the clip, at which the oracle looks"""
STEPS, RATE, DECAY = 120, 0.3, 0.02


@dataclass(frozen=True)
class Question:
    """One role that one of the candidates plays."""

    role: str
    features: tuple[NDArray[np.float64], ...]
    """for each moment: float [candidates, features]"""
    answer: int
    """index of the candidate"""


@dataclass(frozen=True)
class Score:
    """On the second half of the questions."""

    rule: float
    fitted: float
    chance: float
    error: float
    """standard error of an accuracy at chance; the answers of the moments about one question count as one"""


def questions(family: str, *, clips: int, first: int = 0) -> list[Question]:
    """One question about each clip in which one thing plays a role alone."""
    found = []
    for seed in range(first, first + clips):
        clip = make_clip(seed, split="test", family=family)
        rng = np.random.default_rng(seed)
        alone = [i for i in cast_of(clip) if clip.roles.count(clip.roles[i]) == 1]
        if alone:
            answer = alone[int(rng.integers(len(alone)))]
            frames = [round(moment * (len(clip.scenes) - 1)) for moment in MOMENTS]
            seen = tuple(_features(clip, frame) for frame in frames)
            found.append(Question(clip.roles[answer], seen, cast_of(clip).index(answer)))
    return found


def score(asked: list[Question]) -> Score:
    """Both oracles, the mean over all moments."""
    half = len(asked) // 2
    hits: dict[str, list[bool]] = {"rule": [], "fitted": []}
    for role in sorted({question.role for question in asked}):
        known = [question for question in asked[:half] if question.role == role]
        new = [question for question in asked[half:] if question.role == role]
        for moment in range(len(MOMENTS)):
            column, sign = _best_rule(known, moment)
            weights = _fit(known, moment)
            for question in new:
                features = question.features[moment]
                hits["rule"].append(int(np.argmax(sign * features[:, column])) == question.answer)
                hits["fitted"].append(int(np.argmax(_squared(features) @ weights)) == question.answer)
    chances = np.array([1 / len(question.features[0]) for question in asked[half:]])
    error = float(np.sqrt((chances * (1 - chances)).sum()) / len(chances))
    return Score(float(np.mean(hits["rule"])), float(np.mean(hits["fitted"])), float(chances.mean()), error)


def _features(clip: Clip, frame: int) -> NDArray[np.float64]:
    """float [candidates, features], each about -1 .. 1."""
    scene, members = clip.scenes[frame], cast_of(clip)
    things = [scene.things[i] for i in members]
    places = np.array([[t.x, t.y] for t in things]) / scene.width * 2 - 1
    gaps = np.linalg.norm(places[:, None] - places[None], axis=2) + 9 * np.eye(len(things))
    rows = []
    for number, (index, thing) in enumerate(zip(members, things)):
        row = [*places[number], abs(places[number, 0]), abs(places[number, 1])]
        row += [float(np.linalg.norm(places[number])), gaps[number].min(), index / len(scene.things)]
        row += [thing.radius / scene.width * 8 - 1, np.cos(thing.angle), np.sin(thing.angle)]
        row += [float(np.cos(4 * thing.angle)), float(places[number, 0] - places[:, 0].mean())]
        row += [float(places[number, 1] - places[:, 1].mean())]
        for value, values in ((thing.colour, COLOURS), (thing.shape, SHAPES), (thing.material, MATERIALS)):
            row += [float(value == one) for one in values]
        rows.append(row)
    return np.array(rows)


def _best_rule(known: list[Question], moment: int) -> tuple[int, int]:
    """(feature, 1 for the most of it or -1 for the least) that was right most often."""
    best, most = (0, 1), -1
    for column in range(known[0].features[moment].shape[1] if known else 1):
        for sign in (1, -1):
            right = sum(int(np.argmax(sign * q.features[moment][:, column])) == q.answer for q in known)
            if right > most:
                best, most = (column, sign), right
    return best


def _squared(features: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([features, features**2], axis=1)


def _fit(known: list[Question], moment: int) -> NDArray[np.float64]:
    """Weights of the choice model, by full-batch gradient steps on the mean log likelihood with some decay."""
    seen = [_squared(question.features[moment]) for question in known]
    weights = np.zeros(seen[0].shape[1] if seen else 1)
    for _ in range(STEPS):
        slope = -DECAY * weights
        for features, question in zip(seen, known):
            odds = np.exp(features @ weights)
            slope += (features[question.answer] - odds @ features / odds.sum()) / len(known)
        weights += RATE * slope
    return weights


def main(clips: int) -> None:
    print(f"{clips} clips a family, the second half scored, frames {MOMENTS}")
    print(f"{'family':12} {'kind':12} {'chance':>7} {'error':>6} {'best rule':>9} {'fitted':>7}")
    for family in FAMILIES:
        got = score(questions(family.name, clips=clips))
        mark = "" if BY_NAME[family.name].kind in HIDDEN_KINDS else "  (not claimed)"
        print(
            f"{family.name:12} {family.kind:12} {got.chance:7.3f} {got.error:6.3f} {got.rule:9.3f} {got.fitted:7.3f}{mark}"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 600)
