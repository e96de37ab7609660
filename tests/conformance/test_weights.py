"""Checkpoints of the originals are read strictly, and merged adapters are peft 0.4's own."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import save_file

from seglm.model.decoders.sam import SamDims
from seglm.model.merge import merged
from seglm.model.released.lisa import lisa_checkpoint, lisa_names
from seglm.model.released.sam import load_sam
from tests.conformance.goldens import ROOT, assert_close, cases, each, facts, tensors
from tests.conformance.lisa_golden import load

FAMILY = "lisa"


@each("case", cases(FAMILY, having="merged.safetensors"))
def test_merged_weights_are_the_originals(case: str) -> None:
    model = load(FAMILY, case, facts(FAMILY, case, "io.json")).model
    ours = merged(model, model.recipe.trainable.lora)
    wanted = lisa_names(tensors(FAMILY, case, "merged.safetensors"), source=case)
    assert wanted
    for name, value in wanted.items():
        assert_close(ours[name], value, name)
    assert not any(".lora_" in name for name in ours)


@each("family", [name for name in ("lisa",) if (ROOT / name / "weights" / "hf_config.json").is_file()])
def test_a_checkpoint_of_the_original_is_read_strictly_and_its_sizes_are_recognised(family: str) -> None:
    raw = tensors(family, "weights", "model.safetensors")
    sizes = facts(family, "weights", "model.json")["config"]
    found = lisa_checkpoint(raw, facts(family, "weights", "hf_config.json"), source=family)
    assert found.llm is not None and found.vision is not None and found.decoder is not None
    assert {key: found.llm[key] for key in found.llm} == {key: sizes["llama"][key] for key in found.llm}
    untold = {"num_attention_heads"}  # a config of LISA says nothing of CLIP, whose heads no shape tells
    assert all(found.vision[key] == value for key, value in sizes["clip"].items() if key not in untold)
    assert SamDims.of(found.decoder) == SamDims.of(
        {k: v for k, v in sizes["sam"].items() if k in found.decoder}
    )
    assert found.projector == "linear" and found.project == (
        sizes["llama"]["hidden_size"],
        sizes["lisa"]["out_dim"],
    )
    dropped = [name for name in raw if name.endswith(("inv_freq", "position_ids"))]
    assert len(found.tensors) == len(raw) - len(dropped)


@each("case", [path.name for path in (ROOT / "sam").glob("*") if path.name == "weights"])
def test_the_sizes_of_the_golden_sam_are_recognised(case: str, tmp_path: Path) -> None:
    save_file(tensors("sam", case, "model.safetensors"), tmp_path / "model.safetensors")
    found = load_sam(tmp_path / "model.safetensors").decoder
    assert found is not None
    sizes = facts("sam", case, "model.json")["config"]
    assert SamDims.of(found) == SamDims.of({key: value for key, value in sizes.items() if key in found})
