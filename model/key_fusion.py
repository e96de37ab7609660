"""KeySeg's fusion: the vector of a `[SEG]` takes in that of the `[KEY]` behind it before the mask decoder sees it.

And its alignment of the `[KEY]` vector with the word that is written behind it.

Two ways to do it with the same weights, by name (KeySeg at 8dbcc31, model/KISA.py:15-129):
* `faithful`: the released code. All `[SEG]` of an image are interpolated to 12 rows, attend to all `[KEY]` of that image, then to
  each other, and are interpolated back; no residual, no norm, no MLP. With one `[KEY]` the `[SEG]` vector has no influence,
  with more the rows of an image come out almost equal; both are pinned by tests.
* `paper`: what the figure draws. Each `[SEG]` attends to its own `[KEY]`, with residuals, norms and the MLP that the released
  checkpoint holds and never runs. The last layer of each branch starts at zero, so training starts from LISA's own masks.
Letters: S slots (rows of both sorts), C prompt width, V vocabulary, D hidden size of the LLM.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate, normalize

from seglm.model.fusion import Fusion, Mention, paired
from seglm.model.terms import Predicted, Term
from seglm.utils.batch import Batch
from seglm.utils.ranges import Count, Positive

if TYPE_CHECKING:
    from seglm.model.recipe import Recipe
    from seglm.model.segmenter import Segmenter

CLAMP = 1e4  # of the input of the self-attention, as released
NO_WORD = 0  # `word_id` of a slot without a word
SHORTEST = 1e-12  # vector that `normalize` makes one of length 1


class SelfAttention(nn.Module):
    """One head over the rows of one image: float [..., n, C] -> [..., n, C]; the softmax is in float32."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.q_proj, self.k_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.v_proj, self.out_proj = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, rows: Tensor) -> Tensor:
        rows = rows.clamp(-CLAMP, CLAMP)
        mixed = _attend(self.q_proj(rows), self.k_proj(rows), self.v_proj(rows))
        out: Tensor = self.out_proj(mixed.to(self.out_proj.weight.dtype))
        return out


@dataclass(frozen=True)
class KeyFusion(Fusion):
    """The fusion of `[SEG]` with its `[KEY]`, as drawn in the paper and as released."""

    kind: Literal["paper", "faithful"] = "paper"
    hidden: Count = 256
    """width of the attention of `[SEG]` over `[KEY]`"""
    rows: Count = 12
    """`faithful`: rows to which the `[SEG]` vectors of an image are interpolated"""
    temperature: Positive = 0.07
    """of the keyword alignment loss"""

    def check(self, recipe: Recipe, /) -> None:
        if not recipe.key_token:
            raise ValueError(
                f"fusion.kind={self.kind} fuses the slots with a key token, and recipe {recipe.name} has none; "
                "use fusion=Identity"
            )

    def build(self, recipe: Recipe, *, width: int, hidden: int) -> KeyFusionModule:
        return KeyFusionModule(self, tokens=(recipe.seg_token, recipe.key_token), width=width, hidden=hidden)


