"""The fields of an annotation, looked at before they are used: JSON promises nothing about types.

All raise ValueError that names the field, its value and what is allowed; whoever lists or reads records adds key and file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

LONGEST_SIDE = 65_535  # of a JPEG, which has two bytes for it
SHOWN = 60  # characters of a wrong value
DIGITS = 18  # of a number that the index's 64 bits hold, whatever it is
NAMES: Mapping[type, str] = {
    str: "a text",
    int: "a whole number",
    bool: "true or false",
    list: "a list",
    dict: "an object",
}
Id = int | str
Entry = dict[str, Any]


def take(record: Any, name: str, *kinds: type) -> Any:
    """The value of a field that has to be there and of one of these types. True is no number."""
    if not isinstance(record, dict):
        raise ValueError(f"an object with `{name}` is expected, not {shown(record)}")
    if name not in record:
        raise ValueError(f"has no `{name}`; there are {', '.join(map(str, record)) or 'no fields'}"[:200])
    if type(record[name]) not in kinds:
        allowed = " or ".join(NAMES[kind] for kind in kinds)
        raise ValueError(f"`{name}` is {shown(record[name])}, permitted is {allowed}")
    return record[name]


def texts(record: Any, name: str) -> list[str]:
    """A list of words, each stripped, none of them empty."""
    return [words(text, f"`{name}`") for text in take(record, name, list)]


def words(text: Any, what: str) -> str:
    """Words of a person, stripped."""
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"{what} holds {shown(text)}, permitted is a text that is not empty")
    if not text.isascii() and any("\ud800" <= sign <= "\udfff" for sign in text):
        raise ValueError(f"{what} holds {shown(text)}: half of a sign, cut between two \\u")
    return text.strip()


def image_size(record: Any) -> list[int]:
    """[H, W], pixels."""
    sides = [take(record, "height", int), take(record, "width", int)]
    if not all(0 < side <= LONGEST_SIDE for side in sides):
        raise ValueError(f"`height`, `width` are {shown(sides)}, permitted are 1 to {LONGEST_SIDE} pixels")
    return sides


def coco_id(name: str) -> int:
    """The COCO id that a file's name is or ends with: `000000000009.jpg`, `COCO_train2014_000000000009`."""
    stem = PurePosixPath(name).stem.rpartition("_")[2]
    if not is_number(stem):
        raise ValueError(f"the name {name!r} is no COCO id; expected is a number, such as 000000000009")
    return int(stem)


def of_coco(name: str) -> dict[str, int]:
    """`coco` of a record, if its picture is called as COCO's are; else nothing."""
    return {"coco": coco_id(name)} if is_number(PurePosixPath(name).stem.rpartition("_")[2]) else {}


def is_number(stem: str) -> bool:
    """Whether it is digits, few enough for the index."""
    return stem.isascii() and stem.isdigit() and len(stem) <= DIGITS


def shown(value: Any) -> str:
    """The value, cut, with its type where that says more."""
    text = repr(value)
    text = text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
    is_plain = value is None or isinstance(value, (str, bool, dict, list))
    return text if is_plain else f"{text} ({type(value).__name__})"


class Unique:
    """Entries of a list by their id, which is a number or a text, and no other entry's."""

    def __init__(self, entries: list[Any], what: str, *, id_field: str = "id") -> None:
        self.what = what
        self.by_id: dict[Id, Entry] = {}
        self.without_id: list[str] = []
        """what is wrong with entries that nobody can ask for"""
        self._twice: dict[Id, str] = {}
        for number, entry in enumerate(entries):
            try:
                key = take(entry, id_field, int, str)
            except ValueError as error:
                self.without_id.append(f"{what}[{number}]: {error}")
                continue
            if key in self.by_id:
                both = f"{shown(self.by_id[key])} and {shown(entry)}"
                self._twice[key] = f"two of `{what}` have the {id_field} {key!r}: {both}"
            self.by_id[key] = entry

    def __getitem__(self, key: Id) -> Entry:
        """The entry of that id. Raises ValueError if it is not there, or not alone."""
        if key in self._twice:
            raise ValueError(self._twice[key])
        if key not in self.by_id:
            raise ValueError(self.absent(key))
        return self.by_id[key]

    def absent(self, key: Id) -> str:
        """What is said of an id that is not there: 1000 is not "1000"."""
        other = str(key) if isinstance(key, int) else int(key) if is_number(key) else key
        near = f"; there is {other!r} ({type(other).__name__})" if other in self.by_id else ""
        return f"none of `{self.what}` has the id {key!r} ({type(key).__name__}){near}"
