"""One door to weights on disk: whatever lies at a path, with the parts that it only names fetched from their own places."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from seglm.model.released.checkpoint import Checkpoint
from seglm.model.released.errors import AdapterOnly, WeightsError
from seglm.model.released.files import shapes
from seglm.model.released.folder import load_folder
from seglm.model.released.identify import WITHOUT_BASE, Layout, backbone_of, layout_of
from seglm.model.released.internvl import load_internvl
from seglm.model.released.lisa import load_lisa
from seglm.model.released.llava import load_clip, load_llava, with_vision
from seglm.model.released.sa2va import load_sa2va
from seglm.utils.resolve import resolve

log = logging.getLogger(__name__)


def load_own(path: str | Path) -> Checkpoint:
    """A base in the layout of the backbone that knows its names."""
    own = backbone_of(shapes(Path(path)).keys())
    assert own is not None, f"{path}: no backbone knows these names, although it has a layout of one"
    return own.load(path)


LOADERS: dict[Layout, Callable[[str | Path], Checkpoint]] = {
    "seglm": load_folder,
    "lisa": load_lisa,
    "llava": load_llava,
    "internvl": load_internvl,
    "sa2va": load_sa2va,
    "backbone": load_own,
}


def open_weights(
    weights: str, *, vision: str | None = None, vision_else: str | None = None, revision: str | None = None
) -> Checkpoint:
    """A language model with its vision tower, and with whatever else lies there.

    weights: path or hub id of a merged SegLM or LISA folder or of a LLaVA base (`--version`). vision, vision_else: where the
    tower lies, if `weights` holds none, before and after what its config names. Raises FileNotFoundError for a path that
    resolves to nothing, WeightsError for what is no model by itself.
    """
    path = resolve(weights, what="the model (--version)", revision=revision)
    layout = layout_of(path)
    if layout in WITHOUT_BASE:
        raise AdapterOnly(
            f"{path}: trained weights without their base; give the base as --version and these as --weight (or --init_from), "
            "or merge them: python merge_lora_weights_and_save_hf_model.py --version <base> --weight <these> --save_path <folder>"
        )
    if layout not in LOADERS:
        raise WeightsError(
            f"{path}: a {layout.upper()}, not a language model; it belongs to --vision_pretrained or --vision-tower"
        )
    checkpoint = LOADERS[layout](path)
    if checkpoint.has("vision."):
        other = vision or vision_else
        if other and other not in (checkpoint.source, checkpoint.vision_path):
            log.info("%s holds its own vision tower; %s is not read", checkpoint.source, other)
        return checkpoint
    return with_vision(checkpoint, load_clip(_vision_path(checkpoint, vision, vision_else)))


def _vision_path(checkpoint: Checkpoint, vision: str | None, vision_else: str | None) -> Path:
    wanted = vision or checkpoint.vision_path or vision_else
    if not wanted:
        raise WeightsError(
            f"{checkpoint.source}: holds no vision tower and names none; give one with --vision-tower"
        )
    return resolve(wanted, what="the vision tower (--vision-tower)")
