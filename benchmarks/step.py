"""One training step and one answer at the size of the published CPU baseline, against the original's schedule.

    python benchmarks/step.py [--config baseline.json] [--repeats 5]

One thread, process CPU seconds, A/B interleaved, medians; both sides share weights, and the run fails unless their losses and
gradients agree. Prints a table and the ratios; peak memory is that of a child process a side.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from benchmarks import replica
from seglm.dataset.collate import collate
from seglm.model.backbones.encode import DialogueEncoder
from seglm.model.construct import construct
from seglm.model.decoders.sam import SamDims
from seglm.model.generate import generate
from seglm.model.recipes import recipe as named
from seglm.model.segmenter import Segmenter
from seglm.model.sizes import Sizes
from seglm.utils.types import IGNORE_LABEL, IMAGE_POSITION, Branch, Example, Placed, Slot

LLAMA = dict(
    vocab_size=32003, hidden_size=512, intermediate_size=1376, num_hidden_layers=8, num_attention_heads=8,
    num_key_value_heads=8, max_position_embeddings=1024, rms_norm_eps=1e-5, bos_token_id=1, eos_token_id=2,
    pad_token_id=0, tie_word_embeddings=False,
)  # fmt: skip
CLIP = dict(
    hidden_size=384, intermediate_size=1536, num_hidden_layers=6, num_attention_heads=6, image_size=224, patch_size=14,
    hidden_act="quick_gelu",
)  # fmt: skip
SAM = SamDims(vit_dim=384, vit_depth=6, vit_heads=6, global_attn_indexes=(2, 5), image_size=512)
TEXT_BEFORE, PREFIX_TEXT, ANSWER, CONVERSATIONS, SEG = 50, 37, 14, 3, 32000
SIZES = ((480, 640), (427, 640))
TOLERANCE = 1e-5
NOISE = 1e-3


class _Ids:
    """Stands in for the dialogue encoder: the benchmark has ids, no text, and never meets an end token."""

    eos = -1


def model_and_examples() -> tuple[Segmenter, list[Example]]:
    """The baseline's model with random weights and its batch: two images with three conversations of 319 tokens."""
    torch.manual_seed(0)
    base = named("lisa_7b")
    engine = replace(base.engine, precision="fp32", gradient_checkpointing=False, attention="sdpa")
    lora = replace(base.trainable.lora, dropout=0.0)
    recipe = replace(base, engine=engine, trainable=replace(base.trainable, lora=lora))
    model, _ = construct(recipe, Sizes(LLAMA, CLIP, asdict(SAM)), cast(DialogueEncoder, _Ids()))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.02)
    rng = np.random.default_rng(0)
    return model.train(), [_example(number, size, rng) for number, size in enumerate(SIZES)]


