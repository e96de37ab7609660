"""SAM's tensors, computed by segment_anything itself, against our batched decoder."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from seglm.model.decoders.base import restore
from seglm.model.decoders.sam import SamDecoder, SamDims
from tests.conformance.goldens import assert_close, cases, each, facts, tensors, weights_of

SIZES = set(SamDims.__dataclass_fields__)


def decoder_of(case: str) -> SamDecoder:
    weights, config = weights_of("sam", case)
    decoder = SamDecoder(SamDims.of({name: value for name, value in config.items() if name in SIZES}))
    missing, unexpected = decoder.load_state_dict(weights, strict=False)
    assert not unexpected
    # a case may bring the mask decoder alone, for embeddings that are given
    assert all(name.startswith(("image_encoder.", "prompt_encoder.")) for name in missing)
    assert not missing or "in.image_uint8" not in tensors("sam", case, "io.safetensors")
    return decoder.eval()


@each("case", [c for c in cases("sam") if "image_encoder" in c])
def test_image_encoder_equals_the_original_block_by_block(case: str) -> None:
    io, decoder = tensors("sam", case, "io.safetensors"), decoder_of(case)
    seen: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        return lambda module, arguments, result: seen.__setitem__(name, result)

    decoder.image_encoder.patch_embed.register_forward_hook(keep("patch_embed"))
    for number, block in enumerate(decoder.image_encoder.blocks):
        block.register_forward_hook(keep(f"block{number}"))
    picture = io["in.image_uint8"]
    side, (height, width) = decoder.dims.image_size, picture.shape[1:]
    square = torch.full(
        (1, 3, side, side), 77, dtype=torch.uint8
    )  # what stands outside the picture must not matter
    square[0, :, :height, :width] = picture
    seen["image_embedding"] = decoder.encode(square, [(height, width)])
    for name, want in io.items():
        if name.startswith("out."):
            assert_close(seen[name.removeprefix("out.")], want, name)


@each("case", [c for c in cases("sam") if "in.sparse" in tensors("sam", c, "io.safetensors")])
def test_injected_prompts_draw_the_original_masks(case: str) -> None:
    io, about, decoder = (
        tensors("sam", case, "io.safetensors"),
        facts("sam", case, "io.json"),
        decoder_of(case),
    )
    jobs = io["in.sparse"].shape[0]
    inner: list[Tensor] = []
    decoder.mask_decoder.transformer.register_forward_hook(lambda module, given, result: inner.extend(result))
    with torch.no_grad():
        low, iou = decoder.decode(io["in.image_embedding"].expand(jobs, -1, -1, -1), io["in.sparse"])
    which = slice(1, None) if about.get("multimask_output") else slice(0, 1)
    assert_close(low[:, which], io["out.low_res_masks"], "low_res_masks")
    assert_close(iou[:, which], io["out.iou"], "iou")
    assert_close(decoder.prompt_encoder.get_dense_pe(), io["out.dense_pe"], "dense_pe")
    for got, name in zip(inner, ("out.transformer_tokens", "out.transformer_image"), strict=True):
        assert_close(got, io.get(name, got), name)
    if "out.masks_upscaled" in io:
        resized, size = tuple(about["input_size"]), tuple(about["original_size"])
        full = restore(low[:, which], resized=resized, size=size, square=decoder.dims.image_size)
        assert_close(full, io["out.masks_upscaled"], "masks_upscaled")


@each("case", [c for c in cases("sam") if "in.point_coords" in tensors("sam", c, "io.safetensors")])
def test_prompt_encoder_is_the_original_one(case: str) -> None:
    io, decoder = tensors("sam", case, "io.safetensors"), decoder_of(case)
    points, boxes = (io["in.point_coords"], io["in.point_labels"]), io["in.boxes"]
    with torch.no_grad():
        got = {
            "points": decoder.prompt_encoder(points=points, boxes=None, masks=None),
            "boxes": decoder.prompt_encoder(points=None, boxes=boxes, masks=None),
            "points_boxes_masks": decoder.prompt_encoder(
                points=points, boxes=boxes, masks=io["in.mask_inputs"]
            ),
        }
    for name, want in io.items():
        if name.startswith("out."):
            _, prompt, part = name.split(".")
            assert_close(got[prompt][0 if part == "sparse" else 1], want, name)


def test_one_decode_of_jobs_of_several_frames_equals_a_decode_each() -> None:
    torch.manual_seed(0)
    dims = SamDims(
        vit_dim=32,
        vit_depth=1,
        vit_heads=2,
        global_attn_indexes=(0,),
        image_size=64,
        prompt_dim=32,
        dec_mlp=64,
    )
    decoder = SamDecoder(dims).eval()
    features, prompts = torch.randn(2, 32, 4, 4), torch.randn(3, 1, 32)
    frames = torch.tensor([0, 1, 1])
    together, _ = decoder.decode(features[frames], prompts)
    each = torch.cat(
        [decoder.decode(features[f : f + 1], prompts[j : j + 1])[0] for j, f in enumerate(frames.tolist())]
    )
    torch.testing.assert_close(together, each)
