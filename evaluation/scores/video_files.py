"""Predicted masks of videos as programs leave them: a folder or a zip of PNGs, or run lengths in one JSON file.

  PNGs          VIDEO/EXPRESSION/FRAME.png, or VIDEO/FRAME.png where numbers tell objects apart (DAVIS), maybe all in a folder
                `Annotations` (Ref-YouTube-VOS' zips, VISA) or `masks` (`evaluation.run`). Grey, black and white, or with a
                palette, whose numbers and not colours count, of 1 to 8 bits; an expression's mask is whatever is not 0, so 0
                and 255, 0 and 1, and 0 and 100 read the same.
  run lengths   {VIDEO: {EXPRESSION: {"prediction_masks": [one a frame, null for an empty one]}}}, as Sa2VA writes them; of
                every frame of the video, or of those that are scored.

Masks come one at a time, and nothing keeps them.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from seglm.dataset.masks import decode, run_size
from seglm.evaluation.scores.davis import Numbers
from seglm.evaluation.scores.expressions import Asked, Track, track
from seglm.evaluation.scores.files import MASKS
from seglm.evaluation.scores.mask_png import stored_numbers
from seglm.evaluation.scores.regions import FrameCounts, count_frame
from seglm.utils.encoding import read_json

Mask = NDArray[np.bool_]
TOP = "Annotations"  # the folder round everything in Ref-YouTube-VOS' zips and VISA's results


class Predictions(Protocol):
    """Somebody's masks of a benchmark."""

    def has(self, asked: Asked) -> bool:
        """Whether an expression has a prediction; if not, nobody asks for its masks."""

    def masks(self, asked: Asked, frames: Sequence[str], every: Sequence[str] = ()) -> Iterator[Mask | None]:
        """The mask of each frame, bool [H, W]; None for an empty one whose size nobody wrote down.

        every: names of all frames of the video, where `frames` may be some of them.
        Raises FileNotFoundError or ValueError that names the frame.
        """


class Truth(Protocol):
    """The true masks of a benchmark."""

    def frames(self, asked: Asked) -> Sequence[str]:
        """The scored frames' names, without ending."""

    def masks(self, asked: Asked) -> Iterable[Mask]:
        """The mask of each of these, bool [H, W]."""


def open_predictions(place: Path) -> Predictions:
    """A folder, a .zip or a .json of predictions. Raises FileNotFoundError, or ValueError for anything else."""
    if place.is_dir():
        return PngFolder(place)
    if not place.exists():
        raise FileNotFoundError(
            f"{place}: no predictions there; give a folder or a zip of PNGs, or a JSON of run lengths"
        )
    if zipfile.is_zipfile(place):
        return PngZip(place)
    if place.suffix == ".json":
        return RunLengths(place)
    raise ValueError(f"{place} is no folder, no zip and no .json; predictions are PNGs or run lengths")


def score_files(asked: Iterable[Asked], predictions: Predictions, truth: Truth) -> Iterator[Track]:
    """The tracks of the expressions that have a prediction; one process may take some of them, another the rest."""
    for one in asked:
        if predictions.has(one):
            frames = truth.frames(one)
            yield track(one, count_frames(one, frames, predictions.masks(one, frames), truth.masks(one)))


def count_frames(
    asked: Asked, frames: Sequence[str], shown: Iterable[Mask | None], true: Iterable[Mask]
) -> Iterator[FrameCounts]:
    """Counts frame by frame. Raises ValueError that names the frame if sizes differ, or says how many masks are there."""
    found = 0
    for frame, given, target in zip(frames, shown, true, strict=False):
        mask = np.zeros(target.shape, dtype=np.bool_) if given is None else given
        if mask.shape != target.shape:
            raise ValueError(
                f"{asked}: the mask of frame {frame} is {mask.shape[0]} x {mask.shape[1]}, the true one {target.shape[0]} x "
                f"{target.shape[1]} (H x W); masks are scored at the video's own size"
            )
        found += 1
        yield count_frame(mask, target)
    if found != len(frames):
        raise ValueError(f"{asked}: masks of {found} frames; {len(frames)} are scored")


