"""A model that is an affine function of its input although several of its trained layers act one behind the other.

`stacked` reads this off the trace, where one layer takes what another returns. Here it is measured, whatever lies between: sums
of branches, products with a matrix that is not trained, as of a graph's neighbours, functions that the trace does not know.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from trainability.doctor.batches import tensors
from trainability.doctor.facts import Facts
from trainability.doctor.measure.arithmetic import Arithmetic
from trainability.doctor.measure.forward_pass import ForwardPass, callable_model
from trainability.doctor.measure.graph import behind_views, nodes_of_loss
from trainability.doctor.measure.instead import exchanged
from trainability.doctor.measure.nodes import SAME_VALUES, call_of, parents_of
from trainability.doctor.measure.put_back import put_back
from trainability.doctor.measure.randomness import generators_restored, randomness_restored, seed_torch
from trainability.doctor.measure.workspace import set_training
from trainability.doctor.readings import AffineWhole

_MOVES = (-1.0, 0.1, 10.0, 100.0)  # times the input's own size
_ROUNDING = 1e-3  # of how far the output moves: float32 leaves 1e-5, and a ReLU 0.1 and more
_APART, _TOGETHER = 0.5, 1e-2  # by which two weights are scaled; what both do beyond each alone, of what one does
_FEWEST_ROWS, _MOST_LAYERS, _MOST_INPUTS = 4, 8, 3  # examples; layers that are asked in pairs; inputs that are moved
_MOST_COLUMNS, _MOST_ROWS, _ROWS_PER_COLUMN = 512, 4096, 4
_ANSWERED = 0.9  # of the targets' variance, or of the labels, that a linear map of the input explains
_PRODUCTS = frozenset({"linear", "matmul", "rmatmul", "mm", "bmm", "addmm", "einsum"})
_CONVOLUTIONS = ("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
_BOUNDS = frozenset({"sigmoid", "softmax", "log_softmax", "logsigmoid"})
_VIEWS = frozenset({"squeeze", "unsqueeze", "view", "reshape", "flatten"})
# What a loss begins with that asks for the outputs themselves; anything else in it may be the model's nonlinear part.
_ASKS = frozenset(
    {"LogSoftmax", "BinaryCrossEntropyWithLogits", "LogSigmoid", "NllLoss", "NllLoss2D", "BinaryCrossEntropy"}
) | {*("MseLoss", "L1Loss", "SmoothL1Loss", "HuberLoss", "Sub", "Rsub")}


@dataclass(frozen=True, kw_only=True)
class _Layer:
    """A trained weight in one product with what is made of the input.

    Attributes:
        name: of the module, or of the weight where a module holds it by itself.
        weight: the parameter.
        widths: features in and out.
        size: numbers that the product makes of each example.
        kernel: sizes of a convolution's; () for a matrix.
    """

    name: str
    weight: nn.Parameter
    widths: tuple[int, int]
    size: int
    kernel: tuple[int, ...]


class _Products(TorchFunctionMode):
    """Follows what is made of one input, and keeps the products of it with trained weights."""

    def __init__(self, x: Tensor, trained: dict[int, tuple[str, nn.Parameter]], arithmetic: Arithmetic | None = None) -> None:
        super().__init__()
        self._arithmetic = arithmetic
        self.found: list[_Layer] = []
        self.before: dict[int, Tensor] = {}  # what a bound or a view took, by the id of its result
        self._rows, self._trained = len(x), trained
        self._made: dict[int, Tensor] = {id(x): x}  # kept alive, so that an id is one tensor's

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        given = [t for _, t in tensors((args, kwargs or {}))]
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "").strip("_")
        if self._arithmetic is not None:
            self._arithmetic.see(name, args, kwargs or {}, result)
        if any(id(t) in self._made for t in given):
            made = [t for _, t in tensors(result)]
            self._made |= {id(t): t for t in made}
            if made and (name in _PRODUCTS or name in _CONVOLUTIONS):
                self._keep(name, given, made[0])
            if made and (name in _BOUNDS or name in _VIEWS) and made[0] is not given[0]:
                self.before[id(made[0])] = given[0]
        return result

    def _keep(self, name: str, given: list[Tensor], made: Tensor) -> None:
        for place, operand in enumerate(given):
            base = operand if id(operand) in self._trained else operand._base
            if base is None or id(base) not in self._trained or id(operand) in self._made or operand.dim() < 2:
                continue
            owner, weight = self._trained[id(base)]
            turned = name == "linear" or (place == 0 and name != "einsum") or name in _CONVOLUTIONS[:3]
            first, second = operand.shape[:2]
            widths = (second, first) if turned else (first, second)
            kernel = tuple(operand.shape[2:])
            size = made.numel() // self._rows
            self.found.append(_Layer(name=owner, weight=weight, widths=widths, size=size, kernel=kernel))

    def without_bound(self, output: Tensor) -> Tensor:
        """What the model's last sigmoid or softmax was given, if it ends in one; else its output."""
        value = output
        while (before := self.before.get(id(value))) is not None:
            value = before
        return value