def _example(number: int, size: tuple[int, int], rng: np.random.Generator) -> Example:
    patches = (CLIP["image_size"] // CLIP["patch_size"]) ** 2  # type: ignore[operator]
    shared = rng.integers(5, 32000, PREFIX_TEXT - 1)
    scale = SAM.image_size / max(size)
    resized = (round(size[0] * scale), round(size[1] * scale))
    drawn = np.zeros((1, 3, SAM.image_size, SAM.image_size), np.uint8)
    drawn[:, :, : resized[0], : resized[1]] = rng.integers(0, 256, (1, 3, *resized))
    return Example(
        key=f"synthetic/{number}",
        branches=tuple(_branch(target, shared, patches, rng) for target in range(CONVERSATIONS)),
        vision=rng.integers(0, 256, (1, 3, 224, 224), np.uint8),
        drawn=drawn,
        resized=resized,
        size=size,
        masks=rng.random((CONVERSATIONS, 1, *size)) > 0.7,
        asked=tuple((target,) for target in range(CONVERSATIONS)),
    )


def _branch(target: int, shared: np.ndarray[Any, Any], patches: int, rng: np.random.Generator) -> Branch:
    own = rng.integers(5, 32000, TEXT_BEFORE - PREFIX_TEXT)
    answer = rng.integers(5, 32000, ANSWER)
    answer[ANSWER // 2] = SEG
    ids = np.concatenate([[1], shared, np.full(patches, IMAGE_POSITION), own, answer]).astype(np.int64)
    image = np.zeros(len(ids), bool)
    image[PREFIX_TEXT : PREFIX_TEXT + patches] = True
    labels = np.full(len(ids), IGNORE_LABEL, np.int64)
    labels[-ANSWER:] = ids[-ANSWER:]
    patch = np.full(len(ids), -1, np.int64)
    patch[image] = np.arange(patches)
    slot = Placed(Slot("[SEG]", target, (0,)), len(ids) - ANSWER + ANSWER // 2)
    return Branch(ids, labels, np.where(image, 0, -1).astype(np.int64), patch, (slot,))


def ours(model: Segmenter, examples: list[Example]) -> torch.Tensor:
    return cast(torch.Tensor, model(collate(examples)).loss)


def _prompt(example: Example) -> Example:
    """The first conversation without its answer, as a prompt."""
    branch = example.branches[0]
    cut = len(branch.ids) - ANSWER
    open_branch = Branch(branch.ids[:cut], branch.labels[:cut], branch.frame[:cut], branch.patch[:cut])
    return replace(example, branches=(open_branch,))


def our_answer(model: Segmenter, example: Example, new_tokens: int) -> tuple[list[int], torch.Tensor]:
    """Eight tokens and one mask our way; the mask is read where the replica reads it."""
    batch = collate([example])
    with torch.inference_mode():
        written = generate(model, batch, max_new_tokens=new_tokens)[0]
        features = model.decoder.encode(batch.drawn, batch.resized)
        query = model.queries(written.states[new_tokens - 1][None])
        low, _ = model.decode(features, model.prompts(query, ()))
    square = model.decoder.dims.image_size
    return written.ids, replica.restore(low, resized=example.resized, size=example.size, square=square)


def gradients(model: Segmenter, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
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
    ids, mask = replica.evaluate(model, _prompt(examples[0]), new_tokens=8)
    our_ids, our_mask = our_answer(model, _prompt(examples[0]), 8)
    model.train()
    if ids != our_ids or not torch.allclose(mask, our_mask, atol=1e-4):
        raise RuntimeError(f"answers differ: {ids} against {our_ids}")
    print(
        f"loss {a.item():.6f}; largest relative difference of loss and gradients {worst:.1e}; answers equal"
    )


def peak_mebibytes() -> float:
    """Most memory this process ever held. Not `ru_maxrss`: a child begins with its parent's."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def seconds(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def compare(sides: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Medians of process CPU seconds, sides taken in turn."""
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats + 1):
        for name, run in sides.items():
            taken[name].append(seconds(run))
    return {name: statistics.median(values[1:]) for name, values in taken.items()}


def sides(model: Segmenter, examples: list[Example]) -> dict[str, dict[str, Callable[[], object]]]:
    prompt = _prompt(examples[0])

    def checkpointed() -> None:
        model.backbone.llm.gradient_checkpointing_enable({"use_reentrant": False})
        gradients(model, replica.training_loss(model, examples))
        model.backbone.llm.gradient_checkpointing_disable()

    return {
        "training step (2 images, 3 conversations each)": {
            "original": lambda: gradients(model, replica.training_loss(model, examples)),
            "original, checkpointing": checkpointed,
            "ours": lambda: gradients(model, ours(model, examples)),
        },
        "evaluate (8 tokens, 1 mask)": {
            "original": lambda: replica.evaluate(model, prompt, new_tokens=8),
            "ours": lambda: our_answer(model, prompt, 8),
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--peak", nargs=2, metavar=("TASK", "SIDE"), help="run one side once and print its peak memory"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    model, examples = model_and_examples()
    tasks = sides(model, examples)
    if options.peak:
        tasks[options.peak[0]][options.peak[1]]()
        print(peak_mebibytes())
        return
    check(model, examples)
    for task, runs in tasks.items():
        medians = compare(runs, options.repeats)
        print(f"\n{task}")
        for name, value in medians.items():
            command = [sys.executable, str(Path(__file__).resolve()), "--peak", task, name]
            peak = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
            print(
                f"  {name:<26}{value:8.3f} CPU s   {value / medians['ours']:5.2f}x ours   peak {peak:7.0f} MiB"
            )


if __name__ == "__main__":
    main()
