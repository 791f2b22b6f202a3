"""Programs of two processes with gloo: faults that people make in data-parallel runs, and sound runs of many kinds.

`results(folder)` runs all of them in one pair of processes, which costs one start of torch.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel as DDP  # noqa: N817

from trainability.doctor import Evidence, Monitor, diagnose
from trainability.doctor.measure import exchange

exchange._MOST_SECONDS = 60.0  # a busy machine is not what is tested here

STEPS = 3


def net(**more: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 8), nn.ReLU())
    body.add_module("head", nn.Linear(8, 3))
    for name, module in more.items():
        body.add_module(name, module)
    return body


def batches(rank: int, steps: int = STEPS) -> Iterator[tuple[Tensor, Tensor]]:
    draw = torch.Generator().manual_seed(100 + rank)
    for _ in range(steps):
        yield torch.randn(8, 6, generator=draw), torch.randint(0, 3, (8,), generator=draw)


class Loop:
    """A loop with a monitor or without, and what is left of it."""

    def __init__(self, rank: int, watched: bool) -> None:
        self.rank, self.watched = rank, watched
        self.losses: list[float] = []
        self.monitor: Monitor | None = None
        self.said: list[str] = []
        self.stopped = False

    @contextlib.contextmanager
    def watch(self, model: nn.Module, optimizer: torch.optim.Optimizer, every: int = 2, **more: Any) -> Iterator[Loop]:
        self.model = model
        self.monitor = Monitor(model, optimizer, every, **more) if self.watched else None
        with warnings.catch_warnings(record=True) as said, self.monitor or contextlib.nullcontext():
            warnings.simplefilter("always", RuntimeWarning)
            try:
                yield self
            finally:
                self.said = [str(warning.message) for warning in said]

    def backward(self, loss: Tensor, scale: float = 1.0, **more: Any) -> None:
        (loss * scale).backward()
        self.losses.append(float(loss.detach()))
        if self.monitor is not None:
            self.monitor.after_backward(loss, **more)

    def usual(
        self,
        model: nn.Module,
        called: Callable[[Tensor], Tensor] | None = None,
        *,
        lr: float = 0.05,
        data_rank: int | None = None,
        before_step: Callable[[], Any] = lambda: None,
        optimizer: torch.optim.Optimizer | None = None,
        steps: int = STEPS,
    ) -> None:
        """Forward, backward and step, as everybody writes them."""
        optimizer = optimizer or torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
        with self.watch(model, optimizer):
            for x, y in batches(self.rank if data_rank is None else data_rank, steps):
                self.backward(F.cross_entropy((called or model)(x), y))
                before_step()
                optimizer.step()
                optimizer.zero_grad()


# Faults.


def replaced_head(loop: Loop) -> None:
    model = net()
    ddp = DDP(model)
    torch.manual_seed(0)
    model.head = nn.Linear(8, 3)
    with contextlib.suppress(RuntimeError):  # the wrapper still waits for the former head
        loop.usual(ddp)


def replaced_head_unnoticed(loop: Loop) -> None:
    model = net()
    ddp = DDP(model, find_unused_parameters=True)
    torch.manual_seed(0)
    model.head = nn.Linear(8, 3)
    loop.usual(ddp)


def plain_module_called(loop: Loop) -> None:
    ddp = DDP(net())
    loop.usual(ddp, ddp.module)


def plain_module_watched_and_called(loop: Loop) -> None:
    model = net()
    ddp = DDP(model)
    # Nothing synchronises the steps: without it, one process may have ended before the other begins.
    loop.usual(model, before_step=dist.barrier)
    del ddp


def never_reduced(loop: Loop) -> None:
    ddp = DDP(net())
    optimizer = torch.optim.SGD(ddp.parameters(), lr=0.05)
    with loop.watch(ddp, optimizer, accumulation=2), ddp.no_sync():
        for i, (x, y) in enumerate(batches(loop.rank, 2 * STEPS)):
            loop.backward(F.cross_entropy(ddp(x), y))
            if i % 2:
                optimizer.step()
                optimizer.zero_grad()


def own_clipping(loop: Loop) -> None:
    """The threshold follows the process's own loss."""
    ddp = DDP(net())
    loop.usual(ddp, before_step=lambda: nn.utils.clip_grad_norm_(ddp.parameters(), 0.1 * loop.losses[-1]))


