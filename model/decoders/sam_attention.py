"""The attention of SAM's image encoder, without its matrix of scores; and the norm behind it, which float16 does not break.

SAM adds to the score of a query and a key a number for their distance down and one for that across, each a product of the query
with a vector for the distance. Here these products stand behind the query's own numbers, and behind the key's a one at its row
and a one at its column, so that the score is one product of two longer vectors, and PyTorch's fused attention does the rest: of
a ViT-H's 4096 tokens it never holds the 16.8 million scores a head, which the package's module writes and reads several times.
Letters: B windows or pictures, n heads, h w sides of the grid, d numbers of a head.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad, scaled_dot_product_attention


class SamAttention(nn.Module):
    """A drop-in for segment_anything's `Attention` with relative positions, whose weights it takes over under their names."""

    def __init__(self, of: Any) -> None:
        super().__init__()
        self.num_heads: int = of.num_heads
        self.qkv, self.proj = of.qkv, of.proj
        self.rel_pos_h, self.rel_pos_w = of.rel_pos_h, of.rel_pos_w

    def forward(self, x: Tensor) -> Tensor:
        """float [B, h, w, n d] -> the same"""
        height, width = x.shape[1:3]
        q, k, v = self.qkv(x).flatten(1, 2).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        size = q.shape[-1]
        grid = q.unflatten(2, (height, width))
        down = torch.einsum("bnhwd,hkd->bnhwk", grid, _distances(self.rel_pos_h, height))
        across = torch.einsum("bnhwd,wkd->bnhwk", grid, _distances(self.rel_pos_w, width))
        ones = torch.cat(
            [
                torch.eye(height, dtype=k.dtype, device=k.device).repeat_interleave(width, 0),
                torch.eye(width, dtype=k.dtype, device=k.device).repeat(height, 1),
            ],
            dim=1,
        )
        q = torch.cat([q * size**-0.5, down.flatten(2, 3), across.flatten(2, 3)], dim=-1)
        k = torch.cat([k, ones.expand(*k.shape[:2], -1, -1)], dim=-1)
        v = pad(v, (0, height + width))  # the fastest kernels want all three of one width
        found = scaled_dot_product_attention(q, k, v, scale=1.0)[..., :size]
        return self.proj(found.transpose(1, 2).flatten(2).unflatten(1, (height, width)))  # type: ignore[no-any-return]


class NeckNorm(nn.Module):
    """A drop-in for segment_anything's `LayerNorm2d`, whose weights it takes over under their names: of float16 in float32, where
    the square of a number above 255 is infinite and the picture would become zeros. (LISA's own copy of SAM does the same.)"""

    def __init__(self, of: Any) -> None:
        super().__init__()
        self.weight, self.bias = of.weight, of.bias
        self.eps: float = of.eps

    def forward(self, x: Tensor) -> Tensor:
        """float [B, C, h, w], normalised over C -> the same"""
        wide = x.float() if x.dtype is torch.float16 else x
        apart = wide - wide.mean(1, keepdim=True)
        even = apart / torch.sqrt(apart.pow(2).mean(1, keepdim=True) + self.eps)
        said: Tensor = self.weight[:, None, None] * even + self.bias[:, None, None]
        return said.to(x.dtype)


def _distances(table: Tensor, side: int) -> Tensor:
    """The vectors [2 s - 1, d] of all distances -> [side, side, d] of a query's place and a key's; of another s they are
    interpolated, as the package does it."""
    if len(table) != 2 * side - 1:
        table = interpolate(table.T[None], size=2 * side - 1, mode="linear")[0].T
    places = torch.arange(side, device=table.device)
    return table[places[:, None] - places + side - 1]
