"""Whether memory ran out: PyTorch says it of a GPU by a type of its own, and of the host by a sentence."""

from __future__ import annotations


def ran_out(error: BaseException) -> bool:
    """Whether an error means that memory ran out, on a GPU or on the host."""
    import torch

    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)
