"""DeepSpeed round any module that gives `Output`: one call is one optimizer step, over all micro-batches and all ranks.

The module is an nn.Module with `forward(batch, counts) -> Output` and `counts(batch) -> dict[str, int]`. Trained weights are
float32 in every precision (the module's own autocast decides what it computes in), so DeepSpeed gets no dtype block and keeps no
second copy with other numbers. What `--precision` does here: gradients travel between ranks in its dtype, and fp16 scales losses.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, Protocol, cast

from seglm.training import optim, out_of_memory, zero3
from seglm.training.settings import DECODER, Settings
from seglm.utils import dist
from seglm.utils.answers import Output
from seglm.utils.memory import ran_out

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

PROBED = 64  # elements of each frozen weight that enter its fingerprint


class MicroBatch(Protocol):
    """What the engine asks of a micro-batch; `Batch` is one."""

    @property
    def keys(self) -> tuple[str, ...]: ...

    def to(self, device: object) -> Any: ...


@dataclass(frozen=True)
class Step:
    """What one optimizer step says. The tensors are this rank's part and stay on the device until somebody looks."""

    number: int
    """1 for the first step of a run"""
    numbers: Tensor
    """float32 [micro-batches, 1 + terms]: the loss, then each term's sum, of this rank; `Engine.read` adds up the ranks"""
    counts: dict[str, float]
    """what each term counted in the whole step, all ranks"""
    keys: tuple[tuple[str, ...], ...]
    """the samples of each of this rank's micro-batches"""
    lr: float
    """the rate this step used"""
    lr_decoder: float | None
    """that of a mask decoder that waits, or waited; None where all have the same"""
    stop: bool
    """whether any rank was asked to stop"""
    save: bool
    """whether any rank wants to save, which they do together"""


