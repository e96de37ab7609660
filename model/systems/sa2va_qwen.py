"""Sa2VA on Qwen2.5-VL and Qwen3-VL (bytedance/Sa2VA at 9832e1a, projects/sa2va/configs/sa2va_qwenvl25 and sa2va_qwenvl3).

What changes against Sa2VA on InternVL 2.5:
- pictures reach the LLM in their own shape: a still as 512 to 2048 tokens, of a video each frame as 128 to 512;
- the whole vision tower is frozen, its last part, which merges patches into tokens, too;
- batches are larger: 256 samples a step, 128 of Qwen3-VL.

Deviations from the released code, besides Sa2VA's own:
- inference shows frames as training does; the original has the pixels of a still for each frame there, and no line breaks;
- it asks in the words of training, too, where the original has Qwen's own chat template, of Qwen 2.5 with a system prompt;
- Qwen3-VL's cells are 32 pixels wide, and both count pixels as 28 a side, so that its pictures become fewer tokens;
- as many samples are seen as by sa2va_4b; the original takes one pass over its mixture.
"""

from __future__ import annotations

from dataclasses import replace

from seglm.model.backbones.qwen_vl import QwenVL
from seglm.model.recipe import Recipe
from seglm.model.recipes import recipe as named
from seglm.model.settings import Schedule, Trainable

SAMPLES = 1_088_000  # of sa2va_4b: 17 epochs of 1000 steps of 64
EPOCHS = 17


def sa2va_qwen2_5_3b() -> Recipe:
    """Sa2VA on Qwen2.5-VL-3B, as it is trained on 16 GPUs."""
    schedule = _schedule(batch_size=2, world_size=16)
    return _on("sa2va_4b", name="sa2va_qwen2_5_3b", weights="Qwen/Qwen2.5-VL-3B-Instruct", schedule=schedule)


def sa2va_qwen2_5_7b() -> Recipe:
    """Sa2VA on Qwen2.5-VL-7B, as it is trained on 32 GPUs."""
    schedule = _schedule(batch_size=1, world_size=32)
    return _on(
        "sa2va_qwen2_5_3b", name="sa2va_qwen2_5_7b", weights="Qwen/Qwen2.5-VL-7B-Instruct", schedule=schedule
    )


def sa2va_qwen3_4b() -> Recipe:
    """Sa2VA on Qwen3-VL-4B, as it is trained on 16 GPUs."""
    schedule = _schedule(batch_size=1, world_size=16)
    return _on(
        "sa2va_qwen2_5_3b", name="sa2va_qwen3_4b", weights="Qwen/Qwen3-VL-4B-Instruct", schedule=schedule
    )


def _on(parent: str, *, name: str, weights: str, schedule: Schedule) -> Recipe:
    base = named(parent)
    steps = EPOCHS * schedule.steps_per_epoch
    return replace(
        base,
        name=name,
        system="sa2va_qwen",
        parent=parent,
        backbone=QwenVL(weights=weights),
        trainable=replace(base.trainable, full=Trainable().full),
        optim=replace(base.optim, warmup_steps=steps // 20),
        schedule=schedule,
    )


def _schedule(*, batch_size: int, world_size: int) -> Schedule:
    steps = SAMPLES // (EPOCHS * batch_size * 8 * world_size)
    return Schedule(
        epochs=EPOCHS,
        steps_per_epoch=steps,
        batch_size=batch_size,
        grad_accumulation_steps=8,
        world_size=world_size,
    )
