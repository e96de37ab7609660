"""What is said is scored: files of other programs, a model's own, answers of the toy world, wrong ones refused in words."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from seglm.dataset.pipeline import shown
from seglm.dataset.sources import open_source
from seglm.dataset.toy.write_sa2va import write_sa2va
from seglm.evaluation.scores.grounded import word_likeness
from seglm.evaluation.told import captions, questions, regions
from seglm.evaluation.told.__main__ import main
from seglm.evaluation.told.captions import Chosen, picture_of, true_of
from seglm.model.recipe import Recipe
from seglm.model.recipes import recipe as named
from seglm.utils.answers import Answer, Drawn, Spoken
from seglm.utils.types import Pointed, Sample


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("told") / "data"
    write_sa2va(folder, images=10, val_images=16, test_images=4, seed=2, size=64)
    return folder


def table(out: str) -> dict[str, dict[str, float]]:
    """The printed table: row -> column -> number."""
    lines = [
        [cell.strip() for cell in line.strip("|\n").split("|")]
        for line in out.splitlines()
        if line.startswith("|")
    ]
    head, _, *rows = lines
    return {row[0]: dict(zip(head[1:], map(float, row[1:]), strict=True)) for row in rows}


def true_captions(root: Path, folder: Path, *, nested: bool = False) -> Chosen:
    """The truth of GranD-f's val in the layout of predictions."""
    chosen = Chosen(open_source("grandf_gcg|val", root), None)
    folder.mkdir(parents=True, exist_ok=True)
    for sample in chosen:
        told = true_of(sample)
        content: dict[str, Any] = {"caption": told.caption, "phrases": told.phrases, "pred_masks": told.masks}
        content = {told.picture: content} if nested else {"image_id": told.picture, **content}
        (folder / f"{told.picture}.json").write_text(json.dumps(content))
    return chosen


