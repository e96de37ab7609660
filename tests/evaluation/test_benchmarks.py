"""What --val_dataset may say, and which expressions it means."""

from __future__ import annotations

import pytest

from seglm.evaluation.asking.benchmark import benchmark
from seglm.evaluation.asking.leak import check, leak
from tests.evaluation.fakes import FakeSource


@pytest.mark.parametrize(
    "spec, name, data",
    [
        ("ReasonSeg|val", "ReasonSeg|val|all|first_text", "ReasonSeg|val"),
        ("reasonseg|VAL", "ReasonSeg|val|all|first_text", "ReasonSeg|val"),
        ("ReasonSeg|test|long", "ReasonSeg|test|long|first_text", "ReasonSeg|test"),
        ("ReasonSeg|test|short|all_texts", "ReasonSeg|test|short|all_texts", "ReasonSeg|test"),
        ("refcoco|unc|testA", "refcoco|unc|testA", "refcoco|unc|testA"),
        ("refcoco+|testB", "refcoco+|unc|testB", "refcoco+|unc|testB"),
        ("refcocog|umd|test|first_text", "refcocog|umd|test|first_text", "refcocog|umd|test"),
        ("refclef|berkeley|val", "refclef|berkeley|val", "refclef|berkeley|val"),
        ("grefcoco|testA", "grefcoco|unc|testA", "grefcoco|unc|testA"),
        ("gRefCOCO|UNC|val", "grefcoco|unc|val", "grefcoco|unc|val"),
        ("refzom|test", "refzom|final|test", "refzom|final|test"),
    ],
)
def test_a_benchmark_is_named_in_full(spec: str, name: str, data: str) -> None:
    assert (benchmark(spec).name, benchmark(spec).data) == (name, data)


@pytest.mark.parametrize(
    "spec, message",
    [
        ("ReasonSegg|val", "unknown benchmark.*did you mean ReasonSeg"),
        ("ReasonSeg", "split '' is not permitted; permitted are val, test, train"),
        (
            "ReasonSeg|test|middle",
            "'middle' is not permitted; permitted are short, long, all, first_text, all_texts",
        ),
        ("refcoco|umd|val", "splits by 'umd' is not permitted; permitted are unc, google"),
        ("refcocog|umd|testA", "split 'testA' is not permitted; permitted are val, test, train"),
        ("refcoco|unc|val|x|y", "4 fields after the name"),
        ("grefcoco|google|val", "splits by 'google' is not permitted; permitted are unc"),
        ("grefcoco|test", "split 'test' is not permitted; permitted are val, testA, testB, train"),
        ("refzom|final|val", "split 'val' is not permitted; permitted are test, train"),
        ("grefcoco", "0 fields after the name; it is grefcoco|unc|val"),
    ],
)
def test_a_slip_is_an_error_that_lists_what_is_permitted(spec: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        benchmark(spec)


@pytest.mark.parametrize(
    "spec, samples, texts",
    [
        ("ReasonSeg|test", 5, 2),
        ("ReasonSeg|test|long", 3, 2),  # pictures 0, 2, 4 ask in sentences
        ("ReasonSeg|test|short", 2, 2),
        ("ReasonSeg|test|all_texts", 5, 4),
        ("refcoco|val", 5, 4),  # all sentences
        ("refcoco|val|first_text", 5, 2),
    ],
)
def test_first_text_and_all_texts_are_different_benchmarks(spec: str, samples: int, texts: int) -> None:
    selection = benchmark(spec).select(FakeSource(5))
    assert len(selection) == samples
    targets = selection.sample(0).targets
    assert len(targets) == texts
    assert all(len(target.texts) == 1 for target in targets)
    assert len({target.key for target in targets}) == texts


MANIFEST = {"data": {"ReasonSeg|train": {"samples": 3}, "refcoco|unc|train": {}}}


@pytest.mark.parametrize(
    "data, version, manifest, found",
    [
        ("ReasonSeg|val", "runs/a", MANIFEST, ""),
        (
            "ReasonSeg|val",
            "runs/a",
            {"data": {"reasonseg|VAL": {}}},
            "the manifest beside runs/a lists ReasonSeg|val",
        ),
        (
            "ReasonSeg|val",
            "a",
            {"data": {"ReasonSeg|train_val": {}}},
            "the manifest beside a lists ReasonSeg|val",
        ),
        ("ReasonSeg|train", "runs/a", MANIFEST, ""),  # its name says that it is training data
        (
            "ReasonSeg|val",
            "xinlai/LISA-7B-v1",
            {},
            "LISA-7B-v1: its authors trained it on ReasonSeg train and val",
        ),
        ("refcoco|unc|val", "xinlai/LISA-7B-v1", {}, ""),
        ("ReasonSeg|val", "somewhere/else", {}, ""),
    ],
)
def test_a_split_the_weights_were_trained_on_is_a_leak(
    data: str, version: str, manifest: dict[str, object], found: str
) -> None:
    reason = leak(data, version=version, manifest=manifest)
    assert (reason or "").startswith(found) and bool(reason) == bool(found)


def test_a_score_on_training_data_is_refused_unless_it_is_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    about = {"version": "runs/a", "manifest": {"data": {"refcoco|unc|val": {}}}}
    with pytest.raises(
        ValueError, match=r"LEAK: the manifest beside runs/a lists refcoco\|unc\|val.*--allow_leak"
    ):
        check("refcoco|val", **about, allow=False)  # type: ignore[arg-type]
    check("refcoco|val", **about, allow=True)  # type: ignore[arg-type]
    assert "LEAK" in caplog.text
    check("refcoco|testA", **about, allow=False)  # type: ignore[arg-type]
