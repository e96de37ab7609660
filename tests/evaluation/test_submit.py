"""Zips for servers: the truth of a toy world goes in, and what is not as a server takes it is named."""

from __future__ import annotations

import io
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seglm.evaluation.asking.benchmark import benchmark
from seglm.evaluation.scores.files import MASKS
from seglm.evaluation.scores.ref_davis17 import merge
from seglm.evaluation.submit.__main__ import main
from seglm.evaluation.submit.forms import davis_palette
from tests.evaluation.truths import toy_videos, write_truth

SPECS = ("mevis|valid_u", "mevis|valid", "ref_youtube_vos|valid", "ref_davis17|valid")
ASKED = ("--dataset_dir", "data", "--benchmark", "mevis|valid")
Damage = Callable[[dict[str, bytes]], object]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_videos(tmp_path_factory.mktemp("toy") / "videos")


@pytest.fixture(scope="module")
def truths(root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("truths")
    return {spec: write_truth(root, spec, folder / str(number)) for number, spec in enumerate(SPECS)}


def make(root: Path, spec: str, predictions: Path, file: Path, *more: str) -> dict[str, bytes]:
    arguments = ["--predictions", str(predictions), "--zip", str(file), *more]
    main(["--dataset_dir", str(root), "--benchmark", spec, *arguments])
    return contents(file)


def contents(file: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(file) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pack(file: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return file


def validate(root: Path, spec: str, file: Path) -> None:
    main(["--dataset_dir", str(root), "--benchmark", spec, "--validate", str(file)])


def png(numbers: object, mode: str = "L") -> bytes:
    data = io.BytesIO()
    Image.fromarray(np.asarray(numbers, dtype=np.uint8)).convert(mode).save(data, "PNG")
    return data.getvalue()


@pytest.mark.parametrize(
    "spec, top",
    [("mevis|valid", ""), ("mevis|valid_u", ""), ("ref_youtube_vos|valid", "Annotations/")],
)
def test_a_zip_holds_the_masks_under_the_servers_names(
    spec: str, top: str, root: Path, truths: dict[str, Path], tmp_path: Path
) -> None:
    masks = truths[spec] / MASKS
    wanted = {f"{top}{path.relative_to(masks).as_posix()}": path for path in masks.rglob("*.png")}
    files = make(root, spec, truths[spec], tmp_path / "a.zip")
    assert set(files) == set(wanted) and len(files) > 10
    for name, data in files.items():
        picture = Image.open(io.BytesIO(data))
        assert picture.mode == "L"
        np.testing.assert_array_equal(np.asarray(picture), np.asarray(Image.open(wanted[name])))


def test_ref_davis17_has_a_folder_an_annotator_with_the_objects_merged(
    root: Path, truths: dict[str, Path], tmp_path: Path
) -> None:
    spec = "ref_davis17|valid"
    files = make(root, spec, truths[spec], tmp_path / "a.zip")
    sample = benchmark(spec).open(root).sample(0)
    video = sample.key.partition("/")[2]
    objects = len(sample.targets) // 4
    assert objects > 0 and {name.partition("/")[0] for name in files} == {f"anno_{k}" for k in range(4)}
    for annotator in range(4):
        for frame in (0, sample.num_frames - 1):
            masks = [sample.targets[4 * one + annotator].masks((frame,))[0] for one in range(objects)]
            picture = Image.open(
                io.BytesIO(files[f"anno_{annotator}/{video}/{sample.frame_names[frame]}.png"])
            )
            assert picture.mode == "P"
            np.testing.assert_array_equal(np.asarray(picture), merge(masks))
    stored = picture.getpalette()
    assert stored is not None and tuple(stored[:60]) == davis_palette()[:60]
    assert davis_palette()[:12] == (0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0)


def test_the_same_predictions_give_the_same_bytes_whatever_their_form(
    root: Path, truths: dict[str, Path], tmp_path: Path
) -> None:
    spec = "mevis|valid"
    files = make(root, spec, truths[spec], tmp_path / "a.zip")
    coded = {name: np.asarray(Image.open(io.BytesIO(data))) // 255 for name, data in files.items()}
    foreign = pack(tmp_path / "foreign.zip", {f"Annotations/{name}": png(one) for name, one in coded.items()})
    make(root, spec, foreign, tmp_path / "b.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_a_missing_prediction_stops_it_or_is_handed_in_empty(
    root: Path, truths: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = "mevis|valid"
    shutil.copytree(truths[spec], tmp_path / "some")
    first = sorted((tmp_path / "some" / MASKS).glob("*/*"))[0]
    name = first.relative_to(tmp_path / "some" / MASKS).as_posix()
    shutil.rmtree(first)
    with pytest.raises(SystemExit, match=rf"no prediction for 1 of \d+ expressions of mevis\|valid: {name};"):
        make(root, spec, tmp_path / "some", tmp_path / "a.zip")
    assert not list(tmp_path.glob("a.zip*"))
    files = make(root, spec, tmp_path / "some", tmp_path / "a.zip", "--missing", "empty")
    own = [data for file, data in files.items() if file.startswith(f"{name}/")]
    assert own and not any(np.asarray(Image.open(io.BytesIO(data))).any() for data in own)
    said = capsys.readouterr().out
    assert f"a.zip: {len(files)} masks for" in said
    assert re.search(rf"; 1 of \d+ expressions had no prediction and count as empty masks: {name}$", said)


def test_a_run_that_was_cut_short_leaves_no_zip(root: Path, truths: dict[str, Path], tmp_path: Path) -> None:
    spec = "ref_davis17|valid"
    shutil.copytree(truths[spec], tmp_path / "some")
    lost = sorted((tmp_path / "some" / MASKS).rglob("*.png"))[-1]
    lost.unlink()
    with pytest.raises(SystemExit, match=rf"{lost.parent.name}/{lost.name}; \d+ of \d+ scored frames are in"):
        make(root, spec, tmp_path / "some", tmp_path / "a.zip")
    assert not list(tmp_path.glob("a.zip*"))


def first(files: dict[str, bytes]) -> str:
    return sorted(files)[0]


def replaced(change: Callable[[np.ndarray], bytes]) -> Damage:
    def damage(files: dict[str, bytes]) -> None:
        files[first(files)] = change(np.asarray(Image.open(io.BytesIO(files[first(files)]))))

    return damage


def without_first_folder(files: dict[str, bytes]) -> None:
    gone = first(files).rpartition("/")[0]
    for name in [name for name in files if name.startswith(f"{gone}/")]:
        del files[name]


def moved(change: Callable[[str], str]) -> Damage:
    def damage(files: dict[str, bytes]) -> None:
        renamed = {change(name): data for name, data in files.items()}
        files.clear()
        files.update(renamed)

    return damage


DAMAGES: dict[str, tuple[str, Damage, str]] = {
    "a frame": ("mevis|valid", lambda files: files.pop(first(files)), r"1 frames are missing \(\S+/0+\.png\)"),
    "an expression": ("mevis|valid", without_first_folder, r"1 folders are missing \(\d+/0\)"),
    "everything": ("mevis|valid", lambda files: files.clear(), r"\d+ folders are missing \(\S+, .*\.\.\.\)"),
    "a note": (
        "mevis|valid",
        lambda files: files.update({"__MACOSX/._0": b"x"}),
        r"1 files are none of it \(__MACOSX/\._0\)",
    ),
    "a folder too many": (
        "mevis|valid",
        moved(lambda name: f"valid/{name}"),
        r"no file is where it belongs: \d+/0/\.\.\. is wanted, valid/\d+/0/0+\.png is there",
    ),
    "a folder too few": (
        "ref_youtube_vos|valid",
        moved(lambda name: name.removeprefix("Annotations/")),
        r"Annotations/\d+/0/\.\.\. is wanted, \d+/0/0+\.png is there",
    ),
    "another size": ("mevis|valid", replaced(lambda mask: png(mask[1:])), r"is \d+ x \d+, the video \d+ x \d+"),
    "ones": ("mevis|valid", replaced(lambda mask: png(mask * 0 + 1)), "holds the value 1, permitted are 0 and 255"),
    "colours": ("mevis|valid", replaced(lambda mask: png(mask, "RGB")), "is of the mode RGB, permitted are L"),
    "a palette": ("mevis|valid", replaced(lambda mask: png(mask, "P")), "is of the mode P, permitted are L"),
    "half a file": (
        "mevis|valid",
        lambda files: files.update({first(files): files[first(files)][:60]}),
        r"is no picture that can be read \(60 bytes\)",
    ),
    "an object too many": (
        "ref_davis17|valid",
        replaced(lambda mask: png(mask * 0 + 9)),
        r"anno_0/\S+/0+\.png holds the number 9, the video has \d objects",
    ),
}  # fmt: skip


@pytest.mark.parametrize("spec, damage, told", DAMAGES.values(), ids=DAMAGES)
def test_what_is_not_taken_is_named_in_one_line(
    spec: str, damage: Damage, told: str, root: Path, truths: dict[str, Path], tmp_path: Path
) -> None:
    files = make(root, spec, truths[spec], tmp_path / "good.zip")
    validate(root, spec, tmp_path / "good.zip")
    damage(files)
    with pytest.raises(SystemExit, match=rf"^error: \S+bad\.zip is not what is taken for [^\n]*{told}"):
        validate(root, spec, pack(tmp_path / "bad.zip", files))


def test_videos_of_test_are_none_of_the_202(root: Path, truths: dict[str, Path], tmp_path: Path) -> None:
    """Ref-YouTube-VOS' file of valid lists them, too; who asks them all hands in too much."""
    spec = "ref_youtube_vos|valid"
    files = make(root, spec, truths[spec], tmp_path / "a.zip")
    other = next(iter((root / "Refer-YouTube-VOS" / "test" / "JPEGImages").iterdir())).name
    files[f"Annotations/{other}/0/00000.png"] = files[first(files)]
    with pytest.raises(SystemExit, match=rf"1 files are none of it \(Annotations/{other}/0/00000\.png\)"):
        validate(root, spec, pack(tmp_path / "b.zip", files))


def test_fewer_videos_than_the_published_ones_are_an_error_but_in_a_toy_world(
    root: Path, truths: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "Refer-YouTube-VOS").symlink_to(root / "Refer-YouTube-VOS")
    with pytest.raises(SystemExit, match=r"\d videos are below \S+, the published split has 202"):
        make(tmp_path / "data", "refytvos|valid", truths["ref_youtube_vos|valid"], tmp_path / "a.zip")


def test_what_is_no_zip_and_a_name_that_is_there_twice_are_errors(root: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"a\.zip: no such zip"):
        validate(root, "mevis|valid", tmp_path / "a.zip")
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(SystemExit, match=r"a\.zip is no zip, or damaged"):
        validate(root, "mevis|valid", tmp_path / "a.zip")
    with (
        zipfile.ZipFile(tmp_path / "b.zip", "w") as archive,
        pytest.warns(UserWarning, match="Duplicate name"),
    ):
        archive.writestr("a/0/0.png", b"")
        archive.writestr("a/0/0.png", b"")
    with pytest.raises(SystemExit, match=r"b\.zip holds 1 names twice \(a/0/0\.png\)"):
        validate(root, "mevis|valid", tmp_path / "b.zip")


def test_what_no_server_scores_says_where_it_is_scored(root: Path, tmp_path: Path) -> None:
    with pytest.raises(
        SystemExit, match=r"revos\|valid: no server takes masks of it; .*--score scores it here"
    ):
        validate(root, "revos|valid", tmp_path / "a.zip")


@pytest.mark.parametrize(
    "flags, told",
    [
        ([], "required: --dataset_dir, --benchmark, --predictions, --zip, --validate or --score"),
        (["--truth", "data", "--zip", "a.zip"], "required: --benchmark, --predictions"),
        ([*ASKED, "--score"], "required: --predictions"),
        ([*ASKED, "--predictions", "a"], "required: --zip, --validate or --score"),
        ([*ASKED, "--predictions", "a", "--zip", "b.zip", "--score"], "three things to do; give one of them"),
        ([*ASKED, "--validate", "a.zip", "--predictions", "b"], "takes no --predictions"),
    ],
)
def test_half_a_command_line_says_what_is_missing(
    flags: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(flags)
    assert ended.value.code == 2 and told in capsys.readouterr().err
