"""SegLM: reasoning segmentation with multimodal LLMs; six systems as recipes over one code base.

The folders of the checkout are the sub-packages: `seglm.model` is `model/`, `seglm.utils` is `utils/` and so on. An installed
wheel holds them inside this package; in a checkout (editable, or with the checkout on PYTHONPATH) they lie beside it.
"""

from pathlib import Path as _Path

__version__ = "0.1.0"

_checkout = _Path(__file__).resolve().parent.parent
if (_checkout / "train_ds.py").is_file():
    __path__.append(str(_checkout))
