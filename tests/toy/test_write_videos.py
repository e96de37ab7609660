"""Writing the toy world's videos: the same bytes, whole or not at all, nothing shared between the splits, flat memory."""

import hashlib
import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seglm.dataset.toy import __main__ as command
from seglm.dataset.toy import film, write_videos
from seglm.dataset.toy.clips import draw_frames, make_clip
from seglm.dataset.toy.layouts import films
from seglm.dataset.toy.layouts.takes import frame_names, make_take
from seglm.dataset.toy.write import write
from seglm.dataset.toy.write_videos import POOLS, TAKES_PER_POOL, take_of
from tests.toy.world import FEW, IMAGES, NUMBERS, SEED


def read(path: Path) -> dict:
    return json.loads(path.read_text())


def test_no_clip_is_in_two_splits(videos: Path) -> None:
    kept = {"train": "train", "valid_u": "val", "valid": "held", "val": "held", "test": "held"}
    splits: dict[str, set[str]] = {"train": set(), "val": set(), "held": set()}
    for name in ("mevis", "YTVOS", "Refer-YouTube-VOS", "lvvis", "DAVIS17"):
        for path in (videos / name).rglob("*.jpg"):
            split = next(kept[part] for part in path.relative_to(videos).parts if part in kept)
            splits[split].add(hashlib.sha256(path.read_bytes()).hexdigest())
    assert all(len(found) > 20 for found in splits.values())
    assert not splits["train"] & splits["val"] and not splits["train"] & splits["held"]
    assert not splits["val"] & splits["held"]
    assert len({pool.name for pool in POOLS}) == len(POOLS)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_other_ones(videos: Path, tmp_path: Path) -> None:
    write_videos.write_videos(tmp_path / "again", **NUMBERS)

    def tree(folder: Path) -> dict[str, str]:
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}

    assert tree(videos) == tree(tmp_path / "again")
    one, other = (make_take(0, world_seed=seed, split="train", size=128) for seed in (SEED, SEED + 1))
    assert (next(draw_frames(one.clip)) != next(draw_frames(other.clip))).mean() > 0.9


def test_the_same_videos_are_kept_and_other_ones_refused(videos: Path, tmp_path: Path) -> None:
    before = (videos / "toy_videos.json").stat().st_mtime_ns
    assert write_videos.write_videos(videos, **NUMBERS) == write_videos.read_video_manifest(videos)
    assert (videos / "toy_videos.json").stat().st_mtime_ns == before
    with pytest.raises(ValueError, match=r"other toy videos: seed 3 \(wanted 9\).*rm -r"):
        write_videos.write_videos(videos, **{**NUMBERS, "seed": 9})
    with pytest.raises(ValueError, match="an even size"):
        write_videos.write_videos(tmp_path / "odd", **NUMBERS, size=127)
    with pytest.raises(ValueError, match="'holiday' is no video of a toy world"):
        take_of(videos, "holiday")


def test_folders_of_the_user_are_not_touched(tmp_path: Path) -> None:
    own = tmp_path / "data/mevis/train/mine.txt"
    own.parent.mkdir(parents=True)
    own.write_text("mine")
    with pytest.raises(ValueError, match="has mevis already, which the toy world did not write"):
        write_videos.write_videos(tmp_path / "data", **NUMBERS)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    assert [path for path in (tmp_path / "data").rglob("*") if path.is_file()] == [own]


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(*_: object) -> int:
        raise OSError("no space left on device")

    monkeypatch.setattr(write_videos.lvvis, "write_lvvis", full_disk)
    with pytest.raises(OSError, match="no space"):
        write_videos.write_videos(tmp_path / "data", **NUMBERS)
    assert list(tmp_path.iterdir()) == []


def test_the_command_writes_videos_only_when_they_are_asked_for(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    numbers = [
        "--images",
        str(IMAGES),
        "--val_images",
        str(FEW),
        "--test_images",
        str(FEW),
        "--seed",
        str(SEED),
    ]
    assert command.main(["--dataset_dir", str(tmp_path / "data"), *numbers]) == 0
    assert not (tmp_path / "data/mevis").exists() and (tmp_path / "data/refer_seg").is_dir()
    assert command.main(["--dataset_dir", str(tmp_path / "data"), "--sets", "all", *numbers]) == 0
    said = capsys.readouterr().out
    assert "this toy world, here already" in said and "mevis|valid_u" in said
    assert read(tmp_path / "data/toy_videos.json") == read(videos / "toy_videos.json")
    assert (
        write(tmp_path / "data", images=IMAGES, val_images=FEW, test_images=FEW, seed=SEED).images == IMAGES
    )


def test_memory_stays_flat_while_frames_are_written(tmp_path: Path) -> None:
    """Three times as many clips take no more memory than a few, but for the texts and run lengths of the files."""
    peaks = []
    for count in (3, 9):
        tracemalloc.start()
        takes = (make_take(n, world_seed=0, split="train", size=128) for n in range(count))
        write_videos.mevis.write_mevis(tmp_path / str(count), "train", takes)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    frame = 128 * 128 * 3
    assert peaks[1] - peaks[0] < 6 * 18 * frame / 8  # an eighth of the six additional clips' pixels


def test_films_show_what_the_phrases_say(
    videos: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in films.FILMED:
        clip, phrases = films.shown_clip(name, 128)
        picture = Image.open(videos / f"films/{name}.gif")
        assert picture.n_frames == len(clip.scenes) and picture.size == (128, 128)
        assert (videos / f"films/{name}.txt").read_text().splitlines() == [phrase.text for phrase in phrases]
        assert (videos / f"films/{name}.mp4").is_file() == film.can_write_mp4()
    assert np.asarray(Image.open(videos / "films/sheet.png")).shape[1] > 800
    monkeypatch.setattr(film, "can_write_mp4", lambda: False)
    with pytest.raises(RuntimeError, match="pip install av"):
        film.save_mp4([], tmp_path / "x.mp4")


def test_an_mp4_holds_the_frames(tmp_path: Path) -> None:
    av = pytest.importorskip("av", reason="needs PyAV: pip install av")
    pictures = list(draw_frames(make_clip(1, family="rhythm")))
    film.save_mp4(pictures, tmp_path / "x.mp4")
    with av.open(str(tmp_path / "x.mp4")) as container:
        shown = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(shown) == len(pictures)
    assert all(np.abs(a.astype(int) - b).mean() < 12 for a, b in zip(shown, pictures, strict=True))


def test_a_number_is_of_one_pool_and_names_are_of_the_real_lengths() -> None:
    take = make_take(3 * TAKES_PER_POOL + 7, world_seed=0, split="train", size=64)
    assert frame_names(take, step=5)[:3] == ["00000", "00005", "00010"]
    assert take.size == (64, 64) and take.num_frames == len(take.clip.scenes)
