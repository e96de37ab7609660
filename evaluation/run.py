"""Scores a model on a benchmark, on any number of processes with the same outcome.

python -m seglm.evaluation.run --version MODEL --dataset_dir DATA --val_dataset "ReasonSeg|val"
python -m seglm.evaluation.run --version MODEL --dataset_dir DATA --reproduce gsva-7b-pt/grefcoco-val
"""

from __future__ import annotations

import argparse
import logging
import re
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from tqdm import tqdm

from seglm.dataset.faults import Fault
from seglm.evaluation.asking.ask import Asker, asker, refuse_half_on_cpu
from seglm.evaluation.asking.benchmark import Benchmark, benchmark
from seglm.evaluation.asking.expressions import View
from seglm.evaluation.asking.leak import check
from seglm.evaluation.asking.predict import batches, load_clip, predict, read_mask
from seglm.evaluation.published.records import Row, listing, row
from seglm.evaluation.published.reproduce import as_published, check_count, compare, write_outcome
from seglm.evaluation.scores.report import SCORES, write_report
from seglm.evaluation.scores.results import Convention, Result, Scores, summarise, write_said
from seglm.model.precision import Precision
from seglm.model.recipe import Protocol, Recipe
from seglm.utils import dist

if TYPE_CHECKING:
    from seglm.model.segmenter import Segmenter

MASKS, SAID = "masks", "predictions.csv"


def evaluate(
    model: Segmenter,
    spec: str | None = None,
    *,
    dataset_dir: Path | str | None = None,
    protocol: Protocol | None = None,
    out_dir: Path | None = None,
    convention: Convention | None = None,
) -> Scores:
    """Scores of a model; every process calls it and gets the same.

    spec, dataset_dir, protocol: None takes what the model's recipe says (`evaluate.dataset`, `data.dataset_dir`,
    `evaluate.protocol`). convention: None takes the benchmark's. out_dir: where masks, CSVs, scores and the sheet go; None writes
    nothing.
    Whether the model was trained on this very split is for the caller to ask (`evaluation.leak`).
    """
    recipe = model.recipe
    chosen = benchmark(spec or recipe.evaluate.dataset)
    view = chosen.open(dataset_dir or recipe.data.dataset_dir)
    protocol = protocol or recipe.evaluate.protocol
    ask = asker(model, protocol=protocol, max_new_tokens=recipe.evaluate.max_new_tokens)
    return evaluate_asker(
        ask, chosen, view, recipe, protocol=protocol, out_dir=out_dir, convention=convention
    )


def evaluate_asker(
    ask: Asker,
    chosen: Benchmark,
    view: View,
    recipe: Recipe,
    *,
    protocol: Protocol = "generate",
    out_dir: Path | None = None,
    convention: Convention | None = None,
) -> Scores:
    """The same for anything that answers: a model, or one of the controls beside it (evaluation/baselines.py)."""
    average = chosen.average(convention)
    results = ask_everything(ask, view, recipe, out_dir=out_dir, name=chosen.name)
    scores = summarise(
        results,
        benchmark=chosen.name,
        protocol=protocol,
        convention=average,
        rule=chosen.rule,
        drawn_empty_adds=chosen.scored.drawn_empty_adds,
    )
    if out_dir is not None and dist.world().is_main:
        write_report(
            out_dir,
            scores,
            results,
            mask=lambda said: read_mask(out_dir / MASKS / said.file),
            load=lambda number: load_clip(view, recipe, number)[1],
        )
    dist.barrier()
    return scores


def ask_everything(
    ask: Asker, view: View, recipe: Recipe, *, out_dir: Path | None = None, name: str = ""
) -> list[Result]:
    """The results of all processes, in the order of the benchmark, on every process; masks and predictions.csv in `out_dir`."""
    world, masks = dist.world(), None
    if out_dir is not None:
        masks = out_dir / MASKS
        masks.mkdir(parents=True, exist_ok=True)  # on every machine: each process writes its own masks
    own_batches = batches(len(view), recipe.evaluate.batch_size)[world.rank :: world.size]
    total = sum(map(len, own_batches))
    with tqdm(total=total, desc=name, unit="img", disable=not world.is_main, dynamic_ncols=True) as bar:
        own = predict(
            ask,
            view,
            recipe,
            own_batches,
            folder=masks,
            progress=bar.update,
        )
    results = sorted(
        (result for part in dist.gather(own) for result in part),
        key=lambda result: (result.said.sample, result.said.target),
    )
    if out_dir is not None and world.is_main:
        write_said(out_dir / SAID, [result.said for result in results])
    return results


# ---- command line ---------------------------------------------------------------------------------------------------
def main(arguments: Sequence[str] | None = None) -> None:
    """The command line at the top of this file."""
    given = _parsed(arguments)
    if given.reproduce == "list":
        print(listing())  # noqa: T201
        return
    world = dist.start()
    logging.basicConfig(level=logging.INFO if world.is_main else logging.ERROR, format="%(message)s")
    try:
        published = row(given.reproduce) if given.reproduce else None
        is_inside = _run(as_published(given, published) if published else given, world, published)
    except (ValueError, OSError, Fault) as error:
        sys.exit(
            f"error: {error}" if world.size == 1 else f"error (process {world.rank} of {world.size}): {error}"
        )
    finally:
        dist.stop()
    if not is_inside:
        sys.exit(1)


