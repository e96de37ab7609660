"""What is done of an evaluation, batch by batch, so that one that was killed goes on where it stopped.

FOLDER/about.json   what is asked, of which weights
FOLDER/<n>.json     the results of the batch that begins with sample n; its masks were written before
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
from seglm.utils import lock
from seglm.utils.atomic import write_atomic
from seglm.utils.encoding import read_json

ABOUT = "about.json"


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

    def read(self, numbers: range) -> list[Result] | None:
        """The results of a batch, None if it is not done."""
        file = self._file(numbers)
        if not file.is_file():
            return None
        lines = read_json(file)
        return [Result(Said(**line["said"]), _found(line["found"])) for line in lines]

    def write(self, numbers: range, results: Sequence[Result]) -> None:
        """The batch is done."""
        write_atomic(self._file(numbers), json.dumps([asdict(result) for result in results]))

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


def _found(values: Mapping[str, Any]) -> Counts | Track:
    if "asked" in values:
        return Track(**{**values, "asked": Asked(**values["asked"])})
    return Counts(**values)
