"""Without --recipe the system is found from the manifest, else config.json, else the names; a doubt is an error with
candidates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from seglm.model.decoders.sam2_dims import make_modules
from seglm.model.load import choose_recipe
from seglm.model.released.errors import Ambiguous, WeightsError
from seglm.model.released.identify import identify, layout_of
from seglm.model.released.open import open_weights
from seglm.model.released.sam2 import original_names
from tests.model.layouts import (
    canonical_tensors,
    trainable_only,
    training_state,
    write_clip,
    write_lisa_release,
    write_sam,
)
from tests.tiny import tiny_model
from tests.tiny_sam2 import tiny_sam2


def skeleton(folder: Path, names: dict[str, tuple[int, ...]], config: dict[str, Any] | None = None) -> Path:
    """A folder whose tensors have the given names and shapes, at no size."""
    folder.mkdir(parents=True)
    torch.save(
        {name: torch.zeros(1).expand(shape) for name, shape in names.items()}, folder / "pytorch_model.bin"
    )
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    return folder


def lisa(width: int) -> dict[str, tuple[int, ...]]:
    return {
        "model.embed_tokens.weight": (10, width),
        "model.visual_model.mask_decoder.iou_token.weight": (1, 8),
        "model.text_hidden_fcs.0.0.weight": (8, 8),
        "model.mm_projector.weight": (8, 8),
    }


GLUS = "model.visual_model.sam_mask_decoder.iou_token.weight"
LLAVA = {"model.embed_tokens.weight": (10, 4096), "model.mm_projector.weight": (8, 8)}


def trained(width: int, *, rows: int) -> dict[str, tuple[int, ...]]:
    """A training file with so many rows of vocabulary."""
    names = {f"base_model.model.{name}": shape for name, shape in lisa(width).items()}
    return {name: (rows, width) if "embed_tokens" in name else shape for name, shape in names.items()}


@pytest.mark.parametrize(
    "names, config, layout, recipe",
    [
        (lisa(4096), {"model_type": "llava", "hidden_size": 4096}, "lisa", "lisa_7b"),
        (lisa(4096), None, "lisa", "lisa_7b"),
        (lisa(5120), {"hidden_size": 5120, "rms_norm_eps": 1e-5}, "lisa", "lisa_llama2_13b"),
        (lisa(5120), {"hidden_size": 5120, "rms_norm_eps": 1e-6}, "lisa", "lisa_13b"),
        (trained(4096, rows=32004), None, "lisa_training", "lisa_7b"),
        (LLAVA, {"model_type": "llava", "hidden_size": 4096}, "llava", "lisa_7b"),
        (lisa(3072), {"model_type": "llava_phi", "hidden_size": 3072}, "lisa", "videolisa_3_8b"),
        (trained(3072, rows=32039), None, "lisa_training", "videolisa_3_8b"),
        (trained(4096, rows=32005), None, "lisa_training", "gsva_7b"),
        (trained(5120, rows=32005), None, "lisa_training", "gsva_13b"),
        (
            trained(5120, rows=32004),
            {"hidden_size": 5120, "rms_norm_eps": 1e-5},
            "lisa_training",
            "gsva_llama2_13b",
        ),
        (
            {**trained(4096, rows=32005), "base_model.model.keyword_fusion.query_proj.weight": (256, 256)},
            None,
            "lisa_training",
            "keyseg_7b",
        ),
        ({**lisa(4096), GLUS: (1, 8)}, {"model_type": "llava", "hidden_size": 4096}, "lisa", "glus_a"),
        ({**trained(4096, rows=32004), GLUS: (1, 8)}, None, "lisa_training", "glus_a"),
    ],
)
def test_a_release_is_known_by_config_and_names(
    tmp_path: Path, names: dict[str, tuple[int, ...]], config: dict[str, Any] | None, layout: str, recipe: str
) -> None:
    found = identify(skeleton(tmp_path / "w", names, config))
    assert (found.layout, found.recipe) == (layout, recipe) and recipe.startswith(found.system)
    assert recipe in str(found) and f"{len(names)} tensors" in found.reason


def test_two_recipes_that_fit_are_an_error_with_both(tmp_path: Path) -> None:
    with pytest.raises(
        Ambiguous, match=r"fits 2 recipes; choose with --recipe one of: lisa_13b, lisa_llama2_13b"
    ):
        identify(skeleton(tmp_path / "w", lisa(5120)))


@pytest.mark.parametrize(
    "tokens, recipe",
    [
        ({"[SEG]": 32000, "<im_start>": 32001, "<im_end>": 32002}, "lisa_llama2_13b"),
        ({"<im_patch>": 32000, "<im_start>": 32001, "<im_end>": 32002, "[SEG]": 32003}, "lisa_13b"),
    ],
)
def test_the_added_tokens_tell_the_generation_where_the_config_does_not(
    tmp_path: Path, tokens: dict[str, int], recipe: str
) -> None:
    folder = skeleton(tmp_path / "w", lisa(5120))
    (folder / "added_tokens.json").write_text(json.dumps(tokens))
    assert identify(folder).recipe == recipe


def test_signs_that_contradict_each_other_are_not_weighed_but_asked_about(tmp_path: Path) -> None:
    folder = skeleton(tmp_path / "w", lisa(5120), {"rms_norm_eps": 1e-6})
    (folder / "added_tokens.json").write_text(json.dumps({"[SEG]": 32000}))
    with pytest.raises(Ambiguous, match="fits 2 recipes"):
        identify(folder)


def test_a_base_that_a_recipe_names_is_known_by_its_name_also_in_the_cache(tmp_path: Path) -> None:
    name = "models--liuhaotian--llava-llama-2-13b-chat-lightning-preview"
    folder = skeleton(tmp_path / name / "snapshots" / "0123", LLAVA, {"hidden_size": 4096})
    assert identify(folder).recipe == "lisa_llama2_13b"


def test_the_manifest_of_a_run_speaks_for_what_zero_to_fp32_writes_into_it(tmp_path: Path) -> None:
    folder = skeleton(tmp_path / "pytorch_model.bin", {"project.0.weight": (2, 2)})
    (tmp_path / "manifest.json").write_text(json.dumps({"recipe": "lisa_tiny", "system": "lisa"}))
    assert identify(folder).recipe == "lisa_tiny"


def test_a_size_that_no_recipe_has_lists_all(tmp_path: Path) -> None:
    with pytest.raises(
        Ambiguous,
        match=r"hidden size 32, rms_norm_eps 1e-06: fits no recipe; choose with --recipe one of: .*lisa_7b",
    ):
        identify(
            write_lisa_release(tmp_path / "w", canonical_tensors(tiny_model(), adapters=False), vision="")
        )


def test_a_plain_language_model_is_no_llava(tmp_path: Path) -> None:
    with pytest.raises(Ambiguous, match=r"a plain language model is no LLaVA: it has no mm_projector"):
        identify(skeleton(tmp_path / "w", {"model.embed_tokens.weight": (4, 4)}, {"model_type": "llama"}))


def test_the_manifest_comes_first(tmp_path: Path) -> None:
    folder = skeleton(tmp_path / "w", lisa(4096), {"hidden_size": 4096})
    (folder / "manifest.json").write_text(json.dumps({"recipe": "lisa_tiny"}))
    assert identify(folder).recipe == "lisa_tiny"
    assert "manifest" in choose_recipe(folder).reason


def test_a_manifest_of_a_recipe_that_is_gone_lists_those_that_are_there(tmp_path: Path) -> None:
    folder = skeleton(tmp_path / "w", lisa(4096))
    (folder / "manifest.json").write_text(json.dumps({"recipe": "lisa_99b"}))
    with pytest.raises(
        Ambiguous, match=r"made with recipe 'lisa_99b'.*choose with --recipe one of: .*lisa_7b"
    ):
        identify(folder)


def test_a_recipe_that_was_named_is_taken_without_looking(tmp_path: Path) -> None:
    assert choose_recipe(tmp_path / "nothing", name="lisa_13b").recipe.name == "lisa_13b"


def test_a_sam2_is_none_of_sam_under_any_of_its_names(tmp_path: Path) -> None:
    decoder = tiny_sam2()
    ours = {f"decoder.{name}": tensor for name, tensor in decoder.state_dict().items()}
    torch.save({"model": original_names(ours)}, tmp_path / "sam2.pt")
    torch.save(ours, tmp_path / "ours.pt")
    torch.save(make_modules(decoder.dims).state_dict(), tmp_path / "transformers.pt")
    for name in ("sam2", "ours", "transformers"):
        assert layout_of(tmp_path / f"{name}.pt") == "sam2"
    with pytest.raises(
        WeightsError, match="sam2.pt: a SAM2, not a language model; it belongs to --vision_pret"
    ):
        open_weights(str(tmp_path / "sam2.pt"))


def test_bases_and_training_files_are_told_apart(tmp_path: Path) -> None:
    tensors = canonical_tensors(tiny_model())
    assert layout_of(write_sam(tmp_path / "a" / "sam.pth", tensors)) == "sam"
    assert layout_of(write_clip(tmp_path / "clip", tensors)) == "clip"
    (tmp_path / "b").mkdir()
    torch.save(training_state(trainable_only(tensors)), tmp_path / "b" / "pytorch_model.bin")
    assert layout_of(tmp_path / "b" / "pytorch_model.bin") == "lisa_training"
    torch.save(trainable_only(tensors), tmp_path / "b" / "own.bin")
    assert layout_of(tmp_path / "b" / "own.bin") == "training"
