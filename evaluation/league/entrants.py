"""Who takes part, and what makes a result the same result: recipe, data, weights, budget and seed, in one hash."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from seglm.dataset.mixture import phases
from seglm.dataset.sources import describe, is_begun
from seglm.dataset.toy.world import Manifest
from seglm.dataset.toy.write import read_manifest
from seglm.dataset.toy.write_videos import read_video_manifest
from seglm.model.older import with_settings
from seglm.model.recipe import Recipe
from seglm.model.recipes import recipe as named
from seglm.model.recipes import recipes
from seglm.training.from_recipe import own_families
from seglm.utils.config import to_json
from seglm.utils.manifest import weights_entry
from seglm.utils.resolve import resolve

TINY = "_tiny"
"""how the names of the recipes end that may take part unasked"""
log = logging.getLogger(__name__)
BENCHMARKS = ("ReasonSeg|val", "refcoco|unc|val", "grefcoco|unc|val")
VIDEOS = ("mevis|valid_u",)
"""asked unasked for as well, where the world has videos"""
SETTLED = ("schedule.epochs", "schedule.steps_per_epoch", "engine.seed", "engine.workers", "data.dataset_dir")
"""fields that the league sets, so that no row may"""


@dataclass(frozen=True)
class Entrant:
    """One row: a recipe, or a variant of it."""

    name: str
    """as it was typed: `lisa_tiny`, `keyseg_tiny:fusion.kind=faithful:optim.lr=1e-3`"""
    recipe: str
    settings: tuple[tuple[str, str], ...] = ()
    """(dotted path, text), as train_ds.py takes them"""

    @property
    def slug(self) -> str:
        """The name as part of a path."""
        return re.sub(r"[^A-Za-z0-9.+-]+", "_", self.name)


@dataclass(frozen=True)
class Budget:
    """What every row gets."""

    minutes: float
    """of one core, for the training steps; starting and scoring are not counted"""
    dataset_dir: Path
    """a toy world"""
    benchmarks: tuple[str, ...] = BENCHMARKS


def entrants(rows: str, world: Path) -> list[Entrant]:
    """The rows of `--rows`, commas between them; none: the `_tiny` recipes that are trained on data sets of this world.

    Raises ValueError for an unknown recipe or setting, a field that the league sets, and a row that is there twice.
    """
    typed = [row.strip() for row in rows.split(",") if row.strip()] or at_home(world)
    found = [_entrant(row) for row in typed]
    if twice := sorted({one.name for one in found if typed.count(one.name) > 1}):
        raise ValueError(f"--rows names {twice[0]!r} twice")
    return found


def at_home(world: Path) -> list[str]:
    """Names of the `_tiny` recipes whose data sets all lie in the world. Raises ValueError if there is none, or no world."""
    _manifest(world)
    tiny = [name for name in recipes() if name.endswith(TINY)]
    elsewhere = {name: absent for name in tiny if (absent := _absent(named(name), world))}
    for name, absent in elsewhere.items():
        log.info("%s takes no part: %s is not in %s", name, absent, world)
    if len(elsewhere) == len(tiny):
        raise ValueError(f"{world} holds the data of none of {', '.join(tiny)}; name rows by --rows")
    return [name for name in tiny if name not in elsewhere]


def _absent(recipe: Recipe, world: Path) -> str:
    """The first of the recipe's data sets that is not in the world; empty if all are."""
    specs = (spec for specs in recipe.data.families().values() for spec in specs)
    return next((spec for spec in specs if not is_begun(describe(spec)[0], world)), "")


def resolved(entrant: Entrant, dataset_dir: Path, *, seed: int = 0, steps: int = 1) -> Recipe:
    """The recipe as the row is trained. Raises ValueError for a setting that does not exist."""
    recipe = with_settings(
        named(entrant.recipe), [*entrant.settings, *settled(dataset_dir, seed=seed, steps=steps)]
    )
    return replace(recipe, data=own_families(recipe.data))


def stages(entrant: Entrant) -> list[tuple[Entrant, float]]:
    """What is trained for a row, one after the other, and each one's share of the minutes: as their schedules have it.

    A recipe that begins with another one's weights (`Recipe.after`) is the second of two; `:after=` takes it without the first.
    Settings of the row are those of its own recipe alone.
    """
    own = with_settings(named(entrant.recipe), entrant.settings)
    if not own.after:
        return [(entrant, 1.0)]
    before = named(own.after)
    first, second = (one.schedule.epochs * one.schedule.steps_per_epoch for one in (before, own))
    share = first / (first + second)
    return [(Entrant(f"{entrant.name} ({own.after})", own.after), share), (entrant, 1 - share)]


