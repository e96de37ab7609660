"""`seglm.evaluation.told` as a run: on several processes, after a kill, on training data, beside another model."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from seglm.dataset.sources import open_source
from seglm.dataset.toy.write_sa2va import write_sa2va
from seglm.evaluation.asking import weights
from seglm.evaluation.told import questions
from seglm.evaluation.told.__main__ import main
from seglm.evaluation.told.outcome import Outcome, beside
from seglm.model.recipes import recipe as named
from seglm.model.toy import BASES
from seglm.utils.answers import Answer, Drawn, Spoken
from seglm.utils.types import Sample
from tests.evaluation.test_processes import run

SPEC, OUT = "my_qa|val", "my_qa-val"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("told") / "data"
    write_sa2va(folder, images=4, val_images=20, test_images=4, seed=2, size=64)
    return folder


class Parrot:
    """Stands for a model: says one thing, until it is stopped."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, said: str = "Nothing of that.") -> None:
        self.said, self.stop_after = said, 10**9
        self.asked: list[str] = []
        opened = (SimpleNamespace(recipe=named("lisa_tiny")), named("lisa_tiny"))
        monkeypatch.setattr(weights, "opened", lambda given, world, takes_base: opened)
        monkeypatch.setattr(questions, "ask_model", self.ask)

    def ask(self, model: object, sample: Sample, text: str, *, max_new_tokens: int) -> Iterator[Drawn]:
        if len(self.asked) >= self.stop_after:
            raise KeyboardInterrupt
        self.asked.append(f"{sample.key} {text}")
        yield Drawn(0, 0, (Answer(Spoken(self.said, (), "not_asked", ())),))


@pytest.fixture
def parrot(monkeypatch: pytest.MonkeyPatch) -> Parrot:
    return Parrot(monkeypatch)


def line(root: Path, model: Path, out: Path, *more: str) -> list[str]:
    model.mkdir(exist_ok=True)
    place = ["--version", str(model), "--dataset_dir", str(root), "--val_dataset", SPEC, "--out", str(out)]
    return [*place, *more]


def test_a_run_that_is_stopped_goes_on_and_ends_with_the_same_files(
    root: Path, tmp_path: Path, parrot: Parrot, capsys: pytest.CaptureFixture[str]
) -> None:
    main(line(root, tmp_path / "model", tmp_path / "straight"))
    everything, parrot.asked = parrot.asked, []
    first = next(iter(open_source(SPEC, root).sample(0).turns))
    assert len(everything) > len(open_source(SPEC, root)) and first[0] in everything[0]
    turns = [len(open_source(SPEC, root).sample(number).turns) for number in range(2)]
    parrot.stop_after = sum(turns) + 1  # in the middle of the third picture
    with pytest.raises(SystemExit):
        main(line(root, tmp_path / "model", tmp_path / "out"))
    assert f"goes on from what is in {tmp_path / 'out' / OUT}" in capsys.readouterr().err
    for other in (["--max_new_tokens", "7"], ["--limit", "3"]):
        with pytest.raises(SystemExit, match="half of another evaluation"):
            main(line(root, tmp_path / "model", tmp_path / "out", *other))
    annotations = root / "my_data/questions_val.json"
    was = annotations.stat()
    annotations.touch()
    with pytest.raises(SystemExit, match=r"half of another evaluation \(other data\)"):
        main(line(root, tmp_path / "model", tmp_path / "out"))
    os.utime(annotations, ns=(was.st_atime_ns, was.st_mtime_ns))
    parrot.asked, parrot.stop_after = [], 10**9
    main(line(root, tmp_path / "model", tmp_path / "out"))
    assert parrot.asked == everything[sum(turns) :]
    straight, resumed = (
        {file.name: file.read_bytes() for file in (tmp_path / out / OUT).iterdir()}
        for out in ("straight", "out")
    )
    assert straight == resumed and set(straight) == {"answers.csv", "origin.json", "scores.json"}
    with pytest.raises(SystemExit, match=r"scores.json is there already; pass --overwrite"):
        main(line(root, tmp_path / "model", tmp_path / "out"))


