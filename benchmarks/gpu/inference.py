"""SAM's encoder batched and one by one, and how fast answers are written."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial

import torch

from benchmarks import replica
from benchmarks.gpu.bench import Bench
from benchmarks.gpu.flops import executed
from benchmarks.gpu.record import Number, Row
from benchmarks.sizes import prompt_of
from seglm.dataset.collate import collate
from seglm.model.generate import generate
from seglm.model.segmenter import Segmenter

NEW_TOKENS, ORIGINALS_TOKENS = 64, 8
DIALOGUES = (1, 8, 32)


def encoder(bench: Bench) -> Generator[Row, None, None]:
    """SAM's image encoder in bf16, pixels on the device to features; batch 1 is how the original runs it."""
    number = len(bench.examples)
    frames = torch.cat([torch.from_numpy(item.drawn[:1]) for item in bench.examples]).to(bench.device)
    resized = [item.resized for item in bench.examples]
    alone: list[float] = []

    def measure(images: int) -> Row:
        def run() -> None:
            with torch.inference_mode(), bench.model.autocast():
                for first in range(0, number, images):
                    part = slice(first, first + images)
                    bench.model.decoder.encode(frames[part], resized[part])

        counted = executed(run) if images == 1 else 0
        bench.clock.forget()
        seconds = bench.clock.seconds(run, repeats=3)
        if images == 1:
            alone.extend((seconds, counted))
        numbers: dict[str, Number] = {"images/s": number / seconds, "peak GiB": bench.clock.peak()}
        if alone:
            rate = alone[1] / seconds
            numbers |= {"TFLOP/s": rate / 1e12, "of the ceiling %": 100 * rate / bench.ceiling}
            numbers |= {"against one by one": alone[0] / seconds}
        return Row(f"{images} at once", numbers)

    for images in (1, 2, 4, 8, 16):
        if images <= number:
            yield bench.attempt(f"{images} at once", partial(measure, images))


def generation(bench: Bench) -> Generator[Row, None, None]:
    """Greedy answers with adapters merged: after the prompts, so many tokens a dialogue for each of several pictures at once."""
    model = bench.model.eval()
    _adapters(model, merge=True)
    try:
        for dialogues in DIALOGUES:
            yield bench.attempt(f"{dialogues} dialogues", partial(_written, bench, model, dialogues))
        yield bench.attempt("the original's way, no cache", partial(_uncached, bench, model))
    finally:
        _adapters(model, merge=False)
        model.train()


def _written(bench: Bench, model: Segmenter, dialogues: int) -> Row:
    prompts = [prompt_of(bench.examples[number % len(bench.examples)]) for number in range(dialogues)]
    batch = collate(prompts).to(bench.device)
    first, whole = (
        bench.clock.seconds(partial(generate, model, batch, max_new_tokens=count), repeats=2)
        for count in (1, 1 + NEW_TOKENS)
    )
    step = (whole - first) / NEW_TOKENS
    numbers: dict[str, Number] = {
        "tokens/s": dialogues / step,
        "ms a token": 1e3 * step,
        "prompts and first token, ms": 1e3 * first,
        "peak GiB": bench.clock.peak(),
    }
    return Row(f"{dialogues} dialogues", numbers)


def _uncached(bench: Bench, model: Segmenter) -> Row:
    prompt = prompt_of(bench.examples[0])
    seconds = bench.clock.seconds(
        lambda: replica.evaluate(model, prompt, new_tokens=ORIGINALS_TOKENS), repeats=2
    )
    step = seconds / ORIGINALS_TOKENS
    return Row("the original's way, no cache", {"tokens/s": 1 / step, "ms a token": 1e3 * step})


def _adapters(model: Segmenter, *, merge: bool) -> None:
    """A model that is asked has its adapters in its weights (peft's layers do it themselves, and undo it)."""
    from peft.tuners.lora import LoraLayer

    for module in model.modules():
        if isinstance(module, LoraLayer):
            if merge:
                module.merge()
            else:
                module.unmerge()
