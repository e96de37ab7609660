"""SAM-2's tensors, computed by facebookresearch/sam2 itself, against our batched decoder and its memory."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from seglm.model.decoders.sam2 import Prompts, Sam2Decoder
from seglm.model.decoders.sam2_dims import Sam2Dims
from seglm.model.decoders.sam2_memory import PREDICTING, Memory
from seglm.model.decoders.sam2_step import Drawn, memory_tokens, step
from seglm.model.released.sam2 import original_names, sam2_dims, sam2_names
from tests.conformance.goldens import ROOT, assert_close, cases, each, facts, tensors, weights_of
from tests.conformance.sam2_golden import FAMILIES, decoder_of, family_dims, said_dims

POLICY = replace(
    PREDICTING, binarise=False
)  # SAM2Base; its video predictor writes conditioning masks as 0 or 1
THERE = [family for family in FAMILIES if (ROOT / family).is_dir()]


def holding(name: str) -> list[tuple[str, str]]:
    return [
        (family, case)
        for family in THERE
        for case in cases(family)
        if name in tensors(family, case, "io.safetensors")
    ]


def squares_of(decoder: Sam2Decoder, frames: Tensor) -> Tensor:
    return decoder.encode(frames, [(decoder.image_size,) * 2] * len(frames))


@each("family,case", holding("out.backbone_fpn.0"))
def test_the_image_encoder_equals_the_original(family: str, case: str) -> None:
    io, decoder = tensors(family, case, "io.safetensors"), decoder_of(family, case)
    stages: list[Tensor] = []
    ends = decoder.image_encoder.backbone.stage_ends
    for end in ends:
        decoder.image_encoder.backbone.blocks[end].register_forward_hook(
            lambda module, given, result: stages.append(result)
        )
    found = decoder.levels(squares_of(decoder, io["in.image_f"]))
    wanted = {name for name in io if name.startswith("out.")}
    for number, level in enumerate(found):
        assert_close(level, io[f"out.backbone_fpn.{number}"], f"level {number}")
        where = decoder.image_encoder.neck.position_encoding(
            (1, decoder.prompt_dim, *level.shape[2:]), level.device, level.dtype
        )
        assert_close(where, io[f"out.vision_pos_enc.{number}"], f"positions {number}")
    for number, stage in enumerate(stages):
        assert_close(stage.permute(0, 3, 1, 2), io[f"out.trunk.{number}"], f"stage {number}")
    assert len(wanted) == 2 * len(found) + len(stages)


@each("family,case", holding("out.glus_sparse_only.single.low_res"))
def test_a_vector_draws_the_original_masks_in_a_picture(family: str, case: str) -> None:
    io, decoder = tensors(family, case, "io.safetensors"), decoder_of(family, case)
    vectors = io["in.embedding"]
    features = squares_of(decoder, io["in.image_f"])
    fine, middle, coarse = (level.expand(len(vectors), -1, -1, -1) for level in decoder.levels(features))
    conditioned = decoder.without_memory(coarse)
    assert_close(conditioned[:1], io["out.pix_feat_with_no_mem"], "without memory")
    assert_close(decoder.places(), io["out.dense_pe"], "places")
    assert_close(decoder.no_points(len(vectors)), io["out.pad_point_sparse"], "no points")
    alone, padded = vectors, torch.cat([decoder.no_points(len(vectors)), vectors], dim=1)
    for name, sparse in (("glus_sparse_only", alone), ("sa2va_pad_plus_lang", padded)):
        with torch.no_grad():
            found = decoder.candidates((fine, middle), conditioned, Prompts(sparse))
            decoder.not_points = sparse is padded
            logits, iou = decoder.decode(features.expand(len(vectors), -1, -1, -1), vectors)
        for kind, which in (("single", slice(0, 1)), ("multi", slice(1, None))):
            assert_close(found.logits[:, which], io[f"out.{name}.{kind}.low_res"], f"{name} {kind}")
            assert_close(logits[:, which], io[f"out.{name}.{kind}.low_res"], f"{name} {kind}, decoded")
            assert_close(iou[:, which], io[f"out.{name}.{kind}.iou"], f"{name} {kind} iou")
            assert_close(found.tokens[:, which], io[f"out.{name}.{kind}.tokens"], f"{name} {kind} tokens")
            assert_close(found.score, io[f"out.{name}.{kind}.obj_score"], f"{name} {kind} score")
        stable = replace(POLICY, best_of_several=False, occlusion=False)
        with torch.no_grad():
            drawn, _ = step(decoder, features, Memory(stable), frame=0, prompts=Prompts(sparse))
        assert_close(drawn.logits, io[f"out.{name}.single_dyn.low_res"], f"{name} stable")
        assert_close(drawn.iou[:, None], io[f"out.{name}.single_dyn.iou"], f"{name} stable iou")


def walked(
    family: str, case: str
) -> tuple[Sam2Decoder, dict[str, Tensor], list[Drawn], list[Memory], list[Tensor]]:
    """A case of a video: what was drawn in each frame, the memory behind it, and the estimated IoUs of all masks."""
    io, decoder = tensors(family, case, "io.safetensors"), decoder_of(family, case)
    frames, estimates = io["in.frames"], []
    decoder.mask_decoder.iou_prediction_head.register_forward_hook(
        lambda module, given, result: estimates.append(result)
    )
    features = squares_of(decoder, frames)
    memory, drawn, memories = Memory(POLICY, num_frames=len(frames)), [], []
    for frame in range(len(frames)):
        said, masks = None, None
        if frame == 0 and "in.mask" in io:
            masks = io["in.mask"]
        elif frame == 0:
            vectors = io["in.embedding"]
            said = Prompts(torch.cat([decoder.no_points(len(vectors)), vectors], dim=1))
        with torch.no_grad():
            found, memory = step(
                decoder, features[frame : frame + 1], memory, frame=frame, prompts=said, masks=masks
            )
        drawn.append(found)
        memories.append(memory)
    return decoder, io, drawn, memories, estimates


@each("family,case", holding("in.frames"))
def test_a_video_is_drawn_as_the_original_draws_it(family: str, case: str) -> None:
    decoder, io, drawn, memories, estimates = walked(family, case)
    left = {name for name in io if name.startswith("out.")}
    grid = decoder.dims.grid

    def same(got: Tensor, name: str) -> None:
        assert_close(got, io[name], name)
        left.remove(name)

    for frame, (found, memory, estimate) in enumerate(zip(drawn, memories, estimates, strict=True)):
        entry = (memory.recent or memory.conditioning)[-1]
        assert entry.features is not None
        same(found.logits, f"out.{frame}.low_res")
        same(found.pointer, f"out.{frame}.obj_ptr")
        same(found.score, f"out.{frame}.obj_score")
        same(entry.features, f"out.{frame}.maskmem_features")
        same(
            estimate[:, 1:] if frame or "in.mask" not in io else _of_the_pointer(estimate, io),
            f"out.{frame}.iou",
        )
        if frame:
            same(found.conditioned.flatten(2).permute(2, 0, 1), f"out.{frame}.memory_attention")
    last = len(drawn) - 1
    tokens, positions, _ = memory_tokens(decoder, memories[last - 1].read(last), POLICY)
    same(tokens, f"out.{last}.memory")
    same(positions, f"out.{last}.memory_pos")
    where = decoder.memory_encoder.position_encoding(
        (1, decoder.dims.memory_dim, grid, grid), tokens.device, tokens.dtype
    )
    same(where, "out.0.maskmem_pos_enc")
    assert not left


def _of_the_pointer(estimate: Tensor, io: dict[str, Tensor]) -> Tensor:
    """Where a mask was given the decoder only makes the pointer; the estimate that belongs to it is of no use to anybody.

    It is that of mask 0, or of the best of the others where mask 0 is not stable.
    """
    either = torch.stack([estimate[:, 0], estimate[:, 1:].amax(1)], dim=1)
    nearest = (either - io["out.0.iou"]).abs().argmin(1, keepdim=True)
    return either.gather(1, nearest)


@each("family,case", holding("in.frames"))
def test_what_is_read_of_the_frames_before_is_as_much_as_in_the_original(family: str, case: str) -> None:
    decoder, _, _, memories, _ = walked(family, case)
    counts = [
        memory_tokens(decoder, memory.read(frame), POLICY)[2] for frame, memory in enumerate(memories[:-1], 1)
    ]
    assert counts == facts(family, case, "io.json")["num_obj_ptr_tokens_per_frame"]


@each("family", THERE)
def test_an_original_checkpoint_is_read_strictly_and_written_as_it_was(family: str) -> None:
    case = cases(family)[0]
    raw, _ = weights_of(family, case)
    raw = {name: value for name, value in raw.items() if name in set(_keys(family))}
    named = sam2_names(raw, source=family)
    found = sam2_dims(
        {name: tuple(t.shape) for name, t in named.items()}, source=family, config=said_dims(family)
    )
    assert Sam2Dims.of(found) == family_dims(family)
    again = original_names(named)
    assert set(again) == set(raw) and all(torch.equal(again[name], raw[name]) for name in raw)


def _keys(family: str) -> list[str]:
    keys: list[str] = facts(family, "weights", "model.json")["keys"]
    return keys
