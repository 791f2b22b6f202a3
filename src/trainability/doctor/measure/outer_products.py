"""Numbers of each example that a loss multiplies, or sets off, all with all, (n,) and (n, 1), before it takes one mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from trainability.doctor.batches import batch_size, first_examples
from trainability.doctor.measure.randomness import randomness_restored

_FEWEST = 8  # examples
_ROUNDED = 1e-3  # of the logarithm of a sum of probabilities
_PRODUCTS = frozenset({"mul", "rmul", "multiply", "div", "truediv", "divide"})
# What leaves a table of all pairs one of all pairs: of one table, of several of them, or of one and single numbers.
_ALONG = _PRODUCTS | {"neg", "negative", "add", "radd", "sub", "rsub", "clamp", "clip", "min", "minimum", "max", "maximum"}
_REDUCES = frozenset({"mean", "sum"})
_SET_OFF = frozenset({"sub", "rsub", "subtract", "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"})
_BENDS = frozenset({"pow", "square", "abs"})  # of differences
_STANDS_UP = frozenset({"unsqueeze", "getitem", "view", "reshape"})  # (n,) as (n, 1), on purpose

Forward = Callable[[Any, Any], Tensor]


class OuterProducts(TorchFunctionMode):
    """Follows products and differences of (n,) and (n, 1), of which a gradient is to come back, to one mean or sum.

    Pairs that are meant do not end so: a mean of all products is the product of both means, whatever stands beside what, and
    what is least far from all of another's numbers is one number. Differences count where one of the two has a gradient, and
    (n, 1) was not made of (n,) before: samples may be compared with all of another distribution's.

    Attributes:
        found: n, and the mean of the factor without a gradient over its rms (1 where both have one); None if there is none.
        apart: n, of differences; None if there are none.
        picked: n, of tables (n, n) of which each row has the columns that the whole batch picks, as q[:, actions] has, where
            these are set off against one number for each example, or log-probabilities are multiplied by it, before one mean,
            and no other number of each pair takes part; None if there are none.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: tuple[int, float] | None = None
        self.apart: int | None = None
        self.picked: int | None = None
        self._columns: dict[int, tuple[Tensor, bool]] = {}  # of every row, by the numbers of all; whether of log-probabilities
        self._compared: dict[int, Tensor] = {}  # and these beside one number for each example
        self._tables: dict[int, tuple[Tensor, float | None]] = {}  # kept alive, so that an id is one tensor's
        self._stood_up: dict[int, Tensor] = {}
        self._fixed: dict[int, Tensor] = {}  # differences of all pairs, of which none has a gradient: advantages

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor):
            name, given = getattr(func, "__name__", "").strip("_"), [a for a in args if isinstance(a, Tensor)]
            if name in _STANDS_UP and given and given[0].dim() == 1 and result.dim() == 2:
                self._stood_up[id(result)] = result
            elif result.requires_grad and self.found is None and self.apart is None:
                self._follow(name, given, result)
                self._pick(name, args, given, result)
            elif not result.requires_grad and self._is_fixed(name, given):
                self._fixed[id(result)] = result
        return result

    def _follow(self, name: str, given: list[Tensor], result: Tensor) -> None:
        tables = [self._tables[id(t)] for t in given if id(t) in self._tables]
        is_of_tables = bool(tables) and len(tables) == sum(t.dim() > 0 for t in given)
        if name in _REDUCES and tables and result.dim() == 0:
            self._ends(*tables[0])
        elif name in _PRODUCTS and len(given) == 2 and _are_row_and_column(*given):
            fixed = next((t for t in given if not t.requires_grad), None)
            self._tables[id(result)] = result, 1.0 if fixed is None else _balance(fixed)
        elif name in _PRODUCTS and len(given) == 2 and (fixed := self._fixed_factor(given)) is not None:
            self._tables[id(result)] = result, _balance(fixed)
        elif name in _SET_OFF and self._are_set_off(given):
            if result.dim() == 0:
                self.apart = given[0].numel()
            self._tables[id(result)] = result, None
        elif is_of_tables and (name in _ALONG or (name in _BENDS and tables[0][1] is None)):
            self._tables[id(result)] = result, tables[0][1]

    def _pick(self, name: str, args: tuple, given: list[Tensor], result: Tensor) -> None:
        if (name == "getitem" and _are_columns_of_all(*args[:2])) or (name == "index_select" and _are_selected(args)):
            self._columns[id(result)] = result, _are_logs(given[0])
            return
        compared, tables = self._is_compared(name, given), [t for t in given if id(t) in self._compared]
        if result.dim() == 0:
            ended = given if compared else tables if name in _REDUCES else []
            self.picked = self.picked or next((len(t) for t in ended if t.dim() == 2), None)
        elif compared or (tables and name in _ALONG | _BENDS and len(tables) == sum(t.dim() > 0 for t in given)):
            self._compared[id(result)] = result

    def _is_compared(self, name: str, given: list[Tensor]) -> bool:
        """Whether columns that all examples pick meet one number for each example."""
        if name not in _SET_OFF | _PRODUCTS or len(given) != 2 or not any(id(t) in self._columns for t in given):
            return False
        one, other = given if id(given[0]) in self._columns else given[::-1]
        if tuple(other.shape) not in ((len(one),), (len(one), 1)) or (name in _PRODUCTS and not self._columns[id(one)][1]):
            return False
        # The score of each row's own choice, (n, 1), may be what those of all other choices are to stay below.
        return id(other) not in self._columns and not (other.requires_grad and other.dim() == 2)

    def _ends(self, table: Tensor, balance: float | None) -> None:
        if balance is None:
            self.apart = len(table)
        else:
            self.found = len(table), balance

    def _is_fixed(self, name: str, given: list[Tensor]) -> bool:
        """Whether a result without a gradient is a difference of all pairs, or such a one scaled or shifted."""
        tables = [t for t in given if id(t) in self._fixed]
        if tables:
            return name in _ALONG and len(tables) == sum(t.dim() > 0 for t in given)
        if name not in _SET_OFF or len(given) != 2 or not _are_row_and_column(*given):
            return False
        return not any(t.requires_grad or id(t) in self._stood_up for t in given)

    def _fixed_factor(self, given: list[Tensor]) -> Tensor | None:
        """Such a difference that is multiplied with one number for each example."""
        for one, other in (given, given[::-1]):
            if id(one) in self._fixed and other.requires_grad and tuple(other.shape) in ((len(one),), (len(one), 1)):
                return one
        return None

    def _are_set_off(self, given: list[Tensor]) -> bool:
        if len(given) != 2 or not _are_row_and_column(*given) or given[0].requires_grad == given[1].requires_grad:
            return False
        return not any(id(t) in self._stood_up for t in given)


