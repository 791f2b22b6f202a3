"""The sign of the loss: whether it is lowest where the answers are best."""

import math

from trainability.doctor.evidence import Evidence
from trainability.doctor.facts import Facts, PairForces, Pulls
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.outlook import goes_uphill
from trainability.doctor.rules.head import NOTHING_LEARNED
from trainability.doctor.rules.loss_arguments import wrong_arguments
from trainability.doctor.rules.rule import rule

FURTHER_APART = 4.0  # standard errors
_FEW_ALIKE = 0.02  # share of the pairs
FAR_BELOW, FASTER_BELOW = 30.0, 100.0  # a loss under zero, over the size of the first; the latter where it falls ever faster


@rule(
    severities=("error", "warning"),
    verdict="broken loss",
    explains=(*NOTHING_LEARNED, "not_finite", "loss_cliff", "exploding_gradient", "loss_below_floor", "constant_as_good"),
)
def wrong_sign(evidence: Evidence) -> list[Finding]:
    """The loss has no floor: it falls as the answers get worse, or without end.

    Fires: the loss is the negative of the cross-entropy, binary cross-entropy or squared difference of output and target, to
        0.1 %; or `nll_loss` is given probabilities, or raw outputs, in place of log-probabilities; or each rehearsed step
        whose update was followed goes uphill at every length, and the loss has risen (code `uphill`). Code `answers`: right
        answers in the place of the model's cost more than undecided ones, and those more than wrong ones. Code `endless`: the
        loss is below zero and a hundred times as large as at first, and falls ever faster; or thirty times, and in 300 steps
        and more never slower. Code `together`: the losses of two models that play against each other want the same of what the
        one says to what the other makes. Code `policy`: the gradient of log-probabilities goes with a variable that weighs
        them, by a correlation of 0.9, and the variable is named a reward, return, gain or advantage. A warning with code
        `pairs`: the loss pulls pairs together whose inputs are further apart than those that it pushes apart, by 4 standard
        errors. Code `one_output`: 20 more, or less, of one output unit takes the loss to a billionth, whatever the others say.
        Code `floorless`: the loss falls by 20 times its size and more as an output moves by 20 times its own, and by three
        times that at 40. Negative, too, is a loss below zero of whose known terms (cross-entropy, squared difference) each
        lowers it by growing. An error, where the batch has labels and the loss is a function of the products of all pairs: it
        pulls together pairs of which 98 % and more have different labels, and pushes pairs apart of which as many have the
        same. A warning with code `no_positives`: it pushes pairs of one label, or of what the model returns in several tensors
        or calls, apart, and pulls none together. Code `views`: of several tensors it pushes like rows apart and pulls unlike
        ones. Codes `divergence`, `ctc` and `soft_target`: `kl_div` or `ctc_loss` is given numbers above zero for logarithms of
        probabilities, or cross-entropy a target below zero.
        In a loop that is watched: a multiple of such a loss by its graph, and below zero at the first step.
    Why: minimising the negative of a loss seeks the worst answer. `nll_loss` takes the output at the label with a minus sign:
        of raw outputs it falls without end by scaling them up, of probabilities it has hardly a gradient where it is needed.
        Examples of one kind are nearer to each other than others are, already as inputs.
    What fools it: gradient ascent on purpose, such as an adversarial example or an adversary's loss; pairs that were chosen to
        be hard, the like ones far apart and the unlike ones close.
    Fix: remove the minus sign; or put log_softmax before `nll_loss`, or use `cross_entropy`.
    Source: PyTorch, `torch.nn.NLLLoss`; own check of the sign.
    """
    facts = evidence.facts or Facts()
    raw = facts.task_loss == "nll_loss" and facts.task_form in ("probabilities", "values", "nonnegative", "tanh")
    multiple = facts.graph.multiple_of if facts.graph is not None and evidence.steps else None
    first = evidence.steps[0].loss if multiple is not None else 0.0
    negated = facts.negated_task or (multiple if first < 0 else None)
    if negated is None and not raw:
        return (
            wrong_arguments(facts)
            or _against_answers(facts)
            or _one_output(facts)
            or _floorless(facts)
            or _less_likely(facts)
            or _uphill(evidence)
            or _endless(evidence)
            or _with_one_aim(facts)
            or _against_labels(facts)
            or _against_pairs(facts)
        )
    words = {"probabilities": "probabilities", "values": "raw outputs"}.get(facts.task_form or "", "outputs")
    return [
        Finding(
            rule="wrong_sign",
            code="wrong_sign.nll" if raw else "wrong_sign",
            severity="error",
            seen=f"nll_loss is given {words}; it takes log-probabilities"
            if raw
            else f"the loss is minus the {negated} of output and target",
            measurements=(Measurement(name="loss", value=facts.loss or first, threshold=0.0),),
            cause="log_softmax is missing before nll_loss" if raw else "the sign of the loss is wrong",
            remedy="torch.log_softmax(output, dim=1) before nll_loss, or cross_entropy in its place"
            if raw
            else "remove the minus sign",
            source="PyTorch, torch.nn.NLLLoss" if raw else "own",
        )
    ]


