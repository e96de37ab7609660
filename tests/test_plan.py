"""`python -m seglm.plan` counts what a run then keeps."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from seglm import plan
from seglm.model.recipes import recipe
from seglm.training import optim
from tests.house.tree import ROOT
from tests.tiny import tiny_model


def test_what_is_counted_is_what_a_step_keeps() -> None:
    model = tiny_model().train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.grad = torch.zeros_like(parameter)
    optimizer = optim.adamw(trained, lr=1e-3, betas=(0.9, 0.95), weight_decay=0.0)
    optimizer.step()
    moments = [value for state in optimizer.state.values() for value in state.values() if value.dim()]
    kept = [*model.parameters(), *model.buffers(), *(p.grad for p in trained if p.grad is not None), *moments]
    assert plan.needs(model).total == sum(tensor.nbytes for tensor in kept)


@pytest.mark.parametrize(
    ("zero", "shared"),
    [(1, ("optimizer",)), (2, ("optimizer", "gradients")), (3, ("optimizer", "gradients", "trained"))],
)
def test_a_stage_of_zero_shares_out_what_it_says(zero: int, shared: tuple[str, ...]) -> None:
    model = tiny_model()
    alone, together = plan.needs(model), plan.needs(model, gpus=4, zero=zero)
    for part in ("optimizer", "gradients", "trained"):
        wanted = -(-getattr(alone, part) // 4) if part in shared else getattr(alone, part)
        assert getattr(together, part) == wanted, part


def test_the_command_loads_nothing_and_names_a_card(capsys: pytest.CaptureFixture[str]) -> None:
    empty = plan.empty_model(recipe("lisa_tiny"))
    assert all(parameter.device.type == "meta" for parameter in empty.parameters())
    assert plan.main(["--recipe", "lisa_tiny", "--gpus", "2", "--zero", "2"]) == 0
    said = capsys.readouterr().out
    assert "lisa_tiny, fp32, 2 GPUs, ZeRO-2" in said and "a card of 12 GiB leaves" in said


def test_without_weights_the_page_with_the_published_sizes_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        SystemExit, match=r"(?s)^error: .*curl -LO .*docs/checkpoints\.md has the numbers"
    ) as ended:
        plan.main(["--recipe", "lisa_7b", "--gpus", "8"])
    assert "hf download liuhaotian/LLaVA-Lightning-7B-v1-1" in str(ended.value)
    assert "lisa_7b" in (ROOT / "docs/checkpoints.md").read_text(encoding="utf-8")
