"""The loss of a loop as a function of the model's outputs: kept as it is computed, to be computed again with others.

Monitor is not given a loss function. What stands between the model's outputs and the loss is a list of functions of PyTorch,
which a function mode sees; with it, the loss can be asked what it makes of other outputs and targets. The model does not run.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as module_hooks
from torch.overrides import TorchFunctionMode

from trainability.doctor.batches import map_parts, tensors
from trainability.doctor.measure import stance, statistics
from trainability.doctor.measure.graph import name_of
from trainability.doctor.measure.layer_inputs import LayerInputs

MOST_NUMBERS = 1 << 17  # of an output: each question is a loss, and there are hundreds
_MOST_LINES, _MOST_CALLS = 400, 8
_FEW_NUMBERS = 64  # of a parameter that a loss uses by itself: a variance, a temperature
_OPTIONS = frozenset({"weight", "pos_weight", "var"})  # tensors that a loss takes beside output and target
_IN_PLACE = frozenset(
    {"__setitem__", "__iadd__", "__isub__", "__imul__", "__idiv__", "__itruediv__", "__ifloordiv__", "__ipow__", "__imod__"}
    | {"__iand__", "__ior__", "__ixor__"}
)
_DRAWS = ("rand", "bernoulli", "multinomial", "poisson", "dropout")
_SAME = 1e-3  # of the loss, from which the one computed again may differ


@dataclass(frozen=True, kw_only=True)
class Line:
    """One function that was called, with what it was given and what came out."""

    func: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    results: tuple[Tensor, ...]

    def reads(self) -> Iterator[Tensor]:
        """Tensors that it was given."""
        return (tensor for _, tensor in tensors((self.args, self.kwargs)))

    def written(self) -> Tensor | None:
        """A tensor that it writes into."""
        name = getattr(self.func, "__name__", "")
        in_place = name in _IN_PLACE or (name.endswith("_") and not name.startswith("__"))
        first = self.args[0] if in_place and self.args and isinstance(self.args[0], Tensor) else None
        return self.kwargs.get("out", first)

    def writes(self) -> tuple[Tensor, ...]:
        """What is another afterwards."""
        return self.results if (written := self.written()) is None else (*self.results, written)


@dataclass(frozen=True, kw_only=True)
class Called:
    """One call of the model, or of a part of it that the loop calls by itself.

    Attributes:
        inputs: the tensors that it was given.
        returned: what it returned.
        is_whole: it was the model that was called.
    """

    inputs: tuple[Tensor, ...]
    returned: Any
    is_whole: bool


class Tape(TorchFunctionMode):
    """Keeps what is computed of a model's outputs, from the end of its first call to `close`.

    It passes every function on as it is. Nothing is kept, and `lost` says so, where something compiled or somebody else's mode
    runs, where outputs are too large or not to be read, and where a function that PyTorch does not show stands between.

    Attributes:
        calls: of the model, or of parts of it that the loop calls by itself.
        lines: functions that were called since, of anything but what was made of nothing.
        lost: the loss is not known as a function.
        given: what went into the layers.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.calls: list[Called] = []
        self.given = LayerInputs([])
        self._running: list[nn.Module] = []
        self._names = {id(module): name for name, module in model.named_modules()}
        self._handles: list[Any] = []
        self.lines: list[Line] = []
        self.lost = False
        self._model, self._is_open, self._is_over = model, False, False
        trained = ((name, p) for name, p in model.named_parameters() if p.requires_grad and not nn.parameter.is_lazy(p))
        self._numbers = {id(p): name for name, p in trained if p.numel() <= _FEW_NUMBERS}
        self._own = {id(p) for p in model.parameters()}
        self._follows: dict[int, Tensor] = {id(p): p for p in model.parameters() if id(p) in self._numbers}
        self._made: dict[int, Tensor] = {}  # by the loss, of nothing that it was given
        self._derived: dict[int, Tensor] = {}  # results that follow from something else that was given
        self._versions: dict[int, int] = {}
        self._cast: torch.dtype | None = None
        self._device = "cpu"

    def attach(self) -> None:
        """Install the hooks: PyTorch's global ones, so that nothing is written into the model; compiled ones warn of them."""
        if stance.has_compiled():
            self.lost = True
            return
        self._handles = [
            module_hooks.register_module_forward_pre_hook(lambda module, args: self._on_entry(module, args)),
            module_hooks.register_module_forward_hook(self._on_exit, with_kwargs=True, always_call=True),
        ]

    def _detach(self) -> None:
        for handle in self._handles:
            handle.remove()
            for name in ("_global_forward_hooks_with_kwargs", "_global_forward_hooks_always_called"):
                getattr(module_hooks, name, {}).pop(handle.id, None)
        self._handles = []

    def _on_entry(self, module: nn.Module, args: Any) -> None:
        if id(module) not in self._names:
            return
        if not self._running:
            self.given.batch = list(tensors(args))
        self._running.append(module)

    def _on_exit(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        if not self._running or self._running[-1] is not module:
            return
        self._running.pop()
        if torch.is_grad_enabled():
            with contextlib.suppress(Exception), torch.no_grad():  # one fact less
                self.given.see(self._names[id(module)], module, args, kwargs)
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
        self.calls.append(Called(inputs=given, returned=output, is_whole=is_whole))
        self._follows |= {id(tensor): tensor for tensor in returned}

    def _open(self) -> None:
        """Stand on the stack of modes, where nobody else's is but `torch.set_default_device`'s."""
        default = getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None)
        if any(mode is not default for mode in _stack()):
            self.lost = True
            return
        torch._C._push_on_torch_function_stack(self)
        self._is_open = True

    def close(self) -> None:
        """Leave the stack of modes; others that were put on it since stay there, in their order."""
        self._detach()
        if not self._is_open:
            return
        self._is_open = False
        above = []
        while torch._C._len_torch_function_stack() > 0 and any(mode is self for mode in _stack()):
            mode = torch._C._pop_torch_function_stack()
            if mode is self:
                break
            above.append(mode)
        for mode in reversed(above):
            torch._C._push_on_torch_function_stack(mode)

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        self._is_over |= func is Tensor.backward  # what runs again in it (a checkpoint) is no call of the loop
        result = func(*args, **(kwargs or {}))
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
        is_drawn = not follows and any(word in getattr(func, "__name__", "") for word in _DRAWS)
        if is_drawn or all(id(tensor) in self._made for tensor in given):
            self._made |= {id(tensor): tensor for tensor in line.results}
            return
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
        known |= {id(tensor): tensor for tensor in line.writes()}
        self.lost |= len(self.lines) > _MOST_LINES

    def _take(self, tensor: Tensor) -> None:
        """Keep what a function is given that no function of the tape made."""
        self.lost |= _is_own(tensor)
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
        if self.lost or not self.calls or not isinstance(loss, Tensor) or loss.numel() != 1 or _is_own(loss):
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
        """What the model was given, and what its loss was given beside its outputs; nothing of several calls."""
        whole = [call for call in self.calls if call.is_whole]
        if self.lost or len(whole) != 1 or len(self.calls) != 1:
            return ()
        return (*whole[0].inputs, *self._targets(self.lines))

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


