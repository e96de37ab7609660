"""Any recipe at toy size: the committed tiny bases and the toy world, minutes on two cores."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from seglm.model.project import Project, Prompting
from seglm.model.recipe import Recipe
from seglm.model.settings import Optim, Schedule

BASES = Path(__file__).resolve().parents[1] / "bases"
WAITS, JOINS = 0.25, 0.4
"""shares of a run: how long the mask decoder stays as it is (`Optim.decoder_waits`), and when videos come in (`Data.joins`).
Without them the tiny models draw all things for hundreds of steps, and those on SAM-2, whose decoder waits as long as videos,
to the end (docs/numbers.md)"""
SAM2_SIDE = 128  # px that the tiny SAM-2 sees: one cell of a SAM-2 is 16 of them


def toy_sized(parent: Recipe, *, name: str) -> Recipe:
    """The parent's system at toy size, under another name.

    What is said, projected and lost stays the parent's; prompts begin as "a point". The rates differ because the data do:
    ReasonSeg, a tenth of a percent of the real mixture's pictures, is two fifths of the toy world's, and holds every kind of
    phrase; and with fewer conversations the tiny LLM forgets to talk. Adapters have no dropout, without which all of
    docs/numbers.md was measured.
    """
    return replace(
        parent,
        name=name,
        parent=parent.name,
        backbone=replace(parent.backbone, weights=str(BASES / "llava"), vision=str(BASES / "llava")),
        decoder=replace(parent.decoder, weights=str(BASES / "sam"), image_size=64),
        project=_as_point(parent.project),
        trainable=replace(parent.trainable, lora=replace(parent.trainable.lora, dropout=0.0)),
        data=replace(
            parent.data,
            dataset_dir="./data/toy",
            rates=(1.5, 3.0, 3.0, 6.0),
            targets_per_sample=4,
            exclude_val=True,
        ),
        optim=Optim(lr=1e-3, warmup_steps=30, decoder_waits=WAITS),
        schedule=Schedule(
            epochs=3, steps_per_epoch=360, batch_size=8, grad_accumulation_steps=1, world_size=1
        ),
        engine=replace(parent.engine, precision="fp32", gradient_checkpointing=False, workers=1),
        evaluate=replace(parent.evaluate, batch_size=8),
    )


def _as_point(project: Project) -> Project:
    return replace(project, as_point=True) if isinstance(project, Prompting) else project
