"""A tiny SAM, the base that segments the thing under a point or in a box, and knows no word.

It also learns by example: besides the thing itself (mask 0) it marks, for the same prompt, all things of its colour, of its shape
and of its size (masks 1, 2, 3, where the released SAM has its whole / part / subpart). That is why its features know shapes.
Letters: N images, J prompts, C channels, K masks of a prompt, L side of the low-resolution masks, S side of the canvas.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from seglm.bases.scene_cache import NOBODY, SIDE, DrawnScenes
from seglm.dataset.toy.scenes import COLOURS, GRID, SIZES, Scene
from seglm.dataset.toy.shapes import SHAPES
from seglm.model.decoders.sam import SamDecoder, SamDims

DIMS = SamDims(
    image_size=SIDE,
    patch=4,
    vit_dim=128,
    vit_depth=4,
    vit_heads=4,
    window_size=8,
    global_attn_indexes=(1, 3),
    prompt_dim=96,
    dec_depth=2,
    dec_heads=4,
    dec_mlp=192,
    iou_hidden=64,
    iou_depth=3,
    mask_in_chans=8,
    num_multimask=3,
)
GROUPS = ("colour", "shape", "size")  # of masks 1, 2, 3
VALUES: dict[str, tuple[str, ...]] = {"colour": tuple(COLOURS), "shape": SHAPES, "size": SIZES}
LOW = SIDE // 4 * 4  # side of the low-resolution masks: four times the feature grid
KINDS = ("box", "centre", "point")  # prompts
KIND_ODDS = (0.3, 0.2, 0.5)
BOX_JITTER = 1.0  # px of the 128 canvas, standard deviation of each side of a training box
PROMPTS = 4  # per image and step
GROUP_WEIGHT, BCE_WEIGHT, DICE_WEIGHT, IOU_WEIGHT, DENSE_WEIGHT = 0.3, 2.0, 1.0, 0.1, 0.3
DENSE_UNTIL = 0.4  # share of the run after which the throw-away heads are silent


@dataclass(frozen=True)
class Prompts:
    """Prompts for some images, and what they mean."""

    image: Tensor
    """int64 [J], which image"""
    is_box: Tensor
    """bool [J]"""
    corners: Tensor
    """float [J, 2, 2] (x, y), pixels of the 128 canvas; a point stands twice"""
    members: Tensor
    """bool [J, K, 8], which things of the image each mask covers"""


class TinySam(nn.Module):
    """The tiny SAM, with per-patch heads that only training uses (colour, shape and size of the thing under a patch)."""

    def __init__(self) -> None:
        super().__init__()
        self.sam = SamDecoder(DIMS)
        self.dense = nn.ModuleDict(
            {name: nn.Conv2d(DIMS.prompt_dim, len(v) + 1, 1) for name, v in VALUES.items()}
        )


def sample_prompts(
    batch: DrawnScenes, rng: np.random.Generator, *, per_image: int, kind: str | None = None
) -> Prompts:
    """Prompts at random things; `kind` None mixes the kinds."""
    rows = []
    for index, (scene, owners) in enumerate(zip(batch.scenes, batch.owners, strict=True)):
        for _ in range(per_image):
            thing = int(rng.integers(len(scene.things)))
            own_kind = kind or KINDS[int(rng.choice(len(KINDS), p=KIND_ODDS))]
            places = corners(owners == thing, own_kind, rng, jitter=0.0 if kind else BOX_JITTER)
            rows.append((index, own_kind == "box", places, _members(scene, thing)))
    images, boxes, points, members = zip(*rows, strict=True)
    return Prompts(
        torch.tensor(images),
        torch.tensor(boxes),
        torch.tensor(np.stack(points)),
        torch.tensor(np.stack(members)),
    )


def embed(sam: SamDecoder, prompts: Prompts, *, padded: bool = True) -> Tensor:
    """The sparse prompt vectors [J, 2, C]: a point with SAM's padding point, or two corners.

    Not padded: [J, 1, C], the point alone; then no prompt may be a box.
    """
    scaled = prompts.corners.float() * (DIMS.image_size / GRID)
    labels = torch.ones(len(scaled), 1)
    points, _ = sam.prompt_encoder(points=(scaled[:, :1] - 0.5, labels), boxes=None, masks=None)
    if not padded:
        return points[:, :1]  # type: ignore[no-any-return]
    corners, _ = sam.prompt_encoder(points=None, boxes=scaled.flatten(1) - 0.5, masks=None)
    return torch.where(prompts.is_box[:, None, None], corners, points)


def encode(sam: SamDecoder, pictures: NDArray[np.uint8]) -> Tensor:
    """uint8 [N, I, I, 3] -> features [N, C, g, g], with gradient."""
    pixels = torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous()
    features: Tensor = sam.image_encoder(sam.normalise(pixels, [(SIDE, SIDE)] * len(pixels)))
    return features


def training_loss(
    base: TinySam, batch: DrawnScenes, rng: np.random.Generator, *, share: float
) -> tuple[Tensor, Mapping[str, float]]:
    """The loss of one step, and values to log. Mask loss: BCE (mean over pixels) and dice, mask 0 once, each group less."""
    picked = batch.pictures[np.arange(len(batch.scenes)), rng.integers(0, 2, len(batch.scenes))]
    features = encode(base.sam, picked)
    prompts = sample_prompts(batch, rng, per_image=PROMPTS)
    bare = ~prompts.is_box & (torch.from_numpy(rng.random(len(prompts.image))) < 0.5)
    owners = torch.from_numpy(batch.owners)
    total, ious = torch.zeros(()), torch.zeros(())
    for some, padded in ((~bare, True), (bare, False)):
        if not some.any():
            continue
        part = Prompts(
            prompts.image[some], prompts.is_box[some], prompts.corners[some], prompts.members[some]
        )
        logits, guess = base.sam.decode(features[part.image], embed(base.sam, part, padded=padded))
        truth = F.avg_pool2d(covered(owners[part.image], part.members).float(), GRID // LOW)
        losses, iou = mask_loss(logits, truth)
        weights = torch.tensor([1.0] + [GROUP_WEIGHT] * len(GROUPS))
        total = total + (losses * weights).sum() + IOU_WEIGHT * (guess - iou).square().sum()
        ious = ious + iou.sum(0)
    total = total / len(prompts.image)
    values = {
        f"iou_{name}": float(v) / len(prompts.image) for name, v in zip(("thing", *GROUPS), ious, strict=True)
    }
    if share < DENSE_UNTIL:
        dense, right = dense_loss(base.dense, features, batch)
        total, values = total + DENSE_WEIGHT * (1 - share / DENSE_UNTIL) * dense, values | right
    return total, values


def covered(owners: Tensor, members: Tensor) -> Tensor:
    """owners: uint8 [J, S, S]; members: bool [J, K, 8] -> bool [J, K, S, S], where a member is seen."""
    table = torch.cat([members, torch.zeros_like(members[..., :1])], dim=-1)
    index = torch.where(owners == NOBODY, members.shape[-1], owners.long())
    spread = index.flatten(1)[:, None].expand(-1, members.shape[1], -1)
    seen: Tensor = table.gather(2, spread).unflatten(2, owners.shape[1:])
    return seen


@torch.no_grad()
def scores(sam: SamDecoder, held_out: DrawnScenes) -> dict[str, float]:
    """Mean IoU at 128 px per kind of prompt, and by example (from a centre point) per group; one prompt for
    each thing of `held_out`.
    """
    sam.eval()
    found: dict[str, list[Tensor]] = {}
    for kind in KINDS:
        for first in range(0, len(held_out.scenes), 50):
            some = slice(first, first + 50)
            batch = DrawnScenes(held_out.scenes[some], held_out.pictures[some], held_out.owners[some])
            prompts = sample_prompts(batch, np.random.default_rng([7, first]), per_image=3, kind=kind)
            features = encode(sam, batch.pictures[:, 1])[prompts.image]
            logits, _ = sam.decode(features, embed(sam, prompts))
            masks = F.interpolate(logits, (GRID, GRID), mode="bilinear", align_corners=False) > 0
            truth = covered(torch.from_numpy(batch.owners)[prompts.image], prompts.members)
            ious = (masks & truth).sum((2, 3)) / (masks | truth).sum((2, 3))
            found.setdefault(kind, []).append(ious[:, 0])
            if kind == "centre":
                for k, name in enumerate(GROUPS, start=1):
                    found.setdefault(f"example_{name}", []).append(ious[:, k])
    return {name: round(float(torch.cat(values).mean()), 4) for name, values in found.items()}


def save(sam: SamDecoder, folder: Path) -> None:
    """Writes `model.safetensors` (float16, segment_anything's names) and `config.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(
        {name: value.half().contiguous() for name, value in sam.state_dict().items()},
        folder / "model.safetensors",
    )
    (folder / "config.json").write_text(json.dumps(asdict(DIMS), indent=1) + "\n", encoding="ascii")


