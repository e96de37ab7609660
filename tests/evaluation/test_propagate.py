"""Masks of a few frames become answers about all of them, and a person's masks become files."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file

import chat
from seglm.dataset.toy.write import write
from seglm.dataset.toy.write_videos import write_videos
from seglm.evaluation.asking import question
from seglm.evaluation.propagate.__main__ import main
from seglm.evaluation.propagate.anchors import Anchors, anchors_of, asking_anchors
from seglm.evaluation.propagate.answers import Propagation, carried, in_order, propagated
from seglm.evaluation.run import main as run
from seglm.evaluation.scores.files import read_mask, read_said
from seglm.model.propagate import BOTH_WAYS, Carried, Direction
from seglm.model.recipes import recipe as named
from seglm.utils.answers import Answer, Drawn
from seglm.utils.types import Pictures, Sample
from tests.evaluation.fakes import HEIGHT, WIDTH, answered, palette, rectangle
from tests.model.test_propagate import CARRY
from tests.tiny import tiny_model
from tests.tiny_sam2 import tiny_sam2
from tests.tiny_sam3 import tiny_sam3

FRAMES = 11
PICTURES = [np.full((HEIGHT, WIDTH, 3), number, np.uint8) for number in range(FRAMES)]
SAMPLE = Sample("clip", (HEIGHT, WIDTH), PICTURES.__getitem__, num_frames=FRAMES)


class Rolling:
    """The nearest anchor's masks, moved by a column a frame; it notes what it was given. Last frames come first."""

    def __init__(self) -> None:
        self.given: list[dict[int, int]] = []

    def __call__(
        self,
        frames: Pictures,
        anchors: Mapping[int, NDArray[np.bool_]],
        /,
        *,
        directions: Sequence[Direction] = BOTH_WAYS,
    ) -> Iterator[Carried]:
        assert [int(frames[number][0, 0, 0]) for number in range(len(frames))] == list(range(len(frames)))
        self.given.append({frame: int(masks.sum()) for frame, masks in anchors.items()})
        for number in reversed(range(len(frames))):
            nearest = min(anchors, key=lambda anchor: abs(anchor - number))
            masks = np.roll(anchors[nearest], number - nearest, axis=2)
            yield Carried(number, masks, tuple(5.0 if mask.any() else -5.0 for mask in masks))


def there(frame: int) -> NDArray[np.bool_]:
    return rectangle(4, 2 + frame)


def masks_in(drawn: Drawn, position: int = 0) -> list[NDArray[np.bool_] | None]:
    return [None if mask is None else (mask > 0).numpy() for mask in drawn.answers[position].masks]


def through(anchors: Anchors, by_frame: Mapping[int, Sequence[Answer]]) -> tuple[list[Drawn], Rolling]:
    carry = Rolling()
    drawn = (Drawn(0, frame, tuple(answers)) for frame, answers in by_frame.items())
    return list(carried(drawn, [SAMPLE], Propagation(carry, anchors))), carry


@pytest.mark.parametrize(
    ("num_frames", "anchors", "want"),
    [
        (1, "uniform", (0,)),
        (2, "uniform", (0, 1)),
        (5, "uniform", (0, 1, 2, 3, 4)),
        (11, "uniform", (0, 2, 5, 8, 10)),
        (100, "uniform", (0, 25, 50, 74, 99)),
        (100, "keyframe", (0, 25, 50, 74, 99)),
        (100, "first", (0,)),
    ],
)
def test_anchors_of_a_video(num_frames: int, anchors: Anchors, want: tuple[int, ...]) -> None:
    assert anchors_of(num_frames, anchors) == want


def test_a_recipe_is_asked_for_its_anchors_only() -> None:
    lisa, videolisa = named("lisa_tiny"), named("videolisa_tiny")
    assert [window.asked for window in asking_anchors(lisa, "uniform").walk(FRAMES)] == [
        (0,), (2,), (5,), (8,), (10,),
    ]  # fmt: skip
    [whole], [asked] = videolisa.walk(FRAMES), asking_anchors(videolisa, "uniform").walk(FRAMES)
    assert asked == replace(whole, asked=(0, 2, 5, 8, 10))
    assert [window.asked for window in asking_anchors(lisa, "first").walk(FRAMES)] == [(0,)]


