"""SAM-2's checkpoints of every size and both versions are recognised, read strictly, and written as they were."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from seglm.model.decoders.sam2 import Sam2, Sam2Decoder
from seglm.model.decoders.sam2_dims import Sam2Dims, make_modules
from seglm.model.released.errors import WeightsError, WrongNames
from seglm.model.released.sam2 import load_sam2, original_names, sam2_dims, sam2_names
from seglm.model.released.strict import load_canonical
from tests.tiny_sam2 import SAM2, SAM2_0, tiny_sam2

# facebookresearch/sam2 2b90b9f, sam2/configs: channels, heads, blocks, global blocks, windows, positions; millions of parameters
RELEASED = {
    "tiny": (96, 1, (1, 2, 7, 2), (5, 7, 9), (8, 4, 14, 7), (7, 7), 38.96),
    "small": (96, 1, (1, 2, 11, 2), (7, 10, 13), (8, 4, 14, 7), (7, 7), 46.06),
    "base+": (112, 2, (2, 3, 16, 3), (12, 16, 20), (8, 4, 14, 7), (14, 14), 80.85),
    "large": (144, 2, (2, 6, 36, 4), (23, 33, 43), (8, 4, 16, 8), (7, 7), 224.4),
}


class Holder(nn.Module):
    def __init__(self, decoder: Sam2Decoder) -> None:
        super().__init__()
        self.decoder = decoder


def released(size: str, *, version: str) -> Sam2Dims:
    embed, heads, stages, blocks, windows, positions, _ = RELEASED[size]
    newer = version == "2.1"
    return Sam2Dims(
        embed_dim=embed, heads=heads, stages=stages, global_attn_blocks=blocks, window_spec=windows,
        pos_embed_size=positions, occlusion_embedding=newer, pointer_positions=newer,
    )  # fmt: skip


def state_of(decoder: Sam2Decoder) -> dict[str, Tensor]:
    return {f"decoder.{name}": tensor for name, tensor in decoder.state_dict().items()}


def write(path: Path, decoder: Sam2Decoder, **changed: object) -> Path:
    """A .pt as facebookresearch writes it; what no shape tells stands in config.json beside it."""
    torch.save({"model": original_names(state_of(decoder))}, path)
    (path.parent / "config.json").write_text(json.dumps({**asdict(decoder.dims), **changed}))
    return path


@pytest.mark.parametrize("version", ["2.0", "2.1"])
@pytest.mark.parametrize("size", RELEASED)
def test_every_released_size_follows_from_its_shapes(size: str, version: str) -> None:
    wanted = released(size, version=version)
    with torch.device("meta"):
        state = state_of(Sam2Decoder(wanted))
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    assert Sam2Dims.of(sam2_dims(shapes, source=size)) == wanted
    original = original_names(state)
    assert len(original) == {("large", "2.0"): 900}.get((size, version), len(state) + 3)
    assert {name: tensor.shape for name, tensor in sam2_names(original, source=size).items()} == {
        name: tensor.shape for name, tensor in state.items()
    }
    assert sum(tensor.numel() for tensor in original.values()) / 1e6 == pytest.approx(
        RELEASED[size][-1], rel=2e-3
    )


@pytest.mark.parametrize("dims", [SAM2, SAM2_0], ids=["2.1", "2.0"])
def test_a_pt_is_read_whole_into_the_modules_and_written_as_it_was(dims: Sam2Dims, tmp_path: Path) -> None:
    decoder = tiny_sam2(dims)
    found = load_sam2(write(tmp_path / "sam2.pt", decoder))
    assert found.decoder is not None and Sam2Dims.of(found.decoder) == dims
    model = Holder(Sam2(image_size=dims.image_size).build(found.decoder))
    assert load_canonical(model, found.tensors).complete
    assert all(torch.equal(value, state_of(decoder)[name]) for name, value in model.state_dict().items())
    again, there = original_names(dict(model.state_dict())), original_names(state_of(decoder))
    assert set(again) == set(there) and all(torch.equal(again[name], there[name]) for name in there)


def test_a_folder_of_our_own_and_transformers_one_are_the_same(tmp_path: Path) -> None:
    decoder = tiny_sam2()
    own, theirs = tmp_path / "own", tmp_path / "theirs"
    model = make_modules(SAM2)
    inside = {
        (
            f"vision_encoder.{name.removeprefix('image_encoder.')}"
            if name.startswith("image_encoder.")
            else name
        ): tensor
        for name, tensor in decoder.state_dict().items()
    }
    inside["shared_image_embedding.positional_embedding"] = inside[
        "prompt_encoder.shared_embedding.positional_embedding"
    ].clone()
    model.load_state_dict(inside)  # strict: these are transformers' names
    for folder, tensors in ((own, state_of(decoder)), (theirs, dict(model.state_dict()))):
        folder.mkdir()
        save_file(tensors, folder / "model.safetensors")
        (folder / "config.json").write_text(json.dumps(asdict(SAM2)))
    first, second = load_sam2(own), load_sam2(theirs)
    assert first.decoder == second.decoder and set(first.tensors) == set(second.tensors)
    assert all(torch.equal(first.tensors[name], second.tensors[name]) for name in first.tensors)


def test_the_layer_scale_is_read_under_the_name_that_sa2va_gives_it() -> None:
    original = original_names(state_of(tiny_sam2()))
    renamed = {name.replace(".gamma", ".g_weight"): tensor for name, tensor in original.items()}
    assert set(renamed) != set(original)
    assert set(sam2_names(renamed, source="x")) == set(sam2_names(original, source="x"))


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"sam_mask_decoder.hf_token": torch.ones(1)}, r"sam_mask_decoder\.hf_token"),
        ({"sam_prompt_encoder.point_embeddings.7.weight": torch.ones(1, 16)}, "point embeddings"),
    ],
)
def test_a_name_that_sam2_does_not_have_is_refused(changed: dict[str, Tensor], says: str) -> None:
    with pytest.raises(WrongNames, match=says):
        sam2_names({**original_names(state_of(tiny_sam2())), **changed}, source="x")


def test_half_a_sam2_is_refused(tmp_path: Path) -> None:
    decoder = tiny_sam2()
    path = write(tmp_path / "sam2.pt", decoder)
    half = {
        name: t for name, t in original_names(state_of(decoder)).items() if not name.startswith("maskmem")
    }
    torch.save({"model": half}, path)
    with pytest.raises(WrongNames, match="memory_temporal_positional_encoding is absent"):
        load_sam2(path)


def test_a_size_that_was_never_released_has_to_be_told(tmp_path: Path) -> None:
    path = write(tmp_path / "sam2.pt", tiny_sam2())
    (tmp_path / "config.json").unlink()
    with pytest.raises(
        WeightsError, match=r"none of the released ones .* heads, global_attn_blocks, window_spec"
    ):
        load_sam2(path)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"image_size": 72}, "a multiple of 32 pixels"),
        ({"memory_dim": 5}, "has to be a divisor"),
        ({"stages": (1, 2, 3)}, "4 stages"),
    ],
)
def test_sizes_that_no_sam2_can_have_are_refused(changed: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        replace(SAM2, **changed)  # type: ignore[arg-type]


def test_an_image_size_beside_the_weights_own_is_refused() -> None:
    with pytest.raises(ValueError, match=r"set decoder\.image_size=64"):
        Sam2(image_size=1024).build(asdict(SAM2))
