"""Indices open at once, are shared, and are made anew when their files change."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from seglm.dataset import index as module
from seglm.dataset.index import Record, open_index
from seglm.dataset.sources import open_source
from tests.dataset.films import film
from tests.dataset.mini import copy_of
from tests.dataset.test_grounded import save
from tests.dataset.test_sa2va_sets import osprey, said


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEGLM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "LARGE", 100)
    return tmp_path / "cache" / "index"


def records(path: Path) -> Iterator[Record]:
    for name in json.loads(path.read_text()):
        yield {"id": name, "image": f"{name}.jpg", "coco": int(name)}


def write(path: Path, count: int) -> Path:
    path.write_text(json.dumps([str(number) for number in range(count)]))
    return path


def test_a_large_index_is_kept_and_a_small_one_is_not(cache: Path, tmp_path: Path) -> None:
    small, large = write(tmp_path / "small.json", 99), write(tmp_path / "large.json", 100)
    open_index([small], lambda: records(small), what="small")
    assert not cache.exists()
    open_index([large], lambda: records(large), what="large")
    assert len(list(cache.iterdir())) == 1


def test_a_kept_index_is_opened_without_the_annotations_being_read(cache: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "large.json", 500)
    first = open_index([path], lambda: records(path), what="x")

    def never() -> Iterator[Record]:
        raise AssertionError("the annotations were read again")

    again = open_index([path], never, what="x")
    assert [again.record(n) for n in (0, 250, 499)] == [first.record(n) for n in (0, 250, 499)]
    assert again.coco.tolist() == list(range(500))


def test_an_index_is_made_anew_when_its_file_changes(cache: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "large.json", 500)
    open_index([path], lambda: records(path), what="x")
    write(path, 501)
    assert len(open_index([path], lambda: records(path), what="x")) == 501


def test_two_splits_of_one_file_have_their_own_index(cache: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "large.json", 500)
    open_index([path], lambda: records(path), what="train")
    half = open_index([path], lambda: list(records(path))[:200], what="val")
    assert len(half) == 200


def test_a_worker_receives_the_place_of_a_kept_index_and_not_its_content(cache: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "large.json", 5000)
    open_index([path], lambda: records(path), what="x")
    kept = open_index([path], lambda: records(path), what="x")
    sent = pickle.dumps(kept)
    assert len(sent) < 1000
    assert pickle.loads(sent).record(4321) == {"id": "4321", "image": "4321.jpg", "coco": 4321}


@pytest.mark.parametrize("is_killed", [False, True])
def test_of_several_processes_one_makes_the_index_of_large_files(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_killed: bool
) -> None:
    """Also if the first of them is killed while it does: then the next."""
    monkeypatch.setattr(module, "LARGE_FILES", 1)
    path, made = write(tmp_path / "few.json", 5), tmp_path / "made"
    made.mkdir()

    def slowly() -> Iterator[Record]:
        (made / str(os.getpid())).touch()
        time.sleep(1)
        if is_killed and len(list(made.iterdir())) == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        yield from records(path)

    def work() -> None:
        assert len(open_index([path], slowly, what="x")) == 5

    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    codes = sorted(worker.exitcode for worker in workers)
    assert codes == ([-signal.SIGKILL, 0, 0] if is_killed else [0, 0, 0])
    assert len(list(made.iterdir())) == 1 + is_killed
    assert len(list(cache.iterdir())) == 1  # no lock is left


def test_a_cache_that_cannot_be_written_is_told_and_does_no_harm(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SEGLM_CACHE", str(tmp_path / "file"))
    path = write(tmp_path / "large.json", 500)
    assert len(open_index([path], lambda: records(path), what="x")) == 500
    assert "set SEGLM_CACHE" in caplog.text


@pytest.mark.parametrize(
    "spec, before, later",
    [
        ("osprey", *["osprey-724k/coco/val2017/000000000042.jpg"] * 2),
        ("revos|valid", "ReVOS/JPEGImages/OVIS_55aa", "ReVOS/OVIS_55aa"),
        ("chat_univi", *["chat_univi/Activity_Videos/a.mp4"] * 2),
    ],
)
def test_what_comes_after_an_index_was_kept_is_found(
    spec: str, before: str, later: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each lies where it is looked for second: in another folder, or with another ending than the file says."""
    monkeypatch.setattr(module, "LARGE", 1)
    osprey(tmp_path, "conversation", conversations=said("Who is <region1>?", "He."))
    copy_of("revos", tmp_path)
    (tmp_path / "chat_univi/Activity_Videos").mkdir(parents=True)
    film(tmp_path / "chat_univi/Activity_Videos/a.mp4", 2)
    save([{"video": "a.mkv", "conversations": said("What?", "It.")}], tmp_path / "chat_univi/video_chat.json")
    away = (tmp_path / before).rename(tmp_path / "away")
    assert open_source(spec, tmp_path).index.folder, "it is kept"
    away.rename(tmp_path / later)
    source = open_source(spec, tmp_path)
    found = [source.sample(number).path for number in range(len(source))]
    assert str(tmp_path / later) in found and all(Path(path).exists() for path in found)


@pytest.mark.slow
def test_a_million_records_open_in_50_ms(cache: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "large.json", 1_000_000)
    open_index([path], lambda: records(path), what="x")
    began = time.process_time()
    index = open_index([path], lambda: records(path), what="x")
    index.record(987_654)
    assert time.process_time() - began <= 0.05
