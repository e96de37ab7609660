"""The model: hidden states -> slots -> prompts -> masks -> loss terms.

One forward serves every system. Nothing in it waits for the device or depends on what a rank happens to hold: a batch without
labels or masks still runs every trainable module once, on one dummy row that counts nothing.
Letters: R rows, T tokens, D hidden, K labelled tokens, S slots, J jobs, C prompt width, M drawn frames.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from seglm.model.backbones.base import Backbone
from seglm.model.backbones.encode import DialogueEncoder
from seglm.model.decoders.base import Decoder, Remembers, restore
from seglm.model.fusion import Mention
from seglm.model.phrases import PHRASE, mean_of_phrases
from seglm.model.precision import computed_in
from seglm.model.recipe import Recipe
from seglm.model.terms import Predicted, Term
from seglm.model.tracks import drawn_in_order
from seglm.utils.answers import Output, Part
from seglm.utils.batch import Batch


class Segmenter(nn.Module):
    """A multimodal LLM that answers in words and in masks."""

    def __init__(
        self, *, recipe: Recipe, encoder: DialogueEncoder, backbone: Backbone, decoder: Decoder
    ) -> None:
        super().__init__()
        self.recipe = recipe
        self.encoder = encoder
        self.backbone = backbone
        self.decoder = decoder
        hidden, width = backbone.hidden_size, decoder.prompt_dim
        self.project = recipe.project.build(hidden=hidden, width=width)
        self.fuse = recipe.fusion.build(recipe, width=width, hidden=hidden)
        self.terms: Mapping[str, Term] = {term.name: term for term in recipe.terms}
        states = {name: term.state(width) for name, term in self.terms.items()}
        self.banks = nn.ModuleDict({name: state for name, state in states.items() if state is not None})

    # ---- training ----------------------------------------------------------------------------------------------------
    def forward(self, batch: Batch, counts: Mapping[str, float] | None = None) -> Output:
        """The loss of one micro-batch.

        counts: for each term the number to divide its sum by (the tokens or masks of the whole optimizer step), or None for
        the mean over this micro-batch, as the released code has it.
        """
        with self.autocast():
            states = self.states(batch)
            logits = self.backbone.head(states[_rows(batch.labelled_at)])
            features = self.features(batch)
        queries = self.queries(self.slot_states(states, batch))
        with self.autocast():  # which memory follows, and nothing else of the decoder
            candidates = self.candidates(queries, batch, features)
        low = candidates[:, :1]
        predicted = Predicted(
            logits, low[:, 0], queries, partial(self.masks_by_frame, low, batch), candidates
        )
        parts = {
            name: Part(term.total(batch, predicted, self), term.count(batch))
            for name, term in self.terms.items()
        }
        loss = self._normalised(parts, counts)
        if not batch.jobs:
            loss = loss + 0 * low.sum()
        return Output(loss, parts)

    def counts(self, batch: Batch) -> dict[str, int]:
        """What each term counts in this batch; host only, no device is asked."""
        return {name: term.count(batch) for name, term in self.terms.items()}

    def _normalised(self, parts: Mapping[str, Part], counts: Mapping[str, float] | None) -> Tensor:
        loss = torch.zeros((), device=next(iter(parts.values())).sum.device)
        for name, part in parts.items():
            divisor = part.count if counts is None else counts[name]
            weighted = self.terms[name].weight * part.sum
            # Where nothing is counted the sum is 0, but every rank's weights still take part.
            loss = loss + (weighted / divisor if divisor else 0 * weighted)
        return loss

    # ---- slots to masks ----------------------------------------------------------------------------------------------
    def features(self, batch: Batch) -> Tensor:
        """The decoder's features of all drawn frames [M, C, g, g], at least one; zeros where no mask is asked for."""
        frames = sorted({frame for _, frame in batch.jobs})
        if not frames:
            return self.decoder.blank(batch.ids.device)
        found = self.decoder.encode(
            [batch.drawn[frame] for frame in frames], [batch.resized[frame] for frame in frames]
        )
        if len(frames) == len(batch.drawn):
            return found
        blank = torch.zeros_like(found[:1])
        of = dict(zip(frames, found.split(1), strict=True))
        return torch.cat([of.get(frame, blank) for frame in range(len(batch.drawn))])

    def states(self, batch: Batch) -> Tensor:
        """The state of every token, [R * T, D], as the LLM leaves it, or as it takes it where phrases are read."""
        if self.recipe.read_at == "phrase":
            return self.backbone.table()[batch.ids.flatten().clamp(min=0)]
        return self.backbone.hidden(batch).flatten(0, 1)

    def slot_states(self, states: Tensor, batch: Batch) -> Tensor:
        """The state read for each slot, [S, D], from all states [R * T, D]; one dummy row where there is no slot.

        It stands `read_at` positions from the slot's own token: -1 is the state that predicts it, which is what LISA trains
        (model/LISA.py:184-199 at 3cb2d43: ids shifted by one). Of a phrase it is the mean over its tokens.
        """
        if self.recipe.read_at == "phrase":
            begin, end = (self.encoder.token_id(mark) for mark in PHRASE)
            at = _rows(batch.slot_at)
            return mean_of_phrases(states, batch.ids.flatten(), at, begin=begin, end=end)
        return states[_rows(batch.slot_at + self.recipe.read_at)]

    def draw(self, queries: Tensor, batch: Batch, features: Tensor) -> Tensor:
        """Low-resolution logits of all jobs, float32 [J, 1, h, w]; one dummy job where there is none."""
        return self.candidates(queries, batch, features)[:, :1]

    def candidates(self, queries: Tensor, batch: Batch, features: Tensor) -> Tensor:
        """The same with every mask that the decoder has for a job, float32 [J, K, h, w]; mask 0 is the one that is drawn.

        Where drawing is learnt with a memory (`decoder.training_memory`), the drawn frames of a clip are those of a walk.
        """
        prompts = self.prompts(queries, batch.slots)
        policy = self.recipe.decoder.training_memory
        if policy is not None and isinstance(self.decoder, Remembers):
            return drawn_in_order(self.decoder, policy, batch, features, prompts)
        return self.decoder.decode(features[_rows(batch.job_frame)], prompts[_rows(batch.job_slot)])[0]

    def queries(self, states_SD: Tensor) -> Tensor:
        """Slot states -> their projections, float32 [S, C], or [S, P, C] of a projection that gives several."""
        with torch.autocast(states_SD.device.type, enabled=False):
            queries: Tensor = self.project(states_SD.float())
        return queries

    def prompts(self, queries_SC: Tensor, slots: Sequence[Mention]) -> Tensor:
        """Projections -> prompt vectors, float32 [S, P, C], P 1 of a plain projection; slots: what each row belongs to."""
        if self.fuse is None:
            return _several(queries_SC)
        with torch.autocast(queries_SC.device.type, enabled=False):
            fused: Tensor = self.fuse(queries_SC, slots)
        return _several(fused)

    def decode(self, features_JCgg: Tensor, prompts_JPC: Tensor) -> tuple[Tensor, Tensor]:
        """Mask 0 of the decoder and its estimated IoU: float32 [J, 1, h, w] and [J, 1]."""
        logits, iou = self.decoder.decode(features_JCgg, prompts_JPC)
        return logits[:, :1], iou[:, :1]

    def masks_by_frame(self, low: Tensor, batch: Batch) -> tuple[Tensor, ...]:
        """Low-resolution logits [J, 1, h, w] -> for each drawn frame float32 [its jobs, H, W] at the original size."""
        jobs_of = Counter(frame for _, frame in batch.jobs)
        sizes = [jobs_of[frame] for frame in range(len(batch.sizes))]
        groups = low[: len(batch.jobs)].split(sizes) if sizes else ()
        return tuple(
            self.restored(group, resized=resized, size=size)[:, 0]
            for group, resized, size in zip(groups, batch.resized, batch.sizes, strict=True)
        )

    def restored(self, low: Tensor, *, resized: tuple[int, int], size: tuple[int, int]) -> Tensor:
        """Low-resolution logits [J, K, h, w] of one picture -> float32 [J, K, H, W] (see `restore`)."""
        stretched = self.recipe.decoder.stretches
        square = self.decoder.image_size
        return restore(low, resized=resized, size=size, square=square, stretched=stretched)

    # ---- numbers -----------------------------------------------------------------------------------------------------
    def autocast(self) -> torch.autocast:
        """The compute precision of the recipe; in fp32 it does nothing."""
        dtype = computed_in(self.recipe.engine.precision)
        return torch.autocast(self.backbone.device.type, dtype=dtype, enabled=dtype is not torch.float32)


def _several(vectors: Tensor) -> Tensor:
    """One vector a slot [S, C], or several, as [S, P, C]."""
    return vectors.unsqueeze(1) if vectors.dim() == 2 else vectors


def _rows(index: Tensor) -> Tensor:
    """The index itself, or one dummy row if it is empty: modules behind it then run on every rank, equally often."""
    return index if index.shape[0] else index.new_zeros(1)
