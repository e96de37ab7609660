"""Whether a score would be one on data the weights were trained on.

The manifest beside the weights lists what they were trained on; for released weights that have none, what their authors said.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

TRAIN = "train"
LISA_V1 = (
    "ReasonSeg|val",
    "its authors trained it on ReasonSeg train and val (dvlab-research/LISA, issue 56)",
)
RELEASED: Mapping[str, tuple[str, str]] = {
    "lisa-7b-v1": LISA_V1,
    "lisa-7b-v1-explanatory": LISA_V1,
    "lisa-13b-llama2-v1": LISA_V1,
    "lisa-13b-llama2-v1-explanatory": LISA_V1,
}
"""name of a released model in lower case -> (the split it has seen, who says so)"""


def leak(data: str, *, version: str, manifest: Mapping[str, Any]) -> str | None:
    """Why a score on `data` would be a score on training data, or None if nothing says so.

    data: e.g. `ReasonSeg|val`. A train split is never reported: its name says what it is. version: path or hub id of the weights.
    manifest: what lies beside them (`utils.manifest`), or empty; the names in its `data` are the sources trained on.
    """
    if data.lower().endswith(f"|{TRAIN}"):
        return None
    if data.lower() in {part for source in manifest.get("data", ()) for part in _parts(str(source).lower())}:
        return f"the manifest beside {version} lists {data} as training data"
    split, why = RELEASED.get(Path(version).name.lower(), ("", ""))
    return f"{Path(version).name}: {why}" if split.lower() == data.lower() else None


def refuse(reason: str) -> ValueError:
    """The error that keeps such a score from being written."""
    return ValueError(
        f"LEAK: {reason}; a score there is no validation score. Pass --allow_leak to compute it all the same"
    )


def _parts(source: str) -> list[str]:
    """The splits a source is made of: `reasonseg|train_val` is train and val."""
    name, _, split = source.rpartition("|")
    return [f"{name}|{part}" for part in split.split("_")]
