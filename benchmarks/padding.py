"""What a row budget (`engine.row_tokens`) saves where images have little to share: GSVA asks for everything in one dialogue.

    python -m benchmarks.padding [--dataset_dir data/toy] [--budgets 384 512 768 1024] [--batches 8] [--repeats 3]

Without a budget each image has a row of its own, and rows are padded to the longest of the micro-batch. Prints, for batches of
`gsva_tiny` on the toy gRefCOCO and the rest of its mixture, and (--size) for made-up batches of GSVA's lengths on the model of
`benchmarks.step` at 512 pixels: how many positions are padding, and how long a training step takes. One thread, process CPU
seconds, layouts taken in turn, medians; the run fails unless all layouts have one loss.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch

from benchmarks.measure import in_turn, ratios
from benchmarks.sizes import GSVA_MIX, SIZES, examples_of, recipe_of, segmenter
from seglm.dataset.collate import collate
from seglm.model.build import build
from seglm.model.recipes import recipe as named
from seglm.model.segmenter import Segmenter
from seglm.training.from_recipe import training_set, training_sources
from seglm.utils.batch import Batch
from seglm.utils.flags import Parser
from seglm.utils.types import Example

TOLERANCE = 1e-5


def toy(name: str, dataset_dir: str, batches: int) -> tuple[Segmenter, list[list[Example]]]:
    """A toy recipe on its bases, and its first micro-batches on the toy world, all families from the start; no dropout."""
    recipe = named(name)
    lora = replace(recipe.trainable.lora, dropout=0.0)
    recipe = replace(
        recipe,
        data=replace(recipe.data, dataset_dir=dataset_dir, joins={}),
        trainable=replace(recipe.trainable, lora=lora),
    )
    model = build(recipe).model.train()
    samples = training_set(recipe, training_sources(recipe), model)
    size = recipe.schedule.batch_size
    return model, [
        [samples[number] for number in range(first * size, (first + 1) * size)] for first in range(batches)
    ]


def made_up(size: str) -> tuple[Segmenter, list[list[Example]]]:
    """A model with random weights, and one micro-batch of GSVA's lengths."""
    chosen = replace(SIZES[size], talks=GSVA_MIX)
    return segmenter(chosen, recipe_of(chosen)), [examples_of(chosen)]


def report(
    title: str, model: Segmenter, micro: Sequence[Sequence[Example]], budgets: Sequence[int], repeats: int
) -> None:
    """Prints a line for each budget that changes the layout. Raises RuntimeError if a layout changes the loss."""
    layouts: dict[str, list[Batch]] = {}
    for budget in (0, *budgets):
        batches = [collate(examples, row_tokens=budget or None) for examples in micro]
        if shapes(batches) not in [shapes(known) for known in layouts.values()]:
            layouts[str(budget or "-")] = batches
    losses: dict[str, float] = {}

    def run(name: str) -> None:
        losses[name] = trained(model, layouts[name])

    taken = in_turn({name: partial(run, name) for name in layouts}, repeats)
    print(f"\n{title}: {len(micro)} micro-batches of {len(micro[0])} images")
    for name, batches in layouts.items():
        off = abs(losses[name] - losses["-"]) / abs(losses["-"])
        if off > TOLERANCE:
            raise RuntimeError(f"row_tokens={name} changes the loss by {off:.1e} (allowed {TOLERANCE})")
        rows = statistics.mean(batch.ids.shape[0] for batch in batches)
        seconds = statistics.median(taken[name]) / len(micro)
        print(
            f"  row_tokens {name:>5}  rows {rows:4.1f}  padding {100 * padding(batches):5.1f} %"
            f"  {seconds:7.3f} CPU s a step  {ratios(taken['-'], taken[name])}"
        )


def trained(model: Segmenter, batches: Sequence[Batch]) -> float:
    """Forward and backward of each batch; the sum of their losses."""
    total = 0.0
    for batch in batches:
        model.zero_grad()
        loss = model(batch).loss
        loss.backward()
        total += loss.item()
    return total


def shapes(batches: Sequence[Batch]) -> list[torch.Size]:
    return [batch.ids.shape for batch in batches]


def padding(batches: Sequence[Batch]) -> float:
    """The share of positions that hold nothing."""
    return sum(int((batch.group < 0).sum()) for batch in batches) / sum(
        batch.ids.numel() for batch in batches
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = Parser(
        prog="python -m benchmarks.padding",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--dataset_dir", default="data/toy")
    parser.add_argument("--budgets", type=int, nargs="+", default=[384, 512, 768, 1024])
    parser.add_argument("--batches", type=int, default=8, help="of the toy world; 0 for none")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--size", choices=("tiny", "baseline"), default="baseline")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if options.batches:
        model, micro = toy("gsva_tiny", options.dataset_dir, options.batches)
        report("gsva_tiny, toy world", model, micro, options.budgets, options.repeats)
    report(f"GSVA's lengths, size {options.size}", *made_up(options.size), options.budgets, options.repeats)


if __name__ == "__main__":
    main()