def test_a_walk_on_which_frames_depend_on_those_before_stays_whole() -> None:
    glus = named("glus_s")
    assert glus.decoder.memory is not None
    assert list(asking_anchors(glus, "uniform").walk(FRAMES)) == list(glus.walk(FRAMES))
    forgetful = replace(glus, decoder=replace(glus.decoder, memory=None))
    assert list(asking_anchors(forgetful, "uniform").walk(FRAMES)) == list(glus.walk(FRAMES))


def test_what_is_drawn_between_the_anchors_counts_for_nothing() -> None:
    seen: list[int] = []

    def drawn() -> Iterator[Drawn]:
        for frame in range(FRAMES):
            seen.append(frame)
            yield Drawn(0, frame, (answered(there(0)),))

    found = list(carried(drawn(), [SAMPLE], Propagation(Rolling(), "first")))
    assert seen == [0]  # nor is it waited for
    np.testing.assert_array_equal(masks_in(found[4])[0], there(4))
    with pytest.raises(
        RuntimeError, match=r"\['clip'\]: the recipe's walk does not draw all anchors, \(0, 2, 5"
    ):
        list(carried([Drawn(0, 0, (answered(there(0)),))], [SAMPLE], Propagation(Rolling(), "uniform")))


def test_frames_come_in_order_with_the_anchors_as_they_were_drawn() -> None:
    by_frame = {frame: [answered(there(frame), f"Here {frame}.")] for frame in (0, 2, 5, 8, 10)}
    found, carry = through("uniform", by_frame)
    assert [one.frame for one in found] == list(range(FRAMES)) and len(carry.given) == 1
    for one in found:
        [mask] = masks_in(one)
        np.testing.assert_array_equal(mask, there(one.frame))
    assert found[2].answers[0] is by_frame[2][0]
    assert [one.answers[0].spoken.text for one in found[2:5]] == ["Here 2.", "Here 0.", "Here 0."]
    assert found[1].answers[0].there == (5.0,) and found[1].answers[0].scores == ()


def test_where_an_anchor_has_no_mask_the_thing_is_out_of_sight() -> None:
    silent, empty = answered(None), answered(np.zeros_like(there(0)))
    rejected = replace(answered(there(0)), masks=(None,))
    found, carry = through(
        "uniform",
        {
            0: [silent, silent, rejected], 2: [answered(there(2)), silent, rejected], 5: [empty, silent, rejected],
            8: [answered(there(8)), silent, rejected], 10: [answered(there(10)), silent, rejected],
        },
    )  # fmt: skip
    assert carry.given == [{0: 0, 2: 80, 5: 0, 8: 80, 10: 80}]  # what is never drawn is not carried
    assert [bool(masks[0].any()) if (masks := masks_in(one)) else None for one in found] == [
        None, False, True, True, False, False, False, True, True, True, True,
    ]  # fmt: skip
    assert all(one.answers[1].masks == () and one.answers[2].masks == (None,) for one in found)


def test_the_key_frame_of_a_thing_is_the_one_that_the_decoder_likes_best() -> None:
    liked = {0: (0.2, 0.9), 2: (0.4, 0.1), 5: (0.99, 0.3), 8: (0.8, 0.2), 10: (0.1, 0.2)}
    by_frame = {
        frame: [replace(answered(there(frame) if frame != 5 else np.zeros_like(there(0))), scores=(one,)),
                replace(answered(there(frame)), scores=(other,))]
        for frame, (one, other) in liked.items()
    }  # fmt: skip
    found, carry = through("keyframe", by_frame)
    assert [list(given) for given in carry.given] == [[8], [0]]  # an empty mask is no key frame
    assert found[8].answers[0] is by_frame[8][0] and found[5].answers[0] is not by_frame[5][0]
    np.testing.assert_array_equal(masks_in(found[5])[0], there(5))


def test_samples_are_told_apart_and_done_as_soon_as_their_anchors_are() -> None:
    def ask(samples: Sequence[Sample]) -> Iterator[Drawn]:
        for number in (1, 0):
            yield Drawn(number, 0, (answered(there(number)),))

    found = propagated(ask, Propagation(Rolling(), "first"))([SAMPLE, replace(SAMPLE, key="other")])
    assert [(one.sample, one.frame) for one in found] == [(1, n) for n in range(FRAMES)] + [
        (0, n) for n in range(FRAMES)
    ]


