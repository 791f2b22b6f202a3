"""How low the loss can get: over all outputs, and over those that the model can give."""

import math

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.rules.floors import pole
from trainability.doctor.rules.loss_arguments import smoothed_labels
from trainability.doctor.rules.rule import rule
from trainability.doctor.rules.softened import bounded_cosines, one_temperature, softened, softened_divergence

CAPPED_SHARE = 0.1


@rule(severities=("error",), verdict="broken loss", explains=("loss_at_start", "cannot_overfit"))
def loss_below_floor(evidence: Evidence) -> list[Finding]:
    """The loss has no minimum, or fell below its lowest possible value.

    Fires: `nll_loss` is computed from outputs that are not log-probabilities (code `unbounded`); or the reference loss is below
        the lowest value of the recognised loss on these targets (code `impossible`). Code `pole`: under an unrecognised loss
        with unlimited outputs, there is a number next to which, as the value of all outputs, the loss goes to both infinities.
    Why: minus an unlimited output falls without end, and what falls is its scale, not the error.
    What fools it: nothing known; the loss is recognised by computing it from outputs and targets.
    Fix: end the model in log_softmax, or use cross_entropy on the outputs.
    Source: PyTorch, `torch.nn.NLLLoss`; own computation.
    """
    if found := pole(reading.facts(evidence)):
        return found
    rehearsal = evidence.rehearsal
    floor = rehearsal.task.floor if rehearsal is not None else None
    if rehearsal is None or floor is None or not rehearsal.reference:
        return []
    lowest = min((seen.loss for seen in rehearsal.reference if math.isfinite(seen.loss)), default=math.inf)
    unbounded = floor == -math.inf
    if not unbounded and not lowest < floor - 1e-3 * (1 + abs(floor)):
        return []
    return [
        Finding(
            rule="loss_below_floor",
            code="loss_below_floor." + ("unbounded" if unbounded else "impossible"),
            severity="error",
            seen=f"{rehearsal.task.loss} of outputs that are not log-probabilities has no lowest value"
            if unbounded
            else f"the loss reached {lowest:.3g}; the lowest possible is {floor:.3g}",
            measurements=(Measurement(name="lowest loss", value=lowest, threshold=None if unbounded else floor),),
            cause="the loss expects log-probabilities and gets something else",
            remedy="end the model in log_softmax, or use cross_entropy on its outputs",
            source="PyTorch, torch.nn.NLLLoss; own computation",
        )
    ]


@rule(severities=("error", "warning", "hint"), verdict="capped", explains=("plateau", "cannot_overfit", "loss_at_start"))
def capped_loss(evidence: Evidence) -> list[Finding]:
    """The model's last function limits its outputs, so the loss cannot come near zero.

    Fires: the outputs come from a softmax, sigmoid, tanh or ReLU, and the lowest loss that such outputs can reach on these
        targets is more than a tenth of the best constant answer's cost. Code `temperature`: the logits are divided by 20 or
        more before cross-entropy, then differ by less than 0.1, and the loss has fallen by less than 2 %. A warning with this
        code under SGD, where the loss is a divergence from soft targets at a temperature, multiplied by at most a tenth of the
        temperature's square, the outputs differ by less than 0.1, and 100 steps of a run, or a rehearsal in which each update
        could be a thousand times as long, reduced it by less than 5 %. A warning with this code where the logits are cosines
        (products of rows of unit length) times 0.5 or less, so that the loss, for the fewest of them in a row, cannot come
        below 0.75 of what equal logits cost. A warning with code `one_temperature`: in a check, `kl_div` compares what a linear
        layer has made, divided by a number of 1.5 or more of the program, with what another has made without a gradient,
        undivided; a hint where the latter alone is divided. A warning with code `smoothing`: cross-entropy is given
        label_smoothing that leaves half of the target or less to the true class; not at 1, where labels do not count. A warning
        with code `kept`: the loss is minus the log-likelihood of a flow to a normal distribution, some numbers of its points
        are numbers of the data times one and plus one that no weight and no example changes, and others are not; two or more
        couplings are given these numbers alone; and of up to 2,000 examples, they are not standard normal: a moment up to the
        fourth, of one or two of them, over its deviation under that distribution, is 0.15 or more and five standard errors.
    Why: both losses are computed: the floor from the range of the outputs, the constant's cost from the targets. The function
        is read off the graph of the backward pass, and the loss is recognised by computing it.
    What fools it: targets that a bounded output should clip; for `kept`, columns of the data that are given as a condition.
    Fix: remove the last activation (losses named `with_logits` and cross_entropy take logits), or scale the targets into its
        range. For `kept`: exchange the two halves from one coupling to the next.
    Source: docs/theory.md, section 5; own computation.
    """
    rehearsal = evidence.rehearsal
    if (
        found := softened(evidence) or bounded_cosines(evidence) or softened_divergence(evidence) or one_temperature(evidence)
    ) is not None:
        return [found]
    if smoothed := smoothed_labels(reading.facts(evidence)):
        return smoothed
    if (kept := reading.facts(evidence).kept_by_flow) is not None:
        return [_kept(*kept)]
    task = rehearsal.task if rehearsal is not None else None
    if task is None or task.floor is None or task.chance is None or task.form == "values":
        return []
    if not (math.isfinite(task.floor) and task.chance > 0 and task.floor > CAPPED_SHARE * task.chance):
        return []
    graph = evidence.facts.graph if evidence.facts is not None else None
    at = graph.made_at if graph is not None and graph.made_at else "the last activation of the model"
    return [
        Finding(
            rule="capped_loss",
            severity="error",
            seen=f"outputs are {task.form.replace('_', '-')}: the loss cannot fall below {task.floor:.3g}; "
            f"the best constant answer costs {task.chance:.3g}",
            measurements=(
                Measurement(name="lowest possible loss", value=task.floor, threshold=CAPPED_SHARE * task.chance),
                Measurement(name="loss of the best constant answer", value=task.chance),
            ),
            cause=f"the last function of the model limits the input of {task.loss}",
            remedy=f"remove {at}; or scale the targets into its range",
            source="docs/theory.md, section 5; computed in the rehearsal",
        )
    ]


def _kept(kept: int, numbers: int) -> Finding:
    """Couplings that all transform the same half."""
    return Finding(
        rule="capped_loss",
        code="capped_loss.kept",
        severity="warning",
        seen=f"the flow hands on {kept} of the {numbers} numbers of each example as they are: no weight transforms them",
        measurements=(Measurement(name="numbers that no weight transforms", value=float(kept), threshold=0.0),),
        cause="all couplings have the same mask, or keep the same half: the other half's distribution alone is learned",
        remedy="exchange the halves from coupling to coupling: mask if i % 2 == 0 else 1 - mask, or x.flip(1) between them",
        source="Dinh, Sohl-Dickstein and Bengio, Density estimation using Real NVP, ICLR 2017, section 3.5; own: Jacobians",
    )
