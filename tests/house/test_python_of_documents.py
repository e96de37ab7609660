"""The Python that docs/python.md prints, block after block in one session, as a reader types it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import seglm.hf
import seglm.model.speak
from seglm.model.generate import generate
from tests.house.tree import ROOT

BLOCKS = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "python.md").read_text("utf-8"), re.M | re.S)


def test_the_python_of_the_page_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a merged folder that ships in place of the trained one, and answers of a few words."""
    (tmp_path / "imgs").symlink_to(ROOT / "imgs")
    (tmp_path / "runs" / "lisa_tiny").mkdir(parents=True)
    (tmp_path / "runs" / "lisa_tiny" / "merged").symlink_to(
        ROOT / "tests" / "goldens" / "49f5cfb" / "merged_lisa"
    )
    monkeypatch.chdir(tmp_path)

    def short(*batch: Any, max_new_tokens: int) -> Any:
        return generate(*batch, max_new_tokens=min(max_new_tokens, 4))

    monkeypatch.setattr(seglm.model.speak, "generate", short)
    kept: dict[str, Any] = {}
    for block in BLOCKS:
        exec(block, kept)
    assert kept["answer"].masks.shape[1:] == kept["picture"].shape[:2]
    assert kept["film"].masks.shape[1:] == kept["clip"].shape[:3]
    assert len(kept["next_one"].history) == 2
    assert (tmp_path / "answers_too" / "answers.json").is_file()
    assert isinstance(kept["model"], seglm.hf.SegLMModel)
