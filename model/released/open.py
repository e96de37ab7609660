"""One door to weights on disk: whatever lies at a path, with the parts that it only names fetched from their own places."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from seglm.model.released.checkpoint import Checkpoint
from seglm.model.released.errors import AdapterOnly, WeightsError
from seglm.model.released.folder import load_folder
from seglm.model.released.identify import WITHOUT_BASE, Layout, layout_of
from seglm.model.released.lisa import load_lisa
from seglm.model.released.llava import load_clip, load_llava, with_vision
from seglm.model.released.sam import load_sam
from seglm.utils.resolve import resolve

log = logging.getLogger(__name__)

LOADERS: dict[Layout, Callable[[str | Path], Checkpoint]] = {
    "seglm": load_folder,
    "lisa": load_lisa,
    "llava": load_llava,
}


def open_weights(
    weights: str,
    *,
    vision: str | None = None,
    vision_else: str | None = None,
    decoder: str | None = None,
    revision: str | None = None,
) -> Checkpoint:
    """A language model with its vision tower and mask decoder.

    weights: path or hub id of a merged SegLM or LISA folder or of a LLaVA base (`--version`). vision, decoder: where
    the vision tower and SAM lie, read only for what `weights` does not hold: a mask decoder inside `weights` is the
    trained one and is never replaced. Raises FileNotFoundError for a path that resolves to nothing, WeightsError for
    what is no model by itself.
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
    if not checkpoint.has("vision."):
        checkpoint = with_vision(checkpoint, load_clip(_vision_path(checkpoint, vision, vision_else)))
    if not checkpoint.has("decoder.image_encoder."):
        if not decoder:
            raise WeightsError(
                f"{path}: holds no SAM; give one with --vision_pretrained sam_vit_h_4b8939.pth"
            )
        sam = load_sam(resolve(decoder, what="SAM (--vision_pretrained)"))
        checkpoint = checkpoint.joined(sam, prefixes=("decoder.",))
    elif decoder and layout != "llava" and Path(decoder) != path:
        log.info("%s holds its own SAM, whose mask decoder is trained; %s is not read", path, decoder)
    return checkpoint


def _vision_path(checkpoint: Checkpoint, vision: str | None, vision_else: str | None) -> Path:
    wanted = vision or checkpoint.vision_path or vision_else
    if not wanted:
        raise WeightsError(
            f"{checkpoint.source}: holds no vision tower and names none; give one with --vision-tower"
        )
    return resolve(wanted, what="the vision tower (--vision-tower)")
