"""What an evaluation reads and writes: masks as PNGs, predictions.csv with what was said, samples.csv with the pixels too."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from seglm.evaluation.scores.expressions import Track
from seglm.evaluation.scores.iou import Counts
from seglm.evaluation.scores.mask_png import decode_mask
from seglm.evaluation.scores.results import Result, Said
from seglm.utils import png
from seglm.utils.answers import Status
from seglm.utils.encoding import read_text

T = TypeVar("T")

LONGEST = 2**31 - 1
"""characters of a field; by itself Python reads 131,072, and what is said to the frames of a video is one"""
MASKS, SAID = "masks", "predictions.csv"
STATUSES: Sequence[str] = get_args(Status)
BOOLEANS = (str(True), str(False))
PIXELS = {"predicted": "predicted_pixels", "target": "target_pixels"}
"""columns of samples.csv whose plain name would be that of something else, `target` that of the target's number"""


def write_mask(path: Path, mask: NDArray[np.bool_]) -> None:
    """A mask as a PNG of 0 and 255, lossless. Raises OSError if it cannot be written."""
    path.write_bytes(png.of_mask(mask))  # not cv2.imwrite: it returns False instead of saying what went wrong


def read_mask(path: Path, *, size: tuple[int, int] | None = None, key: str = "") -> NDArray[np.bool_]:
    """A mask, bool [H, W], from any PNG that says clearly what belongs to it; see `mask_png.decode_mask`.

    size: (H, W) that it must have, original pixels; None takes any. key: what it is a mask of, for the error.
    Raises FileNotFoundError, or ValueError, that name key and file.
    """
    whose = f"{key}: " if key else ""
    if not path.is_file():
        raise FileNotFoundError(f"{whose}{path}: no such mask")
    try:
        return decode_mask(path.read_bytes(), size=size)
    except OSError as error:
        raise ValueError(f"{whose}{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise ValueError(f"{whose}{path} {error}") from error


def write_said(path: Path, lines: Iterable[Said]) -> None:
    """predictions.csv: what was said, without any truth."""
    _write(path, [field.name for field in fields(Said)], [asdict(line) for line in lines])


def read_said(path: Path) -> list[Said]:
    """The lines of predictions.csv. Raises FileNotFoundError or ValueError that name the file and what to run."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there; run_inference writes it beside the masks")
    return read_lines(path, [field.name for field in fields(Said)], _said)


def read_lines(path: Path, columns: Sequence[str], make: Callable[[Mapping[str, str]], T]) -> list[T]:
    """What `make` makes of each line of a CSV that has these columns, in any order, and maybe others.

    Raises ValueError that names the file and the line, also for what `make` raises.
    """
    csv.field_size_limit(LONGEST)
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""), strict=True)
    try:
        names = list(reader.fieldnames or ())
        if [names.count(name) for name in columns] != [1] * len(columns):
            raise ValueError(
                f"has columns {reader.fieldnames}; each of {', '.join(columns)} is expected once, with commas between"
            )
        return [make(_whole(row, len(names))) for row in reader]
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{path}, line {reader.line_num}: {error}") from error


def each_once(
    pairs: Iterable[tuple[str, T]], told: str, keep: str = "keep the one that is meant"
) -> dict[str, T]:
    """The value of each key. Raises ValueError, which begins as `told` and ends with `keep`, for two that differ."""
    every = list(pairs)
    found = dict(every)
    if twice := [key for key, value in every if found[key] != value]:
        raise ValueError(f"{told} {twice[0]}; {keep}")
    return found


def write_results(path: Path, results: Sequence[Result]) -> None:
    """samples.csv: one line an expression, with its pixels and IoU, or its J, F and J&F, so that two programs' scores can be
    compared line by line.
    """
    rows = [{**asdict(result.said), **_measured(result)} for result in results]
    counts = [PIXELS.get(field.name, field.name) for field in fields(Counts)]
    own = list(_measured(results[0])) if results else [*counts, "iou"]
    _write(path, [*(field.name for field in fields(Said)), *own], rows)


def _measured(result: Result) -> dict[str, object]:
    found = result.found
    if isinstance(found, Track):
        numbers = {"j": found.j, "f": found.f, "jf": found.jf}
        spelled = {name: f"{value:.6f}" for name, value in numbers.items()}
        return {"num_frames": found.num_frames, "is_drawn": found.is_drawn, **spelled}
    pixels = {PIXELS.get(name, name): value for name, value in asdict(found).items()}
    return {**pixels, "iou": f"{found.iou:.6f}"}


def _write(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    assert len(set(columns)) == len(columns), f"{path}: two columns of one name in {columns}"
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(rows)


def _whole(row: Mapping[str | None, str | None], count: int) -> Mapping[str, str]:
    """Raises ValueError for a line with more or fewer fields, or with a zero byte."""
    if None in row or None in row.values():
        raise ValueError(f"{count} fields are expected; is the file whole?")
    told = {str(name): str(value) for name, value in row.items()}
    if odd := [name for name, value in told.items() if "\0" in value]:
        raise ValueError(f"{odd[0]} holds a zero byte; is the file whole?")
    return told


def _said(row: Mapping[str, str]) -> Said:
    """Raises ValueError for a value that run_inference does not write."""
    return Said(
        sample=int(row["sample"]),
        target=int(row["target"]),
        key=row["key"],
        name=row["name"],
        kind=row["kind"],
        text=row["text"],
        answer=row["answer"],
        status=_one_of(STATUSES, row, "status"),
        slots=int(row["slots"]),
        confidence=float(row["confidence"]) if row["confidence"] else None,
        rejected=_one_of(BOOLEANS, row, "rejected") == str(True),
        file=row["file"],
    )


def _one_of(permitted: Sequence[str], row: Mapping[str, str], name: str) -> str:
    """The field's value as it is permitted; spreadsheets write TRUE for True."""
    for one in permitted:
        if one.lower() == row[name].lower():
            return one
    raise ValueError(f"{name} is {row[name]!r}, permitted are {', '.join(permitted)}")
