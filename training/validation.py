"""The validation of a training: looked at before it begins, asked while it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from seglm.dataset.pipeline import Source, clip
from seglm.evaluation.asking.benchmark import benchmark
from seglm.evaluation.asking.evaluate import evaluate
from seglm.evaluation.asking.leak import refuse_leak, seen
from seglm.evaluation.asking.selection import Selection
from seglm.evaluation.asking.weights import about, called, files_of
from seglm.evaluation.scores import iou
from seglm.evaluation.scores.origin import Origin
from seglm.model.recipe import Recipe
from seglm.model.released.identify import manifest_of
from seglm.training.choose import run_of
from seglm.utils import cli
from seglm.utils.resolve import resolve
from seglm.utils.types import Frames

if TYPE_CHECKING:
    from torch import nn

    from seglm.model.segmenter import Segmenter


def look_at(recipe: Recipe) -> Selection:
    """Opens the benchmark that will be scored and decodes its first sample: what is wrong there is said before hours of work."""
    spec, place = recipe.evaluate.dataset, recipe.data.dataset_dir
    chosen = benchmark(spec)
    chosen.check_truth()
    selection = chosen.open(place)
    if not len(selection):
        raise ValueError(f"evaluate.dataset (--val_dataset)={spec!r} has no sample in {place}")
    clip(selection.sample(0), frames=Frames(seen=(0,), drawn=(0,)))
    return selection


def look_at_validation(
    recipe: Recipe, sources: Sequence[Source], before: Mapping[str, str], *, allow: bool
) -> str:
    """The same for the validation of a training, which may not be of a split that it trains on. Returns why it is none.

    before: see `seen_before`. allow: warn where it would be refused.
    """
    look_at(recipe)
    spec, names = recipe.evaluate.dataset, [source.name for source in sources]
    own = refuse_leak(spec, version=None, manifest={"data": names}, allow=allow)
    # What the weights have seen before is not this run's doing: KeySeg sets out from a LISA that was trained on ReasonSeg's val.
    inherited = refuse_leak(spec, version=None, manifest={"before": before}, allow=True)
    return own or inherited


def seen_before(recipe: Recipe, sources: Sequence[Source], options: cli.Options) -> dict[str, str]:
    """What the weights have seen that a training begins with: the model's, those of --init_from, and those of a run that goes on,
    which is not told again what it began with and may be fed with other `sources` than before."""
    base = recipe.backbone
    begun = {base.weights: resolve(base.weights, revision=base.revision)}
    if options.init_from not in (None, base.weights):
        begun[options.init_from] = resolve(options.init_from)
    found = {
        source: how for one, place in begun.items() for source, how in seen(one, manifest_of(place)).items()
    }
    if options.resume is None:
        return found
    run, now = manifest_of(run_of(options, recipe.name).folder), {source.name for source in sources}
    fed = {
        name: "the run was fed with it before it stopped" for name in run.get("data", ()) if name not in now
    }
    return {**fed, **run.get("before", {}), **found}


def validate(module: nn.Module, *, out_dir: Path, leak: str = "") -> dict[str, float]:
    """What the curve shows and the best state is chosen by. leak: why it is no validation, if it was allowed all the same."""
    model = cast("Segmenter", module)
    origin = Origin("", {"weights": {}, "protocol": model.recipe.evaluate.protocol}, leak)
    scores = evaluate(model, out_dir=out_dir, origin=origin).all
    names = ("giou", "ciou") if isinstance(scores, iou.Score) else ("jf", "j", "f")
    found: dict[str, float] = {name: getattr(scores, name) for name in names}
    if scores.n_acc is not None and scores.t_acc is not None:
        found |= {"n_acc": scores.n_acc, "t_acc": scores.t_acc}
    return found if scores.emission is None else {**found, "seg_rate": scores.emission}


def origin_of(
    given: str, place: Path, recipe: Recipe, selection: Selection, leak: str, *, is_whole: bool
) -> Origin:
    """Whose the scores of --eval_only are, as `evaluation.run` says it.

    given, place: the weights, and where they were found; not `is_whole`: on the recipe's base. selection: what is scored.
    """
    base, places = recipe.backbone, {"": place}
    if not is_whole:
        places[f"{base.weights}/"] = resolve(base.weights, revision=base.revision)
    chosen = benchmark(recipe.evaluate.dataset)
    told = about(files_of(places), recipe, chosen, selection, recipe.evaluate.protocol)
    return Origin(called(given, place, on=None if is_whole else base.weights), told, leak)
