"""A published row measured again: inside, outside, other data, no such row; on a tiny checkpoint and a row made for it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import merge_lora_weights_and_save_hf_model as merge
from seglm.dataset.sources import describe
from seglm.dataset.toy.write import write
from seglm.evaluation.asking.benchmark import benchmark
from seglm.evaluation.published import records
from seglm.evaluation.published.records import COUNTS, SOURCES, Row, listing, row, rows, short
from seglm.evaluation.published.reproduce import convention_of
from seglm.evaluation.run import main
from seglm.model.recipes import recipe
from tests.model.layouts import canonical_tensors, trainable_only, training_state, write_bases
from tests.tiny import tiny_model

SPEC = "refcoco|unc|val"
SOURCE = replace(SOURCES["lisa"], precision="fp32", tolerance=0.5)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("world") / "toy"
    write(root, images=10, val_images=4, test_images=4)
    return root


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A merged folder of random weights."""
    root, model = tmp_path_factory.mktemp("weights"), tiny_model()
    recipe = write_bases(root / "bases", model)
    torch.save(training_state(trainable_only(canonical_tensors(model))), root / "trained.bin")
    merge.main(
        ["--recipe", "lisa_7b", "--version", recipe.backbone.weights, "--vision-tower", recipe.backbone.vision,
         "--vision_pretrained", recipe.decoder.weights, "--image_size", "64", "--lora_r", "2", "--lora_alpha", "4",
         "--precision", "fp32", "--weight", str(root / "trained.bin"), "--save_path", str(root / "merged")]
    )  # fmt: skip
    return root / "merged"


def test_rows_are_listed_under_a_heading_and_by_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--reproduce", "list:GSVA-7b"])
    heading, *lines, last = capsys.readouterr().out.strip().splitlines()
    assert heading.split()[:4] == ["row", "published,", "percent", "recipe"]
    assert lines and all("gsva-7b" in line.lower() for line in lines)
    assert last.startswith(f"{len(lines)} of {len(rows())} rows")
    assert len(listing().splitlines()) == len(rows()) + 2
    with pytest.raises(
        SystemExit, match="error: --reproduce list:xyzzy: no row has this word; models are gsva-7b-pt, "
    ):
        main(["--reproduce", "list:xyzzy"])


def test_a_row_that_there_is_not_gets_the_nearest_and_not_all() -> None:
    with pytest.raises(
        ValueError, match=r"unknown published row 'qqqq'; the nearest of \d+ are .* \(\d+ rows"
    ) as caught:
        row("qqqq")
    assert len(str(caught.value)) < 400


@pytest.fixture(scope="module")
def measured(world: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, float]:
    """What the weights score, and on how many expressions."""
    out = tmp_path_factory.mktemp("scores")
    main(
        ["--version", str(weights), "--dataset_dir", str(world), "--val_dataset", SPEC, "--protocol", "forced",
         "--precision", "fp32", "--out", str(out)]
    )  # fmt: skip
    scores: Mapping[str, float] = json.loads(next(out.glob("*/scores.json")).read_text())["all"]
    return scores


def made(measured: Mapping[str, float], *, off: float = 0.0, **changes: object) -> Row:
    tiny = Row(
        name="tiny/refcoco-val",
        recipe="lisa_7b",
        weights="",
        benchmark=SPEC,
        pictures=4,
        expressions=int(measured["n"]),
        values={"giou": 100 * measured["giou"] + off, "ciou": 100 * measured["ciou"]},
        source=SOURCE,
    )
    return replace(tiny, **changes)  # type: ignore[arg-type]


def reproduce(
    one: Row, world: Path, weights: Path, out: Path, monkeypatch: pytest.MonkeyPatch, *more: str
) -> int | str | None:
    """The exit status or message of the command."""
    monkeypatch.setattr(records, "rows", lambda: {one.name: one})
    try:
        main(
            [
                "--version",
                str(weights),
                "--dataset_dir",
                str(world),
                "--reproduce",
                one.name,
                "--out",
                str(out),
            ]
            + list(more)
        )
    except SystemExit as stop:
        return stop.code
    return 0


