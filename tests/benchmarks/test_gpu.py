"""The GPU's half hour, tried at tiny size on a CPU, so that it runs the first time there is a GPU."""

from __future__ import annotations

import json
import warnings
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from benchmarks.gpu import __main__ as command
from benchmarks.gpu import flops, machine, parity, training
from benchmarks.gpu.bench import Bench, Part, largest
from benchmarks.gpu.parts import PARTS
from benchmarks.gpu.record import Record, Row
from benchmarks.gpu.run import run
from benchmarks.sizes import LISA_7B, TINY, attend, examples_of, recipe_of, segmenter
from seglm.dataset.collate import collate

PATIENCE = 3600.0  # seconds; no test here is to depend on how busy the machine is


def _bench(folder: Path) -> Bench:
    return Bench(device="cpu", size=TINY, seconds=PATIENCE, errors=folder / "errors.txt")


def _run(folder: Path, *parts: Part, seconds: float = PATIENCE) -> Record:
    return run(parts, out=folder, device="cpu", size=TINY, seconds=seconds, heading={"device": "a test"})


def _part(name: str, rows: object, **changes: object) -> Part:
    return Part(name, "about it", rows, PATIENCE, "speed", **changes)  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_part_runs_at_tiny_size_and_only_what_needs_a_gpu_is_skipped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command.main(["--out", str(tmp_path), "--size", "tiny", "--device", "cpu", "--minutes", "60"])
    found = json.loads((tmp_path / "results.json").read_text())
    states = {table["part"]: table["status"] for table in found["parts"]}
    assert states.pop("syncs").startswith("skipped: a CPU waits for nothing")
    assert states == {name: "done" for name in PARTS if name != "syncs"}
    rows = {row["name"]: row["numbers"] for table in found["parts"] for row in table["rows"]}
    assert not (tmp_path / "errors.txt").exists()
    assert rows["sdpa bf16, shared"]["verdict"] == "agrees"
    assert rows["ours"]["loss"] == pytest.approx(rows["ours, nothing shared"]["loss"], rel=1e-2)
    assert all(
        rows[variant.name].get("note") or rows[variant.name]["images/s"] > 0 for variant in training.VARIANTS
    )
    assert "torch " in found["machine"]["software"] and found["machine"]["size"] == "tiny"
    assert (tmp_path / "results.png").stat().st_size > 1000
    assert "| ours | 4 |" in (tmp_path / "results.md").read_text()
    assert "## training (done" in capsys.readouterr().out


def test_answers_are_written_at_tiny_size(tmp_path: Path) -> None:
    (table,) = _run(tmp_path, PARTS["generation"]).tables
    assert table.status == "done" and all(row.numbers["tokens/s"] for row in table.rows)


def test_seven_billion_weights_are_made_where_they_are_wanted_and_nowhere_else() -> None:
    model = segmenter(LISA_7B, recipe_of(LISA_7B), device="meta")
    assert {tensor.device.type for tensor in [*model.parameters(), *model.buffers()]} == {"meta"}
    assert sum(p.numel() for p in model.backbone.llm.parameters()) == pytest.approx(6.74e9, rel=1e-3)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == pytest.approx(288e6, rel=1e-2)


