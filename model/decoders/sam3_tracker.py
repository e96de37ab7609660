"""The tracker of SAM-3 as a mask decoder: SAM-2 behind another image encoder, with the same memory.

What changes against `sam2.py`: the encoder is a plain vision transformer of patches of 14 pixels with a neck of its own
(transformers 5.24, `Sam3TrackerVideoModel`; its tracker was written from SAM-2's); pictures are normalised otherwise; and of
conditioning frames at most four are read (`max_cond_frame_num`). SAM-3's detector, which finds things by words, is not used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from seglm.model.decoders.sam2 import Sam2, Sam2Decoder
from seglm.model.decoders.sam2_dims import TrackerDims
from seglm.model.decoders.sam2_memory import PREDICTING, TRAINING, Memory, MemoryPolicy
from seglm.utils.ranges import Count, Place

if TYPE_CHECKING:
    from pathlib import Path

    from seglm.model.released.checkpoint import Checkpoint

GREY = (127.5, 127.5, 127.5)  # mean and deviation, on the 0..255 scale (image_mean and image_std of 0.5)
MOST = 4  # conditioning frames that are read
SAM3_PREDICTING = replace(PREDICTING, conditioning=MOST)
SAM3_TRAINING = replace(TRAINING, conditioning=MOST)


@dataclass(frozen=True)
class Sam3TrackerDims(TrackerDims):
    """The sizes of a SAM-3's tracker; the defaults are those of `facebook/sam3`."""

    kind: ClassVar[str] = "SAM-3 tracker"
    hf_name: ClassVar[str] = "Sam3TrackerVideo"

    image_size: int = 1008
    vit_dim: int = 1024
    vit_depth: int = 32
    vit_heads: int = 16
    vit_mlp: int = 4736
    patch: int = 14
    window_size: int = 24
    """side of an attention window, patches"""
    global_attn_indexes: tuple[int, ...] = (7, 15, 23, 31)
    pos_embed_size: int = 24
    """side of the grid on which the positional embedding is kept; it is laid side by side over a larger one"""

    @property
    def stride(self) -> int:
        return self.patch

    def vision_config(self) -> dict[str, Any]:
        backbone = {
            "model_type": "sam3_vit_model",
            "hidden_size": self.vit_dim,
            "intermediate_size": self.vit_mlp,
            "num_hidden_layers": self.vit_depth,
            "num_attention_heads": self.vit_heads,
            "image_size": self.image_size,
            "patch_size": self.patch,
            "window_size": self.window_size,
            "global_attn_indexes": list(self.global_attn_indexes),
            "pretrain_image_size": self.pos_embed_size * self.patch,
        }
        return {"model_type": "sam3_vision_model", "backbone_config": backbone}


@dataclass(frozen=True)
class Sam3Tracker(Sam2):
    """The tracker of SAM-3; a recipe that has SAM or SAM-2 picks it by its name."""

    dims: ClassVar[type[TrackerDims]] = Sam3TrackerDims

    weights: Place = "facebook/sam3"
    """transformers' folder of a SAM-3 or of its tracker, or one of ours"""
    image_size: Count = 1008

    @staticmethod
    def load(path: Path) -> Checkpoint:
        from seglm.model.released.sam3_tracker import load_sam3_tracker

        return load_sam3_tracker(path)

    def build(self, sizes: Mapping[str, Any]) -> Sam3TrackerDecoder:
        return Sam3TrackerDecoder(
            self._sized(sizes),
            not_points=self.not_points,
            best_of_several=self.best_of_several,
            keeps_original=self.keeps_original,
        )

    def preprocessing(self) -> dict[str, Any]:
        return {**super().preprocessing(), "mean": list(GREY), "std": list(GREY)}


class Sam3TrackerDecoder(Sam2Decoder):
    """`Sam2Decoder` of SAM-3's modules."""

    mean: ClassVar[tuple[float, float, float]] = GREY
    std: ClassVar[tuple[float, float, float]] = GREY

    def remembering(
        self, policy: MemoryPolicy, *, backwards: bool = False, num_frames: int | None = None
    ) -> Memory:
        """See `Remembers`; a recipe that was written for SAM-2, which reads all conditioning frames, reads SAM-3's four here."""
        policy = policy if policy.conditioning else replace(policy, conditioning=MOST)
        return super().remembering(policy, backwards=backwards, num_frames=num_frames)
