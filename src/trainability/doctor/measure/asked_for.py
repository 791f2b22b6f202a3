"""Models that play against each other, of which one is told what it is to make: whether any loss goes by that."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import to_device
from trainability.doctor.measure.idle_losses import Followed
from trainability.doctor.measure.left_behind import LeftBehind
from trainability.doctor.measure.nested import modules, players
from trainability.doctor.measure.put_back import put_back, variables_put_back
from trainability.doctor.measure.randomness import randomness_restored, seed_torch
from trainability.doctor.measure.uses import used_by
from trainability.doctor.measure.whole_step import as_one, loss_of_body

_FEWEST = 8  # rows
_SAME, _CHANGED = 1e-5, 1e-3  # of a loss, and of what is made
_STIRRED = 0.1  # of a weight's size: what starts at zero is to count


def unasked_for(
    model: Any,
    optimizer: Any,
    step: Callable[[Any, Any, Any], Any],
    batch: Any,
    followed: Followed | None = None,
) -> tuple[int, ...] | None:
    """Give the rows that one model makes to another in another order, and see whether any loss of the body changes.

    Args:
        model: a dict, tuple or list of several, or one that holds them.
        optimizer: likewise.
        step: of (model, optimizer, batch): the loop's whole body.
        batch: of the training loader.
        followed: what becomes of each loss; None where unknown.

    Returns:
        The critic and the generator (places among the models), where the generator is told a class for each row beside other
        things, makes other rows for other classes, and all losses of the body stay as they are when its rows change places:
        none goes by which class a row was asked for. Also, as a third place, who is moved by those that do go by it, where the
        generator's gradient of them is cleared. None elsewhere, and where it cannot be asked.
    """
    whole, losses = as_one(model), list[Tensor]()
    forward = loss_of_body(model, optimizer, step, losses) if whole is not None and len(players(model)) > 1 else None
    if whole is None or forward is None:
        return None
    whole = _stirred(whole)
    parts = list(whole.children()) if len(modules(model)) > 1 else players(whole)
    parameter = next(whole.parameters(), None)
    batch = to_device(batch, parameter.device) if parameter is not None else batch

    buffers = [(buffer, buffer.detach().clone()) for buffer in whole.buffers()]

    def ask(turned: nn.Module | None = None) -> tuple[list[float], _Calls]:
        calls = _Calls(parts, turned)
        for buffer, value in buffers:  # power iterations and running statistics go on with every call
            buffer.copy_(value)
        try:
            with torch.enable_grad(), randomness_restored():
                seed_torch(0)
                forward(whole, batch)
        finally:
            for handle in calls.handles:
                handle.remove()
        return [float(loss.detach().sum()) for loss in losses], calls

    with put_back(*used_by(step)), variables_put_back(step):
        own, calls = ask()
        again, _ = ask()
        if own != again:
            return None
        for critic, generator in calls.judged:
            if not _goes_by_class(parts[generator], calls.given[generator]):
                continue
            turned, _ = ask(parts[generator])
            if len(turned) != len(own):
                continue
            going = [k for k, (a, b) in enumerate(zip(own, turned, strict=True)) if abs(a - b) > _SAME * max(abs(a), abs(b))]
            if not going:
                return critic, generator
            if followed is None or len(followed.moved) != len(own):
                continue
            of_part, moved = _places(whole, parts), followed.moved
            is_cleared = all(followed.cleared[k] & of_part[generator] and not moved[k] & of_part[generator] for k in going)
            readers = [j for j in range(len(parts)) if any(moved[k] & of_part[j] for k in going)]
            if is_cleared and len(readers) == 1 and any(each & of_part[generator] for each in moved):
                return critic, generator, readers[0]
    return None


def _places(whole: nn.Module, parts: list[nn.Module]) -> list[frozenset[int]]:
    """The places of each part's parameters among all."""
    places = {id(p): k for k, p in enumerate(whole.parameters())}
    return [frozenset(places[id(p)] for p in part.parameters()) for part in parts]


