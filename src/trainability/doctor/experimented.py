"""What experiments found: each change alone, beside the program as it is. Data only; no torch."""

import math
from dataclasses import dataclass, field
from typing import Literal

Outcome = Literal["as it is", "trains", "also helps", "faster", "no better", "control", "not tested"]
OUTCOMES: tuple[Outcome, ...] = ("as it is", "trains", "also helps", "faster", "no better", "control", "not tested")
State = Literal["not finite", "at chance", "stays above", "learns", "open", "unknown"]
FAILING: tuple[State, ...] = ("not finite", "at chance", "stays above")
INAPPLICABLE = "does not apply to this program"
UNCHANGED, OTHER_SEED = "unchanged", "other_seed"
JOINT = " + "
"""Between the names of two changes that were made together."""
_APART = 0.05  # of what the program as it is leaves
SYMPTOMS = (
    "exploding_gradient",
    "flat_loss",
    "loss_cliff",
    "not_finite",
    "oscillation",
    "plateau",
    "unmoved_parameter.rounding",
    "update_ratio",
    "zero_gradient",
)
"""Findings, by rule or code, that say how a program goes wrong and not by what: many changes answer them."""


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One variant of the program, stepped from the start on the same batches.

    Attributes:
        name: of the intervention; two joined by " + "; "unchanged" or "other_seed".
        change: what differs from the program as it is, in words.
        outcome: "as it is" (the two without a change); "trains" (confirmed: it learns where the program as it is does not, or
            stays far above); "also helps" (likewise, and another change is nearer to the cause, or reaches clearly less);
            "faster" (the program as it is gets there too, or may); "no better"; "control" (asks a question and fixes nothing);
            "not tested" (it was not stepped, or for fewer steps than the program as it is).
        reason: why it was not tested, or what decided.
        suspects: codes of the findings that suggested it.
        is_certain: whether one of these is a counted fact, and no prediction and no symptom.
        curve: steps and the loss on the reference batch after them.
        bears_out: of a control: whether its answer speaks for what the findings suspect.
        again: the last loss with the other seed; None where that was not run.
        seconds: that it took.
    """

    name: str
    change: str
    outcome: Outcome = "no better"
    reason: str = ""
    suspects: tuple[str, ...] = ()
    is_certain: bool = False
    curve: tuple[tuple[int, float], ...] = ()
    bears_out: bool = False
    again: float | None = None
    seconds: float = field(default=0.0, compare=False)

    @property
    def rank(self) -> int:
        """How near the change is to the cause by what else is known: 0 for a counted fact, 1 for a suspicion, 2 for neither."""
        return 0 if self.is_certain else 1 if self.suspects else 2

    @property
    def first_loss(self) -> float | None:
        """Before the first step."""
        return self.curve[0][1] if self.curve else None

    @property
    def loss(self) -> float | None:
        """After the last step."""
        return self.curve[-1][1] if self.curve else None

    @property
    def steps(self) -> int:
        """Steps that were taken."""
        return self.curve[-1][0] if self.curve else 0

    def loss_at(self, steps: int) -> float | None:
        """The last loss that was measured after no more than these steps."""
        return next((loss for step, loss in reversed(self.curve) if step <= steps), None)


@dataclass(frozen=True, kw_only=True)
class Experiments:
    """What one change at a time does to the program.

    Attributes:
        arms: the program as it is, a second seed of it, then the changes, those that fix it first.
        state: of the program as it is: "not finite", "at chance", "stays above" (what a change reaches) are failures;
            "learns"; "open" (it may still get going within the planned steps); "unknown" (too few steps).
        steps: that an arm was given.
        chance: loss of the best constant answer; None if unknown, then what is left is measured by the first loss.
        ideal: the lowest loss that unbounded outputs could reach.
        outputs_vary: whether the outputs of the program as it is still depend on the input at the end.
        notes: what was not done, and why.
        seconds: that all took.
    """

    arms: tuple[Arm, ...] = ()
    state: State = "unknown"
    steps: int = 0
    chance: float | None = None
    ideal: float = 0.0
    outputs_vary: bool | None = None
    notes: tuple[str, ...] = ()
    seconds: float = field(default=0.0, compare=False)

    @property
    def unchanged(self) -> Arm | None:
        """The program as it is."""
        return next((arm for arm in self.arms if arm.name == UNCHANGED), None)

    @property
    def other_seed(self) -> Arm | None:
        """The program as it is, with another seed."""
        return next((arm for arm in self.arms if arm.name == OTHER_SEED), None)

    @property
    def changes(self) -> tuple[Arm, ...]:
        """The arms with a change."""
        return tuple(arm for arm in self.arms if arm.name not in (UNCHANGED, OTHER_SEED))

    @property
    def confirmed(self) -> tuple[Arm, ...]:
        """Changes that fix the program, the best first."""
        return tuple(arm for arm in self.arms if arm.outcome == "trains")

    @property
    def fails(self) -> bool:
        """Whether the program as it is was seen to fail."""
        return self.state in FAILING


def beside(arm: Arm, experiments: Experiments) -> Literal["lower", "alike", "higher"] | None:
    """How a change stands beside the program as it is: apart only by more than its two seeds are, and by a twentieth of what
    the nearer one leaves. None without two seeds to compare with.
    """
    seeds = [seed.loss_at(arm.steps) for seed in (experiments.unchanged, experiments.other_seed) if seed is not None]
    losses = [loss for loss in seeds if loss is not None and math.isfinite(loss)]
    if arm.loss is None or len(losses) < 2:
        return None
    low, high = min(losses), max(losses)
    apart = high - low
    if low - arm.loss > max(_APART * max(low - experiments.ideal, 0.0), apart):
        return "lower"
    return "higher" if not arm.loss - high <= max(_APART * max(high - experiments.ideal, 0.0), apart) else "alike"


def ends(arm: Arm, steps: int | None = None) -> str:
    """From which loss to which, and in how many steps."""
    last = arm.loss if steps is None else arm.loss_at(steps)
    return f"loss {written(arm.first_loss)} to {written(last)} in {arm.steps if steps is None else steps:,} steps"


def written(loss: float | None) -> str:
    """A loss for people; "not finite" where it is not."""
    if loss is None:
        return "not measured"
    return f"{loss:.4g}" if math.isfinite(loss) else "not finite"


def figures(arm: Arm, experiments: Experiments) -> str:
    """Both curves' ends in words: with the change, as it is, and the other seed."""
    unchanged, other = experiments.unchanged, experiments.other_seed
    said = f"{arm.change}: {ends(arm)}"
    if arm.again is not None:
        said += f" (other seed {written(arm.again)})"
    if unchanged is not None:
        said += f"; as it is {written(unchanged.first_loss)} to {written(unchanged.loss_at(arm.steps))}"
        if other is not None:
            said += f" (other seed {written(other.loss_at(arm.steps))})"
        if unchanged.steps > arm.steps:
            said += f", and {written(unchanged.loss)} after {unchanged.steps:,}"
    return said
