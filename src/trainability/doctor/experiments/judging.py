"""When a change fixes a program: how far from learned both are, beside a second seed. Numbers only; no torch.

What is left of the way from chance to the ideal loss is 1 at chance, 0 at the ideal, above 1 where the loss is worse than
that of the best constant answer. `benchmarks/confirm.py` counts how often these thresholds are right.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

Curve = Sequence[tuple[int, float]]

AT_CHANCE = 0.9  # more is left: nothing was learned that a batch's luck could not give
LEARNED = 0.85  # a change that leaves more has not shown that the program learns with it: its outputs follow the input
BESIDE_CHANCE = 0.85  # of what the program at chance leaves, so much or less
LEARNED_BLIND = 0.5  # the same where chance is unknown and the first loss is the measure
FAR = 4.0  # a program that learns fails only if it stays this many times above what the change reaches ...
FAR_OF_A_FACT = 2.0  # ... or this many, above what a counted fact's change reaches, which was not chosen for doing best ...
OUT_OF_REACH = 10.0  # ... which, this many times above, luck does not do, however far two seeds are apart ...
FAR_LEFT = 0.25  # ... and leaves this much ...
HALF = 0.5  # ... or this much, where the change only shortens what it does: a larger rate
SOLVED = 0.1  # below, nothing is left to fix
CLEARLY = 1.5  # of two changes that fix a program, the one that leaves this many times more only helps
LEAST = 0.03  # what is left below this is told apart by luck


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What the loss of one program means.

    Attributes:
        chance: loss of the best constant answer; the first loss, where that is not known.
        ideal: lowest loss of unbounded outputs; 0 where that is not known.
        blind: chance is not known.
        is_game: of models that play against each other, what one makes is measured: it comes nearer slowly, and by turns.
    """

    chance: float
    ideal: float
    blind: bool = False
    is_game: bool = False

    def left(self, loss: float | None) -> float:
        """What is left of the way from chance to the ideal; infinite where the loss is not finite."""
        if loss is None or not math.isfinite(loss):
            return math.inf
        return max((loss - self.ideal) / (self.chance - self.ideal), 0.0)

    def late(self, curve: Curve, steps: int | None = None) -> float:
        """What is left by the lowest of the last three losses, in favour of the program as it is.

        Args:
            curve: steps and losses.
            steps: up to these; None for all.
        """
        seen = [loss for step, loss in curve if steps is None or step <= steps]
        return self.left(min(seen[-3:])) if seen and math.isfinite(seen[-1]) else math.inf


def fixes(changed: float, unchanged: float, *, blind: bool = False, is_game: bool = False, is_certain: bool = False) -> bool:
    """Whether a change makes a program learn that otherwise does not, or stays far above.

    Args:
        changed: what is left with the change.
        unchanged: what is left without it, at best.
        blind: chance is not known.
        is_game: then only what does not come nearer at all can be fixed.
        is_certain: a counted fact calls for the change.
    """
    if not changed <= (LEARNED_BLIND if blind else LEARNED):
        return False
    if unchanged >= AT_CHANCE:
        return changed <= BESIDE_CHANCE * unchanged
    return not is_game and unchanged >= FAR_LEFT and unchanged >= (FAR_OF_A_FACT if is_certain else FAR) * max(changed, LEAST)
