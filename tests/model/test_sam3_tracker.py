"""SAM-3's tracker draws what transformers' own model draws, is read from its folders, and is picked by its name."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from seglm.dataset.collate import collate
from seglm.model.decoders.sam2 import WITHOUT_GRADIENT, Sam2
from seglm.model.decoders.sam2_memory import Memory
from seglm.model.decoders.sam2_propagate import BySam2
from seglm.model.decoders.sam2_step import step
from seglm.model.decoders.sam3_tracker import (
    SAM3_PREDICTING,
    Sam3Tracker,
    Sam3TrackerDecoder,
    Sam3TrackerDims,
)
from seglm.model.older import with_settings
from seglm.model.recipe import Recipe
from seglm.model.recipes import recipe as named
from seglm.model.released.checkpoint import Checkpoint
from seglm.model.released.errors import WeightsError, WrongNames
from seglm.model.released.identify import layout_of
from seglm.model.released.sam3_tracker import load_sam3_tracker, sam3_tracker_dims
from seglm.model.systems.sa2va import CARRIED
from seglm.utils.config import from_json, to_json
from tests.model.sessions import check_walk, theirs
from tests.tiny import tiny_example, tiny_model, tiny_recipe
from tests.tiny_sam2 import pictures
from tests.tiny_sam3 import SAM3, SIDE, tiny_sam3


@pytest.mark.parametrize("backwards", [False, True])
def test_a_long_walk_is_the_one_of_transformers_session(backwards: bool) -> None:
    from transformers.models.sam3_tracker_video.modeling_sam3_tracker_video import (
        Sam3TrackerVideoInferenceSession,
    )

    check_walk(
        tiny_sam3(),
        Sam3TrackerVideoInferenceSession,
        side=SIDE,
        frames=20,
        backwards=backwards,
        policy=SAM3_PREDICTING,
        said=(0, 2),
    )


def test_a_recipe_written_for_sam2_reads_four_conditioning_frames() -> None:
    memory = tiny_sam3().remembering(CARRIED, num_frames=9)
    assert memory.policy == replace(CARRIED, conditioning=4) and memory.num_frames == 9
    assert tiny_sam3().remembering(replace(CARRIED, conditioning=6)).policy.conditioning == 6


def test_features_are_those_of_transformers_whatever_the_square() -> None:
    decoder = tiny_sam3()
    video = decoder.normalise(pictures(2, side=SIDE), [(SIDE, SIDE)] * 2)
    torch.testing.assert_close(video, pictures(2, side=SIDE) / 127.5 - 1)
    with torch.no_grad():
        want = theirs(decoder).get_image_features(video).fpn_hidden_states
        found = decoder.levels(decoder.encode(video, [(SIDE, SIDE)] * 2))
    assert [level.shape[-1] for level in found] == [24, 12, 6] and len(want) == 3
    for level, other in zip(found, want, strict=True):
        torch.testing.assert_close(level.flatten(2).permute(2, 0, 1), other)


def test_a_mask_that_was_given_points_as_the_decoder_of_transformers_does_for_one_mask() -> None:
    """Its own session takes the best of three there, which SAM-2's code does not."""
    decoder = tiny_sam3()
    model, features = theirs(decoder), decoder.encode(pictures(1, side=SIDE), [(SIDE, SIDE)])
    mask = torch.zeros(1, 1, SIDE, SIDE)
    mask[..., 20:50, 30:60] = 1
    fine, middle, coarse = decoder.levels(features)
    with torch.no_grad():
        drawn, memory = step(decoder, features, Memory(SAM3_PREDICTING), frame=0, masks=mask)
        want = model._single_frame_forward(
            input_masks=model.mask_downsample(mask),
            image_embeddings=[fine, middle, coarse],
            multimask_output=False,
        )
        torch.testing.assert_close(drawn.pointer, want.object_pointer.reshape(drawn.pointer.shape))
        kept, _ = model._encode_new_memory(
            coarse.flatten(2).permute(2, 0, 1), mask * 20 - 10, torch.tensor([[10.0]]), is_mask_from_pts=True
        )
    [entry] = memory.conditioning
    assert entry.features is not None
    torch.testing.assert_close(
        entry.features.flatten(2).permute(2, 0, 1),
        kept.float(),
        atol=0.02,
        rtol=0.02,  # theirs are bfloat16
    )


def test_masks_are_carried_by_it() -> None:
    mask = np.zeros((1, 30, 40), np.bool_)
    mask[0, 5:20, 5:20] = True
    video = [np.random.default_rng(n).integers(0, 256, (30, 40, 3), np.uint8) for n in range(4)]
    found = list(BySam2(tiny_sam3(), SAM3_PREDICTING)(video, {0: mask}))
    assert [one.frame for one in found] == [0, 1, 2, 3] and all(
        one.masks.shape == (1, 30, 40) for one in found
    )


# ---- weights -----------------------------------------------------------------------------------------------------------
CONFIG = {
    key: asdict(SAM3)[key]
    for key in ("vit_heads", "window_size", "global_attn_indexes", "image_size", "dec_heads")
}
BACKBONE = {"num_attention_heads": 2, "window_size": 3, "global_attn_indexes": [1], "image_size": SIDE}
DECODER = {"mask_decoder_config": {"num_attention_heads": 2}}