def test_frames_are_put_in_order_from_any_one_on() -> None:
    masks = [np.random.default_rng(n).random((2, 3, 5)) > 0.5 for n in range(6)]
    found = list(in_order((Carried(n, masks[n], (float(n),)) for n in (4, 3, 5, 2)), first=2))
    assert [one.frame for one in found] == [2, 3, 4, 5]
    for one in found:
        np.testing.assert_array_equal(one.masks, masks[one.frame])
        assert one.masks.dtype == np.bool_ and one.there == (float(one.frame),)


# ---- commands ----------------------------------------------------------------------------------------------------------
@pytest.fixture
def program(tmp_path: Path) -> str:
    script = tmp_path / "carry.py"
    script.write_text(
        CARRY.replace(
            "assert numbers == list(range(len(numbers))), numbers", "numbers = list(range(len(numbers)))"
        )
    )
    return f"program {shlex.join([sys.executable, str(script)])}"


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    (tmp_path / "clip").mkdir()
    for number, pixels in enumerate(PICTURES):
        Image.fromarray(pixels).save(tmp_path / "clip" / f"{number:05d}.png")
    return tmp_path / "clip"


def test_a_persons_masks_are_carried_and_written(
    clip: Path, tmp_path: Path, program: str, capsys: pytest.CaptureFixture[str]
) -> None:
    mask = palette(tmp_path, "mine.png", there(0), rectangle(14, 20), numbers=(1, 7))
    out = tmp_path / "out"
    main(["--video", str(clip), "--mask", str(mask), "--propagate", program, "--out", str(out)])
    told = capsys.readouterr().out.splitlines()
    assert told[0] == f"{mask}: frame 0 of 11 (00000)"
    assert told[1].startswith("object 1, mask 0: in 11 of 11 frames, 10.4 % of the picture there: ")
    assert told[2].startswith("object 7, mask 1: ")
    assert [line.partition(":")[0] for line in told[3:]] == ["film", "strip"]
    for number in range(FRAMES):
        np.testing.assert_array_equal(read_mask(out / f"clip_mask_0/{number:05d}.png"), there(number))
    assert (out / "clip_masked.mp4").is_file() and (out / "clip_strip.png").is_file()


