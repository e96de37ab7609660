"""A micro-batch: dialogues laid out in rows of tokens, pictures, and masks, as the model takes them.

Axis letters: R packed rows, T tokens of a row, N frames shown to the LLM, P patches of a frame, M frames in which masks are
drawn, V visual tokens, K trained tokens, S slots, J jobs (slot, frame), D channels, H W original pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

from seglm.utils.look import Grid

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Bound:
    """A slot that knows where it stands in a batch."""

    token: str
    example: int
    """position in the batch's examples"""
    branch: int
    target: int
    row: int
    place: int
    """column of the slot's own token in row `row`"""
    frames: tuple[int, ...]
    """positions in the batch's drawn frames"""
    word_id: int = 0
    """see `Placed`"""
    value: float | None = None
    """see `Slot`"""


@dataclass(frozen=True)
class Laid:
    """Where a dialogue stands in the rows of a batch."""

    example: int
    row: int
    prefix: tuple[int, int]
    """columns from .. to of what it shares with the other dialogues of its example; nothing where it shares nothing"""
    own: tuple[int, int]
    """columns from .. to of what follows; never nothing"""

    @property
    def origin(self) -> int:
        """The column at which its first token would stand if it shared nothing: its own token k stands at origin + k."""
        begin, end = self.prefix
        return self.own[0] - (end - begin)

    @property
    def last(self) -> int:
        """Column of its last token."""
        return self.own[1] - 1


@dataclass(frozen=True)
class Batch:
    """Tensors of one micro-batch; indices that the forward needs were computed on the host."""

    keys: tuple[str, ...]
    """one for each example"""
    ids: Tensor
    """int64 [R, T]; IMAGE_POSITION where a visual feature is written, 0 on padding"""
    positions: Tensor
    """int64 [R, T], which token of its dialogue it is, and its rotary position unless `rotary` says another: a branch continues
    where its prefix ended"""
    group: Tensor
    """int64 [R, T], which example a token belongs to, -1 on padding"""
    branch: Tensor
    """int64 [R, T], 0 in the shared prefix, k + 1 in branch k of the example"""
    image_at: Tensor
    """int64 [V], flat positions (row * T + column) of the visual features"""
    image_frame: Tensor
    """int64 [V], frame of each in `vision`"""
    image_patch: Tensor
    """int64 [V], patch of each; P means the mean of the frame"""
    labelled_at: Tensor
    """int64 [K], flat positions whose NEXT token is trained"""
    labels: Tensor
    """int64 [K], the tokens to be predicted there"""
    vision: Tensor
    """uint8 [N, 3, v, v] (normalised by the model), float (already normalised), or [N, P, D], what the tower made of them"""
    drawn: tuple[Tensor, ...]
    """M frames: uint8 [3, h, w] (enlarged, normalised and padded by the model) or float [3, I, I] (that is already done)"""
    resized: tuple[tuple[int, int], ...]
    """(height, width) in the mask decoder's square, for each of the M frames"""
    sizes: tuple[tuple[int, int], ...]
    """(H, W) of the original, for each of the M frames"""
    slots: tuple[Bound, ...]
    slot_at: Tensor
    """int64 [S], flat position of each slot's own token"""
    words: Tensor
    """int64 [S], `word_id` of each slot"""
    values: Tensor
    """float32 [S], `value` of each slot; NaN where it has none"""
    about: Tensor
    """int64 [S, 5], what each slot speaks of, as numbers: video, expression, frame, things, and a bit for each thing; the last
    two are 0 where the data set names no thing"""
    job_slot: Tensor
    """int64 [J], the slot of each job; jobs are sorted by frame, and each is there once"""
    job_frame: Tensor
    """int64 [J], the drawn frame of each job"""
    job_times: Tensor
    """float32 [J], how often each job's mask counts: once, or as often as its slot names the frame"""
    jobs: tuple[tuple[int, int], ...]
    """the same as (slot, frame) on the host"""
    masks_counted: int
    """the sum of `job_times` on the host"""
    masks: tuple[Tensor, ...]
    """for each of the M frames bool [jobs of the frame, H, W], in the order of the jobs"""
    ignore: tuple[Tensor | None, ...]
    """for each of the M frames bool [H, W] or None"""
    laid: tuple[Laid, ...]
    """where each dialogue stands, all examples in order"""
    frame_example: tuple[int, ...]
    """for each of the M drawn frames, the example it belongs to"""
    grids: tuple[Grid, ...] = ()
    """how the cells of `vision` lie together (`Example.grids`), all examples in order"""
    rotary: Tensor | None = None
    """int64 [3, R, T]: where a token stands in time, in height and in width, for a language model that turns its queries and keys
    by all three; the tokens of a picture lie side by side there. None: `positions` in each"""

    def to(self, device: object) -> Batch:
        """The same batch with every tensor on `device` (non-blocking copies)."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))  # type: ignore[call-overload]

    def pin_memory(self) -> Batch:
        """The same batch in page-locked memory; PyTorch's loader calls it, and copies to a GPU then wait for nothing."""
        from torch import Tensor

        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        from torch import Tensor

        def changed(value: object) -> object:
            if isinstance(value, Tensor):
                return change(value)
            return tuple(map(changed, value)) if isinstance(value, tuple) else value

        return replace(self, **{entry.name: changed(getattr(self, entry.name)) for entry in fields(self)})  # type: ignore[arg-type]
