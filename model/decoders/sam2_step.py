"""From one frame of a video to the next with SAM-2: read the memory, draw, write it. All objects of a frame are one batch.

`step` is what `track_step` of SAM-2 does (modeling/sam2_base.py:804-870 at 2b90b9f), with the memory passed in and out, so that
training runs through it as inference does.
Letters: B objects, C channels of the decoder, E channels of a memory, g grid side, L memory tokens, I image size, h w = 4 g.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from seglm.model.decoders.base import Followed
from seglm.model.decoders.sam2 import Candidates, Prompts, Sam2Decoder, resized
from seglm.model.decoders.sam2_dims import MASK_LAYERS
from seglm.model.decoders.sam2_memory import Entry, Memory, MemoryPolicy, Reading

ABSENT = -1024.0  # logits of an object that is not there (NO_OBJ_SCORE)
MASK_SCALE, MASK_BIAS = 20.0, -10.0
"""of a mask on its way into a memory, and from 0 or 1 to the logits of a mask that was given"""
STABLE_WITHIN, STABLE_FROM = 0.05, 0.98  # dynamic_multimask_stability_{delta,thresh}
WAVELENGTH = 10_000.0


@dataclass(frozen=True, eq=False)
class Drawn:
    """What was found of B objects in one frame."""

    logits: Tensor
    """float32 [B, 1, h, w]"""
    iou: Tensor
    """float32 [B], estimated; 1 where the mask was given"""
    score: Tensor
    """float32 [B, 1], logits: above 0 the object is there"""
    conditioned: Tensor
    """float32 [B, C, g, g]: the features that were drawn from"""
    pointer: Tensor
    """float32 [B, C]"""

    def followed(self, policy: MemoryPolicy) -> Followed:
        """The same as whoever follows objects is told it."""
        return Followed(self.logits, self.iou[:, None], self.score if policy.occlusion else None)


def step(
    decoder: Sam2Decoder,
    features: Tensor,
    memory: Memory,
    *,
    frame: int,
    prompts: Prompts | None = None,
    masks: Tensor | None = None,
    conditioning: bool | None = None,
) -> tuple[Drawn, Memory]:
    """Draws all objects in one frame, and remembers it; float32 whatever the autocast, which only memory attention follows: it
    reads tens of thousands of tokens for each object, which is most of a step's work.

    features: [1 or B, 4 C, g, g] of the frame (`Sam2Decoder.encode`). prompts: of B objects; None: they are found by what is
    remembered. masks: bool or float [B, 1, I, I], 0 to 1, of the square: they are the answer. conditioning: the frame is
    drawn without looking back, and is looked back on from everywhere; None: it is if a mask is given, or prompts and the policy
    has it so.
    Raises ValueError if nothing is given and nothing is remembered.
    """
    if conditioning is None:
        conditioning = masks is not None or (prompts is not None and memory.policy.conditions)
    if not conditioning and prompts is None and memory.is_empty:
        raise ValueError(
            f"frame {frame} has no prompt and no mask, and nothing is remembered of another; begin at a frame with one"
        )
    device = features.device.type
    mixed = torch.is_autocast_enabled(device)
    with torch.autocast(device, enabled=False):
        objects = _objects(features, memory, prompts, masks)
        fine, middle, coarse = (
            level.expand(objects, -1, -1, -1) for level in decoder.levels(features.float())
        )
        if masks is not None:
            drawn, high = _given(decoder, (fine, middle), coarse, masks.float())
        else:
            reading = memory.read(frame)
            if conditioning or not reading.memories:  # also where no frame that is looked back on was drawn
                conditioned = decoder.without_memory(coarse)
            else:
                with torch.autocast(device, enabled=mixed):
                    conditioned = recall(decoder, coarse, reading, memory.policy)
            said = prompts or Prompts(decoder.no_points(objects))
            found = decoder.candidates((fine, middle), conditioned, said)
            drawn = _choose(decoder, found, conditioned, memory.policy, is_ambiguous=said.is_ambiguous)
            high = interpolate(drawn.logits, (decoder.image_size,) * 2, mode="bilinear", align_corners=False)
        seen = drawn.conditioned if memory.policy.writes == "conditioned" else coarse
        entry = remember(decoder, seen, high, drawn, memory.policy, frame=frame, prompted=conditioning)
    return drawn, memory.write(entry, conditioning=conditioning)


def recall(decoder: Sam2Decoder, coarse: Tensor, reading: Reading, policy: MemoryPolicy) -> Tensor:
    """Coarse features [B, C, g, g] -> the same conditioned on what is read, float32 [B, C, g, g]."""
    tokens, positions, pointers = memory_tokens(decoder, reading, policy)
    width, grid = decoder.dims.prompt_dim, decoder.dims.grid
    where = decoder.image_encoder.neck.position_encoding((1, width, grid, grid), coarse.device, torch.float32)
    found = decoder.memory_attention(
        coarse.flatten(2).permute(2, 0, 1),
        tokens,
        where.flatten(2).permute(2, 0, 1),
        positions,
        pointers,
    )
    return found.squeeze(0).transpose(1, 2).reshape(coarse.shape).float()  # type: ignore[no-any-return]


def remember(
    decoder: Sam2Decoder,
    seen: Tensor,
    high: Tensor,
    drawn: Drawn,
    policy: MemoryPolicy,
    *,
    frame: int,
    prompted: bool,
) -> Entry:
    """What is kept of a frame.

    seen: features [B, C, g, g]. high: logits of the masks float32 [B, 1, I, I]. prompted: something was said of the frame.
    """
    high = resized(high, 2**MASK_LAYERS * decoder.dims.grid)  # SAM-2's square is so large, SAM-3's is smaller
    mask = (high > 0).float() if policy.binarise and prompted else high.sigmoid()
    features, _ = decoder.memory_encoder(seen, mask * MASK_SCALE + MASK_BIAS)
    absent = decoder.occlusion_spatial_embedding_parameter
    if policy.occlusion and absent is not None:
        features = features + (drawn.score <= 0).float()[..., None, None] * absent.float()[..., None, None]
    pointer = drawn.pointer
    if policy.detach:
        features, pointer = features.detach(), pointer.detach()
    return Entry(frame, features, pointer)


def memory_tokens(decoder: Sam2Decoder, reading: Reading, policy: MemoryPolicy) -> tuple[Tensor, Tensor, int]:
    """(memory tokens [L, B, E], their positions [L, B or 1, E], how many of them are of pointers, which are the last)."""
    table = decoder.memory_temporal_positional_encoding.float()
    if policy.temporal and policy.frames >= len(table):
        raise ValueError(
            f"frames={policy.frames}: this SAM-2 knows temporal positions of {len(table) - 1} frames besides the conditioning "
            "ones; take no more, or temporal=false"
        )
    width, grid = decoder.dims.memory_dim, decoder.dims.grid
    tokens, positions = [], []
    first = reading.memories[0][0]
    place = decoder.memory_encoder.position_encoding((1, width, grid, grid), first.device, torch.float32)
    place = place.flatten(2).permute(2, 0, 1)
    for features, ago in reading.memories:
        tokens.append(features.flatten(2).permute(2, 0, 1))
        # 0 frames ago means a conditioning frame, whose position is the table's last
        positions.append(place + table[ago - 1] if policy.temporal else place)
    pieces = decoder.dims.prompt_dim // width
    if reading.pointers:
        pointers = torch.stack([pointer for pointer, _ in reading.pointers])
        tokens.append(pointers.unflatten(2, (pieces, width)).transpose(1, 2).flatten(0, 1))
        positions.append(_distances(decoder, reading, first.device).repeat_interleave(pieces, 0)[:, None])
    batch = first.shape[0]
    whole = torch.cat([position.expand(-1, batch, -1) for position in positions])
    return torch.cat(tokens), whole, pieces * len(reading.pointers)


def _distances(decoder: Sam2Decoder, reading: Reading, device: torch.device) -> Tensor:
    """The positions [N, E] of N pointers; zero in SAM-2.0."""
    layer = decoder.temporal_positional_encoding_projection_layer
    distances = torch.tensor(
        [distance for _, distance in reading.pointers], device=device, dtype=torch.float32
    )
    if layer is None:
        return distances.new_zeros(len(distances), decoder.dims.memory_dim)
    half = decoder.dims.prompt_dim // 2
    pair = torch.arange(half, device=device) // 2
    angle = distances[:, None] / reading.span / WAVELENGTH ** (2 * pair / half)
    return layer(torch.cat([angle.sin(), angle.cos()], dim=1))  # type: ignore[no-any-return]


def _choose(
    decoder: Sam2Decoder, found: Candidates, conditioned: Tensor, policy: MemoryPolicy, *, is_ambiguous: bool
) -> Drawn:
    """One mask an object, its token as the object's pointer."""
    best = 1 + found.iou[:, 1:].argmax(1)
    first = torch.zeros_like(best)
    if policy.best_of_several and is_ambiguous:
        taken = token = best
    else:
        token = first  # also where another mask is taken: SAM-2 points with the mask that it was asked for
        taken = torch.where(_is_stable(found.logits[:, 0]), first, best) if policy.stable else first
    rows = torch.arange(len(best), device=best.device)
    logits, pointer = (
        found.logits[rows, taken][:, None],
        decoder.object_pointer_proj(found.tokens[rows, token]),
    )
    if policy.occlusion:
        there = found.score > 0
        if policy.masks_absent:
            logits = torch.where(there[..., None, None], logits, ABSENT)
        pointer = torch.where(there, pointer, decoder.no_object_pointer.float())
    return Drawn(logits, found.iou[rows, taken], found.score, conditioned, pointer)


