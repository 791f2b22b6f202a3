"""Models whose answers do not go by where something is: pooled over all places, and asked with contents moved."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from trainability.doctor.batches import tensors
from trainability.doctor.measure import statistics
from trainability.doctor.measure.copies import copied
from trainability.doctor.measure.forward_pass import ForwardPass, callable_model
from trainability.doctor.measure.placed_targets import told_by_places
from trainability.doctor.measure.randomness import generators_restored, randomness_restored, seed_torch
from trainability.doctor.readings import PlaceBlind

_FEWEST_PLACES, _MOST_NUMBERS = 12, 16  # along a dimension; of an answer
_FEW, _MOST_SHIFTS = 8, 8  # examples that are asked with their contents moved; distances
_MIDDLE, _OUTER = (0.35, 0.65), 0.2  # of the places
_SHORTEST, _EDGE = 4, 2  # places that it is moved by, which strides of 2 and 4 divide; left at either end
_SAME, _MOVED = 1e-3, 0.4  # change by moving in the middle, over the answers' spread; out of it, over what is added
_NEAR_ZERO, _NOISE = 0.01, 0.1
_OFTEN = 8  # calls of one layer in a pass, as of a cell that goes from step to step
_STEPWISE = frozenset({"cumsum", "cumprod", "cummax", "logcumsumexp", "lstm", "gru", "rnn_tanh", "rnn_relu"})


def place_blind(seen: ForwardPass, batches: Iterable[Any]) -> PlaceBlind | None:
    """Look for a model that cannot tell where something is, and targets that go by it.

    A copy is asked where a small piece of an input makes the same answer anywhere in the middle third of the places, and
    nearly the same outside of it. Layers that reach from there to the border do tell places, by its padding.

    Args:
        seen: a pass of the model, with one input of floating-point numbers, such as (examples, channels, height, width), and a
            loss that compares a few numbers for each with as many targets.
        batches: the training loader, of which some hundred examples are read where the model is blind.

    Returns:
        None where places change the answers, where the targets do not go by them, and where that is not certain.
    """
    asked = _asked(seen)
    if asked is None:
        return None
    given, place, target, number = asked
    with randomness_restored(), torch.no_grad():
        seed_torch(0)
        twin = woken(callable_model(seen))
        found = _blind(twin, given.detach(), number) if twin is not None else {}
        if not found:
            return None
        with generators_restored(batches):
            told = told_by_places(batches, place, target, tuple(found))
    if told is None:
        return None
    moved = max(found[dim] for dim in told["dims"])
    return PlaceBlind(given=place, target=target, shape=tuple(given.shape[1:]), moved=moved, **told)


def _asked(seen: ForwardPass) -> tuple[Tensor, str, str, int] | None:
    """The input, its place in a batch, that of the targets, and which tensor of the output is compared with them."""
    if len(seen.calls) != 1 or seen.against is None:
        return None
    inputs = [x for _, x in tensors(seen.inputs)]
    if len(inputs) != 1 or len(seen.inputs) != 1 or not inputs[0].is_floating_point() or not 2 <= inputs[0].dim() <= 4:
        return None
    given, (answer, wanted) = inputs[0], seen.against
    numbers = given.shape[0] * _MOST_NUMBERS
    if len(given) < 4 or answer.shape != wanted.shape or not len(given) <= answer.numel() <= numbers:
        return None
    number = next((k for k, t in enumerate(seen.returned) if t.numel() == answer.numel() and t.shape[0] == len(given)), None)
    places = [p for p, t in seen.batch if t.data_ptr() == given.data_ptr() and t.shape == given.shape]
    places = places or [p for p, t in seen.batch if t.shape == given.shape]
    targets = [p for p, t in seen.batch if t.data_ptr() == wanted.data_ptr() and t.numel() == wanted.numel()]
    targets = targets or [p for p, t in seen.batch if t.is_floating_point() and t.shape == wanted.shape]
    if number is None or len(places) != 1 or len(targets) != 1 or places == targets:
        return None
    return given, places[0], targets[0], number


def _blind(model: nn.Module, given: Tensor, number: int) -> dict[int, float]:
    """Dimensions of the input along which places do not count, with the change of the answers nearer to its ends."""
    dims = [dim for dim in range(1, given.dim()) if given.shape[dim] >= _FEWEST_PLACES]
    rows, found = given[:_FEW].clone(), dict[int, float]()
    if not dims or not bool(given.isfinite().all()):
        return {}
    try:
        is_stepwise = _goes_stepwise(model.double(), rows.double())
        rows = rows.double()
    except Exception:  # it makes numbers of single precision itself
        model, rows = model.float(), rows.float()
        is_stepwise = _goes_stepwise(model, rows.clone())
    if is_stepwise:
        return {}
    unit = (rows - given.mean()) / given.std().clamp(min=1e-30)
    for dim in dims:
        # Positions may be drowned by inputs that are large, at this scale.
        changes = [_change(model, each, dim, dims, number) for each in (rows, unit)]
        kept = [change for change in changes if change is not None]
        if any(change > _MOVED for change in kept):  # it tells places by the border
            return {}
        if len(kept) == len(changes):
            found[dim] = max(kept)
    return found


def _change(model: nn.Module, rows: Tensor, dim: int, dims: list[int], number: int) -> float | None:
    """How the answer to a small piece on an even ground changes as it is moved out of the middle, over what the piece adds.

    Returns:
        None where moving it within the middle third changes the answers at all.
    """
    count = rows.shape[dim]
    size = {d: max(3, rows.shape[d] // 12) for d in dims}
    first = math.ceil(_MIDDLE[0] * count)
    longest = math.floor(_MIDDLE[1] * count) - size[dim] - first
    if longest < _SHORTEST:  # the middle third of few places leaves no room
        longest = min(_SHORTEST, count - size[dim] - 2 * _EDGE)
        first = (count - size[dim] - longest) // 2
    start = {d: (rows.shape[d] - size[d]) // 2 for d in dims} | {dim: first}
    ground = rows.mean(dim=(0, *dims), keepdim=True).expand_as(rows)
    pieces = [_piece(row, each, size) for row, each in zip(rows, ground, strict=True)]

    def at(shift: int) -> Tensor | None:
        made = ground.clone()
        for row, piece in zip(made, pieces, strict=True):
            for d in dims:
                row = row.narrow(d - 1, start[d] + (shift if d == dim else 0), size[d])
            row.copy_(piece)
        return _answers(model, made, number)

    own, plain = at(0), _answers(model, ground.clone(), number)
    if own is None or plain is None:
        return None
    spread = float((own - own.mean(dim=0)).square().mean().sqrt())
    same, least = (_SAME, 1e-9) if rows.dtype == torch.double else (10 * _SAME, 1e-3)
    if not spread > least * float(statistics.rms(own)):
        return None

    def changed(shift: int, over: float = spread) -> float:
        moved = at(shift)
        return float((moved - own).square().mean().sqrt()) / over if moved is not None else math.inf

    # Strides make it the same at some distances only; a place that counts makes it differ at each.
    shifts = sorted(range(max(1, (longest + 1) // 2), longest + 1), key=lambda shift: (-(shift & -shift), shift))
    step = next((shift for shift in shifts[:_MOST_SHIFTS] if changed(shift) <= same), None)
    if step is None:
        return None
    while step % 2 == 0 and changed(step // 2) <= same:
        step //= 2
    outer = [round((place * count - start[dim]) / step) for place in (_OUTER, 1 - _OUTER - size[dim] / count)]
    size_of_answer = float((own - plain).square().mean().sqrt())
    return max(changed(step * steps, size_of_answer) for steps in outer)


def _piece(row: Tensor, ground: Tensor, size: dict[int, int]) -> Tensor:
    """What stands out the most of an example."""
    apart = (row - ground).abs()
    for d, width in size.items():
        others = [k for k in range(row.dim()) if k != d - 1]
        peak = int((apart.amax(dim=others) if others else apart).argmax())
        first = min(max(peak - width // 2, 0), row.shape[d - 1] - width)
        row = row.narrow(d - 1, first, width)
        apart = apart.narrow(d - 1, first, width)
    return row


def _answers(model: nn.Module, rows: Tensor, number: int) -> Tensor | None:
    found = [t for _, t in tensors(model(rows))]
    if len(found) <= number or len(found[number]) != len(rows) or not bool(found[number].isfinite().all()):
        return None
    return found[number].reshape(len(rows), -1).double()


def woken(model: nn.Module) -> nn.Module | None:
    """A copy in evaluation mode in which tables of positions, and weights that begin at zero or one, count; None without.

    Args:
        model: of which it is a copy.
    """
    try:
        (twin,) = copied(model)
    except ValueError:
        return None
    twin.eval()
    draws = torch.Generator().manual_seed(0)
    for module in twin.modules():
        is_own = not type(module).__module__.startswith("torch.nn.") or isinstance(module, nn.Embedding)
        is_own |= isinstance(module, nn.LayerNorm) and len(module.normalized_shape) > 1
        for parameter in module.parameters(recurse=False):
            if not parameter.numel() or not parameter.is_floating_point():
                continue
            size = (
                1.0
                if is_own
                else _NOISE
                if float(parameter.detach().abs().amax()) < _NEAR_ZERO and parameter.dim() > 1
                else 0.0
            )
            if size:
                parameter.data = parameter.data + size * torch.randn(parameter.shape, generator=draws).to(parameter)
    return twin


class _Stepwise(TorchFunctionMode):
    """Sees whether a function is called that goes from step to step."""

    def __init__(self) -> None:
        super().__init__()
        self.is_found = False

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        self.is_found |= getattr(func, "__name__", "") in _STEPWISE
        return func(*args, **(kwargs or {}))


def _goes_stepwise(model: nn.Module, rows: Tensor) -> bool:
    """Whether a state is carried along, which may count steps though it is forgotten at first."""
    if any(isinstance(module, nn.RNNBase | nn.RNNCellBase) for module in model.modules()):
        return True
    with _calls(model) as counts, _Stepwise() as stepwise:
        model(rows)
    return stepwise.is_found or max(counts.values(), default=0) >= _OFTEN


@contextlib.contextmanager
def _calls(model: nn.Module) -> Iterator[dict[nn.Module, int]]:
    """How often each layer with weights is called, while it lasts; of a copy, whose hooks go with it."""
    counts: dict[nn.Module, int] = {}

    def count(module: nn.Module, args: Any) -> None:
        counts[module] = counts.get(module, 0) + 1

    layers = [m for m in model.modules() if any(True for _ in m.parameters(recurse=False))]
    handles = [layer.register_forward_pre_hook(count) for layer in layers]
    try:
        yield counts
    finally:
        for handle in handles:
            handle.remove()
