"""Full LLaVA weights from a published delta: `python -m seglm.model.released.delta --base LLAMA --delta DELTA --target OUT`.

LLaVA v0 and v1 were published as differences to LLaMA. Tensors that both have are added; embeddings and head of the
delta have rows for added tokens, which LLaMA lacks and which stand in full; tensors that only the delta has (the
projector) are in full too. The target appears at its place whole or not at all.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from seglm.model.released.errors import WeightsError, WrongNames, WrongShapes
from seglm.model.released.files import config_of, read_tensors
from seglm.model.released.folder import write_shards
from seglm.model.released.strict import listed
from seglm.utils.command import command
from seglm.utils.containers import INDEXES
from seglm.utils.flags import Parser
from seglm.utils.folders import check_new
from seglm.utils.ranges import Place, typed
from seglm.utils.resolve import resolve

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)

GROWS = ("model.embed_tokens.weight", "lm_head.weight")
"""may have more rows in the delta: tokens were added"""
LLAMA = ("model.layers.", "model.embed_tokens.", "model.norm.", "lm_head.")
"""with what the names of its tensors begin"""
COMPUTED = ("rotary_emb.inv_freq",)
"""buffers that a file may hold and that are computed today"""
KEPT = ("*.json", "*.model", "*.txt")


def added(base: Mapping[str, Tensor], delta: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Base + delta, in the delta's dtype.

    Raises WrongNames if the base has tensors that the delta lacks, WrongShapes if shapes differ by more than added tokens.
    """
    if odd := [name for name in base if not name.startswith(LLAMA)]:
        raise WrongNames(
            f"the base has {len(odd)} tensors that LLaMA has not:\n{listed(sorted(odd))}\n--base is LLaMA itself"
        )
    wanted = {name: tensor for name, tensor in base.items() if not name.endswith(COMPUTED)}
    if absent := sorted(wanted.keys() - delta.keys()):
        raise WrongNames(
            f"the delta lacks {len(absent)} tensors of the base:\n{listed(absent)}\nIs the base LLaMA in transformers' layout?"
        )
    return {
        name: _sum(name, wanted[name], tensor) if name in wanted else tensor
        for name, tensor in delta.items()
        if not name.endswith(COMPUTED)
    }


def apply_delta(base: str, delta: str, target: str | Path) -> Path:
    """Writes base + delta to the new folder `target` (weights, config, tokenizer of the delta) and returns it.

    Raises WeightsError if the target exists, and as `added`; nothing is left behind then.
    """
    target = Path(target)
    if target.exists():
        raise WeightsError(f"{target}: exists already; give a new folder as --target, or remove this one")
    base_path, delta_path = resolve(base, what="LLaMA (--base)"), resolve(delta, what="the delta (--delta)")
    tensors = added(read_tensors(base_path), read_tensors(delta_path))
    halfway = target.with_name(f".{target.name}.part-{os.getpid()}")
    halfway.mkdir(parents=True)
    try:
        for pattern in KEPT:
            for file in delta_path.glob(pattern):
                if file.name not in INDEXES:
                    shutil.copy2(file, halfway / file.name)
        _rename_in_config(halfway, target.name)
        write_shards(halfway, {name: tensor.contiguous() for name, tensor in tensors.items()})
        halfway.rename(target)
    finally:
        shutil.rmtree(halfway, ignore_errors=True)
    log.info("%s: %d tensors, base %s + delta %s", target, len(tensors), base_path, delta_path)
    return target


@command
def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = Parser(description="Make full LLaVA weights from LLaMA and a published delta.")
    parser.add_argument("--base", required=True, help="folder or hub id of LLaMA in transformers' layout")
    parser.add_argument(
        "--delta",
        required=True,
        help="folder or hub id of the delta, e.g. liuhaotian/LLaVA-Lightning-7B-delta-v1-1",
    )
    parser.add_argument("--target", required=True, type=typed(Place), help="new folder for the full weights")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    check_new(Path(options.target), "--target")
    apply_delta(options.base, options.delta, options.target)


def _sum(name: str, base: Tensor, delta: Tensor) -> Tensor:
    if base.shape == delta.shape:
        return (base.float() + delta.float()).to(delta.dtype)
    if name not in GROWS or base.shape[1:] != delta.shape[1:] or base.shape[0] > delta.shape[0]:
        raise WrongShapes(
            f"{name}: {tuple(base.shape)} in the base, {tuple(delta.shape)} in the delta; the base is of another size"
        )
    total = delta.clone()
    total[: base.shape[0]] += base.to(total.dtype)
    return total


def _rename_in_config(folder: Path, name: str) -> None:
    """A config that still calls itself a delta would be refused as one."""
    config = config_of(folder)
    if "-delta" in str(config.get("_name_or_path", "")):
        config["_name_or_path"] = name
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
