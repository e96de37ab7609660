"""What the parts of a run share: the device, the size, how much time is left, and one model for all of them."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import torch

from benchmarks.gpu.machine import GIBI, Clock, installed
from benchmarks.gpu.record import Row
from benchmarks.sizes import LISA_7B, Size, examples_of, recipe_of, segmenter
from seglm.model.segmenter import Segmenter
from seglm.utils.types import Example

T = TypeVar("T")
MATRIX, COPY = {"cuda": 8192, "cpu": 512}, {"cuda": 2**30, "cpu": 2**20}
DROPOUT = 0.05  # of the adapters, as in LISA's recipe: it is part of what a step costs
NEEDED_GIB = 40  # the model of 7B with what is trained takes 21 and a step more


@dataclass(frozen=True)
class Part:
    """One thing that is measured."""

    name: str
    about: str
    """what its table says above the numbers"""
    rows: Callable[[Bench], Generator[Row, None, None]]
    """yields a row as soon as it is known; may be left unfinished"""
    seconds: float
    """how long it may take; no row is begun after that"""
    drawn: str
    """the column that the picture shows; empty for none"""
    obstacle: Callable[[Bench], str] = lambda bench: ""
    """why it cannot run here, or nothing"""


class Bench:
    def __init__(self, *, device: str, size: Size, seconds: float, errors: Path) -> None:
        """seconds: for everything; errors: the file that tracebacks are added to."""
        self.device, self.size, self.errors = device, size, errors
        self.clock = Clock(device)
        self._ends = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds."""
        return self._ends - time.monotonic()

    @cached_property
    def model(self) -> Segmenter:
        """LISA at the run's size, bf16, random weights made on the device."""
        return segmenter(
            self.size, recipe_of(self.size, precision="bf16", dropout=DROPOUT), device=self.device
        )

    @cached_property
    def examples(self) -> list[Example]:
        return examples_of(self.size)

    @cached_property
    def ceiling(self) -> float:
        """FLOP/s of a large matrix product in the precision of a step: what MFU is a share of."""
        side = MATRIX[self.device]
        left, right = (torch.randn(side, side, device=self.device, dtype=torch.bfloat16) for _ in range(2))
        return 2 * side**3 / self.clock.seconds(lambda: left @ right, repeats=10, warm_up=3)

    @cached_property
    def bandwidth(self) -> float:
        """Bytes a second, read and written, of a large copy on the device."""
        source = torch.empty(COPY[self.device], dtype=torch.bfloat16, device=self.device).normal_()
        target = torch.empty_like(source)
        seconds = self.clock.seconds(lambda: target.copy_(source), repeats=5, warm_up=2)
        return 2 * source.numel() * source.element_size() / seconds

    def attempt(self, name: str, measure: Callable[[], T]) -> T | Row:
        """What `measure` gives, or a row that says what went wrong; the traceback goes to a file, and the run goes on.

        Too little memory or time is nothing wrong.
        """
        try:
            return measure()
        except Exception as error:  # noqa: BLE001  a kernel that breaks must not cost the rest of the half hour
            with self.errors.open("a", encoding="utf-8") as file:
                file.write(f"== {name}\n{traceback.format_exc()}\n")
            said = str(error).strip().splitlines() or [""]
            wrong = not isinstance(error, (MemoryError, TimeoutError, torch.OutOfMemoryError))
            return Row(name, {"error": f"{type(error).__name__}: {said[0][:120]}"}, failed=wrong)
        finally:
            self.clock.forget()


def largest(sizes: Sequence[int], run: Callable[[int], T]) -> tuple[int, T]:
    """(the first of `sizes` for which memory is enough, what `run` gives for it). Raises MemoryError if it never is."""
    for size in sizes:
        try:
            return size, run(size)
        except torch.OutOfMemoryError:
            tried = size
        # Here the exception, and with it every tensor of its frames, is gone.
        Clock("cuda" if torch.cuda.is_available() else "cpu").forget()
    raise MemoryError(f"not even {tried} at a time fits into the GPU's memory")


def no_attention(name: str, device: str) -> str:
    """Why the attention of transformers' name cannot be trained with here, or nothing."""
    if name == "flex_attention" and device == "cpu":
        return "FlexAttention has no backward pass on a CPU"
    if name == "flash_attention_2" and device == "cpu":
        return "flash-attn needs a GPU"
    return (
        "flash-attn is not installed" if name == "flash_attention_2" and not installed("flash-attn") else ""
    )


def needs_model(bench: Bench) -> str:
    """Why the model of this size cannot be built here, or nothing."""
    if bench.size is not LISA_7B:
        return ""
    if bench.device != "cuda":
        return "the size 7b needs a GPU; --size tiny runs on a CPU"
    total = torch.cuda.get_device_properties(0).total_memory / GIBI
    return f"needs {NEEDED_GIB} GiB of GPU memory, and there are {total:.0f}" if total < NEEDED_GIB else ""


def ceilings(bench: Bench) -> Generator[Row, None, None]:
    """What the chip does at best; MFU is measured against the first."""
    side = MATRIX[bench.device]
    yield Row(f"bf16 matrix product, {side} cubed", {"TFLOP/s": bench.ceiling / 1e12})
    yield Row("copy on the device", {"TB/s": bench.bandwidth / 1e12})
