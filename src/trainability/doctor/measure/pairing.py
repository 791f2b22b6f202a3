"""Which target the loss sets beside which example: its own, another's, or none in particular.

Targets are compared as losses are given them, and rows are exchanged one by one, to see whose answer and whose target change.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from trainability.doctor.batches import tensors
from trainability.doctor.measure.forward_pass import ForwardPass
from trainability.doctor.measure.graph import behind_views
from trainability.doctor.measure.instead import Returned, exchanged, pull, returned_once
from trainability.doctor.measure.nodes import name_of
from trainability.doctor.measure.randomness import seed_torch
from trainability.doctor.measure.workspace import set_training
from trainability.doctor.pair_facts import Misaligned

_LOSSES = frozenset(
    {"cross_entropy", "nll_loss", "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "binary_cross_entropy"}
    | {"binary_cross_entropy_with_logits", "poisson_nll_loss", "gaussian_nll_loss"}
)
# What makes numbers that are not below zero; a square and a distance are no rates' logarithms either.
_RATES = {"ExpBackward": "exp", "SoftplusBackward": "softplus", "ReluBackward": "relu", "AbsBackward": "abs"}
_RATES |= {"SigmoidBackward": "sigmoid"}
_FEWEST, _MOVED = 8, 0.1  # examples; share of them whose target is another's
_SAME, _CHANGED = 1e-4, 0.01  # of the gradient of the outputs
_ROWS = 12  # that are exchanged
_TRIED = 3  # rows, after which nothing is asked any more where no target had a gradient of its own
_FEW = 2  # rows of the gradient that one target may have a part in
_MOST = 0.75  # share of the rows that must be held against another's target
_CLEARLY_MORE = 1.5
_SLIGHT = 1e-6  # of the largest value

Forward = Callable[[Any, Any], Tensor]


class Pairing(TorchFunctionMode):
    """Keeps what the losses of `torch.nn.functional` are given as targets.

    Attributes:
        targets: in the order of the calls.
        rates_twice: what makes the outputs, where `poisson_nll_loss` takes the exponential of what is a rate by itself.
    """

    def __init__(self) -> None:
        super().__init__()
        self.targets: list[Tensor] = []
        self.rates_twice: str | None = None

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if getattr(func, "__name__", "") in _LOSSES:
            given = args[1] if len(args) > 1 else (kwargs or {}).get("target")
            if isinstance(given, Tensor) and not given.requires_grad:
                self.targets.append(given)
        if getattr(func, "__name__", "") == "poisson_nll_loss" and args:
            options = dict(zip(("log_input",), args[2:3], strict=False)) | (kwargs or {})
            self.rates_twice = _made_positive(args[0]) if options.get("log_input", True) else None
        return func(*args, **(kwargs or {}))


def _made_positive(rates: Tensor) -> str | None:
    """The function that keeps numbers above zero, behind views and a small number that is added; None where there is none."""
    node = behind_views(rates.grad_fn)
    while node is not None and name_of(node) == "AddBackward" and len(above := [n for n, _ in node.next_functions if n]) == 1:
        node = behind_views(above[0])
    made = _RATES.get(name_of(node))
    return made if made is not None and bool((rates.detach() >= 0).all()) else None


def _equal(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and bool((a == b).all())


def unpaired(model: nn.Module, batch: Any, forward: Forward, seen: ForwardPass) -> bool:
    """Whether the loss goes by the targets, and not by which example has which.

    Args:
        model: runs in train mode; the caller puts modes, buffers and random state back.
        batch: an input that the model is given, and a target that it is not.
        forward: of (model, batch), the loss.
        seen: the same pass.

    Returns:
        True where exchanging targets between examples leaves the gradient of the outputs as it is, and other targets do not;
        False, too, where that cannot be asked: answers that do not repeat, outputs or targets that are alike for all examples.
    """
    output, shown = seen.output, [x for x in seen.inputs if isinstance(x, Tensor)]
    given = {x.data_ptr() for x in shown}
    found = [t for _, t in seen.batch if t.data_ptr() not in given and not any(_equal(t, x) for x in shown)]
    if len(found) != 1 or len(seen.batch) != 2 or output is None or output.dim() == 0 or len(output) != len(found[0]):
        return False
    target, rows = found[0], output.detach().float()
    if len(target) < _FEWEST or float((rows - rows.mean(dim=0)).abs().max()) < 0.05 * float(rows.abs().max()):
        return False
    # At random: rolled, a batch of as many examples of each class in a row, as for triplets, is divided as it was before.
    other = target[torch.randperm(len(target), generator=torch.Generator().manual_seed(0)).to(target.device)]
    if float((other != target).float().mean()) < _MOVED:
        return False
    returned = returned_once(model, batch, forward)
    if returned is None or not returned.tensors or returned.tensors[0].shape != output.shape:
        return False

    def ask(other: Tensor) -> Tensor | None:
        set_training(model, True)
        return pull(model, exchanged(batch, target, other), forward, returned)

    alike = target[:1].expand_as(target)
    own, again, moved, constant = (ask(given) for given in (target, target, other, alike))
    if own is None or again is None or moved is None or constant is None or not torch.equal(own, again):
        return False
    size = float(own.norm())
    return float((moved - own).norm()) <= _SAME * size and float((constant - own).norm()) > _CHANGED * size


def misaligned(whole: nn.Module, head: nn.Module, batch: Any, forward: Forward) -> Misaligned | None:
    """Exchange a row of each tensor of the batch, and see whose output changes, and whose gradient where outputs are fixed.

    Args:
        whole: is handed to `forward`; runs in eval mode, and the caller puts modes back.
        head: of its modules the one, called once, whose output has a row per example and goes into the loss.
        batch: as the loop draws it.
        forward: of (whole, batch), the loss.

    Returns:
        The two tensors of the batch, and an example of whose answer is held against whose target; None where each is held
        against its own, where outputs or targets mix examples, and where it cannot be asked.
    """
    found = dict(tensors(batch))
    sizes = {len(t) for t in found.values() if t.dim()}
    if len(sizes) != 1 or min(sizes) < _FEWEST:
        return None
    count = sizes.pop()
    set_training(whole, False)
    first, own = (returned_once(whole, batch, forward, head) for _ in range(2))
    if first is None or own is None or (place := place_of_rows(own, count)) is None:
        return None
    # What a loss pairs does not depend on the outputs' size; at large ones a softmax over examples looks like one of them.
    size = own.tensors[place].double().square().mean().sqrt().clamp(min=1)
    calm = [t / size.to(t) if k == place else t for k, t in enumerate(own.tensors)]
    pulled = pull(whole, batch, forward, own, answers=calm, place=place)
    if pulled is None or not torch.equal(first.tensors[place], own.tensors[place]):
        return None
    seen: dict[tuple[str, str], list[tuple[int, set[int], set[int]]]] = {}
    tried = 0
    for row in rows_asked(count):
        moved, asked, shares = {}, {}, {}
        for name in (n for n, t in found.items() if t.dim()):
            changed = exchanged_row(batch, name, row)
            if changed is None:
                continue
            now = returned_once(whole, changed, forward, head)
            pulled_now = pull(whole, changed, forward, own, answers=calm, place=place)
            moved[name] = changed_rows(own.tensors[place], now.tensors[place]) if now is not None else set()
            asked[name] = changed_rows(pulled, pulled_now)
            shares[name] = [
                _larger_share(before, after, rows)
                for before, after, rows in (
                    (own.tensors[place], now.tensors[place] if now is not None else None, moved[name]),
                    (pulled, pulled_now, asked[name]),
                )
            ]
        for given, rows in moved.items():
            for target, held in asked.items():
                made, wanted = shares[given][0], shares[target][1]
                if rows == held and made is not None and wanted is not None and made != wanted:  # a mixture of two examples
                    seen.setdefault((given, target), []).append((row, {made}, {wanted}))
                    continue
                if 0 < len(rows) <= count / 2 and 0 < len(held) <= _FEW:
                    seen.setdefault((given, target), []).append((row, rows, held))
        tried += 1
        sound = all(_is_own(*look) for looks in seen.values() for look in looks)
        if sound and (tried == _TRIED or any(len(looks) > 1 for looks in seen.values())):
            return None
    return next((told for names, looks in seen.items() if (told := judged(names, looks, count)) is not None), None)


def mispaired(whole: nn.Module, batch: Any, forward: Forward) -> Misaligned | None:
    """Likewise where a loss holds one output against another, row by row: whether like rows come of like rows of the batch.

    Args:
        whole: returns several tensors with a row per example, in one call or several; runs in eval mode.
        batch: as the loop draws it.
        forward: of (whole, batch), the loss.

    Returns:
        The two tensors of the batch that like rows are made of, and an example; None where they come of like rows, or it cannot
        be asked.
    """
    found = dict(tensors(batch))
    sizes = {len(t) for t in found.values() if t.dim()}
    if len(sizes) != 1 or min(sizes) < _FEWEST or len(found) < 2:
        return None
    count = sizes.pop()
    set_training(whole, False)
    returned: list[Tensor] = []
    handle = whole.register_forward_hook(lambda module, args, output: returned.extend(t for _, t in tensors(output)))

    def answers(given: Any) -> list[Tensor]:
        returned.clear()
        with torch.no_grad():
            _ask(whole, given, forward)
        return [t.detach() for t in returned if t.dim() > 1 and len(t) == count and t.is_floating_point()]

    try:
        own = answers(batch)
        if len(own) != 2 or not all(torch.equal(a, b) for a, b in zip(own, answers(batch), strict=True)):
            return None
        seen: dict[tuple[str, str], list[tuple[int, set[int], set[int]]]] = {}
        for row in rows_asked(count):
            made: list[tuple[str, set[int]]] = [("", set()), ("", set())]
            for name in (n for n, t in found.items() if t.dim() and exchanged_row(batch, n, row) is not None):
                now = answers(exchanged_row(batch, name, row))
                for place, (before, after) in enumerate(zip(own, now, strict=True)):
                    if rows := changed_rows(before, after):
                        made[place] = (name, rows | made[place][1])
            (one, first), (other, second) = made
            if one != other and 0 < len(first) <= _FEW and 0 < len(second) <= _FEW:
                seen.setdefault((one, other), []).append((row, first, second))
            if len(seen) != 1 or any(_is_own(*look) for looks in seen.values() for look in looks):
                return None
    finally:
        handle.remove()
    return next((told for names, looks in seen.items() if (told := judged(names, looks, count)) is not None), None)


def _is_own(row: int, rows: set[int], held: set[int]) -> bool:
    """Whether the target of a row is set against what that row's input made; of a graph, its own and not a neighbour's."""
    return bool(rows & held) and (row in held or row not in rows)


def judged(names: tuple[str, str], looks: list[tuple[int, set[int], set[int]]], count: int) -> Misaligned | None:
    """What rows that were asked about show: None of fewer than four, and where a quarter and more are held as they should be.

    Args:
        names: of the tensor that answers are made of, and of the one that they are held against.
        looks: the row that was exchanged, the answers that changed, and the answers of which something else was asked.
        count: rows of the batch.
    """
    wrong = [(row, rows, held) for row, rows, held in looks if not _is_own(row, rows, held)]
    if len(looks) < 4 or len(wrong) < _MOST * len(looks):
        return None
    steps = {min(held) - min(rows) for _, rows, held in wrong}
    if len(steps) == 1 and abs(min(steps)) < count / 2:  # the target of what comes next, of a batch that is a series
        return None
    row, rows, held = wrong[0]
    made = row if row in rows else min(rows)
    return Misaligned(
        given=names[0], target=names[1], num_wrong=len(wrong), num_asked=len(looks), row=row, made=made, held=min(held)
    )


def rows_asked(count: int) -> list[int]:
    """The first, the last, and some between."""
    between = [1 + k * (count - 2) // (_ROWS - 2) for k in range(_ROWS - 2)]
    return list(dict.fromkeys([count // 2, count // 4, count - 1, 0, *between]))


def exchanged_row(batch: Any, name: str, row: int) -> Any:
    """The batch with another example's value in one row of one tensor; None where all examples have the same."""
    tensor = dict(tensors(batch))[name]
    others = (tensor != tensor[row : row + 1]).flatten(1).any(dim=1) if tensor.dim() > 1 else tensor != tensor[row]
    if not bool(others.any()):
        return None
    changed = tensor.clone()
    changed[row] = tensor[int(others.nonzero()[-1])]
    return exchanged(batch, tensor, changed)


