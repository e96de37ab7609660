"""A number that is read at a slot, and how it is learnt: `[SCORE]` of GLUS' key frames (kfs/ of GLUS-video/GLUS at 8fd138b).

Letters: D hidden size of the LLM, C width of a slot's vector.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from seglm.model.frame_ious import FrameIous, opened
from seglm.model.project import Project
from seglm.model.terms import Term
from seglm.utils.ranges import Names

if TYPE_CHECKING:
    from torch import Tensor

    from seglm.model.recipe import Recipe
    from seglm.model.released.checkpoint import Checkpoint
    from seglm.model.score_module import ScoreModule
    from seglm.model.segmenter import Segmenter
    from seglm.model.terms import Predicted
    from seglm.utils.batch import Batch

log = logging.getLogger(__name__)
HEAD = "project.score."
MAKES = 'make one: python -m seglm.evaluation.keyframes --predictions FOLDER --val_dataset "mevis|train"'


@dataclass(frozen=True)
class ScoreHead(Project):
    """Linear, ReLU, Linear, ReLU, Linear: D -> D -> C -> 1, as in the original, where C is SAM-2's 256."""

    def build(self, *, hidden: int, width: int) -> ScoreModule:
        from seglm.model.score_module import ScoreModule

        return ScoreModule(hidden, width)

    def begin(self, checkpoint: Checkpoint) -> Checkpoint:
        """See `Project`; the projection of a model that draws is left out, all layers begin anew."""
        if not checkpoint.has("project.") or checkpoint.has(HEAD):
            return checkpoint
        log.info("%s: its projection is left out, the score's layers begin anew", checkpoint.source)
        return checkpoint.without(("project.",))


@dataclass(frozen=True)
class Score(Term):
    """|score - IoU|, summed over the slots that are taught a number, counted per slot; the original's L1, weight 1."""

    name = "score"
    targets: Names = ()
    """files of IoUs that `evaluation.keyframes` writes, each of one data set or several"""

    def check(self, recipe: Recipe, /) -> None:
        if not isinstance(recipe.project, ScoreHead) or not recipe.score_token:
            raise ValueError(
                f"terms.score teaches what project=ScoreHead reads at a token that scores, and recipe {recipe.name} has "
                f"project={type(recipe.project).__name__} and the tokens {', '.join(recipe.vocabulary)}; use recipe glus_key, or "
                "one without this term"
            )

    def look(self) -> None:
        self.ious()

    def ious(self) -> FrameIous:
        """What is taught. Raises as `look`."""
        if not self.targets:
            raise ValueError(f"terms.score.targets is empty: there is nothing to learn from; {MAKES}")
        return opened(self.targets)

    def count(self, batch: Batch) -> int:
        return sum(slot.value is not None for slot in batch.slots)

    def total(self, batch: Batch, predicted: Predicted, model: Segmenter) -> Tensor:
        from seglm.model.score_module import ScoreModule, scores_of

        assert isinstance(model.project, ScoreModule), "`check` sees to it"
        scores = scores_of(model.project, predicted.queries_SC)
        if not batch.slots:
            return 0 * scores.sum()
        is_taught = ~batch.values.isnan()
        return ((scores - batch.values.nan_to_num()).abs() * is_taught).sum()


def term_of(terms: Sequence[Term]) -> Score:
    """The one of a recipe's terms. Raises ValueError if there is none."""
    found = next((term for term in terms if isinstance(term, Score)), None)
    if found is None:
        raise ValueError(
            f"terms: {', '.join(term.name for term in terms)}; a script that teaches scores needs terms.score"
        )
    return found
