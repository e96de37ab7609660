"""Makes both bases of the toy world: `python -m seglm.bases.make` (about an hour of one core each; resumable; fixed seeds).

`--score` measures the bases that are there and writes the numbers into their manifests.
"""

import argparse
import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from seglm.bases import (
    packing,
    patch_lessons,
    questions,
    scene_cache,
    tiny_llava,
    tiny_sam,
    training_run,
    vocabulary,
)
from seglm.model.backbones.tokenizer import load_tokenizer

HOME = Path(__file__).resolve().parent
SCORED = 300  # held-out scenes
TOWER_STEPS, TOWER_IMAGES = 7000, 12
TOWER_WEIGHT, TOWER_UNTIL = (
    0.5,
    0.6,
)  # of the tower's own lessons beside the talk; they fade out at this share of the run
TOWER_OFFSET = 30_000  # those lessons show other scenes than the talk of the same step
GAZE_WEIGHT = 1.0  # fades out at the end of the run
TALKER_STEPS, TALKER_IMAGES = 7000, 4
PROMPTABLE_STEPS, PROMPTABLE_IMAGES = 3400, 8
CURVE_POINTS = 12  # of the scores over the run, in the manifest


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--only", choices=("talker", "promptable"), help="make one base; by default first one, then the other"
    )
    parser.add_argument(
        "--minutes", type=float, default=600.0, help="limit per base; the schedule is shortened to end by it"
    )
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of torch")
    parser.add_argument(
        "--work", type=Path, default=Path("runs/bases"), help="checkpoints, curves and drawn scenes"
    )
    parser.add_argument("--out", type=Path, default=HOME, help="the folder that gets llava/ and sam/")
    parser.add_argument("--score", action="store_true", help="only measure what is there")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.score:
        return score(args.out, work=args.work)
    if args.only != "promptable":
        make_talker(args.out / "llava", work=args.work, minutes=args.minutes)
    if args.only != "talker":
        make_promptable(args.out / "sam", work=args.work, minutes=args.minutes)


