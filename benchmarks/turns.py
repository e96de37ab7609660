"""Some expressions about one video that is asked frame by frame, from files to masks, against GLUS's order of work.

    python -m benchmarks.turns [--expressions 8] [--frames 16] [--size 240 426] [--model small] [--repeats 3]

GLUS with random weights, MeViS' layout, answers given, because a random model writes no `[SEG]`. One thread, process CPU seconds,
A/B interleaved, medians; both sides share weights and files, and end at masks of 0 and 1 in memory. The original's schedule
(inference_iter.py and model/GLUS.py at 8fd138b) begins anew with every expression: it reads all frames, puts each through CLIP's
image processor and resizes it for SAM-2; then for every frame it runs CLIP on the context and the last frames, the LLM on the
whole dialogue, keeps every layer's states, has the language head and the projection go over every position, encodes the newest
frame and draws one mask in it. Ours runs in both modes of `data.pixels`; the run fails unless with `peer` its logits are those of
the original, and its masks equal but where a logit is nearer to 0 than they are to each other.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks import propagate
from benchmarks.loading import Preparation, encoder_of
from benchmarks.measure import in_turn
from benchmarks.sizes import SIZES, Size, recipe_of, segmenter
from benchmarks.video import SPLIT, Original, check, flags, ours, report
from benchmarks.video_loader import write_mevis
from seglm.dataset.pixels import decoder_pixels
from seglm.dataset.sources import open_source
from seglm.model.decoders.base import Remembers
from seglm.model.segmenter import Segmenter
from seglm.model.systems.glus import answer_given
from seglm.utils.types import Branch, Clip, Sample, Window

DRAWING = {"tiny": propagate.SIZES["toy"], "small": propagate.SIZES["tiny"]}
"""the SAM-2 beside each size"""
TOLERANCE = 1e-3  # of logits: what differs in one mask goes into the next ones


class InTurn(Original):
    """The released inference's order of work on our modules."""

    def __init__(self, model: Segmenter, sample: Sample) -> None:
        self.model, self.sample = model, sample
        self.files = sorted(Path(sample.path).glob("*.jpg"))
        self.pixels = Preparation(model.backbone.vision_size, model.decoder.image_size)

    def logits(self, number: int) -> Tensor:
        """float32 [T, H, W] of one expression."""
        decoder, policy = self.model.decoder, self.model.recipe.decoder.memory
        assert isinstance(decoder, Remembers) and policy is not None
        side = (decoder.image_size,) * 2
        read = [self._read(file) for file in self.files]
        shown = torch.stack([self.pixels.seen(image) for image in read])
        squares = [decoder_pixels(image, side[0], mode="peer", stretched=True)[0] for image in read]
        memory, masks = decoder.remembering(policy), []
        for window in self.model.recipe.walk(len(read)):
            prompt = self._prompt(self._asked(number, window), shown[list(window.seen)])
            [frame] = window.asked
            features = decoder.encode([torch.from_numpy(squares[frame])], [side])
            drawn, memory = decoder.follow(features, prompt, memory, frame=frame)
            masks.append(self.model.restored(drawn.logits, resized=side, size=self.sample.size)[:, 0])
        return torch.cat(masks)

    def _asked(self, number: int, window: Window) -> Branch:
        """The dialogue with all its answers."""
        recipe, target = self.model.recipe, self.sample.targets[number]
        blank = np.broadcast_to(np.uint8(0), (*self.sample.size, 3))
        seen = [blank] * len(window.seen)
        before = ((recipe.seg_token,) * window.repeats,) if window.repeats else ()
        clip = Clip(self.sample.key, self.sample.size, seen, drawn=(), targets=(target,), answered=before)
        [branch] = self.model.encoder.encode_script(answer_given(clip, recipe), key=clip.key, size=clip.size)
        return branch


def prepared(root: Path, options: argparse.Namespace) -> tuple[Segmenter, Sample]:
    """A model, and the video with its expressions, which is written to `root`."""
    size: Size = SIZES[options.model]
    write_mevis(
        root, tuple(options.size), frames=options.frames, expressions=options.expressions, split=SPLIT
    )
    base, dims = recipe_of(size, "glus_a"), DRAWING[options.model]
    recipe = replace(base, decoder=replace(base.decoder, image_size=dims.image_size))
    encoder = encoder_of(recipe, size.patches // 4)
    worded = replace(size, llama={**size.llama, "vocab_size": len(encoder.tokenizer)})
    model = segmenter(worded, recipe, encoder=encoder, drawing=asdict(dims)).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in (*model.decoder.parameters(), *model.project.parameters()):  # type: ignore[attr-defined]
            if (
                parameter.dim() > 1
            ):  # so that logits are of the size of a trained model's, and rounding has something to turn
                parameter.normal_(0, parameter[0].numel() ** -0.5, generator=generator)
    return model, open_source(f"mevis|{SPLIT}", root).sample(0)


def main(arguments: Sequence[str] | None = None) -> None:
    options = flags(
        "benchmarks.turns", __doc__, frames=16, size=(240, 426), models=tuple(DRAWING), arguments=arguments
    )
    with tempfile.TemporaryDirectory() as folder:
        model, sample = prepared(Path(folder), options)
        original = InTurn(model, sample)
        print(check(model, sample, original, tolerance=TOLERANCE), flush=True)
        sides = {
            "original": original.masks,
            "fast": lambda: ours(model, sample, "fast"),
            "peer": lambda: ours(model, sample, "peer"),
        }
        report(options, in_turn(sides, options.repeats))


if __name__ == "__main__":
    main()