def parts(entrant: Entrant) -> list[tuple[Entrant, float]]:
    """What a stage consists of where families join its mixture later (`Data.joins`): each part as a row that is like it from its
    first step on, and its share of the steps, which take differently long."""
    data = with_settings(named(entrant.recipe), entrant.settings).data
    mixtures = phases(data.shares(), data.joins)
    if len(mixtures) == 1:
        return [(entrant, 1.0)]
    at_once = [(f"data.joins.{family}", "0") for family in data.joins]
    return [
        (
            replace(
                entrant,
                settings=(
                    *entrant.settings,
                    ("data.mixture", ",".join(family for family, rate in rates.items() if rate)),
                    ("data.rates", ",".join(str(rate) for rate in rates.values() if rate)),
                    *at_once,
                ),
            ),
            end - begin,
        )
        for begin, end, rates in mixtures
    ]


def settled(dataset_dir: Path, *, seed: int, steps: int) -> list[tuple[str, str]]:
    """What the league sets in every recipe, in the order of SETTLED; the loader works in the one thread that is counted."""
    return list(zip(SETTLED, ("1", str(steps), str(seed), "0", str(dataset_dir)), strict=True))


def fingerprint(entrant: Entrant, budget: Budget, *, seed: int = 0, steps: Sequence[int] = ()) -> str:
    """16 hexadecimal digits that change with whatever the result depends on, the code apart; steps: of each stage.

    Raises ValueError if there is no toy world at `budget.dataset_dir`.
    """
    world = _manifest(budget.dataset_dir)
    trained = [one for one, _ in stages(entrant)]
    found = [  # where the world lies does not matter
        resolved(one, Path("-"), seed=seed, steps=count)
        for one, count in zip(trained, steps or [1] * len(trained), strict=True)
    ]
    weights = {
        one
        for recipe in found
        for one in (recipe.backbone.weights, recipe.backbone.vision, recipe.decoder.weights)
    }
    facts = {
        "recipes": [to_json(recipe) for recipe in found],
        "world": asdict(world),
        "videos": None if (videos := read_video_manifest(budget.dataset_dir)) is None else asdict(videos),
        "weights": sorted(json.dumps(weights_entry(resolve(one))["files"]) for one in weights),
        "minutes": budget.minutes,
        "benchmarks": budget.benchmarks,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _manifest(world: Path) -> Manifest:
    """Raises ValueError if there is no toy world at this place."""
    found = read_manifest(world)
    if found is None:
        raise ValueError(
            f"{world} is no toy world; python -m seglm.dataset.toy --dataset_dir {world} writes it"
        )
    return found


def _entrant(row: str) -> Entrant:
    recipe, *rest = row.split(":")
    settings = []
    for setting in rest:
        path, equals, text = setting.partition("=")
        if not equals:
            raise ValueError(
                f"--rows {row!r}: {setting!r} is not path=value; a row is RECIPE[:path=value ...]"
            )
        if path in SETTLED:
            raise ValueError(f"--rows {row!r}: the league sets {path} in every row")
        settings.append((path, text))
    one = Entrant(row, recipe, tuple(settings))
    resolved(one, Path("-"))
    return one


def seeds_of(text: str) -> tuple[int, ...]:
    """`0,1,2` -> (0, 1, 2). Raises ValueError for what is no number, or is there twice."""
    try:
        seeds = tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise ValueError(f"--seeds {text!r}: whole numbers with commas between them, e.g. 0,1,2") from error
    if len(set(seeds)) != len(seeds):
        raise ValueError(f"--seeds {text!r} names a seed twice")
    return seeds


def check_benchmarks(rows: Sequence[Entrant], budget: Budget) -> None:
    """Raises ValueError for a benchmark that could not be scored once the rows are trained: only a server knows its truth, its
    data are not in the world, or a row is trained on them.
    """
    from seglm.evaluation.asking.benchmark import benchmark
    from seglm.evaluation.asking.leak import leak

    for spec in budget.benchmarks:
        chosen = benchmark(spec)
        chosen.check_truth()
        chosen.open(budget.dataset_dir)
        for one in [stage for row in rows for stage, _ in stages(row)]:
            families = resolved(one, budget.dataset_dir).data.families().values()
            seen = [f"{about.name}|{split}" for names in families for about, split in map(describe, names)]
            if reason := leak(spec, version=None, manifest={"data": seen}):
                raise ValueError(
                    f"--benchmarks {spec!r}: of the row {one.name!r} {reason}; name another split"
                )


def benchmarks_of(text: str, world: Path) -> tuple[str, ...]:
    """The specs of `--benchmarks`, checked; none: those of pictures, and those of videos that are in this world.

    Raises ValueError for one that does not exist.
    """
    from seglm.evaluation.asking.benchmark import benchmark

    if not text.strip():
        return (*BENCHMARKS, *(spec for spec in VIDEOS if is_begun(describe(spec)[0], world)))
    specs: Sequence[str] = [part.strip() for part in text.split(",")]
    for spec in specs:
        benchmark(spec)
    return tuple(specs)