@pytest.mark.parametrize("off, status", [(0.4, 0), (0.6, 1)])
def test_a_row_is_measured_as_it_was_made_and_judged_by_its_tolerance(
    off: float,
    status: int,
    world: Path,
    weights: Path,
    measured: Mapping[str, float],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert (
        reproduce(made(measured, off=off), world, weights, tmp_path / "out", monkeypatch, "--batch_size", "3")
        == status
    )
    said = capsys.readouterr().out
    assert f"### {SPEC}, protocol forced" in said
    assert ("NOT REPRODUCED." in said) == bool(status)
    assert (
        f"| gIoU | {100 * measured['giou'] + off:.2f} | {100 * measured['giou']:.2f} | {-off:+.2f} | 0.5 |"
        in said
    )
    folder = next((tmp_path / "out").iterdir())
    outcome = json.loads((folder / "reproduce.json").read_text())
    assert outcome["is_inside"] is not bool(status) and outcome["version"] == str(weights)
    assert [one["is_inside"] for one in outcome["metrics"]] == [not status, True]
    assert (folder / "scores.json").is_file()


def test_other_data_are_refused_by_their_number_before_anything_is_loaded(
    world: Path, measured: Mapping[str, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = tmp_path
    too_few = reproduce(made(measured, pictures=1500), world, nowhere, tmp_path / "out", monkeypatch)
    assert "has 4 pictures here and 1500 where the row was measured" in str(too_few)
    other = reproduce(made(measured, expressions=7), world, nowhere, tmp_path / "out", monkeypatch)
    assert f"has {measured['n']} expressions here and 7 where the row was measured" in str(other)


@pytest.mark.parametrize(
    "changes, more, message",
    [
        ({"recipe": "visa_7b"}, (), "tiny/refcoco-val: its recipe visa_7b is not in this version"),
        ({"benchmark": "mevis|val"}, (), "'mevis|val': split 'val' is not permitted"),
        ({}, ("--protocol", "generate"), "--protocol generate contradicts --reproduce tiny/refcoco-val, which sets forced"),
        ({}, ("--inference_only",), "--inference_only True contradicts"),
        ({}, ("--propagate", "sam2"), "--propagate sam2 contradicts"),
        ({"name": "tiny-po/refcoco-val"}, (), "carried through the videos by XMem++; give --propagate with such a program, or "
         "take tiny/refcoco-val, "),
    ],
)  # fmt: skip
def test_what_cannot_be_run_as_published_is_refused_in_one_line(
    changes: dict[str, object],
    more: tuple[str, ...],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = made({"n": 1, "giou": 0.5, "ciou": 0.5}, **changes)
    said = str(reproduce(one, tmp_path, tmp_path, tmp_path / "out", monkeypatch, *more))
    assert message in said and "\n" not in said


def test_an_unknown_row_names_the_nearest_and_the_list_prints_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match=r"gsva-7b-pt/refcoco-val.*did you mean gsva-7b-pt/grefcoco-val"):
        main(["--version", "x", "--dataset_dir", str(tmp_path), "--reproduce", "gsva-7b-pt/refcoco-val"])
    main(["--reproduce", "list"])
    heading, *lines, total = capsys.readouterr().out.splitlines()
    assert heading.startswith("row") and len(lines) == len(rows()) and f"of {len(rows())} rows" in total
    with pytest.raises(SystemExit):
        main(["--reproduce", "gsva-7b-pt/grefcoco-val"])
    assert "arguments are required: --version, --dataset_dir" in capsys.readouterr().err


def test_the_rows_of_gsvas_readme_are_those_of_its_logs() -> None:
    """giou, ciou, N_acc, T_acc as its README prints them (LeapLabTHU/GSVA at 618dc79)."""
    logs = {
        "gsva-7b-pt/grefcoco-val": (0.6347, 0.6165, 0.5698, 0.9954),
        "gsva-7b-pt/grefcoco-testA": (0.6999, 0.6917, 0.6339, 0.9846),
        "gsva-7b-pt/grefcoco-testB": (0.6134, 0.6026, 0.5868, 0.9895),
        "gsva-7b-ft-gres/grefcoco-val": (0.6643, 0.6319, 0.6256, 0.9962),
        "gsva-7b-ft-gres/grefcoco-testA": (0.7106, 0.6987, 0.6572, 0.9869),
        "gsva-7b-ft-gres/grefcoco-testB": (0.6220, 0.6035, 0.6072, 0.9910),
    }
    for name, numbers in logs.items():
        one = row(name)
        assert tuple(one.values.values()) == pytest.approx([100 * number for number in numbers])
        assert tuple(one.values) == ("giou", "ciou", "n_acc", "t_acc")
        assert (one.source.protocol, one.source.convention, one.source.precision) == (
            "forced",
            "gsva",
            "fp32",
        )
        assert one.pictures == (1500 if name.endswith("val") else 750)


@pytest.mark.parametrize("name", rows())
def test_every_published_row_is_of_a_benchmark_that_opens(name: str) -> None:
    one = row(name)
    asked = benchmark(one.benchmark)
    assert describe(asked.data)[1] in describe(asked.data)[0].splits
    assert convention_of(one) in asked.scored.conventions
    assert asked.is_of_videos is ("jf" in one.values)
    assert one.name.endswith("/" + short(one.benchmark))
    assert all(0 < value < 100 for value in one.values.values())


def test_what_is_counted_is_published() -> None:
    assert set(COUNTS) <= {one.benchmark for one in rows().values()}


def test_videos_of_sa2va_are_measured_with_the_inference_that_was_published() -> None:
    """Its first five frames, followed by the trained mask decoder, and not Sa2VA-i's way."""
    for name in ("sa2va-1b", "sa2va-4b-internvl2.5", "sa2va-8b-internvl2.5"):
        made = recipe(row(f"{name}/mevis-valid_u").recipe)
        assert made.decoder.memory is not None and not made.decoder.memory.by_mask
        [window] = made.walk(12)
        assert window.asked == (0, 1, 2, 3, 4)
    assert row("sa2va-4b/refcoco-val").recipe == "sa2va_4b"


VIDEOS = """
    lisa-7b               valid_u 43.2, refytvos 50.2, refdavis 58.4, reasonvos 31.1
    lisa-13b              refytvos 52.6, refdavis 60.7
    videolisa-3.8b        valid 42.3, valid_u 51.7, refytvos 61.7, refdavis 67.7, reasonvos 45.1
    videolisa-3.8b-po     valid 44.4, valid_u 54.5, refytvos 63.7, refdavis 68.8, reasonvos 47.5
    glus-s-partial        valid 49.5, refytvos 65.2
    glus-s                valid 50.3, refytvos 66.6
    glus-a                valid 51.3, refytvos 67.3, revos 54.9, reasonvos 49.9
    sa2va-1b              valid 41.7, valid_u 50.8, refytvos 65.3, refdavis 72.3, revos 47.6
    sa2va-4b              valid 46.2, valid_u 52.1, refytvos 70.0, refdavis 73.8, revos 53.2
    sa2va-8b              valid 46.9, valid_u 57.0, refytvos 70.7, refdavis 75.2, revos 57.6
    sa2va-26b             valid 46.2, valid_u 57.3, refytvos 70.1, refdavis 77.0, revos 58.4
    sa2va-1b-internvl2.5  valid_u 53.4, refytvos 68.0, refdavis 69.5
    sa2va-4b-internvl2.5  valid_u 55.9, refytvos 71.3, refdavis 73.7
    sa2va-8b-internvl2.5  valid_u 58.9, refytvos 72.3, refdavis 75.9
    sa2va-26b-internvl2.5 valid_u 61.8, refytvos 75.1, refdavis 78.6
"""
"""J&F as the papers print it"""
BENCHMARKS = {"valid": "mevis-valid", "valid_u": "mevis-valid_u", "reasonvos": "reasonvos-test"}


def test_the_rows_of_videos_are_those_of_the_papers() -> None:
    listed = {}
    for line in VIDEOS.strip().splitlines():
        model, values = line.split(maxsplit=1)
        for cell in values.split(", "):
            name, number = cell.split()
            listed[f"{model}/{BENCHMARKS.get(name, f'{name}-valid')}"] = float(number)
    assert listed == {one.name: one.values["jf"] for one in rows().values() if "jf" in one.values}


@pytest.mark.parametrize(
    "name, convention",
    [
        ("videolisa-3.8b/mevis-valid_u", "every"),
        ("videolisa-3.8b/reasonvos-test", "found"),
        ("sa2va-8b/revos-valid", "revos"),
        ("sa2va-8b/refdavis-valid", "every"),
        ("videolisa-3.8b/refdavis-valid", "official"),
        ("videolisa-3.8b/refcoco-val", "lisa"),
    ],
)
def test_a_row_is_averaged_as_its_benchmark_is(name: str, convention: str) -> None:
    assert convention_of(row(name)) == convention


@pytest.mark.parametrize(
    "name, message",
    [
        ("videolisa-3.8b/mevis-valid", "mevis|valid: only the benchmark's server knows its truth"),
        ("videolisa-3.8b/refytvos-valid", "only the benchmark's server knows its truth"),
    ],
)
def test_what_others_score_is_not_measured_here(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--version", "x", "--dataset_dir", str(tmp_path), "--reproduce", name])
    assert message in str(stop.value) and "--inference_only" in str(stop.value)
