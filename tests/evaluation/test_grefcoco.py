"""Expressions without a referent: what counts as a rejection, how it is stored, and what is printed of it."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from seglm.evaluation.asking.benchmark import Benchmark, benchmark
from seglm.evaluation.asking.evaluate import evaluate_asker
from seglm.evaluation.offline import score_folder
from seglm.evaluation.scores.files import read_mask, write_mask
from seglm.evaluation.scores.first_mask import rejects
from seglm.evaluation.scores.report import read_scores
from seglm.evaluation.table import markdown, table
from seglm.model.recipe import Recipe, Token
from seglm.model.recipes import recipe as named
from seglm.model.settings import Evaluate
from seglm.utils.answers import Answer, Spoken
from seglm.utils.types import Sample
from tests.evaluation.fakes import HEIGHT, WIDTH, FakeSource, answered, rectangle, saying

NOTHING = np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
SOMETHING = rectangle(3, 4)
REJECTED = Spoken("Sure, [REJ].", (1, 2), "rejected", ("[REJ]",), (None,))
SAMPLES = 8  # of two targets; the second targets of samples 3 and 7 have no referent


@pytest.fixture
def recipe() -> Recipe:
    return replace(named("lisa_tiny"), evaluate=Evaluate(batch_size=3))


def rejecting(mask: NDArray[np.bool_] | None = None) -> Answer:
    """An answer of GSVA's sort; with a mask it is one of the forced protocol, which decodes what was rejected, too."""
    if mask is not None:
        return replace(answered(mask), spoken=REJECTED)
    return Answer(REJECTED, (None,), (0.0,))


@saying
def half_right(sample: Sample, number: int, mask: NDArray[np.bool_]) -> Answer:
    """Draws the truth, but rejects a thing that is there (sample 0), and draws one that is not (sample 7); 3 is right."""
    place = f"{sample.key[-1]}.{number}"
    if place in ("3.1", "0.0"):
        return rejecting()
    return answered(SOMETHING if place == "7.1" else mask)


@pytest.mark.parametrize(
    "answer, mask, with_rej, without",
    [
        (rejecting(), NOTHING, True, True),
        (rejecting(SOMETHING), SOMETHING, True, False),  # forced: a mask stands there all the same
        (answered(SOMETHING), SOMETHING, False, False),
        (answered(NOTHING), NOTHING, False, True),  # a system with [REJ] has to write it
        (answered(None), NOTHING, False, True),
    ],
)
def test_a_rejection_is_the_word_or_where_there_is_no_word_an_empty_mask(
    answer: Answer, mask: NDArray[np.bool_], with_rej: bool, without: bool
) -> None:
    assert rejects(answer, mask, token="[REJ]") is with_rej
    assert rejects(answer, mask, token="") is without


def gref(spec: str = "grefcoco|val") -> Benchmark:
    return benchmark(spec)


def test_all_cells_are_scored_and_printed_as_upstream_prints_them(recipe: Recipe, tmp_path: Path) -> None:
    recipe = replace(recipe, tokens=(*recipe.tokens, Token("[REJ]", "rejects")))
    first = replace(gref(), texts="first")
    scores = evaluate_asker(half_right, first, first.select(FakeSource(SAMPLES)), recipe, out_dir=tmp_path)
    assert scores.all.n == 16 and scores.all.num_empty == 2
    assert scores.all.n_acc == 0.5 and scores.all.t_acc == pytest.approx(13 / 14)
    assert scores.all.giou == pytest.approx(14 / 16, abs=1e-5)
    assert scores.all.positives == pytest.approx(13 / 14, abs=1e-5)
    assert scores.all.thresholds == (0.7, 0.8, 0.9) and scores.all.precision == (13 / 14,) * 3
    assert scores.kinds["attribute"].n_acc is None and scores.kinds["attribute"].t_acc == 7 / 8
    assert scores.upstream == f"giou: 0.8750, ciou: {scores.all.ciou:.4f}, N_acc: 0.5000, T_acc: 0.9286"
    assert str(scores).endswith(scores.upstream) and "Pr@0.9 | N-acc | T-acc |" in str(scores)
    assert read_scores(tmp_path) == scores
    header = markdown(table({"a": scores}, title="T")).splitlines()[2]
    assert header == (
        "| | gIoU (16) | positives (14) | attribute (8) | reasoning (8) | cIoU (16) | [SEG] rate (16) | N-acc (2) | T-acc (14) |"
    )


