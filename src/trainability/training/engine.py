"""Device, precision and processes of training; no other file depends on them.

`torchrun --nproc-per-node N -m trainability train …` starts N processes, each with one engine; without it there is one process,
and every collective operation here is the identity.
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
from trainability.models import conv_relu
from trainability.models.vgg import VGG
from trainability.training.heap import keep_freed_memory


@dataclass(frozen=True, kw_only=True)
class Engine:
    """Device and precision of this process, and its place among the processes.

    Attributes:
        device: of this process.
        precision: "fp32", "tf32", or "bf16" for autocast.
        rank: of this process.
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
        """Whether this is the process that prints and writes."""
        return self.rank == 0

    @property
    def is_sharded(self) -> bool:
        """Whether every process holds only a shard of the network."""
        return self.parallel == "sharded" and self.world_size > 1

    def prepare(self, model: nn.Module) -> nn.Module:
        """Move a model to the device, and wrap it for training by all processes.

        Args:
            model: changed in place; its parameters keep their names.

        Returns:
            The module that the loop calls: the model itself, compiled or wrapped.
        """
        model.to(self.device)
        if self.is_sharded:
            # It warns that layers return views, which must not be changed in place; VGG's are not.
            warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor", category=UserWarning)
            # Shards must be contiguous, so weights keep torch's memory format; the images' format selects the kernels anyway.
            for module in list(model.modules()):
                if isinstance(module, (nn.Conv2d, nn.Linear)):
                    fully_shard(module)
            fully_shard(model)
            network = model
        else:
            for module in model.modules():
                # The memory format of the fast CPU and GPU kernels; fully-connected layers are matrix products and keep theirs.
                if type(module) is nn.Conv2d:
                    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            network = model
            if self.world_size > 1:
                network = DistributedDataParallel(model, gradient_as_bucket_view=True)
        if self.compile:
            if isinstance(model, VGG):
                model.fuses = conv_relu.can_fuse(model.features, self.device)
            network.compile()
        return network

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context manager with the run's precision for a forward pass."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def accumulating(self, network: nn.Module, *, is_last: bool) -> AbstractContextManager[Any]:
        """Delay communication until the last micro-batch of a step, so that a step communicates once."""
        if isinstance(network, FSDPModule):
            network.set_requires_gradient_sync(is_last)
        elif isinstance(network, DistributedDataParallel) and not is_last:
            return network.no_sync()
        return contextlib.nullcontext()

    def total(self, values: Tensor) -> Tensor:
        """Sum a tensor over all processes, in place."""
        if self.world_size > 1:
            dist.all_reduce(values)
        return values

    def any(self, flag: bool) -> bool:
        """Return whether a flag is set in any process."""
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
    """Return the full tensor of a sharded one; all processes must call this."""
    return values.full_tensor() if isinstance(values, DTensor) else values


def local_tensor(values: Tensor) -> Tensor:
    """Return this process's shard of a tensor; the tensor itself if it is not sharded."""
    return values.to_local() if isinstance(values, DTensor) else values


class ProcessLost(RuntimeError):
    """Another process of the run has ended, or cannot be reached any more."""


def is_process_lost(error: RuntimeError) -> bool:
    """Return whether communication between the processes has failed. NCCL has a type for it, gloo has not."""
    return isinstance(error, dist.DistError) or "/gloo/transport/" in str(error)


def _set_tf32(convolutions: bool, products: bool | None = None) -> tuple[bool, bool]:
    """Decide whether a GPU computes float32 convolutions and matrix products in TF32; PyTorch's default: only convolutions.

    Returns:
        What was set before.
    """
    before = torch.backends.cudnn.allow_tf32, bool(torch.backends.cuda.matmul.allow_tf32)
    torch.backends.cudnn.allow_tf32 = convolutions
    torch.backends.cuda.matmul.allow_tf32 = convolutions if products is None else products
    return before


@contextlib.contextmanager
def start(settings: RunSettings) -> Iterator[Engine]:
    """Set up the device and the process group of `torchrun`; at the end, destroy the process group.

    Raises:
        ValueError: `run.device` is cuda or `run.precision` is tf32, and there is no GPU.
        ProcessLost: another process has ended, or cannot be reached, while this one communicates.
    """
    world_size, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    has_gpu, benchmark_before = torch.cuda.is_available(), torch.backends.cudnn.benchmark
    if settings.device == "cuda" and not has_gpu:
        raise ValueError("run.device is cuda, but torch sees no GPU here; accepted: cpu, auto")
    if settings.device == "cpu" or not has_gpu:
        device = torch.device("cpu")
        if settings.precision == "tf32":
            raise ValueError("run.precision is tf32, which only a GPU has; accepted on a CPU: fp32, bf16")
        keep_freed_memory()
    else:
        device = torch.device("cuda", local_rank)
        torch.cuda.set_device(device)
        # Without TF32, benchmarking all kernels takes minutes, and the kernels that cuDNN's heuristic chose were as fast.
        torch.backends.cudnn.benchmark = not settings.deterministic and settings.precision != "fp32"
    if settings.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    deterministic_before = torch.are_deterministic_algorithms_enabled()
    if settings.deterministic != deterministic_before:  # setting it imports the compiler, which takes a second
        torch.use_deterministic_algorithms(settings.deterministic)
    tf32_before = _set_tf32(settings.precision == "tf32")
    try:
        if world_size > 1:
            is_cuda = device.type == "cuda"
            dist.init_process_group("nccl" if is_cuda else "gloo", device_id=device if is_cuda else None)
        yield Engine(
            device=device,
            precision=settings.precision,
            rank=rank,
            world_size=world_size,
            parallel=settings.parallel,
            compile=settings.compile,
        )
    except RuntimeError as error:
        if world_size == 1 or not is_process_lost(error):
            raise
        raise ProcessLost(
            "another process has ended or cannot be reached; complete checkpoints are kept: start all processes again, with"
            " train --resume RUN"
        ) from error
    finally:
        _set_tf32(*tf32_before)
        torch.backends.cudnn.benchmark = benchmark_before
        if settings.deterministic != deterministic_before:
            torch.use_deterministic_algorithms(deterministic_before)
        if world_size > 1 and dist.is_initialized():
            # Freeing a network after its process group can block for ever.
            gc.collect()
            dist.destroy_process_group()
