"""The loss of a loop as a function of the model's outputs: kept as it is computed, to be computed again with others.

Monitor is not given a loss function. What stands between the model's outputs and the loss is a list of functions of PyTorch,
which a function mode sees; with it, the loss can be asked what it makes of other outputs and targets. The model does not run.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as module_hooks
from torch.overrides import TorchFunctionMode

from trainability.doctor.batches import tensors
from trainability.doctor.measure import mode_stack, stance, statistics
from trainability.doctor.measure.constant_slopes import ConstantSlopes, is_derivative, is_flat, words_of
from trainability.doctor.measure.filled_extremes import FilledExtremes
from trainability.doctor.measure.forward_pass import DISTANCES
from trainability.doctor.measure.global_hooks import on_every_call
from trainability.doctor.measure.handed_on import HandedOn
from trainability.doctor.measure.layer_inputs import LayerInputs
from trainability.doctor.measure.made_inside import MadeInside
from trainability.doctor.measure.own_series import OwnSeries
from trainability.doctor.measure.own_tokens import OwnTokens
from trainability.doctor.measure.replay import Called, Line, Replay, is_own_function
from trainability.doctor.measure.warned import call_as_caller

MOST_NUMBERS = 1 << 17  # of an output: each question is a loss, and there are hundreds
_MOST_LINES, _MOST_CALLS = 400, 8
_FEW_NUMBERS = 64  # of a parameter that a loss uses by itself: a variance, a temperature
_OPTIONS = frozenset({"weight", "pos_weight", "var"})  # tensors that a loss takes beside output and target
_ACTS = ("bernoulli", "multinomial", "normal")
_DRAWS = ("bernoulli", "multinomial", "dropout")  # of what they are given; others draw of nothing
_SAME = 1e-3  # of the loss, from which the one computed again may differ


class Tape(TorchFunctionMode):
    """Keeps what is computed of a model's outputs, from the end of its first call to `close`.

    It passes every function on as it is. Nothing is kept, and `lost` says so, where something compiled or somebody else's mode
    runs, where outputs are too large or not to be read, and where a function that PyTorch does not show stands between.

    Attributes:
        calls: of the model, or of parts of it that the loop calls by itself.
        lines: functions that were called since, of anything but what was made of nothing.
        lost: the loss is not known as a function.
        given: what went into the layers.
        own_tokens: whether tokens are asked for themselves.
        own_series: whether a series is asked for what it shows.
        made_inside: layers that the model makes and drops as it runs.
        handed_on: states passed from step to step.
        slopes: derivatives taken without a graph and compared with outputs.
        has_flat: whether a derivative with a graph is flat; see `is_flat`.
        crosses_given: the loss sets all pairs of two tensors that it is given, (n, 1) and (n,): one is a grid, and no target.
        draws_own: something is drawn without a gradient by what the outputs say, as an action is.
        draws_target: outputs are set against numbers that were drawn after the last call, and that nothing else was given.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.calls: list[Called] = []
        self.given = LayerInputs([])
        self.own_tokens, self.own_series = OwnTokens(), OwnSeries()
        self._running: list[nn.Module] = []
        self._names = {id(module): name for name, module in model.named_modules()}
        self._handles: list[Any] = []
        self.lines: list[Line] = []
        self.lost = False
        self._model, self._is_open, self._is_over = model, False, False
        self._num_running = 0  # functions that were passed on and have not returned
        trained = ((name, p) for name, p in model.named_parameters() if p.requires_grad and not nn.parameter.is_lazy(p))
        self._numbers = {id(p): name for name, p in trained if p.numel() <= _FEW_NUMBERS}
        self._own = {id(p) for p in model.parameters()}
        self.made_inside = MadeInside(self._own)
        self.handed_on, self.slopes, self.extremes = HandedOn(), ConstantSlopes(), FilledExtremes()
        self.has_flat = False
        self._follows: dict[int, Tensor] = {id(p): p for p in model.parameters() if id(p) in self._numbers}
        self._made: dict[int, Tensor] = {}  # by the loss, of nothing that it was given
        self._drawn: set[int] = set()  # of those, at random, and as they were drawn
        self._random: set[int] = set()  # what was drawn, and what was made of that
        self.crosses_given = self.draws_target = self.draws_own = False
        self._derived: dict[int, Tensor] = {}  # results that follow from something else that was given
        self._versions: dict[int, int] = {}
        self._thread = threading.get_ident()  # modes are a thread's own
        self._cast: torch.dtype | None = None
        self._device = "cpu"

    def attach(self) -> None:
        """Install the hooks: PyTorch's global ones, so that nothing is written into the model; compiled ones warn of them."""
        if stance.has_compiled():
            self.lost = True
            return
        self._handles = [
            module_hooks.register_module_forward_pre_hook(lambda module, args: self._on_entry(module, args)),
            on_every_call(self._on_exit, always_call=True),
        ]

    def begin_call(self, module: nn.Module, args: Any) -> None:
        """Say that a module is being called: hooks that are installed meanwhile do not see its beginning."""
        if self._handles:
            self._on_entry(module, args)

    def _detach(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _on_entry(self, module: nn.Module, args: Any) -> None:
        if id(module) not in self._names or threading.get_ident() != self._thread:
            return
        if not self._running:
            try:
                self.given.batch = list(tensors(args))
            except Exception:  # a container of the program's own
                self.lost = True
        self._running.append(module)

    def _on_exit(self, module: nn.Module, args: Any, *rest: Any) -> None:
        if not self._running or self._running[-1] is not module or threading.get_ident() != self._thread:
            if self._running and id(module) not in self._names and threading.get_ident() == self._thread:
                self.made_inside.see(module, args)
            return
        self._running.pop()
        if len(rest) < 2:  # PyTorch gives no kwargs where forward raised, nor where hooks were taken away in between
            return
        kwargs, output = rest
        if torch.is_grad_enabled():
            with contextlib.suppress(Exception), torch.no_grad():  # one fact less
                self.given.see(self._names[id(module)], module, args, kwargs)
                self.handed_on.see(module, (args, kwargs), output)
                self.given.left(self._names[id(module)], module, args, output, is_outer=not self._running)
                if not self.calls:
                    self.own_tokens.see(module, args, kwargs, output)
                    self.own_series.see(module, args, output)
                if module is self._model:
                    self.own_tokens.answered(module, (args, kwargs), output)
                    self.own_series.answered(module, (args, kwargs), output)
                if not self._running:
                    self.given.pooled.answered(output)
        if self._running or self._is_over or self.lost or not torch.is_grad_enabled():
            return
        try:
            self._note(args, kwargs, output, is_whole=module is self._model)
        except Exception:  # some facts less, and nothing that reaches the loop
            self.lost = True

    def _note(self, args: Any, kwargs: Any, output: Any, *, is_whole: bool) -> None:
        returned = [tensor for _, tensor in tensors(output)]
        is_read = all(statistics.has_values(t) and t.numel() <= MOST_NUMBERS and not hasattr(t, "to_local") for t in returned)
        given = tuple(tensor for _, tensor in tensors((args, kwargs)))
        depends = is_whole and any(id(tensor) in self._follows and id(tensor) not in self._numbers for tensor in given)
        if not returned or not is_read or depends or len(self.calls) == _MOST_CALLS:
            self.lost = True
            return
        if not self.calls:
            self._open()
        self._drawn.clear()  # what was drawn before a call may be what it was given
        self.calls.append(Called(inputs=given, returned=output, is_whole=is_whole))
        self._follows |= {id(tensor): tensor for tensor in returned}

    def _open(self) -> None:
        self._is_open = mode_stack.enter(self)
        self.lost |= not self._is_open

    def close(self) -> None:
        """Keep nothing more, and leave the stack of modes."""
        self._detach()
        if self._is_open:
            self._is_open = False
            self.leave()

    def leave(self) -> bool:
        """Leave the stack of modes; others that were put on it since stay there, in their order.

        Returns:
            False while a function runs that was passed on, as a backward pass does: PyTorch puts the mode back behind it.
        """
        if self._num_running:
            return False
        mode_stack.leave(self)
        return True

    def forget(self) -> None:
        """Let go of what was kept: tensors with their graph."""
        self.calls, self.lines = [], []
        self.own_tokens.forget()
        self.own_series.forget()
        self.given.empty.forget()
        self.slopes.forget()
        self._follows, self._derived, self._made = {}, {}, {}

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        self._is_over |= func is Tensor.backward  # what runs again in it (a checkpoint) is no call of the loop
        self._num_running += 1
        try:
            result = call_as_caller(func, args, kwargs or {})
        finally:
            self._num_running -= 1
        if self._is_open and not self._is_over:
            with contextlib.suppress(Exception):  # one fact less
                self.has_flat |= is_derivative(func) and is_flat(words_of(args, kwargs or {}), result)
                self.slopes.see(func, args, kwargs or {}, result)
                self.extremes.see(getattr(func, "__name__", ""), args, kwargs or {}, result)
        if self._is_open and not self._is_over and not self.lost and not self._running:
            try:
                self._keep(func, args, kwargs or {}, result)
            except Exception:
                self.lost = True
        return result

    def _keep(self, func: Callable, args: tuple, kwargs: dict, result: Any) -> None:
        line = Line(func=func, args=args, kwargs=kwargs, results=tuple(tensor for _, tensor in tensors(result)))
        given = list(line.reads())
        follows = any(id(tensor) in self._follows for tensor in given)
        name = getattr(func, "__name__", "")
        self.draws_own |= follows and name in _ACTS and not any(tensor.requires_grad for tensor in line.results)
        is_drawn = name.startswith("rand") or (not follows and any(word in name for word in _DRAWS))
        if is_drawn or all(id(tensor) in self._made for tensor in given):
            results = {id(tensor): tensor for tensor in line.results}
            self._made |= results
            self._drawn |= set(results) if is_drawn else set()
            self._random |= set(results) if is_drawn or any(id(tensor) in self._random for tensor in given) else set()
            return
        if name in DISTANCES and _are_set_against(given, self._follows, self._drawn):
            self.draws_target = True
        elif any(id(tensor) in self._random for tensor in given):  # noise of another net's input, which is to tell it
            self._drawn.clear()
        self.crosses_given |= not follows and _are_column_and_row(given)
        written = line.written()
        if not line.results and written is None:
            return
        known = self._follows if follows else self._derived
        if not self.lines:
            self._device = line.results[0].device.type if line.results else "cpu"
            is_cast = torch.is_autocast_enabled(self._device)
            self._cast = torch.get_autocast_dtype(self._device) if is_cast else None
        self.lost |= written is not None and id(written) not in known  # computed again, it would be written again
        for tensor in given:
            self._take(tensor)
        self.lines.append(line)
        # What hands on the very tensor that it is given, as `to` of one that is there already, makes nothing.
        written_now = () if written is None else (written,)
        made = [tensor for tensor in line.results if not any(tensor is one for one in given)]
        known |= {id(tensor): tensor for tensor in (*made, *written_now)}
        self.lost |= len(self.lines) > _MOST_LINES

    def _take(self, tensor: Tensor) -> None:
        """Keep what a function is given that no function of the tape made."""
        self.lost |= is_own_function(tensor)
        if id(tensor) in self._follows or id(tensor) in self._derived:
            return
        foreign = isinstance(tensor, nn.Parameter) and id(tensor) not in self._own  # another net's: its answer is no target
        hidden = tensor.requires_grad and not tensor.is_leaf
        self.lost |= foreign or hidden
        self._versions.setdefault(id(tensor), tensor._version)

    def read(self, loss: Any) -> Replay | None:
        """The loss as a function of outputs and targets.

        Args:
            loss: that the loop hands over.

        Returns:
            None where it is not known how it was computed, or where computing it again gives another number.
        """
        if self.lost or not self.calls or not isinstance(loss, Tensor) or loss.numel() != 1 or is_own_function(loss):
            return None
        wanted, lines = {id(loss)}, []
        for line in reversed(self.lines):
            if any(id(tensor) in wanted for tensor in line.writes()):
                wanted |= {id(tensor) for tensor in line.reads()}
                lines.append(line)
        outputs = {id(tensor) for call in self.calls for _, tensor in tensors(call.returned)}
        if not lines or not wanted & outputs:
            return None
        lines.reverse()
        given = [tensor for line in lines for tensor in line.reads() if id(tensor) not in self._follows | self._derived]
        if any(tensor._version != self._versions.get(id(tensor)) for tensor in given):
            return None
        numbers = {name: tensor for key, name in self._numbers.items() if (tensor := self._follows[key]) is not None}
        replay = Replay(
            calls=self.calls,
            lines=lines,
            loss=loss,
            numbers={name: tensor for name, tensor in numbers.items() if id(tensor) in wanted},
            targets=self._targets(lines),
            cast=(self._device, self._cast),
        )
        again, was = float(replay(replay.model, replay.batch).detach()), float(loss.detach())
        return replay if abs(again - was) <= _SAME * abs(was) or (again != again and was != was) else None

    def given_to_both(self) -> tuple[Tensor, ...]:
        """What the model was given, and what its loss was given beside its outputs; nothing of several calls, or no targets.

        Beside the one tensor of several dimensions, an integer for each example is left out: a length, a place, a step.
        """
        whole = [call for call in self.calls if call.is_whole]
        if self.lost or len(whole) != 1 or len(self.calls) != 1:
            return ()
        wide = [tensor for tensor in whole[0].inputs if tensor.dim() > 1 or tensor.is_floating_point()]
        inputs, targets = wide if len(wide) == 1 else whole[0].inputs, self._targets(self.lines)
        rows = len(inputs[0]) if inputs and inputs[0].dim() else 0
        if any(len(target) != rows for target in targets):  # as of `loss_fn(model(x[rows]), y[rows])`
            targets = self._set_beside(rows)
        return (*inputs, *targets) if targets else ()

    def _set_beside(self, rows: int) -> list[Tensor]:
        """What the loop has made of what it was given, one row for each example, and sets beside outputs, each once."""
        found: dict[int, Tensor] = {}
        for line in self.lines:
            read = list(line.reads())
            if any(id(tensor) in self._follows for tensor in read):
                made = (t for t in read if id(t) in self._derived and t.dim() and len(t) == rows and not t.requires_grad)
                found |= {id(tensor): tensor for tensor in made}
        return list(found.values())

    def _targets(self, lines: list[Line]) -> list[Tensor]:
        """Tensors that the loss is given and the model is not, the first of them last, where targets are looked for."""
        shown = {id(tensor) for call in self.calls for tensor in call.inputs}
        found: dict[int, Tensor] = {}
        for line in lines:
            options = {id(value) for name, value in line.kwargs.items() if name in _OPTIONS}
            if getattr(line.func, "__module__", "") == "torch.nn.functional":
                options |= {id(value) for value in line.args[2:]}
            for tensor in line.reads():
                is_given = not any(id(tensor) in known for known in (self._follows, self._derived, self._made, shown))
                if is_given and tensor.dim() and tensor.numel() > 1 and not tensor.requires_grad and id(tensor) not in options:
                    found.setdefault(id(tensor), tensor)
        return list(found.values())[::-1]


def _are_set_against(given: list[Tensor], outputs: Mapping[int, Tensor], drawn: set[int]) -> bool:
    """Whether two tensors of one shape are what the outputs came to, with a gradient, and what was drawn."""
    if len(given) != 2 or given[0].shape != given[1].shape or not any(id(t) in drawn for t in given):
        return False
    return any(id(t) in outputs and id(t) not in drawn and t.requires_grad for t in given)


def _are_column_and_row(given: list[Tensor]) -> bool:
    if len(given) != 2 or given[0].numel() < 2:
        return False
    shapes, count = {tuple(tensor.shape) for tensor in given}, given[0].numel()
    return shapes == {(count,), (count, 1)}
