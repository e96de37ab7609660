"""What a person sees: chat, overlays, sheets, tables."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

import chat
from seglm.evaluation.asking.chat_answer import described, save
from seglm.evaluation.asking.evaluate import evaluate_asker
from seglm.evaluation.asking.open_model import open_model
from seglm.evaluation.pictures.masks import PREDICTED, TRUE, overlay
from seglm.evaluation.pictures.sheet import Layer, Panel, Row, panel, sheet
from seglm.evaluation.pictures.text import font, shortened, wrapped
from seglm.evaluation.scores.results import Scores
from seglm.evaluation.table import main as table_main
from seglm.evaluation.table import markdown, table
from seglm.model.recipes import recipe as named
from tests.evaluation.fakes import BENCHMARK, HEIGHT, WIDTH, FakeSource, near_the_truth, predicted, rectangle
from tests.house.tree import ROOT

RING = "imgs/toy_ring.png"
PICTURE = np.full((HEIGHT, WIDTH, 3), 200, dtype=np.uint8)


# ---- chat -----------------------------------------------------------------------------------------------------------
def test_every_mask_is_written_lossless_with_its_overlay(tmp_path: Path) -> None:
    mask = rectangle(3, 4)
    paths = save(predicted(mask, slots=3), PICTURE, Path("cup.png"), tmp_path)
    assert [path.name for path in paths] == ["cup_mask_0.png", "cup_mask_1.png", "cup_mask_2.png"]
    stored = cv2.imread(str(paths[2]), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(stored, mask * 255)
    shown = cv2.imread(str(tmp_path / "cup_masked_img_2.jpg"))
    assert shown is not None and shown.shape == PICTURE.shape


def test_masks_of_an_earlier_answer_do_not_stay(tmp_path: Path) -> None:
    save(predicted(rectangle(3, 4), slots=3), PICTURE, Path("cup.png"), tmp_path)
    (tmp_path / "cup2_mask_0.png").write_bytes(b"of another picture")
    save(predicted(rectangle(3, 4)), PICTURE, Path("cup.png"), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "cup2_mask_0.png",
        "cup_mask_0.png",
        "cup_masked_img_0.jpg",
        "pictures.json",
    ]


def test_pictures_of_one_name_keep_their_masks_apart(tmp_path: Path) -> None:
    first, second, third = (Path(name) for name in ("x/a.png", "y/a.png", "x/a.jpg"))
    out = tmp_path / "out"
    for image in (first, second, third, second, first):
        paths = save(predicted(rectangle(3, 4), slots=2), PICTURE, image, out)
        stem = {first: "a", second: "a_2", third: "a_3"}[image]
        assert [path.name for path in paths] == [f"{stem}_mask_0.png", f"{stem}_mask_1.png"]
    assert len(list(out.glob("*.png"))) == len(list(out.glob("*.jpg"))) == 6


def test_an_answer_in_words_leaves_the_masks_of_before_and_both_fates_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    picture, out = tmp_path / "a.png", tmp_path / "out"
    cv2.imwrite(str(picture), PICTURE)
    answers = iter([predicted(rectangle(3, 4), slots=2), predicted(None), predicted(rectangle(5, 5))])
    monkeypatch.setattr(chat, "_open", lambda given: SimpleNamespace(backbone=SimpleNamespace(device="cpu")))
    monkeypatch.setattr(chat, "predict_frames", lambda *_, **__: [next(answers)])
    files: list[list[str]] = []
    said: list[str] = []
    for _ in range(3):
        chat.main(["--image", str(picture), "--prompt", "a", "--vis_save_path", str(out)])
        files.append(sorted(path.name for path in out.iterdir()))
        said.append(capsys.readouterr().out)
    assert files[0] == files[1] and "a_mask_1.png" in files[0]
    assert files[2] == ["a_mask_0.png", "a_masked_img_0.jpg", "pictures.json"]
    assert "earlier answer" not in said[0]
    assert "a_mask_1.png, " in said[1] and "are kept, and are not of this answer" in said[1]
    assert "a_mask_1.png, " in said[2] and "of an earlier answer are replaced" in said[2]


def test_files_of_an_answer_that_fails_are_not_left_and_those_of_before_are(tmp_path: Path) -> None:
    save(predicted(rectangle(3, 4)), PICTURE, Path("a.png"), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match="does not lie on a picture"):
        save(predicted(np.zeros((2, 2), dtype=np.bool_)), PICTURE, Path("a.png"), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_file_that_chat_did_not_write_is_neither_replaced_nor_removed(tmp_path: Path) -> None:
    (tmp_path / "a_mask_0.png").write_bytes(b"drawn by hand")
    (path,) = save(predicted(rectangle(3, 4)), PICTURE, tmp_path / "a.png", tmp_path)
    assert path.name == "a_2_mask_0.png"
    assert (tmp_path / "a_mask_0.png").read_bytes() == b"drawn by hand"


@pytest.mark.parametrize("content", ["", "[]", '{"a": 1}', "\x00"])
def test_a_damaged_list_of_pictures_is_named(content: str, tmp_path: Path) -> None:
    (tmp_path / "pictures.json").write_text(content)
    with pytest.raises(ValueError, match=r"pictures\.json: .*; remove it, or give another --vis_save_path"):
        save(predicted(rectangle(3, 4)), PICTURE, Path("a.png"), tmp_path)


def test_words_beside_the_mask_are_shown(tmp_path: Path) -> None:
    answer = predicted(rectangle(3, 4), text="Sure, [SEG].\nIt  is round.")
    lines = described(answer, save(answer, PICTURE, Path("cup.png"), tmp_path))
    assert lines[0] == "text_output: Sure, [SEG]. It is round."
    assert lines[1].startswith("mask 0: 80 pixels, 10.4 % of the picture, estimated IoU 0.90: ")


def test_words_that_were_cut_off_are_shown_as_such() -> None:
    answer = replace(predicted(None), is_cut=True)
    assert described(answer, [])[0] == (
        "text_output: I do not know. (cut off here; a larger --max_new_tokens lets it write on)"
    )


def test_the_three_ways_to_get_no_mask_are_told_apart(tmp_path: Path) -> None:
    words = predicted(None)
    assert "no [SEG] was produced" in described(words, [])[1]
    silent = replace(words, status="not_asked")
    assert described(silent, [])[1].startswith("no mask: the model wrote no [SEG]")
    empty = predicted(np.zeros((HEIGHT, WIDTH), dtype=np.bool_))
    assert (
        "empty: the model drew nothing"
        in described(empty, save(empty, PICTURE, Path("cup.png"), tmp_path))[1]
    )


def test_the_loop_asks_again_for_a_picture_that_is_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "a cup.png"
    picture.write_bytes(b"")
    typed: Iterator[str] = iter(
        ["", "first", "nowhere.png", "https://a.b/c.mp4", f"'{picture}'", "second", ""]
    )
    seen: list[tuple[Path, str]] = []

    def read(prompt: str) -> str:
        try:
            return next(typed)
        except StopIteration:
            raise EOFError from None

    with pytest.raises(EOFError):
        chat.talk(lambda image, prompt: seen.append((image, prompt)), read)
    assert seen == [(picture, "first"), (picture, "second")]  # an empty path is the picture of before
    said = capsys.readouterr().out
    assert (
        "File not found: nowhere.png" in said and "https://a.b/c.mp4: an address; download it first" in said
    )


def test_a_broken_picture_is_said_and_the_loop_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    typed = iter(["one", __file__, "two", ""])

    def read(prompt: str) -> str:
        for line in typed:
            return line
        raise EOFError

    def reply(image: Path, prompt: str) -> None:
        raise ValueError(f"no picture for {prompt}")

    with pytest.raises(EOFError):
        chat.talk(reply, read)
    assert "error: no picture for one\nerror: no picture for two" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--prompt", "x"], r"--prompt and --image \(or --video\) belong together"),
        (["--prompt", "x", "--image", "nowhere.png"], "File not found: nowhere.png"),
        (["--version", "./nowhere", "--prompt", "x", "--image", RING], "nowhere"),
        (["--prompt", "l\udce9g", "--image", RING], "--prompt: byte 0xe9 at character 2 is no UTF-8"),
        (["--prompt", "l\ud800g", "--image", RING], r"--prompt: half a character, U\+D800"),
        (["--prompt", "  ", "--image", RING], "--prompt is empty"),
        (["--prompt", "x", "--image", "n" * 300], "File not found: n"),
        (["--vis_save_path", __file__], f"--vis_save_path {__file__}: {__file__} is there and no folder"),
        (["--vis_save_path", f"{__file__}/in"], f"--vis_save_path {__file__}/in: {__file__} is there and no"),
    ],
)
def test_one_shot_errors_name_the_thing_and_end_the_program(arguments: list[str], message: str) -> None:
    with pytest.raises(SystemExit, match=message):
        chat.main(arguments)


def test_quantised_loading_without_the_library_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "bitsandbytes", None)
    with pytest.raises(SystemExit, match="pip install bitsandbytes"):
        chat.main(["--load_in_4bit", "--prompt", "x", "--image", RING])


def test_a_flag_that_the_weights_do_not_take_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    sa2va = SimpleNamespace(encoder=SimpleNamespace(image_tokens=None))
    monkeypatch.setattr("seglm.model.load.load", lambda *_, **__: (sa2va, named("sa2va_tiny")))
    with pytest.raises(ValueError, match="--use_mm_start_end: recipe sa2va_tiny writes no tokens around"):
        open_model("a", image_tokens=True)
    open_model("a", image_tokens=False)
    monkeypatch.setattr("seglm.model.load.load", lambda *_, **__: pytest.fail("weights are loaded first"))
    with pytest.raises(ValueError, match="unknown chat template 'vicuna'"):
        open_model("a", conv_type="vicuna")


def test_what_is_typed_in_another_encoding_is_one_error_line_and_asked_again(tmp_path: Path) -> None:
    """Bytes on stdin, as a terminal of another encoding sends them, and a name that the terminal cannot show."""
    picture = tmp_path / "caf\udce9.png"
    cv2.imencode(".png", PICTURE)[1].tofile(os.fsencode(picture))
    program = f"""if True:
        import chat, argparse
        from pathlib import Path
        from tests.evaluation.fakes import predicted, rectangle
        chat._open = lambda given: argparse.Namespace(backbone=argparse.Namespace(device="cpu"))
        chat.predict_frames = lambda *_, **__: [predicted(rectangle(3, 4))]
        chat.main(["--vis_save_path", {str(tmp_path / "out")!r}])
    """
    lines = [
        b"segment l\xe9gume",
        os.fsencode(picture),
        b"first",
        b"x" * 300,
        b"~nobody/a.png",
        b"\x00",
        b"",
        b"\xff",
        b"",
    ]
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=b"\n".join(lines) + b"\n",
        capture_output=True,
        cwd=ROOT,
        check=False,
    )
    shown = done.stdout.decode()
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    assert shown.count("error: the prompt: byte 0xe9 at character 10 is no UTF-8") == 1
    assert shown.count("error: the prompt: byte 0xff at character 1 is no UTF-8") == 1
    assert shown.count("File not found") == 3 and shown.count("error:") == 2
    assert r"caf\udce9_mask_0.png" in shown and len(list((tmp_path / "out").glob("*_mask_0.png"))) == 1


# ---- pictures -------------------------------------------------------------------------------------------------------
def test_an_overlay_tints_the_mask_and_leaves_the_rest() -> None:
    mask = rectangle(4, 6)
    shown = overlay(PICTURE, mask, PREDICTED)
    assert tuple(shown[8, 10]) == tuple(round((200 + tone) / 2) for tone in PREDICTED)
    assert (shown[20:, :] == 200).all() and (PICTURE == 200).all()
    with pytest.raises(ValueError, match=r"a mask of \(2, 2\) does not lie on a picture of \(24, 32\)"):
        overlay(PICTURE, np.zeros((2, 2), dtype=np.bool_), PREDICTED)


def test_a_panel_lights_the_mask() -> None:
    picture = np.zeros_like(PICTURE)
    shown = np.asarray(panel(picture, [Layer(rectangle(4, 6), TRUE)], side=64))
    assert shown.shape == (48, 64, 3)
    assert (shown[16, 22] == 0).all() and shown[40, 60].min() > 100


@pytest.mark.parametrize(
    "text", ["short", "many words that have to be put into several lines of a box", "W" * 300]
)
def test_no_text_leaves_its_box(text: str) -> None:
    face = font(13)
    lines = wrapped(text, 120, face, max_lines=3)
    assert len(lines) <= 3 and all(face.getlength(line) <= 120 for line in lines)
    assert face.getlength(shortened(text, 60, face)) <= 60


def test_a_sheet_needs_a_panel_for_every_column(tmp_path: Path) -> None:
    row = Row((Panel(PICTURE), Panel(PICTURE)), "a title", ("a line",))
    sheet(tmp_path / "a.png", title="T", legend={"true": TRUE}, columns=("one", "two"), rows=[row])
    image = cv2.imread(str(tmp_path / "a.png"))
    assert image is not None
    with pytest.raises(ValueError, match="'a title' has 2 panels for 3 columns"):
        sheet(tmp_path / "a.png", title="T", legend={}, columns=("one", "two", "three"), rows=[row])


# ---- tables ---------------------------------------------------------------------------------------------------------
def test_a_row_of_a_sheet_is_as_high_as_its_words(tmp_path: Path) -> None:
    picture, heights = np.full((40, 50, 3), 200, np.uint8), []
    for count in (1, 20):
        first = Row((Panel(picture),), title="first", lines=("one line",) * count)
        path = tmp_path / f"{count}.png"
        sheet(
            path, title="T", legend={}, columns=("one",), rows=[first, Row((Panel(picture),), title="second")]
        )
        heights.append(cv2.imread(str(path)).shape[0])
    assert (
        heights[1] - heights[0] == 20 * 20 + 24 - 200
    )  # a line of 12 px with its distance, and a title of 14 px, less a panel


def fake_scores(folder: Path | None = None) -> Scores:
    selection = BENCHMARK.select(FakeSource(6))
    return evaluate_asker(near_the_truth, BENCHMARK, selection, named("lisa_tiny"), out_dir=folder)


def test_a_table_has_a_column_for_every_kind() -> None:
    scores = fake_scores()
    text = markdown(table({"start": scores, "trained": scores}, title="Toy"))
    assert (
        "| | gIoU (12) | positives (11) | attribute (6) | reasoning (6) | cIoU (12) | [SEG] rate (12) | N-acc (1) | T-acc (11) |"
        in text
    )
    assert f"| trained | {100 * scores.all.giou:.1f} |" in text
    assert "LISA's gIoU/cIoU" in text


def test_scores_of_two_benchmarks_do_not_share_a_table() -> None:
    scores = fake_scores()
    with pytest.raises(ValueError, match="one benchmark, not 2: fake|val, other"):
        table({"a": scores, "b": replace(scores, benchmark="other")}, title="Toy")


def test_rows_that_were_averaged_or_asked_otherwise_are_said_to_be_so() -> None:
    a = fake_scores()
    rows = {"a": a, "b": replace(a, convention="another", protocol="forced"), "c": a}
    alike, unlike = table({"a": a, "c": a}, title="Toy"), table(rows, title="Toy")
    assert alike.note == f"{a.convention}. Protocol generate"
    assert unlike.note == (
        f"NOT COMPARABLE, averaged differently. a, c: {a.convention}; b: another. Protocol a, c: generate; b: forced"
    )
    fewer = {"a": a, "b": replace(a, all=replace(a.all, n=11))}
    assert table(fewer, title="Toy").note.startswith(
        "NOT COMPARABLE, a: 12 expressions; b: 11 expressions. LISA's"
    )


def test_the_table_is_made_from_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fake_scores(tmp_path / "one run")
    text = table_main(["--out", str(tmp_path / "t"), f"trained={tmp_path / 'one run'}"])
    assert (tmp_path / "t" / "table.md").read_text() == text
    image = cv2.imread(str(tmp_path / "t" / "table.png"))
    assert image is not None
    with pytest.raises(SystemExit, match="no scores; `python -m seglm.evaluation.run"):
        table_main(["--out", str(tmp_path), f"x={tmp_path}"])
    twice = [f"trained={tmp_path / 'one run'}"] * 2
    with pytest.raises(SystemExit):
        table_main(["--out", str(tmp_path), *twice])
    assert "two rows are called 'trained'" in capsys.readouterr().err