def _are_columns_of_all(table: Any, places: Any) -> bool:
    """Whether `table[:, numbers]` has as many numbers as there are rows."""
    if not isinstance(places, tuple) or len(places) != 2 or places[0] != slice(None) or not isinstance(places[1], Tensor):
        return False
    return _are_numbers_of(table, places[1])


def _are_selected(args: tuple) -> bool:
    return len(args) == 3 and args[1] in (1, -1) and isinstance(args[2], Tensor) and _are_numbers_of(args[0], args[2])


def _are_numbers_of(table: Tensor, numbers: Tensor) -> bool:
    is_number = not numbers.is_floating_point() and numbers.dtype != torch.bool
    return table.dim() == 2 and is_number and tuple(numbers.shape) == (len(table),) and len(table) >= _FEWEST


def _are_logs(table: Tensor) -> bool:
    """Whether the probabilities of each row have these logarithms: other numbers may be penalised, weight by weight."""
    return bool((table.detach().double().logsumexp(dim=1).abs() < _ROUNDED).all())


def _are_row_and_column(a: Tensor, b: Tensor) -> bool:
    size = a.numel()
    return size >= _FEWEST and {tuple(a.shape), tuple(b.shape)} == {(size,), (size, 1)}


def _balance(factor: Tensor) -> float:
    values = factor.detach().double()
    return float(values.mean().abs() / values.square().mean().sqrt().clamp(min=1e-30))


def outer_facts(model: nn.Module, batch: Any, forward: Forward, seen: OuterProducts) -> dict[str, Any]:
    """Ask again with one example less: factors of examples are one less, too, and bins, experts or times as many as before.

    Args:
        model: as in the loop, in train mode with dropout off.
        batch: what was looked at.
        forward: of (model, batch), the loss.
        seen: the pass on the whole batch.

    Returns:
        `OuterProducts.found`, `apart` and `picked`, as fields of `Facts`; None where a smaller batch shows as many. A batch
        that cannot be cut is taken as it is.
    """
    found, apart, picked, size = seen.found, seen.apart, seen.picked, batch_size(batch)
    if (found is None and apart is None and picked is None) or size is None or size <= _FEWEST:
        return {"outer_product": found, "outer_difference": apart, "picked_columns": picked}
    smaller = first_examples(batch, size - 1)
    if batch_size(smaller) == size - 1:
        again = OuterProducts()
        with torch.enable_grad(), randomness_restored(), again:
            forward(model, smaller)
        found = found if found is not None and again.found is not None and again.found[0] < found[0] else None
        apart = apart if apart is not None and again.apart is not None and again.apart < apart else None
        picked = picked if picked is not None and again.picked is not None and again.picked < picked else None
    return {"outer_product": found, "outer_difference": apart, "picked_columns": picked}
