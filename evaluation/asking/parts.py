"""What is done of an evaluation, batch by batch, so that one that was killed goes on where it stopped.

FOLDER/about.json   what is asked, of which weights
FOLDER/<n>.json     a list, what the batch that begins with sample n has given; its masks were written before
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from seglm.evaluation.scores.expressions import Asked, Track
from seglm.evaluation.scores.iou import Counts
from seglm.evaluation.scores.results import Result, Said
from seglm.utils import dist, lock
from seglm.utils.atomic import write_atomic
from seglm.utils.encoding import read_json

ABOUT = "about.json"
PARTS = "parts"
"""in a benchmark's folder, until everything is asked"""


@dataclass(frozen=True)
class Parts:
    """A folder of finished batches; every process reads and writes those of its own."""

    folder: Path

    def begin(self, about: Mapping[str, Any], *, overwrite: bool) -> int:
        """Makes the folder, or finds it as it was left; for one process. Returns how many batches are done.

        Raises ValueError if what lies there belongs to other weights or other questions (overwrite: it is thrown away), or if
        another process writes it.
        """
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        if who := lock.take(self._lock):
            raise ValueError(
                f"{self.folder.parent}: {who} evaluates into this folder; wait for its end, or give another --out"
            )
        if overwrite:
            self._drop()
        wanted, file = json.loads(json.dumps(about)), self.folder / ABOUT
        if file.is_file():
            there = read_json(file)
            other = sorted(key for key in {*there, *wanted} if there.get(key) != wanted.get(key))
            if other:
                lock.free(self._lock)
                raise ValueError(
                    f"{self.folder} holds half of another evaluation (other {', '.join(other)}); pass --overwrite to begin anew, "
                    "or another --out"
                )
            return len(list(self.folder.glob("*.json"))) - 1
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomic(file, json.dumps(wanted))
        return 0

    def begin_together(self, about: Mapping[str, Any], *, overwrite: bool) -> None:
        """`begin` on the main process, for all of them; it says what is done. Raises ValueError, on every process, as `begin`."""

        def problem() -> str | None:
            try:
                if done := self.begin(about, overwrite=overwrite):
                    print(f"{self.folder.parent}: goes on behind {done} batches that are done")  # noqa: T201
            except ValueError as error:
                return str(error)
            return None

        dist.refuse(problem)

    def read(self, numbers: range) -> list[Result] | None:
        """The results of a batch, None if it is not done."""
        rows = self.read_rows(numbers)
        return None if rows is None else [Result(Said(**row["said"]), _found(row["found"])) for row in rows]

    def read_rows(self, numbers: range) -> list[Mapping[str, Any]] | None:
        """What a batch has given, None if it is not done."""
        file = self._file(numbers)
        rows: list[Mapping[str, Any]] | None = read_json(file) if file.is_file() else None
        return rows

    def write(self, numbers: range, results: Sequence[Result]) -> None:
        """The batch is done."""
        self.write_rows(numbers, [asdict(result) for result in results])

    def write_rows(self, numbers: range, rows: Sequence[Mapping[str, Any]]) -> None:
        """The same for whatever JSON a batch gives."""
        write_atomic(self._file(numbers), json.dumps(rows))

    def remove(self) -> None:
        """Everything is done, and stands in the evaluation's own files."""
        self._drop()
        lock.free(self._lock)

    def _drop(self) -> None:
        """At once: batches without the file that says whose they are would be taken for anybody's."""
        away = self.folder.with_name(f".{self.folder.name}.done")
        shutil.rmtree(away, ignore_errors=True)
        if self.folder.exists():
            self.folder.rename(away)
        shutil.rmtree(away, ignore_errors=True)

    @property
    def _lock(self) -> Path:
        return self.folder.with_name(f".{self.folder.name}.lock")

    def _file(self, numbers: range) -> Path:
        return self.folder / f"{numbers.start}.json"


def check_fresh(folder: Path, outcome: Sequence[str], *, overwrite: bool) -> None:
    """Raises ValueError if an evaluation has ended in this folder; outcome: the files that tell, the last written first."""
    there = [name for name in outcome if (folder / name).exists()]
    if there and not (folder / PARTS).exists() and not overwrite:
        raise ValueError(
            f"{folder / there[0]} is there already; pass --overwrite to replace it, or another --out"
        )


def _found(values: Mapping[str, Any]) -> Counts | Track:
    if "asked" in values:
        return Track(**{**values, "asked": Asked(**values["asked"])})
    return Counts(**values)
