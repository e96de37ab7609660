"""A malformed entry is named, counted and left behind by the check, and stops a run before its first sample."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from seglm.dataset.check import check_source, main
from seglm.dataset.faults import Fault, attempt, blamed
from seglm.dataset.index import LeftOut, open_index
from seglm.dataset.pipeline import clip
from seglm.dataset.sources import coco_ids, open_source, open_sources
from seglm.dataset.sources.refcoco import DESCRIPTION as REFCOCO
from tests.dataset.damages import INSTANCES, PARTS, REFS, TALK
from tests.dataset.mini import ONE, copy_of


def change(file: Path, how: Callable[[Any], object]) -> None:
    content = json.loads(file.read_text())
    how(content)
    file.write_text(json.dumps(content))


@pytest.mark.parametrize(
    "error, message",
    [
        (ValueError("a thing is 3"), r"^set/a: malformed record: a thing is 3 \(file\)"),
        (KeyError("sent"), r"^set/a: malformed record: KeyError 'sent' \(file\)"),
        (RecursionError("too\ndeep"), r"^set/a: malformed record: RecursionError too deep"),
        (MemoryError(), r"^set/a: malformed record: MemoryError"),
        (FileNotFoundError(2, "No such file"), r"^set/a: cannot be read: No such file"),
        (Fault("set/b: what (other)"), r"^set/b: what \(other\)$"),
    ],
)
def test_whatever_goes_wrong_is_a_fault_of_its_record(error: Exception, message: str) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(Fault, match=message), blamed("set/a", "file"):
        fail()
    assert isinstance(attempt("set/a", "file", fail), Fault)


@pytest.mark.parametrize("error", [AssertionError, NameError, ImportError, KeyboardInterrupt])
def test_a_mistake_in_a_program_keeps_its_traceback(error: type[BaseException]) -> None:
    with pytest.raises(error), blamed("set/a", "file"):
        raise error


def test_the_check_lists_every_malformed_entry_and_counts_what_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = copy_of("pascal_part", tmp_path)

    def damage(content: Any) -> None:
        first, second = content["images"][:2]
        one = {
            image["id"]: one
            for one in content["annotations"]
            for image in (first, second)
            if one["image_id"] == image["id"]
        }
        one[first["id"]].pop("segmentation")
        one[second["id"]].pop("category_id")

    good = check_source("pascal_part", root)
    change(root / PARTS, damage)
    assert main(["--dataset_dir", str(root), "--dataset", "pascal_part", "--decode", "1"]) == 1
    said = capsys.readouterr().out
    assert f"wrong; {good.samples - 2} samples" in said and "2 faults" in said
    for number, field in ((1, "segmentation"), (2, "category_id")):
        assert f"pascal_part|train/image {number}: malformed record: has no `{field}`" in said
    with pytest.raises(Fault, match=r"image 1: .*has no `segmentation`[^\n]*\n1 more entries are malformed"):
        open_sources(root, {"sem_seg": ("pascal_part",)})


def test_a_ref_without_a_sentence_and_a_talk_without_a_picture_are_left_out_and_counted(
    tmp_path: Path,
) -> None:
    root = copy_of("llava_instruct", copy_of("grefcoco", tmp_path))
    before = {spec: check_source(spec, root) for spec in ("grefcoco|unc|val", "llava_instruct_150k")}
    change(root / REFS, lambda refs: [ref.update(sentences=[]) for ref in refs[7:9]])
    change(root / TALK, lambda talks: talks[0].pop("image"))
    for spec, less, note in (
        ("grefcoco|unc|val", 2, "left out: 2 refs without a sentence"),
        ("llava_instruct_150k", 1, "left out: 1 conversations without a picture"),
    ):
        found = check_source(spec, root, share=1)
        assert not found.faults and note in found.notes
        assert before[spec].expressions - found.expressions == less


def test_refs_of_a_split_that_no_set_has_are_counted_and_named(tmp_path: Path) -> None:
    root = copy_of("grefcoco", tmp_path)
    change(
        root / REFS,
        lambda refs: [ref.update(split=split) for ref, split in zip(refs, ("tarin", "Val", "Val"))],
    )
    for spec in ("grefcoco|unc|train", "grefcoco|unc|testA"):
        notes = check_source(spec, root).notes
        assert "left out: 1 refs of a split 'tarin', which is in no split of the set" in notes
        assert "left out: 2 refs of a split 'Val', which is in no split of the set" in notes
    change(root / REFS, lambda refs: [ref.update(split="tarin") for ref in refs])
    with pytest.raises(Fault, match=r"no ref belongs to this split; splits of its refs are 'tarin'"):
        open_source("grefcoco|unc|train", root)


@pytest.mark.parametrize("split", ["train", "val", "test", "testA", "testBC"])
def test_refs_of_a_published_split_are_not_told_of(split: str, tmp_path: Path) -> None:
    root = copy_of("grefcoco", tmp_path)
    change(root / REFS, lambda refs: refs[0].update(split=split))
    assert not [note for note in check_source("grefcoco|unc|val", root).notes if "of a split" in note]


@pytest.mark.parametrize(
    "how, told",
    [
        (lambda c: c["annotations"].append({**c["annotations"][0], "bbox": []}), "two of `annotations` have the id 570"),
        (lambda c: c["annotations"][0].update(image_id=928), "ref 70 of image 919 means annotation 570 of image 928"),
        (lambda c: c["images"].append(dict(c["images"][0])), "two of `images` have the id 919"),
    ],
    ids=["an annotation twice", "an annotation of another picture", "a picture twice"],
)  # fmt: skip
def test_ids_are_unique_and_belong_together(how: Callable[[Any], object], told: str, tmp_path: Path) -> None:
    root = copy_of("grefcoco", tmp_path)
    change(root / INSTANCES, how)
    with pytest.raises(Fault, match=rf"^grefcoco\|unc\|train/919: .*{told}.*instances.json"):
        open_source("grefcoco|unc|train", root)
    assert not check_source("grefcoco|unc|val", root, share=1).faults


def test_a_picture_that_nobody_means_by_its_type_is_named(tmp_path: Path) -> None:
    root = copy_of("pascal_part", tmp_path)
    change(root / PARTS, lambda content: content["images"][0].update(id="1"))
    found = check_source("pascal_part", root)
    assert "none of `images` has the id 1 (int); there is '1' (str)" in found.faults[0]


def test_coco_ids_of_malformed_refs_are_a_fault(tmp_path: Path) -> None:
    root = copy_of("refcoco", tmp_path)
    (root / "refer_seg/refcoco/refs(unc).p").write_bytes(b"(lp0\n(dp1\nS'split'\np2\nS'val'\np3\nsa.")
    with pytest.raises(Fault, match=r"^refcoco\|unc\|val: .*has no `image_id`"):
        coco_ids(root, "unc|val", REFCOCO)


# ---- two files for one name -----------------------------------------------------------------------------------------
def reasonseg(root: Path, **more: object) -> Path:
    """A folder with the picture a.jpg, the user's mask a.png and a.json."""
    folder = root / "ReasonSeg" / "val"
    folder.mkdir(parents=True)
    Image.new("RGB", (80, 60), (9, 200, 9)).save(folder / "a.jpg")
    Image.new("L", (80, 60), 255).save(folder / "a.png")
    shape = {"label": "a", "points": [[1, 1], [9, 1], [9, 9]]}
    (folder / "a.json").write_text(
        json.dumps({"text": ["a"], "is_sentence": False, "shapes": [shape], **more})
    )
    return folder