def affine_whole(
    model: nn.Module,
    seen: ForwardPass,
    loss: Tensor,
    known: Facts,
    batches: Iterable[Any],
    managed: set[str] | None,
) -> AffineWhole | None:
    """Move the input far, and scale the weights of two layers together.

    Weights are moved first, so that what is at zero in the beginning, as the last layer of a branch, takes part.

    Args:
        model: plain; it is put back.
        seen: the pass on a batch.
        loss: its loss, with the graph.
        known: facts so far; a model that the trace has shown to be affine is not asked.
        batches: of the training loader.
        managed: names of the parameters that the optimizer has; None where that is unknown.

    Returns:
        The measurements; None where the model bends, where fewer than two layers act one behind the other, where they may be
        several on purpose (a bottleneck, a weight that is used again and again, a loss with functions of its own between,
        another input that may be a gate, see `Arithmetic`), or where a linear map of the input explains the targets.
    """
    if known.has_nonlinearity is False and known.stacked:
        return None
    if len(seen.calls) != 1 or seen.calls[0].model is not seen.model or not _asks_outputs(seen, loss):
        return None
    if any(isinstance(module, nn.modules.batchnorm._NormBase) for module in model.modules()):
        return None  # in training it is no affine function of a batch
    trained = _trained_weights(model, managed)
    if len(trained) < 2:
        return None
    for x in [t for _, t in tensors(seen.inputs) if _is_data(t)][:_MOST_INPUTS]:
        is_free = not _others_are_fixed(seen, x, batches)
        found = None
        # One fact less where a model takes no other values than those of its data.
        with contextlib.suppress(Exception), randomness_restored(), torch.no_grad(), put_back(model):
            seed_torch(0)
            set_training(model, False)
            found = _measured(model, seen, x, trained, is_free=is_free)
        if found is not None:
            return found if not _is_answered(seen, x, batches) else None
    return None


def _is_data(value: Any) -> bool:
    return (
        isinstance(value, Tensor)
        and value.dtype in (torch.float32, torch.float64)
        and value.layout == torch.strided
        and value.dim() > 1
        and len(value) >= _FEWEST_ROWS
    )


def _asks_outputs(seen: ForwardPass, loss: Tensor) -> bool:
    """Whether all that the loss does first with the outputs is what takes logits, or a difference from a target."""
    if seen.output is None or seen.output.grad_fn is None or loss.grad_fn is None:
        return False
    made = behind_views(seen.output.grad_fn)
    readers = [n for n in nodes_of_loss(loss.grad_fn) if any(behind_views(above) is made for above in parents_of(n))]
    readers = [n for n in readers if call_of(n) not in SAME_VALUES]
    return bool(readers) and all(call_of(node) in _ASKS for node in readers)


def _others_are_fixed(seen: ForwardPass, x: Tensor, batches: Iterable[Any]) -> bool:
    """Whether what else the model is given is the same for every batch, as the edges of one graph are.

    Else the model may depend on it in any way: a gate, an attention, a table that it is looked up in.
    """
    others = _beside(seen, x)
    if not others:
        return True
    with generators_restored(batches):
        following = [dict(tensors(each)) for each in itertools.islice(batches, 3)]
    for other in others:
        path = next((name for name, t in seen.batch if t is other), None)
        if path is not None and len(following) > 1:
            values = [found.get(path) for found in following]
            if any(value is None or not _equal(value, other) for value in values):
                return False
        elif len(other.shape) and len(other) == len(x) and tuple(other.shape) != (len(x), len(x)):
            return False
    return True


