"""A recipe picks SAM-2 with one word; it is then trained a frame at a time, without a memory."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from seglm.dataset.collate import collate
from seglm.model.decoders.sam2 import WITHOUT_GRADIENT, Sam2, Sam2Decoder
from seglm.model.older import with_settings
from seglm.model.recipe import Recipe
from seglm.model.recipes import recipe as named
from seglm.model.released.checkpoint import Checkpoint
from seglm.model.segmenter import Segmenter
from seglm.utils.config import from_json, to_json
from seglm.utils.dist import World
from tests.model.test_released_sam2 import write
from tests.tiny import tiny_example, tiny_model, tiny_recipe
from tests.tiny_sam2 import SAM2, SIDE, tiny_sam2

TALK = tiny_example(("It is a ring.",), key="talk")
ONE = tiny_example(("It is {}.", "Sure, {}."), key="one", seed=1)
TWO = tiny_example(("Sure, it is {}.",), key="two", size=(30, 64), seed=2)
ON_CPU = World(rank=0, size=1, local_rank=0, device=torch.device("cpu"))


def with_sam2(**engine: object) -> Recipe:
    base = tiny_recipe()
    frozen = (
        *base.trainable.frozen,
        *(path for path in WITHOUT_GRADIENT if path not in base.trainable.frozen),
    )
    return replace(
        base,
        decoder=Sam2(image_size=SIDE),
        trainable=replace(base.trainable, frozen=frozen),
        engine=replace(base.engine, **engine),  # type: ignore[arg-type]
    )


def model_with_sam2(**engine: object) -> Segmenter:
    return tiny_model(with_sam2(**engine), decoder=asdict(SAM2))


def test_a_command_picks_it_and_a_manifest_keeps_it() -> None:
    picked = with_settings(named("lisa_7b"), [("decoder", "Sam2"), ("decoder.weights", "sam2_hiera_tiny.pt")])
    assert picked.decoder == Sam2(weights="sam2_hiera_tiny.pt", image_size=1024)
    assert from_json(Recipe, to_json(picked)).decoder == picked.decoder


def test_what_would_be_trained_without_a_gradient_is_named_before_anything_loads() -> None:
    picked = with_settings(tiny_recipe(), [("decoder", "Sam2")])
    with pytest.raises(ValueError, match=r"add trainable\.frozen\+=decoder\.mask_decoder\.conv_s0,") as error:
        picked.check(ON_CPU)
    setting = str(error.value).rpartition(" ")[2].partition("=")
    with_settings(picked, [(setting[0], setting[2])]).check(ON_CPU)


@pytest.mark.parametrize("examples", [[TALK], [TALK, ONE, TWO]], ids=["words only", "both"])
def test_every_trainable_weight_gets_a_gradient(examples: list) -> None:  # type: ignore[type-arg]
    model = model_with_sam2().train()
    output = model(collate(examples))
    output.loss.backward()
    assert torch.isfinite(output.loss)
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
    trained = {
        name for name, parameter in model.named_parameters() if parameter.requires_grad and "decoder" in name
    }
    assert trained and all(name.startswith("decoder.mask_decoder.") for name in trained)


def test_a_mask_of_a_batch_is_the_one_that_is_drawn_alone() -> None:
    model = model_with_sam2()
    with torch.no_grad():
        whole, alone = collate([ONE, TWO]), collate([TWO])
        features = model.features(whole)
        states = model.backbone.hidden(whole).flatten(0, 1)
        together = model.draw(model.queries(model.slot_states(states, whole)), whole, features)
        states = model.backbone.hidden(alone).flatten(0, 1)
        one = model.draw(model.queries(model.slot_states(states, alone)), alone, model.features(alone))
    torch.testing.assert_close(together[-1:], one, atol=1e-4, rtol=1e-4)
    assert features.shape[1:] == (4 * SAM2.prompt_dim, SAM2.grid, SAM2.grid)


def test_in_half_precision_only_the_image_encoder_is_cast() -> None:
    model = model_with_sam2(precision="bf16")
    dtypes = {
        name.split(".")[1]: parameter.dtype
        for name, parameter in model.named_parameters()
        if name.startswith("decoder.")
    }
    assert dtypes.pop("image_encoder") == torch.bfloat16
    assert set(dtypes.values()) == {torch.float32} and "memory_attention" in dtypes
    output = model.train()(collate([ONE]))
    assert torch.isfinite(output.loss)


def test_a_language_model_without_a_mask_decoder_is_completed(tmp_path: Path) -> None:
    decoder = tiny_sam2()
    file = write(tmp_path / "sam2.pt", decoder)
    choice = Sam2(weights=str(file), image_size=SIDE)
    whole = choice.complete(Checkpoint(source="base", tensors={"llm.norm.weight": torch.ones(1)}))
    built = choice.build(whole.decoder or {})
    assert isinstance(built, Sam2Decoder) and built.dims == SAM2
    assert {name for name in whole.tensors if name.startswith("decoder.")} == {
        f"decoder.{name}" for name in built.state_dict()
    }
    assert choice.complete(whole) is whole