def own_clipping_of_shards(loop: Loop) -> None:
    model = net()
    fully_shard(model)

    def clip() -> None:
        own = [p.grad.to_local() for p in model.parameters()]
        norm = torch.stack([gradient.norm() for gradient in own]).norm()
        for gradient in own:
            gradient.mul_(0.1 / norm)

    loop.usual(model, before_step=clip)


def clipping_inside_accumulation(loop: Loop) -> None:
    ddp = DDP(net())
    optimizer = torch.optim.SGD(ddp.parameters(), lr=0.05)
    with loop.watch(ddp, optimizer, accumulation=2):
        for i, (x, y) in enumerate(batches(loop.rank, 2 * STEPS)):
            with contextlib.nullcontext() if i % 2 else ddp.no_sync():
                loop.backward(F.cross_entropy(ddp((1 + loop.rank) * x), y))
                nn.utils.clip_grad_norm_(ddp.parameters(), 0.1)
            if i % 2:
                optimizer.step()
                optimizer.zero_grad()


def no_broadcast(loop: Loop) -> None:
    model = net()
    torch.manual_seed(loop.rank)
    model.head.reset_parameters()

    def reduce() -> None:
        for p in model.parameters():
            assert p.grad is not None
            dist.all_reduce(p.grad)
            p.grad.div_(2)

    loop.usual(model, before_step=reduce)


def initialised_after_wrapping(loop: Loop) -> None:
    ddp = DDP(net())
    torch.manual_seed(loop.rank)
    for module in ddp.modules():
        if isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight)
    loop.usual(ddp)


def lossy_hook(loop: Loop) -> None:
    """Each process keeps its own gradient where it is large, as a hook does that reduces a part."""
    ddp = DDP(net())

    def reduce_half(state, bucket):  # the wrapper asks for the annotations of a hook, and takes none for any
        own = bucket.buffer().clone()
        work = dist.all_reduce(bucket.buffer(), async_op=True).get_future()

        def answer(done: Any) -> Tensor:
            mean = done.value()[0] / 2
            return torch.where(own.abs() > own.abs().median(), own, mean)

        return work.then(answer)

    ddp.register_comm_hook(None, reduce_half)
    loop.usual(ddp)


def own_learning_rates(loop: Loop) -> None:
    ddp = DDP(net())
    loop.usual(ddp, lr=0.05 / (1 + loop.rank))


def optimizer_restored_on_one(loop: Loop) -> None:
    ddp = DDP(net())
    optimizer = torch.optim.Adam(ddp.parameters(), lr=1e-3)
    if loop.rank == 0:
        for p in ddp.parameters():
            p.grad = torch.ones_like(p)
        for group in optimizer.param_groups:
            group["lr"] = 0.0
        optimizer.step()
        optimizer.zero_grad()
        for group in optimizer.param_groups:
            group["lr"] = 1e-3
    loop.usual(ddp, optimizer=optimizer)


def same_batches(loop: Loop) -> None:
    loop.usual(DDP(net()), data_rank=0)


def unused_parameter(loop: Loop) -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.spare = net(), nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.body(x)

    try:
        loop.usual(DDP(Two()))
    except RuntimeError as error:
        loop.stopped = "Expected to have finished reduction in the prior iteration" in str(error)


def root_not_sharded(loop: Loop) -> None:
    model = net()
    fully_shard(model[0])
    fully_shard(model[2])
    loop.usual(model)


def no_wrapper(loop: Loop) -> None:
    dist.barrier()  # as where one process writes the data: nothing else would keep two such short runs beside each other
    loop.usual(net())


