"""Device, precision, processes: the only file that knows them.

`torchrun --nproc-per-node N -m trainability train …` starts N of these; without it there is one, and every collective here
is the identity.
"""

from __future__ import annotations

import contextlib
import gc
import os
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from trainability.config import RunSettings


@dataclass(frozen=True, kw_only=True)
class Engine:
    """Where this process computes, and with whom.

    Attributes:
        device: of this process.
        precision: "fp32", or "bf16" for autocast.
        rank: of this process among all.
        world_size: number of processes.
        parallel: "ddp" or "sharded".
        compile: whether networks are compiled.
    """

    device: torch.device
    precision: str = "fp32"
    rank: int = 0
    world_size: int = 1
    parallel: str = "ddp"
    compile: bool = False

    @property
    def is_main(self) -> bool:
        """Whether this process is the one that prints and writes."""
        return self.rank == 0

    @property
    def is_sharded(self) -> bool:
        """Whether every process holds only a share of the network."""
        return self.parallel == "sharded" and self.world_size > 1

    def prepare(self, model: nn.Module) -> nn.Module:
        """Move a model to the device and make it one network over all processes.

        Args:
            model: changed in place; it keeps the parameters, under their own names.

        Returns:
            What the loop calls: the model itself, compiled or wrapped.
        """
        model.to(self.device)
        if self.is_sharded:
            # It warns of layers that return views, lest they be changed in place; ours are not (see vgg.VGG).
            warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor", category=UserWarning)
            # Shares must be contiguous, so the weights keep torch's layout; the images' layout decides the kernel all the same.
            for module in list(model.modules()):
                if isinstance(module, (nn.Conv2d, nn.Linear)):
                    fully_shard(module)
            fully_shard(model)
            network = model
        else:
            for module in model.modules():
                # The layout that CPU and GPU kernels work in; fully-connected layers are matrix products and stay as they are.
                if type(module) is nn.Conv2d:
                    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            network = model
            if self.world_size > 1:
                network = DistributedDataParallel(model, gradient_as_bucket_view=True)
        if self.compile:
            network.compile()
        return network

    def autocast(self) -> AbstractContextManager[Any]:
        """Enter the precision of the run for a forward pass."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def accumulating(self, network: nn.Module, *, is_last: bool) -> AbstractContextManager[Any]:
        """Hold back communication until the last micro-batch of a step, so that a step communicates once."""
        if isinstance(network, FSDPModule):
            network.set_requires_gradient_sync(is_last)
        elif isinstance(network, DistributedDataParallel) and not is_last:
            return network.no_sync()
        return contextlib.nullcontext()

    def total(self, values: Tensor) -> Tensor:
        """Add a tensor up over all processes, in place."""
        if self.world_size > 1:
            dist.all_reduce(values)
        return values

    def any(self, flag: bool) -> bool:
        """Say whether a flag is up in any process."""
        return flag if self.world_size == 1 else bool(self.total(torch.tensor([float(flag)], device=self.device)).item())

    def gathered(self, value: Any) -> list[Any]:
        """Collect a small picklable value from every process."""
        if self.world_size == 1:
            return [value]
        values: list[Any] = [None] * self.world_size
        dist.all_gather_object(values, value)
        return values

    def barrier(self) -> None:
        """Wait for all processes."""
        if self.world_size > 1:
            dist.barrier()


def full_tensor(values: Tensor) -> Tensor:
    """Return a tensor with all its shares; all processes of a sharded network must call."""
    return values.full_tensor() if isinstance(values, DTensor) else values


def local_tensor(values: Tensor) -> Tensor:
    """Return this process's share of a tensor; the tensor itself where it is not sharded."""
    return values.to_local() if isinstance(values, DTensor) else values


@contextlib.contextmanager
def start(settings: RunSettings) -> Iterator[Engine]:
    """Take the device, join the other processes of `torchrun`, and leave them again at the end.

    Raises:
        ValueError: a GPU is asked for and there is none.
    """
    world_size, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    has_gpu = torch.cuda.is_available()
    if settings.device == "cuda" and not has_gpu:
        raise ValueError("run.device is cuda, but torch sees no GPU here; accepted: cpu, auto")
    if settings.device == "cpu" or not has_gpu:
        device = torch.device("cpu")
    else:
        device = torch.device("cuda", local_rank)
        torch.cuda.set_device(device)
        torch.backends.cudnn.benchmark = not settings.deterministic
    if settings.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    deterministic_before = torch.are_deterministic_algorithms_enabled()
    if settings.deterministic != deterministic_before:  # setting it imports the compiler, a second
        torch.use_deterministic_algorithms(settings.deterministic)
    if world_size > 1:
        is_cuda = device.type == "cuda"
        dist.init_process_group("nccl" if is_cuda else "gloo", device_id=device if is_cuda else None)
    try:
        yield Engine(
            device=device,
            precision=settings.precision,
            rank=rank,
            world_size=world_size,
            parallel=settings.parallel,
            compile=settings.compile,
        )
    finally:
        if settings.deterministic != deterministic_before:
            torch.use_deterministic_algorithms(deterministic_before)
        if world_size > 1:
            # A network that is freed after its process group can wait for it for ever.
            gc.collect()
            dist.destroy_process_group()
