"""From predictions to a zip, there whole or not at all; the same predictions give the same bytes."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from seglm.evaluation.asking.follow import asked_of
from seglm.evaluation.asking.selection import Selection
from seglm.evaluation.scores.video_files import Mask, Predictions
from seglm.evaluation.submit.forms import Folder, Form
from seglm.evaluation.submit.threads import in_threads
from seglm.evaluation.submit.told import some_of
from seglm.utils.atomic import NEW
from seglm.utils.types import Sample, Target

EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date that a zip can hold
PERMISSIONS = 0o644 << 16  # where a zip keeps them


def make_zip(
    file: Path, form: Form, selection: Selection, predictions: Predictions, *, missing_is_empty: bool = False
) -> int:
    """Writes what a server takes, and returns how many files are in it.

    Only what was asked goes into it, whatever else lies beside; masks of any coding are written anew, as the form has them.
    missing_is_empty: an expression without a prediction has empty masks.
    Raises ValueError that counts and names the expressions without a prediction, or a mask of another size; FileNotFoundError
    for a frame of one that is there.
    """
    if not missing_is_empty:
        check_all_there(selection, predictions)
    count = 0
    folders = ((sample, folder) for sample in _samples(selection) for folder in form.folders(sample))
    with fresh_zip(file) as archive:
        for files in in_threads(partial(_files, form, predictions), folders):
            for name, data in files:
                add(archive, name, data)
                count += 1
    return count


@contextmanager
def fresh_zip(file: Path) -> Iterator[zipfile.ZipFile]:
    """A zip to fill, which takes its place when it is whole."""
    fresh = file.with_name(file.name + NEW)
    try:
        with zipfile.ZipFile(fresh, "w") as archive:
            yield archive
        os.replace(fresh, file)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


def check_all_there(selection: Selection, predictions: Predictions) -> None:
    """Raises ValueError that counts and names the expressions without a prediction."""
    asked = [
        asked_of(sample, target)
        for sample in map(selection.sample, range(len(selection)))
        for target in sample.targets
    ]
    if missing := [str(one) for one in asked if not predictions.has(one)]:
        raise ValueError(
            f"no prediction for {len(missing)} of {len(asked)} expressions of {selection.name}: {some_of(missing)}; run "
            "inference on the same benchmark, or pass --missing empty to hand in empty masks for them"
        )


def masks_of(sample: Sample, target: Target, predictions: Predictions) -> Iterator[Mask]:
    """The mask of each frame, bool [H, W] at the video's size; empty ones where there is no prediction.

    Raises ValueError for a mask of another size, and what `Predictions.masks` raises.
    """
    names, asked = sample.frame_names, asked_of(sample, target)
    found = predictions.masks(asked, names) if predictions.has(asked) else iter([None] * len(names))
    for name, given in zip(names, found, strict=True):
        mask = np.zeros(sample.size, dtype=np.bool_) if given is None else given
        if mask.shape != sample.size:
            raise ValueError(
                f"{asked}: the mask of frame {name} is {mask.shape[0]} x {mask.shape[1]}, the video {sample.size[0]} x "
                f"{sample.size[1]} (H x W); servers score at the video's own size"
            )
        yield mask


def add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    """A file without the date and the owner of this machine's; PNGs do not become smaller."""
    entry = zipfile.ZipInfo(name, EPOCH)
    entry.external_attr = PERMISSIONS
    archive.writestr(entry, data, None if name.endswith(".png") else zipfile.ZIP_DEFLATED)


def _samples(selection: Selection) -> Iterator[Sample]:
    numbers = tqdm(range(len(selection)), desc="writing", unit="video", dynamic_ncols=True)
    return map(selection.sample, numbers)


def _files(form: Form, predictions: Predictions, of: tuple[Sample, Folder]) -> list[tuple[str, bytes]]:
    """The PNGs of one folder: names in the zip and contents."""
    sample, folder = of
    of_each = (masks_of(sample, target, predictions) for target in folder.targets)
    frames = zip(sample.frame_names, zip(*of_each, strict=True), strict=True)
    return [(f"{folder.name}/{name}.png", form.encode(masks)) for name, masks in frames]
