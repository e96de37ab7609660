"""Pickles that hold data and nothing else. The published refs files are pickles of Python 2 from third-party hosts."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

from seglm.dataset.faults import blamed
from seglm.utils.containers import flaw
from seglm.utils.regular import refuse_endless


class _BuiltinsOnly(pickle.Unpickler):
    """Lists, dicts, numbers and strings need no name looked up; whatever does could run anything."""

    def find_class(self, module_name: str, global_name: str) -> Any:
        raise pickle.UnpicklingError(f"it asks for {module_name}.{global_name}; only plain values are read")

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError(f"it asks for the outside object {pid!r}; only plain values are read")


def unpickle(path: Path, key: str) -> Any:
    """The content of a pickle made of builtins only, strings of Python 2 included (utf-8, else latin-1).

    Raises Fault if it is missing, broken or names anything else; nothing of it has run then.
    """
    with blamed(key, path, "is no pickle of plain values"):
        refuse_endless(path)
        try:
            return _load(path, "utf-8")
        except UnicodeDecodeError:
            return _load(path, "latin-1")
        except (pickle.UnpicklingError, EOFError) as error:
            if what := flaw(path):
                raise ValueError(f"the file is {what}; fetch it again") from error
            raise


def _load(path: Path, encoding: str) -> Any:
    with path.open("rb") as file:
        return _BuiltinsOnly(file, encoding=encoding).load()
