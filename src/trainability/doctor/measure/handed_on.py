"""States that a watched loop passes between the steps of a sequence without their graph: only the last step learns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from trainability.doctor.batches import tensors
from trainability.doctor.measure.over_batch import nodes_behind

_FEWEST = 8  # steps
_MOST_REACHED = 3  # of them; more may be a truncation window


@dataclass(frozen=True)
class _Step:
    """One call of a cell.

    Attributes:
        returned: tensors with a gradient.
        is_cut: whether its input has the values of the previous call's output, without their graph.
        given: memory addresses of its other inputs.
    """

    returned: tuple[Tensor, ...]
    is_cut: bool
    given: tuple[int, ...]


class HandedOn:
    """Record modules that are called step by step, each time with the values that the previous call returned."""

    def __init__(self) -> None:
        self._steps: dict[int, list[_Step]] = {}

    def see(self, module: nn.Module, given: Any, output: Any) -> None:
        """Record a module's call that has run with gradients.

        Args:
            module: any.
            given: its arguments.
            output: what it returned.
        """
        returned = tuple(tensor for _, tensor in tensors(output) if tensor.requires_grad)
        taken = [tensor for _, tensor in tensors(given)]
        if not returned or len(taken) < 2:  # most layers take one input, and are not recorded
            return
        steps = self._steps.setdefault(id(module), [])
        before = {(t.data_ptr(), t.shape) for t in steps[-1].returned} if steps else set[Any]()
        handed = [tensor for tensor in taken if (tensor.data_ptr(), tensor.shape) in before]
        is_cut = bool(handed) and not any(tensor.requires_grad for tensor in handed)
        rest = tuple(t.data_ptr() for t in taken if all(t is not state for state in handed))
        steps.append(_Step(returned, is_cut, rest))

    def num_reached(self, loss: Tensor) -> tuple[int, int] | None:
        """Number of last steps that get a gradient from the loss, and of all steps, if the state is cut between all of them.

        Args:
            loss: with its graph, which may have been freed.

        Returns:
            None if no module has run like this for eight steps or more, each on another part of a sequence; if more than three
            steps are reached, as when the loss uses each step's output; and if the last is not.
        """
        rows = [steps for steps in self._steps.values() if len(steps) >= _FEWEST]
        rows = [steps for steps in rows if all(step.is_cut for step in steps[1:]) and _are_apart(steps)]
        if not rows:
            return None
        nodes = set(map(id, kept := list(nodes_behind([loss.grad_fn]))))
        for steps in rows:
            felt = [any(id(tensor.grad_fn) in nodes for tensor in step.returned) for step in steps]
            if felt[-1] and sum(felt) <= _MOST_REACHED and felt == sorted(felt):
                return sum(felt), len(steps)
        del kept
        return None


def _are_apart(steps: list[_Step]) -> bool:
    """Whether each step has another input besides the state: a step of a sequence, not a repeated call."""
    return len({step.given for step in steps[1:]}) == len(steps) - 1 and all(step.given for step in steps)
