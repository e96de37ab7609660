"""What a checkpoint says about how it came about: recipe, data, bases, commit, versions, what was trained.

Two runs whose manifests agree in `data` saw the same samples; two models whose manifests agree in `bases` started from
the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from seglm.utils.atomic import write_atomic
from seglm.utils.containers import containers

FORMAT = 1
"""raised when a field changes its meaning"""
PACKAGES = (
    "torch",
    "transformers",
    "peft",
    "deepspeed",
    "tokenizers",
    "segment-anything",
    "safetensors",
    "numpy",
)
WHOLE = (
    64 << 20
)  # bytes; larger files are hashed in samples, a 14 GB model in half a second instead of half a minute
PIECE, PIECES = 1 << 20, 16


def manifest(
    *,
    recipe: str,
    system: str,
    resolved: Mapping[str, Any],
    bases: Mapping[str, str | Path] | None = None,
    data: Mapping[str, Mapping[str, Any]] | None = None,
    trainable: Sequence[Mapping[str, Any]] = (),
    **more: Any,
) -> dict[str, Any]:
    """The manifest as plain JSON values.

    resolved: the whole configuration. bases: role -> path of the weights that were read. data: source -> `describe_ids(...)`.
    trainable: rows of the trainable table. more: whatever else the writer knows, e.g. step=500, scores={...}.
    """
    return {
        "format": FORMAT,
        "recipe": recipe,
        "system": system,
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "versions": versions(),
        "bases": {role: weights_entry(path) for role, path in (bases or {}).items()},
        "data": {source: dict(entry) for source, entry in (data or {}).items()},
        "trainable": [dict(row) for row in trainable],
        "resolved": dict(resolved),
        **more,
    }


def write_manifest(path: Path, content: Mapping[str, Any]) -> None:
    """Writes JSON; a reader never sees half of it."""
    write_atomic(path, json.dumps(content, indent=1) + "\n")


def describe_ids(ids: Iterable[str]) -> dict[str, Any]:
    """Number and hash of a source's sample keys, in their order; the hash changes with any key, split or order."""
    digest, count = hashlib.sha256(), 0
    for key in ids:
        digest.update(key.encode() + b"\n")
        count += 1
    return {"samples": count, "ids": digest.hexdigest()}


def weights_entry(path: str | Path) -> dict[str, Any]:
    """Path and fingerprints of the weight files at `path`, a file or a folder; an entry without files if it is not local."""
    place = Path(path)
    files = (place,) if place.is_file() else next((one.files for one in containers(place)), ())
    return {"path": str(path), "files": {file.name: fingerprint(file) for file in files}}


def fingerprint(file: Path) -> str:
    """`sha256:...` of a small file; of a large one `sampled:...`, over its size and 16 evenly spaced MiB."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        if size <= WHOLE:
            return "sha256:" + hashlib.file_digest(stream, "sha256").hexdigest()
        digest = hashlib.sha256(str(size).encode())
        for piece in range(PIECES):
            stream.seek((size - PIECE) * piece // (PIECES - 1))
            digest.update(stream.read(PIECE))
    return "sampled:" + digest.hexdigest()


def commit() -> str:
    """The checkout's git commit, with `+changes` if files differ from it; empty outside a checkout, also where SegLM is installed
    somewhere in another one."""
    root = Path(__file__).resolve().parent.parent
    try:
        if not root.samefile(_git(root, "rev-parse", "--show-toplevel")):
            return ""
        head = _git(root, "rev-parse", "HEAD")
        return head + ("+changes" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def versions() -> dict[str, str]:
    """Installed versions of what numbers depend on."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout.strip()
