"""What becomes of damaged records: `python -m tests.dataset.malformed`, two JSON lines a case.

A process of its own, with a limit of time for each case and of memory for all: what hangs or crashes kills it, and the last line
that it began says where.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from seglm.dataset.check import check_source
from seglm.dataset.pipeline import clip
from seglm.dataset.sources import open_source
from tests.dataset.damaged_videos import WITHOUT
from tests.dataset.damages import SETS, cases
from tests.dataset.mini import ONE, copy_of

SECONDS = 10
BYTES = 2**30  # beyond what is taken after the imports


def outcome(spec: str, root: Path) -> tuple[list[str], str]:
    """The faults that the check finds; and, where there are none, a digest of everything that is read."""
    found = check_source(spec, root, share=1)
    if found.faults:
        return found.faults, ""
    read = hashlib.sha256()
    source = open_source(spec, root)
    for number in range(len(source)):
        one = clip(source.sample(number), frames=ONE)
        said = [
            (target.texts, target.kinds, target.key, target.keys, target.is_sentence, target.kind)
            for target in one.targets
        ]
        read.update(repr((one.key, one.size, one.turns, said, found.notes)).encode("utf-8", "replace"))
        for pixels in (*one.seen, *one.masks, *([] if one.ignore is None else [one.ignore])):
            read.update(pixels.tobytes())
    return [], read.hexdigest()


def limited() -> None:
    """No more memory for data than BYTES beyond what is taken now; only Linux counts it."""
    import resource  # not there on Windows, where the tests that only list the cases run, too

    status = Path("/proc/self/status")
    if status.exists():
        taken = next(line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmData"))
        resource.setrlimit(resource.RLIMIT_DATA, (int(taken) * 1024 + BYTES,) * 2)


def main() -> None:
    """Two lines a case: its name as it begins, then what came of it."""
    limited()
    with tempfile.TemporaryDirectory() as folder:
        roots = {reader: copy_of(mini, Path(folder) / reader) for reader, (mini, _) in SETS.items()}
        for reader, place in WITHOUT.items():
            (roots[reader] / place).rename(roots[reader] / "away")
        good = {reader: outcome(spec, roots[reader]) for reader, (_, spec) in SETS.items()}
        for case in cases():
            sys.stdout.write(json.dumps({"begins": case.name}) + "\n")
            sys.stdout.flush()
            signal.alarm(SECONDS)
            file = roots[case.reader] / case.file
            kept = file.with_name("kept")
            shutil.copy(file, kept)
            try:
                file.write_bytes(case.damage(kept.read_bytes()))
                faults, read = outcome(SETS[case.reader][1], roots[case.reader])
                result = {"faults": faults[:3], "same": not faults and read == good[case.reader][1]}
            except Exception as error:  # noqa: BLE001 -- which ones get out is what the table is about
                result = {"error": f"{type(error).__name__}: {error}"[:500]}
            kept.replace(file)
            sys.stdout.write(json.dumps({"name": case.name, **result}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
