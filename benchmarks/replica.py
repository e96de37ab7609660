"""The schedule of the released LISA, rebuilt on our modules so that both can be timed in one run on equal weights.

What it repeats of the original (model/LISA.py at 3cb2d43): SAM encodes one image at a time; CLIP and the projector run once for
every conversation; conversations are full padded rows; all hidden states are kept and the language head runs on every position;
the projection runs over whole sequences and rows are picked afterwards; masks are decoded image by image; memory is handed back
to the driver before each image and after the last (`empty_cache`, where there is a GPU); `evaluate` has no cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, pad

from seglm.model.backbones.projected import ProjectedBackbone
from seglm.model.decoders.base import restore
from seglm.model.segmenter import Segmenter
from seglm.model.terms import MaskTerm
from seglm.utils.types import IGNORE_LABEL, IMAGE_POSITION, Branch, Example


@dataclass(frozen=True)
class Rows:
    """Conversations as the original's collate makes them: one padded row each, image placeholders already expanded."""

    ids: Tensor
    labels: Tensor
    attention: Tensor
    image_of: list[int]
    slot_at: list[tuple[int, int]]


def rows_of(examples: Sequence[Example], device: torch.device) -> Rows:
    """Pads every conversation of every example to the longest."""
    branches = [(number, branch) for number, example in enumerate(examples) for branch in example.branches]
    longest = max(len(branch.ids) for _, branch in branches)

    def padded(branch: Branch, name: str, fill: int) -> Tensor:
        values = torch.from_numpy(getattr(branch, name))
        return pad(values, (0, longest - len(values)), value=fill)

    return Rows(
        torch.stack([padded(branch, "ids", 0) for _, branch in branches]).to(device),
        torch.stack([padded(branch, "labels", IGNORE_LABEL) for _, branch in branches]).to(device),
        torch.stack([torch.arange(longest) < len(branch.ids) for _, branch in branches]).to(device),
        [number for number, _ in branches],
        [(row, placed.place) for row, (_, branch) in enumerate(branches) for placed in branch.slots],
    )


def training_loss(model: Segmenter, examples: Sequence[Example]) -> Tensor:
    """One micro-batch the original's way; the same loss as `model(batch)` with per-micro-batch means."""
    device = _device(model)
    rows = rows_of(examples, device)
    with model.autocast():
        features = torch.cat([_encode(model, item) for item in examples])
        torch.cuda.empty_cache()
        embeds = _embed(model, examples, rows)
        out = model.backbone.llm.model(
            inputs_embeds=embeds, attention_mask=rows.attention.long(), output_hidden_states=True
        )
        logits = model.backbone.llm.lm_head(out.last_hidden_state).float()
    loss = cross_entropy(
        logits[:, :-1].flatten(0, 1), rows.labels[:, 1:].flatten(), ignore_index=IGNORE_LABEL
    )
    projected = model.queries(out.last_hidden_state)
    masks_loss = torch.zeros((), device=device)
    for number, item in enumerate(examples):
        mine = [(row, place) for row, place in rows.slot_at if rows.image_of[row] == number]
        if mine:
            prompts = torch.stack([projected[row, place - 1] for row, place in mine])[:, None]
            masks_loss = masks_loss + _masks_loss(model, item, features[number], prompts)
    return model.terms["language"].weight * loss + masks_loss / max(1, len(rows.slot_at))


def _masks_loss(model: Segmenter, item: Example, feature: Tensor, prompts: Tensor) -> Tensor:
    """The weighted sum over one image's masks."""
    low, _ = model.decoder.decode(feature.expand(len(prompts), -1, -1, -1), prompts)
    masks = restore(low[:, :1], resized=item.resized, size=item.size, square=model.decoder.image_size)
    target = torch.from_numpy(item.masks[:, 0]).to(masks.device).float().flatten(1)
    terms = [term for term in model.terms.values() if isinstance(term, MaskTerm)]
    return torch.stack(
        [term.weight * term.each(masks.flatten(1), target, None).sum() for term in terms]
    ).sum()


def _encode(model: Segmenter, item: Example) -> Tensor:
    """SAM's features of one image, encoded alone."""
    torch.cuda.empty_cache()
    return model.decoder.encode(torch.from_numpy(item.drawn[:1]).to(_device(model)), [item.resized])


def _device(model: Segmenter) -> torch.device:
    return model.backbone.device


@torch.no_grad()
def evaluate(model: Segmenter, example: Example, *, new_tokens: int) -> tuple[list[int], Tensor]:
    """Greedy generation without a cache: CLIP, the projector and every position again for each token; then one mask.

    Returns the written ids and the logits of the mask read at the state before the last written token.
    """
    device, llm = _device(model), model.backbone.llm
    ids, written = torch.from_numpy(example.branches[0].ids)[None].to(device), []
    hidden = torch.zeros(())
    with model.autocast():
        for _ in range(new_tokens):
            rows = Rows(ids, ids, torch.ones_like(ids, dtype=torch.bool), [0], [])
            hidden = llm.model(
                inputs_embeds=_embed(model, [example], rows),
                attention_mask=rows.attention.long(),
                output_hidden_states=True,
            ).last_hidden_state
            token = int(llm.lm_head(hidden)[0, -1].argmax())
            written.append(token)
            ids = torch.cat([ids, torch.tensor([[token]], device=device)], 1)
        features = _encode(model, example)
    low, _ = model.decoder.decode(features, model.queries(hidden)[:, -1:])
    square = model.decoder.image_size
    return written, restore(low[:, :1], resized=example.resized, size=example.size, square=square)


def _embed(model: Segmenter, examples: Sequence[Example], rows: Rows) -> Tensor:
    """CLIP once a conversation, then the features in place of the sentinels, row by row."""
    backbone = model.backbone
    assert isinstance(backbone, ProjectedBackbone), (
        f"the original's schedule is LLaVA's, not that of {type(backbone)}"
    )
    embeds = backbone.llm.get_input_embeddings()(rows.ids.clamp(min=0)).to(backbone.dtype)
    pixels = torch.cat([torch.from_numpy(examples[number].vision[:1]) for number in rows.image_of])
    seen = backbone.projector(backbone.see(pixels.to(embeds.device))).to(embeds.dtype)
    result = []
    for row, features in zip(range(len(rows.ids)), seen, strict=True):
        at = (rows.ids[row] == IMAGE_POSITION).nonzero().flatten()
        first, last = int(at[0]), int(at[-1])
        result.append(torch.cat([embeds[row, :first], features, embeds[row, last + 1 :]]))
    return torch.stack(result)
