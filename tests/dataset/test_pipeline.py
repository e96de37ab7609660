"""From sources to examples: a pure function of (seed, number), and never another sample in a broken one's place."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from torch.utils.data import DataLoader

from seglm.dataset.collate import collate
from seglm.dataset.faults import Fault
from seglm.dataset.mixture import Mixture, rng_of
from seglm.dataset.pipeline import TrainingSet, choose, clip, each_text, example, shown
from seglm.dataset.readers.stills import Stills
from seglm.dataset.sources import open_source, open_sources
from seglm.utils.types import (
    IGNORE_LABEL,
    Branch,
    Caption,
    Clip,
    Dialogue,
    Example,
    Frames,
    Phrase,
    Region,
    Sample,
    Script,
    Slot,
    Target,
    Turn,
)
from tests.dataset.mini import MINI, copy_of, world

ONE = Frames((0,), (0,))
SIZES = dict(vision_size=28, decoder_size=64, pixels="fast")


def frames(num_frames: int, rng: np.random.Generator) -> Frames:
    return ONE


def script(shown: Clip, rng: np.random.Generator) -> Script:
    """One dialogue a target, with a text drawn; one for a conversation."""
    if shown.turns:
        return (Dialogue((Turn((shown.turns[0][0],), (shown.turns[0][1],)),)),)
    return tuple(
        Dialogue((Turn((target.texts[rng.integers(len(target.texts))],), (Slot("[SEG]", n, (0,)),)),), (n,))
        for n, target in enumerate(shown.targets)
    )


def encode(said: Script, *, key: str, size: tuple[int, int] = (1, 1)) -> tuple[Branch, ...]:
    """The characters of the question as ids."""
    questions = [
        np.array([ord(c) for c in str(dialogue.turns[0].question[0])], dtype=np.int64) for dialogue in said
    ]
    return tuple(Branch(ids, ids, np.full_like(ids, -1), np.full_like(ids, -1)) for ids in questions)


def training_set(sources: Sequence[Stills], **changes: object) -> TrainingSet:
    rates = {source.family: 1.0 for source in sources}
    made = TrainingSet(
        mixture=Mixture(sources, rates, seed=3), sources=sources, frames=frames, script=script, encode=encode,
        targets_per_sample=3, vision_size=28, decoder_size=64, pixels="fast",
    )  # fmt: skip
    return replace(made, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> tuple[Stills, ...]:
    root = world(
        tmp_path_factory.mktemp("world"), "refcoco", "ade20k", "reasonseg", "llava_instruct", "pascal_part"
    )
    families = {
        "sem_seg": ("ade20k", "pascal_part"), "refer_seg": ("refcoco",), "vqa": ("llava_instruct",), "reason_seg": ("ReasonSeg",)
    }  # fmt: skip
    return open_sources(root, families)


def fingerprint(one: Example) -> tuple[object, ...]:
    branches = tuple(branch.ids.tobytes() for branch in one.branches)
    return one.key, branches, one.masks.tobytes(), one.vision.tobytes(), one.drawn.tobytes()


# ---- what is chosen -------------------------------------------------------------------------------------------------
def target(texts: tuple[str, ...], **fields: object) -> Target:
    return Target(texts, lambda frames: np.zeros((len(frames), 2, 2), np.bool_), **fields)  # type: ignore[arg-type]


def sample(*targets: Target) -> Sample:
    return Sample("toy/1", (2, 2), lambda _: np.zeros((2, 2, 3), np.uint8), targets=targets)


def test_texts_that_are_expressions_are_drawn_for_themselves_and_wordings_are_not() -> None:
    refs = sample(
        target(("a", "b"), asked_apart=True, key="7", kinds=("x", "y")),
        target(("c",), asked_apart=True, key="8"),
    )
    chosen = choose(refs, 9, rng_of(0, 0, 0)).targets
    assert [(one.texts, one.key, one.kind) for one in chosen] == [
        (("a",), "7.0", "x"),
        (("b",), "7.1", "y"),
        (("c",), "8", ""),
    ]
    parts = sample(target(("dog head", "the head of the dog")))
    assert choose(parts, 9, rng_of(0, 0, 0)).targets[0].texts == ("dog head", "the head of the dog")


def test_at_most_so_many_are_drawn_without_replacement_and_all_evenly() -> None:
    many = sample(*(target((str(number),)) for number in range(6)))
    counts = np.zeros(6, int)
    for seed in range(600):
        drawn = [int(one.texts[0]) for one in choose(many, 3, rng_of(seed, 0, 0)).targets]
        assert len(set(drawn)) == 3
        counts[drawn] += 1
    assert counts.min() > 240


def test_what_a_caption_speaks_of_stays_together() -> None:
    told = Caption("a dog and a cat", (Phrase(0, 5, 0), Phrase(10, 15, 1)))
    both = replace(sample(target(("a dog",)), target(("a cat",))), caption=told)
    assert choose(both, 1, rng_of(0, 0, 0)) is both
    assert clip(both, frames=ONE).caption == told
    assert clip(both, frames=ONE, targets=[1]).caption is None


def test_a_region_is_decoded_in_the_frames_that_are_seen() -> None:
    asked: list[tuple[int, ...]] = []

    def masks(frames: Sequence[int]) -> np.ndarray:
        asked.append(tuple(frames))
        return np.ones((len(frames), 2, 2), np.bool_)

    film = replace(sample(), num_frames=9, regions=(Region(masks, ("a dog",)),))
    made = clip(film, frames=Frames((2, 5), (7,)))
    assert made.pointed[0].shape == (2, 2, 2) and made.regions[0].captions == ("a dog",) and asked == [(2, 5)]
    assert shown(film, [4]).pointed[0].shape == (1, 2, 2)
    wrong = replace(film, regions=(Region(lambda frames: np.ones((1, 3, 3), np.bool_)),))
    with pytest.raises(Fault, match=r"a region of shape \(1, 3, 3\), expected is \(1, 2, 2\)"):
        clip(wrong, frames=ONE)


def test_a_conversation_about_nothing_that_is_shown_becomes_an_example_without_a_picture() -> None:
    class Words:
        name, family = "words|train", "vqa"

        def __len__(self) -> int:
            return 1

        def sample(self, index: int) -> Sample:
            def never(frame: int) -> np.ndarray:
                raise AssertionError(frame)

            return Sample("words|train/0", (0, 0), never, num_frames=0, turns=(("hi", "hello"),))

    def heard(said: Script, *, key: str, size: tuple[int, int]) -> tuple[Branch, ...]:
        return tuple(
            replace(one, labels=np.full_like(one.ids, IGNORE_LABEL)) for one in encode(said, key=key)
        )

    made = training_set([Words()], encode=heard)[0]  # type: ignore[list-item]
    assert made.vision.shape == (0, 3, 28, 28) and len(made.drawn) == 0 and made.masks.size == 0
    batch = collate([made])
    assert batch.vision.shape[0] == 0 and batch.drawn == () and batch.jobs == ()


def test_each_text_keeps_masks_shared() -> None:
    one = target(("a", "b"), asked_apart=True)
    assert {id(each.masks) for each in each_text(one)} == {id(one.masks)}


# ---- examples -------------------------------------------------------------------------------------------------------
def test_an_example_holds_what_the_clip_holds() -> None:
    shown = clip(open_source("refcoco|unc|val", MINI / "refcoco").sample(0), frames=ONE)
    said = script(shown, rng_of(0, 0, 0))
    made = example(shown, encode(said, key=""), said, **SIZES)  # type: ignore[arg-type]
    assert made.vision.shape == (1, 3, 28, 28)
    assert made.drawn.shape == (1, 3, *made.resized) and max(made.resized) == 64
    assert made.masks.shape == (len(shown.targets), 1, *shown.size)
    assert all((made.masks[number] == mask).all() for number, mask in enumerate(shown.masks))
    assert made.asked == tuple((number,) for number in range(len(shown.targets)))


def test_a_number_gives_the_same_example_whoever_asks_and_when(sources: tuple[Stills, ...]) -> None:
    once, again = training_set(sources), training_set(sources)
    forward = [fingerprint(once[number]) for number in range(24)]
    assert [fingerprint(again[number]) for number in reversed(range(24))] == forward[::-1]


@pytest.mark.slow
def test_the_same_batches_come_from_any_number_of_workers(sources: tuple[Stills, ...]) -> None:
    numbers = list(range(12))
    orders = [
        [
            fingerprint(one)
            for one in DataLoader(training_set(sources), sampler=numbers, batch_size=None, num_workers=count)  # type: ignore[arg-type]
        ]
        for count in (0, 1, 3)
    ]
    assert orders[0] == orders[1] == orders[2]


def test_every_family_is_drawn_and_unlabelled_images_are_not(sources: tuple[Stills, ...]) -> None:
    drawn = {training_set(sources).sample(number).key for number in range(150)}
    assert {key.split("|")[0] for key in drawn} == {source.name.split("|")[0] for source in sources}
    assert "ade20k|training/ADE_train_00000004" not in drawn  # nothing in it is labelled


def test_data_in_which_nothing_can_be_asked_for_is_an_error(tmp_path: Path) -> None:
    root = copy_of("ade20k", tmp_path)
    for folder, ending in (("images", "jpg"), ("annotations", "png")):
        for number in (1, 2, 3):
            (root / "ade20k" / folder / "training" / f"ADE_train_0000000{number}.{ending}").unlink()
    with pytest.raises(RuntimeError, match=r"1000 draws in a row.*ade20k\|training/ADE_train_00000004"):
        training_set([open_source("ade20k", root)])[0]


def test_ignored_pixels_leave_the_loss_or_are_background() -> None:
    source = [open_source("ReasonSeg|val", MINI / "reasonseg")]
    kept = [training_set(source)[number] for number in range(8)]
    ignored = [one for one in kept if one.ignore is not None]
    assert ignored and ignored[0].ignore is not None and ignored[0].ignore.shape == (1, *ignored[0].size)
    assert all(training_set(source, leave_out_ignored=False)[number].ignore is None for number in range(8))


# ---- what is broken is said -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda path: path.unlink(), "cannot be read: No such file"),
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_bytes(b"not an image"), "no readable image"),
        (lambda path: path.write_bytes(path.read_bytes()[:-200]), "cut short"),
        (
            lambda path: path.write_bytes(
                (MINI / "ade20k/ade20k/images/training/ADE_train_00000002.jpg").read_bytes()
            ),
            "120 x 100",
        ),
    ],
    ids=["missing", "empty", "no image", "cut short", "another size"],
)
def test_a_broken_image_is_an_error_with_its_key_and_path_and_no_other_sample(
    damage: object, message: str, tmp_path: Path
) -> None:
    root = copy_of("refcoco", tmp_path)
    for path in (root / "refer_seg/images/mscoco/images/train2014").iterdir():
        damage(path)  # type: ignore[operator]
    with pytest.raises(Fault, match=rf"refcoco\|unc\|train/33\d\d: .*{message}.*COCO_train2014_\d+.jpg"):
        training_set([open_source("refcoco", root)])[0]


def test_a_fault_in_a_worker_reaches_the_run_with_its_key(tmp_path: Path) -> None:
    root = copy_of("refcoco", tmp_path)
    for path in (root / "refer_seg/images/mscoco/images/train2014").iterdir():
        path.unlink()
    loader = DataLoader(
        training_set([open_source("refcoco", root)]), sampler=[0], batch_size=None, num_workers=1
    )  # type: ignore[arg-type]
    with pytest.raises(Fault, match=r"refcoco\|unc\|train/33\d\d"):
        next(iter(loader))


def test_a_malformed_record_is_an_error_with_its_key(tmp_path: Path) -> None:
    root = copy_of("llava_instruct", tmp_path)
    file = root / "llava_dataset/llava_instruct_150k.json"
    content = json.loads(file.read_text())
    content[1]["conversations"].append({"from": "human", "value": "And then?"})
    file.write_text(json.dumps(content))
    with pytest.raises(Fault, match=r"llava_instruct_150k\|train/conversation 1: .*do not alternate"):
        open_source("llava_instruct", root)
    rest = open_source("llava_instruct", root, is_whole=False)
    assert len(rest) == len(content) - 1 and rest.sample(1).key.startswith("llava_instruct_150k|train/2-")


@pytest.mark.parametrize("where", ["masks", "ignore"])
def test_masks_of_another_size_are_a_fault_that_names_the_sample(where: str) -> None:
    def wrong(frames: Sequence[int]) -> np.ndarray:
        return np.zeros((len(frames), 3, 3), dtype=bool)

    right = Sample("set|val/7", (4, 5), lambda _: np.zeros((4, 5, 3), np.uint8), path="a.png")
    masks = wrong if where == "masks" else lambda frames: np.zeros((len(frames), 4, 5), dtype=bool)
    sample = replace(right, targets=(Target(("a",), masks),), ignore=wrong if where == "ignore" else None)
    with pytest.raises(
        Fault, match=r"set\|val/7: .*of shape \(1, 3, 3\), expected is \(1, 4, 5\).*\(a.png\)"
    ):
        clip(sample, frames=Frames((0,), (0,)))
