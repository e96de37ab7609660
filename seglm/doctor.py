"""Is this machine fit for a run? `python -m seglm.doctor` looks at versions, devices, disk and caches, and says what to do.

Nothing is loaded, written or fetched. Exit status 1 if a run would be started with packages that were never tried together, or
could not be started at all.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from seglm.utils.command import command
from seglm.utils.flags import Parser
from seglm.utils.folders import check_writable, nearest
from seglm.utils.ranges import place
from seglm.utils.versions import listed, outside, packages

BF16_SINCE = (8, 0)  # Ampere: older GPUs emulate bf16, at a hundredth of the speed
ROOMY = 50  # GB; a merged 7B model takes 14, a run's checkpoints a few more
EXTRAS = {
    "flash_attn": "faster attention on a GPU: pip install flash-attn --no-build-isolation",
    "bitsandbytes": '--load_in_8bit, --load_in_4bit: pip install -e ".[quant]"',
}


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns its exit status."""
    parser = Parser(prog="python -m seglm.doctor", description=__doc__)
    parser.add_argument("--log_base_dir", type=place, default=Path("./runs"), help="where runs are written")
    options = parser.parse_args(arguments)
    wrong = [*outside(), *unwritable(options.log_base_dir)]
    lines = [f"python    {sys.version.split()[0]} at {sys.executable}"]
    lines += [f"package   {package}{'' if package.fits else '  <- NOT TRIED'}" for package in packages()]
    lines += [f"extra     {line}" for line in extras()]
    lines += [f"device    {line}" for line in devices()]
    lines += [f"disk      {line}" for line in disk(options.log_base_dir)]
    lines += [f"weights   {line}" for line in caches()]
    lines += [f"wrong: {line}" for line in wrong] or [f"good: {len(listed())} packages in their ranges"]
    sys.stdout.write("\n".join(lines) + "\n")
    return int(bool(wrong))


def unwritable(runs: Path) -> Iterator[str]:
    """Why no run could be written there."""
    try:
        check_writable(runs, "--log_base_dir")
    except ValueError as error:
        yield str(error)


def extras() -> Iterator[str]:
    """What may be there and need not."""
    for name, use in EXTRAS.items():
        yield f"{name} is there" if find_spec(name) else f"{name} is absent ({use})"


def devices() -> Iterator[str]:
    """Each GPU with its memory and whether it computes in bf16; or the CPU."""
    import torch

    built = (
        f"torch is built for CUDA {torch.version.cuda}" if torch.version.cuda else "torch is built for CPUs"
    )
    if not torch.cuda.is_available():
        yield f"no GPU is used ({built}); a CPU takes engine.precision=fp32 or bf16"
    for number in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(number)
        line = f"cuda:{number} {about.name}, {about.total_memory / 2**30:.0f} GiB"
        yield line + advice((about.major, about.minor))


def advice(capability: tuple[int, int]) -> str:
    """Which precision a GPU of this compute capability takes."""
    if capability >= BF16_SINCE:
        return ", bf16"
    return f", compute capability {'.'.join(map(str, capability))}: it has no bf16 of its own; use --precision fp16 or fp32"


def disk(runs: Path) -> Iterator[str]:
    """Room where runs are written; nothing is made there."""
    free = shutil.disk_usage(nearest(runs)).free / 1e9
    few = f"; a 7B model may need {ROOMY}" if free < ROOMY else ""
    yield f"{free:.0f} GB free for {runs}{few}"


def caches() -> Iterator[str]:
    """Where weights are looked for, and whether the hub may be asked."""
    from huggingface_hub import constants

    root = os.environ.get("WEIGHTS_ROOT")
    yield f"looked for in ./checkpoints, ./pretrained{f', {root}' if root else ''} and {constants.HF_HUB_CACHE}"
    yield "the hub is not asked (HF_HUB_OFFLINE)" if constants.HF_HUB_OFFLINE else "then asked for at the hub"


if __name__ == "__main__":
    sys.exit(main())
