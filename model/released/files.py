"""Tensors on disk, whatever their container: safetensors, `.bin`/`.pth` pickles of tensors, shards with or without an index.

Nothing but tensors is ever unpickled (`weights_only=True`), and files are memory-mapped where their format allows it, so that
looking at the names of a 26 GB checkpoint reads a few kilobytes.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from zipfile import is_zipfile

from safetensors import safe_open

from seglm.model.released.errors import WeightsError
from seglm.utils.containers import Container, broken, containers, flaw, read_object

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)
PICKLED = (".bin", ".pth", ".pt")
WRAPPERS = ("module.", "_orig_mod.", "_forward_module.")
"""what DistributedDataParallel, torch.compile and DeepSpeed put before every name"""
INERT = ("mmengine.", "numpy.")
"""whose objects may lie beside the tensors of a file: mmengine's history of losses. None of their code is run"""
COMPARED = 4096  # elements of each tensor, spread over it and at its end, that two sets of weights in one folder must share
Value = TypeVar("Value")


def weight_files(path: str | Path) -> tuple[Path, ...]:
    """The files that together hold the tensors at `path`, a file or a folder (`utils/containers.py` says which of it count).

    Raises WeightsError for a folder without weights and for shards that are not there.
    """
    return _container(Path(path)).files


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """All tensors at `path` (see `weight_files`) on the CPU; a prefix that every name has (WRAPPERS) is taken off, and said.

    Raises WeightsError for a file that is not whole or not a flat dictionary of tensors, for a name that stands in two shards,
    and for a folder that holds a second set of weights with other values.
    """
    path = Path(path)
    chosen = _container(path)
    tensors = _tensors(chosen)
    if lost := [name for name in chosen.promised if name not in tensors]:
        raise WeightsError(
            f"{path / chosen.name}: {len(lost)} tensors of this index are in none of its shards, e.g. {lost[0]}; fetch them again"
        )
    for other in _others(path):
        _same_weights(path, chosen, tensors, other)
    return bare(tensors, path)


def shapes(path: str | Path) -> dict[str, tuple[int, ...]]:
    """Name -> shape of all tensors at `path`, without reading their values where the format allows it."""
    found: dict[str, tuple[int, ...]] = {}
    for file in weight_files(path):
        if file.suffix == ".safetensors":
            found |= _safetensors(file, shapes_only=True)
        else:
            found |= {name: tuple(tensor.shape) for name, tensor in _read_file(file).items()}
    return bare(found, Path(path))


