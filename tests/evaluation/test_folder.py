"""A folder is asked about: what is written, what is not asked again, what is broken, and what a stopped command leaves."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seglm import predict as command
from seglm.evaluation.asking import folder as asked
from seglm.evaluation.asking.folder import predict_folder
from seglm.evaluation.asking.question import predict
from seglm.evaluation.scores.files import read_mask
from seglm.model.segmenter import Segmenter
from seglm.utils import lock
from seglm.utils.film import film
from tests.evaluation.test_question import FILM, talkative
from tests.training.test_run_folder import elsewhere, end

TEXT = "Segment it."


@pytest.fixture(scope="module")
def model() -> Segmenter:
    return talkative()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two of one stem, one in a folder of its own, one hidden, and words."""
    home = tmp_path / "in"
    (home / "more").mkdir(parents=True)
    for number, name in enumerate(("a.png", "a.jpg", "more/b.PNG", ".hidden.png")):
        Image.fromarray(FILM[number]).save(home / name)
    (home / "notes.txt").write_text("no picture")
    return home


def files(folder: Path) -> list[str]:
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())


def test_every_picture_has_its_masks_overlays_and_answer(
    model: Segmenter, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    told = predict_folder(model, pictures, TEXT, out, max_new_tokens=6)
    assert [answer["file"] for answer in told] == ["a.jpg", "a.png", "more/b.PNG"]
    assert json.loads((out / "answers.json").read_text()) == told
    assert json.loads((out / "more/b.PNG/answer.json").read_text()) == told[2]
    want = predict(model, pictures / "a.png", TEXT, max_new_tokens=6)
    assert told[1]["text"] == want.text and len(told[1]["masks"]) == len(want.segments) > 0
    for entry, segment in zip(told[1]["masks"], want.segments, strict=True):
        np.testing.assert_array_equal(read_mask(out / "a.png" / entry["mask"]), segment.mask)
        assert entry["pixels"] == segment.mask.sum() and (out / "a.png/a_masked_img_0.jpg").is_file()
    assert not list(out.rglob("*.new")) and not [name for name in files(out) if "hidden" in name]


def test_a_film_has_its_masks_frame_by_frame(model: Segmenter, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with film(tmp_path / "in" / "clip.mp4") as add:
        for frame in FILM:
            add(frame)
    [answer] = predict_folder(model, tmp_path / "in", TEXT, tmp_path / "out", max_new_tokens=6)
    assert [one["frame"] for one in answer["frames"]] == [f"{number:05d}" for number in range(len(FILM))]
    shown = {"clip_masked.mp4", "clip_strip.png", "clip_mask_0/00000.png", "answer.json"}
    assert shown <= set(files(tmp_path / "out" / "clip.mp4"))


def test_what_is_answered_is_not_asked_again_and_what_has_changed_is(
    model: Segmenter, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, about = tmp_path / "out", list[str]()
    frames = asked.predict_frames
    monkeypatch.setattr(
        asked, "predict_frames", lambda *all, **more: about.append(all[1].key) or frames(*all, **more)
    )  # type: ignore[func-returns-value]
    first = predict_folder(model, pictures, TEXT, out, max_new_tokens=2)
    Image.fromarray(FILM[4][:9]).save(pictures / "a.jpg")
    again = predict_folder(model, pictures, TEXT, out, max_new_tokens=2)
    assert about[3:] == [str(pictures / "a.jpg")] and again[1:] == first[1:]
    with pytest.raises(
        ValueError, match=r"out holds answers to another question \(text='Segment it.', now 'Other\?'\)"
    ):
        predict_folder(model, pictures, "Other?", out, max_new_tokens=2)
    weights = r"weights='[0-9a-f]{8}', now '[0-9a-f]{8}'"
    with pytest.raises(ValueError, match=rf"another question \({weights}; recipe='\w+', now '\w+'\)"):
        predict_folder(talkative("gsva_7b"), pictures, TEXT, out, max_new_tokens=2)
    engine = replace(model.recipe.engine, precision="bf16")
    monkeypatch.setattr(model, "recipe", replace(model.recipe, engine=engine))
    with pytest.raises(ValueError, match=r"another question \(precision='fp32', now 'bf16'\)"):
        predict_folder(model, pictures, TEXT, out, max_new_tokens=2)


def test_linked_folders_are_asked_about_once_and_what_is_not_there_is_named(
    model: Segmenter, pictures: Path, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    Image.fromarray(FILM[3]).save(disk / "c.png")
    for link, target in {"b": "more", "disk": disk, "more/up": "..", "gone.png": "nowhere"}.items():
        (pictures / link).symlink_to(target)
    (disk / "back").symlink_to(pictures)
    told = predict_folder(model, pictures, TEXT, tmp_path / "out", max_new_tokens=2)
    assert [answer["file"] for answer in told] == ["a.jpg", "a.png", "disk/c.png", "gone.png", "more/b.PNG"]
    assert [answer["file"] for answer in told if "error" in answer] == ["gone.png"]
    assert told[3]["error"] == f"{pictures / 'gone.png'}: cannot be read: No such file or directory"
    with pytest.raises(ValueError, match="out lies in .*in, and would be asked about next time"):
        predict_folder(model, pictures, TEXT, disk / "out", max_new_tokens=2)


def test_a_name_that_is_too_long_for_its_masks_is_told_and_the_others_are_answered(
    model: Segmenter, pictures: Path, tmp_path: Path
) -> None:
    Image.fromarray(FILM[3]).save(pictures / f"a{'b' * 246}.png")
    told = predict_folder(model, pictures, TEXT, tmp_path / "out", max_new_tokens=6)
    assert ["error" in answer for answer in told] == [False, False, True, False]
    assert "b.png: its name is too long for those of the masks in " in told[2]["error"]
    assert json.loads((tmp_path / "out/answers.json").read_text()) == told


def test_one_process_at_a_time_answers_into_a_folder(
    model: Segmenter, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    child = elsewhere(lambda: lock.take(tmp_path / ".out.lock"))
    with pytest.raises(ValueError, match=rf"out: process {child} on \S+ answers into this folder; wait"):
        predict_folder(model, pictures, TEXT, out, max_new_tokens=2)
    end(child)
    assert len(predict_folder(model, pictures, TEXT, out, max_new_tokens=2)) == 3
    assert not (tmp_path / ".out.lock").exists()


def test_a_stopped_run_says_what_is_kept_and_goes_on(
    model: Segmenter, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"

    def stopped(files):  # type: ignore[no-untyped-def]
        yield files[0]
        raise KeyboardInterrupt

    with pytest.raises(
        KeyboardInterrupt, match="1 of 3 files are answered in .*out; the same command goes on"
    ):
        predict_folder(model, pictures, TEXT, out, max_new_tokens=2, progress=stopped)
    before = {name: (out / name).read_bytes() for name in files(out)}
    assert "a.jpg/answer.json" in before and "answers.json" not in before
    assert len(predict_folder(model, pictures, TEXT, out, max_new_tokens=2)) == 3
    assert {name: (out / name).read_bytes() for name in before} == before


def test_an_answer_that_is_stopped_in_its_middle_leaves_nothing(
    model: Segmenter, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(asked, "write_masks", stop)
    with pytest.raises(KeyboardInterrupt, match="0 of 3 files"):
        predict_folder(model, pictures, TEXT, tmp_path / "out", max_new_tokens=2)
    assert files(tmp_path / "out") == ["question.json"]


def test_broken_files_are_named_and_the_others_answered(
    model: Segmenter,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (pictures / "a.jpg").write_bytes((pictures / "a.jpg").read_bytes()[:300])
    (pictures / "cut.mp4").write_bytes(b"no film")
    (pictures / "more" / "c.png").write_bytes(b"")
    monkeypatch.setattr(command, "open_model", lambda *_, **__: (model, "a model"))
    flags = ["--version", "x", "--folder", str(pictures), "--text", TEXT, "--max_new_tokens", "2"]
    assert command.main([*flags, "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr()
    assert said.out.startswith("a model\n2 of 5 files answered: ")
    assert "left out by their ending: 1 (notes.txt)\n" in said.out
    for name in ("a.jpg", "cut.mp4", "more/c.png"):
        assert f"broken: {pictures / name}: " in said.err
    assert "dataset.check" not in said.err and not (tmp_path / "out" / "a.jpg").exists()
    told = json.loads((tmp_path / "out" / "answers.json").read_text())
    assert [("error" in answer) for answer in told] == [True, False, True, False, True]
    # A file that was mended is asked about.
    Image.fromarray(FILM[0]).save(pictures / "a.jpg")
    assert command.main([*flags, "--out", str(tmp_path / "out")]) == 1
    assert "3 of 5 files answered" in capsys.readouterr().out


@pytest.mark.parametrize(
    "flags, told",
    [
        (["--folder", "nowhere"], "nowhere: no such folder"),
        (["--folder", "empty"], "empty: no picture and no film in it; taken are .jpg"),
        (["--folder", "in", "--text", " "], "--text is empty"),
        (["--folder", "in", "--out", "in/out"], "in/out lies in in"),
        (["--folder", "in", "--out", "."], "the folder for answers"),
        (["--folder", "in", "--device", "tpu"], "device='tpu': this machine has cpu"),
        (["--folder", "in", "--fodler", "in"], "unknown flag '--fodler'; did you mean --folder"),
    ],
)
def test_what_is_wrong_is_one_line(
    flags: list[str],
    told: str,
    model: Segmenter,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "empty").mkdir()
    Image.fromarray(FILM[0]).save(tmp_path / "in" / "a.png")
    if "--device" not in flags:
        monkeypatch.setattr(command, "open_model", lambda *_, **__: (model, "a model"))
    with pytest.raises(SystemExit) as ended:
        command.main(["--version", "x", "--text", TEXT, "--out", "out", *flags])
    assert told in f"{ended.value} {capsys.readouterr().err}"
    assert not (tmp_path / "out").exists()