class _Answers(nn.Module):
    """Returns what another model returned, call by call, with a graph of the function that bounds it.

    Attributes:
        leaves: free numbers behind every returned tensor that has a gradient.
    """

    def __init__(self, calls: list[Called], numbers: dict[str, Tensor]) -> None:
        super().__init__()
        self.returned: Any = None
        self.leaves = nn.ParameterList()
        self._bound: dict[int, Callable[[], Tensor]] = {}
        for tensor in (tensor for call in calls for _, tensor in tensors(call.returned)):
            if tensor.requires_grad and id(tensor) not in self._bound:
                free, bound = _unbound(tensor)
                self.leaves.append(nn.Parameter(free))
                self._bound[id(tensor)] = functools.partial(bound, self.leaves[-1])
        for name, number in numbers.items():
            self.register_parameter(name.replace(".", "_"), nn.Parameter(number.detach().clone()))

    def forward(self, *inputs: Tensor) -> Any:
        return self.again()

    def again(self) -> Any:
        """What the call returned whose turn it is."""

        def answer(part: Any) -> Any:
            if not isinstance(part, Tensor):
                return map_parts(part, answer)
            return self._bound[id(part)]() if part.requires_grad else part.detach().clone()

        return answer(self.returned)


class Replay:
    """The loss of other outputs, targets and parameters of the loss's own.

    Attributes:
        model: stands for the model; returns its outputs.
        batch: tensors that the model was given, and those that the loss was given beside its outputs.
    """

    def __init__(
        self,
        *,
        calls: list[Called],
        lines: list[Line],
        loss: Tensor,
        numbers: dict[str, Tensor],
        targets: list[Tensor],
        cast: tuple[str, torch.dtype | None],
    ) -> None:
        whole = [call for call in calls if call.is_whole]
        inputs = list({id(tensor): tensor for call in whole for tensor in call.inputs}.values())
        self.model, self._lines, self._loss = _Answers(calls, numbers), lines, loss
        self._calls = calls
        self._names = {id(tensor): name.replace(".", "_") for name, tensor in numbers.items()}
        self._kept, self._autocast = [*inputs, *targets], cast
        self.batch = tuple(tensor.detach() for tensor in self._kept)

    def __call__(self, model: nn.Module, batch: Any) -> Tensor:
        """The loss, one number with its graph.

        Args:
            model: `self.model`, whose `forward` may be another.
            batch: `self.batch`, or other tensors in its place.
        """
        values = {id(old): new for old, new in zip(self._kept, batch, strict=True)}
        values |= {key: self.model.get_parameter(name) for key, name in self._names.items()}
        for call in self._calls:
            self.model.returned = call.returned
            given = (values[id(tensor)] for tensor in call.inputs) if call.is_whole else ()
            answer = model(*given) if call.is_whole else self.model.again()
            old, new = ([tensor for _, tensor in tensors(part)] for part in (call.returned, answer))
            values |= {id(a): b for a, b in zip(old, new, strict=True)}

        def now(part: Any) -> Any:
            return values.get(id(part), part.detach()) if isinstance(part, Tensor) else map_parts(part, now)

        device, dtype = self._autocast
        with torch.autocast(device, dtype=dtype, enabled=dtype is not None, cache_enabled=False):
            for line in self._lines:
                found = line.func(*now(line.args), **now(line.kwargs))
                values |= {id(old): new for old, (_, new) in zip(line.results, tensors(found), strict=True)}
        return values[id(self._loss)].sum()


