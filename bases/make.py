"""Makes the bases of the toy world: `python -m seglm.bases.make` (about an hour of one core each; resumable; fixed seeds).

`--score` measures the bases that are there and writes the numbers into their manifests.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from seglm.bases import (
    clip_cache,
    clip_lessons,
    clip_showing,
    motion_lessons,
    packing,
    questions,
    scene_cache,
    tiny_llava,
    tiny_llava_losses,
    tiny_sam,
    tiny_sam2,
    tiny_sam2_run,
    training_run,
    vocabulary,
)
from seglm.bases.manifest import write_manifest
from seglm.model.backbones.tokenizer import load_tokenizer
from seglm.utils.command import command
from seglm.utils.flags import Parser
from seglm.utils.ranges import Count, Positive, place, typed

HOME = Path(__file__).resolve().parent
BASES = ("llava", "sam", "sam2")  # folders of bases/
SCORED, SCORED_CLIPS = 300, 200  # held-out scenes and clips
GLANCED = 60  # of each, while it trains
TOWER_STEPS, TOWER_IMAGES = 7000, 12
TOWER_WEIGHT = 0.5  # of the tower's own loss beside the talk
TOWER_UNTIL = 0.3  # share of the run at which that loss has faded out
TOWER_OFFSET = 30_000  # it sees other scenes than the talk of the same step
ATTENTION_WEIGHT = 1.0  # of the attention lessons beside the talk; fades out at the end of the run
TOWER_RUN, TALK_RUN, SAM_RUN = "tower", "talker", "promptable"  # what the files in --work are called
TALK_STEPS, TALK_IMAGES = 10_000, 4
TALK_CLIPS = 2  # of a step in which clips are watched
MOTION_CLIPS = 4  # of the same step, of which motion alone is taught
MOTION_OFFSET = 2500  # it sees other clips than the talk of the same step
CLIP_SHARE = 0.3  # of the steps
CLIP_CHUNKS = 25  # after so many the clips come round again
SAM_STEPS, SAM_IMAGES = 3400, 8


@command
def main() -> None:
    """The command line."""
    parser = Parser(description=__doc__)
    parser.add_argument(
        "--only",
        choices=BASES,
        help="make or score one base; by default one after the other",
    )
    parser.add_argument(
        "--minutes",
        type=typed(Positive),
        default=600.0,
        help="limit per base; the schedule is shortened to end by it",
    )
    parser.add_argument("--threads", type=typed(Count), default=1, help="CPU threads of torch")
    parser.add_argument(
        "--work", type=place, default=Path("runs/bases"), help="checkpoints, curves and drawn scenes"
    )
    parser.add_argument("--out", type=place, default=HOME, help="the folder that gets one of each")
    parser.add_argument("--score", action="store_true", help="only measure what is there")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.score:
        return score(args.out, only=args.only, work=args.work)
    makers = {"llava": make_tiny_llava, "sam": make_tiny_sam, "sam2": tiny_sam2_run.make_tiny_sam2}
    for name in (args.only,) if args.only else BASES:
        makers[name](args.out / name, work=args.work, minutes=args.minutes)


def make_tiny_llava(out: Path, *, work: Path, minutes: float) -> None:
    """Trains and writes the tiny LLaVA: its words, its tower, then all of it."""
    if not (out / "tokenizer.model").exists():
        vocabulary.write_tokenizer(out)
    tokenizer = load_tokenizer(out, tokens=(), image_tokens=vocabulary.IMAGE_TOKENS)
    packers = _packers(tokenizer)
    torch.manual_seed(0)
    base = tiny_llava.TinyLlava(packers[0].word_ids)
    scenes = scene_cache.SceneCache(split="train", cache=work / "drawn", chunks=60)
    settings = training_run.RunSettings(steps=TOWER_STEPS, minutes=0.2 * minutes, lr=1.2e-3, save_every=500)
    training_run.train(
        base,
        _tower_step(base, scenes),
        settings,
        folder=work,
        name=TOWER_RUN,
        saved=lambda module, progress: None,
    )
    clips = clip_cache.ClipCache(split="train", cache=work / "drawn", chunks=CLIP_CHUNKS)
    held_out = _held_out(work)
    settings = training_run.RunSettings(steps=TALK_STEPS, minutes=0.8 * minutes, lr=1.2e-3, save_every=500)

    def saved(module: torch.nn.Module, progress: training_run.Progress) -> None:
        tiny_llava.save(base.llava, out)
        found = _talk_scores(base.llava, packers, held_out, whole=progress.share >= 1)
        write_manifest(out, found, progress, settings, work / f"{TALK_RUN}.jsonl", images=TALK_IMAGES)

    training_run.train(
        base, _talk_step(base, scenes, clips, packers), settings, folder=work, name=TALK_RUN, saved=saved
    )


Packers = tuple[packing.Packer, packing.Packer]
"""of questions about images, and about clips"""
HeldOut = tuple[scene_cache.DrawnScenes, tuple[clip_cache.DrawnClip, ...]]


def _packers(tokenizer: Any) -> Packers:
    return (
        packing.Packer(tokenizer, patches=clip_showing.PATCHES),
        packing.Packer(tokenizer, patches=clip_showing.VISUAL_TOKENS, of_clips=True),
    )


def _held_out(work: Path) -> HeldOut:
    scenes = scene_cache.SceneCache(split="val", cache=work / "drawn", chunks=1)
    clips = clip_cache.ClipCache(split="val", cache=work / "drawn", chunks=1)
    return scenes.pick(0, SCORED), clips.pick(0, SCORED_CLIPS)


def score(out: Path, *, only: str | None, work: Path) -> None:
    """Measures the bases that are there, or one of them, on held-out scenes and writes the scores into their manifests."""
    asked = [name for name in BASES if name == only or (only is None and (out / name).is_dir())]
    held_out = _held_out(work)
    found: dict[str, Mapping[str, Any]] = {}
    if "llava" in asked:
        packers = _packers(load_tokenizer(out / "llava", tokens=(), image_tokens=vocabulary.IMAGE_TOKENS))
        found["llava"] = _talk_scores(tiny_llava.load(out / "llava"), packers, held_out, whole=True)
    if "sam" in asked:
        found["sam"] = tiny_sam.scores(tiny_sam.load(out / "sam"), held_out[0])
    if "sam2" in asked:
        found["sam2"] = tiny_sam2_run.whole_scores(tiny_sam2.load(out / "sam2"))
    for name, scores in found.items():
        path = out / name / "manifest.json"
        content = json.loads(path.read_text(encoding="ascii")) | {"scores": scores}
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="ascii")
        print(name, scores)


def _talk_scores(
    llava: Any, packers: Packers, held_out: HeldOut, *, whole: bool
) -> dict[str, dict[str, float]]:
    """Exact match with the wordings of training; `whole`: also with all wordings, and with the wrong image or clip."""
    (of_images, of_clips), (scenes, clips) = packers, held_out
    if not whole:
        scenes, clips = scenes.first(GLANCED), clips[:GLANCED]
    found = {
        "familiar": questions.scores(llava, of_images, scenes, split="train"),
        "clips": questions.clip_scores(llava, of_clips, clips),
    }
    if whole:
        found["held_out_wordings"] = questions.scores(llava, of_images, scenes, split="val")
        found["wrong_image"] = questions.scores(llava, of_images, scenes, split="train", wrong_image=True)
        found["clips_held_out_wordings"] = questions.clip_scores(llava, of_clips, clips, wordings=True)
        found["wrong_clip"] = questions.clip_scores(llava, of_clips, clips, wrong_clip=True)
    return found


def _talk_step(
    base: tiny_llava.TinyLlava,
    scenes: scene_cache.SceneCache,
    clips: clip_cache.ClipCache,
    packers: Packers,
) -> training_run.StepFn:
    """Most steps are about pictures, the others about clips."""

    def step(number: int, share: float) -> tuple[torch.Tensor, Mapping[str, float]]:
        base.train()
        rng = np.random.default_rng([3, number])
        if rng.random() < CLIP_SHARE:
            return _clip_loss(base, clips, packers[1], rng, number=number, share=share)
        return _picture_loss(base, scenes, packers[0], rng, number=number, share=share)

    return step


def _clip_loss(
    base: tiny_llava.TinyLlava,
    clips: clip_cache.ClipCache,
    packer: packing.Packer,
    rng: np.random.Generator,
    *,
    number: int,
    share: float,
) -> tuple[torch.Tensor, Mapping[str, float]]:
    """Questions about some clips, and what moves in some others."""
    weight = ATTENTION_WEIGHT * (1 - share)
    shown = [clip_showing.showing(one, rng) for one in clips.pick(number * TALK_CLIPS, TALK_CLIPS)]
    packed = packer.pack([clip_lessons.questions_about(one, rng) for one in shown])
    loss, values = clip_lessons.watch_loss(base, shown, packer, packed, attention_weight=weight)
    more = clips.pick(number * MOTION_CLIPS + MOTION_OFFSET, MOTION_CLIPS)
    shown = [clip_showing.showing(one, rng) for one in more]
    packed = packer.pack([clip_lessons.meanings(rng) for _ in shown])
    motion, learnt = motion_lessons.motion_loss(base, shown, packer, packed, attention_weight=weight)
    return loss + motion, values | learnt


def _picture_loss(
    base: tiny_llava.TinyLlava,
    scenes: scene_cache.SceneCache,
    packer: packing.Packer,
    rng: np.random.Generator,
    *,
    number: int,
    share: float,
) -> tuple[torch.Tensor, Mapping[str, float]]:
    """Questions about some pictures, and for a while what the tower says of some others."""
    batch = scenes.pick(number * TALK_IMAGES, TALK_IMAGES)
    captioned = bool(rng.random() < questions.CAPTION_ODDS)
    rows = [
        questions.training_questions(scene, rng, share=share, captioned=captioned) for scene in batch.scenes
    ]
    which = rng.integers(0, 2, TALK_IMAGES)
    loss, values = tiny_llava_losses.talk_loss(
        base, batch, packer.pack(rows), which=which, attention_weight=ATTENTION_WEIGHT * (1 - share)
    )
    if share >= TOWER_UNTIL:
        return loss, values
    more = scenes.pick(number * TOWER_IMAGES + TOWER_OFFSET, TOWER_IMAGES)
    tower, seen = tiny_llava_losses.tower_loss(base, more, rng)
    loss = loss + TOWER_WEIGHT * (1 - share / TOWER_UNTIL) * tower
    return loss, {**values, "dense_shape": seen["dense_shape"], "said_cell": seen["said_cell"]}


def _tower_step(base: tiny_llava.TinyLlava, scenes: scene_cache.SceneCache) -> training_run.StepFn:
    def step(number: int, share: float) -> tuple[torch.Tensor, dict[str, float]]:
        batch = scenes.pick(number * TOWER_IMAGES, TOWER_IMAGES)
        return tiny_llava_losses.tower_loss(base, batch, np.random.default_rng([2, number]))

    return step


def make_tiny_sam(out: Path, *, work: Path, minutes: float) -> None:
    """Trains and writes the tiny SAM."""
    torch.manual_seed(0)
    base = tiny_sam.TinySam()
    scenes = scene_cache.SceneCache(split="train", cache=work / "drawn", chunks=60)
    held_out = scene_cache.SceneCache(split="val", cache=work / "drawn", chunks=1).pick(0, SCORED)
    settings = training_run.RunSettings(steps=SAM_STEPS, minutes=minutes, lr=1.5e-3)

    def step(number: int, share: float) -> tuple[torch.Tensor, dict[str, float]]:
        base.train()
        rng = np.random.default_rng([1, number])
        loss, values = tiny_sam.training_loss(
            base, scenes.pick(number * SAM_IMAGES, SAM_IMAGES), rng, share=share
        )
        return loss, dict(values)

    def saved(module: torch.nn.Module, progress: training_run.Progress) -> None:
        tiny_sam.save(base.sam, out)
        scores = tiny_sam.scores(base.sam, held_out)
        write_manifest(out, scores, progress, settings, work / f"{SAM_RUN}.jsonl", images=SAM_IMAGES)

    training_run.train(base, step, settings, folder=work, name=SAM_RUN, saved=saved)


if __name__ == "__main__":
    main()
