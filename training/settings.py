"""How a module is trained, and what DeepSpeed is told of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from seglm.training import optim

if TYPE_CHECKING:
    import torch
    from torch import nn


Precision = Literal["fp32", "bf16", "fp16"]
DECODER = "decoder."  # how the names of the mask decoder's weights begin
BUCKET = 500_000_000  # elements DeepSpeed reduces at once, its own default; never more than there are trained weights


@dataclass(frozen=True)
class Settings:
    """How a module is trained."""

    total_steps: int
    """optimizer steps of the whole run; the learning rate reaches its end there"""
    batch_size: int
    """images in a micro-batch"""
    accumulation: int = 1
    """micro-batches of one rank in an optimizer step"""
    zero: Literal[1, 2, 3] = 1
    precision: Precision = "fp32"
    loss_norm: Literal["global", "peer"] = "global"
    """`global`: sums over the counts of the whole optimizer step; `peer`: the mean of the micro-batches' means"""
    lr: float = 3e-4
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.0
    warmup_steps: int = 100
    clip: float = 1.0
    """largest gradient norm; 0 does not clip"""
    decoder_waits: float = 0.0
    """share of the run in which the trained weights below `DECODER` stay as they are"""

    @property
    def decoder_begins(self) -> int:
        """How many steps of the run the mask decoder waits."""
        return optim.first_step(self.decoder_waits, total=self.total_steps)

    def check(self, module: nn.Module, device: torch.device) -> None:
        """Raises ValueError for fp16 without a GPU and for a trained weight that is not float32."""
        import torch

        if self.precision == "fp16" and device.type == "cpu":
            raise ValueError("precision=fp16 needs a GPU; on a CPU use --precision fp32 (or bf16)")
        wrong = [
            f"{n} {p.dtype}"
            for n, p in module.named_parameters()
            if p.requires_grad and p.dtype != torch.float32
        ]
        if wrong:
            raise ValueError(
                f"trained weights must be float32 in every precision; these are not: {', '.join(wrong[:5])}"
            )

    def deepspeed(self, module: nn.Module) -> dict[str, Any]:
        """DeepSpeed's configuration for this module. There is no dtype block: see engine.py."""
        import torch

        trained = sum(p.numel() for p in module.parameters() if p.requires_grad)
        bucket = min(BUCKET, trained + trained % 2)  # DeepSpeed wants it even
        return {
            "train_micro_batch_size_per_gpu": self.batch_size,
            "gradient_accumulation_steps": self.accumulation,
            "gradient_clipping": self.clip,
            "communication_data_type": self.precision,
            "zero_optimization": {
                "stage": self.zero,
                "reduce_bucket_size": bucket,
                "allgather_bucket_size": bucket,
                "contiguous_gradients": True,
                "overlap_comm": self.zero != 1 and torch.cuda.is_available(),
            },
            "steps_per_print": None,
        }
