"""Whole runs of the two-term module, in processes of their own: the same numbers whatever interrupts them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from seglm.training import saves
from seglm.training.curve import CsvTable, Row, read
from seglm.training.plan import Hooks, Plan
from seglm.training.run_folder import RunFolder
from seglm.training.trainer import Trainer
from seglm.utils.portable import read_portable
from tests.training.processes import Ended, run_ranks

pytestmark = pytest.mark.timeout(900)
STAGES = [pytest.param(stage, marks=pytest.mark.slow) for stage in (2, 3)]
COLUMNS = ("step", "loss", "words", "masks", "lr", "grad_norm")


def numbers(run: Path) -> list[Row]:
    """What must be the same to the bit."""
    return [{name: row[name] for name in COLUMNS} for row in read(run / "metrics.csv")]


def test_a_run_leaves_what_its_user_looks_for(straight: Path) -> None:
    names = {path.name for path in straight.iterdir() if not path.name.startswith("events.out")}
    files = {"log.txt", "metrics.csv", "scores.csv", "curve.png", "manifest.json"}
    assert names == files | {"slots", "ckpt_model", "portable"}
    assert len(list(straight.glob("events.out.tfevents*"))) == 1
    assert [row["step"] for row in read(straight / "metrics.csv")] == list(range(1, 13))
    assert [row["step"] for row in read(straight / "scores.csv")] == [4, 8, 12]
    assert "weights have moved by" in (straight / "log.txt").read_text()


def test_the_rate_of_a_decoder_that_waits_has_its_own_column(straight: Path, tmp_path: Path) -> None:
    """Of 12 steps it waits for 6; a warm-up of two steps begins with the rate 0."""
    run_ranks(tmp_path, 1, tmp_path / "run", "waits=0.5", "validate=0").result  # noqa: B018
    rows = read(tmp_path / "run" / "metrics.csv")
    assert [row["lr"] for row in rows] == [row["lr"] for row in read(straight / "metrics.csv")]
    assert [row["lr_decoder"] for row in rows] == [
        *[0] * 7,
        rows[7]["lr"] / 2,
        *(row["lr"] for row in rows[8:]),
    ]
    assert "lr_decoder" not in read(straight / "metrics.csv")[0]


def test_tensorboard_counts_optimizer_steps_of_the_whole_run(straight: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(straight))
    board.Reload()
    assert [event.step for event in board.Scalars("train/loss")] == list(range(1, 13))
    assert [event.step for event in board.Scalars("val/giou")] == [4, 8, 12]


def test_validation_changes_nothing_in_training(straight: Path, tmp_path: Path) -> None:
    run_ranks(tmp_path, 2, tmp_path / "run", "validate=0").result  # noqa: B018
    assert numbers(tmp_path / "run") == numbers(straight)


@pytest.mark.parametrize("zero", [1, *STAGES])
def test_a_killed_run_goes_on_as_if_nothing_had_happened(zero: int, straight: Path, tmp_path: Path) -> None:
    """kill -9 of the main process while it saves step 8; the slot of step 4 carries on, to the bit, on two ranks with dropout."""
    run = tmp_path / "run"
    dead = run_ranks(tmp_path, 2, run, f"zero={zero}", "die_step=8", "die_at=6")
    assert -9 in dead.codes
    last = saves.newest(run)
    assert last is not None and last.step == 4
    run_ranks(tmp_path, 2, run, f"zero={zero}", "resume=1").result  # noqa: B018
    if zero == 1:
        assert numbers(run) == numbers(straight)
        assert [row["giou"] for row in read(run / "scores.csv")] == [
            row["giou"] for row in read(straight / "scores.csv")
        ]
    else:
        other = tmp_path / "straight"
        run_ranks(tmp_path, 2, other, f"zero={zero}").result  # noqa: B018
        assert numbers(run) == numbers(other)


@pytest.mark.slow
@pytest.mark.parametrize("die_at", [0, 1, 2, 4, 8, 10, 12, 14, 16, 18, 20, 24])
def test_kill_9_anywhere_in_a_save_is_harmless(die_at: int, straight: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    dead = run_ranks(tmp_path, 2, run, "die_step=8", f"die_at={die_at}")
    assert -9 in dead.codes
    last = saves.newest(run)
    assert last is not None and last.step in (4, 8)
    run_ranks(tmp_path, 2, run, "resume=1").result  # noqa: B018
    assert numbers(run) == numbers(straight)


def test_rows_of_numbers_do_not_depend_on_when_a_run_saves_or_stops(tmp_path: Path) -> None:
    """A row every 3 steps; saves after every 2, a stop after step 5: each cuts a row in the middle."""
    whole, run = tmp_path / "whole", tmp_path / "run"
    run_ranks(tmp_path, 2, whole, "print_freq=3").result  # noqa: B018
    settings = ("print_freq=3", "save_every=2", "keep=2")
    assert not run_ranks(tmp_path, 2, run, *settings, "signal_at=33").result["finished"]
    run_ranks(tmp_path, 2, run, *settings, "resume=1").result  # noqa: B018
    assert [row["step"] for row in read(run / "metrics.csv")] == [3, 4, 6, 8, 9, 12]
    assert numbers(run) == numbers(whole)


def test_saves_between_epochs_and_the_last_weights_of_them(tmp_path: Path) -> None:
    """Saves after 3, 4, 6, 8, 9 and 12 of 12 steps; a kill in the one of step 9 costs nothing that was there."""
    run = tmp_path / "run"
    settings = ("save_every=3", "keep=3")
    assert -9 in run_ranks(tmp_path, 1, run, *settings, "die_step=9", "die_at=6").codes
    last = saves.newest(run)
    assert last is not None and last.step == 8
    assert sorted(path.name for path in (run / "kept").iterdir()) == ["step4", "step6", "step8"]
    run_ranks(tmp_path, 1, run, *settings, "resume=1").result  # noqa: B018
    kept = {path.name: read_portable(path) for path in (run / "kept").iterdir()}
    assert sorted(kept) == ["step12", "step8", "step9"]
    assert all(f"step{manifest['step']}" == name for name, (_, manifest) in kept.items())
    assert not torch.equal(kept["step12"][0]["body.weight"], kept["step9"][0]["body.weight"])


@pytest.mark.parametrize("die_at", [21, 24, 28])
def test_a_kill_between_the_last_save_and_its_portable_weights_is_made_up_for(
    die_at: int, tmp_path: Path
) -> None:
    """Nothing is scored, so the last state is the best; the resumed run has no step left to do."""
    run, settings = tmp_path / "run", ("epochs=1", "validate=0", "keep=1")
    assert -9 in run_ranks(tmp_path, 1, run, *settings, "die_step=4", f"die_at={die_at}").codes
    last = saves.newest(run)
    assert last is not None and last.step == 4
    assert run_ranks(tmp_path, 1, run, *settings, "resume=1").result["finished"]
    assert read_portable(run / "portable")[1]["step"] == read_portable(run / "kept" / "step4")[1]["step"] == 4
    assert (run / "ckpt_model" / "latest").read_text() == "global_step4"


@pytest.mark.slow
def test_the_best_state_is_kept_across_a_resume(straight: Path, tmp_path: Path) -> None:
    """The second of three epochs is made the best; its state stands in ckpt_model when the third is done by another process."""
    best_at = f"{read(straight / 'scores.csv')[1]['total']!r}"
    run = tmp_path / "run"
    run_ranks(tmp_path, 2, run, f"best_at={best_at}", "die_step=12", "die_at=2")
    run_ranks(tmp_path, 2, run, f"best_at={best_at}", "resume=1").result  # noqa: B018
    assert (run / "ckpt_model" / "latest").read_text() == "global_step8"
    assert read_portable(run / "portable")[1]["step"] == 8
    last = saves.newest(run)
    assert last is not None and last.step == 12


def test_the_best_of_a_run_that_goes_on_with_scores_of_another_kind_is_one_of_those(tmp_path: Path) -> None:
    table = CsvTable(tmp_path / "scores.csv")
    table.add({"step": 4, "epoch": 1, "giou": 0.5})
    trainer = Trainer(None, None, RunFolder(tmp_path), Plan(4, 4, 0, best_by="jf"), Hooks())  # type: ignore[arg-type]
    trainer._scores = table
    assert trainer.best() is None
    for step, score in ((8, 0.3), (12, 0.4), (16, 0.2)):
        table.add({"step": step, "epoch": step // 4, "jf": score})
    best = trainer.best()
    assert best is not None and best["step"] == 12


@pytest.mark.slow
@pytest.mark.parametrize("zero", [1, 2, 3])
def test_zero_to_fp32_yields_the_trained_weights_exactly(zero: int, tmp_path: Path) -> None:
    """As the field's users type it: cd runs/<exp>/ckpt_model && python zero_to_fp32.py . ../pytorch_model.bin"""
    run = tmp_path / "run"
    run_ranks(tmp_path, 2, run, f"zero={zero}", "epochs=1").result  # noqa: B018
    line = [sys.executable, "zero_to_fp32.py", ".", "../pytorch_model.bin"]
    subprocess.run(line, cwd=run / "ckpt_model", check=True, capture_output=True, timeout=120)
    file = run / "pytorch_model.bin"
    file = file / "pytorch_model.bin" if file.is_dir() else file
    consolidated = torch.load(file, weights_only=True)
    portable, _ = read_portable(run / "portable")
    assert set(portable) == {
        f"{layer}.{kind}" for layer in ("body", "words", "masks") for kind in ("weight", "bias")
    }
    assert set(consolidated) - set(portable) <= {"shift"}, "buffers may come along, frozen weights may not"
    assert all(torch.equal(consolidated[name], tensor) for name, tensor in portable.items())


