"""Recipes as the first versions wrote them: their fields under today's names, in manifests, merged folders and commands alike.

Until a recipe's parts built themselves (`backbone`, `decoder`, `fusion`, `terms`), each was one class with the fields of every
system, told apart by strings.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from seglm.model.recipe import Recipe
from seglm.utils.config import CLASS, from_json, override

LLAVA = "seglm.model.backbones.llava:Llava"
SAM, RESTARTED_SAM = "seglm.model.decoders.sam:Sam", "seglm.model.systems.keyseg:RestartedSam"
IDENTITY, KEY_FUSION = "seglm.model.fusion:Identity", "seglm.model.key_fusion:KeyFusion"
TERMS = {
    "language": "seglm.model.terms:Language",
    "bce": "seglm.model.terms:Bce",
    "dice": "seglm.model.terms:Dice",
    "keyword": "seglm.model.key_fusion:Keyword",
}
GSVA_TERMS = {
    "bce": "seglm.model.systems.gsva:BceOfRejected",
    "dice": "seglm.model.systems.gsva:DiceOfRejected",
}
PARTS = ("backbone", "decoder", "data", "engine")
FAMILIES = ("sem_seg", "refer_seg", "vqa", "reason_seg")
MODULES = {"seglm.model.fuse": "seglm.model.fusion"}


def recipe_from_json(data: Mapping[str, Any]) -> Recipe:
    """The recipe that `to_json` wrote, today or before. Raises ValueError as `from_json`."""
    parts = [data.get(key) for key in PARTS] if isinstance(data, Mapping) else [None]
    if not all(isinstance(part, Mapping) for part in parts):
        raise ValueError(f"this is no recipe: it has to hold {', '.join(PARTS)}, each with its fields")
    if CLASS in data["backbone"]:
        return from_json(Recipe, data)
    try:
        today = _today(data)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"this is no recipe, neither of today nor of the first versions: {error!r}"
        ) from error
    return from_json(Recipe, today)


def with_settings(recipe: Recipe, settings: Iterable[tuple[str, str]]) -> Recipe:
    """`override` that knows the old paths, too."""
    return override(recipe, [pair for path, text in settings for pair in _paths_today(recipe, path, text)])


def _today(old: Mapping[str, Any]) -> dict[str, Any]:
    roles = {old.get("reject_token", ""): "rejects", old.get("key_token", ""): "names"}
    decoder, fusion, engine, data = (
        dict(old.get(key, {})) for key in ("decoder", "fusion", "engine", "data")
    )
    restarts, rejected = decoder.pop("restart", False), engine.pop("rejected_masks", "leave_out")
    decoder.pop("kind", None)
    has_fusion = fusion.get("kind", "identity") != "identity"
    terms = []
    for term in old.get("terms", ()):
        own = GSVA_TERMS.get(term["name"]) if old["system"] == "gsva" else None
        more = {"rejected": rejected} if own else {}
        terms.append({CLASS: own or TERMS[term["name"]], "weight": term["weight"], **more})
    sets = {family: data.pop(family) for family in FAMILIES if family in data}
    new = {key: value for key, value in old.items() if key not in ("reject_token", "key_token")}
    return new | {
        "backbone": {CLASS: LLAVA, **old["backbone"]},
        "decoder": {CLASS: RESTARTED_SAM if restarts else SAM, **decoder},
        "tokens": [{"name": name, "role": roles.get(name, "draws")} for name in old["tokens"]],
        "fusion": {CLASS: KEY_FUSION, **fusion} if has_fusion else {CLASS: IDENTITY},
        "terms": terms,
        "data": {**data, "sets": sets},
        "engine": engine,
    }


def _paths_today(recipe: Recipe, path: str, text: str) -> Iterator[tuple[str, str]]:
    first, _, last = path.partition(".")
    if first == "data" and last.removesuffix("+") in FAMILIES:
        yield f"data.sets.{last}", text
    elif path == "decoder.restart":
        yield "decoder", RESTARTED_SAM.partition(":")[2] if text.lower() == "true" else SAM.partition(":")[2]
    elif path == "fusion.kind" and text == "identity":
        yield "fusion", "Identity"
    elif path == "engine.rejected_masks":
        yield from (
            (f"terms.{term.name}.rejected", text) for term in recipe.terms if hasattr(term, "rejected")
        )
    else:
        yield path, text
