"""Which weights are trained: by exact canonical module path, proven to be a partition, printed as a table.

Substring rules are how released systems came to train what nobody meant to train (and to freeze what should have been): here
a path that matches nothing is an error, and every parameter stands in exactly one row of the table.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from seglm.model.names import canonical
from seglm.model.settings import Lora, Trainable

if TYPE_CHECKING:
    from torch import nn

Kind = Literal["lora", "full", "frozen"]
LORA_MARK = ".lora_"
LAYERS = "llm.layers"  # trained in full at a rank below 0


@dataclass(frozen=True)
class Row:
    """One line of the table: a group of parameters with one fate."""

    path: str
    kind: Kind
    tensors: int
    parameters: int


@dataclass(frozen=True)
class Table:
    """The partition of all parameters, and the canonical names of the trained ones in module order."""

    rows: tuple[Row, ...]
    trained: tuple[str, ...]

    @property
    def trained_parameters(self) -> int:
        return sum(row.parameters for row in self.rows if row.kind != "frozen")

    def __str__(self) -> str:
        total = sum(row.parameters for row in self.rows)
        lines = [
            f"{row.kind:<7}{row.path:<36}{row.tensors:>6} tensors {row.parameters:>14,} parameters"
            for row in self.rows
        ]
        share = 100 * self.trained_parameters / max(total, 1)
        return "\n".join([*lines, f"trained {self.trained_parameters:,} of {total:,} ({share:.2f} %)"])


def add_lora(llm: nn.Module, lora: Lora) -> None:
    """Injects peft's adapters into the named linear layers of every decoder layer of the LLM, and nowhere else.

    Raises ValueError if a target matches no layer, or has fewer rows or columns than the rank. Rank 0 adds nothing, nor does a
    rank below 0 (full training).
    """
    from torch import nn

    if lora.r <= 0:
        return
    from peft import LoraConfig, inject_adapter_in_model

    layers = r"model\.layers\.\d+\.(self_attn|mlp)\."
    most = {
        name.rsplit(".", 1)[-1]: min(part.in_features, part.out_features)
        for name, part in llm.named_modules()
        if isinstance(part, nn.Linear) and re.match(layers, name)
    }
    unknown = set(lora.targets) - most.keys()
    if unknown:
        raise ValueError(
            f"LoRA targets {sorted(unknown)} match no linear layer inside the LLM's layers; those have {sorted(most)}"
        )
    narrow = min(lora.targets, key=most.__getitem__)
    if lora.r > most[narrow]:
        raise ValueError(
            f"trainable.lora.r (--lora_r)={lora.r}: no matrix of {narrow} has a higher rank than {most[narrow]}; permitted are "
            f"numbers up to {most[narrow]}"
        )
    targets = "|".join(lora.targets)
    config = LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=f"{layers}({targets})",
    )
    inject_adapter_in_model(config, llm)


def apply(model: nn.Module, trainable: Trainable) -> Table:
    """Sets `requires_grad` of every parameter and makes the trained ones float32.

    Raises ValueError for a path that names no parameter, with the paths that exist at that depth.
    """
    import torch

    named = [(canonical(name), parameter) for name, parameter in model.named_parameters()]
    _check_paths([name for name, _ in named], (*full_paths(trainable), *trainable.frozen))
    rows: dict[tuple[str, Kind], list[int]] = {}
    trained = []
    for name, parameter in named:
        path, kind = fate(name, trainable)
        parameter.requires_grad_(kind != "frozen")
        if kind != "frozen":
            parameter.data = parameter.data.to(torch.float32)
            trained.append(name)
        rows.setdefault((path, kind), []).append(parameter.numel())
    table = Table(tuple(Row(path, kind, len(n), sum(n)) for (path, kind), n in rows.items()), tuple(trained))
    assert sum(row.tensors for row in table.rows) == len(named), "a parameter is in no group or in two"
    return table


def full_paths(trainable: Trainable) -> tuple[str, ...]:
    """The paths trained in full; at a LoRA rank below 0 the LLM's layers are among them."""
    return (*trainable.full, LAYERS) if trainable.lora.r < 0 else trainable.full


def fate(name: str, trainable: Trainable) -> tuple[str, Kind]:
    """(path of its row in the table, kind) of a parameter by its canonical name."""
    if LORA_MARK in name:
        return "llm (LoRA)", "lora"
    for path in trainable.frozen:
        if _inside(name, path):
            return path, "frozen"
    for path in full_paths(trainable):
        if _inside(name, path):
            return path, "full"
    return name.split(".")[0] if not name.startswith("decoder.") else ".".join(name.split(".")[:2]), "frozen"


def _inside(name: str, path: str) -> bool:
    return name == path or name.startswith(path + ".")


def _check_paths(names: Iterable[str], paths: Iterable[str]) -> None:
    names = list(names)
    for path in paths:
        if not any(_inside(name, path) for name in names):
            depth = path.count(".") + 1
            known = sorted({".".join(name.split(".")[:depth]) for name in names})
            raise ValueError(f"trainable path {path!r} names no parameter; at its depth there are {known}")
