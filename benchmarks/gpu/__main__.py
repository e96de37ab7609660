"""Everything that only a GPU can say, in one command that fits ten minutes on an H100 or H200.

    python -m benchmarks.gpu --out gpu_numbers [--minutes 8] [--parts training,syncs] [--size 7b] [--device cuda]

Writes results.md and results.json into --out after every row, so that a kill loses nothing, and results.png after every part.
Parts run in order of importance; what cannot run here is skipped and says why. Weights are random and made on the GPU; nothing is
downloaded and no data are read.
`--size tiny --device cpu` shows in a minute that all of it runs. Ends with 1 if a row says that something is wrong.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from benchmarks.gpu.machine import describe, missing
from seglm.utils.flags import Parser


def main(arguments: Sequence[str] | None = None) -> None:
    if absent := missing():
        sys.exit(
            f"error: {'; '.join(absent)}. Where there is a network: pip download --no-deps -d wheels NAME; here: "
            "pip install --no-index --no-deps --upgrade --find-links wheels NAME (docs/numbers.md)"
        )
    import torch

    from benchmarks.gpu.parts import PARTS
    from benchmarks.gpu.run import run
    from benchmarks.sizes import SIZES

    parser = Parser(
        prog="python -m benchmarks.gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--minutes", type=float, default=8.0, help="for everything (default 8)")
    parser.add_argument("--parts", default=",".join(PARTS), help="some of them, with commas; default: all")
    parser.add_argument("--size", choices=tuple(SIZES), default="7b")
    parser.add_argument("--device", choices=("cuda", "cpu"), help="default: cuda if there is one")
    options = parser.parse_args(arguments)
    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: PyTorch sees no GPU here; --size tiny --device cpu runs without one")
    names = options.parts.split(",")
    if wrong := [name for name in names if name not in PARTS]:
        parser.error(f"--parts: {', '.join(wrong)} is none of {', '.join(PARTS)}")
    warnings.filterwarnings("ignore", category=FutureWarning)
    record = run(
        [PARTS[name] for name in names],
        out=options.out,
        device=device,
        size=SIZES[options.size],
        seconds=60 * options.minutes,
        heading=describe(device) | {"size": options.size},
    )
    print(record.markdown())
    print(f"files: {options.out}/results.md results.json results.png", flush=True)
    if record.failed:
        sys.exit(f"error: something is wrong in {'; '.join(record.failed)}; see {options.out}")


if __name__ == "__main__":
    main()
