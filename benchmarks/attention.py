"""What it saves that no dialogue is held against another one of its row (`engine.attention=prefix` beside `sdpa`).

    python -m benchmarks.attention [--dataset_dir data/toy] [--recipes lisa_tiny glus_tiny ...] [--batches 4] [--repeats 3]

Whole training steps of toy recipes on the toy world, one thread, process CPU seconds, both kinds in turn, medians; then reading a
row alone, as before an answer: a prefix with more and more dialogues behind it, on the model of `benchmarks.step` at tiny size.
The run fails unless both give one loss, and one state for every token.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from benchmarks.measure import in_turn, ratios
from benchmarks.padding import toy, trained
from benchmarks.sizes import SIZES, Talk, attend, examples_of, recipe_of, segmenter
from seglm.dataset.collate import collate
from seglm.model import prefix_attention
from seglm.model.segmenter import Segmenter
from seglm.utils.batch import Batch
from seglm.utils.flags import Parser

KINDS = ("sdpa", "prefix")
RECIPES = ("lisa_tiny", "sa2va_tiny", "videolisa_tiny", "glus_tiny")
TOLERANCE = 1e-4  # of a loss, and of a state


def steps(model: Segmenter, batches: Sequence[Batch], repeats: int) -> str:
    """Whole training steps of both kinds. Raises RuntimeError if their losses differ."""
    losses: dict[str, float] = {}

    def run(kind: str) -> None:
        attend(model, kind)
        torch.manual_seed(0)  # Sa2VA's losses are taken at random points
        losses[kind] = trained(model, batches)

    taken = in_turn({kind: partial(run, kind) for kind in KINDS}, repeats)
    off = abs(losses["prefix"] - losses["sdpa"]) / abs(losses["sdpa"])
    if off > TOLERANCE:
        raise RuntimeError(f"the losses differ by {off:.1e} (allowed {TOLERANCE})")
    return compared(taken, len(batches))


def reading(model: Segmenter, batch: Batch, repeats: int) -> str:
    """One forward of the language model of both kinds. Raises RuntimeError if their states differ."""
    states: dict[str, Tensor] = {}

    @torch.inference_mode()
    def run(kind: str) -> None:
        attend(model, kind)
        states[kind] = model.backbone.hidden(batch)[batch.group >= 0]

    taken = in_turn({kind: partial(run, kind) for kind in KINDS}, repeats)
    off = float((states["prefix"] - states["sdpa"]).abs().max())
    if off > TOLERANCE:
        raise RuntimeError(f"the states differ by {off:.1e} (allowed {TOLERANCE})")
    return compared(taken, 1)


def compared(taken: dict[str, list[float]], share: int) -> str:
    masked, split = (statistics.median(taken[kind]) / share for kind in KINDS)
    return f"sdpa {masked:7.3f}  prefix {split:7.3f} CPU s  {ratios(*(taken[kind] for kind in KINDS))}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = Parser(
        prog="python -m benchmarks.attention",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--dataset_dir", default="data/toy")
    parser.add_argument("--recipes", nargs="*", default=RECIPES)
    parser.add_argument("--batches", type=int, default=4)
    parser.add_argument("--dialogues", type=int, nargs="+", default=(1, 4, 16, 64))
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    prefix_attention.LONG = 0
    for name in options.recipes:
        model, micro = toy(name, options.dataset_dir, options.batches)
        batches = [collate(examples) for examples in micro]
        length = statistics.mean(batch.ids.shape[1] for batch in batches)
        print(f"{name}, a step, rows of {length:5.0f} tokens:  {steps(model, batches, options.repeats)}")
    size = SIZES["tiny"]
    for count in options.dialogues:
        talks = (Talk(conversations=count, question=80, answer=20),)
        chosen = replace(size, talks=talks, llama={**size.llama, "max_position_embeddings": 100_000})
        model = segmenter(chosen, recipe_of(chosen)).eval()
        batch = collate(examples_of(chosen))
        print(
            f"{count:3} dialogues, read, a row of {batch.ids.shape[1]:5} tokens:  {reading(model, batch, options.repeats)}"
        )


if __name__ == "__main__":
    main()
