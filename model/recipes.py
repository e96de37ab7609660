"""All recipes: every public function of a file in `model/systems` that returns a Recipe. A new system is one new file."""

from __future__ import annotations

import difflib
import importlib
import inspect
import pkgutil
from collections.abc import Callable
from functools import cache

from seglm.model import systems
from seglm.model.recipe import Recipe


@cache
def recipes() -> dict[str, Callable[[], Recipe]]:
    """Name -> function, in the order of the files and of their lines."""
    found: dict[str, Callable[[], Recipe]] = {}
    for module_info in pkgutil.iter_modules(systems.__path__):
        module = importlib.import_module(f"{systems.__name__}.{module_info.name}")
        for name, function in vars(module).items():
            if (
                inspect.isfunction(function)
                and function.__module__ == module.__name__
                and _makes_recipe(function)
            ):
                found[name] = function
    return found


def recipe(name: str) -> Recipe:
    """The named recipe. Raises ValueError, listing the nearest names, if there is none."""
    known = recipes()
    if name not in known:
        near = difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.4) or sorted(known)
        raise ValueError(
            f"unknown recipe {name!r}; did you mean {' or '.join(near)}? ({len(known)} recipes: train_ds.py --list)"
        )
    return known[name]()


def _makes_recipe(function: Callable[..., object]) -> bool:
    return not function.__name__.startswith("_") and inspect.signature(function).return_annotation in (
        Recipe,
        "Recipe",
    )
