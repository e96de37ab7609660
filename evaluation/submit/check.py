"""Whether a zip is what a server takes: every video, expression and frame, in its place, size and coding, and nothing besides."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from seglm.evaluation.asking.selection import Selection
from seglm.evaluation.submit.forms import Folder, Form
from seglm.utils.pool import in_threads
from seglm.utils.told import counted, some_of
from seglm.utils.types import Sample


def check_zip(file: Path, form: Form, selection: Selection) -> int:
    """Looks at every file in a zip, and returns how many there are.

    Raises ValueError, one line that counts what is missing, wrong and too much, and names the first of each.
    """
    with open_zip(file) as archive:
        inside = frozenset(names_in(archive, file))
        found, expected = _Found(), set[str]()

        def look(of: tuple[Sample, Folder]) -> tuple[Folder, list[str], list[str], list[str]]:
            sample, folder = of
            names = [f"{folder.name}/{frame}.png" for frame in sample.frame_names]
            there = [name for name in names if name in inside]
            faults = ((name, _fault(archive.read(name), form, folder, sample.size)) for name in there)
            return folder, names, there, [f"{name} {fault}" for name, fault in faults if fault]

        numbers = tqdm(range(len(selection)), desc="checking", unit="video", dynamic_ncols=True)
        folders = (
            (sample, folder) for sample in map(selection.sample, numbers) for folder in form.folders(sample)
        )
        for folder, names, there, wrong in in_threads(look, folders):
            found.see_missing(folder, names, there)
            found.wrong += wrong
            expected.update(names)
        found.besides = sorted(inside - expected)
        count = len(inside & expected)
    if said := found.said():
        raise ValueError(
            f"{file} is not what is taken for {selection.name}: {said}{_hint(form, found, count)}"
        )
    return count


@contextmanager
def open_zip(file: Path) -> Iterator[zipfile.ZipFile]:
    """A zip to read. Raises FileNotFoundError, or ValueError if it is none or a file in it is damaged."""
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such zip; `--predictions FOLDER --zip {file}` makes one")
    try:
        with zipfile.ZipFile(file) as archive:
            yield archive
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"{file} is no zip, or damaged ({error}); make it again") from error


def names_in(archive: zipfile.ZipFile, file: Path) -> list[str]:
    """The files of a zip, folders apart. Raises ValueError if a name is there twice, of which a server takes one."""
    names = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
    if twice := [name for name, times in Counter(names).items() if times > 1]:
        raise ValueError(f"{file} holds {counted(len(twice), 'names twice', twice)}; make it again")
    return names


class _Found:
    """What is not as it should be."""

    def __init__(self) -> None:
        self.folders: list[str] = []
        self.files: list[str] = []
        self.wrong: list[str] = []
        self.besides: list[str] = []

    def see_missing(self, folder: Folder, names: list[str], there: list[str]) -> None:
        """A folder of which nothing is there is named once."""
        if not there:
            self.folders.append(folder.name)
        elif len(there) < len(names):
            self.files += sorted(set(names) - set(there))

    def said(self) -> str:
        """All of it; empty if there is nothing."""
        return "; ".join(
            part
            for part in (
                counted(len(self.folders), "folders are missing", self.folders),
                counted(len(self.files), "frames are missing", self.files),
                f"{len(self.wrong)} files are wrong: {some_of(self.wrong)}" if self.wrong else "",
                counted(len(self.besides), "files are none of it", self.besides),
            )
            if part
        )


def _hint(form: Form, found: _Found, count: int) -> str:
    """What may be behind it: folders round everything, or none where one has to be."""
    if count or not found.besides:
        return ""
    [wanted, *_], [given, *_] = found.folders, found.besides
    return f"; no file is where it belongs: {wanted}/... is wanted, {given} is there; is a folder round it too many, or missing?"


def _fault(data: bytes, form: Form, folder: Folder, size: tuple[int, int]) -> str:
    """Why a file is not taken; empty if it is."""
    try:
        picture = Image.open(io.BytesIO(data))
        numbers = np.asarray(picture)
    except (OSError, SyntaxError, ValueError):
        return f"is no picture that can be read ({len(data)} bytes)"
    if picture.format != "PNG":
        return f"is a {picture.format}, permitted is PNG"
    if picture.mode not in form.modes:
        return f"is of the mode {picture.mode}, permitted are {', '.join(form.modes)}"
    if numbers.shape != size:
        return f"is {numbers.shape[0]} x {numbers.shape[1]}, the video {size[0]} x {size[1]} (H x W)"
    return form.fault(numbers, folder)
