"""Some expressions about one video, from files to masks, against VideoLISA's order of work.

    python -m benchmarks.video [--expressions 8] [--frames 32] [--size 480 854] [--model small] [--repeats 3]

VideoLISA with random weights, MeViS' layout, answers given as in its evaluation. One thread, process CPU seconds, A/B
interleaved, medians; both sides share weights and files, and end at masks of 0 and 1 in memory. The original's schedule
(model/VideoLISA.py and evaluation/mevis_val_u/inference_mevis.py at 0f14b22, from our description of them) begins anew with
every expression: it reads the frames that the LLM is shown and puts each through CLIP's image processor, reads all frames
again for SAM, resizes and normalises them, and holds them all; runs CLIP and the LLM on the whole dialogue, keeps every
layer's states, has the language head and the projection go over every position; and then encodes one frame after the other
and draws one mask in it. Ours runs in both modes of `data.pixels`; the run fails unless with `peer` its logits are those of
the original, and its masks equal but where a logit is nearer to 0 than they are to each other.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.loading import Preparation, encoder_of
from benchmarks.measure import in_turn
from benchmarks.sizes import SIZES, Size, recipe_of, segmenter
from benchmarks.video_loader import write_mevis
from seglm.dataset.collate import collate
from seglm.dataset.pixels import Mode
from seglm.dataset.sources import open_source
from seglm.evaluation.asking.ask import asker
from seglm.evaluation.scores.first_mask import mask_of
from seglm.model.decoders.base import restore
from seglm.model.segmenter import Segmenter
from seglm.model.systems.videolisa import POOLED, answer_given, middles, stretched
from seglm.utils.flags import Parser
from seglm.utils.types import Branch, Clip, Example, Sample

SPLIT = "valid_u"
TOLERANCE = 1e-4  # of logits


class Original:
    """The released evaluation's order of work on our modules."""

    def __init__(self, model: Segmenter, sample: Sample) -> None:
        self.model, self.sample = model, sample
        self.files = sorted(Path(sample.path).glob("*.jpg"))
        self.pixels = Preparation(model.backbone.vision_size, model.decoder.image_size)
        count = len(self.files)
        self.shown = middles(count, POOLED) if count > POOLED else stretched(count, POOLED)

    def logits(self, number: int) -> Tensor:
        """float32 [T, H, W] of one expression."""
        clip = torch.stack([self.pixels.seen(self._read(self.files[frame])) for frame in self.shown])
        resized = [self.pixels.longest_side(self._read(file)) for file in self.files]
        squares = [self.pixels.preprocess(torch.from_numpy(one).permute(2, 0, 1)) for one in resized]
        prompt = self._prompt(self._branch(number), clip)
        size, square = self.sample.size, self.model.decoder.image_size
        masks = []
        for image in torch.stack(squares).split(1):
            features = self.model.decoder.encode(image, [resized[0].shape[:2]])
            low, _ = self.model.decode(features, prompt)
            masks.append(restore(low, resized=resized[0].shape[:2], size=size, square=square)[:, 0])
        return torch.cat(masks)

    def _read(self, file: Path) -> NDArray[np.uint8]:
        read = cv2.imread(str(file))
        assert read is not None
        return np.asarray(cv2.cvtColor(read, cv2.COLOR_BGR2RGB), np.uint8)

    def _branch(self, number: int) -> Branch:
        """The dialogue with its answer, at 32 places that are shown whether or not their frames differ."""
        blank = np.broadcast_to(np.uint8(0), (*self.sample.size, 3))
        target = self.sample.targets[number]
        clip = Clip(self.sample.key, self.sample.size, seen=[blank] * POOLED, drawn=(), targets=(target,))
        [branch] = self.model.encoder.encode_script(
            answer_given(clip, self.model.recipe), key=clip.key, size=clip.size
        )
        return branch

    def _prompt(self, branch: Branch, clip: Tensor) -> Tensor:
        """The prompt [1, 1, C] of its one slot. clip: float [32, 3, v, v], normalised."""
        nothing = np.zeros((1, 0, *self.sample.size), np.bool_)
        shown = np.zeros(clip.shape, np.uint8)
        example = Example("", (branch,), shown, np.zeros((0, 3, 1, 1), np.uint8), (1, 1), (1, 1), nothing)
        batch = replace(collate([example], share_prefix=False), vision=clip)
        llm, embeds = self.model.backbone.llm, self.model.backbone.embed(batch)  # type: ignore[attr-defined]
        out = llm.model(inputs_embeds=embeds, output_hidden_states=True)
        llm.lm_head(out.last_hidden_state)
        [placed] = branch.slots
        return self.model.queries(out.last_hidden_state)[:, placed.place + self.model.recipe.read_at][:, None]

    @torch.inference_mode()
    def masks(self) -> list[NDArray[np.bool_]]:
        """For each expression bool [T, H, W]."""
        found = []
        for number in range(len(self.sample.targets)):
            logits = self.logits(number)
            found.append(np.stack([frame.numpy() > 0 for frame in logits]))
        return found


