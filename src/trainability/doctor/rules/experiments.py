"""Experiments: changes that were tried and make the program learn"""

from trainability.doctor.evidence import Evidence
from trainability.doctor.experimented import figures
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.rules.rule import rule
from trainability.doctor.tested import own_code


@rule(severities=("error",))
def confirmed_change(evidence: Evidence) -> list[Finding]:
    """One change makes the program learn, and no rule suspected it.

    Fires: of the changes that were tried one at a time on copies, the best one, which no other finding suggests, reached a loss
        that the unchanged program does not come near: with two seeds, and in a fifth of the unchanged program's steps if there
        was time for them.
    Why: a cause is a change that, made alone, lets the program learn. The unchanged program must stay at chance, or leave at
        least four times as much of the way from chance to the ideal loss, and at least a quarter of it; docs/experiments.md
        says how often that is right.
    What fools it: two causes, where one change removes the worse one; a start so slow that the steps were too few to see its
        end; a change that memorises the few batches that were used.
    Fix: make the change.
    Source: own; the experiment itself.
    """
    experiments = evidence.experiments
    if experiments is None or not experiments.fails or not experiments.confirmed or evidence.steps:
        return []
    best, unchanged = experiments.confirmed[0], experiments.unchanged
    if best.suspects or unchanged is None or best.loss is None or unchanged.loss is None:
        return []
    return [
        Finding(
            rule="confirmed_change",
            code=own_code(best),
            severity="error",
            seen=figures(best, experiments),
            measurements=(
                Measurement(name="loss with the change", value=best.loss),
                Measurement(name="loss as it is", value=unchanged.loss),
                Measurement(name="steps", value=float(best.steps)),
            ),
            cause=f"it learns with one change: {best.change}",
            remedy=best.change,
            source="own; the experiment itself",
        )
    ]
