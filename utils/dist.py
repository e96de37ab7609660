"""The processes of a run: who am I, and the few things that all of us have to agree on.

Works the same under the deepspeed launcher, torchrun, or plain `python` (one process), on GPUs (nccl) and on CPUs (gloo). What
is exchanged here are numbers of the host; they go through gloo even on GPUs, so that nothing waits for a kernel.
Side effects (files, messages) belong to the main process, rank 0 of all machines, never to "local rank 0".
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn


TIMEOUT = timedelta(
    minutes=60
)  # a validation may take longer on one rank than on another; the watchdog speaks much earlier


def _cpu() -> torch.device:
    import torch

    return torch.device("cpu")


@dataclass(frozen=True)
class World:
    """This process among all processes of the run."""

    rank: int = 0
    """0 .. size - 1, over all machines"""
    size: int = 1
    local_rank: int = 0
    """position on this machine; picks the GPU and nothing else"""
    device: torch.device = field(default_factory=_cpu)

    @property
    def is_main(self) -> bool:
        return self.rank == 0


_world: World | None = None  # a World holds a device of PyTorch's, which is loaded only by who needs one
_added: tuple[str, ...] = ()  # variables that `start` set and `stop` takes back
_host_group: Any = None  # a gloo group where the default one is nccl; None means the default group


def start() -> World:
    """Joins the other processes; alone, if no launcher said otherwise. A second call returns the same world.

    Raises RuntimeError if the launcher's variables are incomplete or a GPU is missing for this local rank.
    """
    import torch
    import torch.distributed as torch_dist

    global _world, _host_group, _added
    if torch_dist.is_initialized():
        return world()
    _added = _complete_environment()
    local_rank = int(os.environ["LOCAL_RANK"])
    on_gpu = torch.cuda.is_available()
    if on_gpu and local_rank >= torch.cuda.device_count():
        raise RuntimeError(
            f"local rank {local_rank} has no GPU: this machine has {torch.cuda.device_count()}; start fewer processes (NGPU=...)"
        )
    device = torch.device("cuda", local_rank) if on_gpu else torch.device("cpu")
    if on_gpu:
        torch.cuda.set_device(device)
    torch_dist.init_process_group("nccl" if on_gpu else "gloo", timeout=TIMEOUT)
    _host_group = torch_dist.new_group(backend="gloo", timeout=TIMEOUT) if on_gpu else None
    _world = World(torch_dist.get_rank(), torch_dist.get_world_size(), local_rank, device)
    return _world


def stop() -> None:
    """Leaves the other processes. Without it about one exit in ten aborts after the work is done (gloo's threads)."""
    global _world, _host_group, _added
    # Who has not loaded it has joined nobody, and a command that only prints its flags does not load it now.
    torch_dist = sys.modules.get("torch.distributed")
    if torch_dist is not None and torch_dist.is_initialized():
        torch_dist.destroy_process_group()
    for name in _added:
        os.environ.pop(name, None)
    _world, _host_group, _added = None, None, ()


def world() -> World:
    """This process; the only one as long as `start` was not called."""
    return _world or World()


def barrier() -> None:
    """Waits until every process is here."""
    import torch.distributed as torch_dist

    if torch_dist.is_initialized():
        torch_dist.barrier(group=_host_group)


def all_sum(values: Sequence[float]) -> list[float]:
    """Adds up, position by position, what every process gives; float64, on the host."""
    if _world is None or _world.size == 1:
        return [float(value) for value in values]
    import torch
    import torch.distributed as torch_dist

    total = torch.tensor(values, dtype=torch.float64)
    torch_dist.all_reduce(total, group=_host_group)
    return [float(value) for value in total.tolist()]


def gather(value: Any) -> list[Any]:
    """What every process gives, by rank; any picklable thing."""
    if _world is None or _world.size == 1:
        return [value]
    import torch.distributed as torch_dist

    values: list[Any] = [None] * _world.size
    torch_dist.all_gather_object(values, value, group=_host_group)
    return values


def from_main(value: Any) -> Any:
    """What the main process gives, on every process."""
    if _world is None or _world.size == 1:
        return value
    import torch.distributed as torch_dist

    box = [value]
    torch_dist.broadcast_object_list(box, src=0, group=_host_group)
    return box[0]


def refuse(problem: Callable[[], str | None]) -> None:
    """ValueError on every process if the main one sees a problem; the others do not look."""
    if said := from_main(problem() if world().is_main else None):
        raise ValueError(said)


def _complete_environment() -> tuple[str, ...]:
    """Makes plain `python` look like a launcher with one process; the names of the variables it added."""
    known = [name for name in ("RANK", "WORLD_SIZE") if name in os.environ]
    if len(known) == 1:
        raise RuntimeError(
            f"{known[0]} is set but its partner is not (RANK, WORLD_SIZE); start with deepspeed or torchrun, or unset it"
        )
    for name, least in (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0)):
        if name in os.environ and not (os.environ[name].isdecimal() and int(os.environ[name]) >= least):
            raise RuntimeError(
                f"{name}={os.environ[name]}: it has to be a number from {least}; start with deepspeed or torchrun, or unset it"
            )
    alone = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": _free_port()}
    added = {"LOCAL_RANK": "0", **({} if known else alone)}
    added = {name: value for name, value in added.items() if not known or name not in os.environ}
    os.environ.update(added)
    return tuple(added)


def _free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def is_sharded(module: nn.Module) -> bool:
    """True under ZeRO-3, where every rank has to run every module equally often because weights are gathered on use."""
    return any(hasattr(parameter, "ds_id") for parameter in module.parameters())