def load(folder: Path) -> SamDecoder:
    """Reads what `save` wrote, strictly, as float32."""
    dims = SamDims.of(json.loads((folder / "config.json").read_text(encoding="ascii")))
    sam = SamDecoder(dims)
    sam.load_state_dict(
        {name: value.float() for name, value in load_file(folder / "model.safetensors").items()}
    )
    return sam


def corners(
    mask: NDArray[np.bool_], kind: str, rng: np.random.Generator, *, jitter: float
) -> NDArray[np.float32]:
    """Two corners of the box, or a point on the mask twice: float [2, 2] (x, y)."""
    rows, columns = np.nonzero(mask)
    if kind == "box":
        box = np.array([[columns.min(), rows.min()], [columns.max() + 1, rows.max() + 1]], dtype=np.float32)
        return box + rng.normal(0, jitter, (2, 2)).astype(np.float32) if jitter else box
    if (
        kind == "centre"
    ):  # the pixel on the mask that is closest to its centre of mass: a ring's is not in its hole
        index = int(np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2))
    else:
        index = int(rng.integers(len(rows)))
    point = np.array([columns[index] + 0.5, rows[index] + 0.5], dtype=np.float32)
    return np.stack([point, point])


def _members(scene: Scene, thing: int) -> NDArray[np.bool_]:
    """bool [K, 8]: the thing itself, then the things that share its colour, its shape, its size."""
    members = np.zeros((1 + len(GROUPS), 8), dtype=bool)
    members[0, thing] = True
    for k, name in enumerate(GROUPS, start=1):
        value = getattr(scene.things[thing], name)
        members[k, : len(scene.things)] = [getattr(other, name) == value for other in scene.things]
    return members


