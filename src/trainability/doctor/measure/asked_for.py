"""Models that play against each other, of which one is told what it is to make: whether any loss goes by that."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import to_device
from trainability.doctor.measure.left_behind import LeftBehind
from trainability.doctor.measure.nested import modules, players
from trainability.doctor.measure.put_back import put_back, variables_put_back
from trainability.doctor.measure.randomness import randomness_restored
from trainability.doctor.measure.uses import used_by
from trainability.doctor.measure.whole_step import as_one, loss_of_body

_FEWEST = 8  # rows
_SAME, _CHANGED = 1e-5, 1e-3  # of a loss, and of what is made
_STIRRED = 0.1  # of a weight's size: what starts at zero is to count


def unasked_for(model: Any, optimizer: Any, step: Callable[[Any, Any, Any], Any], batch: Any) -> tuple[int, int] | None:
    """Give the rows that one model makes to another in another order, and see whether any loss of the body changes.

    Args:
        model: a dict, tuple or list of several, or one that holds them.
        optimizer: likewise.
        step: of (model, optimizer, batch): the loop's whole body.
        batch: of the training loader.

    Returns:
        The judge and the maker (places among the models), where the maker is told a class for each row beside other things,
        makes other rows for other classes, and all losses of the body stay as they are when its rows change places: none goes
        by which class a row was asked for. None elsewhere, and where it cannot be asked.
    """
    whole, losses = as_one(model), list[Tensor]()
    forward = loss_of_body(model, optimizer, step, losses) if whole is not None and len(players(model)) > 1 else None
    if whole is None or forward is None:
        return None
    whole = _stirred(whole)
    parts = list(whole.children()) if len(modules(model)) > 1 else players(whole)
    parameter = next(whole.parameters(), None)
    batch = to_device(batch, parameter.device) if parameter is not None else batch

    def ask(turned: nn.Module | None = None) -> tuple[list[float], _Calls]:
        calls = _Calls(parts, turned)
        try:
            with torch.enable_grad(), randomness_restored():
                torch.manual_seed(0)
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
        for judge, maker in calls.judged:
            if not _goes_by_class(parts[maker], calls.given[maker]):
                continue
            moved, _ = ask(parts[maker])
            pairs = list(zip(own, moved, strict=False))
            if len(moved) == len(own) and all(abs(a - b) <= _SAME * max(abs(a), abs(b)) for a, b in pairs):
                return judge, maker
    return None


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
            for maker, made in self._made:
                if first is not None and made.data_ptr() == first.data_ptr() and maker != k:
                    self.judged[k, maker] = None
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


def _goes_by_class(maker: nn.Module, given: tuple[Any, ...]) -> bool:
    """Whether a model makes other rows where their classes change places, and nothing else of what it is given does."""
    first = next((x for x in given if isinstance(x, Tensor) and x.dim() > 0), None)
    rows = len(first) if first is not None else 0
    places = [k for k, x in enumerate(given) if _classes(x, rows)]
    if rows < _FEWEST or not places or len(places) == len(given):
        return False
    other = [x.roll(1, dims=0) if k in places else x for k, x in enumerate(given)]
    with torch.no_grad(), randomness_restored():
        made = []
        for asked in (given, given, other):
            torch.manual_seed(0)
            made.append(maker(*asked))
    one, same, moved = made
    if not all(isinstance(x, Tensor) and len(x) == rows for x in made) or not torch.equal(one, same):
        return False
    return float((one - moved).norm()) > _CHANGED * float(one.norm())
