"""A tiny SAM-2: it segments the thing under a point, in a box or under a mask, carries it through a clip, and knows no word.

It sees the toy world at its own 128 pixels, because a SAM-2 has one cell for 16 of them. `tiny_sam2_lessons` has what it learns.
Letters: J objects, B objects of a clip, T frames.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from seglm.bases import tiny_sam
from seglm.bases.scene_cache import DrawnScenes, owner_map
from seglm.dataset.toy.clips import Clip, draw_frames, make_clip, seen
from seglm.dataset.toy.scenes import GRID, Split, draw, make_scene
from seglm.model.decoders.sam2 import Prompts, Sam2Decoder
from seglm.model.decoders.sam2_dims import Sam2Dims
from seglm.model.decoders.sam2_memory import Memory
from seglm.model.decoders.sam2_propagate import carry, enlarged
from seglm.model.decoders.sam2_step import step

DIMS = Sam2Dims(
    embed_dim=24,
    heads=1,
    stages=(1, 2, 2, 1),
    global_attn_blocks=(),
    window_spec=(8, 8, 8, 4),
    pos_embed_size=(8, 8),
    image_size=GRID,
    prompt_dim=64,
    memory_dim=16,
    attn_layers=2,
    attn_mlp=128,
    dec_heads=4,
    dec_mlp=128,
    iou_hidden=64,
    mask_in_chans=16,
)
LOW = 4 * DIMS.grid  # side of the low-resolution masks
FIRST_SEED = (
    80_000_000  # of scenes and clips; a toy world's own begin at 0, and so do those of the other bases
)
SEEN_FROM = 40  # px of the 128 canvas that are seen of a thing of which something is said


class TinySam2(nn.Module):
    """The tiny SAM-2, with what only training uses: heads that name the thing in a cell, and vectors that ask for all that is
    like the thing under a point in its colour, shape or size.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sam = Sam2Decoder(DIMS)
        self.sam.apply(_begin_anew)
        self.alike = nn.Embedding(len(tiny_sam.GROUPS), DIMS.prompt_dim)
        self.dense = nn.ModuleDict(
            {name: nn.Conv2d(DIMS.prompt_dim, len(v) + 1, 1) for name, v in tiny_sam.VALUES.items()}
        )


def _begin_anew(module: nn.Module) -> None:
    """PyTorch's own beginnings, as segment_anything has them. transformers' (deviations of 0.02) are made for wide layers: in
    narrow ones every attention begins by looking everywhere alike, and 300 steps went by until a point meant a place.
    """
    if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d | nn.Embedding):
        module.reset_parameters()


def drawn_scenes(first: int, count: int, *, split: Split) -> DrawnScenes:
    """`count` scenes from running number `first` on, their pictures as they are: uint8 [N, 1, 128, 128, 3]."""
    scenes = tuple(make_scene(FIRST_SEED + first + number, split=split) for number in range(count))
    return DrawnScenes(
        scenes,
        np.stack([draw(scene)[None] for scene in scenes]),
        np.stack([owner_map(scene) for scene in scenes]),
    )


def masks_of(clip: Clip) -> NDArray[np.bool_]:
    """What is seen of each thing in each frame: bool [T, N, 128, 128]."""
    return np.stack([seen(scene) for scene in clip.scenes])


def encode(sam: Sam2Decoder, pictures: NDArray[np.uint8]) -> Tensor:
    """uint8 [M, 128, 128, 3] -> features [M, 4 C, g, g], with gradient."""
    pixels = torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous()
    return sam.encode_squares(sam.normalise(pixels, [(GRID, GRID)] * len(pixels)))


def embed(sam: Sam2Decoder, corners: Tensor, *, box: bool) -> Tensor:
    """The sparse prompt vectors [J, 3, C] of boxes, or [J, 2, C] of a point each; corners: see `tiny_sam.Prompts`."""
    if box:
        return sam.prompts_of_boxes(corners.float().flatten(1))
    return sam.prompts_of_points(
        corners[:, :1].float() - 0.5, torch.ones((len(corners), 1), dtype=torch.long)
    )


