"""Changes to good weights, one at a time: what downloads, exports and hand edits do to them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

State = dict[str, Tensor]
Mutation = Callable[[Path], None]
"""changes a folder of weights"""
BIN, ST, CONFIG, ADDED = "pytorch_model.bin", "model.safetensors", "config.json", "added_tokens.json"
HEAD_AND_EMBEDDING = ("lm_head.weight", "embed_tokens.weight")
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1\nsize 476\n"
PAGE = b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body></body></html>\n"


def state_of(folder: Path) -> State:
    """All tensors of a folder with pickles."""
    merged: State = {}
    for file in sorted(folder.glob("*.bin")) + sorted(folder.glob("*.pth")):
        merged |= torch.load(file)
    return merged


def to_one_file(folder: Path, name: str, state: State) -> None:
    """The folder's weights are replaced by one file; the name of a `.pth` is kept."""
    name = next((file.name for file in folder.glob("*.pth")), name)
    for pattern in ("*.bin", "*.index.json", "*.pth"):
        for file in folder.glob(pattern):
            file.unlink()
    plain = {key: tensor.clone() for key, tensor in state.items()}
    save_file(plain, folder / name) if name == ST else torch.save(plain, folder / name)


def tensors(change: Callable[[State], Any], *, name: str = BIN) -> Mutation:
    """Changes the tensors, which then lie in one file."""

    def mutate(folder: Path) -> None:
        state = state_of(folder)
        changed = change(state)
        to_one_file(folder, name, state if changed is None else changed)

    return mutate


def one(ending: str, change: Callable[[Tensor], Tensor]) -> Mutation:
    """Changes the tensor whose name ends so."""

    def change_it(state: State) -> None:
        name = next(name for name in state if name.endswith(ending))
        state[name] = change(state[name].clone())

    return tensors(change_it)


def poisoned(value: float) -> Callable[[Tensor], Tensor]:
    def poison(tensor: Tensor) -> Tensor:
        tensor.flatten()[-1] = value
        return tensor

    return poison


def renamed(pattern: str, new: str) -> Mutation:
    return tensors(lambda state: {name.replace(pattern, new): tensor for name, tensor in state.items()})


def prefixed(prefix: str) -> Mutation:
    return tensors(lambda state: {prefix + name: tensor for name, tensor in state.items()})


def without(ending: str) -> Mutation:
    return tensors(lambda state: {name: t for name, t in state.items() if not name.endswith(ending)})


def rows(ending: str, count: int) -> Mutation:
    """Fewer rows, or more of them filled with ones."""
    return one(
        ending,
        lambda t: t[:count] if count < len(t) else torch.cat([t, torch.ones(count - len(t), *t.shape[1:])]),
    )


def config(**values: Any) -> Mutation:
    """Sets keys of config.json; None removes a key."""

    def mutate(folder: Path) -> None:
        said = json.loads((folder / CONFIG).read_text()) | values
        kept = {key: value for key, value in said.items() if value is not None}
        (folder / CONFIG).write_text(json.dumps(kept))

    return mutate


def part_of_config(part: str, **values: Any) -> Mutation:
    def mutate(folder: Path) -> None:
        said = json.loads((folder / CONFIG).read_text())
        config(**{part: said.get(part, {}) | values})(folder)

    return mutate


def content(name: str, text: bytes) -> Mutation:
    """Replaces a file's bytes."""
    return lambda folder: (folder / name).write_bytes(text) and None


def cut(name: str, kept: float) -> Mutation:
    """Keeps the first part of a file."""

    def mutate(folder: Path) -> None:
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[: int(len(whole) * kept)])

    return mutate


def gone(name: str) -> Mutation:
    return lambda folder: (folder / name).unlink()


def saved(name: str, change: Callable[[State], Any]) -> Mutation:
    """A file beside the weights, made of their tensors."""

    def mutate(folder: Path) -> None:
        value = change(state_of(folder))
        save_file(value, folder / name) if name.endswith(ST) else torch.save(value, folder / name)

    return mutate


def both(*mutations: Mutation) -> Mutation:
    def mutate(folder: Path) -> None:
        for each in mutations:
            each(folder)

    return mutate
