"""Scores a model on a benchmark, on any number of processes with the same outcome.

python -m seglm.evaluation.run --version MODEL --dataset_dir DATA --val_dataset "ReasonSeg|val"
python -m seglm.evaluation.run --version MODEL --dataset_dir DATA --reproduce gsva-7b-pt/grefcoco-val
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from seglm.evaluation.asking import weights
from seglm.evaluation.asking.ask import Asker, asker
from seglm.evaluation.asking.benchmark import Benchmark, benchmark
from seglm.evaluation.asking.evaluate import ask_everything, evaluate_asker, folder_name
from seglm.evaluation.asking.parts import PARTS, Parts, check_fresh
from seglm.evaluation.asking.selection import Selection
from seglm.evaluation.asking.summary import check_convention
from seglm.evaluation.keyframes.file import KeyFrames, read_key_frames
from seglm.evaluation.keyframes.outwards import asking_from, check_outwards, from_key_frames, key_frames_of
from seglm.evaluation.propagate.anchors import asking_anchors
from seglm.evaluation.propagate.answers import Propagation, propagated
from seglm.evaluation.propagate.choice import add_flags, check_flags, named, propagation
from seglm.evaluation.published.records import Row, listing, row
from seglm.evaluation.published.reproduce import as_published, check_count, compare, write_outcome
from seglm.evaluation.scores.files import SAID
from seglm.evaluation.scores.origin import Origin
from seglm.evaluation.scores.report import SCORES
from seglm.evaluation.scores.results import Convention
from seglm.model.recipe import Recipe
from seglm.model.settings import Protocol
from seglm.utils import dist
from seglm.utils.command import command
from seglm.utils.flags import Parser
from seglm.utils.folders import check_writable
from seglm.utils.ranges import Count, place, typed

if TYPE_CHECKING:
    from seglm.model.segmenter import Segmenter


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """The command line at the top of this file."""
    given = _parsed(arguments)
    if _is_listing(given):
        print(listing(given.reproduce.partition(":")[2]))  # noqa: T201
        return
    world = dist.start()
    logging.basicConfig(level=logging.INFO if world.is_main else logging.ERROR, format="%(message)s")
    try:
        published = row(given.reproduce) if given.reproduce else None
        is_inside = _run(as_published(given, published) if published else given, world, published)
    except KeyboardInterrupt:
        begun = [str(parts.parent) for parts in sorted(given.out.glob(f"*/{PARTS}"))]
        kept = f"the same command goes on from what is in {' and '.join(begun)}" if begun else ""
        raise KeyboardInterrupt(kept) from None
    finally:
        dist.stop()
    if not is_inside:
        sys.exit(1)


def _run(given: argparse.Namespace, world: dist.World, published: Row | None) -> bool:
    """Scores and prints; False if a published row was to be reproduced and was not."""
    check_writable(given.out, "--out")
    check_flags(given)
    chosen = [benchmark(spec) for spec in given.val_dataset.split(",")]
    for one in chosen if not given.inference_only else ():
        one.check_truth()
    folders = [_folder(given, one) for one in chosen]
    leaks = weights.leaks(given, *(one.data for one in chosen))
    selections = [one.open(given.dataset_dir) for one in chosen]
    for one, selection in zip(chosen if not given.inference_only else (), selections, strict=False):
        check_convention(one.average(given.convention), selection)
    keys = _key_frames(given, selections)
    if published is not None:
        check_count(published, selections[0])
    model, recipe = weights.opened(given, world)
    recipe = _with_flags(recipe, given)
    recipe.check_draws()
    model.recipe = recipe
    protocol: Protocol = given.protocol or recipe.evaluate.protocol
    how = propagation(given, str(world.device))
    ask = _asker(model, protocol, how, keys)
    is_inside, done = True, list[Parts]()
    for one, selection, folder, leak in zip(chosen, selections, folders, leaks, strict=True):
        about = _about(recipe, protocol, one, selection, given, keys)
        parts = Parts(folder / PARTS)
        parts.begin_together(about, overwrite=given.overwrite)
        origin = Origin(weights.named(given), about, leak)
        if given.inference_only:
            ask_everything(ask, selection, recipe, out_dir=folder, name=one.name, parts=parts, origin=origin)
            message = f"masks and {SAID}: {folder}"
        else:
            scores = evaluate_asker(
                ask,
                one,
                selection,
                recipe,
                protocol=protocol,
                out_dir=folder,
                convention=given.convention,
                parts=parts,
                origin=origin,
            )
            message = f"{scores}\n\nfiles: {folder}"
            if published is not None:
                outcome = compare(published, scores, version=weights.scored(given))
                is_inside = outcome.is_inside
                message = f"{message}\n\n{outcome}"
                if world.is_main:
                    write_outcome(folder, outcome)
        done.append(parts)
        if world.is_main:
            print(message, flush=True)  # noqa: T201
    if world.is_main:
        # The last thing: who is killed before it goes on by the same command, behind the benchmarks that are done, too.
        for parts in done:
            parts.remove()
    return is_inside


def _key_frames(given: argparse.Namespace, selections: Sequence[Selection]) -> KeyFrames | None:
    """Those of --keyframes. Raises ValueError for pictures, where only videos will do, and for an expression without one."""
    for selection in selections if given.propagate or given.keyframes else ():
        if not selection.is_of_videos:
            flag = "--propagate" if given.propagate else "--keyframes"
            raise ValueError(f"{flag}: {selection.name} is of pictures; leave the flag out, or score videos")
    if given.keyframes is None:
        return None
    keys = read_key_frames(given.keyframes)
    for selection in selections:
        for number in range(len(selection)):
            key_frames_of(selection.sample(number), keys)
    return keys


def _asker(model: Segmenter, protocol: Protocol, how: Propagation | None, keys: KeyFrames | None) -> Asker:
    """The model, with what carries its masks and where it sets out. Raises ValueError if it can set out nowhere else."""
    recipe, longest = model.recipe, model.recipe.evaluate.max_new_tokens
    if keys is not None:
        if how is None:
            check_outwards(recipe)
        return from_key_frames(asking_from(model, how, protocol=protocol, max_new_tokens=longest), keys)
    if how is None:
        return asker(model, protocol=protocol, max_new_tokens=longest)
    model.recipe = asking_anchors(recipe, how.anchors)
    return propagated(asker(model, protocol=protocol, max_new_tokens=longest), how)


def _folder(given: argparse.Namespace, chosen: Benchmark) -> Path:
    """Where a benchmark's files go. Raises ValueError if an earlier outcome lies there."""
    folder: Path = given.out / (folder_name(weights.scored(given), chosen) + named(given))
    check_fresh(folder, (SCORES, SAID), overwrite=given.overwrite)
    return folder


