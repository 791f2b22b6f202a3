"""The sign of the loss: whether it is lowest where the answers are best."""

from trainability.doctor.evidence import Evidence
from trainability.doctor.facts import Facts
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.outlook import goes_uphill
from trainability.doctor.rules.floors import boundless, endless, floorless, one_output
from trainability.doctor.rules.head import NOTHING_LEARNED
from trainability.doctor.rules.loss_arguments import wrong_arguments
from trainability.doctor.rules.pair_signs import against_company, against_labels, against_pairs, censored
from trainability.doctor.rules.rule import rule


@rule(
    severities=("error", "warning"),
    verdict="broken loss",
    explains=(*NOTHING_LEARNED, "not_finite", "loss_cliff", "exploding_gradient", "loss_below_floor", "constant_as_good"),
)
def wrong_sign(evidence: Evidence) -> list[Finding]:
    """The loss has no floor: it falls as the answers get worse, or without end.

    Fires: the loss is the negative of the cross-entropy, binary cross-entropy or squared difference of output and target, to
        0.1 %; or `nll_loss` is given probabilities, or raw outputs, in place of log-probabilities; or each rehearsed step whose
        update was followed goes uphill at every length, and the loss has risen (code `uphill`), unless the model
        makes its goals itself. Code `answers`: right answers in the place of the model's cost more than undecided ones, and
        those more than wrong ones. Code `sure`: sure answers, right or wrong, cost less than a tenth of undecided
        ones, and the loss falls from these to the wrong ones. Code
        `endless`: the loss is below zero and a hundred times as large as at first, and falls ever faster; or thirty times, and
        in 300 steps or more never slower. Code `together`: the losses of two models that play against each other want the same
        of what the one says to what the other makes. Code `policy`: the gradient of log-probabilities goes with a variable that
        weighs them, by a correlation of 0.9, and the variable is named a reward, return, gain or advantage. A warning with code
        `pairs`: the loss pulls pairs together whose inputs are further apart than those that it pushes apart, by 4 standard
        errors; or by 5 in the direction in which they are furthest apart beside the others, and in none are they nearer. Code
        `one_output`: 20 more, or less, of one output unit takes the loss to a billionth, whatever the others say. Code
        `floorless`: the loss falls by 20 times its size or more as an output moves by 20 times its own, and by three times
        that at 40. Code `boundless`: a small parameter, or columns of an output, moved by 20 and by 40 (or by 1e5 and 2e5),
        takes the loss down along a line (or a logarithm), alike for every example, and everything else then has a thousandth of
        its gradient or less. Code `censored`: of times and of ends that were seen or not, a later end and an end that is taken
        back move an output in opposite directions, in 95 % of the questions. A warning with code `company`: of pairs of names
        that the loss pushes apart, pairs of two with the same two others are more frequent than by chance by 10 standard
        deviations, and by three times as many as of those that it pulls together. Negative, too, is a loss below zero of whose
        known terms (cross-entropy, squared difference) each lowers it by growing. An error, where the batch has labels and the
        loss is a function of the products of all pairs: it pulls together pairs of which 98 % or more have different labels,
        and pushes pairs apart of which as many have the same. A warning with code `no_positives`: it pushes pairs of one label,
        or of what the model returns in several tensors or calls, apart, and pulls none together. Code `views`: all
        rows that are made of one example it pushes apart, and pulls rows of different ones together, wherever the outputs lie;
        which rows these are is seen by exchanging examples, or they are like rows of several tensors.
        Codes `divergence`, `ctc` and `soft_target`: `kl_div` or
        `ctc_loss` is given numbers above zero for logarithms of probabilities, `ctc_loss` numbers whose exponentials do not sum
        to 1 over the classes (to 0.1 in the logarithm, at half of the steps), or cross-entropy a target below zero. Code
        `rates`: `poisson_nll_loss` with log_input=False is given rates below zero. Code `volume`: a model returns points and
        the logarithm of their Jacobian's determinant, to 1e-3, and the loss rises with it; or the loss is that of a flow to a
        normal distribution, and what it counts for that logarithm misses it by what changes with the weights.
        Code `backward`: a function of the program's own hands gradients back with the other sign, so that moves along them
        change the loss by minus what they say, within a tenth, and no weight's is anything else but right. In a loop that is
        watched: a multiple of such a loss by its graph, and below zero at the first step.
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
            or one_output(facts)
            or floorless(facts)
            or _volume(facts)
            or _backward(facts)
            or boundless(facts)
            or censored(facts)
            or _less_likely(facts)
            or _uphill(evidence)
            or endless(evidence)
            or _with_one_aim(facts)
            or against_labels(facts)
            or against_pairs(facts)
            or against_company(facts)
        )
    paid = (Measurement(name="loss", value=facts.loss or first, threshold=0.0),)
    return [_without_logarithm(facts, paid) if raw else _turned(str(negated), paid)]


def _without_logarithm(facts: Facts, paid: tuple[Measurement, ...]) -> Finding:
    words = {"probabilities": "probabilities", "values": "raw outputs"}.get(facts.task_form or "", "outputs")
    return Finding(
        rule="wrong_sign",
        code="wrong_sign.nll",
        severity="error",
        seen=f"nll_loss is given {words}; it takes log-probabilities",
        measurements=paid,
        cause="log_softmax is missing before nll_loss",
        remedy="torch.log_softmax(output, dim=1) before nll_loss, or cross_entropy in its place",
        source="PyTorch, torch.nn.NLLLoss",
    )


def _turned(loss: str, paid: tuple[Measurement, ...]) -> Finding:
    return Finding(
        rule="wrong_sign",
        severity="error",
        seen=f"the loss is minus the {loss} of output and target",
        measurements=paid,
        cause="the sign of the loss is wrong",
        remedy="remove the minus sign",
        source="own",
    )


def _against_answers(facts: Facts) -> list[Finding]:
    """Right answers cost more than wrong ones."""
    if facts.sure_of_wrong is not None:
        return [_sure(*facts.sure_of_wrong)]
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


def _sure(wrong: float, undecided: float) -> Finding:
    """Examples that count by how sure their right answer is: those that are wrong count for nothing."""
    return Finding(
        rule="wrong_sign",
        code="wrong_sign.sure",
        severity="error",
        seen=f"undecided answers cost {undecided:.3g}, and sure ones that are wrong {wrong:.3g}: the loss falls towards these",
        measurements=(
            Measurement(name="loss of wrong answers", value=wrong, threshold=undecided),
            Measurement(name="loss of undecided answers", value=undecided),
        ),
        cause="examples count by the probability of their right answer, and not by that of the wrong ones",
        remedy="weigh each example by (1 - p) ** gamma in place of p ** gamma, where p is the probability of its right answer",
        source="Lin et al., Focal Loss for Dense Object Detection, ICCV 2017; right and wrong answers put in the place of the "
        "model's",
    )


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


def _uphill(evidence: Evidence) -> list[Finding]:
    """Updates along which the loss rises from the first bit on: what goes backward is minus the loss that is logged."""
    rehearsal = evidence.rehearsal
    if rehearsal is None or not goes_uphill(rehearsal) or (evidence.facts or Facts()).asks_itself:
        return []  # goals that the model makes move with each step, so that the error may grow though each step is right
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


_VOLUME_MISSING = Finding(
    rule="wrong_sign",
    code="wrong_sign.volume",
    severity="error",
    seen="the loss is the negative log-likelihood of a flow, and the numbers that it adds as log-determinants are not those "
    "of the flow's Jacobian",
    measurements=(Measurement(name="likelihoods with another volume", value=1.0, threshold=0.0),),
    cause="the log-determinant of one step is overwritten by that of the next, or a step has none: volume that is not counted "
    "may shrink at no cost",
    remedy="add up the logarithms of the determinants of all steps: log_det = log_det + change in each, from zeros on",
    source="Dinh, Sohl-Dickstein and Bengio, Density estimation using Real NVP, ICLR 2017, equations (2) and (3)",
)


def _volume(facts: Facts) -> list[Finding]:
    """A flow whose points are drawn into one, since the loss pays for it."""
    if facts.volume_missing:
        return [_VOLUME_MISSING]
    if not facts.volume_against:
        return []
    return [
        Finding(
            rule="wrong_sign",
            code="wrong_sign.volume",
            severity="error",
            seen="the model returns the logarithm of the volume beside its points, and the loss wants it the wrong way",
            measurements=(Measurement(name="likelihoods with the wrong sign of it", value=1.0, threshold=0.0),),
            cause="log p(x) is log p(z) plus log |det dz/dx|: minus the likelihood takes it with a minus sign",
            remedy="turn the sign of the logarithm of the determinant in the loss: subtract that of x to z, add that of z to x",
            source="Dinh, Sohl-Dickstein and Bengio, Density estimation using Real NVP, ICLR 2017, equation (2)",
        )
    ]


def _backward(facts: Facts) -> list[Finding]:
    """Weights that climb the whole loss, behind a function that turns gradients."""
    if not facts.turned_gradients:
        return []
    names = facts.turned_gradients
    return [
        Finding(
            rule="wrong_sign",
            code="wrong_sign.backward",
            severity="error",
            seen=f"the gradient of {', '.join(names[:4])} is minus the slope of the loss: every part of it is climbed",
            measurements=(Measurement(name="weights with the gradient turned", value=float(len(names)), threshold=0.0),),
            cause="a function that turns gradients (a custom backward) stands before all losses, and not the adversary's alone",
            remedy="give the turned features to the adversary's head alone, and all other heads what goes into that function",
            source="Ganin and Lempitsky, Unsupervised Domain Adaptation by Backpropagation, ICML 2015; moved and compared",
            layers=names,
        )
    ]