FAULTS: dict[str, tuple[Callable[[Loop], None], str]] = {
    "parameters replaced after wrapping": (replaced_head, "unsynchronised.outside"),
    "parameters replaced after wrapping, unnoticed": (replaced_head_unnoticed, "unsynchronised.outside"),
    "plain module called": (plain_module_called, "unsynchronised.wrapper"),
    "plain module watched and called": (plain_module_watched_and_called, "unsynchronised.wrapper"),
    "no_sync around all": (never_reduced, "unsynchronised.no_sync"),
    "own clipping": (own_clipping, "unsynchronised.clipping"),
    "own clipping of shards": (own_clipping_of_shards, "unsynchronised.clipping"),
    "clipping inside accumulation": (clipping_inside_accumulation, "local_clipping"),
    "no broadcast": (no_broadcast, "unsynchronised.start"),
    "initialised after wrapping": (initialised_after_wrapping, "unsynchronised.start"),
    "lossy hook": (lossy_hook, "unsynchronised.reduction"),
    "own learning rates": (own_learning_rates, "unsynchronised.learning_rate"),
    "optimizer restored on one": (optimizer_restored_on_one, "unsynchronised.optimizer"),
    "same batches": (same_batches, "same_batches"),
    "parameter without gradient": (unused_parameter, "unreduced_parameter"),
    "root not sharded": (root_not_sharded, "unsynchronised.outside"),
    "no wrapper": (no_wrapper, "unsynchronised.alone"),
}


# Sound runs.


def ddp_dropout(loop: Loop) -> None:
    """Dropout draws other masks in each process."""
    model = net(last=nn.Dropout(0.3))
    torch.manual_seed(1 + loop.rank)
    loop.usual(DDP(model))