class Pngs:
    """What folders and zips have in common."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[type[Pngs], tuple[Path]]:
        return type(self), (self.place,)  # another process opens it anew

    def has(self, asked: Asked) -> bool:
        """Whether there is a folder for an expression, be it empty."""
        return self._has_folder(str(asked))

    def masks(self, asked: Asked, frames: Sequence[str], every: Sequence[str] = ()) -> Iterator[Mask]:
        """See `Predictions`."""
        for frame in frames:
            yield self._numbers(f"{asked}/{frame}.png", frames, of_objects=False) > 0

    def numbers(self, video: str, frames: Sequence[str]) -> Iterator[Numbers]:
        """The maps of a video whose frames hold the numbers of objects, uint8 [H, W]."""
        for frame in frames:
            yield self._numbers(f"{video}/{frame}.png", frames, of_objects=True)

    def _numbers(self, name: str, frames: Sequence[str], *, of_objects: bool) -> Numbers:
        data = self._read(name)
        if data is None:
            folder = name.rpartition("/")[0]
            there = sum(self._read(f"{folder}/{frame}.png") is not None for frame in frames)
            raise FileNotFoundError(
                f"{self.place}: no {name}; {there} of {len(frames)} scored frames are in {folder}. A run that was cut short? "
                "Start it again, it goes on where it stopped; or remove the folder, then it counts as missing"
            )
        return read_numbers(data, f"{self.place}: {name}", of_objects=of_objects)

    def _has_folder(self, name: str) -> bool:
        raise NotImplementedError(f"{type(self).__name__} says whether it has {name}")

    def _read(self, name: str) -> bytes | None:
        raise NotImplementedError(f"{type(self).__name__} reads {name}")


class PngFolder(Pngs):
    """A folder of PNGs."""

    @cached_property
    def _root(self) -> Path:
        return next((self.place / top for top in (TOP, MASKS) if (self.place / top).is_dir()), self.place)

    def _has_folder(self, name: str) -> bool:
        return (self._root / name).is_dir()

    def _read(self, name: str) -> bytes | None:
        path = self._root / name
        return path.read_bytes() if path.is_file() else None


class PngZip(Pngs):
    """A zip of PNGs, read where it is."""

    @cached_property
    def _archive(self) -> zipfile.ZipFile:
        return zipfile.ZipFile(self.place)

    @cached_property
    def _names(self) -> Mapping[str, str]:
        """Name without the folder round everything -> name in the zip."""
        return {name.removeprefix(f"{TOP}/").rstrip("/"): name for name in self._archive.namelist()}

    @cached_property
    def _folders(self) -> frozenset[str]:
        return frozenset(folder for name in self._names for folder in (name, name.rpartition("/")[0]))

    def _has_folder(self, name: str) -> bool:
        return name in self._folders

    def _read(self, name: str) -> bytes | None:
        return self._archive.read(self._names[name]) if name in self._names else None


class RunLengths:
    """One JSON file of run lengths."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[type[RunLengths], tuple[Path]]:
        return type(self), (self.place,)

    @cached_property
    def _content(self) -> Mapping[str, Any]:
        content: Mapping[str, Any] = self._of(dict, read_json(self.place), "the file")
        for video, expressions in content.items():
            self._of(dict, expressions, video)
        return content

    def _of(self, kind: type, value: Any, what: object) -> Any:
        """The value, if it is of this type."""
        if not isinstance(value, kind):
            told = f"{type(value).__name__}, permitted is {kind.__name__}"
            raise ValueError(f"{self.place}: {what} holds a {told}")
        return value

    @contextmanager
    def _blamed(self, what: object) -> Iterator[None]:
        try:
            yield
        except ValueError as error:
            raise ValueError(f"{self.place}: {what}: {error}") from error

    def has(self, asked: Asked) -> bool:
        """Whether the file has the expression."""
        return asked.name in self._content.get(asked.video, {})

    def masks(self, asked: Asked, frames: Sequence[str], every: Sequence[str] = ()) -> Iterator[Mask | None]:
        """See `Predictions`; also ValueError for a number of masks that is neither that of `frames` nor that of `every`."""
        entry = self._of(dict, self._content[asked.video][asked.name], asked)
        given = self._of(list, entry.get("prediction_masks"), f"`prediction_masks` of {asked}")
        if len(given) != len(frames):
            if len(given) != len(every):
                of = f" of {len(every)}" if len(every) > len(frames) else ""
                told = f"{asked} has {len(given)} masks, {len(frames)} frames{of} are scored"
                raise ValueError(f"{self.place}: {told}")
            by_name = dict(zip(every, given, strict=True))
            given = [by_name[frame] for frame in frames]
        for frame, mask in zip(frames, given, strict=True):
            with self._blamed(f"{asked}, frame {frame}"):
                decoded = None if mask is None else decode(mask, run_size(mask))
            yield decoded


def read_numbers(data: bytes, name: str, *, of_objects: bool) -> Numbers:
    """uint8 [H, W]: the numbers of a PNG, see `stored_numbers`. name: for messages. Raises ValueError that begins with it."""
    try:
        return stored_numbers(data, of_objects=of_objects)
    except ValueError as error:
        raise ValueError(f"{name} {error}") from error