class Engine:
    """Trains a module in place. `close` it: DeepSpeed's threads must end before the process does."""

    def __init__(self, module: nn.Module, settings: Settings) -> None:
        """Moves the module to this process's device, into train mode, and hands it to DeepSpeed.

        Raises ValueError for fp16 without a GPU and for a trained weight that is not float32.
        """
        world = dist.start()
        settings.check(module, world.device)
        self.module, self.settings, self.device = module, settings, world.device
        self.trained = {name: tuple(p.shape) for name, p in module.named_parameters() if p.requires_grad}
        self.frozen = frozen_fingerprint(module)
        self.phase = "start"
        # A model is built and loaded in eval mode, in which neither dropout nor checkpointing acts.
        module.to(world.device).train()
        waits = settings.decoder_waits > 0
        self.waiting = {name for name in self.trained if waits and name.startswith(DECODER)}
        """of the trained weights, those that stay as they are in the first steps; also where there are none, because a run that
        goes on with more steps has to have the same groups"""
        self._decayed = [0.0, 0.0]
        named = list(module.named_parameters())
        optimizer = optim.adamw(
            [parameter for name, parameter in named if name not in self.waiting],
            lr=settings.lr,
            betas=settings.betas,
            weight_decay=settings.weight_decay,
            waiting=[parameter for name, parameter in named if name in self.waiting],
        )
        scheduler = optim.schedule(
            optimizer, total=settings.total_steps, warmup=settings.warmup_steps, begin=settings.decoder_begins
        )
        self.deepspeed = _initialize(module, optimizer, scheduler, settings.deepspeed(module))
        if settings.precision == "fp16":
            optim.scale_losses(self.deepspeed.optimizer)

    @property
    def num_trained(self) -> int:
        """Trained weights, those of all ranks under ZeRO-3."""
        return sum(map(prod, self.trained.values()))

    def follow_settings(self) -> None:
        """The optimizer does what this run's settings say, its next step included, where it was loaded with those of a save."""
        settings, scheduler = self.settings, self.deepspeed.lr_scheduler
        scheduler.base_lrs = [settings.lr] * len(scheduler.base_lrs)
        for group, rate in zip(self.deepspeed.optimizer.param_groups, scheduler.lr_lambdas, strict=True):
            group["lr"] = settings.lr * rate(scheduler.last_epoch)
            group["betas"], group["weight_decay"] = settings.betas, settings.weight_decay

    # ---- a step ------------------------------------------------------------------------------------------------------
    @property
    def steps(self) -> int:
        """Optimizer steps so far, those that an fp16 overflow skipped included."""
        return int(self.deepspeed.global_steps)

    def step(self, batches: Sequence[MicroBatch], *, stop: bool = False, save: bool = False) -> Step:
        """Forward and backward of each micro-batch, then one update.

        batches: as many as `accumulation`, all fetched beforehand: what they count is known before the first forward.
        stop, save: whether this rank wants to; the answer is in the result of every rank.
        Raises MemoryError with what could be turned down, and RuntimeError if DeepSpeed's steps are not ours.
        """
        import torch

        assert len(batches) == self.settings.accumulation, (
            f"{len(batches)} micro-batches for {self.settings.accumulation}"
        )
        self.phase = f"step {self.steps + 1}: counting"
        counts, (any_stop, any_save) = self._count(batches, (stop, save))
        lr, *later = rates = [float(group["lr"]) for group in self.deepspeed.optimizer.param_groups]
        numbers = []
        for index, batch in enumerate(batches):
            where = f"step {self.steps + 1}, micro-batch {index + 1} of {len(batches)}"
            try:
                numbers.append(self._train_on(batch, counts, where))
            except (torch.OutOfMemoryError, RuntimeError) as error:
                if not ran_out(error):
                    raise
                raise MemoryError(out_of_memory.message(self.phase, batch, self.device)) from error
        for waits, rate in enumerate(rates):
            self._decayed[waits] += rate * self.settings.weight_decay
        keys = tuple(batch.keys for batch in batches)
        lr_decoder = later[0] if later else None
        step = Step(self.steps, torch.stack(numbers), counts, keys, lr, lr_decoder, any_stop, any_save)
        self._account(step)
        return step

    def read(self, step: Step) -> dict[str, float]:
        """The step's loss and the mean of each term over all ranks; waits for the device. All ranks must call it."""
        loss, *sums = step.numbers.sum(0).tolist()
        totals = dist.all_sum([loss / len(step.numbers), *sums])
        means = {
            name: total / step.counts[name]
            for name, total in zip(step.counts, totals[1:])
            if step.counts[name]
        }
        return {"loss": totals[0] / dist.world().size, **means}

    def decayed(self, name: str) -> float:
        """The share of a trained weight that decay alone has taken off since this engine began; it needs no gradient for that."""
        return self._decayed[name in self.waiting]

    def grad_norm(self) -> float:
        """The gradient norm of the last step before clipping."""
        norm = self.deepspeed.get_global_grad_norm()
        return float("nan") if norm is None else float(norm)

    def _count(
        self, batches: Sequence[MicroBatch], wishes: Sequence[bool]
    ) -> tuple[dict[str, float], list[bool]]:
        """(counts of the whole step, what any rank wishes): the one message before the first forward."""
        count = cast(Any, self.module).counts
        own = [count(batch) for batch in batches]
        names = list(own[0])
        sums = dist.all_sum([*(sum(one[name] for one in own) for name in names), *map(float, wishes)])
        return dict(zip(names, sums)), [total > 0 for total in sums[len(names) :]]

    def _train_on(self, batch: MicroBatch, counts: Mapping[str, float], where: str) -> Tensor:
        """Forward and backward of one micro-batch; float32 [1 + terms], detached."""
        import torch

        self.phase = f"{where}: forward of {', '.join(batch.keys)}"
        # DeepSpeed takes the mean over ranks and micro-batches; dividing the counts by their number undoes it.
        shares = dist.world().size * self.settings.accumulation
        divisors = (
            {name: count / shares for name, count in counts.items()}
            if self.settings.loss_norm == "global"
            else None
        )
        loss, output = self._forward(batch.to(self.device), divisors)
        self.phase = f"{where}: backward of {', '.join(batch.keys)}"
        self.deepspeed.backward(loss)
        self.phase = f"{where}: update"
        self.deepspeed.step()
        return torch.stack(
            [loss.detach().float(), *(output.parts[name].sum.detach().float() for name in counts)]
        )

    def _forward(self, batch: Any, divisors: Mapping[str, float] | None) -> tuple[Tensor, Output]:
        # DeepSpeed looks for tensors among tuples only, so for this call the loss stands in one, before its own hooks run.
        from torch import Tensor

        handle = self.module.register_forward_hook(_loss_first, prepend=True)
        try:
            return cast(tuple[Tensor, Output], self.deepspeed(batch, divisors))
        finally:
            handle.remove()

    def _account(self, step: Step) -> None:
        """The optimizer's own count against ours; a step that was dropped is found in the step it happens."""
        engine = self.deepspeed
        if engine.skipped_steps and self.settings.precision != "fp16":
            raise FloatingPointError(not_finite(step, "gradient"))
        planned = engine.global_steps - engine.skipped_steps
        states = engine.basic_optimizer.state.values()
        done = max((int(state["step"]) for state in states if "step" in state), default=0)
        if engine.global_steps in (1, 10) or engine.global_steps % 100 == 0:
            assert done == planned, f"the optimizer was called {done} times, planned were {planned}"

    # ---- weights -----------------------------------------------------------------------------------------------------
    @contextmanager
    def whole(self) -> Iterator[nn.Module]:
        """The module with all its weights in place, in eval mode, for validation; under ZeRO-3 they are gathered and its hooks
        removed, so that ranks may run it a different number of times.
        """
        was_training = self.module.training
        self.module.eval()
        try:
            if self.settings.zero < 3:
                yield self.module
            else:
                with zero3.whole_module(self.deepspeed):
                    yield self.module
        finally:
            self.module.train(was_training)

    def weights(self) -> dict[str, Tensor]:
        """The trained weights by parameter name, float32 on the host; on ranks other than 0 the dict is empty. All ranks call."""
        found: dict[str, Tensor] = {}
        for name, parameter in self.module.named_parameters():
            if name in self.trained:
                with zero3.whole_weight(parameter):
                    if dist.world().is_main:
                        found[name] = parameter.detach().to("cpu", copy=True)
        return found

    def shards(self) -> dict[str, Tensor]:
        """What this rank holds of each trained weight, without copying: all of it, or under ZeRO-3 its share, flat."""
        named = self.module.named_parameters()
        return {name: getattr(p, "ds_tensor", p).detach() for name, p in named if name in self.trained}

    def close(self) -> None:
        self.deepspeed.destroy()


