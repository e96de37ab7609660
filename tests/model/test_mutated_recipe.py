"""Every field of a recipe, from a command and from JSON, with what cannot be meant: taken, or refused in words; nothing else."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from seglm.model.older import recipe_from_json, with_settings
from seglm.model.recipe import Recipe
from seglm.model.recipes import recipe
from seglm.utils.config import leaves, to_json
from seglm.utils.dist import World

NAMES = ("gsva_tiny", "keyseg_tiny")
TEXTS = (
    *(
        "",
        " ",
        ",",
        "||",
        "nan",
        "inf",
        "-1",
        "0",
        "1.5",
        "1e999",
        "9" * 30,
        "null",
        "none",
        "true",
        "[]",
        "{}",
        "1,1",
    ),
    *("\x00", "\u4e2d", "~", "~/x", "..", "x" * 1000, "KeyFusion", "Sam", "Bce", "os:system"),
)
STRANGE = (
    "",
    ".",
    "+",
    "optim.",
    ".lr",
    "optim..lr",
    "terms.0.weight",
    "tokens.0",
    "data.sets.",
    "data.sets.+",
    "name.x",
)
VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 1.5, 10**400, float("nan"), float("inf"), "", "x", [], [[]], [None], [1, 2, 3]),
    *(
        {},
        {"class": None},
        {"class": 5},
        {"class": "x"},
        "os:system",
        "seglm.model.terms:Bce",
        "seglm.utils.config:parse",
    ),
)


@pytest.mark.parametrize("name", NAMES)
def test_a_setting_is_taken_or_refused_in_words(name: str) -> None:
    good = recipe(name)
    for path in (*(path for path, _ in leaves(good)), *STRANGE):
        for text in TEXTS:
            for end in ("", "+"):
                _in_words(partial(with_settings, good, [(path + end, text)]), f"{path + end}={text[:20]!r}")


@pytest.mark.parametrize("name", NAMES)
def test_a_manifest_is_taken_or_refused_in_words(name: str) -> None:
    good = to_json(recipe(name))
    for place in _places(good):
        for value in (*VALUES, _places):
            _in_words(partial(recipe_from_json, _changed(good, place, value)), f"{place}: {value!r}"[:100])


def test_what_a_manifest_may_not_leave_empty() -> None:
    good = to_json(recipe("keyseg_tiny"))
    for place, value in (
        (("chat_prompt",), "no place for a text"),
        (("chat_prompt",), "{text} {more}"),
        (("tokens", 0, "name"), ""),
        (("tokens", 1, "name"), "[SEG]"),
        (("terms", 1, "class"), "seglm.model.terms:Dice"),
        (("backbone", "image_tokens", 0), ""),
        (("data", "sets", "vqa", 0), ""),
        (("script",), "seglm.utils.config:leaves"),
        (("script",), "seglm.model.terms:Bce"),
        (("engine", "workers"), 10**6),
    ):
        with pytest.raises(ValueError):
            recipe_from_json(_changed(good, place, value)).check(World())


def _in_words(make: Callable[[], Recipe], what: str) -> None:
    try:
        make().check(World())
    except (ValueError, ImportError):
        return
    except Exception as error:
        raise AssertionError(f"{what} ends as {error!r}") from error


def _places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield place
    for key, item in (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    ):
        yield from _places(item, (*place, key))


def _changed(good: Any, place: tuple[Any, ...], value: Any) -> Any:
    """The same with another value at a place, or, of `_places`, without it."""
    if not place:
        return {} if value is _places else value
    changed = copy.deepcopy(good)
    at = changed
    for key in place[:-1]:
        at = at[key]
    if value is _places:
        del at[place[-1]]
    else:
        at[place[-1]] = value
    return changed
