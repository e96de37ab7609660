"""Nested frozen dataclasses as configuration: dotted overrides from the command line, differences, and JSON for manifests.

A field is addressed by its dotted path: `optim.lr`, an item of a tuple by its index (`optim.betas.0`) or, where the items are
dataclasses that carry a `name`, by that name (`terms.bce.weight`), an entry of a mapping by its key (`data.sets.refer_seg`).
"""

from __future__ import annotations

import dataclasses
import inspect
import os.path
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from seglm.utils.did_you_mean import unknown
from seglm.utils.ranges import WRITTEN_OUT, bare, each_hint, hints_of, of_form

T = TypeVar("T")
CLASS = "class"  # in JSON, beside the fields of a Choice
TRUE, FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


class Choice:
    """Base of frozen dataclasses of which one is chosen: a field that is typed with a class below it takes any class below that.

    The command line picks by the name of the class (`fusion=KeyFusion`, fields stay where the old class is a relative, else they
    take their defaults); in JSON the class stands under `class`.
    """

    def check(self, config: Any, /) -> None:
        """Raises ValueError if the whole configuration lacks what this one needs; asked before anything is loaded."""


@dataclasses.dataclass(frozen=True)
class Change:
    """One field that two configurations do not share."""

    path: str
    old: object
    new: object

    def __str__(self) -> str:
        return f"{self.path}: {spell(self.old)} -> {spell(self.new)}"


# ---- the command line -----------------------------------------------------------------------------------------------
def override(config: T, settings: Iterable[tuple[str, str]]) -> T:
    """`config` with fields set from text, in order.

    settings: (dotted path, text) pairs; the text is read as the field's type wants it, a tuple split on `,` or `||`. A path
    that ends in `+` adds to a tuple what it does not hold yet.
    Raises ValueError for an unknown path (with the nearest ones) and for a text that is no value of the field's type.
    """
    for path, text in settings:
        place = _Place(config, path.removesuffix("+"), adds=path.endswith("+"))
        config = _set(config, place.path.split("."), text, type(config), place)
    return config


def parse(text: str, hint: Any, path: str) -> object:
    """The value of type `hint` that `text` spells; `path` is for the message.

    Raises ValueError if there is none.
    """
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        value = parse(text, inner[0], path)
        return os.path.expanduser(text) if WRITTEN_OUT in inner else value
    if origin in (typing.Union, types.UnionType):
        if type(None) in inner and text.lower() == "none":
            return None
        return parse(text, next(option for option in inner if option is not type(None)), path)
    if origin is Literal:
        for choice in inner:
            if str(choice) == text:
                return choice
        raise ValueError(f"{path}={text!r}: permitted are {', '.join(map(str, inner))}")
    if origin is tuple:
        return _parse_tuple(text, inner, path)
    if hint is bool:
        if text.lower() not in TRUE + FALSE:
            raise ValueError(f"{path}={text!r}: permitted are true and false")
        return text.lower() in TRUE
    if hint in (int, float, str):
        try:
            return hint(text)
        except ValueError as error:
            raise ValueError(f"{path}={text!r} is no {hint.__name__}") from error
    if dataclasses.is_dataclass(hint):
        names = ", ".join(f"{path}.{field.name}" for field in dataclasses.fields(hint))
        raise ValueError(f"{path} has fields of its own; set one of {names}")
    if origin is Mapping:
        raise ValueError(f"{path} has entries, each with a value of its own; set {path}.NAME={text}")
    raise ValueError(
        f"{path} holds a function and is chosen in code: write a variant of the recipe in model/systems"
    )


def choices(base: type[T]) -> dict[str, type[T]]:
    """Name -> class, for `base` and what stands below it in modules that were imported, abstract ones left out."""
    found = {} if inspect.isabstract(base) else {base.__name__: base}
    for below in base.__subclasses__():
        found |= choices(below)
    return found


def _choose(old: Choice, name: str, base: type[Choice], path: str) -> Choice:
    known = choices(base)
    if name not in known:
        raise ValueError(unknown(f"choice {path}=", name, known))
    new = known[name]
    related = issubclass(new, type(old)) or issubclass(type(old), new)
    names = {field.name for field in dataclasses.fields(typing.cast(Any, new))} if related else set()
    kept = {name: value for name, value in vars(old).items() if name in names}
    try:
        return new(**kept)
    except TypeError as error:
        raise ValueError(
            f"{path}={name}: {error}; it is chosen in code: write a variant of the recipe"
        ) from error


def _parse_tuple(text: str, inner: Sequence[Any], path: str) -> tuple[object, ...]:
    texts = [part.strip() for part in text.replace("||", ",").split(",") if part.strip()]
    return tuple(parse(part, hint, path) for hint, part in each_hint(inner, texts, path))


@dataclasses.dataclass(frozen=True)
class _Place:
    """Where in which configuration a setting points, for messages."""

    root: object
    path: str
    adds: bool
    """whether the new items come after the old ones"""

    def unknown(self) -> ValueError:
        known = [path for path, _ in leaves(self.root)]
        ends = [path for path in known if path.endswith("." + self.path)]
        if ends:
            return ValueError(f"unknown setting {self.path!r}; did you mean {' or '.join(ends)}?")
        return ValueError(unknown("setting", self.path, known, more="train_ds.py --list prints all of them"))