def make_talker(out: Path, *, work: Path, minutes: float) -> None:
    """Trains and writes the tiny LLaVA: its words, its tower, then all of it."""
    if not (out / "tokenizer.model").exists():
        vocabulary.write_tokenizer(out)
    tokenizer = load_tokenizer(out, tokens=(), image_tokens=vocabulary.IMAGE_TOKENS)
    packer = packing.Packer(tokenizer, patches=(scene_cache.SIDE // patch_lessons.PATCH) ** 2)
    torch.manual_seed(0)
    base = tiny_llava.Talker(packer.word_ids)
    scenes = scene_cache.Stock(split="train", cache=work / "drawn", chunks=60)
    plan = training_run.Plan(steps=TOWER_STEPS, minutes=0.2 * minutes, lr=1.2e-3, save_every=500)
    training_run.train(
        base, _tower_step(base, scenes), plan, folder=work, name="tower", saved=lambda module, progress: None
    )
    held_out = scene_cache.Stock(split="val", cache=work / "drawn", chunks=1).pick(0, SCORED)
    plan = training_run.Plan(steps=TALKER_STEPS, minutes=0.8 * minutes, lr=1.2e-3, save_every=250)

    def saved(module: torch.nn.Module, progress: training_run.Progress) -> None:
        tiny_llava.save(base.llava, out)
        found = _talker_scores(base.llava, packer, held_out, whole=progress.share >= 1)
        write_manifest(out, found, progress, plan, work / "talker.jsonl", images=TALKER_IMAGES)

    training_run.train(
        base, _talker_step(base, scenes, packer), plan, folder=work, name="talker", saved=saved
    )


def score(out: Path, *, work: Path) -> None:
    """Measures both bases on held-out scenes and writes the scores into their manifests."""
    held_out = scene_cache.Stock(split="val", cache=work / "drawn", chunks=1).pick(0, SCORED)
    tokenizer = load_tokenizer(out / "llava", tokens=(), image_tokens=vocabulary.IMAGE_TOKENS)
    packer = packing.Packer(tokenizer, patches=(scene_cache.SIDE // patch_lessons.PATCH) ** 2)
    found: dict[str, Mapping[str, Any]] = {
        "llava": _talker_scores(tiny_llava.load(out / "llava"), packer, held_out, whole=True),
        "sam": tiny_sam.scores(tiny_sam.load(out / "sam"), held_out),
    }
    for name, scores in found.items():
        path = out / name / "manifest.json"
        content = json.loads(path.read_text(encoding="ascii")) | {"scores": scores}
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="ascii")
        print(name, scores)


def _talker_scores(
    llava: Any, packer: packing.Packer, held_out: scene_cache.Drawn, *, whole: bool
) -> dict[str, dict[str, float]]:
    """Exact match with the wordings of training; `whole`: also with all wordings, and with the wrong image."""
    found = {"familiar": questions.scores(llava, packer, held_out, split="train")}
    if whole:
        found["held_out_wordings"] = questions.scores(llava, packer, held_out, split="val")
        found["wrong_image"] = questions.scores(llava, packer, held_out, split="train", wrong_image=True)
    return found


def _talker_step(
    base: tiny_llava.Talker, scenes: scene_cache.Stock, packer: packing.Packer
) -> training_run.Step:
    def step(number: int, share: float) -> tuple[torch.Tensor, Mapping[str, float]]:
        base.train()
        rng = np.random.default_rng([3, number])
        batch = scenes.pick(number * TALKER_IMAGES, TALKER_IMAGES)
        captioned = bool(rng.random() < questions.CAPTION_ODDS)
        rows = [questions.lesson(scene, rng, share=share, captioned=captioned) for scene in batch.scenes]
        which = rng.integers(0, 2, TALKER_IMAGES)
        loss, values = tiny_llava.talk_loss(
            base, batch, packer.pack(rows), which=which, gaze_weight=GAZE_WEIGHT * (1 - share)
        )
        if share < TOWER_UNTIL:
            more = scenes.pick(number * TOWER_IMAGES + TOWER_OFFSET, TOWER_IMAGES)
            tower, seen = tiny_llava.tower_loss(base, more, rng)
            loss = loss + TOWER_WEIGHT * (1 - share / TOWER_UNTIL) * tower
            values = {**values, "dense_shape": seen["dense_shape"], "said_cell": seen["said_cell"]}
        return loss, values

    return step


def _tower_step(base: tiny_llava.Talker, scenes: scene_cache.Stock) -> training_run.Step:
    def step(number: int, share: float) -> tuple[torch.Tensor, dict[str, float]]:
        batch = scenes.pick(number * TOWER_IMAGES, TOWER_IMAGES)
        return tiny_llava.tower_loss(base, batch, np.random.default_rng([2, number]))

    return step


def make_promptable(out: Path, *, work: Path, minutes: float) -> None:
    """Trains and writes the tiny SAM."""
    torch.manual_seed(0)
    base = tiny_sam.Promptable()
    scenes = scene_cache.Stock(split="train", cache=work / "drawn", chunks=60)
    held_out = scene_cache.Stock(split="val", cache=work / "drawn", chunks=1).pick(0, SCORED)
    plan = training_run.Plan(steps=PROMPTABLE_STEPS, minutes=minutes, lr=1.5e-3)

    def step(number: int, share: float) -> tuple[torch.Tensor, dict[str, float]]:
        base.train()
        rng = np.random.default_rng([1, number])
        loss, values = tiny_sam.loss_of(
            base, scenes.pick(number * PROMPTABLE_IMAGES, PROMPTABLE_IMAGES), rng, share=share
        )
        return loss, dict(values)

    def saved(module: torch.nn.Module, progress: training_run.Progress) -> None:
        tiny_sam.save(base.sam, out)
        scores = tiny_sam.scores(base.sam, held_out)
        write_manifest(out, scores, progress, plan, work / "promptable.jsonl", images=PROMPTABLE_IMAGES)

    training_run.train(base, step, plan, folder=work, name="promptable", saved=saved)


def write_manifest(
    out: Path,
    scores: Mapping[str, Any],
    progress: training_run.Progress,
    plan: training_run.Plan,
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
        "steps_planned": plan.steps,
        "images_per_step": images,
        "peak_lr": plan.lr,
        "minutes": round(progress.seconds / 60, 1),
        "cpu_minutes": round(progress.cpu_seconds / 60, 1),
        "scores": scores,
        "curve": lines[:: max(1, len(lines) // CURVE_POINTS)],
    }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="ascii")


if __name__ == "__main__":
    main()