@pytest.mark.slow
def test_a_benchmark_of_videos_is_scored_with_masks_carried(
    tmp_path: Path, program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The words and masks of the anchors are the model's own; a benchmark of pictures is refused."""
    write_videos(tmp_path / "toy", images=20, val_images=4, test_images=0, size=64)
    model = tiny_model()
    monkeypatch.setattr("seglm.model.load.load", lambda *given, **named: (model, model.recipe))
    (tmp_path / "model").mkdir()
    flags = [
        "--version",
        str(tmp_path / "model"),
        "--dataset_dir",
        str(tmp_path / "toy"),
        "--protocol",
        "forced",
    ]
    flags += ["--out", str(tmp_path / "out")]
    run([*flags, "--val_dataset", "mevis|valid_u"])
    run([*flags, "--val_dataset", "mevis|valid_u", "--propagate", program, "--anchors", "uniform"])
    plain, carried_on = (tmp_path / "out" / f"model_mevis_valid_u{end}" for end in ("", "_program-uniform"))
    said = [read_said(folder / "predictions.csv") for folder in (plain, carried_on)]
    assert [line.key for line in said[0]] == [line.key for line in said[1]] and said[0]
    expressions = sorted(
        folder.relative_to(plain) for folder in (plain / "masks").glob("*/*") if folder.is_dir()
    )
    different = 0
    for expression in expressions:
        names = sorted(file.name for file in (plain / expression).iterdir())
        assert names == sorted(file.name for file in (carried_on / expression).iterdir())
        for number, name in enumerate(names):
            own, other = (read_mask(folder / expression / name) for folder in (plain, carried_on))
            if number in anchors_of(len(names), "uniform"):
                np.testing.assert_array_equal(own, other)
            different += bool((own != other).any())
    assert different
    with pytest.raises(SystemExit, match="--propagate: refcoco.* is of pictures; leave the flag out"):
        write(tmp_path / "pictures", images=10, val_images=4, test_images=4, size=64)
        flags[3] = str(tmp_path / "pictures")
        run([*flags, "--val_dataset", "refcoco|unc|val", "--propagate", program])


@pytest.mark.parametrize("kind", ["sam2", "sam3"])
def test_weights_of_either_kind_carry(
    kind: str, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    decoder = tiny_sam2() if kind == "sam2" else tiny_sam3()
    (tmp_path / kind).mkdir()
    tensors = {
        f"decoder.{name}": tensor.contiguous().clone() for name, tensor in decoder.state_dict().items()
    }
    save_file(tensors, tmp_path / kind / "model.safetensors")
    (tmp_path / kind / "config.json").write_text(json.dumps(asdict(decoder.dims)))
    mask = palette(tmp_path, "00003.png", there(0))
    with torch.no_grad():
        main(
            ["--video", str(clip), "--mask", str(mask), "--propagate", f"{kind} {tmp_path / kind}"]
            + ["--out", str(tmp_path / "out")]
        )
    assert capsys.readouterr().out.startswith(f"{mask}: frame 3 of 11 (00003)\nobject 1, mask 0: in ")
    np.testing.assert_array_equal(read_mask(tmp_path / "out/clip_mask_0/00003.png"), there(0))
    assert len(list((tmp_path / "out/clip_mask_0").iterdir())) == FRAMES


def test_what_is_wrong_with_a_persons_files_is_one_line(clip: Path, tmp_path: Path, program: str) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"no film")
    mask = palette(tmp_path, "mine.png", there(0))
    for flags, told in (
        (["--video", str(tmp_path / "broken.mp4"), "--mask", str(mask)], "broken.mp4"),
        (["--video", str(clip), "--mask", "nowhere.png"], "nowhere.png: no such mask"),
        (
            ["--video", str(clip), "--mask", str(mask), "--frame", "11"],
            "--frame 11: the video has frames 0 to 10",
        ),
    ):
        with pytest.raises(SystemExit, match=f"error: .*{told}") as ended:
            main([*flags, "--propagate", program, "--out", str(tmp_path / "out")])
        assert "dataset.check" not in str(ended.value)


def test_chat_carries_the_masks_of_its_anchors(
    clip: Path, tmp_path: Path, program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_model()
    monkeypatch.setattr(chat, "_open", lambda given: model)
    flags = ["--video", str(clip), "--prompt", "Segment it.", "--max_new_tokens", "3"]
    asked: list[int] = []
    ask = question.ask

    def noted(*arguments: object, **named: object) -> Iterator[Drawn]:
        for one in ask(*arguments, **named):  # type: ignore[arg-type]
            asked.append(one.frame)
            yield replace(one, answers=(answered(there(one.frame)),))

    monkeypatch.setattr(question, "ask", noted)
    chat.main([*flags, "--vis_save_path", str(tmp_path / "out"), "--propagate", program])
    assert asked == [0, 2, 5, 8, 10]
    for number in range(FRAMES):
        np.testing.assert_array_equal(
            read_mask(tmp_path / f"out/clip_mask_0/{number:05d}.png"), there(number)
        )


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (
            ["--anchors", "first"],
            "--anchors first: without --propagate the model draws every frame; give both",
        ),
        (["--propagate", "xmem"], '--propagate \'xmem\': permitted are "sam2", "sam3", "sam2 WEIGHTS"'),
        (["--propagate", "program"], "--propagate 'program': permitted are"),
        (["--propagate", "program no_such_thing -x"], "no_such_thing: there is no such program"),
        (["--propagate", "sam2 no/such.pt"], "weights of --propagate sam2.*no/such.pt"),
        (["--propagate", "sam3 ./none"], "weights of --propagate sam3.*./none"),
        (["--propagate", "sam2"], "curl -LO .*sam2.1_hiera_large.pt"),
    ],
)
def test_flags_that_name_nobody_are_errors_before_a_model_is_loaded(
    flags: list[str], told: str, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(chat, "_open", lambda given: pytest.fail("a model is loaded"))
    with pytest.raises(SystemExit, match=f"(?s)error: .*{told}"):
        chat.main(["--video", str(clip), "--prompt", "a", *flags])
    with pytest.raises(SystemExit, match=f"(?s)error: .*{told}"):
        run(["--version", "m", "--dataset_dir", "d", "--val_dataset", "mevis|valid_u", *flags])


def test_masks_of_a_picture_are_not_carried(clip: Path, program: str) -> None:
    with pytest.raises(SystemExit, match="--propagate: .*00003.png is a picture; leave the flag out"):
        chat.main(["--image", str(clip / "00003.png"), "--prompt", "a", "--propagate", program])