def written(folder: Path, tensors: dict[str, Tensor], config: dict[str, Any]) -> Path:
    folder.mkdir()
    save_file(
        {name: tensor.contiguous().clone() for name, tensor in tensors.items()}, folder / "model.safetensors"
    )
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def whole(tracker: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names of a whole SAM-3: the encoder is the detector's, which has a neck and heads of its own."""
    found = {"detector_model.vision_encoder.neck.fpn_layers.0.proj1.weight": torch.zeros(1)}
    found["detector_model.text_encoder.embeddings.weight"] = torch.zeros(1)
    for name, tensor in tracker.items():
        new = name.replace("vision_encoder.backbone.", "detector_model.vision_encoder.backbone.")
        new = new.replace("vision_encoder.neck.", "tracker_neck.") if new == name else new
        found[new if new != name else f"tracker_model.{name}"] = tensor
    return found


def test_it_is_read_from_every_folder_it_comes_in(tmp_path: Path) -> None:
    decoder = tiny_sam3()
    ours = {f"decoder.{name}": tensor for name, tensor in decoder.state_dict().items()}
    hf = dict(theirs(decoder).state_dict())
    vision = {"vision_config": {"backbone_config": BACKBONE}}
    folders = [
        written(tmp_path / "own", ours, CONFIG),
        written(tmp_path / "tracker", hf, {"model_type": "sam3_tracker_video", **vision, **DECODER}),
        written(
            tmp_path / "whole",
            whole(hf),
            {"model_type": "sam3_video", "detector_config": vision, "tracker_config": DECODER},
        ),
    ]
    for folder in folders:
        found = load_sam3_tracker(folder)
        assert found.decoder is not None and Sam3TrackerDims.of(found.decoder) == SAM3, folder
        assert set(found.tensors) == set(ours) and all(
            torch.equal(found.tensors[name], ours[name]) for name in ours
        )
        assert layout_of(folder) == "sam3"
    with pytest.raises(
        WrongNames, match="1 names that the transformers Sam3TrackerVideoModel layout does not have"
    ):
        load_sam3_tracker(written(tmp_path / "more", {**hf, "another.weight": torch.zeros(1)}, CONFIG))
    with pytest.raises(WeightsError, match="no shape tells vit_heads, .*put a config.json"):
        load_sam3_tracker(written(tmp_path / "silent", hf, {}))


def test_the_released_one_follows_from_its_shapes() -> None:
    with torch.device("meta"):
        state = Sam3TrackerDecoder(Sam3TrackerDims()).state_dict()
    shapes = {f"decoder.{name}": tuple(tensor.shape) for name, tensor in state.items()}
    assert Sam3TrackerDims.of(sam3_tracker_dims(shapes, source="facebook/sam3")) == Sam3TrackerDims()


# ---- in a recipe -------------------------------------------------------------------------------------------------------
def test_a_command_picks_it_and_a_manifest_keeps_it() -> None:
    picked = with_settings(named("lisa_7b"), [("decoder", "Sam3Tracker")])
    assert picked.decoder == Sam3Tracker() and picked.decoder.image_size == 1008
    assert from_json(Recipe, to_json(picked)).decoder == picked.decoder
    assert picked.decoder.preprocessing()["mean"] == [127.5] * 3
    assert isinstance(picked.decoder, Sam2)


def test_its_own_mask_decoder_is_kept_beside_the_trained_one(tmp_path: Path) -> None:
    ours = {f"decoder.{name}": one for name, one in tiny_sam3().state_dict().items()}
    choice = Sam3Tracker(
        weights=str(written(tmp_path / "sam3", ours, CONFIG)), image_size=SIDE, keeps_original=True
    )
    completed = choice.complete(Checkpoint("", {}))
    decoder = choice.build(completed.decoder or {})
    decoder.load_state_dict(
        {name.removeprefix("decoder."): value for name, value in completed.tensors.items()}
    )
    own, kept = decoder.mask_decoder.state_dict(), decoder.original_mask_decoder
    assert kept is not None and all(
        torch.equal(own[name], value) for name, value in kept.state_dict().items()
    )


def test_weights_for_another_square_are_refused_with_the_setting() -> None:
    with pytest.raises(ValueError, match="this SAM-3 tracker was made for 84; set decoder.image_size=84"):
        Sam3Tracker().build(asdict(SAM3))


def test_it_is_trained_as_sam2_is(tmp_path: Path) -> None:
    folder = written(
        tmp_path / "sam3", {f"decoder.{name}": one for name, one in tiny_sam3().state_dict().items()}, CONFIG
    )
    choice = Sam3Tracker(weights=str(folder), image_size=SIDE)
    completed = choice.complete(Checkpoint("", {}))
    assert completed.decoder is not None and Sam3TrackerDims.of(completed.decoder) == SAM3
    base = tiny_recipe()
    frozen = (
        *base.trainable.frozen,
        *(path for path in WITHOUT_GRADIENT if path not in base.trainable.frozen),
    )
    recipe = replace(base, decoder=choice, trainable=replace(base.trainable, frozen=frozen))
    model = tiny_model(recipe, decoder=asdict(SAM3)).train()
    assert isinstance(model.decoder, Sam3TrackerDecoder)
    output = model(collate([tiny_example(("It is {}.", "Sure, {}."), key="one")]))
    output.loss.backward()
    assert torch.isfinite(output.loss)
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
