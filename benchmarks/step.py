"""One training step and one answer at the size of the published CPU baseline, against the original's schedule.

    python -m benchmarks.step [--repeats 5] [--size baseline]

One thread, process CPU seconds, A/B interleaved, medians; both sides share weights, and the run fails unless their losses and
gradients agree. Prints a table and the ratios; peak memory is that of a child process a side.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Sequence
from typing import cast

import torch

from benchmarks import replica
from benchmarks.measure import in_turn, peak_mebibytes, peak_of_child
from benchmarks.sizes import (
    BASELINE,
    SIZES,
    Size,
    checkpointing,
    examples_of,
    prompt_of,
    recipe_of,
    segmenter,
)
from seglm.dataset.collate import collate
from seglm.model.decoders.base import restore
from seglm.model.generate import generate
from seglm.model.segmenter import Segmenter
from seglm.utils.flags import Parser
from seglm.utils.types import Example

NEW_TOKENS = 8
TOLERANCE = 1e-5
NOISE = 1e-3


def model_and_examples(size: Size = BASELINE) -> tuple[Segmenter, list[Example]]:
    """The model with random weights and its batch; at the baseline's size two images with three conversations of 320 tokens."""
    return segmenter(size, recipe_of(size)), examples_of(size)


def ours(model: Segmenter, examples: list[Example]) -> torch.Tensor:
    return cast(torch.Tensor, model(collate(examples)).loss)


def our_answer(model: Segmenter, example: Example, new_tokens: int) -> tuple[list[int], torch.Tensor]:
    """Eight tokens and one mask our way; the mask is read where the replica reads it."""
    batch = collate([example])
    with torch.inference_mode():
        written = generate(model, batch, max_new_tokens=new_tokens)[0]
        features = model.decoder.encode(batch.drawn, batch.resized)
        query = model.queries(written.states[new_tokens - 1][None])
        low, _ = model.decode(features, model.prompts(query, ()))
    square = model.decoder.image_size
    return written.ids, restore(low, resized=example.resized, size=example.size, square=square)


def gradients(model: Segmenter, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def difference(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> float:
    """Largest max|dg| / max|g| of all tensors; what is zero but for rounding (a key's bias) is measured against the
    largest gradient."""
    floor = NOISE * max(float(value.abs().max()) for value in left.values())
    return max(
        float((left[name] - right[name]).abs().max()) / max(float(left[name].abs().max()), floor)
        for name in left
    )


def check(model: Segmenter, examples: list[Example]) -> None:
    """Raises RuntimeError unless loss, every gradient, written ids and the mask agree."""
    a, b = replica.training_loss(model, examples), ours(model, examples)
    left, right = gradients(model, a), gradients(model, b)
    worst = max(abs(a.item() - b.item()) / abs(a.item()), difference(left, right))
    if worst > TOLERANCE:
        raise RuntimeError(f"loss or gradients differ from the replica by {worst:.2e} (allowed {TOLERANCE})")
    model.eval()
    ids, mask = replica.evaluate(model, prompt_of(examples[0]), new_tokens=NEW_TOKENS)
    our_ids, our_mask = our_answer(model, prompt_of(examples[0]), NEW_TOKENS)
    model.train()
    if ids != our_ids or not torch.allclose(mask, our_mask, atol=1e-4):
        raise RuntimeError(f"answers differ: {ids} against {our_ids}")
    print(
        f"loss {a.item():.6f}; largest relative difference of loss and gradients {worst:.1e}; answers equal"
    )


def sides(model: Segmenter, examples: list[Example]) -> dict[str, dict[str, Callable[[], object]]]:
    """Task -> side -> what is timed."""
    prompt = prompt_of(examples[0])

    def checkpointed() -> None:
        checkpointing(model, True)
        gradients(model, replica.training_loss(model, examples))
        checkpointing(model, False)

    return {
        "training step": {
            "original": lambda: gradients(model, replica.training_loss(model, examples)),
            "original, checkpointing": checkpointed,
            "ours": lambda: gradients(model, ours(model, examples)),
        },
        "evaluate": {
            "original": lambda: replica.evaluate(model, prompt, new_tokens=NEW_TOKENS),
            "ours": lambda: our_answer(model, prompt, NEW_TOKENS),
        },
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = Parser(
        prog="python -m benchmarks.step",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--size", choices=("tiny", "baseline"), default="baseline")
    parser.add_argument("--peak", nargs=2, help=argparse.SUPPRESS)  # TASK SIDE: run it once, print the peak
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    model, examples = model_and_examples(SIZES[options.size])
    tasks = sides(model, examples)
    if options.peak:
        tasks[options.peak[0]][options.peak[1]]()
        print(peak_mebibytes())
        return
    check(model, examples)
    conversations = sum(len(example.branches) for example in examples)
    print(
        f"{len(examples)} images, {conversations} conversations; answers of {NEW_TOKENS} tokens and one mask"
    )
    for task, runs in tasks.items():
        medians = {name: statistics.median(taken) for name, taken in in_turn(runs, options.repeats).items()}
        print(f"\n{task}")
        for name, value in medians.items():
            peak = peak_of_child("benchmarks.step", "--size", options.size, "--peak", task, name)
            print(
                f"  {name:<26}{value:8.3f} CPU s   {value / medians['ours']:5.2f}x ours   peak {peak:7.0f} MiB"
            )


if __name__ == "__main__":
    main()
