"""SegLM: reasoning segmentation with multimodal LLMs; six systems as recipes over one code base.

The folders of the checkout are the sub-packages: `seglm/model` is a link to `model/`, `seglm/utils` to `utils/` and so on.
Python, editors and type checkers find `seglm.model` there without being told. An installed wheel holds the folders themselves.
"""

from __future__ import annotations

import sys as _sys
from importlib.util import find_spec as _find_spec
from pathlib import Path as _Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from seglm.hf import load as load

__version__ = "0.1.0"

_here = _Path(__file__).resolve().parent
_lost = [
    name
    for name in ("model", "utils", "dataset", "evaluation", "training", "bases")
    if not (_here / name).is_dir()
]
# A command of this checkout ends in one line; any other program gets an error that it can catch.
_command = getattr(_sys.modules["__main__"], "__file__", None)
_is_command = _sys.argv[:1] == ["-m"] or bool(_command and _Path(_command).resolve().parent == _here.parent)
if _lost:
    _message = (
        f"{_here / _lost[0]} is no folder: this copy lost its links (zip programs and git on Windows write them as small files); "
        f"clone with `git clone -c core.symlinks=true`, or put the folders {', '.join(_lost)} themselves into {_here}"
    )
    if _is_command:
        _sys.exit(f"error: {_message}")
    raise ImportError(_message)
# In a Python without the requirements each command would end at another import, with a traceback.
if _is_command and (_absent := [name for name in ("torch", "numpy", "cv2", "PIL") if not _find_spec(name)]):
    _sys.exit(
        f"error: {_sys.executable} has no {' and no '.join(_absent)}; activate the environment of this checkout (source "
        f"{_here.parent / '.venv/bin/activate'}), which `bash run_tests.sh` makes and fills"
    )


def __getattr__(name: str) -> object:
    """`load` comes with PyTorch and transformers, which nobody waits for who asks for something else."""
    if name == "load":
        from seglm.hf import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