def _about(
    recipe: Recipe,
    protocol: Protocol,
    chosen: Benchmark,
    selection: Selection,
    given: argparse.Namespace,
    keys: KeyFrames | None,
) -> dict[str, Any]:
    """By which this evaluation is told from others."""
    return {
        **weights.about(weights.fingerprint(given), recipe, chosen, selection, protocol),
        **({"propagate": [given.propagate, given.anchors]} if given.propagate else {}),
        **({"keyframes": dict(keys.frames)} if keys is not None else {}),
    }


def _with_flags(recipe: Recipe, given: argparse.Namespace) -> Recipe:
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
    needed = [] if _is_listing(given) else ["version", "dataset_dir"]
    needed += [] if given.reproduce else ["val_dataset"]
    if missing := [f"--{name}" for name in needed if getattr(given, name) is None]:
        parser.error(f"the following arguments are required: {', '.join(missing)}")
    return given


def _is_listing(given: argparse.Namespace) -> bool:
    return given.reproduce is not None and given.reproduce.partition(":")[0] == "list"


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m seglm.evaluation.run", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument("--version", help="the model: a folder or a hub id")
    parser.add_argument("--dataset_dir", type=place, help="where the data lie, as for train_ds.py")
    parser.add_argument(
        "--val_dataset",
        help='what to score: "ReasonSeg|val", "refcoco|unc|testA", "grefcoco|unc|val"; several with commas',
    )
    parser.add_argument(
        "--reproduce",
        metavar="ROW",
        help="measure a published row again and say whether it came out; `list` prints the rows, list:WORD some",
    )
    parser.add_argument(
        "--protocol", choices=get_args(Protocol), help="generate (default) or forced, the original's"
    )
    parser.add_argument(
        "--convention",
        choices=get_args(Convention),
        help="how IoU or J&F is averaged; default: the benchmark's",
    )
    parser.add_argument(
        "--out", type=place, default=Path("runs/eval"), help="folder for results (default runs/eval)"
    )
    parser.add_argument(
        "--inference_only", action="store_true", help="write masks and predictions.csv, score nothing"
    )
    weights.add_flags(parser)
    add_flags(parser)
    parser.add_argument("--batch_size", "--val_batch_size", type=typed(Count), help="pictures at once")
    parser.add_argument("--max_new_tokens", type=typed(Count), help="longest answer")
    return parser


if __name__ == "__main__":
    main()
