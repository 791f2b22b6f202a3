"""What makes a model data-parallel: the wrapper, the processes that share the batch, and the parameters in its care."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from trainability.doctor.measure.living import living


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a model is spread over processes.

    Attributes:
        rank: of this process.
        ranks: global ranks of the processes that share the batch; () where that cannot be told, so that nothing is compared.
        wrapper: "DistributedDataParallel", "fully_shard" or None.
        ddp: the wrapper's object under DistributedDataParallel.
    """

    rank: int
    ranks: tuple[int, ...]
    wrapper: str | None = None
    ddp: DistributedDataParallel | None = None

    @property
    def hook(self) -> str | None:
        """Name of the communication hook that was registered last."""
        hooks = getattr(self.ddp, "_comm_hooks", None) or []
        return getattr(hooks[-1][0], "__name__", type(hooks[-1][0]).__name__) if hooks else None

    @property
    def synced(self) -> bool | None:
        """Whether the last forward pass with gradients asked for a reduction; False under `no_sync`."""
        return getattr(self.ddp, "require_forward_param_sync", None)

    @property
    def needs_every_gradient(self) -> bool:
        """Whether the wrapper stops where a parameter gets no gradient."""
        return self.ddp is not None and not (self.ddp.find_unused_parameters or self.ddp.static_graph)


def layout_of(called: nn.Module, plain: nn.Module) -> Layout | None:
    """Find out how a model is spread over processes, without talking to any.

    Args:
        called: the module as it was given to the monitor.
        plain: the module inside of it.

    Returns:
        The layout; None in a program of one process.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() < 2:
        return None
    rank = dist.get_rank()
    if any(type(module).__name__ == "FullyShardedDataParallel" for module in called.modules()):
        return Layout(rank=rank, ranks=())  # the older one: its parameters are flat, and no two processes hold the same
    if any(_is_sharded(p) for p in plain.parameters()):
        ranks = _ranks_of_shards(plain)
        return Layout(rank=rank, ranks=ranks, wrapper="fully_shard" if ranks else None)
    ddp = next((module for module in called.modules() if isinstance(module, DistributedDataParallel)), None) or _around(plain)
    if ddp is None:
        return Layout(rank=rank, ranks=tuple(range(dist.get_world_size())))
    ranks = tuple(dist.get_process_group_ranks(ddp.process_group))
    if len(ranks) < 2:
        return None
    return Layout(rank=rank, ranks=ranks, wrapper="DistributedDataParallel", ddp=ddp)


def compared_parameters(layout: Layout, plain: nn.Module) -> dict[str, nn.Parameter]:
    """Trainable parameters of which every process holds a whole copy that should be the same."""
    ignored = getattr(layout.ddp, "parameters_to_ignore", ())
    return {
        name: p
        for name, p in plain.named_parameters()
        if p.requires_grad and not _is_sharded(p) and not nn.parameter.is_lazy(p) and name not in ignored
    }


def outside_of(layout: Layout, parameters: dict[str, nn.Parameter]) -> tuple[str, ...]:
    """Those of `compared_parameters` that the wrapper does not know: made after it, or not sharded."""
    if layout.wrapper == "fully_shard":
        return tuple(parameters)
    known = getattr(layout.ddp, "_module_parameters", None)
    if known is None:
        return ()
    ids = {id(p) for p in known}
    return tuple(name for name, p in parameters.items() if id(p) not in ids)


def num_gone(layout: Layout, plain: nn.Module) -> int:
    """How many parameters the wrapper knows, and waits for, that are no longer in the model."""
    own = {id(p) for p in plain.parameters()}
    known = getattr(layout.ddp, "_module_parameters", None) or []
    around = layout.ddp is not None and layout.ddp.module is not plain  # then plain is a part of what is wrapped
    return 0 if around else sum(p.requires_grad and id(p) not in own for p in known)


def _is_sharded(x: Tensor) -> bool:
    return hasattr(x, "to_local")


def _around(plain: nn.Module) -> DistributedDataParallel | None:
    """A wrapper in this process around the module, or around one that it is part of."""
    return next((ddp for ddp in living(DistributedDataParallel) if any(part is plain for part in ddp.modules())), None)


def _ranks_of_shards(plain: nn.Module) -> tuple[int, ...]:
    """Ranks of the mesh of fully_shard; () for tensors that are sharded by something else, or a mesh with other uses."""
    for module in plain.modules():
        state: Any = getattr(module, "_get_fsdp_state", None)
        if state is None:
            continue
        with contextlib.suppress(AttributeError, IndexError):
            info = state()._fsdp_param_groups[0].mesh_info
            return () if getattr(info, "is_spmd_mesh", False) else tuple(info.mesh.mesh.flatten().tolist())
        for parameter in module.parameters():
            mesh: Any = getattr(parameter, "device_mesh", None)
            if mesh is not None and mesh.ndim == 1:
                return tuple(mesh.mesh.tolist())
    return ()
