"""What an evaluation reads again: whatever a spreadsheet, a disk or a copy has made of it is read as it was meant, or named."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from seglm.evaluation.offline import _by_expression
from seglm.evaluation.scores.files import SAID, read_said, write_said
from seglm.evaluation.scores.report import SCORES, read_scores
from seglm.evaluation.scores.results import Said

LINES = [
    Said(0, 0, "ReasonSeg|val/a", "a", "", "the cup, large", "It is [SEG].", "ok", 1, 0.5, False, "a.png"),
    Said(
        1,
        0,
        "ReasonSeg|val/b",
        "b",
        "none",
        'a "caf\u00e9"',
        "Nothing.",
        "no_seg_token",
        0,
        None,
        True,
        "b.png",
    ),
]
Damage = Callable[[bytes], bytes]

SAME: dict[str, Damage] = {
    "as it was written": lambda good: good,
    "with a mark": lambda good: b"\xef\xbb\xbf" + good,
    "in UTF-16": lambda good: good.decode().encode("utf-16"),
    "in the western encoding": lambda good: good.decode().encode("cp1252"),
    "with other ends of lines": lambda good: good.replace(b"\r\n", b"\n"),
    "with capitals": lambda good: good.replace(b"True", b"TRUE").replace(b"False", b"FALSE"),
    "with an empty last line": lambda good: good + b"\r\n",
}
WRONG: dict[str, tuple[Damage, str]] = {
    "empty": (lambda _: b"", "has columns None"),
    "a pointer": (lambda _: b"version https://git-lfs.github.com/spec/v1\n", "has columns .'version"),
    "with semicolons": (lambda good: good.replace(b",", b";"), "has columns"),
    "cut in a line": (
        lambda good: good[: good.index(b"ReasonSeg|val/b") + 4],
        "line 3: 12 fields are expected",
    ),
    "cut in quotes": (lambda good: good[: good.rindex(b"caf")], "unexpected end of data"),
    "with more fields": (lambda good: good.replace(b".png", b".png,x"), "line 2: 12 fields are expected"),
    "with a zero byte": (lambda good: good.replace(b"cup", b"c\0p"), "line 2: text holds a zero byte"),
    "with a word for a number": (lambda good: good.replace(b"\r\n1,0", b"\r\none,0"), "line 3: .*'one'"),
    "with yes for True": (
        lambda good: good.replace(b"True", b"yes"),
        "line 3: rejected is 'yes', permitted are True",
    ),
    "with another status": (
        lambda good: good.replace(b",ok,", b",fine,"),
        "line 2: status is 'fine', permitted are ok",
    ),
    "in no encoding": (lambda good: good + b"\x81\xfe\xff", "it is not UTF-8"),
}


def written(folder: Path, damage: Damage) -> Path:
    write_said(folder / SAID, LINES)
    (folder / SAID).write_bytes(damage((folder / SAID).read_bytes()))
    return folder / SAID


@pytest.mark.parametrize("damage", SAME.values(), ids=SAME)
def test_predictions_are_read_as_they_were_written(damage: Damage, tmp_path: Path) -> None:
    assert read_said(written(tmp_path, damage)) == LINES


@pytest.mark.parametrize("damage, told", WRONG.values(), ids=WRONG)
def test_damaged_predictions_are_an_error_that_names_file_and_line(
    damage: Damage, told: str, tmp_path: Path
) -> None:
    file = written(tmp_path, damage)
    with pytest.raises(ValueError, match=rf"^{file}.*{told}"):
        read_said(file)


def test_an_answer_may_be_as_long_as_those_to_all_frames_of_a_video(tmp_path: Path) -> None:
    long = [replace(LINES[0], answer="In this frame it is the cup. " * 10_000)]
    write_said(tmp_path / SAID, long)
    assert read_said(tmp_path / SAID) == long


def test_two_answers_to_one_expression_are_refused() -> None:
    twice = replace(LINES[0], sample=7, file="c.png")
    with pytest.raises(
        ValueError, match=r"two lines are about ReasonSeg\|val/a a 'the cup, large'.*a\.png.*c\.png"
    ):
        _by_expression([*LINES, twice], Path("eval"))
    assert len(_by_expression(LINES, Path("eval"))) == 2


@pytest.mark.parametrize(
    "content, told",
    [
        ("", "is no JSON"),
        ("[]", "these are no scores"),
        ("3", "these are no scores"),
        ("{}", "these are no scores"),
        ('{"kinds": 3, "all": {}}', "these are no scores"),
        ('{"kinds": {}, "all": {"x": 1}}', "these are no scores"),
        ("<html>", "a web page"),
        ("[" * 100_000, "is no JSON"),
        (json.dumps({"kinds": {}, "all": {}})[:9], "is no JSON"),
    ],
)
def test_damaged_scores_are_an_error_that_names_the_file(content: str, told: str, tmp_path: Path) -> None:
    (tmp_path / SCORES).write_text(content)
    with pytest.raises(ValueError, match=f"^{tmp_path / SCORES}: {told}"):
        read_scores(tmp_path)