def ddp_plain_watched(loop: Loop) -> None:
    model = net()
    ddp = DDP(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    with loop.watch(model, optimizer):
        for x, y in batches(loop.rank):
            loop.backward(F.cross_entropy(ddp(x), y))
            optimizer.step()
            optimizer.zero_grad()


def ddp_accumulation(loop: Loop) -> None:
    ddp = DDP(net(), gradient_as_bucket_view=True)
    optimizer = torch.optim.AdamW(ddp.parameters(), lr=1e-3)
    with loop.watch(ddp, optimizer, accumulation=2):
        for i, (x, y) in enumerate(batches(loop.rank, 2 * STEPS)):
            with contextlib.nullcontext() if i % 2 else ddp.no_sync():
                loop.backward(F.cross_entropy(ddp(x), y), scale=0.5)
            if i % 2:
                nn.utils.clip_grad_norm_(ddp.parameters(), 0.1)
                optimizer.step()
                optimizer.zero_grad()


def ddp_batch_norm(loop: Loop) -> None:
    """Buffers differ between processes after each step, until the wrapper broadcasts them."""
    loop.usual(DDP(net(norm=nn.BatchNorm1d(3))))


def ddp_batch_norm_of_its_own(loop: Loop) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # the argument gets another name
        ddp = DDP(net(norm=nn.BatchNorm1d(3)), broadcast_buffers=False)
    loop.usual(ddp)


def ddp_unused_found(loop: Loop) -> None:
    """A part that one process uses and the other does not."""

    class Routed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = nn.ModuleList([net(), net()])

        def forward(self, x: Tensor) -> Tensor:
            return self.parts[loop.rank](x)

    loop.usual(DDP(Routed(), find_unused_parameters=True))


def ddp_mixed_precision(loop: Loop) -> None:
    ddp = DDP(net())

    def called(x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return ddp(x)

    loop.usual(ddp, called)


def ddp_bfloat16(loop: Loop) -> None:
    model = net().to(torch.bfloat16)
    ddp = DDP(model)
    loop.usual(ddp, lambda x: ddp(x.to(torch.bfloat16)).float())


def ddp_compressed(loop: Loop) -> None:
    from torch.distributed.algorithms.ddp_comm_hooks import default_hooks

    ddp = DDP(net())
    ddp.register_comm_hook(None, default_hooks.fp16_compress_hook)
    loop.usual(ddp)


def ddp_uneven(loop: Loop) -> None:
    """The first process has more batches; `join` lets the other one answer for the rest."""
    ddp = DDP(net())
    optimizer = torch.optim.SGD(ddp.parameters(), lr=0.05)
    with loop.watch(ddp, optimizer, every=1), ddp.join():
        for x, y in batches(loop.rank, STEPS - 2 * loop.rank):
            loop.backward(F.cross_entropy(ddp(x), y))
            optimizer.step()
            optimizer.zero_grad()


def ddp_frozen_body(loop: Loop) -> None:
    model = net()
    model[0].requires_grad_(False)
    loop.usual(DDP(model))


def ddp_group(loop: Loop) -> None:
    """Each process is a group of its own, and its own training."""
    groups = [dist.new_group([rank]) for rank in range(2)]
    model = net()
    torch.manual_seed(loop.rank)
    model.head.reset_parameters()
    loop.usual(DDP(model, process_group=groups[loop.rank]))


def ddp_epochs(loop: Loop) -> None:
    """A monitor for every epoch."""
    ddp = DDP(net())
    optimizer = torch.optim.SGD(ddp.parameters(), lr=0.05)
    before: Any = None
    for epoch in range(2):
        with loop.watch(ddp, optimizer, before=before):
            for x, y in batches(loop.rank + 10 * epoch, 3):
                loop.backward(F.cross_entropy(ddp(x), y))
                optimizer.step()
                optimizer.zero_grad()
        before = loop.monitor.evidence() if loop.monitor is not None else None


def sharded(loop: Loop) -> None:
    model = net()
    for module in (model[0], model[2], model.head):
        fully_shard(module)
    fully_shard(model)
    loop.usual(model, before_step=lambda: nn.utils.clip_grad_norm_(model.parameters(), 0.1))


def sharded_initialised_apart(loop: Loop) -> None:
    """Each process drew its own shard's values: odd, and no fault."""
    model = net()
    torch.manual_seed(loop.rank)
    model.head.reset_parameters()
    fully_shard(model)
    loop.usual(model)


def reduced_by_hand(loop: Loop) -> None:
    model = net()

    def reduce() -> None:
        for p in model.parameters():
            assert p.grad is not None
            dist.all_reduce(p.grad)
            p.grad.div_(2)
        nn.utils.clip_grad_norm_(model.parameters(), 0.1)

    loop.usual(model, before_step=reduce)


def alone_with_own_rates(loop: Loop) -> None:
    """A search over learning rates, one in each process, on the same data."""
    loop.usual(net(), lr=0.05 / (1 + loop.rank), data_rank=0)


def one_watches(loop: Loop) -> None:
    """A monitor in the first process alone."""
    loop.watched = loop.watched and loop.rank == 0
    loop.usual(DDP(net()))


def other_steps_watched(loop: Loop) -> None:
    ddp = DDP(net())
    optimizer = torch.optim.SGD(ddp.parameters(), lr=0.05)
    with loop.watch(ddp, optimizer, every=2 + loop.rank, first_step=1 + loop.rank):
        for x, y in batches(loop.rank):
            loop.backward(F.cross_entropy(ddp(x), y))
            optimizer.step()
            optimizer.zero_grad()


SOUND: dict[str, Callable[[Loop], None]] = {
    function.__name__: function
    for function in (
        ddp_dropout,
        ddp_plain_watched,
        ddp_accumulation,
        ddp_batch_norm,
        ddp_batch_norm_of_its_own,
        ddp_unused_found,
        ddp_mixed_precision,
        ddp_bfloat16,
        ddp_compressed,
        ddp_uneven,
        ddp_frozen_body,
        ddp_group,
        ddp_epochs,
        sharded,
        sharded_initialised_apart,
        reduced_by_hand,
        alone_with_own_rates,
        one_watches,
        other_steps_watched,
    )
}


def _state(loop: Loop) -> list[Any]:
    tensors = [*loop.model.parameters(), *loop.model.buffers()]
    values = [getattr(t, "to_local", lambda t=t: t)().detach().double().flatten().tolist() for t in tensors]
    return [loop.losses, values, torch.get_rng_state().sum().item()]


def _answer(program: Callable[[Loop], None], rank: int, *, alone_too: bool) -> dict[str, Any]:
    states, loops = [], []
    for watched in (False, True) if alone_too else (True,):
        torch.manual_seed(0)
        loop = Loop(rank, watched)
        program(loop)
        states.append(_state(loop))
        loops.append(loop)
    if loop.monitor is None:
        return {"same": states[0] == states[-1]}
    evidence = loop.monitor.evidence()
    assert Evidence.from_dict(json.loads(json.dumps(evidence.to_dict()))).processes is not None or program is ddp_group
    diagnosis = diagnose(evidence)
    return {
        "same": states[0] == states[-1],
        "codes": [[finding.code, finding.severity, list(finding.layers)] for finding in diagnosis.findings],
        "steps": [row.step for row in evidence.processes.comparisons] if evidence.processes else [],
        "missing": list(evidence.processes.missing) if evidence.processes else [],
        "lost": evidence.processes.lost if evidence.processes else None,
        "problems": list(evidence.problems),
        "said": loop.said,
        "stopped": loop.stopped,
        "failed": [line for line in diagnosis.not_checked if "rule itself failed" in line],
    }


def after_the_group(rank: int, folder: Path) -> dict[str, Any]:
    """The group ends inside the block, and with the first process the store that it holds; the second one trains on."""
    loop = Loop(rank, watched=True)
    model = net()
    ddp = DDP(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    with loop.watch(ddp, optimizer, every=1):
        for i, (x, y) in enumerate(batches(rank, 6)):
            loop.backward(F.cross_entropy((ddp if i < 3 else model)(x), y))
            optimizer.step()
            optimizer.zero_grad()
            if i == 2:
                dist.destroy_process_group()
                (folder / f"{rank}-left").touch()
                if rank == 0:
                    while not (folder / "1-left").exists():  # a store that ends within the other's step is another failure
                        time.sleep(0.01)
                    os._exit(0)
                time.sleep(1.0)
    assert loop.monitor is not None
    evidence = loop.monitor.evidence()
    assert evidence.processes is not None
    codes = [finding.code for finding in diagnose(evidence).findings if finding.severity != "hint"]
    return {"steps": len(evidence.steps), "samples": len(evidence.samples), "lost": evidence.processes.lost, "codes": codes}


def main(rank: int, folder: Path) -> None:
    """Run all programs as one of two processes, and write what came out."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=2)
    answers: dict[str, Any] = {}
    for name, program in {**{name: fault for name, (fault, _) in FAULTS.items()}, **SOUND}.items():
        begun = time.monotonic()
        try:
            answers[name] = _answer(program, rank, alone_too=name in SOUND)
        except Exception:
            answers[name] = {"error": traceback.format_exc()}
        answers[name]["seconds"] = round(time.monotonic() - begun, 2)
        dist.barrier()
    (folder / f"{rank}.json").write_text(json.dumps(answers))
    (folder / f"{rank}-after.json").write_text(json.dumps(after_the_group(rank, folder)))


def run_two(script: Path, folder: Path, *arguments: str) -> list[subprocess.CompletedProcess[str]]:
    """Run a script as two processes that find each other; its arguments are the rank, the folder and the rest."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    commands = [[sys.executable, str(script), str(rank), str(folder), *arguments] for rank in range(2)]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    running = [subprocess.Popen(command, env=environment, **pipes) for command in commands]
    outputs = [process.communicate(timeout=300) for process in running]
    return [
        subprocess.CompletedProcess(process.args, process.returncode, *output)
        for process, output in zip(running, outputs, strict=True)
    ]


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
