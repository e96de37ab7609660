"""Whether all that a model is read from is there: asked before anything is read, and everything missing is named at once."""

from __future__ import annotations

from pathlib import Path

from seglm.model.released.config_keys import place
from seglm.model.released.files import config_of, shapes
from seglm.model.released.identify import WITHOUT_BASE, layout_of
from seglm.utils.resolve import HUB_ID, resolve


def refuse_absent(
    weights: str,
    *,
    revision: str | None = None,
    vision: str | None = None,
    vision_else: str | None = None,
    decoder: str | None = None,
    decoder_anew: bool = False,
    decoder_mark: str = "image_encoder.",
) -> None:
    """Raises FileNotFoundError that names every part that is not there, with the places looked at.

    weights: path or hub id of the language model. vision, vision_else: where the vision tower lies, before and after what the
    config of `weights` names. decoder: where the mask decoder lies; decoder_mark: a part of its names. What `weights` hold
    themselves is not looked for elsewhere, but for a decoder that is taken anew. Only names of tensors are read.
    """
    missing: list[str] = []
    found = _find(missing, weights, "the model (--version)", revision)
    # Of a hub id a tower would be fetched here, for a model that is not there.
    is_place = bool(vision_else) and not HUB_ID.fullmatch(str(vision_else))
    tower, drawn = vision or (vision_else if is_place else None), decoder
    if found is not None:
        if config_of(found).get("model_type") == "seglm" or layout_of(found) in WITHOUT_BASE:
            return
        names = shapes(found)
        tower = (
            vision
            or place(config_of(found), "mm_vision_tower", "vision_tower", source=str(found))
            or vision_else
        )
        if any("vision_tower." in name for name in names):
            tower = None
        if any(decoder_mark in name for name in names) and not decoder_anew:
            drawn = None
    if tower:
        _find(missing, tower, "the vision tower (--vision-tower)")
    if drawn:
        _find(missing, drawn, "the mask decoder (--vision_pretrained)")
    if missing:
        heading = f"{len(missing)} things are not there\n" if len(missing) > 1 else ""
        raise FileNotFoundError(heading + "\n".join(missing))


def _find(missing: list[str], path: str, what: str, revision: str | None = None) -> Path | None:
    try:
        return resolve(path, what=what, revision=revision)
    except FileNotFoundError as error:
        missing.append(str(error))
        return None
