"""From a model and a benchmark to scores and files, on any number of processes with the same outcome."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from seglm.evaluation.asking.ask import Asker, asker
from seglm.evaluation.asking.benchmark import Benchmark, benchmark
from seglm.evaluation.asking.parts import Parts
from seglm.evaluation.asking.predict import batches, predict
from seglm.evaluation.asking.selection import Selection
from seglm.evaluation.asking.shown import shown
from seglm.evaluation.asking.summary import check_convention, summary
from seglm.evaluation.scores.files import MASKS, SAID, write_said
from seglm.evaluation.scores.origin import Origin, write_origin
from seglm.evaluation.scores.report import write_report
from seglm.evaluation.scores.results import Convention, Result, Scores
from seglm.evaluation.scores.video_files import open_predictions
from seglm.model.recipe import Recipe
from seglm.model.settings import Protocol
from seglm.utils import dist

if TYPE_CHECKING:
    from seglm.model.segmenter import Segmenter


def evaluate(
    model: Segmenter,
    spec: str | None = None,
    *,
    dataset_dir: Path | str | None = None,
    protocol: Protocol | None = None,
    out_dir: Path | None = None,
    convention: Convention | None = None,
    origin: Origin | None = None,
) -> Scores:
    """Scores of a model; every process calls it and gets the same.

    spec, dataset_dir, protocol: None takes what the model's recipe says (`evaluate.dataset`, `data.dataset_dir`,
    `evaluate.protocol`). convention: None takes the benchmark's. out_dir: where masks, CSVs, scores and the sheet go; None writes
    nothing. origin: whose scores they are; None leaves it open.
    Whether the model was trained on this very split is for the caller to ask (`leak.py`), and for `origin` to say.
    """
    recipe = model.recipe
    recipe.check_draws()
    chosen = benchmark(spec or recipe.evaluate.dataset)
    selection = chosen.open(dataset_dir or recipe.data.dataset_dir)
    protocol = protocol or recipe.evaluate.protocol
    ask = asker(model, protocol=protocol, max_new_tokens=recipe.evaluate.max_new_tokens)
    return evaluate_asker(
        ask,
        chosen,
        selection,
        recipe,
        protocol=protocol,
        out_dir=out_dir,
        convention=convention,
        origin=origin,
    )


def evaluate_asker(
    ask: Asker,
    chosen: Benchmark,
    selection: Selection,
    recipe: Recipe,
    *,
    protocol: Protocol = "generate",
    out_dir: Path | None = None,
    convention: Convention | None = None,
    parts: Parts | None = None,
    origin: Origin | None = None,
) -> Scores:
    """The same for anything that answers: a model, or one of the controls beside it (controls.py).

    parts, origin: see `ask_everything`; the caller removes the parts. The report says the origin, too.
    Raises ValueError for a convention that is not the benchmark's, or that needs masks on disk where there is no `out_dir`.
    """
    average = chosen.average(convention)
    check_convention(average, selection, has_masks=out_dir is not None)
    results = ask_everything(
        ask, selection, recipe, out_dir=out_dir, name=chosen.name, parts=parts, origin=origin
    )
    masks = None if out_dir is None else open_predictions(out_dir / MASKS)
    scores = summary(chosen, selection, results, masks, protocol=protocol, convention=average)
    scores = origin.mark(scores) if origin else scores
    if out_dir is not None and dist.world().is_main:
        write_report(
            out_dir,
            scores,
            results,
            shown=partial(shown, selection, out_dir / MASKS),
        )
    dist.barrier()
    return scores


def ask_everything(
    ask: Asker,
    selection: Selection,
    recipe: Recipe,
    *,
    out_dir: Path | None = None,
    name: str = "",
    parts: Parts | None = None,
    origin: Origin | None = None,
) -> list[Result]:
    """The results of all processes, in the order of the benchmark, on every process; masks and predictions.csv in `out_dir`.

    origin: whose answers they are, for who scores them later; None leaves it open.
    parts: where finished batches are kept, on a disk that all processes share; it was begun, and is for the caller to remove when
    all that is made of the results is written.
    """
    world, masks = dist.world(), None
    if out_dir is not None:
        masks = out_dir / MASKS
        masks.mkdir(parents=True, exist_ok=True)  # on every machine: each process writes its own masks
    own_batches = batches(len(selection), recipe.evaluate.batch_size)[world.rank :: world.size]
    total = sum(map(len, own_batches))
    unit = "video" if selection.is_of_videos else "img"
    with tqdm(total=total, desc=name, unit=unit, disable=not world.is_main, dynamic_ncols=True) as bar:
        own = predict(
            ask,
            selection,
            recipe,
            own_batches,
            folder=masks,
            parts=parts,
            progress=bar.update,
        )
    results = sorted(
        (result for part in dist.gather(own) for result in part),
        key=lambda result: (result.said.sample, result.said.target),
    )
    if out_dir is not None and world.is_main:
        write_origin(out_dir, origin)
        write_said(out_dir / SAID, [result.said for result in results])
    return results


def folder_name(version: str, chosen: Benchmark) -> str:
    """What the folder of a model's files of a benchmark is called, inside --out."""
    return re.sub(r"[^A-Za-z0-9.+-]+", "_", f"{Path(version).name}_{chosen.name}")