@pytest.mark.slow
@pytest.mark.parametrize("waits", [0.0, 0.5])
@pytest.mark.parametrize("zero, sizes", [(1, (2, 1)), (2, (1, 2)), (3, (2, 1))])
def test_a_run_goes_on_at_another_number_of_processes(
    zero: int, sizes: tuple[int, int], waits: float, tmp_path: Path
) -> None:
    """The same global batch: the losses go on as they would have, to rounding."""
    whole, run = tmp_path / "whole", tmp_path / "run"
    options = (f"zero={zero}", "dropout=0", f"waits={waits}")
    run_ranks(tmp_path, 1, whole, *options).result  # noqa: B018
    run_ranks(tmp_path, sizes[0], run, *options, "die_step=8", "die_at=6")
    run_ranks(tmp_path, sizes[1], run, *options, "resume=1").result  # noqa: B018
    want, got = numbers(whole), numbers(run)
    assert [row["step"] for row in got] == list(range(1, 13))
    assert [row["loss"] for row in got] == pytest.approx([row["loss"] for row in want], rel=1e-5)


@pytest.mark.parametrize("zero", [1, *STAGES])
def test_two_ranks_of_which_one_has_no_masks_train_as_one(zero: int, tmp_path: Path) -> None:
    """Rank 1's micro-batches are samples 2 and 3 of four, which have no second answer."""
    ended: list[Ended] = []
    for size in (1, 2):
        settings = (f"zero={zero}", "dropout=0", "images=4", "validate=0", "epochs=2")
        ended.append(run_ranks(tmp_path, size, tmp_path / f"run{size}", *settings))
        assert ended[-1].result["finished"]
    one, two = numbers(tmp_path / "run1"), numbers(tmp_path / "run2")
    assert [row["loss"] for row in two] == pytest.approx([row["loss"] for row in one], rel=1e-6)