def test_a_score_on_training_data_is_refused_and_marked_where_it_is_allowed(
    root: Path, tmp_path: Path, parrot: Parrot, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "model"
    given = line(root, model, tmp_path / "out")
    (model / "manifest.json").write_text(json.dumps({"data": {"my_qa|val": {}, "my_video_qa|train": {}}}))
    with pytest.raises(SystemExit, match=r"LEAK: the manifest beside .* lists my_qa\|val as training data"):
        main(given)
    assert not parrot.asked
    main([*given, "--allow_leak"])
    assert "LEAK: the manifest beside" in capsys.readouterr().out
    assert "my_qa|val" in json.loads((tmp_path / "out" / OUT / "scores.json").read_text())["leak"]
    told = ["--predictions", str(tmp_path / "out" / OUT), "--dataset_dir", str(root), "--val_dataset", SPEC]
    main(told)  # what was said, scored once more
    said = capsys.readouterr().out
    assert "LEAK: the manifest beside" in said and f"Weights: {model}, files " in said
    (model / "manifest.json").write_text(json.dumps({"data": {"my_qa|train": {}}}))
    main([*given, "--overwrite"])
    assert "LEAK" not in capsys.readouterr().out


def test_two_models_stand_side_by_side(
    root: Path, tmp_path: Path, parrot: Parrot, capsys: pytest.CaptureFixture[str]
) -> None:
    main(line(root, tmp_path / "model", tmp_path / "before"))
    parrot.said = next(answer for _, answer in open_source(SPEC, root).sample(0).turns)
    capsys.readouterr()
    main(line(root, tmp_path / "model", tmp_path / "now", "--against", str(tmp_path / "before")))
    found = [json.loads((tmp_path / out / OUT / "scores.json").read_text()) for out in ("before", "now")]
    before, now = (one["scores"]["all"] for one in found)
    assert now["accuracy"] > before["accuracy"]
    cells = f"{before['accuracy']:.4f} | {now['accuracy']:.4f} | {now['accuracy'] - before['accuracy']:+.4f}"
    said = capsys.readouterr().out
    assert "before and now" in said and f"| all | {now['n']} | {cells} |" in said
    for other, message in (
        ("nowhere", "there is no .*--version MODEL --out .*nowhere writes it"),
        ("odd", "no scores of"),
    ):
        (tmp_path / "odd").mkdir(exist_ok=True)
        (tmp_path / "odd" / "scores.json").write_text("[]")
        with pytest.raises(SystemExit, match=message):
            main(line(root, tmp_path / "model", tmp_path / "third", "--against", str(tmp_path / other)))


@pytest.mark.parametrize(
    "before, message",
    [
        (Outcome("my_qa|val", {"all": {"n": 4, "accuracy": 0.5}}), None),
        (Outcome("my_video_qa|val", {"all": {"n": 4, "accuracy": 0.5}}), "scores of my_video_qa|val, not of"),
        (Outcome("my_qa|val", {"all": {"n": 5, "accuracy": 0.5}}), "scores of other questions .*'all': 5"),
        (Outcome("my_qa|val", {"all": {"n": 4, "accuracy": 0.5}, "colour": {"n": 1}}), "other questions"),
        (
            Outcome("my_qa|val", {"all": {"n": 4, "accuracy": 0.5}}, likeness="bert"),
            "scores by --likeness bert, these are by words",
        ),
    ],
)
def test_only_scores_of_the_same_questions_are_compared(before: Outcome, message: str | None) -> None:
    now = Outcome("my_qa|val", {"all": {"n": 4, "accuracy": 0.25}}, leak="it was trained on it")
    if message is None:
        table = beside(now, before)
        assert "| all | 4 | 0.5000 | 0.2500 | -0.2500 |" in table
        assert "now: LEAK: it was trained on it; this is no validation score." in table
        return
    with pytest.raises(ValueError, match=message):
        beside(now, before)


@pytest.mark.slow
def test_two_processes_write_what_one_writes_of_words(root: Path, tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to(root)
    one = run(tmp_path / "one", 1, "words")
    assert set(one) == {f"{OUT}/{file}" for file in ("answers.csv", "origin.json", "scores.json")}
    assert run(tmp_path / "two", 2, "words") == one


@pytest.mark.slow
@pytest.mark.parametrize("spec", ["my_qa|val", "my_video_qa|val"])
def test_a_base_is_asked_before_it_learns_to_segment(spec: str, root: Path, tmp_path: Path) -> None:
    base = [
        "--version",
        str(BASES / "llava"),
        "--recipe",
        "videolisa_tiny" if "video" in spec else "lisa_tiny",
    ]
    some = ["--dataset_dir", str(root), "--val_dataset", spec, "--limit", "2", "--max_new_tokens", "8"]
    main([*base, *some, "--out", str(tmp_path)])
    content = json.loads((tmp_path / spec.replace("|", "-") / "scores.json").read_text())
    assert content["scores"]["all"]["n"] >= 2 and content["leak"] == ""
