from __future__ import annotations

from pathlib import Path

import cv2

from seglm.training.curve import CsvTable, draw, read


def test_numbers_come_back_to_the_bit(tmp_path: Path) -> None:
    rows = [{"step": 1.0, "loss": 0.1 + 0.2}, {"step": 2.0, "loss": 1 / 3}]
    table = CsvTable(tmp_path / "m.csv")
    for row in rows:
        table.add(row)
    assert read(tmp_path / "m.csv") == rows


def test_a_resumed_run_drops_what_lies_after_its_checkpoint(tmp_path: Path) -> None:
    table = CsvTable(tmp_path / "m.csv")
    for step in (1, 2, 3):
        table.add({"step": step, "loss": step})
    again = CsvTable(tmp_path / "m.csv", until=2)
    again.add({"step": 3, "loss": 30})
    assert (tmp_path / "m.csv").read_text().splitlines()[1:] == ["1,1.0", "2,2.0", "3,30"]
    assert [(row["step"], row["loss"]) for row in read(tmp_path / "m.csv")] == [(1, 1), (2, 2), (3, 30)]


def test_a_line_cut_short_by_a_kill_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("step,loss,lr\n1,2.5,0.1\n2,2.")
    assert read(tmp_path / "m.csv") == [{"step": 1.0, "loss": 2.5, "lr": 0.1}]


def test_a_term_that_appears_later_gets_its_column(tmp_path: Path) -> None:
    table = CsvTable(tmp_path / "m.csv")
    table.add({"step": 1, "loss": 1.0})
    table.add({"step": 2, "loss": 1.0, "masks": 2.0})
    table.add({"step": 3, "loss": 1.0})
    assert [str(row["masks"]) for row in read(tmp_path / "m.csv")] == ["nan", "2.0", "nan"]


def test_the_curve_is_a_picture(tmp_path: Path) -> None:
    metrics = [{"step": s, "epoch": 1, "loss": 3 / s, "bce": 1 / s, "lr": 0.1 * s} for s in (1, 2, 3)]
    draw(tmp_path / "c.png", metrics, [{"step": 3, "epoch": 1, "giou": 0.5}])
    assert cv2.imread(str(tmp_path / "c.png")).shape == (800, 700, 3)
    draw(tmp_path / "empty.png", [], [])
