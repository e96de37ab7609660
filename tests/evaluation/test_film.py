"""Films that players open, and strips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from seglm.evaluation.pictures.strip import spread, strip
from seglm.utils.film import film

av = pytest.importorskip("av")
COLOURS = ((220, 30, 30), (30, 200, 40), (20, 40, 210))


def plain(colour: tuple[int, int, int], size: tuple[int, int] = (47, 63)) -> NDArray[np.uint8]:
    return np.broadcast_to(np.array(colour, dtype=np.uint8), (*size, 3)).copy()


def read(path: Path) -> list[NDArray[np.uint8]]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


@pytest.mark.parametrize("rate", [None, 29.97, 1.0])
def test_a_film_holds_its_pictures_in_order_and_colour(tmp_path: Path, rate: float | None) -> None:
    with film(tmp_path / "a.mp4", rate=rate) as add:
        for colour in COLOURS:
            add(plain(colour))
    frames = read(tmp_path / "a.mp4")
    assert [frame.shape for frame in frames] == [(48, 64, 3)] * 3  # h264 needs even sides
    for frame, colour in zip(frames, COLOURS, strict=True):
        assert abs(frame.astype(int).mean((0, 1)) - colour).max() < 12
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264" and stream.codec_context.pix_fmt == "yuv420p"
        assert float(stream.average_rate) == pytest.approx(rate or 10, rel=1e-3)


def test_a_film_that_ends_early_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(KeyError), film(tmp_path / "a.mp4") as add:
        add(plain(COLOURS[0]))
        raise KeyError
    with pytest.raises(ValueError, match="a film of no picture"), film(tmp_path / "b.mp4"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_strip_shows_pictures_side_by_side(tmp_path: Path) -> None:
    strip(tmp_path / "a.png", [(f"frame {n}", plain(colour, (40, 80))) for n, colour in enumerate(COLOURS)])
    shown = np.array(Image.open(tmp_path / "a.png"))
    row = shown[80, :, :]
    assert [tuple(row[6 + 160 + n * 326]) for n in range(3)] == list(COLOURS)


@pytest.mark.parametrize(
    ("count", "want"), [(1, [0]), (3, [0, 1, 2]), (100, [0, 14, 28, 42, 57, 71, 85, 99])]
)
def test_what_is_shown_of_many_is_spread_over_time(count: int, want: list[int]) -> None:
    assert spread(count) == want
