"""What one frame tells of the answer: `python -m tests.toy.oracle` prints it for every family of clips.

The oracle sees one frame. It knows the place, the size, the tilt, the colour, the shape, the pattern and the depth of every
candidate, and which role it is asked for, but not what was before or after. Two oracles are asked:

* `best rule`: of all rules "the candidate with the most (or the least) of one feature", for each role and frame the one that
  did best on the first half of the clips, asked about the second half;
* `fitted`: the choice model of `seglm.dataset.toy.still_frame`, for each role and frame fitted to the first half, asked about
  the second half.

Chance is the mean of 1 / number of candidates.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np

from seglm.dataset.toy import still_frame
from seglm.dataset.toy.families import BY_NAME, FAMILIES, HIDDEN_KINDS
from seglm.dataset.toy.still_frame import Question, fit, squared

MOMENTS = (0.0, 0.5, 1.0)
"""of the clip, at which the oracle looks"""


@dataclass(frozen=True)
class Score:
    """On the second half of the questions."""

    rule: float
    fitted: float
    chance: float
    error: float
    """standard error of an accuracy at chance; the answers of the moments about one question count as one"""


def questions(family: str, *, clips: int) -> list[Question]:
    """One question about each clip in which one thing plays a role alone."""
    return still_frame.questions(family, clips=clips, moments=MOMENTS)


def score(asked: list[Question]) -> Score:
    """Both oracles, the mean over all moments."""
    half = len(asked) // 2
    hits: dict[str, list[bool]] = {"rule": [], "fitted": []}
    for role in sorted({question.role for question in asked}):
        known = [question for question in asked[:half] if question.role == role]
        new = [question for question in asked[half:] if question.role == role]
        for moment in range(len(MOMENTS)):
            column, sign = _best_rule(known, moment)
            weights = fit(known, moment)
            for question in new:
                features = question.features[moment]
                hits["rule"].append(int(np.argmax(sign * features[:, column])) == question.answer)
                hits["fitted"].append(int(np.argmax(squared(features) @ weights)) == question.answer)
    chances = np.array([1 / len(question.features[0]) for question in asked[half:]])
    error = float(np.sqrt((chances * (1 - chances)).sum()) / len(chances))
    return Score(float(np.mean(hits["rule"])), float(np.mean(hits["fitted"])), float(chances.mean()), error)


def _best_rule(known: list[Question], moment: int) -> tuple[int, int]:
    """(feature, 1 for the most of it or -1 for the least) that was right most often."""
    best, most = (0, 1), -1
    for column in range(known[0].features[moment].shape[1] if known else 1):
        for sign in (1, -1):
            right = sum(int(np.argmax(sign * q.features[moment][:, column])) == q.answer for q in known)
            if right > most:
                best, most = (column, sign), right
    return best


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
