"""Dropout: how much it drops, and what."""

from trainability.doctor import reading
from trainability.doctor.as_code import as_code
from trainability.doctor.best_constant import standing, still_falls
from trainability.doctor.evidence import Evidence
from trainability.doctor.facts import FORGETFUL_STATE, HEAVY_DROPOUT, LARGE_DROPOUT
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.rules.learns import learns_all_the_same
from trainability.doctor.rules.rule import rule

_MANY_STEPS = 300  # steps of a run that show that it does not learn
_LONG_RUN, _LITTLE = 1000, 0.9  # steps after which a run should be below this share of the best constant answer's cost


@rule(
    severities=("error", "warning", "hint"),
    verdict="dead",
    explains=(
        "flat_loss",
        "zero_gradient",
        "weights_decayed",
        "plateau",
        "prediction_collapse",
        "dead_units",
        "exploding_gradient",
        "oscillation",
        "vanishing_gradient",
        "update_ratio",
        "cannot_overfit",
        "loss_at_start",
    ),
)
def heavy_dropout(evidence: Evidence) -> list[Finding]:
    """Dropout leaves almost no units, or drops answers.

    Fires: a dropout module has a probability of 0.95 or more; an error where it is 1. From 0.8 a hint, or a warning where a run
        of 300 steps or more has not learned and its loss no longer falls, or, of 1,000 or more, is still at nine tenths of what
        the best constant answer costs; or where a rehearsal of 50 steps leaves nine tenths of the loss, or of what that answer
        costs. Code `function`: the same of `torch.nn.functional.dropout` as it is called in training, of what is no mask; a
        hint where the program learns. Code `state`: the whole state of a recurrence goes through the same dropout module at
        each step, which leaves less than a thousandth of it over a sequence; a hint below 0.5. Code `answers`: in training, at
        least 2 % of the answers that the loss compares with targets are exactly zero, at places that are drawn anew, and in
        evaluation none are; a hint where the program learns, and silent where the loss has no slope at any answer that is zero.
    Why: `torch.nn.Dropout(p)` takes the probability of dropping a unit, while other libraries and papers give the probability
        of keeping it: a p of 0.99 that was meant as the latter leaves one unit in a hundred, with ten times the spread in the
        output. `dropout(x, self.training)` takes True for p, which is 1: nothing is left in training, and nothing is dropped in
        evaluation. An answer that is dropped has no gradient, and the others are trained to be (1 - p) times what they should
        be.
    What fools it: input masks for masked training that are drawn by a dropout module.
    Fix: torch.nn.Dropout(1 - p); for `function`, p=0.5 and training=self.training by name; for `answers`, no dropout behind the
        last layer.
    Source: Srivastava et al., Dropout, JMLR 2014 (p is the share to keep); `torch.nn.Dropout` (p is the share to drop).
    """
    facts = evidence.facts
    if found := _of_answers(reading.facts(evidence).dropped_answers, reading.has_learned(evidence)):
        return found
    share = max(reading.facts(evidence).dropout or 0.0, reading.facts(evidence).function_dropout or 0.0)
    if facts is None or not share:
        return _forgetful(reading.facts(evidence).dropped_state)
    by_function, heavy = share != facts.dropout, share >= HEAVY_DROPOUT
    by = "dropout()" if by_function else facts.heavy_dropout[0] or "the model"
    remedy = f"torch.nn.Dropout({1 - share:.2g})"
    if by_function:
        remedy = f"torch.nn.functional.dropout(x, p={1 - share if share < 1 else 0.5:.2g}, training=self.training)"
    elif share == 1:
        remedy = "torch.nn.Dropout(0.5), or none"
    if evidence.steps:
        long = reading.num_steps(evidence) >= _MANY_STEPS  # a net that drops four fifths learns, but slowly
        at = standing(evidence) if reading.num_steps(evidence) >= _LONG_RUN else None
        learns_little = at is not None and at.loss >= _LITTLE * at.cost
        stays = long and not reading.has_learned(evidence) and (learns_little or not still_falls(evidence))
    else:
        stays = reading.stands_still(evidence) or _answers_as_a_constant(evidence)
    threshold = HEAVY_DROPOUT if heavy else LARGE_DROPOUT
    learns = by_function and learns_all_the_same(evidence)  # it may be on a side branch
    return [
        Finding(
            rule="heavy_dropout",
            code="heavy_dropout.function" if by_function else "heavy_dropout",
            severity="hint" if learns else "error" if share == 1 else "warning" if heavy or stays else "hint",
            seen=f"{by} drops {100 * share:.1f} % of its input",
            measurements=(Measurement(name="dropped share", value=share, threshold=threshold),),
            cause="the second argument of dropout() is p, the share to drop: a flag in its place is 1"
            if by_function and share == 1
            else "the share to keep was passed, where torch takes the share to drop",
            remedy=remedy,
            source="Dropout, JMLR 2014; torch.nn.Dropout",
            layers=() if by_function else facts.heavy_dropout,
        )
    ]


def _answers_as_a_constant(evidence: Evidence) -> bool:
    """Whether 50 rehearsed steps or more leave nine tenths of what the best constant answer costs, or more than it costs.

    Outputs that start far from all answers come to that answer first, which takes a large part of the loss away.
    """
    rehearsal = evidence.rehearsal
    if rehearsal is None or not rehearsal.reference:
        return False
    cost = rehearsal.constant_loss if rehearsal.task.chance is None else rehearsal.task.chance
    last = rehearsal.reference[-1]
    return cost is not None and last.step >= 50 and last.loss >= _LITTLE * cost > 0


def _of_answers(share: float | None, learns: bool) -> list[Finding]:
    """Dropout behind the last layer."""
    if share is None:
        return []
    return [
        Finding(
            rule="heavy_dropout",
            code="heavy_dropout.answers",
            severity="hint" if learns else "warning",
            seen=f"in training, {100 * share:.0f} % of the model's answers are exactly zero, at places that are drawn anew at "
            "each step, and in evaluation none are",
            measurements=(Measurement(name="dropped share of the answers", value=share, threshold=0.02),),
            cause="dropout is applied to the answers themselves, which the loss compares with the targets",
            remedy="no dropout behind the last layer",
            source="own; Srivastava et al., Dropout, JMLR 2014, drops inputs of layers",
        )
    ]


def _forgetful(state: tuple[str, float, int] | None) -> list[Finding]:
    """A share that is usual for one layer, dropped from the same state again and again."""
    if state is None or (1 - state[1]) ** state[2] >= FORGETFUL_STATE:
        return []
    name, share, steps = state
    left = (1 - share) ** steps
    return [
        Finding(
            rule="heavy_dropout",
            code="heavy_dropout.state",
            severity="warning" if share >= 0.5 else "hint",
            seen=f"{name} drops {100 * share:.0f} % of the state at each of {steps} steps: {left:.1g} of it is left at the end",
            measurements=(Measurement(name="remaining share", value=left, threshold=FORGETFUL_STATE),),
            cause="dropout is applied to the state that a recurrence carries on: each step forgets a random part",
            remedy=f"apply {as_code(name)} to each step's output or input, and carry the state on unchanged",
            source="Zaremba, Sutskever and Vinyals, Recurrent Neural Network Regularization, 2014",
            layers=(name,),
        )
    ]
