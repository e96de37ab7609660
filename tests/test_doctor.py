"""`python -m seglm.doctor`: what it says of this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from seglm import doctor


def test_a_fit_machine_is_told_with_everything_that_matters(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert doctor.main(["--log_base_dir", str(tmp_path / "not" / "there")]) == 0
    said = capsys.readouterr().out
    for title in ("python ", "package   torch ", "extra ", "device ", "disk ", "weights ", "good: "):
        assert title in said, title
    assert not list(tmp_path.iterdir())


def test_packages_that_were_not_tried_are_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "outside", lambda: ["peft 0.4.0 (tried with >=0.20,<0.22)"])
    assert doctor.main([]) == 1
    assert "wrong: peft 0.4.0" in capsys.readouterr().out


def test_a_place_that_no_run_can_be_written_to_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert doctor.main(["--log_base_dir", str(tmp_path / "file" / "runs")]) == 1
    assert "wrong: --log_base_dir" in (said := capsys.readouterr().out) and "good:" not in said


@pytest.mark.parametrize(
    ("capability", "says"), [((7, 0), "--precision fp16"), ((8, 0), "bf16"), ((9, 0), "bf16")]
)
def test_a_gpu_without_bf16_is_told_what_to_take(capability: tuple[int, int], says: str) -> None:
    assert says in doctor.advice(capability)
    assert ("no bf16" in doctor.advice(capability)) == (capability < (8, 0))