def ours(model: Segmenter, sample: Sample, pixels: Mode) -> list[list[NDArray[np.bool_]]]:
    """For each frame the mask of each expression, bool [H, W]."""
    model.recipe = replace(model.recipe, data=replace(model.recipe.data, pixels=pixels))
    ask = asker(model, protocol="forced", max_new_tokens=1)
    return [[mask_of(answer, sample.size) for answer in drawn.answers] for drawn in ask([sample])]


@torch.inference_mode()
def check(model: Segmenter, sample: Sample, original: Original, *, tolerance: float = TOLERANCE) -> str:
    """Says how far apart the two sides are. Raises RuntimeError if it is too far; tolerance: of logits."""
    model.recipe = replace(model.recipe, data=replace(model.recipe.data, pixels="peer"))
    frames = list(asker(model, protocol="forced", max_new_tokens=1)([sample]))
    furthest, differ, pixels = 0.0, 0, 0
    for number in range(len(sample.targets)):
        for theirs, drawn in zip(original.logits(number), frames, strict=True):
            [logits] = drawn.answers[number].masks
            assert logits is not None
            furthest = max(furthest, float((logits - theirs).abs().max()))
            flipped = (logits > 0) != (theirs > 0)
            differ, pixels = differ + int(flipped.sum()), pixels + flipped.numel()
            if furthest > tolerance or bool((theirs[flipped].abs() > tolerance).any()):
                raise RuntimeError(
                    f"expression {number}, frame {drawn.frame}: logits differ by {furthest:.1e} (allowed {tolerance})"
                )
    return f"logits differ by {furthest:.1e} at most; {differ} of {pixels} pixels, with logits as near to 0, fall otherwise"


def prepared(root: Path, options: argparse.Namespace) -> tuple[Segmenter, Sample]:
    """A model, and the video with its expressions, which is written to `root`."""
    size: Size = SIZES[options.model]
    write_mevis(
        root, tuple(options.size), frames=options.frames, expressions=options.expressions, split=SPLIT
    )
    recipe = recipe_of(size, "videolisa_tiny")
    encoder = encoder_of(recipe, size.patches)
    worded = replace(size, llama={**size.llama, "vocab_size": len(encoder.tokenizer)})
    model = segmenter(worded, recipe, encoder=encoder).eval()
    return model, open_source(f"mevis|{SPLIT}", root).sample(0)


def flags(
    name: str,
    doc: str | None,
    *,
    frames: int,
    size: tuple[int, int],
    models: tuple[str, ...],
    arguments: Sequence[str] | None,
) -> argparse.Namespace:
    """What the command line says; one thread from here on."""
    parser = Parser(
        prog=f"python -m {name}", description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--expressions", type=int, default=8)
    parser.add_argument("--frames", type=int, default=frames)
    parser.add_argument("--size", type=int, nargs=2, default=size, metavar=("H", "W"))
    parser.add_argument("--model", choices=models, default="small")
    parser.add_argument("--repeats", type=int, default=3)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    return parser.parse_args(arguments)


def report(options: argparse.Namespace, taken: Mapping[str, Sequence[float]]) -> None:
    """Prints each side's CPU seconds, and how many times the original's they are."""
    print(
        f"{options.expressions} expressions, {options.frames} frames of {options.size[0]} x {options.size[1]}"
    )
    for name, seconds in taken.items():
        ratios = [theirs / own for theirs, own in zip(taken["original"], seconds, strict=True)]
        spread = f"({min(ratios):.2f}-{max(ratios):.2f})"
        ratio = statistics.median(taken["original"]) / statistics.median(seconds)
        print(f"{name:9}{statistics.median(seconds):8.2f} CPU s   x{ratio:.2f} {spread}")


def main(arguments: Sequence[str] | None = None) -> None:
    models = ("tiny", "small", "baseline")
    options = flags(
        "benchmarks.video", __doc__, frames=32, size=(480, 854), models=models, arguments=arguments
    )
    with tempfile.TemporaryDirectory() as folder:
        model, sample = prepared(Path(folder), options)
        original = Original(model, sample)
        print(check(model, sample, original), flush=True)
        sides = {
            "original": original.masks,
            "fast": lambda: ours(model, sample, "fast"),
            "peer": lambda: ours(model, sample, "peer"),
        }
        report(options, in_turn(sides, options.repeats))


if __name__ == "__main__":
    main()
