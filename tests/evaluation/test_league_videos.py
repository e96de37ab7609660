"""A league in a world with videos: they are asked unasked for, and have a page of strips."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from seglm.dataset.mixture import phases
from seglm.dataset.toy.write_videos import write_videos
from seglm.evaluation.asking.benchmark import benchmark
from seglm.evaluation.asking.evaluate import evaluate_asker
from seglm.evaluation.asking.video_controls import still_frame
from seglm.evaluation.league.compete import Played
from seglm.evaluation.league.entrants import (
    BENCHMARKS,
    VIDEOS,
    Budget,
    benchmarks_of,
    entrants,
    parts,
    resolved,
)
from seglm.evaluation.league.picture import save_pictures
from seglm.evaluation.league.standings import cells
from seglm.evaluation.league.work import scores_folder
from seglm.model.recipes import recipe
from seglm.model.toy import JOINS

SPEC = VIDEOS[0]


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("films") / "toy"
    write_videos(root, images=40, val_images=8, test_images=4)
    return root


def test_videos_are_asked_where_the_world_has_some(films: Path, tmp_path: Path) -> None:
    assert benchmarks_of("", films) == (*BENCHMARKS, SPEC)
    assert benchmarks_of("", tmp_path) == BENCHMARKS
    assert benchmarks_of("refcoco|unc|val, mevis|valid_u", tmp_path) == ("refcoco|unc|val", SPEC)


def test_the_page_of_videos_has_a_strip_for_every_row(films: Path, tmp_path: Path) -> None:
    chosen = benchmark(SPEC)
    selection = chosen.open(films)
    games = []
    for row in ("one", "two"):
        out = scores_folder(tmp_path / row, SPEC)
        scores = evaluate_asker(still_frame(films), chosen, selection, recipe("lisa_tiny"), out_dir=out)
        games.append(Played(row, 0, (1,), (0.1,), 0.1, "", row, {SPEC: scores}))
    written = save_pictures(tmp_path, games, Budget(1, films, (SPEC,)))
    assert [path.name for path in written] == ["league_videos.png"]
    page = cv2.imread(str(written[0]))
    assert page is not None and page.shape[0] > 4 * 200 and page.shape[1] > 6 * 200
    assert next(cell.column for cell in cells(games, SPEC)[0]) == "J&F"


def test_the_pace_of_a_mixture_that_videos_join_later_is_that_of_its_parts() -> None:
    (row,) = entrants("videolisa_tiny:data.rates.4=0", films_are_elsewhere := Path("-"))
    (stills, before), (both, after) = parts(row)
    first, then = (resolved(part, films_are_elsewhere) for part in (stills, both))
    assert (before, after) == (JOINS, 1 - JOINS)
    assert first.data.mixture == ("sem_seg", "refer_seg", "vqa", "reason_seg")
    assert then.data.shares() == {**first.data.shares(), "refer_seg_video": 8.0}
    assert phases(then.data.shares(), then.data.joins) == ((0.0, 1.0, then.data.shares()),)
    (plain,) = entrants("lisa_tiny", films_are_elsewhere)
    ((same, whole),) = parts(plain)
    assert whole == 1 and resolved(same, films_are_elsewhere) == resolved(plain, films_are_elsewhere)