def _run(given: argparse.Namespace, world: dist.World, published: Row | None) -> bool:
    """Scores and prints; False if a published row was to be reproduced and was not."""
    from seglm.model.load import load, load_unmerged
    from seglm.model.released.identify import manifest_of
    from seglm.utils.resolve import resolve

    chosen = [benchmark(spec) for spec in given.val_dataset.split(",")]
    folders = [_folder(given, one) for one in chosen]
    scored = given.weight or given.version
    manifest = manifest_of(resolve(scored, what="the weights to score (--weight, else --version)"))
    for one in chosen:
        check(one.data, version=scored, manifest=manifest, allow=given.allow_leak)
    views = [one.open(given.dataset_dir) for one in chosen]
    if published is not None:
        check_count(published, views[0])
    opened = load if given.weight is None else partial(load_unmerged, weight=given.weight)
    model, recipe = opened(
        given.version,
        recipe=given.recipe,
        precision=given.precision,
        device=str(world.device),
        vision=given.vision_tower,
        decoder=given.vision_pretrained,
    )
    refuse_half_on_cpu(recipe, str(world.device))
    recipe = _with_flags(recipe, given)
    model.recipe = recipe
    protocol: Protocol = given.protocol or recipe.evaluate.protocol
    ask = asker(model, protocol=protocol, max_new_tokens=recipe.evaluate.max_new_tokens)
    is_inside = True
    for one, view, folder in zip(chosen, views, folders, strict=True):
        if given.inference_only:
            ask_everything(ask, view, recipe, out_dir=folder, name=one.name)
            message = f"masks and {SAID}: {folder}"
        else:
            scores = evaluate_asker(
                ask, one, view, recipe, protocol=protocol, out_dir=folder, convention=given.convention
            )
            message = f"{scores}\n\nfiles: {folder}"
            if published is not None:
                outcome = compare(published, scores, version=scored)
                is_inside = outcome.is_inside
                message = f"{message}\n\n{outcome}"
                if world.is_main:
                    write_outcome(folder, outcome)
        if world.is_main:
            print(message, flush=True)  # noqa: T201
    return is_inside


def folder_name(version: str, chosen: Benchmark) -> str:
    """What the folder of a model's files of a benchmark is called, inside --out."""
    return re.sub(r"[^A-Za-z0-9.+-]+", "_", f"{Path(version).name}_{chosen.name}")


def _folder(given: argparse.Namespace, chosen: Benchmark) -> Path:
    """Where a benchmark's files go. Raises ValueError if an earlier outcome lies there."""
    folder: Path = given.out / folder_name(given.weight or given.version, chosen)
    if (folder / SAID).exists() and not given.overwrite:
        what = SCORES if (folder / SCORES).exists() else SAID
        raise ValueError(
            f"{folder / what} is there already; pass --overwrite to replace it, or another --out"
        )
    return folder


def _with_flags(recipe: Recipe, given: argparse.Namespace) -> Recipe:
    from dataclasses import replace

    changes = {
        name: value
        for name, value in (("batch_size", given.batch_size), ("max_new_tokens", given.max_new_tokens))
        if value is not None
    }
    return replace(recipe, evaluate=replace(recipe.evaluate, **changes))


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line; what has to be there depends on --reproduce."""
    parser = _parser()
    given = parser.parse_args(arguments)
    needed = [] if given.reproduce == "list" else ["version", "dataset_dir"]
    needed += [] if given.reproduce else ["val_dataset"]
    if missing := [f"--{name}" for name in needed if getattr(given, name) is None]:
        parser.error(f"the following arguments are required: {', '.join(missing)}")
    return given


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m seglm.evaluation.run", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument("--version", help="the model: a folder or a hub id")
    parser.add_argument("--dataset_dir", type=Path, help="where the data lie, as for train_ds.py")
    parser.add_argument(
        "--val_dataset",
        help='what to score: "ReasonSeg|val", "refcoco|unc|testA", "grefcoco|unc|val"; several with commas',
    )
    parser.add_argument(
        "--reproduce",
        metavar="ROW",
        help="measure a published row again and say whether it came out; `list` prints the rows",
    )
    parser.add_argument(
        "--protocol", choices=get_args(Protocol), help="generate (default) or forced, the original's"
    )
    parser.add_argument(
        "--convention", choices=get_args(Convention), help="how IoU is averaged; default: the benchmark's"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("runs/eval"), help="folder for results (default runs/eval)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier outcome in --out")
    parser.add_argument(
        "--inference_only", action="store_true", help="write masks and predictions.csv, score nothing"
    )
    parser.add_argument("--allow_leak", action="store_true", help="score a split the weights were trained on")
    parser.add_argument(
        "--weight", help="trained weights that were never merged, with their base as --version (GSVA's .bin)"
    )
    parser.add_argument("--recipe", help="name of the recipe; found out from the weights if not given")
    parser.add_argument("--precision", choices=get_args(Precision), help="default: the recipe's")
    parser.add_argument("--vision_tower", "--vision-tower", help="CLIP, for releases that do not hold it")
    parser.add_argument("--vision_pretrained", help="SAM's .pth, for releases that do not hold it")
    parser.add_argument("--batch_size", "--val_batch_size", type=int, help="pictures at once")
    parser.add_argument("--max_new_tokens", type=int, help="longest answer")
    parser.add_argument(
        "--local_rank", "--local-rank", help=argparse.SUPPRESS
    )  # the launcher's; LOCAL_RANK says the same
    return parser


if __name__ == "__main__":
    main()