def _set(value: Any, keys: Sequence[str], text: str, hint: Any, place: _Place) -> Any:
    if not keys:
        if isinstance(value, Choice):
            return _choose(value, text, hint, place.path)
        new = parse(text, hint, place.path)
        if not place.adds:
            return new
        if not isinstance(value, tuple) or not isinstance(new, tuple):
            raise ValueError(
                f"{place.path}+={text!r}: only a tuple can be added to; write {place.path}={text}"
            )
        return value + tuple(item for item in new if item not in value)
    key, rest = keys[0], keys[1:]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        hints = hints_of(type(value))
        if key not in {field.name for field in dataclasses.fields(value)}:
            raise place.unknown()
        return dataclasses.replace(value, **{key: _set(getattr(value, key), rest, text, hints[key], place)})
    if isinstance(value, Mapping):
        return {**value, key: _set(value.get(key, ()), rest, text, get_args(bare(hint))[1], place)}
    if isinstance(value, tuple) and value:
        names = [_item_name(item, index) for index, item in enumerate(value)]
        if key not in names:
            raise ValueError(unknown(f"item of {place.path.rpartition('.' + key)[0]}", key, names))
        index, inner = names.index(key), get_args(bare(hint))
        item_hint = inner[0] if inner[1:] == (Ellipsis,) else inner[index]
        return (*value[:index], _set(value[index], rest, text, item_hint, place), *value[index + 1 :])
    raise place.unknown()


# ---- looking at a configuration -------------------------------------------------------------------------------------
def leaves(config: object, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Every field that holds a value and not more fields, as (dotted path, value), in order of declaration; of a Choice also the
    name of its class.
    """
    if isinstance(config, Choice):
        yield prefix, type(config).__name__
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        for field in dataclasses.fields(config):
            yield from leaves(getattr(config, field.name), f"{prefix}.{field.name}" if prefix else field.name)
    elif isinstance(config, Mapping):
        for key, item in config.items():
            yield from leaves(item, f"{prefix}.{key}")
    elif isinstance(config, tuple) and config and all(dataclasses.is_dataclass(item) for item in config):
        for index, item in enumerate(config):
            yield from leaves(item, f"{prefix}.{_item_name(item, index)}")
    else:
        yield prefix, config


def difference(old: object, new: object) -> list[Change]:
    """The fields in which `new` is not `old`; one that only one of them has stands against `(absent)`."""
    before, after = dict(leaves(old)), dict(leaves(new))
    paths = [*before, *(path for path in after if path not in before)]
    pairs = ((path, before.get(path, ABSENT), after.get(path, ABSENT)) for path in paths)
    return [Change(path, a, b) for path, a, b in pairs if a != b]


def spell(value: object) -> str:
    """A value as it is typed on the command line; a function by its name."""
    if isinstance(value, tuple):
        return ",".join(spell(item) for item in value)
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    return _function_name(value) if callable(value) else str(value)


def _item_name(item: object, index: int) -> str:
    name = getattr(item, "name", None)
    return name if isinstance(name, str) else str(index)


class _Absent:
    def __str__(self) -> str:
        return "(absent)"


ABSENT = _Absent()


# ---- JSON -----------------------------------------------------------------------------------------------------------
def to_json(value: object) -> Any:
    """Plain lists, dicts, numbers and strings; functions and chosen classes become `module:name`. `from_json` takes it back."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        chosen = {CLASS: _function_name(type(value))} if isinstance(value, Choice) else {}
        return chosen | {
            field.name: to_json(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
    if isinstance(value, Mapping):
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [to_json(item) for item in value]
    return _function_name(value) if callable(value) else value


def from_json(kind: type[T], data: Any) -> T:
    """The dataclass `kind` that `to_json` wrote; fields that are not there take their default.

    Raises ValueError for a field that `kind` does not have, or for a missing one without default.
    """
    return typing.cast(T, _read(kind, data, kind.__name__))


def _read(hint: Any, data: Any, path: str) -> Any:
    hint = bare(hint)
    data, origin, inner = of_form(data, hint, path), get_origin(hint), get_args(hint)
    if isinstance(hint, type) and issubclass(hint, Choice):
        hint, data = _find_class(hint, data, path), {key: one for key, one in data.items() if key != CLASS}
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        hints = hints_of(hint)
        strange = [key for key in data if key not in hints]
        if strange:
            raise ValueError(unknown(f"field of {path}", strange[0], hints))
        try:
            return hint(**{key: _read(hints[key], item, f"{path}.{key}") for key, item in data.items()})
        except TypeError as error:
            raise ValueError(f"{path}: {error}; the manifest was written by another version") from error
    if origin is tuple:
        return tuple(
            _read(one, item, f"{path}.{i}") for i, (one, item) in enumerate(each_hint(inner, data, path))
        )
    if origin is Mapping:
        return {key: _read(inner[1], item, f"{path}.{key}") for key, item in data.items()}
    if origin in (typing.Union, types.UnionType) and data is not None:
        return _read(next(option for option in inner if option is not type(None)), data, path)
    if origin is Callable or hint is Callable:
        return _find(data, path)
    return data


def _find_class(base: type[Choice], data: Mapping[str, Any], path: str) -> type[Choice]:
    found = _find(str(data.get(CLASS, "")), path)
    if not (isinstance(found, type) and issubclass(found, base)):
        raise ValueError(
            f"{path}={data[CLASS]!r} is no {base.__name__}; known are {', '.join(sorted(choices(base)))}"
        )
    return found


def _function_name(function: object) -> str:
    return f"{getattr(function, '__module__', '?')}:{getattr(function, '__qualname__', repr(function))}"


def _find(name: Any, path: str) -> object:
    module, _, qualname = str(name).partition(":")
    if not module.startswith("seglm."):
        raise ValueError(
            f"{path}={name!r} names something outside seglm; a manifest may not run foreign code"
        )
    try:
        return getattr(import_module(module), qualname)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{path}={name!r} does not exist in this version of seglm") from error
