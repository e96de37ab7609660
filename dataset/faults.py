"""What is raised when a data set is not what it should be."""

from __future__ import annotations

from pathlib import Path


class Fault(RuntimeError):
    """A missing or malformed file; the message begins with the sample's key and names the file.

    Made of one string, so that it survives the way out of a loader's worker.
    """


class Missing(Fault):
    """A whole file or folder of a data set is not there."""


def fault(key: str, path: Path | str, what: str) -> Fault:
    """The error for a sample: `key: what (path)`."""
    return Fault(f"{key}: {what} ({path}); `python -m seglm.dataset.check` lists every such sample")
