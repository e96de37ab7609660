"""Tensors on disk, whatever their container: safetensors, `.bin`/`.pth` pickles of tensors, shards with or without an index.

Nothing but tensors is ever unpickled (`weights_only=True`), and files are memory-mapped where their format allows it, so that
looking at the names of a 26 GB checkpoint reads a few kilobytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import is_zipfile

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from seglm.model.released.errors import WeightsError

INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
SINGLES = ("model.safetensors", "pytorch_model.bin")
PICKLED = (".bin", ".pth", ".pt")


def weight_files(path: str | Path) -> tuple[Path, ...]:
    """The files that together hold the tensors at `path`, a file or a folder.

    A folder is read by its index if it has one, else by its single file, else by all its `.safetensors` or `.bin` files; a
    *folder* called `pytorch_model.bin` is what today's `zero_to_fp32.py` writes. Raises WeightsError for a folder without
    weights and for shards that an index names and that are not there.
    """
    path = Path(path)
    if path.is_file():
        return (path,)
    if not path.is_dir():
        raise WeightsError(
            f"{path}: no such file or folder; give a weights file, a folder that holds one, or a hub id"
        )
    for name in INDEXES:
        if (path / name).is_file():
            return _indexed(path / name)
    for name in SINGLES:
        if (path / name).is_file():
            return (path / name,)
        if (path / name).is_dir():
            return weight_files(path / name)
    for pattern in ("*.safetensors", "*.bin", "*.pth"):
        if files := tuple(sorted(path.glob(pattern))):
            return files
    _refuse_run(path)
    inside = ", ".join(sorted(entry.name for entry in path.iterdir())[:12]) or "nothing"
    raise WeightsError(
        f"{path}: no weights in this folder (looked for {', '.join(SINGLES)}, shards, *.pth); it holds {inside}"
    )


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """All tensors at `path` (see `weight_files`) on the CPU, names as they are in the files.

    Raises WeightsError for a file that is not a flat dictionary of tensors and for a name that stands in two shards.
    """
    tensors: dict[str, Tensor] = {}
    for file in weight_files(path):
        part = _read_file(file)
        if twice := sorted(tensors.keys() & part.keys()):
            raise WeightsError(
                f"{file}: {twice[:3]} stand in an earlier shard as well; remove the stale shards of another save"
            )
        tensors |= part
    return tensors


def shapes(path: str | Path) -> dict[str, tuple[int, ...]]:
    """Name -> shape of all tensors at `path`, without reading their values where the format allows it."""
    found: dict[str, tuple[int, ...]] = {}
    for file in weight_files(path):
        if file.suffix == ".safetensors":
            with _open_safetensors(file) as handle:
                found |= {name: tuple(handle.get_slice(name).get_shape()) for name in handle.keys()}  # noqa: SIM118
        else:
            found |= {name: tuple(tensor.shape) for name, tensor in _read_file(file).items()}
    return found


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. Raises WeightsError with the path if it is malformed."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise WeightsError(f"{path}: not JSON ({error}); fetch the file again") from error
    if not isinstance(value, dict):
        raise WeightsError(f"{path}: expected a JSON object, found {type(value).__name__}")
    return value


def config_of(path: str | Path) -> dict[str, Any]:
    """`config.json` beside the weights at `path`, or an empty dictionary."""
    path = Path(path)
    file = (path if path.is_dir() else path.parent) / "config.json"
    return read_json(file) if file.is_file() else {}


def called(path: str | Path) -> str:
    """What a folder of weights is called: its own name, or the repository's if it lies in the Hugging Face cache."""
    for part in reversed(Path(path).parts):
        if part.startswith("models--"):
            return part.split("--")[-1]
    return Path(path).name


def _refuse_run(path: Path) -> None:
    """Raises WeightsError for the folders of a run that hold weights further down, or only for DeepSpeed."""
    if (path / "portable").is_dir():
        raise WeightsError(f"{path}: the folder of a run; its trained weights are {path / 'portable'}")
    if (path / "latest").is_file() or (path / "zero_to_fp32.py").is_file():
        raise WeightsError(
            f"{path}: DeepSpeed's own checkpoint; give the portable one beside it ({path.parent / 'portable'}), or consolidate: "
            f"cd {path} && python zero_to_fp32.py . ../pytorch_model.bin"
        )


def _indexed(index: Path) -> tuple[Path, ...]:
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise WeightsError(f"{index}: no weight_map in this index; fetch the file again")
    files = tuple(index.parent / name for name in sorted(set(weight_map.values())))
    if absent := [file.name for file in files if not file.is_file()]:
        raise WeightsError(
            f"{index.parent}: {index.name} names shards that are not there: {', '.join(absent)}; fetch them again"
        )
    return files


def _open_safetensors(file: Path) -> Any:
    try:
        return safe_open(str(file), framework="pt")
    except SafetensorError as error:
        raise WeightsError(
            f"{file}: not a readable safetensors file ({error}); it may be incomplete, fetch it again"
        ) from error


def _read_file(file: Path) -> dict[str, Tensor]:
    if file.suffix == ".safetensors":
        with _open_safetensors(file) as handle:
            return {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
    if file.suffix not in PICKLED:
        raise WeightsError(
            f"{file}: unknown kind of weights file; known are .safetensors {' '.join(PICKLED)}"
        )
    return _flat(_unpickle(file), file)


def _unpickle(file: Path) -> object:
    try:
        return torch.load(file, map_location="cpu", weights_only=True, mmap=is_zipfile(file))
    except (UnpicklingError, RuntimeError, EOFError) as error:
        raise WeightsError(
            f"{file}: cannot be read as tensors alone ({str(error).splitlines()[0]}); "
            "it is incomplete, or it holds more than weights: save it again as a plain state dict"
        ) from error


def _flat(value: object, file: Path) -> dict[str, Tensor]:
    for wrapper in ("state_dict", "module", "model"):
        if isinstance(value, Mapping) and isinstance(value.get(wrapper), Mapping):
            value = value[wrapper]
    if not isinstance(value, Mapping):
        raise WeightsError(f"{file}: expected a dictionary of tensors, found {type(value).__name__}")
    if odd := [str(name) for name, tensor in value.items() if not isinstance(tensor, Tensor)]:
        raise WeightsError(f"{file}: not tensors: {', '.join(odd[:5])}; save the state dict alone")
    return dict(value)
