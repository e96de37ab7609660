"""Which files of a folder are its weights, and whether a file is whole: asked by the hub's cache and by every reader alike.

transformers' order: `model.safetensors`, its shards, `pytorch_model.bin`, its shards; then what other programs leave behind.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

NAMES = ("model.safetensors", "pytorch_model.bin")
INDEXES = tuple(f"{name}.index.json" for name in NAMES)
WEIGHT_FILES = ("*.safetensors", "*.bin", "*.pth", "*.pt")
NO_WEIGHTS = re.compile(
    r"(training_args|optimizer|scheduler|scaler|rng_state.*|random_states.*|tokenizer|mm_projector|non_lora_trainables|"
    r"adapter_model|.*_optim_states|.*_model_states)\.(bin|pth?|safetensors)|\..*"
)
"""what trainers leave beside a model, and parts of one that are no model; names that begin with a dot are half written"""
SHARD = re.compile(r"(.+)-(\d{5})-of-(\d{5})(\.\w+)")
POINTER = b"version https://git-lfs"
PAGE = re.compile(rb"(\xef\xbb\xbf)?\s*<(!doctype|html|head|\?xml|!--)", re.IGNORECASE)
HEAD = 512  # bytes that tell what a file is
SAFETENSORS_HEADER = 8  # bytes of its length


class WeightsError(ValueError):
    """The weights at a path are not what was asked for."""


@dataclass(frozen=True)
class Container:
    """Files that together hold the tensors of one model."""

    name: str
    """what it is called in messages: its file, or its index"""
    files: tuple[Path, ...]
    absent: tuple[str, ...] = ()
    """shards that belong to it and are not there"""
    promised: tuple[str, ...] = ()
    """tensors that its index names"""


def containers(folder: Path) -> list[Container]:
    """Every set of weights in the folder, the one that counts first; sets that are not whole come last.

    Raises WeightsError for an index that cannot be read.
    """
    found = list(_standard(folder))
    if all(one.absent for one in found):
        indexed = {file for one in found for file in one.files}
        found += _loose(folder, without=indexed)
    return sorted(found, key=lambda one: bool(one.absent))


def flaw(file: Path) -> str:
    """What the file is instead of what its name says: `empty`, `a git-lfs pointer`, `a web page`, `cut short`; else nothing."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        head = stream.read(HEAD)
    if not size:
        return "empty"
    if what := begins_as(head):
        return what
    cut = _is_cut_safetensors(head, size) if file.suffix == ".safetensors" else _is_cut_zip(file, head)
    if cut:
        return "cut short"
    if file.suffix in (".safetensors", ".bin", ".pth", ".pt", ".model") and _is_text(head):
        return f"a text ({head[:40].decode('ascii').strip()!r})"
    return ""


def begins_as(head: bytes) -> str:
    """What a download leaves in a file's place, by its first bytes: `a git-lfs pointer`, `a web page`; else nothing."""
    if head.startswith(POINTER):
        return "a git-lfs pointer (git lfs pull fetches the file)"
    return "a web page" if PAGE.match(head) else ""


def broken(file: Path, what: str) -> WeightsError:
    """The one line about a file that is not what it should be."""
    return WeightsError(f"{file}: {what}, {file.stat().st_size} bytes; fetch the file again")


def read_object(file: Path) -> dict[str, Any]:
    """A JSON object; a byte order mark is taken. Raises WeightsError with the path."""
    if what := flaw(file):
        raise broken(file, what)
    try:
        value = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{file}: not JSON ({error}); fetch the file again") from error
    if not isinstance(value, dict):
        raise WeightsError(f"{file}: expected a JSON object, found {type(value).__name__}")
    return value


def _standard(folder: Path) -> Iterator[Container]:
    for name in NAMES:
        if (folder / name).is_file():
            yield Container(name, (folder / name,))
        elif (folder / name).is_dir():  # what today's zero_to_fp32.py writes
            yield from containers(folder / name)
        if (folder / f"{name}.index.json").is_file():
            yield _indexed(folder / f"{name}.index.json")


def _indexed(index: Path) -> Container:
    entries = read_object(index).get("weight_map")
    if not isinstance(entries, dict) or not entries:
        raise WeightsError(f"{index}: no weight_map in this index; fetch the file again")
    if odd := [name for name in entries.values() if not isinstance(name, str) or Path(name).name != name]:
        raise WeightsError(f"{index}: shards are files beside it, not {odd[0]!r}; fetch the file again")
    files = tuple(index.parent / name for name in sorted(set(entries.values())))
    absent = tuple(file.name for file in files if not file.is_file())
    return Container(index.name, files, absent, tuple(entries))


def _loose(folder: Path, *, without: set[Path]) -> Iterator[Container]:
    """Shards without an index, and files of other names; all files of one kind together are a model."""
    for pattern in WEIGHT_FILES:
        named = [file for file in sorted(folder.glob(pattern)) if not NO_WEIGHTS.fullmatch(file.name)]
        files = [file for file in named if file.is_file() and file not in without]
        shards: dict[tuple[str, str, str], list[Path]] = defaultdict(list)
        for file in files:
            if match := SHARD.fullmatch(file.name):
                shards[match[1], match[3], match[4]].append(file)
        for (stem, total, ending), there in shards.items():
            names = [f"{stem}-{number + 1:05}-of-{total}{ending}" for number in range(int(total))]
            absent = tuple(sorted(set(names) - {file.name for file in there}))
            yield Container(there[0].name, tuple(there), absent)
        if single := tuple(file for file in files if not SHARD.fullmatch(file.name)):
            yield Container(single[0].name, single)


def _is_cut_safetensors(head: bytes, size: int) -> bool:
    if size <= SAFETENSORS_HEADER:
        return True
    length = int.from_bytes(head[:SAFETENSORS_HEADER], "little")
    return head[SAFETENSORS_HEADER : SAFETENSORS_HEADER + 1] == b"{" and length > size - SAFETENSORS_HEADER


def _is_cut_zip(file: Path, head: bytes) -> bool:
    return head.startswith(b"PK\x03\x04") and not is_zipfile(file)


def _is_text(head: bytes) -> bool:
    return all(byte in b"\t\r\n" or 32 <= byte < 127 for byte in head)
