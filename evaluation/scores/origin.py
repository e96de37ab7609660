"""Whose answers lie in a folder: origin.json beside them, so that whoever scores them later scores them as what they are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, get_args

from seglm.evaluation.scores.files import MASKS
from seglm.evaluation.scores.results import Scores, notes
from seglm.model.settings import Protocol
from seglm.utils.atomic import write_atomic
from seglm.utils.encoding import read_json

ORIGIN = "origin.json"


@dataclass(frozen=True)
class Origin:
    """Which weights gave the answers, and how."""

    weights: str
    """path or hub id, as it was given, and where it was found"""
    about: Mapping[str, Any]
    """by which the same evaluation is known again: `weights` (size and time of each file), `recipe`, `benchmark`, `data`, and of
    expressions `protocol`"""
    leak: str = ""
    """why a score is one on data that the weights were trained on; empty where nothing says so"""

    @property
    def protocol(self) -> Protocol:
        """How the answers were made."""
        protocol: Protocol = self.about.get("protocol", "generate")
        return protocol

    @property
    def notes(self) -> list[str]:
        """Lines that say so below a table."""
        return notes(self.weights, self.about["weights"], self.leak)

    def mark(self, scores: Scores) -> Scores:
        """The same scores, which say whose they are."""
        return replace(scores, weights=self.weights, fingerprint=self.about["weights"], leak=self.leak)


def write_origin(folder: Path, origin: Origin | None) -> None:
    """Writes ORIGIN; None: whose the answers are is not known, and one that is there was of others."""
    if origin is None:
        (folder / ORIGIN).unlink(missing_ok=True)
    else:
        write_atomic(folder / ORIGIN, json.dumps(asdict(origin), indent=1) + "\n")


def read_origin(place: Path) -> Origin | None:
    """Whose the answers in a folder, or in its folder of masks, are; None for another program's.

    Raises ValueError if the file is damaged.
    """
    file = (place.parent if place.name == MASKS else place) / ORIGIN
    if not file.is_file():
        return None
    try:
        origin = Origin(**read_json(file))
        if origin.protocol not in get_args(Protocol) or not isinstance(origin.about["weights"], dict):
            raise ValueError(f"protocol {origin.protocol!r}, permitted are {', '.join(get_args(Protocol))}")
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise ValueError(
            f"{file}: this does not say whose the answers beside it are ({error}); ask again, or remove the file if they are "
            "another program's"
        ) from error
    return origin
