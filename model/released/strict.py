"""Strict loading: what fitted, what did not, and why; nothing is loaded until everything fits."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from seglm.model.names import group, names
from seglm.model.released.errors import AdapterOnly, NotFinite, WrongNames, WrongRank, WrongShapes
from seglm.utils.portable import is_finite

if TYPE_CHECKING:
    from torch import Tensor, nn

SHOWN = 12  # names that a message lists before it counts the rest

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Report:
    """What became of every tensor; names are canonical."""

    matched: tuple[str, ...]
    """in the model and in the weights, same shape"""
    missing: tuple[str, ...] = ()
    """in the model, not in the weights"""
    unexpected: tuple[str, ...] = ()
    """in the weights, not in the model"""
    reshaped: tuple[tuple[str, Shape, Shape], ...] = ()
    """(name, shape in the weights, shape in the model)"""
    allowed: tuple[str, ...] = ()
    """missing, and the caller said that they may be"""
    new_rows: tuple[str, ...] = ()
    """tokens whose rows of the vocabulary were drawn anew, because the recipe adds them"""

    @property
    def complete(self) -> bool:
        return not (self.missing or self.unexpected or self.reshaped)

    def __str__(self) -> str:
        """One line a module group: matched / missing / unexpected / reshaped."""
        columns = {
            "matched": self.matched,
            "missing": self.missing,
            "unexpected": self.unexpected,
            "reshaped": tuple(name for name, _, _ in self.reshaped),
            "kept": self.allowed,
        }
        counts = {title: Counter(group(name) for name in column) for title, column in columns.items()}
        groups = sorted({part for counter in counts.values() for part in counter})
        width = max([len(part) for part in groups], default=0)
        head = " ".join(f"{title:>10}" for title in columns)
        rows = [
            f"{part:<{width}} " + " ".join(f"{counts[title][part]:>10}" for title in columns)
            for part in groups
        ]
        drawn = [f"new rows of the vocabulary: {' '.join(self.new_rows)}"] if self.new_rows else []
        return "\n".join([f"{'':<{width}} {head}", *rows, *drawn])


def compare(
    wanted: Mapping[str, Shape], given: Mapping[str, Shape], *, allow_missing: Sequence[str] = ()
) -> Report:
    """Compares names and shapes; `allow_missing` are regular expressions over whole names."""
    absent = [name for name in wanted if name not in given]
    may = [name for name in absent if any(re.fullmatch(pattern, name) for pattern in allow_missing)]
    both = [name for name in wanted if name in given]
    reshaped = tuple((name, given[name], wanted[name]) for name in both if given[name] != wanted[name])
    odd = {name for name, _, _ in reshaped}
    return Report(
        matched=tuple(name for name in both if name not in odd),
        missing=tuple(name for name in absent if name not in set(may)),
        unexpected=tuple(name for name in given if name not in wanted),
        reshaped=reshaped,
        allowed=tuple(may),
    )


def check(
    report: Report,
    *,
    place: Callable[[str], str],
    wanted: Mapping[str, Shape],
    given: Mapping[str, Shape],
) -> None:
    """Raises the error that fits best if the report is not complete; the message lists names and the next step.

    place: where a tensor was read, or should have been; a model may come from several places.
    """
    if report.complete:
        return
    odd = [name for name, _, _ in report.reshaped] or [*report.missing, *report.unexpected]
    source = " and ".join(dict.fromkeys(map(place, odd)))
    _check_lora(report, source)
    if report.reshaped:
        lines = [
            f"{name}: {have} in the weights, {want} in the model" for name, have, want in report.reshaped
        ]
        raise WrongShapes(
            f"{source}: {len(lines)} tensors have another shape:\n{listed(lines)}\n{_rows_hint(report)}\n{report}"
        )
    renamed = _renamed(report, wanted, given)
    parts = [f"{source}: the names do not fit the model"]
    if report.missing:
        parts.append(f"missing in the weights ({len(report.missing)}):\n{listed(report.missing)}")
    if report.unexpected:
        parts.append(
            f"in the weights, not in the model ({len(report.unexpected)}):\n{listed(report.unexpected)}"
        )
    if renamed:
        parts.append(f"same shape and nearly the same name, renamed?\n{listed(renamed)}")
    parts.append(
        "Weights are never loaded in part: give the file of this model, or the recipe of this file (--recipe)."
    )
    raise WrongNames("\n".join([*parts, str(report)]))


def load_canonical(
    model: nn.Module,
    tensors: Mapping[str, Tensor],
    *,
    allow_missing: Sequence[str] = (),
    place: Callable[[str], str] = lambda name: "weights",
) -> Report:
    """Copies canonical tensors into a built model, strictly.

    allow_missing: regular expressions over canonical names that may keep the values they have in the model.
    place: where a tensor was read, or should have been; for messages.
    Values take the dtype of the model's tensors; a model on the meta device receives the tensors themselves.
    Raises WrongNames, WrongShapes, WrongRank, AdapterOnly or NotFinite, and then the model is untouched.
    """
    inside = names(model)
    state = model.state_dict()
    wanted = {ours: tuple(state[theirs].shape) for ours, theirs in inside.items()}
    given = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    report = compare(wanted, given, allow_missing=allow_missing)
    check(report, place=place, wanted=wanted, given=given)
    for name in report.matched:
        if state[inside[name]].is_floating_point() != tensors[name].is_floating_point():
            raise WrongShapes(
                f"{place(name)}: {name} is {tensors[name].dtype}, the model has {state[inside[name]].dtype}; quantised "
                "weights are not read, give the model in fp16, bf16 or fp32"
            )
    ready = {inside[name]: tensors[name].to(state[inside[name]].dtype) for name in report.matched}
    if bad := [name for name in report.matched if not is_finite(ready[inside[name]])]:
        stored = "as it is stored" if not is_finite(tensors[bad[0]]) else f"in {ready[inside[bad[0]]].dtype}"
        raise NotFinite(
            f"{place(bad[0])}: {len(bad)} of {len(report.matched)} tensors hold NaN or infinity, the first is {bad[0]} "
            f"({stored}); fetch the file again, or take an earlier checkpoint"
        )
    empty = any(tensor.is_meta for tensor in state.values())
    model.load_state_dict(ready, strict=False, assign=empty)
    return report


def listed(lines: Iterable[str]) -> str:
    """The first lines, indented, and how many more there are."""
    lines = list(lines)
    more = [f"  ... and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    return "\n".join([f"  {line}" for line in lines[:SHOWN]] + more)


def _check_lora(report: Report, source: str) -> None:
    ranks = [(name, have, want) for name, have, want in report.reshaped if ".lora_" in name]
    if ranks:
        name, have, want = ranks[0]
        axis = 0 if ".lora_A" in name else 1
        raise WrongRank(
            f"{source}: adapters of rank {have[axis]}, the model has rank {want[axis]} ({name}: {have} against {want}); "
            f"set --lora_r {have[axis]} (trainable.lora.r)"
        )
    extra = [name for name in report.unexpected if ".lora_" in name]
    if extra:
        raise WrongRank(
            f"{source}: holds {len(extra)} adapter tensors ({extra[0]}, ...) for a model without them; give the rank they were "
            "trained with (--lora_r), or merge them first with merge_lora_weights_and_save_hf_model.py"
        )
    llm_missing = [name for name in report.missing if name.startswith("llm.layers.") and ".lora_" not in name]
    if llm_missing and not any(
        name.startswith("llm.layers.") and ".lora_" not in name for name in report.matched
    ):
        raise AdapterOnly(
            f"{source}: holds no weight of the language model's layers ({len(llm_missing)} missing, e.g. {llm_missing[0]}); "
            "these are trained weights without their base: merge them (merge_lora_weights_and_save_hf_model.py --version <base> "
            "--weight <these>), or give the base as --version and these as --weight"
        )


def _rows_hint(report: Report) -> str:
    for name, have, want in report.reshaped:
        if name in ("llm.embed_tokens.weight", "llm.lm_head.weight") and have[1:] == want[1:]:
            return (
                f"The weights know {have[0]} tokens, the model {want[0]}: the tokenizer beside the weights is another one, or "
                "tokens were added in another number."
            )
    return "These weights belong to a model of another size; give the recipe they were made with (--recipe)."


def _renamed(report: Report, wanted: Mapping[str, Shape], given: Mapping[str, Shape]) -> list[str]:
    from difflib import get_close_matches

    pairs = []
    for name in report.missing[:SHOWN]:
        same = [other for other in report.unexpected if given[other] == wanted[name]]
        if like := get_close_matches(name, same, n=1, cutoff=0.7):
            pairs.append(f"{like[0]} -> {name}")
    return pairs
