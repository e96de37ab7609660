"""A league: what a row is, what is done again and what is not, the table, the picture; with work that is done by a fake."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from seglm.dataset import sources
from seglm.dataset.description import Description
from seglm.dataset.toy.write import write
from seglm.evaluation.asking.benchmark import benchmark
from seglm.evaluation.asking.evaluate import evaluate_asker
from seglm.evaluation.league import entrants as league_entrants
from seglm.evaluation.league import work as league_work
from seglm.evaluation.league.__main__ import main
from seglm.evaluation.league.compete import Played, compete, steps_of
from seglm.evaluation.league.entrants import (
    Budget,
    Entrant,
    entrants,
    fingerprint,
    resolved,
    seeds_of,
    stages,
)
from seglm.evaluation.league.picture import pick_questions
from seglm.evaluation.league.standings import SPREAD, cells
from seglm.evaluation.league.work import scores_folder
from seglm.evaluation.scores.results import Said, Scores
from seglm.model.recipes import recipe as named
from seglm.model.recipes import recipes
from seglm.model.settings import Data
from seglm.utils.answers import Answer
from tests.evaluation.fakes import answered, saying

SPECS = ("ReasonSeg|val", "refcoco|unc|val", "grefcoco|unc|val")
ROWS = "lisa_tiny,lisa_tiny:optim.lr=1e-4"
NOWHERE = Path("-")  # rows that are named need no world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("world") / "toy"
    write(root, images=10, val_images=4, test_images=4)
    return root


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compressing them takes most of the time of these tests; those about pictures do without this."""
    monkeypatch.setattr("seglm.evaluation.scores.report.sheet", lambda *_, **__: None)
    monkeypatch.setattr("seglm.evaluation.league.__main__.save_pictures", lambda out, *_: [out])


@dataclass
class Fake:
    """Answers with the truth, moved by as many pixels as the seed says; keeps count of what it was asked to do."""

    budget: Budget
    broken: str = ""
    trials: list[str] = field(default_factory=list)
    games: list[tuple[str, int, tuple[int, ...]]] = field(default_factory=list)

    def seconds_per_step(self, entrant: Entrant) -> float:
        self.trials.append(entrant.name)
        return 0.5 if entrant.settings else 0.25

    def play(
        self, entrant: Entrant, *, seed: int, steps: Sequence[int], folder: Path
    ) -> tuple[Mapping[str, Scores], float]:
        self.games.append((entrant.name, seed, tuple(steps)))
        if self.broken == f"{entrant.name} {seed}":
            raise RuntimeError(f"{folder}/train.txt ends, with status 1: error: no memory")

        ask = saying(lambda sample, number, mask: moved(mask, seed))
        recipe = resolved(entrant, self.budget.dataset_dir, seed=seed, steps=steps[-1])
        found = {}
        for spec in self.budget.benchmarks:
            asked = benchmark(spec)
            place = scores_folder(folder, spec)
            found[spec] = evaluate_asker(
                ask, asked, asked.open(self.budget.dataset_dir), recipe, out_dir=place
            )
        return found, 12.0

    def stop(self) -> None:
        self.trials.append("stopped")


def moved(mask: NDArray[np.bool_], seed: int) -> Answer:
    return answered(np.roll(mask, 2 * seed, axis=1))


def budget(world: Path, **changes: object) -> Budget:
    return replace(Budget(1.0, world, SPECS), **changes)  # type: ignore[arg-type]


def command(world: Path, out: Path, work: Fake, *more: str) -> None:
    main(
        ["--rows", ROWS, "--seeds", "0,1", "--minutes", "1", "--dataset_dir", str(world), "--out", str(out), *more],
        work=work,
    )  # fmt: skip


