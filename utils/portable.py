"""The portable checkpoint: trained weights and what they are, free of any library.

A portable checkpoint is a folder with `model.safetensors` (trained weights by canonical name, float32) and `manifest.json`.
It is what merging, chatting, evaluating and `--init_from` read. What a run needs to go on is another thing: `training/saves.py`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from seglm.utils.atomic import settle, write_folder

WEIGHTS, MANIFEST = "model.safetensors", "manifest.json"
HASHED_AT_ONCE = 1 << 24  # bytes


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(HASHED_AT_ONCE):
            digest.update(block)
    return digest.hexdigest()


def save_portable(folder: Path | str, tensors: Mapping[str, Tensor], manifest: Mapping[str, Any]) -> None:
    """Writes weights and manifest, and into the manifest under `weights` what proves that they belong together.

    tensors: by canonical name, on any device. manifest: anything JSON takes.
    Raises ValueError for an empty set of weights.
    """
    from safetensors.torch import save_file

    if not tensors:
        raise ValueError(
            f"{folder}: a portable checkpoint without weights says nothing; was anything trained?"
        )

    def fill(fresh: Path) -> None:
        # "format" is what transformers asks a safetensors file for.
        whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        save_file(whole, fresh / WEIGHTS, metadata={"format": "pt"})
        proof = {"file": WEIGHTS, "sha256": sha256(fresh / WEIGHTS), "tensors": len(whole)}
        text = json.dumps({**manifest, "weights": proof}, indent=1, ensure_ascii=True)
        (fresh / MANIFEST).write_text(text + "\n", encoding="utf-8")

    write_folder(Path(folder), fill)


def is_portable(folder: Path | str) -> bool:
    """Whether `read_portable` is the one to read this folder."""
    settle(Path(folder))
    manifest = Path(folder) / MANIFEST
    if not (manifest.is_file() and (Path(folder) / WEIGHTS).is_file()):
        return False
    return "sha256" in json.loads(manifest.read_text(encoding="utf-8")).get("weights", {})


def read_portable(folder: Path | str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """(weights by canonical name, manifest).

    Raises FileNotFoundError for a missing part and ValueError for weights that are not those of the manifest.
    """
    from safetensors.torch import load_file

    folder = Path(folder)
    settle(folder)
    for name in (MANIFEST, WEIGHTS):
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"{folder} is no portable checkpoint: {name} is missing; a run keeps it in runs/<exp_name>/portable"
            )
    manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    wanted, found = manifest.get("weights", {}).get("sha256"), sha256(folder / WEIGHTS)
    if wanted != found:
        raise ValueError(
            f"{folder / WEIGHTS} has sha256 {found[:12]}, its manifest says {str(wanted)[:12]}: "
            "the file was changed or copied in part; copy the folder again"
        )
    return load_file(folder / WEIGHTS), manifest