def test_of_two_pictures_the_one_is_shown_that_the_file_names(tmp_path: Path) -> None:
    reasonseg(tmp_path, imagePath="..\\here\\a.jpg")
    sample = open_source("ReasonSeg|val", tmp_path).sample(0)
    assert sample.path.endswith("a.jpg") and sample.frame(0)[0, 0, 1] > 190


@pytest.mark.parametrize("more", [{}, {"imagePath": "b.jpg"}, {"imagePath": None}, {"shapes": None}])
def test_two_files_for_one_name_are_refused_with_both(more: dict[str, object], tmp_path: Path) -> None:
    folder = reasonseg(tmp_path, **more)
    with pytest.raises(Fault, match=r"^ReasonSeg\|val/a: .*a.jpg and a.png are files for one name in .*val"):
        open_source("ReasonSeg|val", tmp_path)
    (folder / "a.png").unlink()
    shutil.copy(folder / "a.json", folder / "a.JSON")
    if len(list(folder.glob("a.[jJ]*"))) == 3:  # a disk that tells capitals apart
        with pytest.raises(Fault, match=r"a.JSON and a.json are files for one name"):
            open_source("ReasonSeg|val", tmp_path)


def test_endings_in_capitals_are_opened_as_they_are_listed(tmp_path: Path) -> None:
    folder = reasonseg(tmp_path)
    (folder / "a.png").unlink()
    for old, new in (("a.jpg", "a.JPG"), ("a.json", "a.Json")):
        (folder / old).rename(folder / new)
    assert clip(open_source("ReasonSeg|val", tmp_path).sample(0), frames=ONE).masks[0].any()
    root = copy_of("coco_stuff", tmp_path / "stuff")
    before = check_source("cocostuff", root, share=1)
    for file in [*root.rglob("*.png"), *root.rglob("*.jpg")]:
        file.rename(file.with_suffix(file.suffix.upper()))
    assert check_source("cocostuff", root, share=1) == before and not before.faults