def _larger_share(before: Tensor, now: Tensor | None, rows: set[int]) -> int | None:
    """Of two rows that change with one example, the one that clearly changes more."""
    if now is None or len(rows) != 2:
        return None
    one, other = sorted(rows, key=lambda row: -float((before[row] - now[row]).norm()))
    sizes = [float((before[row] - now[row]).norm()) for row in (one, other)]
    return one if sizes[0] > _CLEARLY_MORE * sizes[1] else None


def _ask(whole: nn.Module, batch: Any, forward: Forward) -> Tensor:
    with torch.random.fork_rng(devices=[]):
        seed_torch(0)
        return forward(whole, batch).sum()


def place_of_rows(returned: Returned, count: int) -> int | None:
    """The first tensor of numbers, of those that a module returned, with a row per example."""
    found = (k for k, t in enumerate(returned.tensors) if t.dim() and len(t) == count and t.is_floating_point())
    return next(found, None)


def changed_rows(before: Tensor | None, now: Tensor | None) -> set[int]:
    """Rows in which two tensors differ; none where one of them is missing."""
    if before is None or now is None or before.shape != now.shape:
        return set()
    apart = (before - now).abs().reshape(len(before), -1).amax(dim=1)
    return set(apart.gt(_SLIGHT * float(before.abs().max())).nonzero().flatten().tolist())
