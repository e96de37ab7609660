"""From predictions to a zip, there whole or not at all; the same predictions give the same bytes."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tqdm import tqdm

from seglm.evaluation.asking.selection import Selection
from seglm.evaluation.asking.written import masks_of, see_missing
from seglm.evaluation.scores.video_files import Predictions
from seglm.evaluation.submit.forms import Folder, Form
from seglm.utils.atomic import NEW
from seglm.utils.pool import in_threads
from seglm.utils.types import Sample

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
    see_missing(selection, predictions, missing_is_empty=missing_is_empty)
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
