"""Masks and prompts of a few frames carried through a video of any length by SAM-2's memory, all objects as one batch.

Every frame of which something is said is drawn first and remembered for good, also those that the walk comes to later; the walk
then goes forwards from the first of them, and backwards from there. A frame is encoded once, and nothing of it stays but what
later frames look back on.
Letters: N objects, C channels of the decoder, g grid side, I image size, H W original pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from seglm.model.decoders.sam2 import Prompts, Sam2Decoder
from seglm.model.decoders.sam2_memory import PREDICTING, Memory, MemoryPolicy
from seglm.model.decoders.sam2_step import Drawn, step
from seglm.model.propagate import BOTH_WAYS, Carried, Direction, check_anchors, reached
from seglm.utils.types import Pictures

Said = Prompts | Tensor
"""of all objects in one frame: prompts, or masks bool or float [N, 1, I, I] that are the answer"""
FRAMES_AT_ONCE = 4
"""that are encoded ahead of what is drawn"""
OBJECTS_AT_ONCE = 32
"""that one call draws: each reads some 30,000 tokens, which are 60 MB in float32 on their way through a layer"""


@dataclass(frozen=True)
class BySam2:
    """Carries masks through a video (`Propagator`)."""

    decoder: Sam2Decoder
    policy: MemoryPolicy = PREDICTING

    def __call__(
        self,
        frames: Pictures,
        anchors: Mapping[int, NDArray[np.bool_]],
        /,
        *,
        directions: Sequence[Direction] = BOTH_WAYS,
    ) -> Iterator[Carried]:
        """See Propagator; an anchor's masks come back as they are, and an empty one says that the object is not there."""
        count, *size = check_anchors(len(frames), anchors)
        if not count:
            for frame in reached(len(frames), list(anchors), directions):
                yield Carried(frame, np.zeros((0, *size), np.bool_))
            return
        said = {frame: self._given(masks) for frame, masks in anchors.items()}
        walk = carry(
            self.decoder,
            lambda numbers: encode_whole(self.decoder, [frames[number] for number in numbers]),
            said,
            num_frames=len(frames),
            directions=directions,
            policy=self.policy,
        )
        for frame, drawn in walk:
            there = tuple(drawn.score[:, 0].tolist())
            if frame in anchors:
                yield Carried(frame, anchors[frame], there)
            else:
                yield Carried(frame, (enlarged(drawn.logits, size)[:, 0] > 0).cpu().numpy(), there)

    def _given(self, masks: NDArray[np.bool_]) -> Tensor:
        """bool [N, H, W] -> bool [N, 1, I, I]"""
        whole = torch.from_numpy(np.ascontiguousarray(masks))[:, None].to(self.decoder.pixel_mean.device)
        side = (self.decoder.image_size,) * 2
        return interpolate(whole.float(), side, mode="bilinear", align_corners=False, antialias=True) >= 0.5


def encode_whole(decoder: Sam2Decoder, pictures: Sequence[NDArray[np.uint8]]) -> Tensor:
    """Pictures uint8 [H, W, 3] -> features [M, 4 C, g, g]; each fills the square, as SAM-2 was trained, whatever its sides."""
    side = (decoder.image_size,) * 2
    found = []
    for picture in pictures:
        pixels = torch.from_numpy(np.ascontiguousarray(picture)).to(decoder.pixel_mean.device)
        pixels = pixels.permute(2, 0, 1)[None].float()
        whole = interpolate(pixels, side, mode="bicubic", align_corners=False, antialias=True)
        found.append(whole[0].round().clamp(0, 255).to(torch.uint8))
    return decoder.encode(found, [side] * len(found))


def enlarged(logits: Tensor, size: Sequence[int]) -> Tensor:
    """Logits [N, 1, h, w] of a picture that filled the square -> float32 [N, 1, H, W], in one step as in SAM-2's predictor."""
    return interpolate(logits.float(), tuple(size), mode="bilinear", align_corners=False)


@torch.inference_mode()
def carry(
    decoder: Sam2Decoder,
    features: Callable[[Sequence[int]], Tensor],
    said: Mapping[int, Said],
    *,
    num_frames: int,
    directions: Sequence[Direction] = BOTH_WAYS,
    policy: MemoryPolicy = PREDICTING,
) -> Iterator[tuple[int, Drawn]]:
    """(frame, what was found of all objects in it), each frame that is reached once.

    features: numbers of a few frames -> [as many, 4 C, g, g]; each frame is asked for once. said: at least one frame with what is
    said of all objects in it.
    """
    memories: list[Memory] = []
    first: dict[int, Drawn] = {}
    for frame in sorted(said):
        parts = _split(said[frame])
        memories = memories or [Memory(policy, num_frames=num_frames) for _ in parts]
        first[frame], memories = _stepped(decoder, features([frame]), memories, frame, parts)
    for order in orders(said, num_frames, directions):
        way = memories if order.step > 0 else [memory.turned() for memory in memories]
        yield from _walk(decoder, features, first, way, order)


def orders(said: Iterable[int], num_frames: int, directions: Sequence[Direction]) -> Iterator[range]:
    """The walks from these frames: forwards from the first of them, and backwards from there or, alone, from the last."""
    places = sorted(said)
    last = places[-1]
    if "forwards" in directions:
        yield range(places[0], num_frames)
        last = places[0] - 1
    if "backwards" in directions:
        yield range(last, -1, -1)


def _walk(
    decoder: Sam2Decoder,
    features: Callable[[Sequence[int]], Tensor],
    first: Mapping[int, Drawn],
    memories: list[Memory],
    order: range,
) -> Iterator[tuple[int, Drawn]]:
    for place in range(0, len(order), FRAMES_AT_ONCE):
        some = order[place : place + FRAMES_AT_ONCE]
        new = [frame for frame in some if frame not in first]
        encoded = iter(features(new).split(1) if new else ())
        for frame in some:
            if frame in first:
                yield frame, first[frame]
            else:
                drawn, memories = _stepped(decoder, next(encoded), memories, frame, None)
                yield frame, drawn


def _stepped(
    decoder: Sam2Decoder,
    features: Tensor,
    memories: Sequence[Memory],
    frame: int,
    parts: Sequence[Said] | None,
) -> tuple[Drawn, list[Memory]]:
    """One frame of all parts of the objects."""
    said = parts or (None,) * len(memories)
    found = [
        step(
            decoder,
            features,
            memory,
            frame=frame,
            prompts=part if isinstance(part, Prompts) else None,
            masks=part if isinstance(part, Tensor) else None,
        )
        for memory, part in zip(memories, said, strict=True)
    ]
    drawn = [one for one, _ in found]
    if len(drawn) == 1:
        return drawn[0], [found[0][1]]
    joined = {field.name: torch.cat([getattr(one, field.name) for one in drawn]) for field in fields(Drawn)}
    return Drawn(**joined), [memory for _, memory in found]


def _split(said: Said) -> list[Said]:
    """As many objects in each as are drawn at once."""
    if isinstance(said, Tensor):
        return list(said.split(OBJECTS_AT_ONCE))
    sparse = said.sparse.split(OBJECTS_AT_ONCE)
    dense = said.dense.split(OBJECTS_AT_ONCE) if said.dense is not None else [None] * len(sparse)
    return [Prompts(own, mask, said.is_ambiguous) for own, mask in zip(sparse, dense, strict=True)]
