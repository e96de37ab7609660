"""Our merged folder: `config.json` (model_type seglm), safetensors shards under canonical names, tokenizer,
preprocessor, manifest, probe.

It opens with `seglm.model.load.load`, and after `import seglm.hf` with `AutoModel.from_pretrained`; it is itself a
valid `--version`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seglm.model.older import recipe_from_json
from seglm.model.precision import Precision, computed_in
from seglm.model.recipe import Recipe
from seglm.model.released.checkpoint import Checkpoint
from seglm.model.released.config_keys import place, section, select_layer
from seglm.model.released.errors import WeightsError
from seglm.model.released.files import config_of, read_json, read_tensors
from seglm.model.released.identify import MANIFEST
from seglm.model.sizes import Sizes
from seglm.utils.atomic import follow_umask
from seglm.utils.config import to_json

if TYPE_CHECKING:
    from torch import Tensor

MODEL_TYPE = "seglm"
SHARD = "4GB"  # small enough for every file system and for parallel downloads
FLOAT32_PARTS = ("decoder.", "project.", "fuse.")
"""kept in float32 whatever the precision: masks are drawn in float32, and together these are small beside the LLM"""


def load_folder(path: str | Path) -> Checkpoint:
    """Reads a merged folder. Raises WeightsError if it is none or if its config was written by another layout."""
    path = Path(path)
    config = config_of(path)
    if config.get("model_type") != MODEL_TYPE:
        raise WeightsError(
            f"{path}: not a merged SegLM folder (model_type {config.get('model_type')!r}, wanted {MODEL_TYPE!r})"
        )
    sizes = _sizes(config, path)
    manifest = path / MANIFEST
    return Checkpoint(
        source=str(path),
        kind="seglm",
        tensors=read_tensors(path),
        llm=dict(sizes.llm),
        vision=dict(sizes.vision),
        projector=sizes.projector,
        select_layer=sizes.select_layer,
        decoder=dict(sizes.decoder),
        tokenizer=str(path),
        system=place(config, "system", source=str(path)) or "",
        recipe=place(config, "recipe", source=str(path)),
        manifest=read_json(manifest) if manifest.is_file() else {},
    )


def recipe_of(path: str | Path) -> Recipe:
    """The recipe that a merged folder was made with, its weights pointing at the folder itself."""
    folder = str(path)
    try:
        recipe = recipe_from_json(section(config_of(path), "resolved", source=folder))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise WeightsError(
            f"{folder}: config.json does not hold the recipe that the folder was made with ({error}); fetch the folder again"
        ) from error
    return replace(recipe, backbone=recipe.backbone.at(folder), decoder=recipe.decoder.at(folder))


def _sizes(config: Mapping[str, Any], path: Path) -> Sizes:
    dims = section(config, "dims", source=str(path))
    try:
        sizes = Sizes.from_json(dims)
        for part in (sizes.llm, sizes.vision, sizes.decoder):
            dict(part)
    except (TypeError, ValueError) as error:
        raise WeightsError(
            f"{path}: config.json does not hold the sizes of the model under dims ({error}); fetch the folder again"
        ) from error
    layer = select_layer({"mm_vision_select_layer": sizes.select_layer}, source=str(path))
    return replace(sizes, select_layer=layer)


def write_folder(
    folder: Path,
    tensors: Mapping[str, Tensor],
    *,
    recipe: Recipe,
    sizes: Sizes,
    tokenizer: Any,
    manifest: Mapping[str, Any],
    shard: str = SHARD,
) -> None:
    """Writes everything but the probe into an empty folder; the caller makes it appear at its place in one step.

    tensors: canonical names, no adapters; stored in the recipe's precision, FLOAT32_PARTS in float32.
    """
    folder.mkdir(parents=True)
    precision = recipe.engine.precision
    config = {
        "model_type": MODEL_TYPE,
        "architectures": ["SegLMModel"],
        "recipe": recipe.name,
        "system": recipe.system,
        "tokens": list(recipe.vocabulary),
        "precision": precision,
        "dims": to_json(sizes),
        "resolved": to_json(recipe),
    }
    _write_json(folder / "config.json", config)
    how = {
        "vision": recipe.backbone.preprocessing(sizes),
        "decoder": recipe.decoder.preprocessing(),
    }
    _write_json(folder / "preprocessor_config.json", how)
    _write_json(folder / MANIFEST, manifest)
    tokenizer.save_pretrained(folder)
    write_shards(folder, {name: _stored(name, tensor, precision) for name, tensor in tensors.items()}, shard)


def write_shards(folder: Path, tensors: dict[str, Tensor], shard: str = SHARD) -> None:
    """Writes `model.safetensors`, or shards of at most `shard` with their index."""
    from huggingface_hub import split_torch_state_dict_into_shards
    from safetensors.torch import save_file

    split = split_torch_state_dict_into_shards(tensors, max_shard_size=shard)
    for file, inside in split.filename_to_tensors.items():
        save_file({name: tensors[name] for name in inside}, folder / file, metadata={"format": "pt"})
        follow_umask(folder / file)
    if split.is_sharded:
        index = {"metadata": split.metadata, "weight_map": split.tensor_to_filename}
        _write_json(folder / "model.safetensors.index.json", index)


def _stored(name: str, tensor: Tensor, precision: Precision) -> Tensor:
    import torch

    dtype = torch.float32 if name.startswith(FLOAT32_PARTS) else computed_in(precision)
    return tensor.detach().to("cpu", dtype).contiguous()


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=1, sort_keys=False) + "\n", encoding="utf-8")
