"""SAM-2 as a mask decoder that is prompted by vectors; what it remembers of a video is a value beside it (`sam2_memory.py`).

The modules are transformers' own (5.24, `Sam2VideoModel`), its sessions and its `forward` are not used: those draw one object
a call, keep state, and pass no gradient from one frame to the next. Here pictures are encoded in batches, jobs are decoded in
batches, and `sam2_step.py` goes from one frame of a video to the next.
Letters: M frames, J jobs or objects, C channels of the decoder, E channels of a memory, g grid side, P prompt vectors of a job,
K masks a job, h w logits.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import interpolate, pixel_shuffle

from seglm.model.decoders.base import DecoderChoice, Followed
from seglm.model.decoders.sam2_dims import LEVELS, Sam2Dims, TrackerDims, make_modules
from seglm.model.decoders.sam2_kept import CHANNELS, packed, with_original
from seglm.model.decoders.sam2_memory import Memory, MemoryPolicy
from seglm.model.decoders.squares import SquareDecoder
from seglm.utils.ranges import Count, Place
from seglm.utils.resolve import resolve

if TYPE_CHECKING:
    from pathlib import Path

    from seglm.model.recipe import Recipe
    from seglm.model.released.checkpoint import Checkpoint

ZERO_3 = 3
WITH_ORIGINAL = (
    "SAM-2 with its own mask decoder (--vision_pretrained; decoder.keeps_original=false goes without)"
)
INSIDE, BOX_CORNERS = 1, (2, 3)  # labels of points: also 0 outside, -1 none
NOT_POINTS = 2  # where no point is given: the one that says so, and the one that ends every list of points
WITHOUT_GRADIENT = tuple(
    f"decoder.mask_decoder.{part}"
    for part in ("conv_s0", "conv_s1", "iou_prediction_head", "pred_obj_score_head")
)
"""of the mask decoder: the first two run in `encode`, and what the last two estimate no term supervises"""


@dataclass(frozen=True)
class Sam2(DecoderChoice):
    """SAM-2 or SAM-2.1, any of its sizes; a picture is a video of one frame."""

    mark: ClassVar[str] = "memory_attention."
    dims: ClassVar[type[TrackerDims]] = Sam2Dims

    weights: Place = "sam2.1_hiera_large.pt"
    """SAM-2's .pt, or a folder with config.json and model.safetensors"""
    image_size: Count = 1024
    not_points: bool = False
    """before the vectors of a prompt stand the two that say that no point is given, as Sa2VA has it"""
    stretches: bool = False
    """a picture fills the square, as SAM-2 was trained; else it is padded as LISA has it"""
    memory: MemoryPolicy | None = None
    """what is remembered from frame to frame where a video is drawn; None: every frame is drawn for itself"""
    training_memory: MemoryPolicy | None = None
    """the same where drawing is learnt"""
    best_of_several: bool = False
    """the mask with the highest estimated IoU of those for an ambiguous prompt is drawn, not the one for a clear prompt"""
    keeps_original: bool = False
    """beside the mask decoder that is trained stands that of `weights`, which carries masks on (`MemoryPolicy.by_mask`)"""

    def check(self, recipe: Recipe, /) -> None:
        trainable = recipe.trainable
        still = [path for path in WITHOUT_GRADIENT if path not in trainable.frozen]
        if still and "decoder.mask_decoder" in trainable.full:
            raise ValueError(
                f"trainable.frozen: of a SAM-2 {', '.join(still)} would be trained without a gradient; add "
                f"trainable.frozen+={','.join(still)}"
            )
        if self.training_memory is not None and recipe.engine.zero == ZERO_3:
            raise ValueError(
                f"engine.zero (--zero)={ZERO_3}: all processes gather each weight together there, and a clip of fewer frames "
                "than another one's takes fewer steps through decoder.training_memory; permitted are 1 and 2"
            )

    def complete(self, checkpoint: Checkpoint) -> Checkpoint:
        from seglm.model.released.errors import WeightsError

        if self._holds_another(checkpoint):
            raise WeightsError(
                f"{checkpoint.source}: holds a mask decoder that is no {self.dims.kind}; train from it (train_ds.py --version), "
                "or give a trained model of this recipe"
            )
        whole = self._completed(checkpoint, self.load, self.dims.kind)
        if not self.keeps_original:
            return whole
        return with_original(whole, lambda: self.load(resolve(self.weights, what=WITH_ORIGINAL)))

    @staticmethod
    def load(path: Path) -> Checkpoint:
        """The decoder of a file or folder, by its own names. Raises WrongNames, WeightsError."""
        from seglm.model.released.sam2 import load_sam2

        return load_sam2(path)

    def begin(self, checkpoint: Checkpoint) -> Checkpoint:
        """Another mask decoder stays behind, and the projection into the space of its prompts: GLUS starts from LISA so
        (train_ds.py, `initialize_glus_modules`, at 8fd138b)."""
        another = self._holds_another(checkpoint)
        return self.complete(checkpoint.without(("project.", "decoder.")) if another else checkpoint)

    def _holds_another(self, checkpoint: Checkpoint) -> bool:
        return checkpoint.has("decoder.image_encoder.") and not checkpoint.has(f"decoder.{self.mark}")

    def build(self, sizes: Mapping[str, Any]) -> Sam2Decoder:
        return Sam2Decoder(
            self._sized(sizes),
            not_points=self.not_points,
            best_of_several=self.best_of_several,
            keeps_original=self.keeps_original,
        )

    def _sized(self, sizes: Mapping[str, Any]) -> TrackerDims:
        dims = self.dims.of(sizes)
        self._check_side(dims.image_size, dims.kind)
        return dims