class KeyFusionModule(nn.Module):
    """`keyword_fusion` and `embedding_table_proj` of KeySeg, by the released names."""

    def __init__(self, fusion: KeyFusion, *, tokens: tuple[str, str], width: int, hidden: int) -> None:
        """tokens: the drawing token and the key token; width: of prompts (C); hidden: of the LLM (D)."""
        super().__init__()
        self.fusion = fusion
        self.draws, self.keys = tokens
        inner = fusion.hidden
        self.query_proj, self.key_proj = nn.Linear(width, inner), nn.Linear(width, inner)
        self.value_proj, self.out_proj = nn.Linear(width, inner), nn.Linear(inner, width)
        self.self_attn = SelfAttention(width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.embedding_table_proj = nn.Linear(hidden, width)
        if fusion.kind == "faithful":  # as transformers 4.31 initialises what a checkpoint does not hold
            for module in self.modules():
                if isinstance(module, nn.Linear):
                    nn.init.normal_(module.weight, std=0.02)
                    nn.init.zeros_(module.bias)
        else:
            for last in (self.out_proj, self.self_attn.out_proj, self.mlp[2]):
                for parameter in last.parameters():
                    nn.init.zeros_(parameter)

    def forward(self, queries: Tensor, slots: Sequence[Mention]) -> Tensor:
        """float [S, C], in the order of `slots` -> float [S, C]; the rows of key slots come out as they went in.

        A drawing slot without a key (a model may write none) meets a key of zeros, as in the released `evaluate`. Without slots
        the one dummy row takes part in everything, so that no rank leaves a weight out.
        """
        if self.fusion.kind == "faithful":
            return self._as_released(queries, slots)
        return self._as_drawn(queries, slots)

    def keyword_logits(self, keys: Tensor, table: Tensor) -> Tensor:
        """Cosines of key vectors [S, C] with the projected word embeddings [V, D], over the temperature: [S, V].

        A word of zeros, as padding is in a base that never read it, has no direction and gets no gradient: that of `normalize` is
        1e12 times as large as others', and would have all of the clipped step.
        """
        words: Tensor = self.embedding_table_proj(table)
        is_zero = words.detach().norm(dim=-1, keepdim=True) < SHORTEST
        words = normalize(words.detach().where(is_zero, words), dim=-1)
        cosines: Tensor = normalize(keys, dim=-1) @ words.T
        return cosines / self.fusion.temperature

    def _as_drawn(self, queries: Tensor, slots: Sequence[Mention]) -> Tensor:
        key_of = paired(slots, draws=self.draws, keys=self.keys)
        own = [number if key is None else key for number, key in enumerate(key_of)] or [0]
        has_key = torch.tensor([key is not None for key in key_of] or [True], device=queries.device)[:, None]
        keys = queries[torch.tensor(own, device=queries.device)] * has_key
        seg, key = self.norm1(queries), self.norm1(keys)
        context = _attend(
            self.query_proj(seg)[:, None], self.key_proj(key)[:, None], self.value_proj(key)[:, None]
        )
        mixed = queries + self.out_proj(context[:, 0])
        pair = torch.stack([self.norm2(mixed), key], dim=1)
        mixed = mixed + self.self_attn(pair)[:, 0]
        mixed = mixed + self.mlp(self.norm2(mixed))
        is_drawn = torch.tensor(
            [slot.token == self.draws for slot in slots] or [True], device=queries.device
        )[:, None]
        return torch.where(is_drawn, mixed, queries)

    def _as_released(self, queries: Tensor, slots: Sequence[Mention]) -> Tensor:
        groups: dict[int, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
        for number, slot in enumerate(slots):
            if slot.token in (self.draws, self.keys):
                groups[slot.example][slot.token == self.keys].append(number)
        if not groups:
            return queries + 0 * self.fused(queries, queries)
        fused = queries.clone()
        for drawn, keys in groups.values():
            if drawn:
                key = queries[keys] if keys else torch.zeros_like(queries[:1])
                fused[drawn] = self.fused(queries[drawn], key).to(fused.dtype)
        return fused

    def fused(self, seg: Tensor, key: Tensor) -> Tensor:
        """The released forward for one image: [n, C] and [k, C] (or [C]) -> [n, C]."""
        dtype = self.out_proj.weight.dtype
        rows = _interpolated(seg, self.fusion.rows)
        key = key[None] if key.dim() == 1 else key
        context = _attend(self.query_proj(rows), self.key_proj(key), self.value_proj(key))
        mixed = self.self_attn(self.out_proj(context.to(dtype)))
        return _interpolated(mixed, len(seg)).to(dtype)


def _attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """softmax(q k / sqrt(d)) v over the last but one axis, in float32."""
    query, key, value = query.float(), key.float(), value.float()
    weights: Tensor = (query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5).softmax(-1)
    return weights @ value


def _interpolated(rows: Tensor, count: int) -> Tensor:
    """Linear along the rows, ends not aligned: [n, C] -> [count, C]."""
    resized: Tensor = interpolate(rows.T[None], size=count, mode="linear", align_corners=False)[0].T
    return resized


@dataclass(frozen=True)
class Keyword(Term):
    """KeySeg's alignment: cross entropy of a key's nearness to every word, at the first token of its keyword; per keyword."""

    name = "keyword"

    def check(self, recipe: Recipe, /) -> None:
        if not isinstance(recipe.fusion, KeyFusion):
            raise ValueError(
                f"terms.keyword aligns what fusion=KeyFusion projects, and recipe {recipe.name} has "
                f"fusion={type(recipe.fusion).__name__}; use fusion=KeyFusion, or a recipe without this term"
            )

    def count(self, batch: Batch) -> int:
        return sum(slot.word_id != NO_WORD for slot in batch.slots)

    def total(self, batch: Batch, predicted: Predicted, model: Segmenter) -> Tensor:
        assert isinstance(model.fuse, KeyFusionModule), "`check` sees to it"
        with torch.autocast(predicted.queries_SC.device.type, enabled=False):
            logits = model.fuse.keyword_logits(predicted.queries_SC, model.backbone.table().float())
        words = batch.words if len(batch.slots) else batch.words.new_zeros(1)
        return cross_entropy(logits, words, ignore_index=NO_WORD, reduction="sum")
