"""Data sets of videos: found as the originals' READMEs lay them out, decoded only where asked, wrong ones refused in words."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from seglm.dataset import frames, masks
from seglm.dataset.check import check_source
from seglm.dataset.davis import convert
from seglm.dataset.davis import main as davis
from seglm.dataset.faults import Fault
from seglm.dataset.readers import video_masks
from seglm.dataset.readers.stills import Stills
from seglm.dataset.sources import open_source
from seglm.utils.types import Sample
from tests.dataset.mini import MINI, copy_of

YTVOS, DAVIS = Path("ref_youtube_vos/Refer-YouTube-VOS"), Path("ref_davis17/DAVIS17")


def samples(source: Stills) -> dict[str, Sample]:
    found = map(source.sample, range(len(source)))
    return {sample.key.partition("/")[2]: sample for sample in found}


def digest(spec: str, root: Path) -> dict[str, object]:
    """All that is asked, and every mask that is known."""
    found: dict[str, object] = {}
    for name, sample in samples(open_source(spec, root)).items():
        for target in sample.targets:
            known = range(sample.num_frames) if target.known_frames is None else target.known_frames
            bits = target.masks(list(known)).tobytes()
            found[f"{name}/{target.key}"] = (
                target.texts,
                target.objects,
                target.kind,
                sample.frame_names,
                bits,
            )
    assert found
    return found


def edit(file: Path, change: Callable[[Any], None]) -> None:
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


# ---- trees ----------------------------------------------------------------------------------------------------------
TREES = {
    "VideoLISA": {
        "mevis/mevis": "mevis",
        "youtube_vos/YTVOS": "YTVOS",
        "ref_youtube_vos/Refer-YouTube-VOS": "ref-youtube-vos",
        "ref_davis17/DAVIS17": "ref-davis",
        "reasonvos/ReasonVOS": "ReasonVOS",
    },
    "GLUS": {
        "mevis/mevis": "mevis",
        "ref_youtube_vos/Refer-YouTube-VOS": "Refer-YouTube-VOS",
        "ref_davis17/DAVIS17": "DAVIS17",
        "lvvis/glus_layout/LVVIS": "LVVIS",
        "revos/ReVOS": "ReVOS",
        "reasonvos/ReasonVOS": "ReasonVOS",
    },
    "DeSa2VA": {
        "mevis/mevis": "video_datas/mevis",
        "ref_youtube_vos/Refer-YouTube-VOS": "video_datas/rvos",
        "ref_davis17/DAVIS17": "video_datas/davis17",
        "revos/ReVOS": "video_datas/revos",
    },
    "VISA": {
        "mevis/mevis": "mevis",
        "ref_youtube_vos/Refer-YouTube-VOS": "Ref-Youtube-VOS",
        "ref_davis17/DAVIS17": "davis17",
        "lvvis/lvvis": "lvvis",
        "revos/ReVOS": "ReVOS",
    },
}
"""whose README lays data out so -> miniature -> its folder there"""
NAMES = {
    "mevis": "mevis",
    "youtube_vos": "ytvos",
    "lvvis": "lvvis",
    "revos": "revos",
    "reasonvos": "reasonvos|test",
}
NAMES |= {"ref_youtube_vos": "refer_youtube_vos|train", "ref_davis17": "davis|valid"}


def tree(whose: str, root: Path) -> Path:
    """Data as they have them. GLUS has no file of test's videos; VISA and Sa2VA have no PNGs, ReVOS' frames elsewhere."""
    for mini, folder in TREES[whose].items():
        shutil.copytree(MINI / mini, root / folder)
    if whose == "GLUS":
        shutil.rmtree(root / "Refer-YouTube-VOS/meta_expressions/test")
    if whose in ("VISA", "DeSa2VA"):
        for maps in root.glob("*/*/Annotations" if whose == "VISA" else "*/*/*/Annotations"):
            shutil.rmtree(maps)
    if whose == "DeSa2VA":
        (root / "video_datas/rvos/train/mask_dict.pkl").rename(root / "video_datas/rvos/mask_dict.pkl")
        for video in (root / "video_datas/revos/JPEGImages").iterdir():
            video.rename(root / "video_datas/revos" / video.name)
    return root


@pytest.mark.parametrize("whose", TREES)
def test_the_trees_of_the_originals_are_read_without_renaming(whose: str, tmp_path: Path) -> None:
    root = tree(whose, tmp_path)
    for mini in TREES[whose]:
        name = mini.partition("/")[0]
        assert digest(NAMES[name], root) == digest(NAMES[name], MINI / name), mini


def test_without_the_file_of_test_its_videos_are_those_without_frames(tmp_path: Path) -> None:
    root = tree("GLUS", tmp_path)
    source = open_source("refytvos|valid", root)
    assert set(samples(source)) == {"2b88561cf2", "3d04522a62"}
    assert source.index.left_out == {"videos that belong to test": 1}


def test_a_name_of_a_video_may_hold_a_folder(tmp_path: Path) -> None:
    root = copy_of("revos", tmp_path)
    (root / "ReVOS/JPEGImages/OVIS").mkdir()
    (root / "ReVOS/JPEGImages/OVIS_55aa").rename(root / "ReVOS/JPEGImages/OVIS/55aa")

    def rename(content: Any) -> None:
        content["videos"]["OVIS/55aa"] = content["videos"].pop("OVIS_55aa")

    edit(root / "ReVOS/meta_expressions_valid_.json", rename)
    assert samples(open_source("revos|valid", root))["OVIS/55aa"].frame(2).shape == (96, 128, 3)


# ---- releases, protocols ----------------------------------------------------------------------------------------------
def test_the_second_release_of_mevis_has_expressions_about_nothing(tmp_path: Path) -> None:
    root = copy_of("mevis", tmp_path)
    file = root / "mevis/valid_u/meta_expressions.json"
    nothing = {"exp": "The  elephant that flies", "obj_id": [], "anno_id": []}
    edit(file, lambda content: content["videos"]["0d9c8b7a6f5e"]["expressions"].update({"9": nothing}))
    with pytest.raises(
        Fault, match="mevis.valid_u/0d9c8b7a6f5e: .*expression 9: names no object; in the second release"
    ):
        open_source("mevis|valid_u", root)
    file.rename(file.with_name("meta_expressions_v2.json"))
    sample = samples(open_source("mevis|v2|valid_u", root))["0d9c8b7a6f5e"]
    target = sample.targets[-1]
    assert (target.texts, target.kind, target.objects) == (("the elephant that flies",), "none", ())
    assert target.masks([0, 5]).shape == (2, 96, 96) and not target.masks(range(6)).any()
    assert not check_source("mevis|v2|valid_u", root, share=1).faults


def test_raw_davis_and_its_texts_are_joined_as_referformer_joins_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw, out = MINI / "ref_davis17/raw", tmp_path / "DAVIS17"
    arguments = [
        "--davis",
        str(raw / "DAVIS"),
        "--texts",
        str(raw / "davis_text_annotations"),
        "--out",
        str(out),
    ]
    assert davis(arguments) == 0
    assert "train: 12 expressions, valid: 12 expressions" in capsys.readouterr().out
    for file in MINI.glob("ref_davis17/DAVIS17/**/*.json"):
        assert json.loads(file.read_text()) == json.loads((out / file.relative_to(MINI / DAVIS)).read_text())
    for split in ("train", "valid"):
        assert digest(f"davis|{split}", tmp_path) == digest(f"davis|{split}", MINI / "ref_davis17")
    with pytest.raises(SystemExit, match="DAVIS17: exists already; give a new folder as --out"):
        davis(arguments)


@pytest.mark.parametrize(
    "line, message",
    [
        ("blackswan 1 the swan", "line 7 is 'blackswan 1 the swan', permitted is: video object"),
        ('blackswan 1 "the swan"', "line 7: there are two texts for object 1 of blackswan"),
        (
            'blackswan 2 "the swan"',
            r"no text for object 2 in Davis17_annot1_full_video.txt, 2 in .*annot2.txt",
        ),
    ],
)
def test_texts_that_do_not_fit_are_refused(line: str, message: str, tmp_path: Path) -> None:
    shutil.copytree(MINI / "ref_davis17/raw", tmp_path / "raw")
    texts = tmp_path / "raw/davis_text_annotations"
    with (texts / "Davis17_annot1.txt").open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(Fault, match=message):
        convert(tmp_path / "raw/DAVIS", texts, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_is_neither_object_nor_background_in_davis_is_ignored(tmp_path: Path) -> None:
    root = copy_of("ref_davis17", tmp_path)
    file = root / "DAVIS17/valid/Annotations/blackswan/00002.png"
    image = Image.open(file)
    numbers = np.array(image)
    numbers[:3, :5] = 255
    void = Image.fromarray(numbers, mode="P")
    void.putpalette(image.getpalette() or [])
    void.save(file)
    sample = samples(open_source("davis|valid", root))["blackswan"]
    assert sample.ignore is not None
    assert sample.ignore([1, 2]).sum(axis=(1, 2)).tolist() == [0, 15]


# ---- only what is asked for -------------------------------------------------------------------------------------------
def test_only_the_frames_that_are_asked_for_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[str] = []

    def noting(function: Callable[..., Any], name: str) -> Callable[..., Any]:
        def noted(*args: Any, **kwargs: Any) -> Any:
            decoded.append(name)
            return function(*args, **kwargs)

        return noted

    monkeypatch.setattr(masks.coco, "decode", noting(masks.coco.decode, "mask"))
    monkeypatch.setattr(frames, "_decode", noting(frames._decode, "picture"))
    monkeypatch.setattr(video_masks, "read_labels", noting(video_masks.read_labels, "labels"))
    sample = samples(open_source("mevis", MINI / "mevis"))["3f1e2d0c9b8a"]
    assert decoded == []
    assert sample.targets[0].masks([5, 1]).shape == (2, 96, 128) and decoded == ["mask"] * 2
    sample.frame(3)
    assert decoded == ["mask", "mask", "picture"]
    decoded.clear()
    sample = samples(open_source("refytvos|train", MINI / "ref_youtube_vos"))["1f3876f8d0"]
    for number in (4, 0):
        for target in sample.targets:  # 14 expressions about 7 objects
            target.masks([number])
    assert decoded == ["labels"] * 2, "a label map is read once for all that is asked of a frame"


def test_expressions_about_the_same_things_share_their_mask() -> None:
    sample = samples(open_source("davis|valid", MINI / "ref_davis17"))["blackswan"]
    assert len({id(target.masks) for target in sample.targets}) == 1


def test_a_source_of_videos_goes_to_a_worker(tmp_path: Path) -> None:
    for spec, mini in (("mevis", "mevis"), ("davis", "ref_davis17"), ("reasonvos", "reasonvos")):
        sent = pickle.loads(pickle.dumps(open_source(spec, MINI / mini)))
        sample = sent.sample(0)
        assert sample.targets[0].masks([0]).any() and sample.frame(0).any()


# ---- faults -----------------------------------------------------------------------------------------------------------
def test_hidden_masks_are_no_zeros() -> None:
    sample = samples(open_source("mevis|valid", MINI / "mevis"))["ffeeddccbbaa"]
    assert all(target.known_frames == () for target in sample.targets)
    with pytest.raises(
        Fault, match="mevis.valid/ffeeddccbbaa, frame 0: .*masks of this split are not published"
    ):
        sample.targets[0].masks([0])


def test_frames_missing_in_the_middle_are_named(tmp_path: Path) -> None:
    root = copy_of("mevis", tmp_path)
    for name in ("00003", "00004"):
        (root / f"mevis/train/JPEGImages/3f1e2d0c9b8a/{name}.jpg").unlink()
    [told] = check_source("mevis|train", root).faults
    assert "mevis|train/3f1e2d0c9b8a: " in told and "2 of 8 frames are missing: 00003, 00004" in told


def test_masks_of_another_length_are_told_when_the_set_is_opened(tmp_path: Path) -> None:
    root = copy_of("mevis", tmp_path)
    edit(root / "mevis/train/mask_dict.json", lambda content: content["1"].pop())
    faults = check_source("mevis|train", root).faults
    assert any("expression 1: annotation 1 has 7 masks, its video 8 frames" in told for told in faults), (
        faults
    )


@pytest.mark.parametrize("size", [(40, 60), (128, 96)])
def test_masks_of_another_size_than_the_frames_are_told(size: tuple[int, int], tmp_path: Path) -> None:
    root = copy_of("ref_davis17", tmp_path / "png")
    Image.new("P", size[::-1]).save(root / "DAVIS17/valid/Annotations/blackswan/00001.png")
    [told] = check_source("davis|valid", root, share=1).faults
    assert (
        "ref_davis17|valid/blackswan, frame 1: " in told
        and f"is {size[0]} x {size[1]}, its frames are 96 x 144" in told
    )
    root = copy_of("mevis", tmp_path / "rle")
    for file in (root / "mevis/train/JPEGImages/3f1e2d0c9b8a").iterdir():
        Image.new("RGB", size[::-1]).save(file)
    [told] = check_source("mevis|train", root).faults
    assert f"3f1e2d0c9b8a: malformed record: its masks are 96 x 128, its frames {size[0]} x {size[1]}" in told


def test_a_mask_file_that_is_missing_in_training_is_told(tmp_path: Path) -> None:
    root = copy_of("ref_youtube_vos", tmp_path)
    (root / "Refer-YouTube-VOS/train/Annotations/1f3876f8d0/00010.png").unlink()
    [told] = check_source("refytvos|train", root).faults
    assert (
        "ref_youtube_vos|train/1f3876f8d0: " in told
        and "1 of 6 frames have no mask" in told
        and "00010" in told
    )


def test_an_object_that_no_frame_shows_is_told(tmp_path: Path) -> None:
    root = copy_of("ref_youtube_vos", tmp_path)
    file = root / "Refer-YouTube-VOS/meta_expressions/train/meta_expressions.json"
    edit(file, lambda content: content["videos"]["1f3876f8d0"]["expressions"]["3"].update(obj_id="9"))
    [told] = check_source("refytvos|train", root).faults
    assert "expression 3: `obj_id` is '9', meta.json has 1, 2, 3, 4, 5, 6, 7" in told
    (root / "Refer-YouTube-VOS/train/meta.json").unlink()
    found = check_source("refytvos|train", root, share=1)
    assert not found.faults and any("1f3876f8d0, target 3" in note for note in found.notes)


def test_the_checks_of_all_miniatures_are_good() -> None:
    for name in NAMES:
        spec = NAMES[name].partition("|")[0]
        for split in samples_splits(spec):
            found = check_source(f"{spec}|{split}", MINI / name, share=1)
            assert not found.faults and found.decoded == found.samples > 0, found


def samples_splits(spec: str) -> list[str]:
    return {"mevis": ["train", "valid_u", "valid"], "refer_youtube_vos": ["train", "valid", "test"]}.get(
        spec, {"lvvis": ["train"], "reasonvos": ["test"]}.get(spec, ["train", "valid"])
    )


def test_a_mask_of_an_instance_belongs_to_the_frame_at_its_place(tmp_path: Path) -> None:
    """A track has a mask for each of `file_names`; sorted as texts frame10 would get that of frame9."""
    home, names = tmp_path / "lvvis", ("frame9", "frame10", "frame11")
    shown = np.zeros((len(names), 4, 6), dtype=np.uint8)
    for number, name in enumerate(names):
        shown[number, 0, number] = 1
        file = home / "val" / "JPEGImages" / "clip" / f"{name}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (6, 4)).save(file)
    lengths = [coco.encode(np.asfortranarray(mask)) for mask in shown]
    content = {
        "videos": [{"id": 1, "file_names": [f"clip/{name}.jpg" for name in names], "height": 4, "width": 6}],
        "categories": [{"id": 3, "name": "ring"}],
        "annotations": [
            {
                "id": 7,
                "video_id": 1,
                "category_id": 3,
                "segmentations": [{**one, "counts": one["counts"].decode()} for one in lengths],
            }
        ],
    }
    (home / "val_instances.json").write_text(json.dumps(content))
    [sample] = samples(open_source("lvvis|val", tmp_path)).values()
    assert sample.frame_names == names
    np.testing.assert_array_equal(sample.targets[0].masks(range(3)), shown.astype(bool))