def test_rejections_are_read_back_from_the_predictions(recipe: Recipe, tmp_path: Path) -> None:
    """A forced answer that rejects has a mask; only the CSV knows that it was rejected."""

    @saying
    def forced(sample: Sample, number: int, mask: NDArray[np.bool_]) -> Answer:
        return rejecting(SOMETHING) if mask.any() else rejecting()

    recipe, chosen = replace(recipe, tokens=(*recipe.tokens, Token("[REJ]", "rejects"))), gref()
    selection = chosen.select(FakeSource(SAMPLES))
    now = evaluate_asker(forced, chosen, selection, recipe, protocol="forced", out_dir=tmp_path)
    assert now.all.t_acc == 0 and now.all.n_acc == 1 and now.all.giou > 0.2
    with (tmp_path / "predictions.csv").open(newline="") as stream:
        assert {row["rejected"] for row in csv.DictReader(stream)} == {"True"}
    assert score_folder(tmp_path, selection, chosen, out_dir=tmp_path / "later", protocol="forced") == now
    by_rela = score_folder(
        tmp_path, selection, chosen, out_dir=tmp_path / "rela", protocol="forced", convention="rela"
    )
    assert by_rela.all.positives == 0 and by_rela.upstream.startswith("gIoU: 12.5000, cIoU: 0.0000, T_acc: 0")


def test_an_empty_mask_of_another_program_rejects(tmp_path: Path) -> None:
    chosen = gref()
    selection = chosen.select(FakeSource(4))
    for number in range(4):
        for target in selection.sample(number).targets:
            write_mask(tmp_path / f"{target.key}.png", target.masks([0])[0])
    scores = score_folder(tmp_path, selection, chosen, out_dir=tmp_path / "out")
    assert (scores.all.giou, scores.all.n_acc, scores.all.t_acc) == (pytest.approx(1, abs=1e-5), 1, 1)
    missed = selection.sample(3).targets[2]
    assert not read_mask(tmp_path / f"{missed.key}.png").any()
    write_mask(tmp_path / f"{missed.key}.png", SOMETHING)
    again = score_folder(tmp_path, selection, chosen, out_dir=tmp_path / "out")
    assert again.all.n_acc is not None and again.all.n_acc < 1


def test_what_is_drawn_for_nothing_counts_on_grefcoco_and_not_on_refzom(recipe: Recipe) -> None:
    @saying
    def draws_always(sample: Sample, number: int, mask: NDArray[np.bool_]) -> Answer:
        return answered(mask if mask.any() else SOMETHING)

    def ciou(spec: str) -> float:
        chosen = gref(spec)
        return evaluate_asker(draws_always, chosen, chosen.select(FakeSource(4)), recipe).all.ciou

    assert ciou("refzom|test") == 1
    assert ciou("grefcoco|val") < 1


def test_a_convention_belongs_to_a_benchmark(recipe: Recipe) -> None:
    assert [gref().average(one) for one in (None, "rela", "lisa")] == ["gsva", "rela", "lisa"]  # type: ignore[arg-type]
    with pytest.raises(
        ValueError, match=r"--convention gsva is not for ReasonSeg\|val.*permitted are lisa, plain"
    ):
        chosen = benchmark("ReasonSeg|val")
        evaluate_asker(half_right, chosen, chosen.select(FakeSource(2)), recipe, convention="gsva")
