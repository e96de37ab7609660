"""What --val_dataset may say, and which expressions it means."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from seglm.dataset import sources
from seglm.dataset.description import Description, Scored, is_for_training
from seglm.evaluation.asking import benchmark as asking
from seglm.evaluation.asking.benchmark import benchmark
from seglm.evaluation.asking.leak import leak, refuse_leak, seen
from seglm.evaluation.asking.predict import predict
from seglm.evaluation.scores.results import CONVENTIONS
from seglm.model.recipes import recipe as named
from seglm.utils.types import Sample
from tests.evaluation.fakes import FakeSource, near_the_truth


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
        ("refcocop|val", "refcoco+|unc|val", "refcoco+|unc|val"),
        ("refcoco|google|test|all_texts", "refcoco|google|test", "refcoco|google|test"),
        ("ade20k|validation", "ade20k|validation", "ade20k|validation"),
        ("coco_stuff|val2017", "cocostuff|val2017", "cocostuff|val2017"),
        ("paco_lvis|train|all_texts", "paco_lvis|train|all_texts", "paco_lvis|train"),
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
        ("grefcoco|val|first_text", "splits by 'val' is not permitted; permitted are unc"),
        ("ade20k", "split '' is not permitted; permitted are validation, training"),
        ("ade20k|val|short", "2 fields after the name; it is ade20k|validation"),
        ("ReasonSeg|train_val", "split 'train_val' is not permitted; permitted are val, test, train"),
        (
            "llava_instruct|train",
            "llava_instruct_150k is no benchmark .*scored=None.*permitted are ReasonSeg, ade20k",
        ),
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


def described(**scored: Any) -> Description:
    return Description(
        ("things",),
        "things",
        ("train", "dev", "held"),
        ("things/*.png",),
        "here",
        {},
        scored=Scored(**scored),
    )


def test_a_data_set_declares_its_benchmark_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    about = described(
        texts={"all": "every word counts", "first": "one"},
        splits=("held", "dev"),
        conventions=("gsva", "lisa"),
    )
    monkeypatch.setattr(sources, "loaders", lambda: {"things": SimpleNamespace(DESCRIPTION=about)})
    monkeypatch.setattr(asking, "loaders", sources.loaders)
    assert (benchmark("things|held").texts, benchmark("things|held").rule) == ("all", "every word counts")
    one = benchmark("Things|DEV|first_text")
    assert (one.name, one.data, one.texts) == ("things|dev|first_text", "things|dev", "first")
    assert (one.average(None), one.average("lisa")) == ("gsva", "lisa")
    with pytest.raises(
        ValueError, match="--convention plain is not for things.dev.*permitted are gsva, lisa"
    ):
        one.average("plain")
    with pytest.raises(ValueError, match="split 'train' is not permitted; permitted are held, dev"):
        benchmark("things|train")


@pytest.mark.parametrize(
    "scored, message",
    [
        (
            {"conventions": ("lisa", "gsav")},
            "unknown entry of things's scored.conventions 'gsav'; did you mean gsva",
        ),
        ({"texts": {"firts": "one"}}, "unknown entry of scored.texts 'firts'; did you mean first"),
        ({"texts": {}}, "scored: texts {}.*each needs an entry"),
        ({"splits": ("hold",)}, "unknown split in things's scored 'hold'; did you mean held"),
    ],
)
def test_a_slip_in_a_description_is_said(
    scored: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match=message):
        monkeypatch.setattr(
            asking, "loaders", lambda: {"things": SimpleNamespace(DESCRIPTION=described(**scored))}
        )
        benchmark("things|held")


def test_every_data_set_with_masks_can_be_scored_by_a_known_convention() -> None:
    for about in sources.descriptions():
        for split in about.scored_splits:
            assert benchmark(f"{about.name}|{split}").average(None) in CONVENTIONS
    others = {about.family for about in sources.descriptions() if not about.scored}
    assert others == {"vqa", "video_qa", "gcg", "region"}  # answers are words, or captions with masks


class Half(FakeSource):
    """A source of whose pictures every second shows nothing that could be asked for."""

    def sample(self, index: int) -> Sample:
        sample = super().sample(index)
        return replace(sample, targets=()) if index % 2 else sample


def test_a_picture_without_a_class_is_left_out_where_the_description_says_so() -> None:
    recipe = named("lisa_tiny")
    done: list[int] = []
    classes = benchmark("ade20k|validation").select(Half(4))
    results = predict(
        near_the_truth, classes, recipe, [range(2), range(2, 3), range(3, 4)], progress=done.append
    )
    assert [result.said.sample for result in results] == [0] * 4 + [2] * 4 and done == [2, 1, 1]
    with pytest.raises(ValueError, match="ReasonSeg.val/001: nothing is asked about it"):
        predict(near_the_truth, benchmark("refcoco|val").select(Half(4)), recipe, [range(2)])


SCORED_VIDEOS = [
    (about.name, split)
    for about in sources.descriptions()
    if about.family in ("ref_vos", "vos") and about.scored
    for split in (*about.scored_splits, *about.scored.served)
    if not is_for_training(split)
]
MANIFEST = {"data": {"ReasonSeg|train": {"samples": 3}, "refcoco|unc|train": {}}}


@pytest.mark.parametrize(
    "data, version, manifest, found",
    [
        ("ReasonSeg|val", "runs/a", MANIFEST, ""),
        (
            "ReasonSeg|val",
            "runs/a",
            {"data": {"reasonseg|VAL": {}}},
            "the manifest beside runs/a lists reasonseg|VAL as",
        ),
        (
            "ReasonSeg|val",
            "a",
            {"data": {"ReasonSeg|train_val": {}}},
            "the manifest beside a lists ReasonSeg|train_val as",
        ),
        *(
            ("ReasonSeg|train", "a", {"data": {trained: {}}}, f"the manifest beside a lists {trained} as")
            for trained in ("ReasonSeg|train", "ReasonSeg|train_val")
        ),
        ("ReasonSeg|train", "a", {"data": {"refcoco|unc|train": {}}}, ""),
        (
            "paco_lvis|train",
            "a",
            {"data": {"paco_lvis|train": {}}},
            "the manifest beside a lists paco_lvis|train",
        ),
        (
            "ReasonSeg|val",
            "xinlai/LISA-7B-v1",
            {},
            "LISA-7B-v1: its authors trained it on ReasonSeg train and val",
        ),
        ("refcoco|unc|val", "xinlai/LISA-7B-v1", {}, ""),
        ("ReasonSeg|val", "somewhere/else", {}, ""),
        *(
            (
                f"{name}|{split}",
                "a",
                {"data": {f"{name}|{split}": {}}},
                f"the manifest beside a lists {name}|{split}",
            )
            for name, split in SCORED_VIDEOS
        ),
        (
            "mevis|valid",
            "a",
            {"data": {"mevis|valid_u": {}}},
            "",
        ),  # another split, whatever its name begins with
        ("mevis|valid_u", "a", {"data": {"mevis|train": {}, "revos|valid": {}}}, ""),
        (
            "mevis|v2|valid_u",
            "a",
            {"data": {"mevis|valid_u": {}}},
            "the manifest beside a lists mevis|valid_u as",
        ),
        (
            "mevis|valid_u",
            "a",
            {"data": {"mevis|v2|valid_u": {}}},
            "the manifest beside a lists mevis|v2|valid_u as",
        ),
        (
            "mevis|valid_u",
            "ZechenBai/VideoLISA-3.8B",
            {},
            "VideoLISA-3.8B: its code trains on MeViS train and valid_u",
        ),
        ("mevis|v2|valid_u", "ZechenBai/VideoLISA-3.8B", {}, "VideoLISA-3.8B: its code trains on"),
        ("reasonvos|test", "ZechenBai/VideoLISA-3.8B", {}, ""),
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
        refuse_leak("refcoco|val", **about, allow=False)  # type: ignore[arg-type]
    why = refuse_leak("refcoco|val", **about, allow=True)  # type: ignore[arg-type]
    assert "LEAK" in caplog.text and "lists refcoco|unc|val as training data" in why
    assert refuse_leak("refcoco|testA", **about, allow=False) == ""  # type: ignore[arg-type]


def test_what_weights_saw_before_a_training_is_still_a_leak_behind_it() -> None:
    lisa = seen("xinlai/LISA-7B-v1", {})
    keyseg = seen("runs/keyseg", {"data": {"refcoco|unc|train": {}}, "before": lisa})
    again = {"data": {"my_data|train": {}}, "before": keyseg}
    assert "LISA-7B-v1: its authors" in str(leak("ReasonSeg|val", version="runs/c", manifest=again))
    assert "beside runs/keyseg lists" in str(leak("refcoco|train", version="runs/c", manifest=again))
    assert leak("ReasonSeg|test", version="runs/c", manifest=again) is None
