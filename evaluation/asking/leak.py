"""Whether a score would be one on data the weights were trained on.

The manifest beside the weights lists what they were trained on, and what those were that the training began with; for released
weights that have none, what their authors said.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seglm.dataset.sources import describe, loaders
from seglm.evaluation.asking.benchmark import benchmark

log = logging.getLogger(__name__)

LISA_V1 = (
    "ReasonSeg|val",
    "its authors trained it on ReasonSeg train and val (dvlab-research/LISA, issue 56)",
)
VIDEOLISA = (
    "mevis|valid_u",
    "its code trains on MeViS train and valid_u (showlab/VideoLISA at 146f2bc)",
)
RELEASED: Mapping[str, tuple[str, str]] = {
    "lisa-7b-v1": LISA_V1,
    "lisa-7b-v1-explanatory": LISA_V1,
    "lisa-13b-llama2-v1": LISA_V1,
    "lisa-13b-llama2-v1-explanatory": LISA_V1,
    "videolisa-3.8b": VIDEOLISA,
}
"""name of a released model in lower case -> (the split it has seen, who says so)"""


def refuse_leak(spec: str, *, version: str | None, manifest: Mapping[str, Any], allow: bool) -> str:
    """Stops a score on training data from being written, or warns of it if it is allowed and returns why it is none.

    spec, version, manifest: see `leak`. Raises ValueError that names the flag by which it is computed all the same.
    """
    reason = leak(spec, version=version, manifest=manifest)
    if reason and not allow:
        raise ValueError(
            f"LEAK: {reason}; a score there is no validation score. Pass --allow_leak to compute it all the same"
        )
    if reason:
        log.warning("LEAK: %s; this is no validation score", reason)
    return reason or ""


def leak(spec: str, *, version: str | None, manifest: Mapping[str, Any]) -> str | None:
    """Why a score on a benchmark would be a score on training data, or None if nothing says so.

    spec: e.g. `ReasonSeg|val`, or `my_qa|val` of what is answered in words; a split that is called train is no exception.
    version: path or hub id of the weights; None: of a training that is about to begin. manifest: what lies beside them
    (`utils.manifest`), or empty; the names in its `data` are the sources trained on.
    """
    wanted = _parts(_data(spec))
    return next((why for source, why in seen(version, manifest).items() if wanted & _parts(source)), None)


def seen(version: str | None, manifest: Mapping[str, Any]) -> dict[str, str]:
    """Every source that the weights have seen -> how that is known; see `leak`.

    A training writes that of the weights it begins with into its own manifest, as `before`.
    """
    about = "this training" if version is None else _name(version)
    listed = "this training has" if version is None else f"the manifest beside {version} lists"
    split, why = RELEASED.get(about.lower(), ("", ""))
    return {
        **{source: f"{about} began with others: {how}" for source, how in manifest.get("before", {}).items()},
        **({split: f"{about}: {why}"} if split else {}),
        **{source: f"{listed} {source} as training data" for source in manifest.get("data", ())},
    }


def _name(version: str) -> str:
    """What weights are called, also those that lie in the hub's cache: `models--xinlai--LISA-7B-v1/snapshots/0a1b2c`."""
    cached = [part for part in Path(version).parts if part.startswith("models--")]
    return cached[-1].rpartition("--")[2] if cached else Path(version).name


def _data(spec: str) -> str:
    """What `open_source` opens; a data set without expressions is no benchmark, and has its own names of splits."""
    known = loaders().get(spec.partition("|")[0].strip().lower())
    if known is None or known.DESCRIPTION.scored is not None:
        return benchmark(spec).data
    about, split = describe(spec)
    return f"{about.name}|{split}"


def _parts(source: str) -> set[str]:
    """The splits that a source has pictures of, in lower case: those of `reasonseg|train_val` are train's and val's, and a
    release has those of its set, `mevis|v2|valid_u` those of `mevis|valid_u`.
    """
    name, _, split = source.lower().partition("|")
    maker, _, last = split.rpartition("|")
    known = loaders().get(name)
    if known is None:
        return {source.lower()}
    about, parts = known.DESCRIPTION, last.split("_")
    before = f"{maker}|" if maker and maker not in about.releases else ""
    is_made_of = set(parts) <= {one.lower() for one in about.splits}
    return {f"{about.name}|{before}{part}".lower() for part in (parts if is_made_of else [last])}
