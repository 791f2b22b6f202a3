"""Linear layers that are handed each other's output, seen as they run: also in parts of a model that no trace reaches."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from trainability.doctor.graph_facts import Stacked
from trainability.doctor.measure.graph import nodes_of_loss
from trainability.doctor.measure.nodes import parents_of

_HAND_ON = (nn.Identity, nn.Dropout)


class Chains:
    """Sees which linear layer is given what another returned, itself or behind a dropout.

    Attributes:
        pairs: (name of the first, the first, name of the second, the second, what is handed on), as they ran.
        idle: names of the first and the second, between which an `nn.Identity` ran, in a module that holds it beside the first.
    """

    def __init__(self) -> None:
        self.pairs: list[tuple[str, nn.Linear, str, nn.Linear, Tensor]] = []
        self.idle: set[tuple[str, str]] = set()
        self._made: dict[
            int, tuple[str, nn.Linear, Tensor, int]
        ] = {}  # id of the result: layer, result (kept alive), its version
        self._kept: dict[str, set[str]] = {}  # by a linear layer, identities that were given what it returned

    def enter(self, name: str, module: nn.Module, args: Any) -> None:
        """A module is about to run."""
        if args and (made := self._made.get(id(args[0]))) is not None and made[3] != _version(args[0]):
            del self._made[id(args[0])]  # an activation has been written into it
        if type(module) is nn.Linear and args and (made := self._made.get(id(args[0]))) is not None:
            self.pairs.append((made[0], made[1], name, module, args[0]))
            if any(_holder(each) == _holder(made[0]) for each in self._kept.get(made[0], ())):
                self.idle.add((made[0], name))

    def leave(self, name: str, module: nn.Module, args: Any, output: Any) -> None:
        """A module has run."""
        if not isinstance(output, Tensor):
            return
        if type(module) is nn.Linear:
            self._made[id(output)] = (name, module, output, _version(output))
        elif isinstance(module, _HAND_ON) and args and (made := self._made.get(id(args[0]))) is not None:
            self._made[id(output)] = (made[0], made[1], output, _version(output))
            if type(module) is nn.Identity:
                self._kept.setdefault(made[0], set()).add(name)


def _version(x: Tensor) -> int:
    """How often something was written into a tensor; tensors of inference mode do not count that."""
    return 0 if x.is_inference() else x._version


def _holder(name: str) -> str:
    return name.rpartition(".")[0]


def chained(chains: Chains, loss: Tensor) -> tuple[Stacked, ...]:
    """The pairs of which nothing but the second layer takes what the first returns, each once, in their order.

    Args:
        chains: that a pass has seen.
        loss: with its graph, which tells who takes what.
    """
    if not chains.pairs or loss.grad_fn is None:
        return ()
    taken: dict[Any, int] = {}
    for node in nodes_of_loss(loss.grad_fn, through_bounds=True):
        for parent in parents_of(node):
            taken[parent] = taken.get(parent, 0) + 1
    found: dict[tuple[str, str], Stacked] = {}
    for first, one, second, other, handed in chains.pairs:
        if one is not other and taken.get(handed.grad_fn, 0) <= 1:
            widths = (one.in_features, one.out_features, other.out_features)
            found[first, second] = Stacked(first=first, second=second, widths=widths, is_idle=(first, second) in chains.idle)
    return tuple(found.values())