def not_finite(step: Step, what: str) -> str:
    """Whose samples it was: micro-batches whose loss is not finite, else all of the step. All ranks call and get the same."""
    own = list(zip(step.numbers[:, 0].isfinite().tolist(), step.keys, strict=True))
    micro = [
        (fine, f"rank {rank}: {', '.join(keys)}")
        for rank, part in enumerate(dist.gather(own))
        for fine, keys in part
    ]
    named = [said for fine, said in micro if not fine] or [said for _, said in micro]
    return (
        f"step {step.number}: the {what} is not finite; samples of its micro-batches: {' | '.join(named)}. Look at them "
        "(python -m seglm.dataset.check), lower optim.lr, or train in fp32"
    )


def frozen_fingerprint(module: nn.Module) -> str:
    """A hash over names, shapes, dtypes and some values of all frozen weights.

    Taken before DeepSpeed has the module: under ZeRO-3 a rank then holds a share of each weight."""
    digest = hashlib.sha256()
    for name, parameter in sorted(module.named_parameters()):
        if parameter.requires_grad:
            continue
        flat = parameter.detach().flatten()
        probe = flat[:: max(1, flat.numel() // PROBED)][:PROBED].double().cpu()
        digest.update(f"{name} {tuple(parameter.shape)} {parameter.dtype}".encode())
        digest.update(probe.numpy().tobytes())
    return digest.hexdigest()[:16]


def _loss_first(module: nn.Module, args: object, output: Output) -> tuple[Tensor, Output]:
    return output.loss, output


# ---- DeepSpeed -------------------------------------------------------------------------------------------------------
def _initialize(
    module: nn.Module, optimizer: Optimizer, scheduler: LRScheduler, config: dict[str, Any]
) -> Any:
    import logging
    import warnings

    import deepspeed

    # Once a step, about names that DeepSpeed uses and nobody here can change.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\.distributed")
    # A CPU collective that is compiled with g++ at first use, minutes long, for nothing that gloo does not do.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    engine, *_ = deepspeed.initialize(
        model=module,
        model_parameters=[p for p in module.parameters() if p.requires_grad],
        optimizer=optimizer,
        lr_scheduler=scheduler,
        config=config,
        dist_init_required=False,
    )
    return engine
