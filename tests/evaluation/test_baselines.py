"""Controls are askers whose masks can be checked by hand."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from seglm.dataset.toy.write import write
from seglm.dataset.toy.write_videos import write_videos
from seglm.evaluation import baselines
from seglm.evaluation.asking.ask import asker
from seglm.evaluation.asking.controls import (
    all_objects,
    box_at_truth,
    boxes,
    elsewhere,
    largest_object,
    random_object,
    wrong_picture,
)
from seglm.evaluation.asking.selection import Selection
from seglm.evaluation.asking.things import objects_of
from seglm.evaluation.scores.first_mask import mask_of
from seglm.model.decoders.sam import SamDecoder, SamDims
from seglm.utils.answers import Answer, Drawn
from seglm.utils.types import Sample, Target
from tests.evaluation.fakes import BENCHMARK, FakeSource
from tests.tiny import tiny_model

NOTHING = np.zeros((1, 4, 4), dtype=bool)
OBJECTS = (("##....", "##...."), ("...#..", "......"), (".....#", ".....#"))


def rows(*lines: str) -> np.ndarray:
    return np.array([[cell == "#" for cell in line] for line in lines])


def objects(_: Sample, frame: int) -> np.ndarray:
    return np.stack([rows(*lines) for lines in OBJECTS])


def sample_of(*targets: np.ndarray, key: str = "toy|val/1", value: int = 0) -> Sample:
    size = targets[0].shape
    picture = np.full((*size, 3), value, dtype=np.uint8)
    told = tuple(
        Target(texts=(f"thing {i}",), masks=lambda frames, mask=mask: np.stack([mask for _ in frames]))
        for i, mask in enumerate(targets)
    )
    return Sample(key, size, lambda _: picture, targets=told)


def drawn(answers: Sequence[Answer], size: tuple[int, int]) -> list[list[str]]:
    return [["".join(".#"[int(cell)] for cell in line) for line in mask_of(one, size)] for one in answers]


def test_text_blind_predictors_answer_every_question_alike() -> None:
    sample = sample_of(rows(*OBJECTS[0]), rows(*OBJECTS[1]))
    [everything] = all_objects(objects)([sample])
    [largest] = largest_object(objects)([sample])
    assert drawn(everything.answers, sample.size) == [["##.#.#", "##...#"]] * 2
    assert drawn(largest.answers, sample.size) == [list(OBJECTS[0])] * 2


def test_the_random_object_is_one_object_and_the_same_in_every_run() -> None:
    samples = [sample_of(rows(*OBJECTS[0]), rows(*OBJECTS[1]), key=f"toy|val/{n}") for n in range(12)]
    first, again = random_object(objects)(samples), random_object(objects)(samples)
    seen = [tuple(mask) for one in first for mask in drawn(one.answers, (2, 6))]
    assert seen == [tuple(mask) for one in again for mask in drawn(one.answers, (2, 6))]
    assert set(seen) == set(OBJECTS)


@pytest.mark.parametrize(
    ("target", "want"),
    [
        (("##....", "##...."), [(0, 0, 2, 2)]),
        (("##...#", "##...#"), [(0, 0, 2, 2), (5, 0, 6, 2)]),  # two things, two boxes
        (("#.....", "#....."), [(0, 0, 1, 2)]),  # a part: its own box
        (("......", "......"), []),
    ],
)
def test_the_bound_is_prompted_by_a_box_of_each_thing_that_is_asked_for(
    target: tuple[str, str], want: list
) -> None:
    assert [tuple(box) for box in boxes(rows(*target), objects(sample_of(rows(*target)), 0))] == want


class Pictures:
    name, family = "toy|val", "reason_seg"

    def __init__(self, count: int, targets: int = 0) -> None:
        self.count = count
        self.targets = tuple(Target((f"thing {number}",), lambda _: NOTHING) for number in range(targets))

    def __len__(self) -> int:
        return self.count

    def keys(self) -> Iterator[str]:
        return (f"toy|val/{index}" for index in range(self.count))

    def sample(self, index: int) -> Sample:
        picture = np.full((4, 4, 3), 10 + index, dtype=np.uint8)
        return Sample(f"toy|val/{index}", (4, 4), lambda _: picture, targets=self.targets)


def expressions_of(source: Pictures) -> Selection:
    return Selection(source, texts="all")


def test_the_wrong_picture_is_another_one_and_the_questions_are_the_same() -> None:
    asked: list[Sample] = []

    def spy(samples: Sequence[Sample]) -> Iterator[Drawn]:
        asked.extend(samples)
        return iter(())

    samples = [sample_of(rows(*OBJECTS[0]), key=f"toy|val/{n}", value=10 + n) for n in range(5)]
    wrong_picture(spy, expressions_of(Pictures(5)))(samples)
    for sample, wrong in zip(samples, asked, strict=True):
        assert wrong.size == sample.size and wrong.targets == sample.targets and wrong.key == sample.key
        assert (wrong.frame(0) != sample.frame(0)).all() and wrong.frame(0).shape == (*sample.size, 3)


def test_a_wrong_picture_needs_two_pictures() -> None:
    with pytest.raises(ValueError, match="the wrong picture needs two"):
        elsewhere(expressions_of(Pictures(1)))


def test_the_llm_alone_can_see_another_picture() -> None:
    """The words come from what is seen; the masks are drawn in the sample itself."""
    model, (sample, other) = (
        tiny_model(),
        (BENCHMARK.select(FakeSource(2)).sample(number) for number in (0, 1)),
    )
    seen = asker(model, protocol="forced", max_new_tokens=1, sees=lambda one: replace(one, frame=other.frame))
    wrong = next(seen([sample])).answers[0]
    right, elsewhere = (next(asker(model, protocol="forced", max_new_tokens=1)([one])).answers[0] for one in
                        (sample, replace(sample, frame=other.frame)))  # fmt: skip
    assert torch.equal(wrong.spoken.prompts[0], elsewhere.spoken.prompts[0])
    assert not torch.equal(wrong.spoken.prompts[0], right.spoken.prompts[0])
    assert not torch.equal(wrong.masks[0], elsewhere.masks[0])


def random_sam() -> SamDecoder:
    torch.manual_seed(0)
    dims = SamDims(
        vit_dim=16,
        vit_depth=1,
        vit_heads=2,
        global_attn_indexes=(0,),
        image_size=32,
        prompt_dim=16,
        dec_heads=2,
        dec_mlp=16,
    )
    return SamDecoder(dims).eval()


def test_a_box_at_the_truth_gives_a_mask_of_the_original_size() -> None:
    sam = random_sam()
    big = sample_of(np.kron(rows(*OBJECTS[0]), np.ones((8, 8), dtype=bool)), np.zeros((16, 48), dtype=bool))
    [one] = box_at_truth(sam, lambda sample, frame: sample.targets[0].masks((frame,)))([big])
    assert [mask_of(answer, (1, 1)).shape for answer in one.answers] == [(16, 48)] * 2
    assert not mask_of(one.answers[1], big.size).any()  # nothing to be found, nothing prompted


def test_the_table_has_every_control_by_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "base_decoder", lambda recipe: random_sam())
    write(tmp_path / "toy", images=10, val_images=4, test_images=4)
    text = baselines.main(
        ["--dataset_dir", str(tmp_path / "toy"), "--dataset", "refcoco|val", "--out", str(tmp_path / "out")]
    )
    assert (tmp_path / "out/table.md").read_text() == text and (tmp_path / "out/table.png").is_file()
    header, *lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert "gIoU (" in header and "attribute (" in header
    names = [
        "all objects (text-blind)",
        "largest object (text-blind)",
        "random object (text-blind)",
        "box at the truth (bound)",
    ]
    assert [line.split(" | ")[0][2:] for line in lines] == names
    assert all(line.endswith("| - |") for line in lines)  # nothing here writes a [SEG]


def test_a_trained_row_on_what_it_was_trained_on_is_refused_before_anything_is_computed(
    tmp_path: Path,
) -> None:
    (tmp_path / "LISA-7B-v1").mkdir()
    with pytest.raises(
        SystemExit, match="LEAK: LISA-7B-v1: its authors trained it on ReasonSeg train and val"
    ):
        baselines.main(["--dataset", "ReasonSeg|val", "--version", str(tmp_path / "LISA-7B-v1")])


def test_without_a_toy_world_several_targets_tell_what_is_in_a_picture(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a picture has one target, which does not tell what else is in it"):
        objects_of(expressions_of(Pictures(2, targets=1)), tmp_path)
    first, second, nothing = rows(*OBJECTS[0]), rows(*OBJECTS[1]), np.zeros((2, 6), dtype=bool)
    apart = objects_of(expressions_of(Pictures(2, targets=2)), tmp_path)
    assert (apart(sample_of(first, second, first), 0) == np.stack([first, second])).all()
    both = sample_of(first | second, first, nothing, second)
    assert (
        apart(both, 0) == np.stack([first, second])
    ).all()  # both together are no third thing, nor is nothing


def test_a_picture_of_which_nothing_is_known_gets_no_mask() -> None:
    empty = sample_of(np.zeros((2, 6), dtype=bool))
    for control in (all_objects, largest_object, random_object):
        [one] = control(lambda sample, frame: np.zeros((0, *sample.size), dtype=bool))([empty])
        assert not mask_of(one.answers[0], empty.size).any()


def test_the_table_of_a_benchmark_of_videos_has_what_only_videos_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(baselines, "base_decoder", lambda recipe: random_sam())
    write_videos(tmp_path / "toy", images=20, val_images=12, test_images=0, size=64)
    text = baselines.main(["--dataset_dir", str(tmp_path / "toy"), "--dataset", "mevis|valid_u"])
    header, *lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert "J&F (" in header and "attribute (" in header
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in [header, *lines]]
    rows = {row[0]: dict(zip(cells[0][1:], row[1:], strict=True)) for row in cells[1:]}
    assert list(rows)[3:] == [
        "largest object of the first frame, kept (text-blind)",
        "object that moves most (text-blind)",
        "one frame, all looks known (oracle)",
        "box at the truth (bound)",
    ]
    of_looks = next(column for column in cells[0] if column.startswith("attribute"))
    assert rows["one frame, all looks known (oracle)"][of_looks] == "100.0"
    assert rows["box at the truth (bound)"][of_looks] != "100.0"
