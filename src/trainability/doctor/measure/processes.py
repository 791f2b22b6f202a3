"""A sampled step among the processes of a data-parallel run: what this one measures, tells the others, and learns from them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from trainability.doctor import batches
from trainability.doctor.error_line import error_line
from trainability.doctor.evidence import StepRecord
from trainability.doctor.measure import statistics
from trainability.doctor.measure.blocks import Block
from trainability.doctor.measure.exchange import Exchange, short
from trainability.doctor.measure.parallel import Layout, compared_parameters, layout_of, num_gone, outside_of
from trainability.doctor.processes import Post, Processes

_SIZE = 1 << 10  # elements of a tensor that go into its number
_MOST_INPUTS = 16
_LOOKS = 2  # sampled steps at which a wrapper is looked for


class ProcessWatch:
    """Compares this process with the others at sampled steps. In a program of one process it does nothing.

    Nothing here waits for the device, or for another process; an error in it ends the comparison and nothing else.

    Args:
        called: the module as it was given to the monitor.
        plain: the module inside of it.
    """

    def __init__(self, called: nn.Module, plain: nn.Module) -> None:
        self._called, self._plain = called, plain
        self._layout: Layout | None = None
        self._exchange: Exchange | None = None
        self._lost: str | None = None
        self._looks = 0
        self._num_told = 0
        self._is_wrapper_used = self._has_named = False
        self._unreduced: tuple[str, ...] = ()
        self._outside: tuple[str, ...] = ()
        self._forget()

    def _forget(self) -> None:
        self._parameters: dict[str, nn.Parameter] = {}
        self._numbers: dict[str, Tensor] = {}
        self._was_called: bool | None = None
        self._handle: Any = None

    def arm(self) -> None:
        """A sampled step begins."""
        self._try(self._arm)

    def on_model(self, inputs: Any) -> None:
        """The model was called with these arguments, for the first time in this step."""
        self._try(lambda: self._take_inputs(inputs))

    def on_wrapper(self) -> None:
        """The wrapper has run."""
        self._was_called = self._is_wrapper_used = True

    @property
    def wrapper(self) -> nn.Module | None:
        """The module whose call is to be told by `on_wrapper`."""
        return self._layout.ddp if self._layout is not None else None

    @property
    def is_alone(self) -> bool:
        """Whether no other process samples the same steps, so that this one may choose its own."""
        return self._layout is None

    def after_backward(self, *, is_last: bool) -> None:
        """A backward pass of a sampled step is over; `is_last` where the step's gradients are complete."""
        self._try(self._take_gradients if is_last else self._watch_between)

    @property
    def may_wait(self) -> bool:
        """Whether a wrapper waits for gradients of other processes, and none was named yet that will not come."""
        return self._is_wrapper_used and not self._has_named

    def waited_for(self) -> str | None:
        """A line that names what the wrapper waits for and what gets no gradient; None where there is nothing, or once said."""
        lines: list[str] = []
        if self.may_wait:
            self._try(lambda: lines.extend(self._waited_for()))
        self._has_named = self._has_named or bool(lines)
        return lines[0] if lines else None

    def _waited_for(self) -> list[str]:
        layout = self._layout
        if layout is None or not (layout.needs_every_gradient and layout.synced):
            return []
        parameters = compared_parameters(layout, self._plain)
        outside = set(outside_of(layout, parameters))
        self._unreduced = tuple(name for name, p in parameters.items() if p.grad is None and name not in outside)
        what = f"{_listed(self._unreduced)}: no gradient" if self._unreduced else ""
        if not what and (gone := num_gone(layout, self._plain)):
            what = f"{gone} parameters are no longer in the model that was wrapped"
        if not what:
            return []
        return [
            f"{what}, and DistributedDataParallel waits for their gradients: in this step not all gradients are reduced, and "
            "its next forward pass stops with an error"
        ]

    def before_step(self, clip_ratio: Tensor | None) -> None:
        """The optimizer is about to step."""
        if self._layout is not None and clip_ratio is not None:
            self._numbers["clip_ratio"] = clip_ratio.reshape(1)
        self._try(lambda: self._take_norm("step_gradient_norm"))

    def blocks(self, *, has_stepped: bool) -> list[Block]:
        """What the step showed, for the one copy to the host."""
        if has_stepped and self._parameters and "before" in self._numbers:
            self._try(lambda: self._numbers.update(after=_numbers_of(list(self._parameters.values()))[:, 0]))
        return [Block(kind=f"process {kind}", rows=("all",), values=v.reshape(1, -1)) for kind, v in self._numbers.items()]

    def tell(self, record: StepRecord, numbers: dict[str, dict[Hashable, Any]]) -> None:
        """Tell the others of this step, as `to_host` brought its numbers over."""
        self._try(lambda: self._tell(record, numbers))

    def disarm(self) -> None:
        """The step is over."""
        if self._handle is not None:
            self._handle.remove()
        self._forget()

    def end(self, *, has_failed: bool) -> None:
        """The loop is over; after an error in it nobody is waited for."""
        if (exchange := self._exchange) is not None and dist.is_initialized():
            self._try(exchange.stop if has_failed else exchange.end)

    def processes(self) -> Processes | None:
        """What is known so far; None in a program of one process."""
        layout, exchange = self._layout, self._exchange
        if layout is None or not layout.ranks:
            return None
        if exchange is not None and dist.is_initialized():
            self._try(exchange.read)
        return Processes(
            ranks=layout.ranks,
            wrapper=layout.wrapper,
            hook=layout.hook,
            outside=self._outside,
            unreduced=self._unreduced,
            comparisons=exchange.comparisons if exchange is not None else (),
            # Of its last step the others may not have told yet.
            missing=exchange.missing if exchange is not None and self._num_told > 1 else (),
            lost=self._lost,
        )

    def _try(self, action: Callable[[], None]) -> None:
        if self._lost is not None:
            return
        try:
            action()
        except Exception as error:
            self._lost = error_line(error)
            self._numbers = {}

    def _arm(self) -> None:
        self.disarm()
        if (self._layout is None or self._layout.wrapper is None) and self._looks < _LOOKS:
            self._looks += 1
            self._layout = layout_of(self._called, self._plain)
        layout = self._layout
        if layout is None or layout.rank not in layout.ranks:
            return
        self._was_called = None if layout.ddp is None else False
        self._parameters = compared_parameters(layout, self._plain)
        self._outside = outside_of(layout, self._parameters)
        if self._exchange is None:
            shapes = [(name, tuple(p.shape)) for name, p in self._plain.named_parameters()]
            self._exchange = Exchange(layout.rank, layout.ranks, tuple(self._parameters), str(shapes))

    def _take_inputs(self, inputs: Any) -> None:
        if self._exchange is None:
            return
        found = [tensor for _, tensor in batches.tensors(inputs) if statistics.has_values(tensor) and tensor.numel()]
        if not found:
            return
        found = found[:_MOST_INPUTS]
        device = found[0].device
        thinned = [statistics.thin(statistics.local(x), _SIZE).float().to(device) for x in found]
        weights = torch.arange(1, len(thinned) + 1, device=device)
        spread = torch.stack([x.amax() - x.amin() for x in thinned]).amax()
        total = (_numbers_of(thinned)[:, 0] * weights).sum()
        self._numbers["inputs"] = torch.stack([total, spread])

    def _watch_between(self) -> None:
        """Notes how a gradient shrinks until the next backward pass reaches its parameter."""
        layout, parameter = self._layout, next((p for p in self._parameters.values() if p.grad is not None), None)
        if layout is None or layout.ddp is None or parameter is None or self._handle is not None:
            return
        norm = torch.linalg.vector_norm(statistics.local(_gradient(parameter)).float())

        def note(_: Tensor) -> None:
            if parameter.grad is not None and "between_ratio" not in self._numbers:
                with torch.no_grad():
                    now = torch.linalg.vector_norm(statistics.local(parameter.grad).float())
                    self._numbers["between_ratio"] = (now / norm).reshape(1)

        self._handle = parameter.register_hook(lambda gradient: self._try(lambda: note(gradient)))

    def _take_gradients(self) -> None:
        if self._exchange is None or not self._parameters:
            return
        self._numbers["before"], self._numbers["squares"] = _numbers_of(list(self._parameters.values())).unbind(1)
        self._take_norm("gradient_norm")

    def _take_norm(self, name: str) -> None:
        gradients = [statistics.local(p.grad) for p in self._parameters.values() if p.grad is not None]
        if self._exchange is not None and gradients:
            self._numbers[name] = nn.utils.get_total_norm(gradients).float().reshape(1)

    def _tell(self, record: StepRecord, numbers: dict[str, dict[Hashable, Any]]) -> None:
        if self._exchange is None or self._layout is None or record.skipped:
            return
        if not dist.is_initialized():  # its store goes with the process that holds it
            self._lost = "the process group was destroyed"
            return
        rows = {kind.removeprefix("process "): row["all"] for kind, row in numbers.items() if kind.startswith("process ")}
        one: dict[str, float] = {kind: row[0] for kind, row in rows.items() if len(row) == 1}
        weights = {kind: tuple(map(_rounded, rows[kind])) for kind in ("before", "after", "squares") if kind in rows}
        inputs = rows.get("inputs")
        post = Post(
            rank=self._layout.rank,
            step=record.step,
            layout=short(str(tuple(self._parameters))),
            **weights,
            gradient_norm=one.get("gradient_norm"),
            step_gradient_norm=one.get("step_gradient_norm"),
            clip_ratio=one.get("clip_ratio"),
            between_ratio=one.get("between_ratio"),
            inputs=inputs[0] if inputs is not None and inputs[1] > 0 else None,
            loss=record.loss,
            lr=record.lr,
            called=self._was_called,
            synced=self._layout.synced,
        )
        self._num_told += 1
        self._exchange.tell(post)


def _gradient(parameter: nn.Parameter) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad


@functools.lru_cache(maxsize=16)
def _draws(device: torch.device) -> Tensor:
    """Numbers drawn from N(0, 1), the same in every process."""
    return torch.randn(2 * _SIZE, generator=torch.Generator("cpu").manual_seed(0), device="cpu").to(device)


def _numbers_of(tensors: Sequence[Tensor]) -> Tensor:
    """(tensors, 2) float32: a weighted sum of a tensor's thinned elements, which tells it from others, and their square sum."""
    device = tensors[0].device
    parts = [statistics.thin(statistics.local(x), _SIZE).to(device) for x in tensors]

    def reduce(rows: Tensor) -> Tensor:
        rows = rows.float()
        return torch.stack([(rows * _draws(rows.device)[: rows.shape[1]]).sum(dim=1), rows.square().sum(dim=1)], dim=1)

    return statistics.in_rows(reduce, parts)


def _rounded(value: float) -> float:
    """A float32's value in the fewest digits that give it back, for a short text."""
    return float(f"{value:.9g}")


def _listed(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
