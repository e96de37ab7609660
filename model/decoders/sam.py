"""SAM as a mask decoder that is prompted by vectors: a frozen image encoder, then one decode for all jobs of a step.

The modules are segment_anything's own (dca509f), so its checkpoints fit name by name. Its `MaskDecoder.forward` takes one image
a call and repeats it for every prompt; here the features of all jobs are gathered first and decoded at once.
Letters: M frames, J jobs, C channels of the features, g grid side, P prompt vectors of a job, K masks a job, h w logits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from seglm.model.decoders.base import DecoderChoice, sizes_of
from seglm.model.decoders.sam_attention import NeckNorm, SamAttention
from seglm.model.decoders.sam_package import load_sam_package
from seglm.model.decoders.squares import SquareDecoder
from seglm.utils.ranges import Count, Place

if TYPE_CHECKING:
    from seglm.model.released.checkpoint import Checkpoint

LAYER_NORM_EPS = 1e-6  # segment_anything/build_sam.py


@dataclass(frozen=True)
class SamDims:
    """The sizes of a SAM; the defaults are those all released SAMs share, the first four differ between them."""

    vit_dim: int = 1280
    vit_depth: int = 32
    vit_heads: int = 16
    global_attn_indexes: tuple[int, ...] = (7, 15, 23, 31)
    image_size: int = 1024
    """side of the padded square, pixels"""
    patch: int = 16
    window_size: int = 14
    prompt_dim: int = 256
    dec_depth: int = 2
    dec_heads: int = 8
    dec_mlp: int = 2048
    iou_hidden: int = 256
    iou_depth: int = 3
    mask_in_chans: int = 16
    num_multimask: int = 3

    @property
    def grid(self) -> int:
        return self.image_size // self.patch

    @classmethod
    def of(cls, config: Mapping[str, object]) -> SamDims:
        """Reads the dictionary that a SAM folder keeps in config.json. Raises ValueError on an unknown key."""
        return sizes_of(cls, config, "SAM")


@dataclass(frozen=True)
class Sam(DecoderChoice):
    """SAM, any of its sizes."""

    weights: Place = "sam_vit_h_4b8939.pth"
    """SAM's .pth, or a folder with config.json and model.safetensors"""
    image_size: Count = 1024

    def complete(self, checkpoint: Checkpoint) -> Checkpoint:
        from seglm.model.released.sam import load_sam

        return self._completed(checkpoint, load_sam, "SAM")

    def build(self, sizes: Mapping[str, Any]) -> SamDecoder:
        dims = SamDims.of(sizes)
        self._check_side(dims.image_size, "SAM")
        return SamDecoder(dims)


class SamDecoder(SquareDecoder):
    """`encode` pixels once, `decode` any number of jobs from the features."""

    def __init__(self, dims: SamDims) -> None:
        super().__init__(dims)
        sam = load_sam_package()
        self.dims = dims
        self.image_encoder = sam.ImageEncoderViT(
            img_size=dims.image_size,
            patch_size=dims.patch,
            embed_dim=dims.vit_dim,
            depth=dims.vit_depth,
            num_heads=dims.vit_heads,
            out_chans=dims.prompt_dim,
            qkv_bias=True,
            norm_layer=partial(nn.LayerNorm, eps=LAYER_NORM_EPS),
            use_rel_pos=True,
            window_size=dims.window_size,
            global_attn_indexes=dims.global_attn_indexes,
        )
        for block in self.image_encoder.blocks:
            block.attn = SamAttention(block.attn)
        neck = self.image_encoder.neck
        neck[1], neck[3] = NeckNorm(neck[1]), NeckNorm(neck[3])
        self.prompt_encoder = sam.PromptEncoder(
            embed_dim=dims.prompt_dim,
            image_embedding_size=(dims.grid, dims.grid),
            input_image_size=(dims.image_size, dims.image_size),
            mask_in_chans=dims.mask_in_chans,
        )
        self.mask_decoder = sam.MaskDecoder(
            transformer_dim=dims.prompt_dim,
            transformer=sam.TwoWayTransformer(
                depth=dims.dec_depth,
                embedding_dim=dims.prompt_dim,
                num_heads=dims.dec_heads,
                mlp_dim=dims.dec_mlp,
            ),
            num_multimask_outputs=dims.num_multimask,
            iou_head_depth=dims.iou_depth,
            iou_head_hidden_dim=dims.iou_hidden,
        )

    def a_point(self) -> Tensor:
        """See `TakesPoints`."""
        return self.prompt_encoder.point_embeddings[1].weight.detach()[0]  # type: ignore[no-any-return]

    def prompts_of_boxes(self, boxes_B4: Tensor) -> Tensor:
        """float [B, 4], (x0, y0, x1, y1), pixels of the padded square, half open -> prompts [B, 2, C]."""
        # SAM's prompt encoder adds half a pixel, for indices of pixels; these are edges.
        prompts, _ = self.prompt_encoder(points=None, boxes=boxes_B4 - 0.5, masks=None)
        return prompts  # type: ignore[no-any-return]

    def encode_squares(self, pictures: Tensor) -> Tensor:
        """float [M, 3, I, I], normalised -> features [M, C, g, g]."""
        return self.image_encoder(pictures)  # type: ignore[no-any-return]

    def decode(self, features_JCgg: Tensor, prompts_JPC: Tensor) -> tuple[Tensor, Tensor]:
        """Masks of all jobs in one call, in float32 whatever the autocast.

        features_JCgg: features of each job's frame. prompts_JPC: the sparse prompt of each job; the dense one is SAM's own
        "no mask" vector. Returns (logits float32 [J, K, h, w] with h = 4 g, estimated IoU float32 [J, K]); K is 1 +
        num_multimask: mask 0 is the one for an unambiguous prompt, the one all LISA descendants use.
        """
        with torch.autocast(features_JCgg.device.type, enabled=False):
            return self._decode(features_JCgg.float(), prompts_JPC.float())

    def _decode(self, features: Tensor, prompts: Tensor) -> tuple[Tensor, Tensor]:
        decoder, jobs = self.mask_decoder, features.shape[0]
        own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight]).float()
        tokens = torch.cat([own.expand(jobs, -1, -1), prompts], dim=1)
        image = features + self.prompt_encoder.no_mask_embed.weight.float().view(1, -1, 1, 1)
        where = self.prompt_encoder.get_dense_pe().float().expand(jobs, -1, -1, -1)
        states, image = decoder.transformer(image, where, tokens)
        image = image.transpose(1, 2).reshape(features.shape)
        upscaled = decoder.output_upscaling(image)
        heads = zip(decoder.output_hypernetworks_mlps, states[:, 1:].unbind(1), strict=False)
        hyper = torch.stack([mlp(state) for mlp, state in heads], dim=1)
        logits = (hyper @ upscaled.flatten(2)).unflatten(2, upscaled.shape[2:])
        return logits, decoder.iou_prediction_head(states[:, 0])
