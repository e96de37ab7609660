"""The `segment-anything` package without its top-level import, which needs torchvision."""

from __future__ import annotations

import importlib.util
import sys
import types


def load_sam_package() -> types.ModuleType:
    """Makes `segment_anything.modeling` importable without torchvision and returns it.

    The package's own `__init__` imports an automatic mask generator that needs `torchvision.ops`; its modules do not.
    Raises ImportError, with the install line, if the package is absent.
    """
    if "segment_anything" not in sys.modules:
        spec = importlib.util.find_spec("segment_anything")
        if spec is None or spec.submodule_search_locations is None:
            raise ImportError("segment_anything is not installed; run: pip install segment-anything==1.0")
        package = types.ModuleType("segment_anything")
        package.__path__ = list(spec.submodule_search_locations)
        package.__spec__ = spec
        sys.modules["segment_anything"] = package
    return importlib.import_module("segment_anything.modeling")