class _Calls:
    """Who is given what, and whose result; of one model the rows are handed on in another order."""

    def __init__(self, parts: list[nn.Module], turned: nn.Module | None) -> None:
        self.given: dict[int, tuple[Any, ...]] = {}
        self.judged: dict[tuple[int, int], None] = {}
        self._made: list[tuple[int, Tensor]] = []  # kept alive, so that an address is one tensor's
        self.handles = [
            part.register_forward_hook(LeftBehind(self._on_call(k, part is turned))) for k, part in enumerate(parts)
        ]

    def _on_call(self, k: int, is_turned: bool) -> Callable[..., Tensor | None]:
        def seen(module: nn.Module, args: Any, output: Any) -> Tensor | None:
            first = args[0] if args and isinstance(args[0], Tensor) else None
            self.given.setdefault(k, args)
            for generator, made in self._made:
                if first is not None and made.data_ptr() == first.data_ptr() and generator != k:
                    self.judged[k, generator] = None
            if not isinstance(output, Tensor):
                return None
            answer = output.roll(1 + len(output) // 3, dims=0) if is_turned and output.dim() > 1 else output
            self._made.append((k, answer))
            return answer

        return seen


def _stirred(whole: nn.Module) -> nn.Module:
    """A copy with other weights: a layer that starts at zero is to have a part in what is asked."""
    twin, rng = copy.deepcopy(whole), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in twin.parameters():
            size = _STIRRED * max(float(p.detach().float().square().mean().sqrt()), 0.1)
            p.add_((size * torch.randn(p.shape, generator=rng)).to(p))
    return twin


def _classes(given: Any, rows: int) -> bool:
    """Whether a tensor names a class for each row: by an integer, or one-hot."""
    if not isinstance(given, Tensor) or given.dim() == 0 or len(given) != rows or bool((given == given[:1]).all()):
        return False
    if given.dim() == 1:
        return not given.is_floating_point() and given.dtype != torch.bool
    is_marked = given.dim() == 2 and given.shape[1] > 1 and bool(((given == 0) | (given == 1)).all())
    return is_marked and bool((given.sum(dim=1) == 1).all())


def _marks(given: Any) -> slice | None:
    """The columns of (rows, columns) numbers that name a class for each row, one-hot, beside others that do not."""
    if not isinstance(given, Tensor) or given.dim() != 2 or not given.is_floating_point():
        return None
    are_bits = ((given == 0) | (given == 1)).all(dim=0).tolist()
    width = given.shape[1]
    ends = [k for k in range(1, width) if are_bits[k] != are_bits[k - 1]]
    if len(ends) != 1:  # one block, at one of the sides
        return None
    columns = slice(0, ends[0]) if are_bits[0] else slice(ends[0], width)
    return columns if _classes(given[:, columns], len(given)) else None


def _with_other_classes(given: tuple[Any, ...], rows: int) -> list[Any] | None:
    """What a model is given, with classes of other rows; None where it is told no class, or nothing but classes."""
    places = [k for k, x in enumerate(given) if _classes(x, rows)]
    if places and len(places) < len(given):
        return [x.roll(1, dims=0) if k in places else x for k, x in enumerate(given)]
    if len(given) == 1 and (columns := _marks(given[0])) is not None:
        other = given[0].clone()
        other[:, columns] = other[:, columns].roll(1, dims=0)
        return [other]
    return None


def _goes_by_class(generator: nn.Module, given: tuple[Any, ...]) -> bool:
    """Whether a model makes other rows where their classes change places, and nothing else of what it is given does."""
    first = next((x for x in given if isinstance(x, Tensor) and x.dim() > 0), None)
    rows = len(first) if first is not None else 0
    other = _with_other_classes(given, rows) if rows >= _FEWEST else None
    if other is None:
        return False
    with torch.no_grad(), randomness_restored():
        made = []
        for asked in (given, given, other):
            seed_torch(0)
            made.append(generator(*asked))
    one, same, moved = made
    if not all(isinstance(x, Tensor) and len(x) == rows for x in made) or not torch.equal(one, same):
        return False
    return float((one - moved).norm()) > _CHANGED * float(one.norm())