def _beside(seen: ForwardPass, x: Tensor) -> list[Tensor]:
    """What else the model is given."""
    return [t for _, t in tensors(seen.inputs) if t is not x]


def _equal(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.equal(a.detach().cpu(), b.detach().cpu().to(a.dtype))


def _trained_weights(model: nn.Module, managed: set[str] | None) -> dict[int, tuple[str, nn.Parameter]]:
    """Weights of linear layers and convolutions, and matrices that a module holds itself, with the names of their owners."""
    found = {}
    for owner, module in model.named_modules():
        for name, p in module.named_parameters(recurse=False):
            full = f"{owner}.{name}" if owner else name
            is_conv = isinstance(module, nn.modules.conv._ConvNd)
            if not p.requires_grad or (managed is not None and full not in managed):
                continue
            if (is_conv and module.groups == 1 and name == "weight") or (not is_conv and p.dim() == 2):
                found[id(p)] = (owner if name == "weight" and owner else full, p)
    return found


def _measured(
    model: nn.Module, seen: ForwardPass, given: Tensor, trained: dict[int, Any], *, is_free: bool
) -> AffineWhole | None:
    """The measurements on one input of the model, `given`; None where it bends, or layers may be several on purpose.

    With `is_free`, what else the model is given differs from batch to batch: it has to be sums and products alone.
    """
    x = given.detach()
    size = float(x.float().square().mean().sqrt()) or 1.0
    for p in model.parameters():
        spread = 0.5 * max(float(p.detach().abs().square().mean().sqrt()), 0.1)
        p.add_(spread * torch.randn_like(p))
    at = x + size * torch.randn_like(x)
    arithmetic = Arithmetic(at, _beside(seen, given), model.parameters())
    with (products := _Products(at, trained, arithmetic)):
        answers = [t for _, t in tensors(_call(seen, given, at)) if t.is_floating_point()]
    if len(answers) != 1 or (is_free and not arithmetic.is_plain):
        return None
    layers = _used_once(products.found)
    bound = products.without_bound(answers[0])
    is_bound = bound.numel() == answers[0].numel() and any(id(bound) == id(t) for t in products.before.values())

    def answer(x: Tensor) -> Tensor:
        with _Products(x, {}) if is_bound else contextlib.nullcontext() as again:
            output = next(t for _, t in tensors(_call(seen, given, x)) if t.is_floating_point())
        return (output if again is None else again.without_bound(output)).double().flatten()

    gap = _distance_from_affine(answer, at, size)
    if gap is None:
        return None
    numbers = (at[0].numel(), answers[0].numel() // len(at))
    if min((layer.size for layer in layers), default=0) < min(numbers):
        return None  # of a lower rank than a matrix would have: factors on purpose
    pairs = [
        (first, second, mixed)
        for first, second in itertools.combinations(layers[:_MOST_LAYERS], 2)
        if _are_wide(first, second) and (mixed := _together(answer, at, first.weight, second.weight)) > _TOGETHER
    ]
    if not pairs:
        return None
    names = dict.fromkeys(layer.name for first, second, _ in pairs for layer in (first, second))
    ordered = tuple(layer.name for layer in layers if layer.name in names)
    return AffineWhole(layers=ordered, gap=gap, mixed=max(mixed for *_, mixed in pairs))


def _call(seen: ForwardPass, given: Tensor, x: Tensor) -> Any:
    """The model's answer to another tensor in the place of one that it was given."""
    return callable_model(seen)(*exchanged(seen.inputs, given, x))


def _used_once(layers: list[_Layer]) -> list[_Layer]:
    """A weight that is used again and again is a linear recurrence, which has meant it."""
    counts = [sum(other.weight is layer.weight for other in layers) for layer in layers]
    return [layer for layer, count in zip(layers, counts, strict=True) if count == 1]


def _are_wide(first: _Layer, second: _Layer) -> bool:
    """Whether two layers are neither factors of a matrix of lower rank nor of a kernel."""
    least = min(first.widths[0], second.widths[1])
    kernels = first.kernel, second.kernel
    crossed = len(kernels[0]) == len(kernels[1]) > 0 and all(min(pair) == 1 for pair in zip(*kernels, strict=True))
    is_separable = crossed and max(kernels[0]) > 1 and max(kernels[1]) > 1
    return first.widths[1] >= least and second.widths[0] >= least and not is_separable


def _distance_from_affine(answer: Callable[[Tensor], Tensor], at: Tensor, size: float) -> float | None:
    """The largest distance of outputs from the plane that two moves span; None beyond rounding, and where nothing moves."""
    along, across = (size * torch.randn_like(at) for _ in range(2))
    start = answer(at)
    if not torch.equal(start, answer(at)):
        return None
    step, other = answer(at + along) - start, answer(at + across) - start
    reach = float(torch.minimum(step.abs().max(), other.abs().max()))
    if not reach > 1e-4 * float(start.abs().max()):
        return None
    gap = 0.0
    moves = [(move * along, move * step, move) for move in _MOVES]
    moves += [(move * (along + across), move * (step + other), move) for move in (1.0, 30.0)]
    for by, expected, move in moves:
        gap = max(gap, float((answer(at + by) - start - expected).abs().max()) / (max(abs(move), 1.0) * reach))
        if not gap <= _ROUNDING:  # most models bend at the first move
            return None
    return gap


def _together(answer: Callable[[Tensor], Tensor], at: Tensor, first: Tensor, second: Tensor) -> float:
    """What scaling both weights does to the output beyond what scaling each does, of what scaling one does."""
    kept = first.clone(), second.clone()

    def scaled(by_first: float, by_second: float) -> Tensor:
        first.copy_(by_first * kept[0])
        second.copy_(by_second * kept[1])
        return answer(at)

    more = 1 + _APART
    own, one, other, both = scaled(1, 1), scaled(more, 1), scaled(1, more), scaled(more, more)
    scaled(1, 1)
    moved = float(torch.maximum((one - own).abs().max(), (other - own).abs().max()))
    return float((both - one - other + own).abs().max()) / moved if moved > 0 else 0.0


def is_told_by_a_line(seen: ForwardPass, known: Facts, batches: Iterable[Any]) -> bool:
    """Whether a model that the trace has shown to be affine is asked what a linear map of its input answers."""
    if known.has_nonlinearity is not False or not known.stacked:
        return False
    with contextlib.suppress(Exception):
        return any(_is_answered(seen, x, batches) for x in [t for _, t in tensors(seen.inputs) if _is_data(t)][:_MOST_INPUTS])
    return False


def _is_answered(seen: ForwardPass, x: Tensor, batches: Iterable[Any]) -> bool:
    """Whether a linear map of the input that is fitted on half of the examples explains the targets of the others."""
    target = seen.target()
    paths = [next((name for name, t in seen.batch if t is each), None) for each in (x, target)]
    if None in paths or target is None:
        return False
    columns = x[0].numel() + 1
    if columns > _MOST_COLUMNS:
        return False
    with generators_restored(batches), randomness_restored():
        rows: list[list[Tensor]] = []
        for batch in batches:
            found = dict(tensors(batch))
            rows.append([found[str(path)].detach().cpu() for path in paths])
            if sum(len(x) for x, _ in rows) >= _MOST_ROWS:
                break
    if not rows or any(len(x) != len(y) for x, y in rows):
        return False
    x, y = (torch.cat(part) for part in zip(*rows, strict=True))
    if len(x) < _ROWS_PER_COLUMN * columns or (not y.is_floating_point() and y.dim() != 1):
        return False
    marks = y.double().flatten(1) if y.is_floating_point() and y.dim() > 1 else y.double()[:, None]
    if not y.is_floating_point():
        marks = F.one_hot(y.long() - int(y.min())).double()
    x = torch.cat([x.double().flatten(1), torch.ones(len(x), 1, dtype=torch.double)], dim=1)
    told = x[1::2] @ torch.linalg.lstsq(x[::2], marks[::2]).solution
    asked = marks[1::2]
    if not y.is_floating_point():
        return float((told.argmax(dim=1) == asked.argmax(dim=1)).double().mean()) >= _ANSWERED
    if bool(((asked == 0) | (asked == 1)).all()):
        return float(((told > 0.5) == (asked > 0.5)).double().mean()) >= _ANSWERED
    return 1 - float((told - asked).square().sum() / (asked - marks[::2].mean(dim=0)).square().sum()) >= _ANSWERED
