"""Captions with masked phrases: every layout gives the same phrases, and what cannot be said in one answer is told apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from seglm.dataset.check import check_source
from seglm.dataset.faults import Fault
from seglm.dataset.readers.grounded import apart, places
from seglm.dataset.sources import held_out_images, open_source, open_sources
from seglm.utils.types import Sample
from tests.dataset.mini import world

SIZE = (40, 60)
TEXT = "A man in red and two dogs."


def rle(*boxes: tuple[int, int, int, int]) -> dict[str, Any]:
    """Run lengths of boxes (left, top, right, bottom)."""
    mask = np.zeros(SIZE, np.uint8, order="F")
    for left, top, right, bottom in boxes:
        mask[top:bottom, left:right] = 1
    return {"size": list(SIZE), "counts": coco.encode(mask)["counts"].decode()}


def polygon(left: int, top: int, right: int, bottom: int) -> list[float]:
    return [left, top, right, top, right, bottom, left, bottom]


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", SIZE[::-1], (90, 120, 30)).save(path)


def save(content: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


MAN, DOG, OTHER = (2, 2, 12, 22), (20, 20, 30, 30), (40, 20, 50, 30)
ANNOTATIONS = "glamm_data/annotations"


def grandf(root: Path, *, caption: str = TEXT, ahead: int = 0) -> None:
    picture(root / "glamm_data/images/grandf/train/a.jpg")
    man = {"token_positives": [ahead, ahead + 12], "rle_masks": [rle(MAN)]}
    dogs = {"token_positives": [ahead + 17, ahead + 25], "rle_masks": [rle(DOG), rle(OTHER)]}
    entry = {"file_name": "a.jpg", "height": 40, "width": 60, "image_id": "a", "caption": caption}
    entry["groundings"] = {"two dogs": dogs, "sky": None, "A man in red": man}  # type: ignore[assignment]
    save([entry], root / ANNOTATIONS / "GranDf_HA_GCG_train.json")


def openpsg(root: Path) -> None:
    grandf(root)
    (root / ANNOTATIONS / "GranDf_HA_GCG_train.json").rename(root / ANNOTATIONS / "OpenPsgGCG_train.json")
    picture(root / "glamm_data/images/coco2017/val2017/a.jpg")


def refcocog(root: Path) -> None:
    picture(root / "glamm_data/images/coco2014/train2014/a.jpg")
    refs = [
        {"sentence": "two dogs", "bbox": [], "segmentation": [polygon(*DOG)]},
        {"sentence": "Man", "bbox": [], "segmentation": [polygon(*OTHER)]},  # only inside another phrase
        {"sentence": "a man in red", "bbox": [], "segmentation": [polygon(*MAN)]},
        {"sentence": "two dogs", "bbox": [], "segmentation": [polygon(*OTHER)]},
        {"sentence": "a cat", "bbox": [], "segmentation": [polygon(*OTHER)]},
    ]
    entry = {"7": {"img_file_name": "a.jpg", "caption": f'"{TEXT}"', "refs": refs}}
    save([entry], root / ANNOTATIONS / "RefCOCOg_GCG_train.json")


def flickr(root: Path) -> None:
    picture(root / "glamm_data/images/flickr30k/Flickr30K/a.jpg")
    size = {"height": 40, "width": 60, "file_name": "a.jpg"}
    images = [{"id": 5, "caption": TEXT, **size}, {"id": 6, "caption": "Two dogs", **size}]

    def annotation(
        number: int, at: tuple[int, int], box: tuple[int, int, int, int], **more: Any
    ) -> dict[str, Any]:
        left, top, right, bottom = box
        inside = {"bbox": [left, top, right - left, bottom - top], "area": (right - left) * (bottom - top)}
        places = {"tokens_positive": [list(at)], "sam_mask": rle(box)}
        return {"id": number, "image_id": 5, **inside, **places, **more}

    annotations = [
        annotation(1, (17, 25), DOG),
        annotation(2, (0, 12), MAN),
        annotation(3, (17, 25), OTHER),
        annotation(4, (0, 12), OTHER, ignore=True),
        annotation(5, (0, 12), OTHER, bbox=[70, 20, 10, 10]),
    ]
    save(
        {"images": images, "annotations": annotations}, root / ANNOTATIONS / "flickr_mergedGT_GCG_train.json"
    )


def truth(root: Path) -> None:
    picture(root / "glamm_data/images/grandf/val_test/a.jpg")
    image = {"id": "a", "height": 40, "width": 60}
    caption = {"id": 1, "image_id": "a", "caption": TEXT, "labels": ["two dogs", "A man in red"]}
    masks = [
        {"id": 1, "image_id": "a", "category_id": 1, "segmentation": rle(DOG, OTHER)},
        {"id": 2, "image_id": "a", "category_id": 1, "segmentation": rle(MAN)},
    ]
    folder = root / ANNOTATIONS / "gcg_val_test"
    save({"images": [image], "annotations": [caption]}, folder / "val_gcg_coco_caption_gt.json")
    save({"images": [image], "annotations": masks}, folder / "val_gcg_coco_mask_gt.json")


LAYOUTS = {
    "grandf_gcg|train": grandf,
    "openpsg_gcg|train": openpsg,
    "refcocog_gcg|train": refcocog,
    "flickr_gcg|train": flickr,
    "grandf_gcg|val": truth,
}


def told(sample: Sample) -> list[tuple[str, list[tuple[int, int]]]]:
    """Each phrase of the caption with the (x, y) of its things' middles that its mask holds."""
    assert sample.caption is not None
    found = []
    for phrase in sample.caption.phrases:
        mask = sample.targets[phrase.target].masks([0])[0]
        held = [
            ((left + right) // 2, (top + bottom) // 2)
            for left, top, right, bottom in (MAN, DOG, OTHER)
            if mask[(top + bottom) // 2, (left + right) // 2]
        ]
        found.append((sample.caption.text[phrase.start : phrase.end].lower(), held))
    return found


@pytest.mark.parametrize("spec", LAYOUTS)
def test_every_layout_gives_the_phrases_of_a_caption_with_their_masks(spec: str, tmp_path: Path) -> None:
    LAYOUTS[spec](tmp_path)
    source = open_source(spec, tmp_path)
    assert told(source.sample(0)) == [("a man in red", [(7, 12)]), ("two dogs", [(25, 25), (45, 25)])]
    found = check_source(spec, tmp_path, share=1)
    assert (found.faults, found.samples, found.expressions, found.decoded) == ([], 1, 2, 1)
    assert source.sample(0).frame(0).shape == (*SIZE, 3)


@pytest.mark.parametrize("ahead", [0, 1])
def test_places_count_with_the_quotes_or_without_them(ahead: int, tmp_path: Path) -> None:
    grandf(tmp_path, caption=f'"{TEXT}"', ahead=ahead)
    assert [words for words, _ in told(open_source("grandf", tmp_path).sample(0))] == [
        "a man in red",
        "two dogs",
    ]


@pytest.mark.parametrize(
    "spans, want",
    [
        ({(0, 5): 1}, {"a man": 1}),
        ({(0, 12): 1, (9, 12): 2}, {"a man in": 1, "red": 2}),  # cut where the next begins
        ({(0, 5): 1, (0, 12): 2}, {"a man in red": 2}),  # the longer of two that begin together
        ({(5, 12): 1}, {"in red": 1}),  # trimmed
        ({(5, 9): 1, (6, 12): 2}, {"in red": 2}),  # nothing is left of the first
    ],
)
def test_no_phrase_lies_in_another(spans: dict[tuple[int, int], int], want: dict[str, int]) -> None:
    text = "a man in red"
    found = apart(text, {span: [mask] for span, mask in spans.items()})
    assert {text[start:end]: parts[0] for (start, end), parts in found.items()} == want


def test_a_phrase_stands_as_whole_words_where_no_other_does() -> None:
    assert places("a woman and a man, man", "man", []) == [(14, 17), (19, 22)]
    assert places("a woman and a man, man", "man", [(12, 17)]) == [(19, 22)]


def test_exclude_val_knows_the_pictures_of_coco_by_their_names(tmp_path: Path) -> None:
    """Two captions in each file, one of them on a picture that is called as one of RefCOCO's val and test."""
    root = world(tmp_path, "refcoco", "refcoco_plus", "refcocog")
    scored = min(held_out_images(root))
    for make, file, name in (
        (refcocog, "RefCOCOg_GCG_train.json", f"COCO_train2014_{scored:012d}.jpg"),
        (openpsg, "OpenPsgGCG_train.json", f"val2017/{scored:012d}.jpg"),
        (grandf, "GranDf_HA_GCG_train.json", f"sa_{scored}.jpg"),  # of SA-1B
    ):
        make(root)
        [entry] = json.loads((root / ANNOTATIONS / file).read_text())
        other = json.loads(json.dumps(entry).replace("a.jpg", name))
        save([entry, other], root / ANNOTATIONS / file)
    sets = {"gcg": ("refcocog_gcg", "openpsg_gcg", "grandf_gcg")}
    assert [len(source) for source in open_sources(root, sets)] == [2, 2, 2]
    assert [len(source) for source in open_sources(root, sets, exclude_val=True)] == [1, 1, 2]


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    flickr(tmp_path)
    assert open_source("flickr_gcg", tmp_path).index.left_out == {
        "captions of a word or two, or of a tiny picture": 1
    }


@pytest.mark.parametrize(
    "change, message",
    [
        ({"token_positives": [3, 99]}, "a phrase from 3 to 99 in a caption of 26 characters"),
        ({"token_positives": [3]}, "a place is .*, permitted are two whole numbers"),
        (
            {"rle_masks": [{"size": [9, 9], "counts": "0"}]},
            "the mask of 'A man in red': run lengths of 9 x 9",
        ),
    ],
)
def test_a_wrong_grounding_is_told_with_its_caption(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    grandf(tmp_path)
    file = tmp_path / ANNOTATIONS / "GranDf_HA_GCG_train.json"
    content = json.loads(file.read_text())
    content[0]["groundings"]["A man in red"] |= change
    save(content, file)
    with pytest.raises(Fault, match=f"grandf_gcg.train/caption 0: .*{message}"):
        open_source("grandf_gcg", tmp_path)


def test_labels_and_masks_of_the_truth_belong_together(tmp_path: Path) -> None:
    truth(tmp_path)
    file = tmp_path / ANNOTATIONS / "gcg_val_test/val_gcg_coco_mask_gt.json"
    content = json.loads(file.read_text())
    content["annotations"].pop()
    save(content, file)
    with pytest.raises(Fault, match="grandf_gcg.val/a: .*2 labels and 1 masks; each label has one mask"):
        open_source("grandf_gcg|val", tmp_path)


def test_a_label_that_does_not_stand_in_the_caption_is_a_target_all_the_same(tmp_path: Path) -> None:
    truth(tmp_path)
    file = tmp_path / ANNOTATIONS / "gcg_val_test/val_gcg_coco_caption_gt.json"
    content = json.loads(file.read_text())
    content["annotations"][0]["labels"][0] = "puppies"
    save(content, file)
    sample = open_source("grandf_gcg|val", tmp_path).sample(0)
    assert [target.texts for target in sample.targets] == [("puppies",), ("A man in red",)]
    assert [words for words, _ in told(sample)] == ["a man in red"]
