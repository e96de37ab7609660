"""SAM's checkpoints of every size are recognised by their shapes and read strictly."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from seglm.model.decoders.sam import SamDecoder, SamDims
from seglm.model.released.errors import WrongNames, WrongShapes
from seglm.model.released.keymap import mapped
from seglm.model.released.sam import HF_NAMES, load_sam, sam_dims
from seglm.model.released.strict import load_canonical
from tests.model.layouts import canonical_tensors, sam_dims_of_tiny, write_sam
from tests.tiny import SAM, tiny_model

# segment_anything/build_sam.py at dca509f: width, depth, heads, global blocks; tensors counted on the meta device
RELEASED = {
    "vit_b": (768, 12, 12, (2, 5, 8, 11), 314),
    "vit_l": (1024, 24, 16, (5, 11, 17, 23), 482),
    "vit_h": (1280, 32, 16, (7, 15, 23, 31), 594),
}


class Holder(nn.Module):
    def __init__(self, dims: SamDims) -> None:
        super().__init__()
        self.decoder = SamDecoder(dims)


@pytest.mark.parametrize("size", RELEASED)
def test_the_sizes_of_every_released_sam_follow_from_its_shapes(size: str) -> None:
    width, depth, heads, blocks, tensors = RELEASED[size]
    wanted = SamDims(vit_dim=width, vit_depth=depth, vit_heads=heads, global_attn_indexes=blocks)
    with torch.device("meta"):
        state = Holder(wanted).state_dict()
    assert len(state) == tensors
    assert SamDims.of(sam_dims({name: tuple(t.shape) for name, t in state.items()}, source=size)) == wanted


def test_a_pth_is_read_whole_and_back_into_the_modules(tmp_path: Path) -> None:
    tensors = canonical_tensors(tiny_model())
    found = load_sam(write_sam(tmp_path / "sam.pth", tensors))
    assert found.decoder == sam_dims_of_tiny()
    (tmp_path / "config.json").unlink()
    assert load_sam(tmp_path / "sam.pth").decoder == sam_dims_of_tiny() | {
        "dec_heads": 8
    }  # as in every release
    model = Holder(SAM)
    report = load_canonical(model, found.tensors)
    assert report.complete and not report.allowed
    state = model.state_dict()
    assert all(torch.equal(state[name], tensors[name]) for name in report.matched)


def test_transformers_sam_is_mapped_name_by_name_and_computes_the_same() -> None:
    from transformers import SamConfig, SamModel

    torch.manual_seed(0)
    vision = {
        "hidden_size": 32, "output_channels": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 128,
        "patch_size": 16, "window_size": 3, "global_attn_indexes": [1], "mlp_dim": 128, "num_pos_feats": 16,
    }  # fmt: skip
    prompt = {
        "hidden_size": 32,
        "image_size": 128,
        "patch_size": 16,
        "mask_input_channels": 4,
        "image_embedding_size": 8,
    }
    mask = {
        "hidden_size": 32,
        "mlp_dim": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 8,
        "iou_head_hidden_dim": 32,
    }
    config = SamConfig(vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=mask)
    theirs = SamModel(config).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.normal_(0, 0.2)
    tensors = mapped(theirs.state_dict(), HF_NAMES, source="tiny", layout="SamModel")
    dims = SamDims.of(sam_dims({name: tuple(t.shape) for name, t in tensors.items()}, source="tiny"))
    ours = Holder(dims)
    assert load_canonical(ours, tensors).complete
    pixels = torch.randn(1, 3, 128, 128)
    with torch.no_grad():
        features = ours.decoder.encode(pixels, [(128, 128)])
        torch.testing.assert_close(
            features, theirs.vision_encoder(pixels).last_hidden_state, atol=1e-4, rtol=1e-4
        )
        torch.testing.assert_close(
            ours.decoder.prompt_encoder.get_dense_pe(),
            theirs.get_image_wide_positional_embeddings()[None, 0],
            atol=1e-5,
            rtol=1e-5,
        )
        prompts = torch.randn(1, 1, 32)
        masks, iou = ours.decoder.decode(features, prompts)
        dense = theirs.prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1).expand(1, -1, 8, 8)
        want = theirs.mask_decoder(
            image_embeddings=features, image_positional_embeddings=theirs.get_image_wide_positional_embeddings(),
            sparse_prompt_embeddings=prompts[:, None], dense_prompt_embeddings=dense, multimask_output=True,
        )  # fmt: skip
    torch.testing.assert_close(masks[:, 1:], want[0][:, 0], atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(iou[:, 1:], want[1][:, 0], atol=1e-3, rtol=1e-3)


def test_half_a_sam_is_refused_with_the_absent_names(tmp_path: Path) -> None:
    tensors = {n: t for n, t in canonical_tensors(tiny_model()).items() if "image_encoder" not in n}
    with pytest.raises(WrongNames, match=r"not a whole SAM, decoder\.image_encoder\.pos_embed absent"):
        load_sam(write_sam(tmp_path / "sam.pth", tensors))


def test_a_name_that_sam_does_not_have_is_refused(tmp_path: Path) -> None:
    tensors = canonical_tensors(tiny_model()) | {"decoder.memory_encoder.weight": torch.ones(1)}
    with pytest.raises(WrongNames, match=r"memory_encoder\.weight"):
        load_sam(write_sam(tmp_path / "sam.pth", tensors))


def test_windows_of_two_sizes_are_refused(tmp_path: Path) -> None:
    tensors = canonical_tensors(tiny_model())
    tensors["decoder.image_encoder.blocks.1.attn.rel_pos_h"] = torch.ones(3, 8)
    with pytest.raises(WrongShapes, match="windows of"):
        load_sam(write_sam(tmp_path / "sam.pth", tensors))
