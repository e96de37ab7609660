"""Where the originals' tensors lie and how they are read: $SEGLM_GOLDENS, else the few that ship under tests/goldens."""

from __future__ import annotations

import json
import lzma
import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, load_file
from torch import Tensor

SHIPPED = Path(__file__).parents[1] / "goldens"
ROOT = Path(os.environ.get("SEGLM_GOLDENS") or SHIPPED)
INT8_SCALE = 32  # images are stored as int8 with value = int8 / 32, exactly
BORROWED = ".borrowed.json"  # beside a file: {file that lends: its tensors that belong into this one, too}
PACKED = ".xz"  # after the name of a file that ships packed
ABSOLUTE, RELATIVE = 1e-4, 1e-4
LOSS_RELATIVE = 1e-5
GRADIENT_RELATIVE = 1e-3


def cases(family: str, *, having: str = "io.safetensors") -> list[str]:
    """Names of the family's cases, read from the folder; empty if the family is not there."""
    return sorted({path.parent.name for path in (ROOT / family).glob(f"*/{having}*")})


def each(names: str, values: Iterable[Any]) -> pytest.MarkDecorator:
    """`pytest.mark.parametrize` over what the goldens hold.

    Those that ship hold something for every test, or pytest ends with an error; of somebody's own, a test that they have nothing
    for is skipped and says so.
    """
    found = list(values)
    if not found and ROOT != SHIPPED:
        nothing = pytest.mark.skip(reason=f"{ROOT} holds nothing for this test")
        found = [pytest.param(*[None] * len(names.split(",")), marks=nothing, id="none")]
    return pytest.mark.parametrize(names, found)


def tensors(*parts: str) -> dict[str, Tensor]:
    """One safetensors file; images come back as float32, float16 as float32 (exact)."""
    return {name: _widen(value) for name, value in read(ROOT.joinpath(*parts)).items()}


def facts(*parts: str) -> dict[str, Any]:
    """One JSON file beside the tensors."""
    result: dict[str, Any] = json.loads(ROOT.joinpath(*parts).read_text())
    return result


def weights_of(family: str, case: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The weights a case names, with the sizes in the JSON beside them."""
    relative = facts(family, case, "io.json").get("weights", "../weights/model.safetensors").split()[0]
    folder = (ROOT / family / case / relative).resolve().parent
    sizes: dict[str, Any] = json.loads((folder / "model.json").read_text())["config"]
    return {name: _widen(value) for name, value in read(folder / "model.safetensors").items()}, sizes


def constants_of(family: str, case: str) -> dict[str, Any]:
    """What the JSON beside a case's weights says of the family's own constants; empty if nothing."""
    relative = facts(family, case, "io.json").get("weights", "../weights/model.safetensors").split()[0]
    content = json.loads((ROOT / family / case / relative).with_suffix(".json").resolve().read_text())
    found: dict[str, Any] = content.get(family, {})
    return found


def assert_close(got: Tensor, want: Tensor, name: str, *, rtol: float = RELATIVE) -> None:
    """Equal to the tolerance of the goldens' README."""
    assert got.shape == want.shape, f"{name}: shape {tuple(got.shape)}, the original has {tuple(want.shape)}"
    torch.testing.assert_close(
        got.float(), want.float(), atol=ABSOLUTE, rtol=rtol, msg=lambda m: f"{name}: {m}"
    )


def read(file: Path, *, root: Path = ROOT) -> dict[str, Tensor]:
    """All tensors of one file as they are stored, those that it borrows from other files below `root` with them."""
    values = held(file)
    for lender, entries in borrowed(file, root=root).items():
        theirs = held(lender)
        values |= {name: theirs[there] for name, there in entries.items()}
    return values


def held(file: Path) -> dict[str, Tensor]:
    """The tensors that a file holds itself, packed or not."""
    packed = file.with_name(file.name + PACKED)
    return load(_unpacked(packed)) if packed.is_file() else load_file(file)


def borrowed(file: Path, *, root: Path = ROOT) -> dict[Path, dict[str, str]]:
    """Whose tensors belong into a file, too: {file that lends, below `root`: {name here: name there}}.

    Those that ship may leave out what another file holds to the bit. A name is followed by `= name there` where the two differ.
    """
    notice = file.with_suffix(BORROWED)
    lent = json.loads(notice.read_text()) if notice.is_file() else {}
    found: dict[Path, dict[str, str]] = {}
    for lender, entries in lent.items():
        pairs = (entry.partition(" = ") for entry in entries)
        found[root / lender] = {name: there or name for name, _, there in pairs}
    return found


@cache
def _unpacked(file: Path) -> bytes:
    return lzma.decompress(file.read_bytes())


def _widen(value: Tensor) -> Tensor:
    if value.dtype == torch.int8:
        return value.float() / INT8_SCALE
    return value.float() if value.dtype == torch.float16 else value