def test_the_least_a_step_of_seven_billion_needs_is_fifteen_teraflop_an_image(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Counted once by hand from shapes: SAM 5.96 (of 13 images in 16), CLIP 0.16, LLM 5.1 forward and back each, a mask 0.0036.
    model, examples = segmenter(LISA_7B, recipe_of(LISA_7B), device="meta"), examples_of(LISA_7B)
    monkeypatch.setattr(
        torch, "autocast", lambda *_, **__: nullcontext()
    )  # there is none for the meta device
    counted = flops.units(model, examples[0])
    assert counted.encode == pytest.approx(5.96e12, rel=1e-2) and counted.draw == pytest.approx(
        3.6e9, rel=1e-2
    )
    assert flops.least(LISA_7B, examples, counted) / len(examples) == pytest.approx(15.4e12, rel=1e-2)


def test_what_is_executed_is_never_below_the_least_and_near_it_without_padding() -> None:
    model, examples = segmenter(TINY, recipe_of(TINY)), examples_of(TINY)[:1]
    attend(model, "eager")  # PyTorch counts no SDPA on a CPU
    done = flops.executed(lambda: model(collate(examples)).loss.backward())
    least = flops.least(TINY, examples, flops.units(model, examples[0]))
    assert 0.7 * done < least <= done


def test_results_are_on_disk_after_every_row_so_that_a_kill_loses_nothing(tmp_path: Path) -> None:
    def rows(bench: Bench):  # type: ignore[no-untyped-def]
        yield Row("first", {"speed": 1.0})
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _run(tmp_path, _part("cut", rows))
    (table,) = json.loads((tmp_path / "results.json").read_text())["parts"]
    assert table["status"] == "running" and table["rows"][0]["numbers"] == {"speed": 1.0}
    assert "| first | 1 |" in (tmp_path / "results.md").read_text()


def test_a_part_that_breaks_says_how_and_the_next_one_runs(tmp_path: Path) -> None:
    def breaks(bench: Bench):  # type: ignore[no-untyped-def]
        yield bench.attempt("kernel", lambda: Row("kernel", {"speed": 1 / 0}))
        yield bench.attempt("memory", lambda: Row("memory", {"speed": float(bytearray(1 << 60)[0])}))
        raise RuntimeError("no such\nthing")

    def fine(bench: Bench):  # type: ignore[no-untyped-def]
        yield Row("good", {"speed": 2.0})

    record = _run(tmp_path, _part("broken", breaks), _part("fine", fine))
    assert record.failed == ["broken: kernel", "broken: broken"]
    assert [table.status for table in record.tables] == ["failed", "done"]
    assert record.tables[0].rows[2].numbers["error"] == "RuntimeError: no such"
    assert "ZeroDivisionError" in (tmp_path / "errors.txt").read_text()


def test_a_row_that_does_not_come_back_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.gpu.run.GRACE", 0.0)

    def rows(bench: Bench):  # type: ignore[no-untyped-def]
        while True:
            bench.clock.synchronize()
        yield Row("never", {})

    record = _run(tmp_path, _part("endless", rows), seconds=0.3)
    assert record.tables[0].status == "stopped" and not record.failed
    assert str(record.tables[0].rows[0].numbers["error"]).startswith("TimeoutError: took more than")


def test_without_time_or_memory_a_part_is_skipped_with_its_reason(tmp_path: Path) -> None:
    def rows(bench: Bench):  # type: ignore[no-untyped-def]
        yield Row("first", {"speed": 1.0})
        yield Row("second", {"speed": 1.0})

    def slow(bench: Bench):  # type: ignore[no-untyped-def]
        bench._ends = 0
        yield from rows(bench)

    kept_out = _part("kept out", rows, obstacle=lambda bench: "needs a GPU")
    record = _run(tmp_path, kept_out, Part("slow", "", slow, -1, ""), _part("late", rows))
    assert [table.status for table in record.tables] == [
        "skipped: needs a GPU",
        "stopped: its time is over",
        "skipped: no time left; raise --minutes or choose --parts",
    ]
    assert [len(table.rows) for table in record.tables] == [0, 1, 0]
    assert PARTS["training"].obstacle(SimpleNamespace(size=LISA_7B, device="cpu")) == (  # type: ignore[arg-type]
        "the size 7b needs a GPU; --size tiny runs on a CPU"
    )


def test_a_step_that_does_not_fit_is_tried_with_half_as_many_images() -> None:
    tried = []

    def fits_two(images: int) -> str:
        tried.append(images)
        if images > 2:
            raise torch.OutOfMemoryError
        return "fits"

    assert largest([8, 4, 2, 1], fits_two) == (2, "fits") and tried == [8, 4, 2]
    with pytest.raises(MemoryError, match="not even 4 at a time"):
        largest([8, 4], fits_two)


def test_numbers_that_differ_are_no_silent_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(parity.LIMITS, "bf16", (0.0, 0.0))
    monkeypatch.setattr(parity, "VARIANTS", parity.VARIANTS[4:5])
    with pytest.raises(SystemExit, match="something is wrong in parity: sdpa bf16, shared"):
        command.main(["--out", str(tmp_path), "--size", "tiny", "--device", "cpu", "--parts", "parity"])


@pytest.mark.filterwarnings("ignore")
def test_the_syncs_of_a_step_are_counted_and_placed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modes = []
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)
    trainer = training.Trainer(_bench(tmp_path))
    step = trainer.step

    def waits(backward: object) -> torch.Tensor:
        warnings.warn("called a synchronizing CUDA operation", stacklevel=1)
        warnings.warn("something else", stacklevel=1)
        return step(backward)  # type: ignore[arg-type]

    monkeypatch.setattr(trainer, "step", waits)
    row = training._counted(trainer, training.VARIANTS[0])
    assert row.numbers["syncs"] == 1 and str(row.numbers["where"]).startswith("test_gpu.py:")
    assert modes == ["warn", "default"]


@pytest.mark.parametrize(
    ("have", "said"),
    [("5.17.0", "transformers 5.17.0 is too old (needs "), ("", "transformers is not installed")],
)
def test_what_is_too_old_or_absent_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch, have: str, said: str, tmp_path: Path
) -> None:
    assert not machine.missing()
    real = machine.installed
    monkeypatch.setattr(machine, "installed", lambda name: have if name == "transformers" else real(name))
    with pytest.raises(SystemExit) as stopped:
        command.main(["--out", str(tmp_path)])
    assert said in str(stopped.value) and "--find-links wheels" in str(stopped.value)
    assert "\n" not in str(stopped.value)


@pytest.mark.gpu
def test_a_tiny_run_on_the_gpu(tmp_path: Path) -> None:
    command.main(["--out", str(tmp_path), "--size", "tiny"])
    found = json.loads((tmp_path / "results.json").read_text())
    assert {table["status"] for table in found["parts"]} == {"done"}