def test_without_a_checkout_it_ends_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(league_work, "TRAIN", tmp_path / "site-packages" / "train_ds.py")
    with pytest.raises(
        SystemExit, match=r"error: .*train_ds.py: is not there, .*git clone, then `pip install -e"
    ):
        main(["--dataset_dir", str(tmp_path), "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


# ---- rows ------------------------------------------------------------------------------------------------------------
def test_a_row_is_a_recipe_with_settings() -> None:
    one, other = entrants(" lisa_tiny , lisa_tiny:optim.lr=1e-4:data.explanatory=0.2", NOWHERE)
    assert (one.recipe, one.settings) == ("lisa_tiny", ())
    assert other.settings == (("optim.lr", "1e-4"), ("data.explanatory", "0.2"))
    assert other.slug == "lisa_tiny_optim.lr_1e-4_data.explanatory_0.2"
    recipe = resolved(other, Path("d"), seed=3, steps=70)
    assert (recipe.optim.lr, recipe.engine.seed, recipe.schedule.steps_per_epoch, recipe.schedule.epochs) == (
        1e-4, 3, 70, 1,
    )  # fmt: skip
    assert (recipe.data.dataset_dir, recipe.engine.workers) == ("d", 0)
    [named_set] = entrants("lisa_tiny:data.mixture=refcoco:data.rates=1", NOWHERE)
    assert resolved(named_set, Path("d")).data.families() == {"refcoco": ("refcoco",)}


def test_the_default_rows_are_the_tiny_recipes_whose_data_the_world_has(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tiny = {name: make for name, make in recipes().items() if name.endswith("_tiny")}
    # this world has pictures only
    moving = ("videolisa_tiny", "glus_tiny", "sa2va_tiny", "desa2va_tiny")
    at_home = [name for name in tiny if name not in moving]
    assert [row.name for row in entrants("", world)] == at_home
    elsewhere = replace(
        named("lisa_tiny"), data=Data(mixture=("x",), rates=(1.0,), sets={"x": ("dots|train",)})
    )
    about = Description(("dots",), "x", ("train",), ("dots/train.json", "dots/*.png"), "here", {})
    known = {**sources.loaders(), "dots": SimpleNamespace(DESCRIPTION=about)}
    monkeypatch.setattr(sources, "loaders", lambda: known)
    monkeypatch.setattr(league_entrants, "recipes", lambda: [*tiny, "dots_tiny"])
    monkeypatch.setattr(league_entrants, "named", lambda name: named(name) if name in tiny else elsewhere)
    with caplog.at_level("INFO"):
        assert [row.name for row in entrants("", world)] == at_home
    assert "dots_tiny takes no part: dots|train is not in" in caplog.text
    assert [row.name for row in entrants("dots_tiny", world)] == ["dots_tiny"]  # asked for by name
    monkeypatch.setattr(league_entrants, "recipes", lambda: ["dots_tiny"])
    with pytest.raises(ValueError, match="holds the data of none of dots_tiny; name rows by --rows"):
        entrants("", world)


@pytest.mark.parametrize(
    "rows, message",
    [
        ("lisa_tyni", "did you mean lisa_tiny"),
        ("lisa_tiny:optim.lt=1", "optim.lr"),
        ("lisa_tiny:faithful", "'faithful' is not path=value"),
        ("lisa_tiny:engine.seed=3", "the league sets engine.seed"),
        ("lisa_tiny,lisa_tiny", "names 'lisa_tiny' twice"),
    ],
)
def test_a_slip_in_a_row_is_said_before_anything_is_trained(rows: str, message: str, world: Path) -> None:
    with pytest.raises(ValueError, match=message):
        entrants(rows, NOWHERE)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("mevis|valid", "only the benchmark's server knows its truth"),
        ("mevis|valid_u", "mevis"),
        ("ReasonSeg|train", "'ReasonSeg|train': of the row 'lisa_tiny' this training has ReasonSeg|train"),
    ],
)
def test_what_could_not_be_scored_afterwards_is_said_before_anything_is_trained(
    spec: str, message: str, world: Path, tmp_path: Path
) -> None:
    work = Fake(budget(world))
    with pytest.raises(SystemExit, match=re.escape(message)):
        command(world, tmp_path / "out", work, "--benchmarks", f"ReasonSeg|val,{spec}")
    assert not work.trials and not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["0,1,1", "0,one"])
def test_seeds_are_different_numbers(text: str) -> None:
    assert seeds_of("2,0") == (2, 0)
    with pytest.raises(ValueError, match="--seeds"):
        seeds_of(text)


def test_a_result_is_known_by_everything_it_depends_on(world: Path, tmp_path: Path) -> None:
    row, variant = entrants(ROWS, NOWHERE)
    other = tmp_path / "toy"
    write(other, images=10, val_images=4, test_images=4, seed=1)
    prints = [
        fingerprint(row, budget(world)),
        fingerprint(variant, budget(world)),
        fingerprint(row, budget(world), seed=1),
        fingerprint(row, budget(world), steps=[5]),
        fingerprint(row, budget(world, minutes=2.0)),
        fingerprint(row, budget(world, benchmarks=SPECS[:1])),
        fingerprint(row, budget(other)),
    ]
    assert len(set(prints)) == len(prints) and fingerprint(row, budget(world)) == prints[0]
    copy = tmp_path / "the same world elsewhere"
    write(copy, images=10, val_images=4, test_images=4)
    assert fingerprint(row, budget(copy)) == prints[0]
    for ask in (lambda: fingerprint(row, budget(tmp_path)), lambda: entrants("", tmp_path)):
        with pytest.raises(ValueError, match=r"is no toy world; python -m seglm\.dataset\.toy"):
            ask()