@torch.no_grad()
def scores(sam: Sam2Decoder, *, scenes: int, clips: int) -> dict[str, float]:
    """On held-out ones: mean IoU at 128 px per kind of prompt, and of things carried through clips (see `carried`)."""
    sam.eval()
    found: dict[str, list[Tensor]] = {}
    for kind in tiny_sam.KINDS:
        for first in range(0, scenes, 50):
            batch = drawn_scenes(first, min(50, scenes - first), split="val")
            prompts = tiny_sam.sample_prompts(
                batch, np.random.default_rng([7, first]), per_image=3, kind=kind
            )
            features = encode(sam, batch.pictures[:, 0])[prompts.image]
            is_box = kind == "box"
            said = Prompts(embed(sam, prompts.corners, box=is_box), is_ambiguous=not is_box)
            drawn, _ = step(sam, features, Memory(), frame=0, prompts=said)
            truth = tiny_sam.covered(torch.from_numpy(batch.owners)[prompts.image], prompts.members[:, :1])
            found.setdefault(kind, []).append(_iou(enlarged(drawn.logits, (GRID, GRID)) > 0, truth)[:, 0])
    for number in range(clips):
        for name, values in carried(sam, make_clip(FIRST_SEED + number, split="val")).items():
            found.setdefault(name, []).append(values)
    return {name: round(float(torch.cat(values).mean()), 4) for name, values in found.items()}


def carried(sam: Sam2Decoder, clip: Clip) -> dict[str, Tensor]:
    """The things that are seen in the first frame, carried from their true masks there to the last frame.

    `carried`: IoU in every later frame in which a thing is seen. `behind`: of these the ones behind a frame in which it was not.
    `absent`: 1 where nothing is drawn in a frame in which nothing of it is seen.
    """
    truth = torch.from_numpy(masks_of(clip)[:, _seen_enough(masks_of(clip)[0])])
    if not truth.shape[1]:
        return {}
    pictures = np.stack(list(draw_frames(clip)))
    given = truth[0][:, None]
    walk = carry(
        sam,
        lambda numbers: encode(sam, pictures[list(numbers)]),
        {0: given},
        num_frames=len(pictures),
        directions=("forwards",),
    )
    masks = torch.stack([enlarged(drawn.logits, (GRID, GRID))[:, 0] > 0 for _, drawn in walk])[1:]
    there = truth.flatten(2).any(2)
    lost = (~there).cumsum(0)[1:] > 0
    there, iou = there[1:], _iou(masks, truth[1:])
    empty = ~masks.flatten(2).any(2)
    return {"carried": iou[there], "behind": iou[there & lost], "absent": empty[~there].float()}


def _seen_enough(masks: NDArray[np.bool_]) -> Sequence[int]:
    """Indices of the things, of masks bool [N, 128, 128]."""
    return [int(thing) for thing in np.flatnonzero(masks.sum((1, 2)) >= SEEN_FROM)]


def _iou(masks: Tensor, truth: Tensor) -> Tensor:
    return (masks & truth).sum((-2, -1)) / (masks | truth).sum((-2, -1)).clamp(min=1)


def save(sam: Sam2Decoder, folder: Path) -> None:
    """Writes `model.safetensors` (float16, our names) and `config.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(
        {f"decoder.{name}": value.half().contiguous() for name, value in sam.state_dict().items()},
        folder / "model.safetensors",
    )
    (folder / "config.json").write_text(json.dumps(asdict(DIMS), indent=1) + "\n", encoding="ascii")


def load(folder: Path) -> Sam2Decoder:
    """Reads what `save` wrote, strictly, as float32."""
    sam = Sam2Decoder(Sam2Dims.of(json.loads((folder / "config.json").read_text(encoding="ascii"))))
    stored = load_file(folder / "model.safetensors")
    sam.load_state_dict({name.removeprefix("decoder."): value.float() for name, value in stored.items()})
    return sam
