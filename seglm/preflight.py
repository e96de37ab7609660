"""Before a long run: can this model learn a handful of samples at all?

python -m seglm.preflight --recipe lisa_tiny --dataset_dir data/toy

A run that cannot bring eight samples to an IoU of 0.9 in a few hundred steps will not learn eighty thousand: it has a wrong base,
a frozen part or a broken label, and says so here in minutes instead of days. One process, no DeepSpeed; nothing is saved.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tqdm import tqdm

from seglm.dataset.collate import collate
from seglm.dataset.pipeline import TrainingSet
from seglm.model.load import start
from seglm.model.recipe import Recipe
from seglm.model.recipes import recipe as named
from seglm.training import optim
from seglm.training.from_recipe import as_told, training_set, training_sources
from seglm.utils.batch import Batch
from seglm.utils.command import command
from seglm.utils.dist import World
from seglm.utils.flags import Parser
from seglm.utils.ranges import Count, Positive, typed
from seglm.utils.types import Example

if TYPE_CHECKING:
    from seglm.model.segmenter import Segmenter

SAMPLES, STEPS, ENOUGH = 8, 300, 0.9
LOOK_EVERY = 20  # steps between two looks at the IoU; training stops as soon as it is reached
LOOKED = 100  # samples that are looked at for each that is wanted
LEARNING_RATE = 2e-3
WARMUP = 10


@dataclass(frozen=True)
class Outcome:
    """What became of the samples."""

    iou: float
    """mean over their masks, answers forced"""
    worst: float
    steps: int

    @property
    def passed(self) -> bool:
        return self.iou > ENOUGH


def overfit(
    recipe: Recipe,
    *,
    samples: int = SAMPLES,
    steps: int = STEPS,
    lr: float = LEARNING_RATE,
    device: str = "cpu",
) -> Outcome:
    """Trains on the first samples that have masks, all in one batch, until their IoU is enough or the steps are used up.

    Families that join a run later are there from the start. Raises ValueError if next to no sample has a mask.
    """
    import torch

    recipe = replace(recipe, data=replace(recipe.data, joins={}))
    recipe.check(World(device=torch.device(device)))
    recipe.check_draws()
    sources = training_sources(recipe)
    model = start(recipe).model.to(device)
    examples = first_with_masks(training_set(recipe, sources, model), samples)
    batch = collate(examples, share_prefix=recipe.engine.share_prefix).to(device)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = optim.adamw(trained, lr=lr, betas=recipe.optim.betas, weight_decay=0.0)
    scheduler = optim.schedule(optimizer, total=steps, warmup=WARMUP)
    outcome = Outcome(0.0, 0.0, 0)
    with tqdm(total=steps, unit="step", disable=None) as bar:
        for step in range(1, steps + 1):
            loss = model.train()(batch).loss
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, recipe.optim.clip)
            optimizer.step()
            scheduler.step()
            bar.update()
            if step % LOOK_EVERY == 0 or step == steps:
                with torch.inference_mode():
                    outcome = _look(model, batch, step)
                bar.set_postfix(loss=f"{loss.item():.3f}", iou=f"{outcome.iou:.3f}")
                if outcome.passed:
                    break
    return outcome


def first_with_masks(samples: TrainingSet, wanted: int) -> list[Example]:
    """The first samples of the mixture that ask for a mask. Raises ValueError if there are not enough among LOOKED for each."""
    found: list[Example] = []
    for number in range(LOOKED * wanted):
        example = samples[number]
        # A slot without a frame draws nothing: GSVA's [REJ].
        if any(placed.slot.frames for branch in example.branches for placed in branch.slots):
            found.append(example)
        if len(found) == wanted:
            return found
    raise ValueError(
        f"--samples {wanted}: of the first {LOOKED * wanted} samples of this mixture {len(found)} ask for a mask; name families "
        "with masks in data.mixture, with a rate in data.rates"
    )


def _look(model: Segmenter, batch: Batch, step: int) -> Outcome:
    """The IoU of every mask of the batch, its answers given; what is to be ignored is looked at as little as in a training."""
    import torch

    model.eval()
    with model.autocast():
        states = model.states(batch)
        features = model.features(batch)
    queries = model.queries(model.slot_states(states, batch))
    found: list[float] = []
    drawn = model.masks_by_frame(model.draw(queries, batch, features), batch)
    for logits, truth, ignore in zip(drawn, batch.masks, batch.ignore, strict=True):
        mask = logits > 0
        if ignore is not None:
            mask, truth = mask & ~ignore, truth & ~ignore
        overlap, union = (mask & truth).sum((1, 2)), (mask | truth).sum((1, 2))
        # Nothing drawn where nothing is, as in a frame in which the thing is out of sight, is right.
        found += torch.where(union > 0, overlap / union.clamp(min=1), 1.0).tolist()
    return Outcome(sum(found) / len(found), min(found), step)


def add_recipe_flags(parser: argparse.ArgumentParser) -> None:
    """The flags by which a command without a run chooses its recipe, for `chosen_recipe`."""
    parser.add_argument("--recipe", required=True)
    parser.add_argument("--dataset_dir", help="default: the recipe's")
    parser.add_argument("--version", help="base weights; default: the recipe's")
    parser.add_argument("settings", nargs="*", metavar="field=value")


def chosen_recipe(options: argparse.Namespace) -> Recipe:
    """The recipe with the command's settings, its data where a training would find them. Raises ValueError for a word that is no
    setting."""
    given = {"data.dataset_dir": options.dataset_dir, "backbone.weights": options.version}
    if odd := [setting for setting in options.settings if "=" not in setting]:
        raise ValueError(f"{odd[0]!r} is neither a flag nor field=value")
    settings = [setting.partition("=")[::2] for setting in options.settings]
    return as_told(named(options.recipe), [*((k, v) for k, v in given.items() if v is not None), *settings])


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Says passed or failed; the exit status is 0 or 1."""
    parser = Parser(prog="python -m seglm.preflight", description=__doc__)
    add_recipe_flags(parser)
    parser.add_argument("--samples", type=typed(Count), default=SAMPLES)
    parser.add_argument("--steps", type=typed(Count), default=STEPS)
    parser.add_argument("--lr", type=typed(Positive), default=LEARNING_RATE)
    parser.add_argument("--device", help="default: cuda where there is one, else cpu")
    options = parser.parse_args(arguments)
    recipe = chosen_recipe(options)
    import torch

    there = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    there += [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    device = options.device or there[min(1, len(there) - 1)]
    if device not in there:
        raise ValueError(f"--device {device}: permitted on this machine are {', '.join(there)}")
    outcome = overfit(recipe, samples=options.samples, steps=options.steps, lr=options.lr, device=device)
    verdict = "passed" if outcome.passed else "FAILED"
    sys.stdout.write(
        f"{verdict}: IoU {outcome.iou:.3f} on its own {options.samples} samples after {outcome.steps} steps "
        f"(worst mask {outcome.worst:.3f}, wanted more than {ENOUGH})\n"
    )
    return 0 if outcome.passed else 1


if __name__ == "__main__":
    sys.exit(main())