def test_a_recipe_that_begins_with_another_is_trained_in_two_stages() -> None:
    whole, alone = entrants("desa2va_tiny:decoder.reprompt=false,desa2va_tiny:after=", NOWHERE)
    (first, quarter), (second, rest) = stages(whole)
    assert (first.recipe, first.settings, quarter) == ("desa2va_tiny_text", (), 0.25)
    assert second is whole and rest == 0.75
    assert first.slug != second.slug
    assert stages(alone) == [(alone, 1.0)]
    assert stages(entrants("lisa_tiny", NOWHERE)[0])[0][1] == 1.0


# ---- what is done ----------------------------------------------------------------------------------------------------
def test_steps_follow_from_one_trial_a_row_and_are_the_same_for_its_seeds(
    world: Path, tmp_path: Path, no_pictures: None
) -> None:
    work = Fake(budget(world))
    command(world, tmp_path, work)
    assert sorted(work.trials) == sorted(ROWS.split(","))
    assert sorted(work.games) == [
        ("lisa_tiny", 0, (240,)), ("lisa_tiny", 1, (240,)),
        ("lisa_tiny:optim.lr=1e-4", 0, (120,)), ("lisa_tiny:optim.lr=1e-4", 1, (120,)),
    ]  # fmt: skip
    kept = [json.loads(path.read_text()) for path in sorted((tmp_path / "results").iterdir())]
    assert {(one["row"], *one["steps"], *one["seconds_per_step"]) for one in kept} == {
        ("lisa_tiny", 240, 0.25), ("lisa_tiny:optim.lr=1e-4", 120, 0.5),
    }  # fmt: skip
    assert steps_of(1.0, 1e9) == 1


def test_what_is_done_is_not_done_again_and_what_failed_is(
    world: Path, tmp_path: Path, no_pictures: None, capsys: pytest.CaptureFixture[str]
) -> None:
    first = Fake(budget(world), broken="lisa_tiny:optim.lr=1e-4 1")
    with pytest.raises(SystemExit, match="1 of 4 did not come to their end, first .*no memory"):
        command(world, tmp_path, first)
    assert "**lisa_tiny:optim.lr=1e-4, seed 1, failed:**" in (tmp_path / "league.md").read_text()
    again = Fake(budget(world))
    command(world, tmp_path, again, "--jobs", "1")
    assert again.trials == [] and again.games == [("lisa_tiny:optim.lr=1e-4", 1, (120,))]
    third = Fake(budget(world))
    command(world, tmp_path, third)
    assert third.trials == [] and third.games == []
    more = Fake(budget(world))
    command(world, tmp_path, more, "--seeds", "0,1,2")
    assert [seed for _, seed, _ in more.games] == [2, 2] and more.trials == []
    capsys.readouterr()


def test_an_interrupted_league_stops_its_work_and_goes_on_from_there(
    world: Path, tmp_path: Path, no_pictures: None, capsys: pytest.CaptureFixture[str]
) -> None:
    class Interrupted(Fake):
        def play(
            self, entrant: Entrant, *, seed: int, steps: Sequence[int], folder: Path
        ) -> tuple[Mapping[str, Scores], float]:
            if seed == 1:
                raise KeyboardInterrupt
            return super().play(entrant, seed=seed, steps=steps, folder=folder)

    work = Interrupted(budget(world))
    with pytest.raises(SystemExit, match="130"):
        command(world, tmp_path, work, "--jobs", "1")
    assert "the same command goes on" in capsys.readouterr().err
    assert work.trials[-1] == "stopped" and len(list((tmp_path / "results").iterdir())) == 2
    rest = Fake(budget(world))
    command(world, tmp_path, rest)
    assert {(name, seed) for name, seed, _ in rest.games} == {(name, 1) for name in ROWS.split(",")}


