"""The schedule of the released LISA, rebuilt on our modules so that both can be timed in one run on equal weights.

What it repeats of the original (model/LISA.py at 3cb2d43): SAM encodes one image at a time; CLIP and the projector run once for
every conversation; conversations are full padded rows; all hidden states are kept and the language head runs on every position;
the projection runs over whole sequences and rows are picked afterwards; masks are decoded image by image;
`evaluate` has no cache.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, pad

from seglm.model.decoders.base import restore
from seglm.model.segmenter import Segmenter
from seglm.model.terms import Bce, Dice
from seglm.utils.types import IGNORE_LABEL, IMAGE_POSITION, Branch, Example


@dataclass(frozen=True)
class Rows:
    """Conversations as the original's collate makes them: one padded row each, image placeholders already expanded."""

    ids: Tensor
    labels: Tensor
    attention: Tensor
    image_of: list[int]
    slot_at: list[tuple[int, int]]


def rows_of(examples: list[Example]) -> Rows:
    """Pads every conversation of every example to the longest."""
    branches = [(number, branch) for number, example in enumerate(examples) for branch in example.branches]
    longest = max(len(branch.ids) for _, branch in branches)

    def padded(branch: Branch, name: str, fill: int) -> Tensor:
        values = torch.from_numpy(getattr(branch, name))
        return pad(values, (0, longest - len(values)), value=fill)

    return Rows(
        torch.stack([padded(branch, "ids", 0) for _, branch in branches]),
        torch.stack([padded(branch, "labels", IGNORE_LABEL) for _, branch in branches]),
        torch.stack([torch.arange(longest) < len(branch.ids) for _, branch in branches]),
        [number for number, _ in branches],
        [(row, placed.place) for row, (_, branch) in enumerate(branches) for placed in branch.slots],
    )


def training_loss(model: Segmenter, examples: list[Example]) -> Tensor:
    """One micro-batch the original's way; the same loss as `model(batch)` with per-micro-batch means."""
    rows = rows_of(examples)
    backbone, decoder = model.backbone, model.decoder
    features = torch.cat(
        [decoder.encode(torch.from_numpy(item.drawn[:1]), [item.resized]) for item in examples]
    )
    embeds = _embed(model, examples, rows)
    out = backbone.llm.model(
        inputs_embeds=embeds, attention_mask=rows.attention.long(), output_hidden_states=True
    )
    logits = backbone.llm.lm_head(out.last_hidden_state).float()
    loss = cross_entropy(
        logits[:, :-1].flatten(0, 1), rows.labels[:, 1:].flatten(), ignore_index=IGNORE_LABEL
    )
    projected = model.project(out.last_hidden_state)
    bce = torch.zeros(())
    dice = torch.zeros(())
    for number, item in enumerate(examples):
        mine = [(row, place) for row, place in rows.slot_at if rows.image_of[row] == number]
        prompts = torch.stack([projected[row, place - 1] for row, place in mine])[:, None]
        low, _ = decoder.decode(features[number : number + 1].expand(len(mine), -1, -1, -1), prompts)
        masks = restore(low[:, :1], resized=item.resized, size=item.size, square=decoder.dims.image_size)
        target = torch.from_numpy(item.masks[:, 0]).float().flatten(1)
        bce = bce + Bce(model.recipe).each(masks.flatten(1), target, None).sum()
        dice = dice + Dice(model.recipe).each(masks.flatten(1), target, None).sum()
    weights = {term.name: term.weight for term in model.recipe.terms}
    count = len(rows.slot_at)
    return weights["language"] * loss + (weights["bce"] * bce + weights["dice"] * dice) / count


@torch.no_grad()
def evaluate(model: Segmenter, example: Example, *, new_tokens: int) -> tuple[list[int], Tensor]:
    """Greedy generation without a cache: CLIP, the projector and every position again for each token; then one mask.

    Returns the written ids and the logits of the mask read at the state before the last written token.
    """
    branch = example.branches[0]
    ids, written = torch.from_numpy(branch.ids)[None], []
    hidden = torch.zeros(())
    for _ in range(new_tokens):
        rows = Rows(ids, ids, torch.ones_like(ids, dtype=torch.bool), [0], [])
        out = model.backbone.llm.model(
            inputs_embeds=_embed(model, [example], rows),
            attention_mask=rows.attention.long(),
            output_hidden_states=True,
        )
        hidden = out.last_hidden_state
        token = int(model.backbone.llm.lm_head(hidden)[0, -1].argmax())
        written.append(token)
        ids = torch.cat([ids, torch.tensor([[token]])], 1)
    prompt = model.project(hidden)[0, -1].view(1, 1, -1)
    features = model.decoder.encode(torch.from_numpy(example.drawn[:1]), [example.resized])
    low, _ = model.decoder.decode(features, prompt)
    square = model.decoder.dims.image_size
    return written, restore(low[:, :1], resized=example.resized, size=example.size, square=square)


def _embed(model: Segmenter, examples: list[Example], rows: Rows) -> Tensor:
    """CLIP once a conversation, then the features in place of the sentinels, row by row."""
    embeds = model.backbone.llm.get_input_embeddings()(rows.ids.clamp(min=0))
    pixels = torch.cat([torch.from_numpy(examples[number].vision[:1]) for number in rows.image_of])
    seen = model.backbone.projector(model.backbone.see(pixels))
    result = []
    for row, features in zip(range(len(rows.ids)), seen, strict=True):
        at = (rows.ids[row] == IMAGE_POSITION).nonzero().flatten()
        first, last = int(at[0]), int(at[-1])
        result.append(torch.cat([embeds[row, :first], features, embeds[row, last + 1 :]]))
    return torch.stack(result)
