"""What a value may be, said once beside the field: `epochs: Annotated[int, between(least=1)]`, or by a name for what is frequent.

`verify` looks at types and rules of a whole configuration, whoever wrote it: a command line, code or JSON.
"""

from __future__ import annotations

import dataclasses
import inspect
import os.path
import sys
import types
import typing
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Rule:
    """What the values of a field have in common beside their type."""

    said: str
    """behind "permitted are", e.g. `numbers from 1`"""
    allows: Callable[[Any], bool]


def between(
    *,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    below: float | None = None,
    also: tuple[float, ...] = (),
) -> Rule:
    """Numbers from `least` or above `above`, up to `most` or below `below`, and those in `also`."""
    ends = {"from": least, "above": above, "up to": most, "below": below}
    words = [f"{word} {end:g}" for word, end in ends.items() if end is not None]
    return Rule(
        " ".join([*(f"{one:g}," for one in also), "numbers", *words]),
        lambda value: (
            value in also
            or (
                (least is None or value >= least)
                and (above is None or value > above)
                and (most is None or value <= most)
                and (below is None or value < below)
            )
        ),
    )


LARGEST = 10**9  # of what is counted: a larger one is a slip, and overflows somewhere deep inside
DISTINCT = Rule(
    "names that are there once each, none of them empty",
    lambda names: all(names) and len({name.lower() for name in names}) == len(names),
)
FILLED = Rule("values that are not empty", lambda value: bool(value and (value is True or any(value))))
WRITTEN_OUT = Rule(
    "paths without a leading ~ (the shell replaces it only at the beginning of a word)",
    lambda path: not path.startswith("~"),
)
ON_DISK = Rule(
    "paths on this machine; what lies at an address has to be downloaded first",
    lambda path: "://" not in path,
)

Count = Annotated[int, between(least=1, most=LARGEST)]
CountOrNone = Annotated[int, between(least=0, most=LARGEST)]
Positive = Annotated[float, between(above=0)]
Weight = Annotated[float, between(least=0)]
Share = Annotated[float, between(least=0, most=1)]
Place = Annotated[str, FILLED, WRITTEN_OUT, ON_DISK]
Names = Annotated[tuple[str, ...], DISTINCT]


def verify(config: object, *, said: Callable[[str], str] = str) -> None:
    """Looks at every field of a dataclass, and of those in it.

    said: dotted path -> what the field is called in messages.
    Raises ValueError for the first value of another type, or that a rule does not allow; numbers have to be finite.
    """
    _verify(config, type(config), "", said)


def typed(hint: Any) -> Callable[[str], Any]:
    """For argparse: the value of a flag, `type=typed(Count)`; in a path ~ is the home folder."""

    def read(text: str) -> Any:
        try:
            value = bare(hint)(os.path.expanduser(text) if WRITTEN_OUT in get_args(hint) else text)
            _verify(value, hint, "", lambda _: "the value")
        except ValueError as error:
            raise ArgumentTypeError(str(error)) from error
        return value

    return read


def place(text: str) -> Path:
    """For argparse: a flag's path, not empty, with ~ for the home folder."""
    return Path(typed(Place)(text))


def bare(hint: Any) -> Any:
    """The type that `Annotated` speaks of."""
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


@cache
def hints_of(kind: type) -> dict[str, Any]:
    """Field -> its type with its rules."""
    return typing.get_type_hints(kind, include_extras=True)


def each_hint(inner: Sequence[Any], items: Sequence[T], path: str) -> Iterable[tuple[Any, T]]:
    """The items of a tuple with their types. Raises ValueError if there are more or fewer than the type has."""
    hints = [inner[0]] * len(items) if inner[1:] == (Ellipsis,) else list(inner)
    if len(items) != len(hints):
        said = ",".join(map(str, items))
        raise ValueError(f"{path}={said!r} has {len(items)} values; it needs {len(hints)}")
    return zip(hints, items, strict=True)


def of_form(data: Any, hint: Any, path: str) -> Any:
    """What JSON holds for a type: a list for a tuple, a dict for a mapping or a dataclass. Raises ValueError if it is not."""
    origin = get_origin(hint)
    form = (
        list if origin is tuple else dict if origin is Mapping or dataclasses.is_dataclass(hint) else object
    )
    if not isinstance(data, form):
        raise ValueError(f"{path}={data!r}: it has to be a {form.__name__}; is this file SegLM's, and whole?")
    return data


def _verify(value: Any, hint: Any, path: str, said: Callable[[str], str]) -> None:
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        _verify(value, inner[0], path, said)
        for rule in inner[1:]:
            if isinstance(rule, Rule) and not rule.allows(value):
                raise ValueError(f"{said(path)}={value!r}: permitted are {rule.said}")
    elif origin in (typing.Union, types.UnionType):
        if not (value is None and type(None) in inner):
            _verify(value, next(option for option in inner if option is not type(None)), path, said)
    elif problem := _problem(value, hint):
        raise ValueError(f"{said(path)}={value!r}: {problem}")
    elif origin is tuple:
        for number, (one, item) in enumerate(each_hint(inner, value, said(path))):
            name = getattr(item, "name", number) if dataclasses.is_dataclass(item) else number
            _verify(item, one, f"{path}.{name}", said)
    elif origin is Mapping:
        for key, item in value.items():
            _verify(item, inner[1], f"{path}.{key}", said)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        hints = hints_of(value.__class__)
        for field in dataclasses.fields(value):
            below = f"{path}.{field.name}" if path else field.name
            _verify(getattr(value, field.name), hints[field.name], below, said)


def _problem(value: Any, hint: Any) -> str:
    """What is wrong with the type of a value, its items not looked at; empty if nothing is."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        fits = any(value == one and type(value) is type(one) for one in inner)
        return "" if fits else f"permitted are {', '.join(map(str, inner))}"
    if hint is float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return "it has to be a number"
        return "" if abs(value) <= sys.float_info.max else "it has to be a finite number"
    if hint in (int, str, bool):
        return "" if type(value) is hint else f"it has to be of type {hint.__name__}"
    if origin is tuple:
        return "" if isinstance(value, tuple) else "it has to be a tuple"
    if origin is Mapping:
        return "" if isinstance(value, Mapping) else "it has to be a mapping"
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return "" if isinstance(value, hint) else f"it has to be a {hint.__name__}"
    return "" if origin is not Callable or _takes(value, inner[0]) else "it has to be a function of its place"


def _takes(function: Any, arguments: Sequence[Any]) -> bool:
    """True for a function that can be called with so many arguments by position."""
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError:
        return False
    return not isinstance(function, type)