def test_a_group_without_gradient_stops_the_run(tmp_path: Path) -> None:
    ended = run_ranks(tmp_path, 1, tmp_path / "run", "broken=1")
    assert ended.codes == (1,)
    assert "after 5 steps these weights have not changed: masks" in ended.text


def test_a_run_does_not_start_over_another(straight: Path, tmp_path: Path) -> None:
    before = (straight / "metrics.csv").read_bytes()
    ended = run_ranks(tmp_path, 2, straight)
    assert ended.codes == (1, 1) and "already holds a run" in ended.text
    assert (straight / "metrics.csv").read_bytes() == before


@pytest.mark.slow
def test_a_checkpoint_of_zero_3_is_refused_by_the_others(tmp_path: Path) -> None:
    run_ranks(tmp_path, 1, tmp_path / "run", "zero=3", "epochs=1", "validate=0").result  # noqa: B018
    manifest = tmp_path / "run" / "manifest.json"
    manifest.write_text('{"recipe": "of the start"}')
    ended = run_ranks(tmp_path, 1, tmp_path / "run", "zero=1", "resume=1")
    assert ended.codes == (1,) and "saved under ZeRO-3, this run has --zero 1" in ended.text
    assert manifest.read_text() == '{"recipe": "of the start"}', "the next --resume reads its settings there"
    run_ranks(tmp_path, 1, tmp_path / "run", "zero=3", "resume=1").result  # noqa: B018
    assert "of the start" not in manifest.read_text()
