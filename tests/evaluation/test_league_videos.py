"""A league in a world with videos: they are asked unasked for, and have a page of strips."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from seglm.dataset.toy.write_videos import write_videos
from seglm.evaluation.asking.benchmark import benchmark
from seglm.evaluation.asking.evaluate import evaluate_asker
from seglm.evaluation.asking.video_controls import still_frame
from seglm.evaluation.league.compete import Played
from seglm.evaluation.league.entrants import BENCHMARKS, VIDEOS, Budget, benchmarks_of
from seglm.evaluation.league.picture import save_pictures
from seglm.evaluation.league.standings import cells
from seglm.evaluation.league.work import scores_folder
from seglm.model.recipes import recipe

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
