"""The two runs that make the tiny SAM-2, the second of which begins with what the first has learnt, and the gate behind them."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from seglm.bases import tiny_sam2, tiny_sam2_lessons
from seglm.bases.manifest import write_manifest
from seglm.bases.training_run import Progress, RunSettings, StepFn, train
from seglm.model.decoders.sam2 import Sam2Decoder

PICTURE_RUN, CLIP_RUN = "pictures", "carrying"  # what the files in --work are called
PICTURE_STEPS, CLIP_STEPS = 2600, 2600
PICTURE_MINUTES = 0.35  # of all
PICTURE_LR, CLIP_LR = 1.5e-3, 1.0e-3
STILL_ODDS = 0.2  # of the steps of the second run, which would forget pictures
STILL_OFFSET = 30_000  # they are others than those of the first
SCENES, CLIPS = 300, 100  # that are held out
GLANCED = (60, 20)  # of each, while it trains
GATE: Mapping[str, float] = {"box": 0.75, "point": 0.65, "carried": 0.7, "behind": 0.45, "absent": 0.7}
"""least scores of a tiny SAM-2 that is of use"""


def make_tiny_sam2(out: Path, *, work: Path, minutes: float) -> None:
    """Trains and writes the tiny SAM-2. Raises RuntimeError if it stays below the gate; it is written then, too."""
    torch.manual_seed(0)
    base = tiny_sam2.TinySam2()
    first = RunSettings(PICTURE_STEPS, PICTURE_MINUTES * minutes, PICTURE_LR)
    made = train(
        base,
        _step(base, still_odds=1, offset=0),
        first,
        folder=work,
        name=PICTURE_RUN,
        saved=lambda module, progress: print(
            tiny_sam2.scores(base.sam, scenes=GLANCED[0], clips=0), flush=True
        ),
    )
    settings = RunSettings(CLIP_STEPS, minutes - made.seconds / 60, CLIP_LR)
    found: dict[str, float] = {}

    def saved(module: torch.nn.Module, progress: Progress) -> None:
        tiny_sam2.save(base.sam, out)
        scenes, clips = GLANCED if progress.share < 1 else (SCENES, CLIPS)
        found.update(tiny_sam2.scores(base.sam, scenes=scenes, clips=clips))
        write_manifest(
            out,
            dict(found),
            replace(
                progress,
                step=made.step + progress.step,
                seconds=made.seconds + progress.seconds,
                cpu_seconds=made.cpu_seconds + progress.cpu_seconds,
            ),
            replace(settings, steps=PICTURE_STEPS + CLIP_STEPS, lr=PICTURE_LR),
            work / f"{CLIP_RUN}.jsonl",
            images=tiny_sam2_lessons.IMAGES,
        )

    step = _step(base, still_odds=STILL_ODDS, offset=STILL_OFFSET)
    train(base, step, settings, folder=work, name=CLIP_RUN, saved=saved)
    check(found or whole_scores(tiny_sam2.load(out)))


def whole_scores(sam: Sam2Decoder) -> dict[str, float]:
    """What the manifest says of it."""
    return tiny_sam2.scores(sam, scenes=SCENES, clips=CLIPS)


def check(scores: Mapping[str, float]) -> None:
    """Raises RuntimeError for scores below the gate."""
    if low := {name: scores[name] for name, least in GATE.items() if scores[name] < least}:
        raise RuntimeError(
            f"this tiny SAM-2 scores {low}, and the gate is {dict(GATE)}; it is not to be committed"
        )


def _step(base: tiny_sam2.TinySam2, *, still_odds: float, offset: int) -> StepFn:
    def step(number: int, share: float) -> tuple[torch.Tensor, Mapping[str, float]]:
        base.train()
        rng = np.random.default_rng([4, number + offset])
        if rng.random() < still_odds:
            return tiny_sam2_lessons.picture_loss(base, rng, number=number + offset)
        return tiny_sam2_lessons.clip_loss(base, rng, number=number + offset, share=share)

    return step
