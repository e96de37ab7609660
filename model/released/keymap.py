"""Key maps: one table of patterns a layout; a name that no line of the table fits is an error, never ignored."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TypeVar

from seglm.model.released.errors import WrongNames
from seglm.model.released.strict import listed

Value = TypeVar("Value")
Rule = tuple[str, str | None]
"""(regular expression over the whole name, replacement; None drops the tensor on purpose)"""


def rename(name: str, table: Iterable[Rule]) -> str | None:
    """The new name by the first line that fits; None if the line drops it. Raises KeyError if no line fits."""
    for pattern, replacement in table:
        if match := re.fullmatch(pattern, name):
            return None if replacement is None else match.expand(replacement)
    raise KeyError(name)


def mapped(
    tensors: Mapping[str, Value],
    table: tuple[Rule, ...],
    *,
    source: str,
    layout: str,
    hint: str = "Is this another system's checkpoint? Give its --recipe.",
) -> dict[str, Value]:
    """All tensors under their new names. Raises WrongNames that lists what the table does not know or maps onto one name.

    hint: the next step, where names are unknown.
    """
    result: dict[str, Value] = {}
    unknown, clashes = [], []
    for name, tensor in tensors.items():
        try:
            new = rename(name, table)
        except KeyError:
            unknown.append(name)
            continue
        if new is not None and new in result:
            clashes.append(f"{name} -> {new}")
        if new is not None:
            result[new] = tensor
    if unknown or clashes:
        what = (
            f"{len(unknown)} names that the {layout} layout does not have"
            if unknown
            else "two names for one tensor"
        )
        raise WrongNames(f"{source}: {what}:\n{listed(unknown or clashes)}\n{hint}")
    return result


def fits(names: Iterable[str], table: tuple[Rule, ...]) -> bool:
    """True if the table knows every name."""
    try:
        for name in names:
            rename(name, table)
    except KeyError:
        return False
    return True