def test_what_macos_lays_beside_a_picture_is_none(tmp_path: Path) -> None:
    root = copy_of("coco_stuff", tmp_path)
    before = check_source("cocostuff", root, share=1)
    (root / "cocostuff/train2017/._000000000037.png").write_bytes(b"\0\5\26\7")
    assert check_source("cocostuff", root, share=1) == before
    shutil.copy(root / "cocostuff/train2017/000000000037.png", root / "cocostuff/train2017/copy of it.png")
    [told] = check_source("cocostuff", root, share=1).faults
    assert told.startswith(
        "cocostuff|train2017/copy of it: malformed record: the name 'copy of it' is no COCO id"
    )


# ---- encodings ------------------------------------------------------------------------------------------------------
def test_words_in_chinese_are_never_taken_for_western_ones(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = reasonseg(tmp_path)
    (folder / "a.png").unlink()
    good = json.loads((folder / "a.json").read_text())
    for text, encoding in (
        ("\u676f\u5b50", "utf-8"),
        ("\u676f\u5b50", "utf-16"),
        ("gr\u00f6\u00dfte Tasse", "cp1252"),
    ):
        content = json.dumps({**good, "text": [text]}, ensure_ascii=False)
        (folder / "a.json").write_bytes(content.encode(encoding))
        for _ in range(2):
            assert open_source("ReasonSeg|val", tmp_path).sample(0).targets[0].texts == (text,)
    assert caplog.text.count("are in cp1252, not in UTF-8") == 1
    (folder / "a.json").write_bytes(
        json.dumps({**good, "text": ["\u676f\u5b50"]}, ensure_ascii=False).encode("gbk")
    )
    with pytest.raises(Fault, match=r"^ReasonSeg\|val/a: is no JSON: it is not UTF-8 .*gb18030.*a.json"):
        open_source("ReasonSeg|val", tmp_path).sample(0)


# ---- the index ------------------------------------------------------------------------------------------------------
def test_a_kept_index_keeps_its_faults_and_what_was_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEGLM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("seglm.dataset.index.LARGE", 1)
    file = tmp_path / "a.json"
    file.write_text("[]")
    listed = [
        *({"id": name, "image": f"{name}{number}.jpg"} for number, name in enumerate("abca")),
        *(LeftOut("empty ones"), LeftOut("empty ones"), Fault("set/x: what (file)")),
        *({"id": 3, "image": "d.jpg"}, {"id": "e"}, {"id": "f", "image": "f.jpg", "coco": 2**70}, {"id": "g", "image": "\ud800"}),
    ]  # fmt: skip
    made = open_index([file], lambda: listed, what="set")
    kept = open_index([file], lambda: [], what="set")
    for index in (made, kept):
        assert len(index) == 3 and index.left_out == {"empty ones": 2} and len(index.faults) == 6
        assert index.faults[0].startswith("set/a: two records have this name, of a0.jpg and a3.jpg")
        assert [told.split(":")[0] for told in index.faults[2:]] == [
            f"set/record {number}" for number in range(7, 11)
        ]
