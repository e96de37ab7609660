"""From dialogues to answers in words and in masks, for chat, evaluation and the checks of a checkpoint.

Letters: S slots of one answer, M drawn frames of its example, D hidden.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from seglm.model.decoders.base import restore
from seglm.model.generate import generate
from seglm.model.segmenter import Segmenter
from seglm.utils.types import Answer, Batch


@torch.inference_mode()
def answer(model: Segmenter, batch: Batch, *, max_new_tokens: int) -> list[Answer]:
    """Generates the answer of every dialogue of the batch and draws every slot that was written.

    batch: open prompts, as `collate` makes them. Returns one Answer a dialogue, in the order of `batch.ends`.
    A slot token segments all drawn frames of its example. `status` is "ok" with masks and "no_seg_token" without; whether a mask
    was asked for at all is the caller's knowledge.
    """
    written = generate(model, batch, max_new_tokens=max_new_tokens)
    slot_ids = {model.encoder.token_id(token): token for token in model.recipe.tokens}
    found = [
        [(place, slot_ids[token]) for place, token in enumerate(dialogue.ids) if token in slot_ids]
        for dialogue in written
    ]
    states = [
        torch.stack([dialogue.states[place + 1 + model.recipe.read_at] for place, _ in slots])
        if slots
        else None
        for dialogue, slots in zip(written, found, strict=True)
    ]
    drawn = _draw(model, batch, states, [dialogue.example for dialogue in written])
    return [
        Answer(
            text=model.encoder.decode(dialogue.ids),
            ids=tuple(dialogue.ids),
            status="ok" if slots else "no_seg_token",
            masks=masks,
            tokens=tuple(token for _, token in slots),
            scores=scores,
        )
        for dialogue, slots, (masks, scores) in zip(written, found, drawn, strict=True)
    ]


@torch.inference_mode()
def forced(model: Segmenter, batch: Batch) -> list[Answer]:
    """The masks of complete dialogues: the text is given, only the slots are drawn (the released code's validation)."""
    with model.autocast():
        states = model.backbone.hidden(batch).flatten(0, 1)
    at: list[list[int]] = [[] for _ in batch.ends]
    dialogue_of = {branch: number for number, branch in enumerate(_branches(batch))}
    for number, slot in enumerate(batch.slots):
        at[dialogue_of[slot.example, slot.branch]].append(number)
    picked = states[batch.slot_at + model.recipe.read_at] if batch.slots else states[:0]
    per_branch = [picked[numbers] if numbers else None for numbers in at]
    drawn = _draw(model, batch, per_branch, [example for example, _, _ in batch.ends])
    return [
        Answer(
            text="",
            ids=(),
            status="ok" if numbers else "no_seg_token",
            masks=masks,
            tokens=tuple(batch.slots[number].token for number in numbers),
            scores=scores,
        )
        for numbers, (masks, scores) in zip(at, drawn, strict=True)
    ]


def _branches(batch: Batch) -> list[tuple[int, int]]:
    """(example, branch within the example) of every dialogue, in the order of `batch.ends`."""
    examples = [example for example, _, _ in batch.ends]
    return [(example, examples[:number].count(example)) for number, example in enumerate(examples)]


def _draw(
    model: Segmenter, batch: Batch, states: Sequence[Tensor | None], example_of: Sequence[int]
) -> list[tuple[Tensor, tuple[float, ...]]]:
    """For each dialogue its masks float32 [S, M, H, W] and the decoder's IoU estimates; all slots in one decode."""
    frames_of = [
        [frame for frame, owner in enumerate(batch.frame_example) if owner == example]
        for example in example_of
    ]
    counts = [0 if state is None else state.shape[0] for state in states]
    rows = [state for state in states if state is not None]
    if not rows:
        return [(_nothing(batch, frames), ()) for frames in frames_of]
    prompts = model.prompts(torch.cat(rows))
    with model.autocast():
        features = model.decoder.encode(batch.drawn, batch.resized)
    firsts = [sum(counts[:number]) for number in range(len(counts))]
    jobs = [
        (first + slot, frame)
        for first, count, frames in zip(firsts, counts, frames_of, strict=True)
        for slot in range(count)
        for frame in frames
    ]
    device = features.device
    slot_of = torch.tensor([slot for slot, _ in jobs], device=device)
    frame_of = torch.tensor([frame for _, frame in jobs], device=device)
    low, iou = model.decode(features[frame_of], prompts[slot_of])
    result, start = [], 0
    for count, frames in zip(counts, frames_of, strict=True):
        stop = start + count * len(frames)
        if count:
            masks = _restored(model, batch, low[start:stop, 0], frames)
            scores = tuple(iou[start : stop : len(frames), 0].tolist())
        else:
            masks, scores = _nothing(batch, frames), ()
        result.append((masks, scores))
        start = stop
    return result


def _restored(model: Segmenter, batch: Batch, low_SMhw: Tensor, frames: Sequence[int]) -> Tensor:
    """[S * M, h, w], slot-major -> float32 [S, M, H, W]; all frames of one example have one size."""
    first = frames[0]
    full = restore(
        low_SMhw.unflatten(0, (-1, len(frames))),
        resized=batch.resized[first],
        size=batch.sizes[first],
        square=model.decoder.dims.image_size,
    )
    return full.cpu()


def _nothing(batch: Batch, frames: Sequence[int]) -> Tensor:
    height, width = batch.sizes[frames[0]] if frames else (0, 0)
    return torch.zeros((0, len(frames), height, width))
