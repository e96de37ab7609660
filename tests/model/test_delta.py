"""LLaVA's delta weights become full ones by our command, whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from seglm.model.released.delta import main
from seglm.model.released.llava import load_llava
from tests.model.layouts import canonical_tensors, lisa_state, write_llava
from tests.tiny import tiny_model


def pair(root: Path, **changes: torch.Tensor) -> tuple[Path, Path, dict[str, torch.Tensor]]:
    """A LLaMA without the last three tokens, the delta of a LLaVA to it, and that LLaVA."""
    full = canonical_tensors(tiny_model(), adapters=False)
    llm = {name: tensor for name, tensor in full.items() if name.startswith("llm.")}
    generator = torch.Generator().manual_seed(1)
    base = {name: t - 1e-3 * torch.randn(t.shape, generator=generator) for name, t in llm.items()}
    for name in ("llm.embed_tokens.weight", "llm.lm_head.weight"):
        base[name] = base[name][:-3]
    delta = {
        n: t - torch.cat([base[n], torch.zeros(len(t) - len(base[n]), *t.shape[1:])]) for n, t in llm.items()
    }
    delta |= {name: tensor for name, tensor in full.items() if name.startswith("projector.")}
    (root / "llama").mkdir()
    torch.save(lisa_state(base) | changes, root / "llama" / "pytorch_model.bin")
    folder = write_llava(
        root / "LLaVA-Lightning-7B-delta-v1-1", delta, rows=563, _name_or_path="LLaVA-delta", vocab_size=563
    )
    return root / "llama", folder, full


def command(base: Path, delta: Path, target: Path) -> None:
    main(["--base", str(base), "--delta", str(delta), "--target", str(target)])


def test_base_and_delta_give_the_full_model_that_then_loads(tmp_path: Path) -> None:
    base, delta, full = pair(tmp_path)
    command(base, delta, tmp_path / "LLaVA-7B")
    found = load_llava(tmp_path / "LLaVA-7B")
    for name in found.tensors:
        torch.testing.assert_close(found.tensors[name], full[name], atol=1e-6, rtol=1e-6)
    assert found.tokenizer == str(tmp_path / "LLaVA-7B")


def test_a_target_that_exists_is_left_alone(tmp_path: Path) -> None:
    base, delta, _ = pair(tmp_path)
    (tmp_path / "out").mkdir()
    with pytest.raises(SystemExit, match="exists already; give a new folder as --target"):
        command(base, delta, tmp_path / "out")


def test_a_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("seglm.model.released.delta.write_shards", full_disk)
    base, delta, _ = pair(tmp_path)
    with pytest.raises(SystemExit, match="error: No space left"):
        command(base, delta, tmp_path / "out")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["LLaVA-Lightning-7B-delta-v1-1", "llama"]


@pytest.mark.parametrize(
    "extra, said",
    [
        (
            {"model.layers.9.mlp.up_proj.weight": torch.ones(1)},
            r"lacks 1 tensors of the base:\n  model\.layers\.9",
        ),
        (
            {"model.norm.weight": torch.ones(48)},
            r"model\.norm\.weight: \(48,\) in the base, \(32,\) in the delta",
        ),
    ],
)
def test_a_base_of_another_size_is_refused_by_name(
    tmp_path: Path, extra: dict[str, torch.Tensor], said: str
) -> None:
    base, delta, _ = pair(tmp_path, **extra)
    with pytest.raises(SystemExit, match=said):
        command(base, delta, tmp_path / "out")


def test_what_is_not_llama_is_no_base(tmp_path: Path) -> None:
    _, delta, _ = pair(tmp_path)
    with pytest.raises(SystemExit, match=r"the base has \d+ tensors that LLaMA has not:\n  .*mm_projector"):
        command(delta, delta, tmp_path / "out")
    assert not (tmp_path / "out").exists()
