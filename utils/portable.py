"""The portable checkpoint: trained weights and what they are, free of any library.

A portable checkpoint is a folder with `model.safetensors` (trained weights by canonical name, float32) and `manifest.json`.
It is what merging, chatting, evaluating and `--init_from` read. What a run needs to go on is another thing: `training/saves.py`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seglm.utils.atomic import follow_umask, settle, write_folder
from seglm.utils.containers import WeightsError, broken, flaw, read_object

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS, MANIFEST = "model.safetensors", "manifest.json"
HASHED_AT_ONCE = 1 << 24  # bytes


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(HASHED_AT_ONCE):
            digest.update(block)
    return digest.hexdigest()


def is_finite(tensor: Tensor) -> bool:
    """True if no value is NaN or infinite. One pass that keeps nothing, for it looks at every weight of a 7B model."""
    import torch

    if not tensor.is_floating_point() or not tensor.numel() or tensor.is_meta:
        return True
    low, high = torch.aminmax(tensor.detach() if tensor.dtype.itemsize > 1 else tensor.detach().float())
    return bool(low.isfinite() & high.isfinite())


def refuse_not_finite(tensors: Mapping[str, Tensor], *, when: str) -> None:
    """Raises FloatingPointError that counts and names trained weights with NaN or infinity; when: e.g. `after step 3`."""
    if bad := [name for name, tensor in tensors.items() if not is_finite(tensor)]:
        raise FloatingPointError(
            f"{when}: {len(bad)} of {len(tensors)} trained weights hold NaN or infinity, the first is {bad[0]}; nothing was "
            "saved, the last checkpoint stands. Go on from it with a lower learning rate (--lr), or in bf16 instead of fp16"
        )


def save_portable(folder: Path | str, tensors: Mapping[str, Tensor], manifest: Mapping[str, Any]) -> None:
    """Writes weights and manifest, and into the manifest under `weights` what proves that they belong together.

    tensors: by canonical name, on any device. manifest: anything JSON takes.
    Raises ValueError for an empty set of weights, FloatingPointError for weights that are not finite.
    """
    from safetensors.torch import save_file

    if not tensors:
        raise ValueError(
            f"{folder}: a portable checkpoint without weights says nothing; was anything trained?"
        )

    refuse_not_finite(tensors, when=str(folder))

    def fill(fresh: Path) -> None:
        # "format" is what transformers asks a safetensors file for.
        whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        save_file(whole, fresh / WEIGHTS, metadata={"format": "pt"})
        follow_umask(fresh / WEIGHTS)
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
    proof = read_object(manifest).get("weights")
    return isinstance(proof, dict) and "sha256" in proof


def step_of(folder: Path | str) -> int | None:
    """The optimizer step whose weights a portable checkpoint of a run holds; None if there is none."""
    return int(read_object(Path(folder) / MANIFEST).get("step", 0)) if is_portable(folder) else None


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
    manifest = read_object(folder / MANIFEST)
    if what := flaw(folder / WEIGHTS):
        raise broken(folder / WEIGHTS, what)
    proof = manifest.get("weights")
    wanted, found = proof.get("sha256") if isinstance(proof, dict) else None, sha256(folder / WEIGHTS)
    if wanted != found:
        raise WeightsError(
            f"{folder / WEIGHTS} has sha256 {found[:12]}, its manifest says {str(wanted)[:12]}: "
            "the file was changed or copied in part; copy the folder again"
        )
    return load_file(folder / WEIGHTS), manifest