def bare(tensors: dict[str, Value], path: Path) -> dict[str, Value]:
    """The same without a prefix that all names share. Raises WeightsError if there is nothing."""
    if not tensors:
        raise WeightsError(
            f"{path}: no tensor in these weights; was the training stopped before its first checkpoint?"
        )
    taken = ""
    while wrapper := next((one for one in WRAPPERS if all(name.startswith(one) for name in tensors)), ""):
        tensors = {name.removeprefix(wrapper): value for name, value in tensors.items()}
        taken += wrapper
    if taken:
        log.info("%s: every name begins with %s, which is taken off", path, taken)
    return tensors


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. Raises WeightsError with the path if it is malformed."""
    return read_object(path)


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
    if any(path.glob("*_model_states.pt")):
        raise WeightsError(
            f"{path}: one save of DeepSpeed's own (mmengine calls it iter_N.pth, though it is a folder); consolidate it: "
            f"python -m deepspeed.utils.zero_to_fp32 {path.parent} {path.parent / 'consolidated'} -t {path.name}"
        )


def _container(path: Path) -> Container:
    if path.is_file():
        return Container(path.name, (path,))
    if not path.is_dir():
        raise WeightsError(
            f"{path}: no such file or folder; give a weights file, a folder that holds one, or a hub id"
        )
    for one in containers(path):
        if one.absent:
            raise WeightsError(
                f"{path}: {one.name} names shards that are not there: {', '.join(one.absent)}; fetch them again"
            )
        return one
    _refuse_run(path)
    inside = ", ".join(sorted(entry.name for entry in path.iterdir())[:12]) or "nothing"
    raise WeightsError(
        f"{path}: no weights in this folder (looked for model.safetensors, pytorch_model.bin, shards, *.pth); it holds {inside}"
    )


def _others(path: Path) -> list[Container]:
    """The whole sets of weights that a folder holds besides the one that counts."""
    return [one for one in containers(path)[1:] if not one.absent] if path.is_dir() else []


def _same_weights(path: Path, chosen: Container, tensors: Mapping[str, Tensor], other: Container) -> None:
    theirs = _tensors(other)
    shared = [name for name in theirs if name in tensors]
    apart = next((name for name in shared if not _alike(tensors[name], theirs[name])), None)
    if apart is not None or not shared:
        what = f"{apart} differs" if apart is not None else "they share no tensor"
        raise WeightsError(
            f"{path}: two sets of weights that are not the same, {chosen.name} and {other.name} ({what}); "
            "move the one away that is not meant"
        )


def _alike(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are the same as far as a sample of their elements and their last ones tell."""
    import torch

    if one.shape != other.shape:
        return False
    narrow = min(one.dtype, other.dtype, key=lambda dtype: dtype.itemsize)
    step = max(1, one.numel() // COMPARED)
    for part in (slice(None, None, step), slice(-COMPARED, None)):
        left, right = (tensor.flatten()[part].to(narrow) for tensor in (one, other))
        if not torch.equal(left, right):
            return False
    return True


def _tensors(container: Container) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for file in container.files:
        part = _read_file(file)
        if twice := sorted(tensors.keys() & part.keys()):
            raise WeightsError(
                f"{file}: {twice[:3]} stand in an earlier shard as well; remove the stale shards of another save"
            )
        tensors |= part
    return tensors


def _read_file(file: Path) -> dict[str, Tensor]:
    if file.suffix == ".safetensors":
        return _safetensors(file)
    if file.suffix not in PICKLED:
        raise WeightsError(
            f"{file}: unknown kind of weights file; known are .safetensors {' '.join(PICKLED)}"
        )
    return _flat(_unpickle(file), file)


def _safetensors(file: Path, *, shapes_only: bool = False) -> dict[str, Any]:
    """Name -> tensor, or shape."""
    _whole(file)
    try:
        with safe_open(str(file), framework="pt") as handle:
            if shapes_only:
                return {name: tuple(handle.get_slice(name).get_shape()) for name in handle.keys()}  # noqa: SIM118
            return {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
    except Exception as error:  # whatever a parser says of broken bytes
        cut = "incomplete" in str(error).lower()
        what = "cut short" if cut else f"not a readable safetensors file ({_first_line(error)})"
        raise broken(file, what) from error


class _Nothing:
    """Stands for an object of INERT's code while a pickle is read: it takes what it is given, and does and keeps nothing."""

    def __new__(cls, *arguments: object) -> _Nothing:
        return super().__new__(cls)

    def __setstate__(self, state: object) -> None:
        """Forgets it."""


def _unpickle(file: Path) -> object:
    import torch

    _whole(file)
    inert: list[Any] = []  # (what stands for it, its name)
    while True:
        try:
            with torch.serialization.safe_globals(inert):
                return torch.load(file, map_location="cpu", weights_only=True, mmap=is_zipfile(file))
        except Exception as error:  # whatever an unpickler says of broken bytes
            if isinstance(error, EOFError) or "truncated" in str(error) or "unexpected EOF" in str(error):
                raise broken(file, "cut short") from error
            code = re.search(r"GLOBAL (\S+)", str(error))
            if code and code[1].startswith(INERT) and code[1] not in {name for _, name in inert}:
                inert.append((_Nothing, code[1]))
                continue
            what = (
                f"it holds {code[1]}, which is code and not a tensor"
                if code
                else "its bytes are no state dict"
            )
            raise WeightsError(
                f"{file}: cannot be read as tensors alone ({what}); save it again as a plain state dict, or fetch it again"
            ) from error


def _whole(file: Path) -> None:
    try:
        what = flaw(file)
    except OSError as error:
        raise WeightsError(f"{file}: cannot be opened ({error.strerror}); look at its rights") from error
    if what:
        raise broken(file, what)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].split(". ")[0]


def _flat(value: object, file: Path) -> dict[str, Tensor]:
    for wrapper in ("state_dict", "module", "model"):
        if isinstance(value, Mapping) and isinstance(value.get(wrapper), Mapping):
            value = value[wrapper]
    if not isinstance(value, Mapping):
        raise WeightsError(f"{file}: expected a dictionary of tensors, found {type(value).__name__}")
    if odd := [str(name) for name, tensor in value.items() if not _is_plain(name, tensor)]:
        raise WeightsError(
            f"{file}: not plain tensors by name: {', '.join(odd[:5])}; save the state dict alone"
        )
    return dict(value)


def _is_plain(name: object, tensor: object) -> bool:
    """A dense, unquantised tensor of real numbers under a name."""
    import torch
    from torch import Tensor

    if not isinstance(name, str) or not isinstance(tensor, Tensor):
        return False
    return tensor.layout == torch.strided and not (
        tensor.is_quantized or tensor.is_complex() or tensor.is_meta
    )