def resized(squares_J1hw: Tensor, side: int) -> Tensor:
    """Squares float [J, 1, h, h] -> [J, 1, side, side], smoothed where they get smaller; the same if they are so large."""
    if squares_J1hw.shape[-1] == side:
        return squares_J1hw
    return interpolate(squares_J1hw, (side, side), mode="bilinear", align_corners=False, antialias=True)


@dataclass(frozen=True, eq=False)
class Prompts:
    """What is said of J objects in one frame."""

    sparse: Tensor
    """float [J, P, C]"""
    dense: Tensor | None = None
    """float [J, C, g, g], of a mask that is to be improved; None: there is none"""
    is_ambiguous: bool = True
    """no point, or one: several masks may be meant"""


@dataclass(frozen=True, eq=False)
class Candidates:
    """Every mask that the decoder has for J jobs; mask 0 is the one for an unambiguous prompt."""

    logits: Tensor
    """float32 [J, K, h, w], h = 4 g"""
    iou: Tensor
    """float32 [J, K], estimated"""
    tokens: Tensor
    """float32 [J, K, C]"""
    score: Tensor
    """float32 [J, 1], logits: above 0 the object is there"""


class Sam2Decoder(SquareDecoder):
    """`encode` pixels once, `decode` any number of jobs from the features."""

    def __init__(
        self,
        dims: TrackerDims,
        *,
        not_points: bool = False,
        best_of_several: bool = False,
        keeps_original: bool = False,
    ) -> None:
        super().__init__(dims)
        made = make_modules(dims)
        self.dims = dims
        self.not_points = not_points
        self.best_of_several = best_of_several
        self.image_encoder = made.vision_encoder
        self.prompt_encoder = made.prompt_encoder
        self.mask_decoder = made.mask_decoder
        self.original_mask_decoder = deepcopy(made.mask_decoder) if keeps_original else None
        self.memory_attention = made.memory_attention
        self.memory_encoder = made.memory_encoder
        self.mask_downsample = made.mask_downsample
        self.object_pointer_proj = made.object_pointer_proj
        self.no_memory_embedding = made.no_memory_embedding
        self.no_memory_positional_encoding = made.no_memory_positional_encoding
        self.memory_temporal_positional_encoding = made.memory_temporal_positional_encoding
        self.no_object_pointer = made.no_object_pointer
        self.occlusion_spatial_embedding_parameter = made.occlusion_spatial_embedding_parameter
        self.temporal_positional_encoding_projection_layer = (
            made.temporal_positional_encoding_projection_layer if dims.pointer_positions else None
        )

    # ---- pictures ----------------------------------------------------------------------------------------------------
    @property
    def channels(self) -> int:
        return (4 if self.original_mask_decoder is None else CHANNELS) * self.prompt_dim

    def encode_squares(self, pictures: Tensor) -> Tensor:
        """float [M, 3, I, I], normalised -> features [M, 4 C, g, g].

        One tensor holds the three levels of the pyramid (see `levels`): the two fine ones as the mask decoder takes them, that
        is behind its `conv_s0` and `conv_s1`, as in SAM-2's `forward_image`.
        """
        fine, middle, coarse = self.image_encoder(pictures).fpn_hidden_states[:LEVELS]
        dtype = self.mask_decoder.conv_s0.weight.dtype
        levels = [*packed(self.mask_decoder, fine, middle), coarse.to(dtype)]
        if self.original_mask_decoder is not None:
            levels += packed(self.original_mask_decoder, fine, middle)
        return torch.cat(levels, dim=1)

    def levels(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features [M, 4 C, g, g] -> [M, C / 8, 4 g, 4 g], [M, C / 4, 2 g, 2 g] and [M, C, g, g]."""
        width = self.dims.prompt_dim
        fine, middle, coarse = features[:, : 4 * width].split([2 * width, width, width], dim=1)
        return pixel_shuffle(fine, 4), pixel_shuffle(middle, 2), coarse

    # ---- prompts -----------------------------------------------------------------------------------------------------
    def prompts_of_boxes(self, boxes_B4: Tensor) -> Tensor:
        """float [B, 4], (x0, y0, x1, y1), pixels of the square, half open -> prompts [B, 3, C]."""
        labels = torch.tensor([BOX_CORNERS], device=boxes_B4.device).expand(len(boxes_B4), -1)
        # the prompt encoder adds half a pixel, for indices of pixels; these are edges
        return self.prompts_of_points(boxes_B4.view(-1, 2, 2) - 0.5, labels)

    def prompts_of_points(self, points_BN2: Tensor, labels_BN: Tensor) -> Tensor:
        """Points -> prompts float [B, N + 1, C]; one more says that there are no others.

        points: float [B, N, 2], (x, y), indices of pixels of the square. labels: int [B, N], 1 inside the object, 0 outside it, 2
        and 3 the top left and the bottom right of a box, which come first (SAM-2's predictor has it so), -1 no point.
        """
        sparse, _ = self.prompt_encoder(points_BN2[:, None].float(), labels_BN[:, None], None, None)
        return sparse[:, 0]  # type: ignore[no-any-return]

    def a_point(self) -> Tensor:
        """See `TakesPoints`."""
        return self.prompt_encoder.point_embed.weight.detach()[INSIDE]  # type: ignore[no-any-return]

    def no_points(self, jobs: int) -> Tensor:
        """The prompt [jobs, 2, C] that says nothing."""
        return self.prompt_encoder.not_a_point_embed.weight.float().expand(jobs, NOT_POINTS, -1)  # type: ignore[no-any-return]

    def dense(self, logits_J1hw: Tensor) -> Tensor:
        """Logits of masks float [J, 1, h, w], brought to h = 4 g -> the prompt [J, C, g, g] that asks to improve them."""
        low = resized(logits_J1hw.float(), 4 * self.dims.grid)
        return self.prompt_encoder.mask_embed(low)  # type: ignore[no-any-return]

    # ---- masks -------------------------------------------------------------------------------------------------------
    def decode(self, features: Tensor, prompts_JPC: Tensor) -> tuple[Tensor, Tensor]:
        """Masks of all jobs in one call without any memory, in float32 whatever the autocast.

        features: [J, 4 C, g, g] of each job's frame. Returns (logits float32 [J, K, h, w], estimated IoU float32 [J, K]); K is
        1 + num_multimask: mask 0 is the one for an unambiguous prompt. With `best_of_several` K is 1.
        """
        with torch.autocast(features.device.type, enabled=False):
            fine, middle, coarse = self.levels(features.float())
            found = self.candidates((fine, middle), self.without_memory(coarse), self._prompts(prompts_JPC))
        if not self.best_of_several:
            return found.logits, found.iou
        chosen = self.chosen(found)
        return found.logits[chosen][:, None], found.iou[chosen][:, None]

    def chosen(self, found: Candidates) -> tuple[Tensor, Tensor]:
        """int64 [J] and [J]: every job, and which of its masks is drawn."""
        jobs = torch.arange(len(found.iou), device=found.iou.device)
        return jobs, 1 + found.iou[:, 1:].argmax(1) if self.best_of_several else torch.zeros_like(jobs)

    def _prompts(self, vectors_JPC: Tensor) -> Prompts:
        vectors = vectors_JPC.float()
        if self.not_points:
            vectors = torch.cat([self.no_points(len(vectors)), vectors], dim=1)
        return Prompts(vectors)

    # ---- videos ------------------------------------------------------------------------------------------------------
    def remembering(
        self, policy: MemoryPolicy, *, backwards: bool = False, num_frames: int | None = None
    ) -> Memory:
        """See `Remembers`."""
        return Memory(policy, num_frames, backwards)

    def follow(
        self, features: Tensor, prompts_JPC: Tensor | None, memory: Memory, *, frame: int
    ) -> tuple[Followed, Memory]:
        """See `Remembers`; float32 but for memory attention (`sam2_step.step`)."""
        from seglm.model.decoders.sam2_original import carried  # which need this file
        from seglm.model.decoders.sam2_step import step

        if memory.policy.by_mask:
            return carried(self, features, prompts_JPC, memory, frame=frame)
        said = None if prompts_JPC is None else self._prompts(prompts_JPC)
        drawn, memory = step(self, features, memory, frame=frame, prompts=said)
        return drawn.followed(memory.policy), memory

    def without_memory(self, coarse: Tensor) -> Tensor:
        """The coarse features [J, C, g, g] of a frame that looks back on nothing."""
        nothing: Tensor = self.no_memory_embedding
        return coarse + nothing.float().view(1, -1, 1, 1)

    def candidates(
        self, fine: tuple[Tensor, Tensor], conditioned: Tensor, prompts: Prompts, *, by: Any = None
    ) -> Candidates:
        """Every mask for every job, float32.

        fine: [J, C / 8, 4 g, 4 g] and [J, C / 4, 2 g, 2 g]. conditioned: [J, C, g, g], behind memory attention or
        `without_memory`. by: a second mask decoder of the same sizes; None: the own one.
        """
        decoder, jobs = by or self.mask_decoder, len(conditioned)
        own = (decoder.obj_score_token, decoder.iou_token, decoder.mask_tokens)
        tokens = torch.cat([embedding.weight for embedding in own]).float().expand(jobs, -1, -1)
        tokens = torch.cat([tokens, prompts.sparse.float()], dim=1)[:, None]
        dense = prompts.dense
        if dense is None:
            dense = self.prompt_encoder.no_mask_embed.weight.float().view(1, -1, 1, 1)
        where = self.places().expand(jobs, -1, -1, -1)
        states, image = decoder.transformer(tokens, conditioned + dense, where, None)
        image = image.transpose(2, 3).reshape(conditioned.shape)
        image = decoder.activation(decoder.upscale_layer_norm(decoder.upscale_conv1(image) + fine[1]))
        image = decoder.activation(decoder.upscale_conv2(image) + fine[0])
        states = states[:, 0]
        masks = states[:, 2 : 2 + decoder.num_mask_tokens]
        heads = zip(decoder.output_hypernetworks_mlps, masks.unbind(1), strict=True)
        hyper = torch.stack([mlp(state) for mlp, state in heads], dim=1)
        return Candidates(
            logits=(hyper @ image.flatten(2)).unflatten(2, image.shape[2:]),
            iou=decoder.iou_prediction_head(states[:, 1]),
            tokens=masks,
            score=decoder.pred_obj_score_head(states[:, 0]),
        )

    def places(self) -> Tensor:
        """The positional embedding of the grid's cells, float32 [1, C, g, g]."""
        embedding = self.prompt_encoder.shared_embedding
        centres = (torch.arange(self.dims.grid, device=self.pixel_mean.device) + 0.5) / self.dims.grid
        y, x = torch.meshgrid(centres, centres, indexing="ij")
        return embedding(torch.stack([x, y], dim=-1)).permute(2, 0, 1)[None]  # type: ignore[no-any-return]
