"""The weights that an evaluation asks: their flags, what they were trained on, how they are opened and known again."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from seglm.evaluation.asking.benchmark import Benchmark
from seglm.evaluation.asking.leak import refuse_leak
from seglm.evaluation.asking.selection import Selection
from seglm.model.precision import Precision
from seglm.model.settings import Protocol
from seglm.utils.config import to_json
from seglm.utils.dist import World
from seglm.utils.ranges import CountOrNone, typed

if TYPE_CHECKING:
    from seglm.model.recipe import Recipe
    from seglm.model.segmenter import Segmenter

WHAT = "the weights to score (--weight, else --version)"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that the functions below read, beside --version."""
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier outcome in --out")
    parser.add_argument("--allow_leak", action="store_true", help="score a split the weights were trained on")
    parser.add_argument(
        "--weight", help="trained weights that were never merged, with their base as --version (GSVA's .bin)"
    )
    parser.add_argument("--recipe", help="name of the recipe; found out from the weights if not given")
    parser.add_argument("--precision", choices=get_args(Precision), help="default: the recipe's")
    parser.add_argument("--vision_tower", "--vision-tower", help="CLIP, for releases that do not hold it")
    parser.add_argument("--vision_pretrained", help="SAM's .pth, for releases that do not hold it")
    parser.add_argument(
        "--local_rank", "--local-rank", type=typed(CountOrNone), help=argparse.SUPPRESS
    )  # the launcher's; LOCAL_RANK says the same


def scored(given: argparse.Namespace) -> str:
    """Path or hub id of the weights whose scores are asked for."""
    name: str = given.weight or given.version
    return name


def named(given: argparse.Namespace) -> str:
    """The same for a report."""
    return called(scored(given), place(given), on=given.version if given.weight else None)


def called(name: str, found: Path, *, on: str | None = None) -> str:
    """Weights for a report: where they were found, if elsewhere, and what they are trained weights of."""
    where = name if found == Path(name) else f"{name} ({found})"
    return where if on is None else f"{where} on {on}"


def leaks(given: argparse.Namespace, *specs: str) -> list[str]:
    """Why a score on each of these is none; empty where nothing says so. Raises as `refuse_leak`."""
    from seglm.model.released.identify import manifest_of

    manifest = manifest_of(place(given))
    return [
        refuse_leak(spec, version=scored(given), manifest=manifest, allow=given.allow_leak) for spec in specs
    ]


def opened(given: argparse.Namespace, world: World, *, takes_base: bool = False) -> tuple[Segmenter, Recipe]:
    """The model on this process's device.

    takes_base: a base that was never trained to segment is opened as its training begins, for its words. Raises as `model.load`.
    """
    from seglm.model.load import load, load_base, load_unmerged
    from seglm.model.released.identify import BASES, layout_of

    load_any: Callable[..., tuple[Segmenter, Recipe]] = load
    if given.weight is not None:
        load_any = partial(load_unmerged, weight=given.weight)
    elif takes_base and layout_of(place(given)) in BASES:
        load_any = load_base
    return load_any(
        given.version,
        recipe=given.recipe,
        precision=given.precision,
        device=str(world.device),
        vision=given.vision_tower,
        decoder=given.vision_pretrained,
        world=world,
    )


def fingerprint(given: argparse.Namespace) -> dict[str, Any]:
    """Size and time of each file, by which other weights are told from these; also of what is loaded with them."""
    from seglm.utils.resolve import resolve

    others = [given.version if given.weight else None, given.vision_tower, given.vision_pretrained]
    return files_of({"": place(given), **{f"{name}/": resolve(name) for name in others if name}})


def files_of(places: Mapping[str, Path]) -> dict[str, Any]:
    """The same of files and folders, whose names begin with those of their places."""
    return {
        f"{whose}{file.name}": [file.stat().st_size, file.stat().st_mtime_ns]
        for whose, found in places.items()
        for file in (sorted(found.iterdir()) if found.is_dir() else [found])
    }


def about(
    files: Mapping[str, Any], recipe: Recipe, chosen: Benchmark, selection: Selection, protocol: Protocol
) -> dict[str, Any]:
    """`Origin.about` of the answers of weights with these `files`."""
    return {
        "weights": files,
        "recipe": to_json(recipe),
        "protocol": protocol,
        "benchmark": chosen.name,
        "data": selection.fingerprint(),
    }


def place(given: argparse.Namespace) -> Path:
    """Where the weights lie. Raises FileNotFoundError."""
    from seglm.utils.resolve import resolve

    return resolve(scored(given), what=WHAT)