def mask_loss(logits: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """logits and soft truth [J, K, L, L] -> loss [J, K] and IoU [J, K] at the low resolution."""
    bce = F.binary_cross_entropy_with_logits(logits, truth, reduction="none").mean((2, 3))
    chance = logits.sigmoid()
    dice = 1 - (2 * (chance * truth).sum((2, 3)) + 1) / (chance.sum((2, 3)) + truth.sum((2, 3)) + 1)
    with torch.no_grad():
        hit, true = logits > 0, truth > 0.5
        iou = (hit & true).sum((2, 3)) / (hit | true).sum((2, 3)).clamp(min=1)
    return BCE_WEIGHT * bce + DICE_WEIGHT * dice, iou


def dense_loss(heads: nn.ModuleDict, features: Tensor, batch: DrawnScenes) -> tuple[Tensor, dict[str, float]]:
    """Cross entropy of the attributes of the thing at the centre of each patch (ground is a value of its own)."""
    step = GRID // features.shape[-1]
    centre = batch.owners[:, step // 2 :: step, step // 2 :: step]
    total, right = torch.zeros(()), {}
    for name, values in VALUES.items():
        table = np.zeros((len(batch.scenes), NOBODY + 1), dtype=np.int64)
        for row, scene in enumerate(batch.scenes):
            table[row, : len(scene.things)] = [
                values.index(getattr(thing, name)) + 1 for thing in scene.things
            ]
        truth = torch.from_numpy(
            np.take_along_axis(table, centre.reshape(len(table), -1).astype(np.int64), axis=1)
        )
        logits = heads[name](features).flatten(2)
        total = total + F.cross_entropy(logits, truth)
        right[f"dense_{name}"] = float((logits.argmax(1) == truth)[truth > 0].float().mean())
    return total, right