def _is_own(tensor: Tensor) -> bool:
    """Whether a function of a user's own made it, whose gradient is its own, too."""
    return isinstance(tensor.grad_fn, torch.autograd.function.BackwardCFunction)


def _stack() -> list[Any]:
    return [torch._C._get_function_stack_at(place) for place in range(torch._C._len_torch_function_stack())]


def _unbound(output: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Free numbers, and the function that bounds them to the outputs, where the graph says that one does."""
    node, plain = output.grad_fn, output.detach()
    name = name_of(node) if node is not None else ""
    if name in ("SoftmaxBackward", "LogSoftmaxBackward"):
        dim = node._saved_dim  # pyright: ignore[reportOptionalMemberAccess, reportAttributeAccessIssue]
        dim = dim - 2**64 if dim >= 2**63 else dim
        if name == "SoftmaxBackward":
            return plain.clamp(min=torch.finfo(plain.dtype).tiny).log(), lambda free: free.softmax(dim)
        return plain.clone(), lambda free: free.log_softmax(dim)
    if name == "SigmoidBackward":
        eps = torch.finfo(plain.dtype).eps
        return plain.clamp(eps / 4, 1 - eps / 2).logit(), torch.sigmoid
    if name == "TanhBackward":
        return plain.clamp(-1 + 1e-6, 1 - 1e-6).atanh(), torch.tanh
    if name == "ReluBackward":
        return plain.clone(), torch.relu
    if name == "ExpBackward":
        return plain.clamp(min=torch.finfo(plain.dtype).tiny).log(), torch.exp
    if name == "SoftplusBackward" and node._saved_beta == node._saved_threshold / 20 == 1:  # pyright: ignore[reportOptionalMemberAccess, reportAttributeAccessIssue]
        return plain.clamp(min=1e-30).expm1().log().where(plain < 20, plain), nn.functional.softplus
    return plain.clone(), torch.clone