def _against_answers(facts: Facts) -> list[Finding]:
    """Right answers cost more than wrong ones."""
    if facts.prefers_wrong is None:
        return []
    right, wrong = facts.prefers_wrong
    return [
        Finding(
            rule="wrong_sign",
            code="wrong_sign.answers",
            severity="error",
            seen=f"right answers cost {right:.3g}, wrong ones {wrong:.3g}: minimising this loss makes answers worse",
            measurements=(
                Measurement(name="loss of right answers", value=right, threshold=wrong),
                Measurement(name="loss of wrong answers", value=wrong),
            ),
            cause="the sign of the loss is wrong, or a score that is best when large is minimised",
            remedy="minimise minus the score, or 1 - score (a Dice coefficient, a similarity, a log-likelihood)",
            source="own; right and wrong answers put in the place of the model's",
        )
    ]


def _one_output(facts: Facts) -> list[Finding]:
    """A deviation, a temperature or a weight that the model sets, and pays nothing for."""
    if facts.one_output is None:
        return []
    return [
        Finding(
            rule="wrong_sign",
            code="wrong_sign.one_output",
            severity="error",
            seen=f"output {facts.one_output} alone takes the loss to nothing, whatever the other outputs say",
            measurements=(Measurement(name="number of the output", value=float(facts.one_output)),),
            cause="the loss is divided by something that the model puts out, and its growth costs nothing",
            remedy="add the logarithm of what is divided by (torch.nn.functional.gaussian_nll_loss has both terms)",
            source="own; 20 added to one output, and taken away",
        )
    ]


def _floorless(facts: Facts) -> list[Finding]:
    """A square or an exponential that is subtracted: a divergence, an error, a penalty."""
    if facts.floorless is None:
        return []
    which = f"output {facts.floorless} of the model" if facts.floorless else "the model's output"
    return [
        Finding(
            rule="wrong_sign",
            code="wrong_sign.floorless",
            severity="error",
            seen=f"the loss falls ever faster, below any number, as {which} moves away",
            measurements=(Measurement(name="place of the output", value=float(facts.floorless)),),
            cause=f"a term that grows with the square of {which} is subtracted",
            remedy=f"add the term of {which} to the loss in place of subtracting it (an error, a divergence, a penalty)",
            source="own; the loss computed again with the output moved by 20 and 40 times its size",
        )
    ]


