"""One step of a loop that is somebody else's, kept as it is computed: from the batch that it takes to its loss.

A function mode sees the functions of PyTorch that the loop calls, and hooks see its calls of modules. What comes of it is a
function of (model, batch), such as `check` is given by those who have one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn.modules import module as module_hooks
from torch.overrides import TorchFunctionMode

from trainability.doctor.batches import tensors
from trainability.doctor.measure import mode_stack, stance, statistics
from trainability.doctor.measure.global_hooks import on_every_call
from trainability.doctor.measure.randomness import random_state
from trainability.doctor.measure.replay import Line
from trainability.doctor.measure.warned import call_as_caller

_MOST = 3000  # functions and calls of a step
_ESCAPES = frozenset({"tolist", "numpy", "__array__", "item", "__int__", "__float__", "__index__"})  # into Python


@dataclass(frozen=True, kw_only=True)
class ModuleCall:
    """A call of the model, or of a part of it, by the loop itself.

    Attributes:
        name: of the module in the model; "" is the model.
        args: that it was given.
        kwargs: likewise.
        returned: what it returned.
    """

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    returned: Any

    def reads(self) -> Iterator[Tensor]:
        """Tensors that it was given."""
        return (tensor for _, tensor in tensors((self.args, self.kwargs)))

    def written(self) -> Tensor | None:
        """A tensor that it writes into: none that is known."""
        return None

    @property
    def results(self) -> tuple[Tensor, ...]:
        """Tensors that it returned."""
        return tuple(tensors_of(self.returned))


@dataclass(frozen=True, kw_only=True)
class Event:
    """What a loop of several losses does between them.

    Attributes:
        kind: "backward", "clear" (gradients) or "step".
        owner: whose gradients, or the optimizer: its name, or the model's; None of a backward pass.
        loss: that `backward` was called on; None of the others.
    """

    kind: str
    owner: str | None = None
    loss: Tensor | None = None

    def reads(self) -> Iterator[Tensor]:
        """The loss."""
        return iter(() if self.loss is None else (self.loss,))

    def written(self) -> Tensor | None:
        """A tensor that it writes into: none that is looked at."""
        return None

    @property
    def results(self) -> tuple[Tensor, ...]:
        """It makes no tensor."""
        return ()


@dataclass(frozen=True, kw_only=True)
class Item:
    """Something that was called.

    Attributes:
        what: the function or module, with what it was given and what came out, or something else that happened.
        has_gradients: gradients were on.
        cast: device and type of `torch.autocast`; None where it was off.
    """

    what: Line | ModuleCall | Event
    has_gradients: bool
    cast: tuple[str, torch.dtype] | None


def tensors_of(returned: Any) -> Iterator[Tensor]:
    """Tensors of what a function or a module has returned, with those that a distribution holds."""
    if isinstance(returned, Distribution):
        for held in vars(returned).values():
            yield from tensors_of(held)
    elif isinstance(returned, tuple | list):
        for part in returned:
            yield from tensors_of(part)
    else:
        yield from (tensor for _, tensor in tensors(returned))


class StepTape(TorchFunctionMode):
    """Keeps what is computed from `begin` to `end`, or to the first backward pass; every function is passed on as it is.

    Args:
        model: whose parts are called.
        several: go on behind a backward pass: a body has several, between which optimizers step.

    Attributes:
        items: that were called, in order.
        batches: of the loop's loaders, as they were yielded since the beginning and before anything was called.
        lost: the step is not known as a function: something compiled, a mode of somebody else, or a function of a user's own
            has a part in it, or it is too long.
        escaped: tensors whose numbers went on in Python.
        random_state: of every global generator, when the items begin; see `randomness.random_state`.
        was_training: modules that were in train mode, by name, when the first of them was called.
        is_paused: an optimizer is in its step, whose functions are its own.
    """

    def __init__(self, model: nn.Module, *, several: bool = False) -> None:
        super().__init__()
        self._goes_on, self.is_paused = several, False
        self.items: list[Item] = []
        self.batches: list[Any] = []
        self.escaped: list[Tensor] = []
        self.lost, self.random_state = False, random_state()
        self.was_training: set[str] = set()
        self._model, self._names = model, {id(module): name for name, module in model.named_modules()}
        self._running: list[nn.Module] = []
        self._num_running = 0
        self._is_open = self._is_over = False
        self._thread = threading.get_ident()
        self._handles: list[Any] = []

    @property
    def has_called(self) -> bool:
        """Whether a module of the model has been called."""
        return any(isinstance(item.what, ModuleCall) for item in self.items) or bool(self._running)

    def begin(self) -> bool:
        """Begin to keep; returns whether it can."""
        if stance.has_compiled() or not mode_stack.enter(self):
            return False
        self._is_open = True
        self._handles = [
            module_hooks.register_module_forward_pre_hook(self._on_entry),
            on_every_call(self._on_exit, always_call=True),
        ]
        return True

    def take(self, batch: Any) -> None:
        """A loader has yielded a batch: what was called before had to do with an earlier one."""
        if self.has_called or self._is_over:
            return
        self.lost = False
        self.items.clear()
        self.escaped.clear()
        self.batches.append(batch)
        self.random_state = random_state()

    def end(self) -> None:
        """Keep nothing more."""
        self._is_over = True
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self.leave()

    def leave(self) -> bool:
        """Leave the stack of modes, if `end` was called and no function is running that was passed on; returns whether."""
        if self._num_running or not self._is_over:
            return not self._is_open
        if self._is_open:
            self._is_open = False
            mode_stack.leave(self)
        return True

    def forget(self) -> None:
        """Let go of what was kept: tensors with their graph."""
        self.items, self.batches, self.escaped = [], [], []

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        self._is_over |= func is Tensor.backward and not self._goes_on
        self._num_running += 1
        try:
            result = call_as_caller(func, args, kwargs or {})
        finally:
            self._num_running -= 1
        is_aside = self._is_over or self.is_paused or func is Tensor.backward
        if not (is_aside or self.lost or self._running) and threading.get_ident() == self._thread:
            try:
                self._keep(func, args, kwargs or {}, result)
            except Exception:  # some facts less, and nothing that reaches the loop
                self.lost = True
        return result

    def _keep(self, func: Callable, args: tuple, kwargs: dict, result: Any) -> None:
        line = Line(func=func, args=args, kwargs=kwargs, results=tuple(tensor for _, tensor in tensors(result)))
        if getattr(func, "__name__", "") in _ESCAPES:
            self.escaped += line.reads()
        if line.results or line.written() is not None:
            self._add(line)

    def happened(self, event: Event) -> None:
        """Keep what the loop does beside its functions."""
        if not self.lost and not self._is_over:
            self._add(event)

    def _add(self, what: Line | ModuleCall | Event) -> None:
        device = what.results[0].device.type if what.results else "cpu"
        cast = (device, torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else None
        self.items.append(Item(what=what, has_gradients=torch.is_grad_enabled(), cast=cast))
        self.lost |= len(self.items) > _MOST
        self.lost |= any(not statistics.has_values(tensor) or hasattr(tensor, "to_local") for tensor in what.results)
        if self.lost:  # tensors would be kept in vain
            self.items.clear()

    def _on_entry(self, module: nn.Module, args: Any) -> None:
        if id(module) in self._names and threading.get_ident() == self._thread and not self._is_over:
            if not self._running and not self.was_training:
                self.was_training = {name for name, part in self._model.named_modules() if part.training}
            self._running.append(module)

    def _on_exit(self, module: nn.Module, args: Any, *rest: Any) -> None:
        if not self._running or self._running[-1] is not module or threading.get_ident() != self._thread:
            return
        self._running.pop()
        if len(rest) < 2 or self._running or self._is_over or self.lost:
            return
        kwargs, returned = rest
        try:
            self._add(ModuleCall(name=self._names[id(module)], args=args, kwargs=kwargs, returned=returned))
        except Exception:
            self.lost = True


class OpenTape:
    """The tape that is being kept, if any, and one that could not leave the stack of modes when it ended.

    Attributes:
        tape: that keeps what is called now; None where nothing is recorded.
    """

    def __init__(self) -> None:
        self.tape: StepTape | None = None
        self._leaving: StepTape | None = None  # that ended inside a function that it passes on

    def begin(self, tape: StepTape) -> None:
        """Keep what is called from now on, if the tape can."""
        self.tape = tape if tape.begin() else None

    def drop(self) -> None:
        """Keep nothing more, and let go of what was kept."""
        if self._leaving is not None and self._leaving.leave():
            self._leaving = None
        if self.tape is not None:
            self.tape.end()
            self.tape.forget()
            self._leaving = None if self.tape.leave() else self.tape
            self.tape = None
