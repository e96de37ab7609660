"""What is said of a base beside its weights: how it was made, and what it scores."""

import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from seglm.bases.training_run import Progress, RunSettings

CURVE_POINTS = 12  # of the scores over the run, in the manifest


def write_manifest(
    out: Path,
    scores: Mapping[str, Any],
    progress: Progress,
    settings: RunSettings,
    curve: Path,
    *,
    images: int,
) -> None:
    """Writes manifest.json: how the base was made and what it scores; keeps the curve of scores over the run."""
    path = out / "manifest.json"
    history = curve.with_name(curve.stem + "_scores.jsonl")
    with history.open("a", encoding="ascii") as stream:
        stream.write(
            json.dumps({"step": progress.step, "minutes": round(progress.seconds / 60, 1), **scores}) + "\n"
        )
    print(history.stem, progress.step, scores, flush=True)
    lines = [json.loads(line) for line in history.read_text(encoding="ascii").splitlines()]
    content = {
        "made_by": "python -m seglm.bases.make",
        "torch": torch.__version__,
        "machine": f"{platform.machine()}, {torch.get_num_threads()} CPU thread(s)",
        "steps": progress.step,
        "steps_planned": settings.steps,
        "images_per_step": images,
        "peak_lr": settings.lr,
        "minutes": round(progress.seconds / 60, 1),
        "cpu_minutes": round(progress.cpu_seconds / 60, 1),
        "scores": scores,
        "curve": lines[:: max(1, len(lines) // CURVE_POINTS)],
    }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="ascii")