def _endless(evidence: Evidence) -> list[Finding]:
    """A loss that goes far below zero, faster and faster: some part of it has no floor."""
    rehearsal = evidence.rehearsal
    tried = [seen.loss for seen in rehearsal.reference] if rehearsal is not None and not rehearsal.opposed else []
    run = [s.loss for s in evidence.steps]
    for losses in (tried, [*run[:1], *(sum(run[i : i + 20]) / 20 for i in range(1, len(run) - 19, 20))]):
        if len(losses) < 8 or not all(map(math.isfinite, losses)):
            continue
        first, before, last = losses[0], losses[len(losses) // 2], losses[-1]
        below = -last / (abs(first) + 1)
        faster = below > FASTER_BELOW and last < 3 * before < 0
        if faster or (below > FAR_BELOW and len(losses) >= 15 and last < 1.7 * before < 0):
            limit = -(FASTER_BELOW if faster else FAR_BELOW) * (abs(first) + 1)
            return [
                Finding(
                    rule="wrong_sign",
                    code="wrong_sign.endless",
                    severity="error",
                    seen=f"the loss falls from {first:.3g} to {last:.3g}, and does not slow down: nothing limits it from below",
                    measurements=(
                        Measurement(name="loss at the end", value=last, threshold=limit),
                        Measurement(name="loss half-way", value=before),
                    ),
                    cause="a term of the loss has the wrong sign, and grows without end",
                    remedy="put the opposite sign before the term of the loss that goes below zero (or before the whole): each "
                    "is to be lowest where the answer is best",
                    source="own",
                )
            ]
    return []


def _less_likely(facts: Facts) -> list[Finding]:
    """A policy gradient that goes down: good outcomes lose probability."""
    if facts.lowered is None:
        return []
    name, correlation = facts.lowered
    return [
        Finding(
            rule="wrong_sign",
            code="wrong_sign.policy",
            severity="error",
            seen=f"minimising this loss makes outcomes with a large {name} less likely",
            measurements=(Measurement(name=f"correlation of {name} with the gradient", value=correlation, threshold=0.9),),
            cause=f"the minus before the log-probability, or before {name}, is missing",
            remedy=f"loss = -(log_prob * {name}).mean()",
            source="Williams, Simple statistical gradient-following algorithms, Machine Learning 1992; read off the gradient",
        )
    ]


def _with_one_aim(facts: Facts) -> list[Finding]:
    """A generator that is trained to be found out."""
    if not facts.same_aim:
        return []
    judge, maker = facts.same_aim
    return [
        Finding(
            rule="wrong_sign",
            code="wrong_sign.together",
            severity="error",
            seen=f"the loss of {maker} wants the same answers of {judge} to what {maker} makes as the loss of {judge} does",
            measurements=(Measurement(name="losses of two that agree", value=2.0, threshold=1.0),),
            cause=f"the target or the sign in the loss of {maker} is that of {judge}'s loss: nothing is played against",
            remedy=f"in the loss of {maker} the opposite target for what it makes (ones, where {judge} is given zeros)",
            source="Goodfellow et al., Generative Adversarial Nets, 2014; signs of gradients compared over eight steps",
        )
    ]


def _seen_of_pairs(pulls: Pulls) -> str:
    if pulls.num_pulled < pulls.num_pushed / 10:
        return (
            f"the loss pushes {pulls.num_pushed} pairs apart and pulls {pulls.num_pulled} together; inputs of the former are "
            f"{pulls.apart_pushed:.2f} apart, those of any two examples {pulls.apart_pulled:.2f}"
        )
    return (
        f"the {pulls.num_pulled} pairs that the loss pulls together have inputs {pulls.apart_pulled:.2f} apart, the "
        f"{pulls.num_pushed} that it pushes apart {pulls.apart_pushed:.2f}"
    )


def _against_pairs(facts: Facts) -> list[Finding]:
    """A loss of pairs that takes the like for the unlike."""
    pulls = facts.pulls
    if pulls is None or pulls.z < FURTHER_APART:
        return []
    return [
        Finding(
            rule="wrong_sign",
            code="wrong_sign.pairs",
            severity="warning",
            seen=_seen_of_pairs(pulls),
            measurements=(
                Measurement(name="difference", value=pulls.z, unit="standard errors", threshold=FURTHER_APART),
                Measurement(name="distance of the pairs pulled together", value=pulls.apart_pulled),
                Measurement(name="distance of the pairs pushed apart", value=pulls.apart_pushed),
            ),
            cause="like and unlike pairs are exchanged: in the labels, in the order of the arguments, or by a sign",
            remedy="exchange positive and negative examples in the call of the loss, or 1 - label for the label",
            source="own; read off the gradient between the embeddings",
        )
    ]


def _against_labels(facts: Facts) -> list[Finding]:
    """A loss of pairs that pulls together what has different labels, or nothing at all."""
    forces = facts.pair_forces
    if forces is None:
        return []
    few = forces.num_examples / 4
    if forces.strangers >= few:
        return [_of_views(forces)]
    exchanged = (
        forces.alike_pulled is not None
        and forces.alike_pushed is not None
        and forces.alike_pulled < _FEW_ALIKE
        and forces.alike_pushed > 1 - _FEW_ALIKE
        and min(forces.num_pulled, forces.num_pushed) >= few
    )
    views = forces.num_blocks > 1 and forces.num_pushed >= few
    alone = not forces.num_pulled and (views or (forces.num_pushed >= forces.num_examples and bool(forces.alike_pushed)))
    return [_of_labels(forces, exchanged=exchanged)] if exchanged or alone else []


def _of_views(forces: PairForces) -> Finding:
    return Finding(
        rule="wrong_sign",
        code="wrong_sign.views",
        severity="warning",
        seen=f"the loss pushes the two views of each example apart, and pulls {forces.strangers} pairs of other rows together",
        measurements=(
            Measurement(name="pairs of unlike rows pulled together", value=float(forces.strangers), threshold=0.0),
            Measurement(name="pairs pushed apart", value=float(forces.num_pushed)),
        ),
        cause="the targets of a contrast are shifted against its rows, or its sign is wrong",
        remedy="let row i of the one view have row i of the other as its positive: target = torch.arange(len(rows))",
        source="own; read off the gradient of outputs at one angle to each other",
    )


def _of_labels(forces: PairForces, *, exchanged: bool) -> Finding:
    return Finding(
        rule="wrong_sign",
        code="wrong_sign.pairs" if exchanged else "wrong_sign.no_positives",
        severity="error" if exchanged else "warning",
        seen=f"the loss pulls {forces.num_pulled} pairs together, which have different labels, and pushes {forces.num_pushed} "
        "apart, which have the same"
        if exchanged
        else f"the loss pushes {forces.num_pushed} pairs apart and pulls none together"
        + (f", though {forces.num_alike} pairs of the batch have the same label" if forces.num_alike else ""),
        measurements=(
            Measurement(name="pairs pulled together", value=float(forces.num_pulled), threshold=0.0),
            Measurement(name="pairs pushed apart", value=float(forces.num_pushed)),
            Measurement(name="pairs with the same label", value=float(forces.num_alike or 0)),
        ),
        cause="like and unlike pairs are exchanged: by a sign, by > for <, or in the order of the arguments"
        if exchanged
        else "no example has a positive but itself: the mask of positives is the diagonal, or empty",
        remedy="exchange positive and negative pairs in the loss"
        if exchanged
        else "give each example a positive other than itself, whose distance the loss makes smaller"
        if not forces.num_alike
        else "let the mask of positives be labels[:, None] == labels[None], without its diagonal, and leave the diagonal out "
        "of what is divided by, too",
        source="own; read off the gradient of outputs at one angle to each other",
    )


def _uphill(evidence: Evidence) -> list[Finding]:
    """Updates along which the loss rises from the first bit on: what goes backward is minus the loss that is logged."""
    rehearsal = evidence.rehearsal
    if rehearsal is None or not goes_uphill(rehearsal):
        return []
    return [
        Finding(
            rule="wrong_sign",
            code="wrong_sign.uphill",
            severity="error",
            seen=f"along each of {len(rehearsal.critical)} updates that were followed the loss rises at every length",
            measurements=(
                Measurement(name="updates that go uphill", value=float(len(rehearsal.critical)), threshold=1.0),
                Measurement(name="loss after the rehearsal", value=rehearsal.reference[-1].loss),
            ),
            cause="the gradient is that of minus the loss",
            remedy="call backward() on the loss itself, without a minus sign, and minimise it (maximize=False)",
            source="own; followed in the rehearsal",
        )
    ]
