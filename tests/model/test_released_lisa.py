"""LISA's and LLaVA's releases, as tiny folders in their own layouts, read strictly and completely."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from seglm.model.build import build
from seglm.model.decoders.sam import Sam
from seglm.model.load import load
from seglm.model.released.errors import (
    AdapterOnly,
    DeltaWeights,
    OldLayout,
    WeightsError,
    WrongNames,
    WrongShapes,
)
from seglm.model.released.files import read_tensors, weight_files
from seglm.model.released.lisa import V0_FILE, load_lisa
from seglm.model.released.llava import load_clip, load_llava
from seglm.model.released.open import open_weights
from tests.model.layouts import (
    canonical_tensors,
    lisa_state,
    trainable_only,
    training_state,
    write_bases,
    write_clip,
    write_lisa_release,
    write_llava,
    write_sam,
)
from tests.tiny import CLIP, tiny_model


@pytest.fixture(scope="module")
def tensors() -> dict[str, torch.Tensor]:
    return canonical_tensors(tiny_model(), adapters=False)


def test_a_merged_lisa_gives_every_tensor_and_its_trained_decoder_wins(
    tmp_path: Path, tensors: dict[str, torch.Tensor]
) -> None:
    clip = write_clip(tmp_path / "clip", tensors)
    folder = write_lisa_release(tmp_path / "LISA-7B-v1", tensors, vision=str(clip))
    plain = {
        name: torch.zeros_like(tensor) if "mask_decoder" in name else tensor
        for name, tensor in tensors.items()
    }
    sam = write_sam(tmp_path / "sam.pth", plain)
    found = Sam(str(sam)).complete(open_weights(str(folder)))
    assert set(found.tensors) == set(tensors)
    assert all(torch.equal(found.tensors[name], tensors[name]) for name in tensors)
    assert found.system == "lisa" and found.projector == "linear" and found.project == (32, 16)
    assert found.vision == CLIP | {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5}
    assert found.tokenizer == str(folder)


def test_a_released_lisa_is_loaded_ready_to_be_asked(
    tmp_path: Path, tensors: dict[str, torch.Tensor]
) -> None:
    clip = write_clip(tmp_path / "clip", tensors)
    folder = write_lisa_release(tmp_path / "lisa", tensors, vision=str(clip))
    model, recipe = load(str(folder), recipe="lisa_7b", vision=str(clip), precision="fp32")
    assert recipe.name == "lisa_7b" and recipe.decoder.image_size == 64
    state = model.state_dict()
    assert not any(".lora_" in name for name in state)
    assert torch.equal(
        state["decoder.mask_decoder.iou_token.weight"], tensors["decoder.mask_decoder.iou_token.weight"]
    )
    assert model.encoder.token_id("[SEG]") == 560


def test_llava_clip_and_sam_make_a_base_whose_projection_alone_is_fresh(tmp_path: Path) -> None:
    recipe = write_bases(tmp_path, tiny_model())
    built = build(recipe)
    assert built.report.complete
    assert {name.split(".")[0] for name in built.report.allowed if ".lora_" not in name} == {"project"}


@pytest.mark.parametrize("prefix", ["language_model.model.", "model.language_model."])
def test_transformers_own_conversion_of_llava_is_read_too(
    tmp_path: Path, tensors: dict[str, torch.Tensor], prefix: str
) -> None:
    newer = prefix.startswith("model.")
    state = {}
    for name, tensor in tensors.items():
        part, rest = name.split(".", 1)
        if name.startswith("llm.lm_head."):
            state[rest if newer else f"language_model.{rest}"] = tensor
        elif part == "llm":
            state[prefix + rest] = tensor
        elif part == "vision":
            state[("model." if newer else "") + f"vision_tower.vision_model.{rest}"] = tensor
    for number in (1, 2):
        width = 16 if number == 1 else 32
        state[("model." if newer else "") + f"multi_modal_projector.linear_{number}.weight"] = torch.randn(
            32, width
        )
        state[("model." if newer else "") + f"multi_modal_projector.linear_{number}.bias"] = torch.randn(32)
    tmp_path.joinpath("config.json").write_text(
        json.dumps({"model_type": "llava", "text_config": {"num_attention_heads": 4}, "vision_config": CLIP})
    )
    torch.save(state, tmp_path / "pytorch_model.bin")
    found = load_llava(tmp_path)
    assert found.projector == "mlp2x_gelu" and found.vision is not None
    assert torch.equal(found.tensors["llm.norm.weight"], tensors["llm.norm.weight"])
    assert torch.equal(found.tensors["llm.lm_head.weight"], tensors["llm.lm_head.weight"])
    assert "vision.pre_layrnorm.weight" in found.tensors and "projector.2.bias" in found.tensors


def test_only_the_vision_half_of_a_clip_is_taken(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> None:
    found = load_clip(write_clip(tmp_path / "clip", tensors))
    assert {name.split(".")[0] for name in found.tensors} == {"vision"}
    assert "vision.embeddings.position_ids" not in found.tensors


# ---- what is refused, each with its own error and its next step ------------------------------------------------------
def test_a_delta_by_name_prints_the_command_that_applies_it(
    tmp_path: Path, tensors: dict[str, torch.Tensor]
) -> None:
    folder = write_llava(tmp_path / "LLaVA-Lightning-7B-delta-v1-1", tensors)
    with pytest.raises(
        DeltaWeights,
        match=r"python -m seglm\.model\.released\.delta --base .* --delta .*-delta-v1-1 --target",
    ):
        load_llava(folder)


@pytest.mark.parametrize(
    "near_zero, said", [("norm.weight", "norms is"), ("embed_tokens.weight", "token embeddings is")]
)
def test_a_delta_under_another_name_is_known_by_its_numbers(
    tmp_path: Path, tensors: dict[str, torch.Tensor], near_zero: str, said: str
) -> None:
    delta = {
        name: t * 1e-4 if name.endswith(near_zero) and name.startswith("llm.") else t
        for name, t in tensors.items()
    }
    with pytest.raises(DeltaWeights, match=said):
        load_llava(write_llava(tmp_path / "mine", delta))


def test_a_v0_layout_is_refused_with_the_reason(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> None:
    folder = write_lisa_release(tmp_path / "v0", tensors, vision="clip")
    (folder / V0_FILE).touch()
    with pytest.raises(OldLayout, match=r"0e26916.*xinlai/LISA-7B-v1"):
        open_weights(str(folder))


def test_an_adapter_folder_is_refused_as_a_model(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    torch.save({"a": torch.ones(1)}, tmp_path / "adapter_model.bin")
    with pytest.raises(AdapterOnly, match=r"an adapter \(adapter_config\.json\).*merge_lora_weights"):
        open_weights(str(tmp_path))


def test_trained_weights_are_refused_as_a_model(tmp_path: Path) -> None:
    state = training_state(trainable_only(canonical_tensors(tiny_model())))
    torch.save(state, tmp_path / "pytorch_model.bin")
    with pytest.raises(AdapterOnly, match="trained weights without their base; give the base as --version"):
        open_weights(str(tmp_path / "pytorch_model.bin"))


@pytest.mark.parametrize(
    "lost, said",
    [
        ("model.visual_model.mask_decoder.", "the trained mask decoder is not in this checkpoint"),
        ("model.text_hidden_fcs.", "text_hidden_fcs is not in this checkpoint"),
        ("model.mm_projector.", "no mm_projector"),
    ],
)
def test_a_lisa_without_a_trained_part_is_refused(
    tmp_path: Path, tensors: dict[str, torch.Tensor], lost: str, said: str
) -> None:
    state = {name: tensor for name, tensor in lisa_state(tensors).items() if not name.startswith(lost)}
    torch.save(state, tmp_path / "pytorch_model.bin")
    tmp_path.joinpath("config.json").write_text(json.dumps({"num_attention_heads": 4}))
    with pytest.raises(WrongNames, match=said):
        load_lisa(tmp_path)


def test_a_renamed_key_is_named_with_what_it_should_be(
    tmp_path: Path, tensors: dict[str, torch.Tensor]
) -> None:
    clip = write_clip(tmp_path / "clip", tensors)
    wrong = dict(tensors)
    wrong["decoder.mask_decoder.iou_tokens.weight"] = wrong.pop("decoder.mask_decoder.iou_token.weight")
    folder = write_lisa_release(tmp_path / "lisa", wrong, vision=str(clip))
    with pytest.raises(WrongNames) as caught:
        load(str(folder), recipe="lisa_7b", vision=str(clip), precision="fp32")
    assert "decoder.mask_decoder.iou_tokens.weight -> decoder.mask_decoder.iou_token.weight" in str(
        caught.value
    )
    assert "missing in the weights (1)" in str(caught.value)


def test_a_missing_key_deep_inside_is_named(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> None:
    clip = write_clip(tmp_path / "clip", tensors)
    fewer = {name: t for name, t in tensors.items() if name != "llm.layers.1.mlp.up_proj.weight"}
    folder = write_lisa_release(tmp_path / "lisa", fewer, vision=str(clip))
    with pytest.raises(WrongNames, match=r"llm\.layers\.1\.mlp\.up_proj\.weight"):
        load(str(folder), recipe="lisa_7b", vision=str(clip), precision="fp32")


def test_a_foreign_key_is_named(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> None:
    folder = write_lisa_release(tmp_path / "lisa", tensors, vision="clip")
    state = torch.load(folder / "pytorch_model-00001-of-00002.bin") | {"depth_head.weight": torch.ones(2)}
    torch.save(state, folder / "pytorch_model-00001-of-00002.bin")
    with pytest.raises(
        WrongNames, match=r"1 names that the LISA layout does not have:\n  depth_head\.weight"
    ):
        load_lisa(folder)


def test_keysegs_weights_are_no_lisa(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> None:
    clip = write_clip(tmp_path / "clip", tensors)
    folder = write_lisa_release(tmp_path / "keyseg", tensors, vision=str(clip))
    file = folder / "pytorch_model-00001-of-00002.bin"
    torch.save(torch.load(file) | {"keyword_fusion.query_proj.weight": torch.ones(2, 2)}, file)
    with pytest.raises(WrongNames, match=r"fuse\.query_proj\.weight"):
        load(str(folder), recipe="lisa_7b", vision=str(clip), precision="fp32")


def test_a_config_of_another_size_is_refused(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> None:
    with pytest.raises(WrongShapes, match="config.json says hidden_size 48, the tensors say 32"):
        load_llava(write_llava(tmp_path / "llava", tensors, hidden_size=48))


def test_a_base_is_not_taken_for_a_model_that_segments(tmp_path: Path) -> None:
    recipe = write_bases(tmp_path, tiny_model())
    with pytest.raises(WeightsError, match="never trained to segment"):
        load(
            recipe.backbone.weights,
            recipe="lisa_7b",
            vision=recipe.backbone.vision,
            decoder=recipe.decoder.weights,
        )


@pytest.mark.parametrize("kind", ["sam", "clip"])
def test_a_part_is_not_taken_for_the_language_model(
    tmp_path: Path, tensors: dict[str, torch.Tensor], kind: str
) -> None:
    part = (
        write_sam(tmp_path / "sam.pth", tensors) if kind == "sam" else write_clip(tmp_path / "clip", tensors)
    )
    with pytest.raises(WeightsError, match=f"a {kind.upper()}, not a language model; it belongs to --vision"):
        open_weights(str(part))


def test_what_no_place_holds_is_asked_for_by_its_flag(
    tmp_path: Path, tensors: dict[str, torch.Tensor]
) -> None:
    clip = str(write_clip(tmp_path / "clip", tensors))
    base = open_weights(str(write_llava(tmp_path / "llava", tensors)), vision=clip)
    with pytest.raises(FileNotFoundError, match=r"SAM \(--vision_pretrained\)"):
        Sam(str(tmp_path / "sam.pth")).complete(base)
    with pytest.raises(WeightsError, match="no vision tower and names none; give one with --vision-tower"):
        open_weights(str(write_llava(tmp_path / "bare", tensors)))


# ---- containers ------------------------------------------------------------------------------------------------------
def test_a_shard_that_the_index_names_and_that_is_gone_is_an_error(
    tmp_path: Path, tensors: dict[str, torch.Tensor]
) -> None:
    folder = write_llava(tmp_path / "llava", tensors)
    (folder / "pytorch_model-00002-of-00002.bin").unlink()
    with pytest.raises(WeightsError, match=r"shards that are not there: pytorch_model-00002-of-00002\.bin"):
        read_tensors(folder)


def test_a_folder_called_pytorch_model_bin_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "run" / "pytorch_model.bin"
    folder.mkdir(parents=True)
    for number in (1, 2):
        torch.save({f"weight{number}": torch.ones(1)}, folder / f"pytorch_model-0000{number}-of-00002.bin")
    assert set(read_tensors(folder)) == {"weight1", "weight2"}
    assert weight_files(tmp_path / "run") == weight_files(folder)


def test_a_pickle_that_holds_code_is_refused_unread(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return (print, ("never",))

    torch.save({"a": Evil()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(WeightsError, match="cannot be read as tensors alone"):
        read_tensors(tmp_path)
