"""Makes cases of the complete goldens small enough to ship: `python -m tests.conformance.ship lisa/weights --goldens FOLDER`.

A tensor that a file under tests/goldens holds to the bit is borrowed from it, whatever its name there. What the original computed
is rounded to a sixth of the tolerance of the comparison. A file that packing makes much smaller is packed; `unxz` gives it back.
"""

from __future__ import annotations

import argparse
import json
import lzma
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from tests.conformance.goldens import BORROWED, PACKED, SHIPPED, borrowed, held

COMPARED = ("out.", "grad.")  # what a tolerance is said for; all else goes in and stays as it is
DROPPED_BITS = 8  # of float32's 23: a change of 2 ** -16 at most, of the 1e-4 by which a value may differ
WORTH_BORROWING = 1024  # bytes; a name in the list costs something, too
WORTH_PACKING = 0.95  # of its size, or the file stays as it is


def ship(case: str, goldens: Path) -> None:
    """Writes the files of one folder, `family/case`, below tests/goldens."""
    target = SHIPPED / case
    target.mkdir(parents=True, exist_ok=True)
    for file in sorted((goldens / case).iterdir()):
        if file.suffix != ".safetensors":
            shutil.copyfile(file, target / file.name)
            continue
        values = {name: _rounded(name, value) for name, value in load_file(file).items()}
        write(target / file.name, values)


def write(file: Path, values: Mapping[str, Tensor]) -> None:
    """One file of tensors, without those that another one holds and with those that others borrow from it."""
    lent = {name for own in _shipped() for name in borrowed(own, root=SHIPPED).get(file, {}).values()}
    elsewhere = {
        _content(value): (other, name)
        for other in _shipped()
        if other != file
        for name, value in held(other).items()
    }
    lenders: dict[str, list[str]] = {}
    own = dict(values)
    for name, value in values.items():
        lender, there = elsewhere.get(_content(value), (None, ""))
        if lender is None or name in lent or value.numel() * value.element_size() < WORTH_BORROWING:
            continue
        del own[name]
        entry = name if there == name else f"{name} = {there}"
        lenders.setdefault(lender.relative_to(SHIPPED).as_posix(), []).append(entry)
    notice, packed = file.with_suffix(BORROWED), file.with_name(file.name + PACKED)
    for old in (file, notice, packed):
        old.unlink(missing_ok=True)
    content = save({name: value.contiguous() for name, value in own.items()})
    small = lzma.compress(content, preset=9)
    if len(small) <= WORTH_PACKING * len(content):
        packed.write_bytes(small)
    else:
        file.write_bytes(content)
    if lenders:
        notice.write_text(json.dumps(lenders, indent=0, sort_keys=True) + "\n")


def _shipped() -> Iterator[Path]:
    """Every file of tensors that ships, as it is called when it is not packed."""
    for file in sorted(SHIPPED.rglob("*.safetensors*")):
        yield file.with_name(file.name.removesuffix(PACKED))


def _content(value: Tensor) -> tuple[str, tuple[int, ...], bytes]:
    raw = value.contiguous().flatten()
    return str(value.dtype), tuple(value.shape), raw.view(torch.uint8).numpy().tobytes() if len(raw) else b""


def _rounded(name: str, value: Tensor) -> Tensor:
    if not name.startswith(COMPARED) or value.dtype != torch.float32:
        return value
    half = 1 << (DROPPED_BITS - 1)
    rounded = ((value.contiguous().view(torch.int32) + half) & -(1 << DROPPED_BITS)).view(torch.float32)
    return torch.where(value.isfinite() & rounded.isfinite(), rounded, value)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="+", metavar="FAMILY/CASE")
    parser.add_argument("--goldens", type=Path, required=True, help="the complete goldens")
    given = parser.parse_args(arguments)
    for case in given.cases:
        ship(case, given.goldens)
        size = sum(file.stat().st_size for file in (SHIPPED / case).iterdir())
        print(f"{case}: {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
