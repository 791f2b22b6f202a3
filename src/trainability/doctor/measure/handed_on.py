"""States that a watched loop hands from step to step of a sequence without their graph, so that the last step alone learns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from trainability.doctor.batches import tensors
from trainability.doctor.measure.over_batch import nodes_behind

_FEWEST = 8  # steps
_MOST_REACHED = 3  # of them; more is a window that was chosen


@dataclass(frozen=True)
class _Step:
    """One call of a cell.

    Attributes:
        returned: with a gradient.
        is_cut: whether it was given the values of the call before, without their graph.
        given: where in memory the rest of what it was given lies.
    """

    returned: tuple[Tensor, ...]
    is_cut: bool
    given: tuple[int, ...]


class HandedOn:
    """Notes modules that are called step by step, each time with the values that the call before has returned."""

    def __init__(self) -> None:
        self._steps: dict[int, list[_Step]] = {}

    def see(self, module: nn.Module, given: Any, output: Any) -> None:
        """Take a module's call, as it has run with gradients.

        Args:
            module: any.
            given: its arguments.
            output: what it returned.
        """
        returned = tuple(tensor for _, tensor in tensors(output) if tensor.requires_grad)
        taken = [tensor for _, tensor in tensors(given)]
        if not returned or len(taken) < 2:  # most layers take one: nothing of theirs is kept
            return
        steps = self._steps.setdefault(id(module), [])
        before = {(t.data_ptr(), t.shape) for t in steps[-1].returned} if steps else set[Any]()
        handed = [tensor for tensor in taken if (tensor.data_ptr(), tensor.shape) in before]
        is_cut = bool(handed) and not any(tensor.requires_grad for tensor in handed)
        rest = tuple(t.data_ptr() for t in taken if all(t is not state for state in handed))
        steps.append(_Step(returned, is_cut, rest))

    def num_reached(self, loss: Tensor) -> tuple[int, int] | None:
        """How many of the last steps the loss hands a gradient to, and of how many, where a state is cut between all of them.

        Args:
            loss: with its graph; that this has been freed does not matter.

        Returns:
            None where no module has run so for eight steps and more, each on another part of a sequence; where more than three
            steps are reached, as where each step's answer is asked for; and where the last is not.
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
    """Whether each step is given something of its own beside the state: a step of a sequence, and not the same once more."""
    return len({step.given for step in steps[1:]}) == len(steps) - 1 and all(step.given for step in steps)