def test_a_command_that_fails_is_named_with_its_last_line(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "train.py"
    broken.write_text("import sys; print('step 1'); sys.exit('error: the disk is full')")
    monkeypatch.setattr(league_work, "TRAIN", broken)
    work = league_work.Processes(budget(world), tmp_path / "trials")
    [row] = entrants("lisa_tiny", NOWHERE)
    with pytest.raises(RuntimeError, match=r"train\.txt ends, with status 1: error: the disk is full"):
        work.play(row, seed=0, steps=[2], folder=tmp_path / "run")
    broken.write_text("print('asked to stop')")
    with pytest.raises(RuntimeError, match="was stopped at step 0 of 2; the same command goes on"):
        work.play(row, seed=0, steps=[2], folder=tmp_path / "run")
    work.stop()
    with pytest.raises(RuntimeError, match="the league was stopped"):
        work.play(row, seed=0, steps=[2], folder=tmp_path / "run")


# ---- what is written -------------------------------------------------------------------------------------------------
def test_the_table_has_mean_and_spread_of_every_number(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    work = Fake(budget(world))
    monkeypatch.setattr("seglm.evaluation.scores.report.sheet", lambda *_, **__: None)
    command(world, tmp_path, work, "--seeds", "0,1")
    text = (tmp_path / "league.md").read_text()
    assert text in capsys.readouterr().out
    assert "| lisa_tiny | 240 | 0.250 | 0, 1 |" in text and "1 minutes of one core" in text
    games, failed = compete(entrants(ROWS, NOWHERE), (0, 1), budget(world), work, out=tmp_path, jobs=1)
    assert not failed and [game.seed for game in games] == [0, 1, 0, 1]
    first = {cell.column: cell for cell in cells(games, "grefcoco|unc|val")[0]}
    assert {"gIoU", "positives", "none", "cIoU", "[SEG] rate", "N-acc", "T-acc"} <= set(first)
    assert first["N-acc"].values == (100.0, 100.0)
    giou = first["gIoU"]
    exact, off = giou.values
    assert (
        exact == pytest.approx(100, abs=1e-2) and off < 99 and giou.mean == pytest.approx((exact + off) / 2)
    )
    assert giou.spread == pytest.approx((exact - off) / 2**0.5)
    assert f"{giou.mean:.1f} {SPREAD} {giou.spread:.1f}" in text
    with (tmp_path / "league.csv").open(newline="") as stream:
        lines = list(csv.DictReader(stream))
    [line] = [
        one for one in lines
        if (one["benchmark"], one["row"], one["column"]) == ("grefcoco|unc|val", "lisa_tiny", "gIoU")
    ]  # fmt: skip
    assert float(line["mean"]) == pytest.approx(giou.mean, abs=1e-4) and len(line["values"].split()) == 2
    assert {one["benchmark"] for one in lines} == set(SPECS)
    image = cv2.imread(str(tmp_path / "league.png"))
    assert image is not None and image.shape[1] > 4 * 200 and image.shape[0] > 15 * 200


def test_one_seed_has_no_spread(world: Path, tmp_path: Path, no_pictures: None) -> None:
    command(world, tmp_path, Fake(budget(world)), "--seeds", "0")
    assert SPREAD not in (tmp_path / "league.md").read_text().replace(f"mean {SPREAD} standard", "")


def test_questions_are_of_every_kind_and_of_different_pictures() -> None:
    def line(sample: int, target: int, kind: str) -> Said:
        return Said(sample, target, f"k{sample}", "", kind, "t", "a", "ok", 1, None, False, "f.png")

    said = [
        line(sample, target, kind) for sample in range(6) for target, kind in enumerate(("a", "b", "none"))
    ]
    found = pick_questions(said, 4)
    assert len(found) == 4 and {one.kind for one in found} == {"a", "b", "none"}
    assert len({one.sample for one in found}) == 4
    assert len(pick_questions(said[:2], 4)) == 2


@pytest.mark.slow
def test_a_league_of_seconds_trains_merges_and_scores(world: Path, tmp_path: Path) -> None:
    work = league_work.Processes(budget(world), tmp_path / "trials")
    [row] = entrants("lisa_tiny:schedule.batch_size=2", NOWHERE)
    folder = tmp_path / "run"
    scores, spent = work.play(row, seed=0, steps=[3], folder=folder)
    assert set(scores) == set(SPECS) and spent > 1
    assert all(score.all.n > 0 and score.protocol == "generate" for score in scores.values())
    assert (folder / "merged" / "config.json").is_file() and not (folder / "train" / "slots").exists()
    played = Played(row.name, 0, (3,), (0.1,), spent, "", "run", scores)
    assert cells([played], SPECS[2])[0][0].column == "gIoU"
