"""VideoLISA's own visual tokens, forward values, losses and gradients on clips, at tiny size, against ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

from seglm.dataset.collate import collate
from seglm.model.backbones.encode import DialogueEncoder
from seglm.model.backbones.projected import visual_tokens
from seglm.model.construct import construct
from seglm.model.decoders.sam import SamDims
from seglm.model.recipes import recipe as named
from seglm.model.released.lisa import lisa_names
from seglm.model.released.strict import load_canonical
from seglm.model.settings import Lora
from seglm.model.sizes import Sizes
from seglm.utils.types import (
    IGNORE_LABEL,
    IMAGE_POSITION,
    Branch,
    Dialogue,
    Example,
    Images,
    Placed,
    Slot,
    Turn,
)
from tests.conformance.checks import check_training
from tests.conformance.goldens import assert_close, cases, each, facts, tensors
from tests.conformance.lisa_golden import PLACEHOLDER, Golden, GoldenIds, original_gradients
from tests.tiny import tiny_encoder

FAMILY = "videolisa"
CASES = cases(FAMILY)
TRAINING = [case for case in CASES if facts(FAMILY, case, "io.json").get("losses")]
FROM_PIXELS = [case for case in CASES if case not in TRAINING and "weights" in facts(FAMILY, case, "io.json")]
FROM_FEATURES = [case for case in CASES if case not in (*TRAINING, *FROM_PIXELS)]
OF_THE_RUN = ("use_cache", "attn_implementation")  # keys of the config that say nothing of the model


@cache
def golden(case: str) -> Golden:
    """The released recipe without adapters; every tensor of the weights is loaded strictly."""
    about, sizes = facts(FAMILY, case, "io.json"), facts(FAMILY, "weights", "model.json")
    sam = {key: value for key, value in sizes["sam"].items() if key in SamDims.__dataclass_fields__}
    phi3 = {key: value for key, value in sizes["phi3"].items() if key not in OF_THE_RUN}
    base = named("videolisa_3_8b")
    recipe = replace(
        base,
        engine=replace(base.engine, precision="fp32", attention="sdpa", gradient_checkpointing=False),
        trainable=replace(base.trainable, lora=Lora(r=0)),
        decoder=replace(base.decoder, image_size=sam["image_size"]),
    )
    ids = {"eos": phi3["eos_token_id"], "SEG": sizes["SEG"]}
    shape = Sizes(phi3, sizes["clip"], sam, sizes["mm_projector_type"], sizes["mm_vision_select_layer"])
    model, _ = construct(recipe, shape, cast(DialogueEncoder, GoldenIds(ids)))
    load_canonical(model, lisa_names(tensors(FAMILY, "weights", "model.safetensors"), source=FAMILY))
    return Golden(model, tensors(FAMILY, case, "io.safetensors"), about, ids)


def places(pooled: int, whole: Sequence[int], *, patches: int) -> tuple[Tensor, Tensor]:
    """Frame and patch of every visual token of a clip, as our encoder lays them out."""
    known = tiny_encoder()
    encoder = DialogueEncoder(
        tokenizer=known.tokenizer,
        template=known.template,
        patches=patches,
        image_tokens=None,
        tokens=known.tokens,
        max_length=1,
    )
    images = (Images(tuple(range(pooled)), "pooled"), Images(tuple(whole)))
    branch = encoder.encode(Dialogue((Turn(images),)), open=True)
    shown = branch.frame >= 0
    return torch.from_numpy(branch.frame[shown]), torch.from_numpy(branch.patch[shown])


def clips(said: Golden) -> list[Example]:
    """One Example a video: all its frames pooled, the dense ones whole, one conversation."""
    io, found = said.io, []
    for number, whole in enumerate(said.about["dense_indices"]):
        masks = io[f"in.masks_list.{number}"]
        found.append(
            Example(
                key=f"golden/{number}",
                branches=(_branch(said, number, sorted(whole)),),
                vision=io["in.images_clip"][number].numpy(),  # type: ignore[arg-type]
                drawn=io["in.images"][number].numpy(),  # type: ignore[arg-type]
                resized=tuple(said.about["resize_list"][number]),
                size=tuple(said.about["label_sizes"][number]),
                masks=masks[None].bool().numpy(),
            )
        )
    return found


def _branch(said: Golden, number: int, whole: Sequence[int]) -> Branch:
    real = said.io["in.attention_masks"][number]
    ids, labels = (said.io[f"in.{name}"][number][real].numpy() for name in ("input_ids", "labels"))
    frame, patch = places(len(said.io["in.images_clip"][number]), whole, patches=said.model.backbone.patches)
    [at] = np.flatnonzero(ids == PLACEHOLDER)

    def expanded(text: Any, fill: Any) -> np.ndarray:  # type: ignore[type-arg]
        return np.concatenate([text[:at], np.broadcast_to(fill, len(frame)), text[at + 1 :]])

    text = np.full_like(ids, -1)
    full = expanded(ids, IMAGE_POSITION)
    slots = [
        Placed(Slot("[SEG]", 0, tuple(range(len(whole)))), int(place))
        for place in np.flatnonzero(full == said.ids["SEG"])
    ]
    return Branch(
        full,
        expanded(labels, IGNORE_LABEL),
        expanded(text, frame.numpy()),
        expanded(text, patch.numpy()),
        tuple(slots),
    )


@each("case", FROM_FEATURES)
def test_pooled_tokens_come_first_and_then_the_whole_frames(case: str) -> None:
    io = tensors(FAMILY, case, "io.safetensors")
    for features, whole, want in zip(
        io["in.features"], io["in.dense_indices"].tolist(), io["out.video_tokens"], strict=True
    ):
        frames, patches = places(len(features), whole, patches=features.shape[1])
        assert_close(visual_tokens(features, frames, patches)[None], want, "video_tokens")


@each("case", FROM_PIXELS)
def test_a_clip_is_seen_as_the_original_sees_it(case: str) -> None:
    io, backbone = tensors(FAMILY, case, "io.safetensors"), golden(case).model.backbone
    for number, pixels in enumerate(io["in.images_clip"]):
        with torch.no_grad():
            table = backbone.projector(backbone.see(pixels))
        assert_close(table, io["out.frame_features_projected"][number], "frame_features_projected")
        frames, patches = places(
            len(pixels), io["in.dense_indices"][number].tolist(), patches=backbone.patches
        )
        assert_close(
            visual_tokens(table, frames, patches)[None], io["out.video_tokens"][number], "video_tokens"
        )


@each("case", TRAINING)
@pytest.mark.parametrize("share_prefix", [False, True])
def test_losses_and_every_gradient_are_the_original_ones(case: str, share_prefix: bool) -> None:
    said = golden(case)
    wanted = original_gradients(FAMILY, case, said)
    check_training(said, wanted, share_prefix=share_prefix, clips=clips(said))


@each("case", TRAINING)
def test_every_forward_value_is_the_original_one(case: str) -> None:
    said = golden(case)
    model, batch = said.model.eval(), collate(clips(said), share_prefix=False)
    with torch.no_grad():
        states = model.backbone.hidden(batch)
        queries = model.queries(model.slot_states(states.flatten(0, 1), batch))
        low = model.draw(queries, batch, model.features(batch))
        masks = model.masks_by_frame(low, batch)
        logits = model.backbone.head(states)
    real = batch.group >= 0
    tail = said.io["out.logits_tail"].shape[1]
    got = {"out.pred_embeddings": queries}
    for name, value in (("logits_tail", logits), ("last_hidden_state_tail", states)):
        want = said.io[f"out.{name}"]  # of padding the original computes states, too, and nobody reads them
        got[f"out.{name}"] = torch.where(real[:, -tail:, None], value[:, -tail:], want)
    first = dict.fromkeys(batch.frame_example, 0)
    for job, (_, frame) in enumerate(batch.jobs):
        video = batch.frame_example[frame]
        got[f"out.low_res.{video}.frame{first[video]}"] = low[job : job + 1]
        got[f"out.pred_masks.{video}.frame{first[video]}"] = masks[frame]
        first[video] += 1
    wanted = {
        name: value
        for name, value in said.io.items()
        if name.startswith("out.") and not name.endswith("loss")
    }
    assert set(wanted) == set(got)
    for name, value in wanted.items():
        assert_close(got[name], value, name)


@each("case", TRAINING)
def test_a_video_is_encoded_once_for_all_its_frames(case: str) -> None:
    """Every pixel goes through each tower once, however often a frame is shown or drawn."""
    said = golden(case)
    batch, seen = collate(clips(said)), list[int]()
    tower = said.model.backbone.vision.embeddings
    handle = tower.register_forward_hook(lambda module, given, result: seen.append(len(result)))
    with torch.no_grad():
        said.model(batch)
    handle.remove()
    assert seen == [said.io["in.images_clip"].shape[:2].numel()]