def _is_stable(logits: Tensor) -> Tensor:
    """bool [B]: the masks float [B, h, w] do not hang on where exactly the threshold lies."""
    inner = (logits > STABLE_WITHIN).flatten(1).sum(1)
    outer = (logits > -STABLE_WITHIN).flatten(1).sum(1)
    return (outer == 0) | (inner / outer >= STABLE_FROM)


def _given(
    decoder: Sam2Decoder, fine: tuple[Tensor, Tensor], coarse: Tensor, masks: Tensor
) -> tuple[Drawn, Tensor]:
    """Masks float [B, 1, I, I] that are the answer; the decoder only makes the pointers. Also their logits [B, 1, I, I]."""
    side = 4 * decoder.dims.grid
    high = masks * MASK_SCALE + MASK_BIAS
    low = interpolate(high, (side, side), mode="bilinear", align_corners=False, antialias=True)
    said = Prompts(decoder.no_points(len(masks)), decoder.dense(decoder.mask_downsample(masks)))
    found = decoder.candidates(fine, coarse, said)
    there = (masks > 0).flatten(1).any(1, keepdim=True)
    seen = there & (found.score > 0)
    pointer = torch.where(
        seen, decoder.object_pointer_proj(found.tokens[:, 0]), decoder.no_object_pointer.float()
    )
    score = there.float() * MASK_SCALE + MASK_BIAS
    return Drawn(low, torch.ones_like(score[:, 0]), score, coarse, pointer), high


def _objects(features: Tensor, memory: Memory, prompts: Prompts | None, masks: Tensor | None) -> int:
    """How many objects there are. Raises ValueError if prompts, masks and memory do not speak of as many."""
    entry = next((entry for entry in (*memory.recent, *memory.conditioning)), None)
    counts = {
        "prompts": None if prompts is None else len(prompts.sparse),
        "masks": None if masks is None else len(masks),
        "the memory": None if entry is None else len(entry.pointer),
    }
    known = {name: count for name, count in counts.items() if count is not None}
    if len(set(known.values())) > 1 or len(features) not in (1, *known.values()):
        raise ValueError(
            f"{', '.join(f'{count} objects in {name}' for name, count in known.items())}, features of {len(features)}; "
            "all objects of one walk stand in one batch, in every frame"
        )
    return next(iter(known.values()))
