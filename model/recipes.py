"""All recipes: every public function of a file in `model/systems` that returns a Recipe. A new system is one new file.

The files of `model/decoders` are read, too, so that a command can name a mask decoder that no recipe begins with.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from seglm.model import decoders, systems
from seglm.model.recipe import Recipe
from seglm.utils.config import leaves, spell
from seglm.utils.did_you_mean import unknown


@cache
def recipes() -> dict[str, Callable[[], Recipe]]:
    """Name -> function, in the order of the files and of their lines."""
    found: dict[str, Callable[[], Recipe]] = {}
    for module_info in pkgutil.iter_modules(decoders.__path__):
        importlib.import_module(f"{decoders.__name__}.{module_info.name}")
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
        raise ValueError(unknown("recipe", name, known, more=f"{len(known)} recipes: train_ds.py --list"))
    return known[name]()


def listing(shown: Recipe | None = None) -> str:
    """Every recipe with its first line; of one recipe every field as it is typed on the command line."""
    if shown is not None:
        return "\n".join(f"{path}={spell(value)}" for path, value in leaves(shown))
    return "\n".join(f"{name:24}{line}" for name, line in _first_lines())


def _first_lines() -> Iterator[tuple[str, str]]:
    """Name and first line of each recipe, read from the source: importing the systems takes a second, and PyTorch."""
    for module_info in pkgutil.iter_modules(systems.__path__):
        file = Path(systems.__path__[0], f"{module_info.name}.py")
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if (
                isinstance(node, ast.FunctionDef)
                and not node.name.startswith("_")
                and node.returns is not None
                and ast.unparse(node.returns).strip("'\"") == Recipe.__name__
            ):
                yield node.name, (ast.get_docstring(node) or "").partition("\n")[0]


def _makes_recipe(function: Callable[..., object]) -> bool:
    return not function.__name__.startswith("_") and inspect.signature(function).return_annotation in (
        Recipe,
        "Recipe",
    )