@pytest.mark.parametrize("nested", [False, True])
def test_the_truth_has_full_marks_in_sa2vas_layout_and_in_glamms(
    nested: bool, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    true_captions(root, tmp_path / "said", nested=nested)
    main(
        [
            "--predictions",
            str(tmp_path / "said"),
            "--dataset_dir",
            str(root),
            "--val_dataset",
            "grandf_gcg|val",
        ]
    )
    row = table(capsys.readouterr().out)["all"]
    assert row["n"] == 4 and row["ap50"] == row["miou"] == row["recall"] == row["recall_released"] == 1
    assert row["cider"] > 5 and row["meteor"] > 0.5


def test_a_picture_without_a_file_is_told_and_one_without_a_mask_is_scored(
    root: Path, tmp_path: Path
) -> None:
    chosen = true_captions(root, tmp_path)
    file = tmp_path / f"{picture_of(next(iter(chosen)))}.json"
    file.write_text(json.dumps({"caption": "", "phrases": [], "pred_masks": []}))
    assert captions.score(chosen, tmp_path, word_likeness)["all"].miou == pytest.approx(3 / 4)
    file.unlink()
    with pytest.raises(ValueError, match="there is no .*each picture has a file, PICTURE.json"):
        captions.score(chosen, tmp_path, word_likeness)


def test_two_captions_of_one_picture_are_two_files(root: Path, tmp_path: Path) -> None:
    """Flickr30k has several; under one name the last would be scored for all."""
    samples = list(true_captions(root, tmp_path / "said"))
    twice = [samples[0], samples[0], samples[1]]
    rows = [{"image_id": picture_of(one), "caption": str(number)} for number, one in enumerate(twice)]
    captions.write(rows, tmp_path)
    files = {file.name: json.loads(file.read_text())["caption"] for file in (tmp_path / "captions").iterdir()}
    first, other = picture_of(samples[0]), picture_of(samples[1])
    assert files == {f"{first}.json": "0", f"{first}.1.json": "1", f"{other}.json": "2"}
    with pytest.raises(ValueError, match=rf"there is no .*{first}\.1\.json"):
        captions.score(twice, tmp_path / "said", word_likeness)  # type: ignore[arg-type]
    (tmp_path / "said" / f"{first}.1.json").write_text((tmp_path / "said" / f"{first}.json").read_text())
    assert captions.score(twice, tmp_path / "said", word_likeness)["all"].ap50 == 1  # type: ignore[arg-type]


class Speaker:
    """Stands for a model: says what it is told to, and remembers what it was asked."""

    def __init__(self, text: str, masks: tuple[np.ndarray, ...] = ()) -> None:
        self.text, self.masks = text, masks
        self.asked: list[tuple[Sample, str]] = []
        self.recipe = SimpleNamespace(name="fake", points=lambda clip: ("region1",))

    def ask(self, model: object, sample: Sample, text: str, *, max_new_tokens: int) -> Iterator[Drawn]:
        self.asked.append((sample, text))
        spoken = Spoken(self.text, (), "ok", ("[SEG]",) * len(self.masks))
        yield Drawn(0, 0, (Answer(spoken, tuple(torch.tensor(mask).float() - 0.5 for mask in self.masks)),))


def asked(task: Any, speaker: Speaker, chosen: Chosen, folder: Path) -> None:
    """Asks about every sample and writes what is said."""
    task.write([row for sample in chosen for row in task.ask(speaker, sample, max_new_tokens=9)], folder)


def test_an_answer_is_taken_apart_into_caption_phrases_and_masks(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = Chosen(open_source("grandf_gcg|val", root), 1)
    sample = next(iter(chosen))
    masks = tuple(target.masks([0])[0] for target in sample.targets)
    speaker = Speaker("There is <p> a ring </p> [SEG] , and <p>two  dogs</p>[SEG].", masks)
    monkeypatch.setattr(captions, "ask_model", speaker.ask)
    asked(captions, speaker, chosen, tmp_path)
    [file] = (tmp_path / "captions").iterdir()
    content = json.loads(file.read_text())
    assert (content["caption"], content["phrases"]) == (
        "There is a ring, and two dogs.",
        ["a ring", "two dogs"],
    )
    assert captions.score(chosen, tmp_path, word_likeness)["all"].miou == 1
    assert [text for _, text in speaker.asked] == [captions.QUESTION]


def test_each_region_is_asked_about_alone(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = Chosen(open_source("osprey|description", root), None)
    speaker = Speaker("The region marked by region1 is a red ring.")
    monkeypatch.setattr(regions, "ask_model", speaker.ask)
    asked(regions, speaker, chosen, tmp_path)
    assert speaker.asked and all(len(sample.regions) == 1 and not sample.turns for sample, _ in speaker.asked)
    said = json.loads((tmp_path / "regions.json").read_text())
    assert (
        len(said) == sum(len(sample.regions) for sample in chosen) == len({one["image_id"] for one in said})
    )
    assert {one["caption"] for one in said} == {"a red ring."}
    found = regions.score(chosen, tmp_path, word_likeness)["all"]
    assert found.n == len(said) and 0 < found.meteor < 1
    speaker.recipe.points = None  # type: ignore[assignment]
    with pytest.raises(ValueError, match="recipe fake cannot be pointed at a region"):
        asked(regions, speaker, chosen, tmp_path)


def test_true_captions_of_regions_score_by_either_name(root: Path, tmp_path: Path) -> None:
    chosen = Chosen(open_source("osprey|description", root), 1)
    [sample] = list(chosen)
    for name in ("{sample}/{region}", "{region}"):
        said = [
            {"image_id": name.format(sample=sample.key, region=region.key), "caption": region.captions[0]}
            for region in sample.regions
        ]
        (tmp_path / "said.json").write_text(json.dumps(said))
        found = regions.score(chosen, tmp_path / "said.json", word_likeness)["all"]
        assert found.n == len(sample.regions) and found.meteor > 0.5
    both = Chosen(open_source("osprey|description", root), 2)
    with pytest.raises(ValueError, match=r"no caption of .* regions, first osprey.description/0/1"):
        regions.score(both, tmp_path / "said.json", word_likeness)  # their numbers begin anew in each picture
    said.append({**said[0], "caption": "another"})
    (tmp_path / "said.json").write_text(json.dumps(said))
    with pytest.raises(ValueError, match=f"said.json: two captions of {said[0]['image_id']}; keep the one"):
        regions.score(chosen, tmp_path / "said.json", word_likeness)
    (tmp_path / "said.json").write_text("[]")
    with pytest.raises(ValueError, match="no caption of .* regions, first osprey.description/0/1"):
        regions.score(chosen, tmp_path / "said.json", word_likeness)


@pytest.mark.parametrize(
    "said, want",
    [
        ("region1: A red ring.", "A red ring."),
        ("The region marked by region1 shows <b>this</b> ring", "this ring"),
        ("A ring that is red [SEG]", "A ring that is red"),
    ],
)
def test_only_what_names_the_region_is_taken_out_of_its_caption(said: str, want: str) -> None:
    assert regions.plain(said) == want


@pytest.mark.parametrize("spec", ["my_qa|val", "my_video_qa|val"])
def test_answers_are_scored_by_the_kind_of_their_question(
    spec: str, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = Chosen(open_source(spec, root), None)
    rows = [
        (f"{sample.key}/{number}", question, answer if kind != "colour" else "blue")
        for sample in chosen
        for number, ((question, answer), kind) in enumerate(zip(sample.turns, sample.turn_kinds, strict=True))
    ]
    file = tmp_path / "answers.csv"
    with file.open("w", newline="") as stream:
        csv.writer(stream).writerows([questions.FIELDS, *rows])
    main(["--predictions", str(tmp_path), "--dataset_dir", str(root), "--val_dataset", spec])
    found = table(capsys.readouterr().out)
    kinds = {kind for sample in chosen for kind in sample.turn_kinds}
    assert set(found) == {"all", *kinds} and found["all"]["n"] == len(rows)
    assert all(found[kind]["accuracy"] == 1 for kind in kinds - {"colour"})
    if "colour" in kinds:
        assert found["colour"]["accuracy"] == 0
    with file.open("w", newline="") as stream:
        csv.writer(stream).writerows([questions.FIELDS, *rows[:-1]])
    with pytest.raises(ValueError, match=f"no answer to 1 of {len(rows)} questions"):
        questions.score(chosen, file, word_likeness)
    with file.open("w", newline="") as stream:
        csv.writer(stream).writerows([questions.FIELDS, *((key, "What?", answer) for key, _, answer in rows)])
    with pytest.raises(ValueError, match="is the answer to 'What.', asked is"):
        questions.score(chosen, file, word_likeness)


def test_answers_of_a_spreadsheet_are_read_or_said_to_be_malformed(root: Path, tmp_path: Path) -> None:
    chosen = Chosen(open_source("my_qa|val", root), 1)
    said = [(f"{one.key}/{number}", *turn) for one in chosen for number, turn in enumerate(one.turns)]
    file = tmp_path / "answers.csv"

    def scored(*lines: tuple[str, ...], encoding: str = "utf-8", delimiter: str = ",") -> int:
        with file.open("w", newline="", encoding=encoding) as stream:
            csv.writer(stream, delimiter=delimiter).writerows(lines)
        return questions.score(chosen, file, word_likeness)["all"].n

    head = questions.FIELDS
    assert scored(head, *said, encoding="utf-8-sig") == scored(head, *said, encoding="utf-16") == len(said)
    assert scored(head, *said, said[0]) == len(said)
    for wrong in (("id", "question", "answer"), ("key", "question", "said"), (*head, "answer")):
        with pytest.raises(ValueError, match="line 1: has columns .*each of key, question, answer is exp"):
            scored(wrong, *said)
    with pytest.raises(ValueError, match=r"answers.csv, line 1: has columns \['key;question;answer'\]"):
        scored(head, *said, delimiter=";")
    with pytest.raises(ValueError, match="answers.csv, line 2: 3 fields are expected"):
        scored(head, ("one",))
    with pytest.raises(ValueError, match="answers.csv: two lines answer my_qa.val/.*; keep the one that is"):
        scored(head, *said, (*said[0][:2], "another"))


def test_every_question_is_asked_in_a_conversation_of_its_own(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = Chosen(open_source("my_qa|val", root), 2)
    speaker = Speaker("It is red.")
    monkeypatch.setattr(questions, "ask_model", speaker.ask)
    asked(questions, speaker, chosen, tmp_path)
    assert [text for _, text in speaker.asked] == [
        question for sample in chosen for question, _ in sample.turns
    ]
    assert questions.score(chosen, tmp_path, word_likeness)["all"].n == len(speaker.asked)


def test_a_typed_question_points_at_the_regions_of_its_picture(root: Path) -> None:
    sample = open_source("osprey|description", root).sample(0)
    recipe: Recipe = replace(named("lisa_tiny"), points=lambda clip: (f"{len(clip.pointed)} regions. ",))
    dialogue = recipe.typed(shown(sample, (0,)), "What?", (), recipe)
    assert f"{len(sample.regions)} regions. " in dialogue.turns[0].question
    plain = recipe.typed(shown(replace(sample, regions=()), (0,)), "What?", (), recipe)
    assert not [piece for piece in plain.turns[0].question if isinstance(piece, str) and "regions" in piece]


def test_a_sa2va_points_at_regions_as_it_is_trained_to(root: Path) -> None:
    sample, recipe = open_source("osprey|description", root).sample(0), named("sa2va_tiny")
    first, *_ = recipe.typed(shown(sample, (0,)), regions.QUESTION, (), recipe).turns
    assert sum(isinstance(piece, Pointed) for piece in first.question) == len(sample.regions)


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--val_dataset", "grandf_gcg|val"], "give either --version, a model to ask, or --predictions"),
        (
            ["--val_dataset", "my_data|val", "--predictions", "."],
            "unknown family of a data set whose words are scored",
        ),
    ],
)
def test_what_cannot_be_scored_is_refused(
    flags: list[str], message: str, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--dataset_dir", str(root), *flags])
    assert message in f"{capsys.readouterr().err} {caught.value}"
