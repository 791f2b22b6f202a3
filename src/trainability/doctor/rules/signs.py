"""The sign of the loss: whether it is lowest where the outputs are best."""

from trainability.doctor.evidence import Evidence
from trainability.doctor.facts import Facts
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.outlook import goes_uphill
from trainability.doctor.rules.floors import boundless, endless, floorless, one_output, slopes, switched_off, unnormalised
from trainability.doctor.rules.head import NOTHING_LEARNED
from trainability.doctor.rules.loss_arguments import deviation_for_variance, spread_of_code, wrong_arguments
from trainability.doctor.rules.pair_signs import against_company, against_labels, against_pairs, censored
from trainability.doctor.rules.rule import rule


@rule(
    severities=("error", "warning", "hint"),
    verdict="broken loss",
    explains=(*NOTHING_LEARNED, "not_finite", "loss_cliff", "exploding_gradient", "loss_below_floor", "constant_as_good"),
)
def wrong_sign(evidence: Evidence) -> list[Finding]:
    """The loss falls as the outputs get worse, or it falls without end.

    Fires: the loss is the negative of the cross-entropy, binary cross-entropy or squared difference of output and target, to
        0.1 %; or `nll_loss` is given probabilities or raw outputs instead of log-probabilities; or a negative loss consists of
        known terms (cross-entropy, squared difference), each of which lowers it by growing, without those whose targets change
        with the weights where the rest of the loss has a gradient; in a watched loop, its graph is a multiple of such a loss,
        and it is negative at the first step. Code `uphill`: along every rehearsed update that was followed, the loss rises at
        any length, and the loss has risen; not if the model makes its own targets. Code `answers`: right answers in place of
        the model's outputs cost more than undecided ones, which cost more than wrong ones; of numbers, the loss also falls from
        the targets to 0.05, 0.1, 0.2 and 0.4 of their deviation on either side. A warning with code `term`: the same of one of
        the terms that the loss adds, which is never negative, is half as large or less for wrong answers, and depends on the
        targets. Code `sure`: confident answers, right or wrong, cost less than a tenth of undecided ones, and the loss falls
        from these to the wrong ones, or those to one of yes and no. Code `endless`: the loss is negative and a hundred times as
        large as at first, and falls faster and faster; or thirty times, and over 300 steps or more never more slowly. Code
        `together`: in the losses of two adversarial models, both want the same output of one for the examples that the other
        generates. Code `policy`: the gradient of log-probabilities has a correlation of 0.9 with a variable that weights them,
        and the variable is named a reward; or a return, gain or advantage, and is computed from rewards, not from costs or
        lengths, by the names of what it is computed from. A warning with code `clip`: of products of log-probabilities' ratios,
        one clamped and one not, the loss takes the larger one and falls as it grows, or the smaller one and rises as it grows.
        A warning with code `entropy`: the loss falls as the entropy (`.entropy()`) of every distribution becomes smaller whose
        draws' log-probabilities it asks for. A warning with code `pairs`: the loss pulls together pairs whose inputs are
        further apart than those of the pairs that it pushes apart, by 4 standard errors and 1 %, and the latter belong
        together; or by 5 in the direction of the largest difference, and in no direction are they nearer; or the pairs that it
        pushes apart belong together, and those that it pulls together do not, nor are they nearer than the others in a
        direction (3 standard errors). Pairs belong together that are nearer than the sides of two such pairs by 6 standard
        errors and 2 %, as numbers, as images without their light, or as strengths of frequencies, and do not below 2.5 in each
        of these and in images as they are; neither is asked of fewer than 24 pairs of either kind. Silent where the pairs that
        it pulls together belong together, too, and are nearer than the others in a direction of the numbers, or in one of a
        view other than that in which the others belong together most surely; a hint where half of the numbers in the pairs that
        it pushes apart are the same bit for bit, over those of two such pairs, or where those that it pulls together are as
        near as any two, to 2.5 standard errors, in the view in which the others belong together most surely; two outputs are a
        pair if the loss holds them against each other: it minds another order of the columns of one, and not the same of both.
        Code `one_output`: adding or subtracting 20 at one output unit takes the loss to a billionth, whatever the other outputs
        are. Code `floorless`: the loss falls by 20 times its size or more as an output moves by 20 times its own, and by three
        times that at 40. A warning with code `unnormalised`: of two numbers of an example or more, slopes of the loss have one
        sign, differ between examples and add up to the same for all, their exponentials do not add up to 1, and adding 20 and
        40 to them lowers the loss along a line. Code `slopes`: with the derivatives that the loss takes (create_graph=True)
        times 1e3, 4e3 and 1.6e4 it falls with their square. Code `boundless`: moving a small parameter, or columns of an
        output, by 20 and by 40 (or by 1e5 and 2e5) lowers the loss along a line (or a logarithm), alike for every example, and
        everything else then has a thousandth of its gradient or less. Code `switched_off`: a small parameter is nothing but a
        positive factor of terms that are never negative, and the loss takes it to zero. Code `censored`: with times and
        observed or censored events, a later event and a censored one move an output in opposite directions, in 95 % of the
        tests. A warning with code `company`: in pairs of names that the loss pushes apart, names share partners more often than
        by chance, by 10 standard deviations, and by three times as many as in those that it pulls together. A warning with code
        `observed`: half or more of the pairs of names that it pushes apart are among those that it pulls together, three times
        as many as if the names went together at random. An error, without a code of its own, where the batch has labels and the
        loss is a function of the products of all pairs: of the pairs that it pulls together, 98 % or more have different
        labels, and of those that it pushes apart, as many have the same. A warning with code `no_positives`: it pushes apart
        pairs with one label, or pairs that the model returns in several tensors or calls, or all pairs, of a loss that changes
        with the targets but not with which example has which, and pulls none together, nor with outputs at right angles or up
        to 1,000 times as long. A hint with this code: it pushes apart pairs with different labels alone and pulls none
        together, where as many pairs as there are examples have the same. Code `views`: it pushes apart all rows of the same
        example and pulls together rows of different ones, wherever the outputs are; rows belong to an example if they change
        with it, or are equal rows of several tensors. Codes `divergence`, `ctc` and `soft_target`: `kl_div` or `ctc_loss` is
        given numbers above zero as log-probabilities, `ctc_loss` is given numbers whose exponentials do not sum to 1 over the
        classes (to 0.1 in the logarithm, at half of the steps), or cross-entropy is given a negative target. Code `rates`:
        `poisson_nll_loss` with log_input=False is given negative rates. A warning with code `variance`: `gaussian_nll_loss` is
        given as variance what a variable of the program holds whose name says std or sigma, or the exponential of what says
        their logarithm; not what is computed as a square, or is 1 everywhere. A warning with code `spread`: a code is drawn as
        mean + deviation * noise, and the loss's divergence, whose gradient is that of a normal distribution's from the standard
        one to a hundredth, holds another deviation, or does not depend on it; a hint from two thirds to one and a half times as
        much; a layer decodes the code, the deviation is not so many times the right one at every output, and a divergence that
        does not depend on it does not either where the encoder's output is moved, and no term reads the code beside the
        decoder. Code `volume`: a model returns points and the log-determinant of their Jacobian, to 1e-3, and the loss rises
        with it; or the loss is that of a flow to a normal distribution, and its term for that log-determinant is off by an
        amount that changes with the weights, or has the wrong sign at each example. Code `backward`: a custom autograd function
        returns gradients with the opposite sign, so that moves along them change the loss by minus the expected amount, within
        a tenth, while the gradients of all other weights are right. Code `custom`: along eight random directions, the gradient
        of a custom autograd function is off by three tenths of the function's slope or more, and two moves find the same slope,
        within a tenth. A warning with code `quantiles`: below all targets and above them the loss is linear in the outputs,
        with slopes that train each for one minus the quantile that the loss holds for it, under that name, or as q or tau; a
        hint where one minus each is the same levels in the opposite order, and the source of the loss takes columns one by one,
        unpacks or reverses them, or cannot be read. Code `nll`: `nll_loss` of logits or probabilities.
    Why: minimising the negative of a loss finds the worst output. `nll_loss` negates the output at the label: given raw
        outputs, it falls without end as they are scaled up; given probabilities, it has hardly any gradient where it is needed.
        Examples of one kind are already nearer to each other as inputs than other examples.
    What fools it: a policy that is to become sure, as in a search for an architecture; gradient ascent on purpose, such as for
        an adversarial example or an adversary's loss; hard pairs chosen on purpose, like ones far apart and unlike ones close;
        levels that are named quantiles and mean the share above. Silent where the loss applies a trained head to the outputs,
        as margin losses do.
    Fix: remove the minus sign, or `maximize=True` where the optimizer has it; or put log_softmax before `nll_loss`, or use
        `cross_entropy`.
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
            or deviation_for_variance(facts)
            or spread_of_code(facts)
            or _against_answers(facts)
            or one_output(facts)
            or floorless(facts)
            or unnormalised(facts)
            or slopes(facts)
            or _volume(facts)
            or _backward(facts)
            or _own_function(facts)
            or _quantiles(facts)
            or boundless(facts)
            or switched_off(facts)
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
    return [_without_logarithm(facts, paid) if raw else _turned(str(negated), paid, facts)]


def _without_logarithm(facts: Facts, paid: tuple[Measurement, ...]) -> Finding:
    words = {"probabilities": "probabilities", "values": "raw outputs"}.get(facts.task_form or "", "outputs")
    return Finding(
        rule="wrong_sign",
        code="wrong_sign.nll",
        severity="error",
        seen=f"nll_loss is given {words}; it expects log-probabilities",
        measurements=paid,
        cause="log_softmax is missing before nll_loss",
        remedy="torch.log_softmax(output, dim=1) before nll_loss, or cross_entropy instead",
        source="PyTorch, torch.nn.NLLLoss",
    )


_MINIMISE = "take maximize=True out of the optimizer: it raises what goes backward, and this is to fall"


def _turned(loss: str, paid: tuple[Measurement, ...], facts: Facts) -> Finding:
    return Finding(
        rule="wrong_sign",
        severity="error",
        seen=f"the optimizer has maximize=True, and raises the {loss} of output and target"
        if facts.maximises
        else f"the loss is minus the {loss} of output and target",
        measurements=paid,
        cause="a loss is maximised" if facts.maximises else "the sign of the loss is wrong",
        remedy=_MINIMISE if facts.maximises else "remove the minus sign",
        source="own",
    )


def _against_answers(facts: Facts) -> list[Finding]:
    """Right answers cost more than wrong ones."""
    if facts.sure_of_wrong is not None:
        return [_sure(*facts.sure_of_wrong)]
    if facts.prefers_wrong is None:
        return [_turned_term(*facts.readings.turned_term)] if facts.readings.turned_term is not None else []
    right, wrong = facts.prefers_wrong
    return [
        Finding(
            rule="wrong_sign",
            code="wrong_sign.answers",
            severity="error",
            seen=f"right answers cost {right:.3g}, wrong ones {wrong:.3g}"
            + (", as the optimizer has maximize=True" if facts.maximises else "")
            + ": minimising this loss makes outputs worse",
            measurements=(
                Measurement(name="loss of right answers", value=right, threshold=wrong),
                Measurement(name="loss of wrong answers", value=wrong),
            ),
            cause="the sign of the loss is wrong, or a score that should be large is minimised"
            if not facts.maximises
            else "a loss is maximised",
            remedy=_MINIMISE
            if facts.maximises
            else "minimise minus the score, or 1 - score (a Dice coefficient, a similarity, a log-likelihood)",
            source="own; right and wrong answers used as the model's outputs",
        )
    ]


def _turned_term(right: float, wrong: float) -> Finding:
    """A score that is added to a loss."""
    return Finding(
        rule="wrong_sign",
        code="wrong_sign.term",
        severity="warning",
        seen=f"one of the terms that the loss adds costs {right:.3g} for right answers and {wrong:.3g} for wrong ones",
        measurements=(
            Measurement(name="term for right answers", value=right, threshold=wrong),
            Measurement(name="term for wrong answers", value=wrong),
        ),
        cause="a score that should be large (a Dice coefficient, an overlap, a similarity) is added to the loss as it is",
        remedy="add 1 - score in place of the score: loss = bce + (1 - dice)",
        source="own; right and wrong answers used as the model's outputs, each term of the loss by itself",
    )


def _sure(wrong: float, undecided: float) -> Finding:
    """Examples weighted by the probability of their right answer, so that wrong ones have no weight."""
    return Finding(
        rule="wrong_sign",
        code="wrong_sign.sure",
        severity="error",
        seen=f"undecided answers cost {undecided:.3g}, and confident wrong ones {wrong:.3g}: the loss falls towards the latter",
        measurements=(
            Measurement(name="loss of wrong answers", value=wrong, threshold=undecided),
            Measurement(name="loss of undecided answers", value=undecided),
        ),
        cause="examples are weighted by the probability of their right answer instead of the wrong ones",
        remedy="weight each example with (1 - p) ** gamma instead of p ** gamma, where p is the probability of its right "
        "answer",
        source="Lin et al., Focal Loss for Dense Object Detection, ICCV 2017; own: right and wrong answers used as the "
        "model's outputs",
    )


_TURNED_CLIP = Finding(
    rule="wrong_sign",
    code="wrong_sign.clip",
    severity="warning",
    seen="of the clipped and the unclipped objective of a policy, the loss takes whichever is better",
    measurements=(Measurement(name="objectives taken the wrong way", value=1.0, threshold=0.0),),
    cause="the larger of the two is maximised (or the smaller of two losses minimised): where the clip should hold the policy "
    "back, the unclipped objective counts, and an update may go as far as it likes",
    remedy="the smaller objective: loss = -torch.min(ratio * advantage, ratio.clamp(1 - eps, 1 + eps) * advantage).mean(); "
    "or torch.max of the two with a minus sign in front of each",
    source="Schulman et al., Proximal Policy Optimization Algorithms, 2017, eq. 7; own: gradients at the choice",
)
_SURE_POLICY = Finding(
    rule="wrong_sign",
    code="wrong_sign.entropy",
    severity="warning",
    seen="the loss falls as the entropy of the policy that it draws actions from becomes smaller",
    measurements=(Measurement(name="sign of the slope by the entropy", value=1.0, threshold=0.0),),
    cause="the entropy is added to the loss, where it is to be taken off: the policy is pushed to one action before it has "
    "tried the others",
    remedy="loss = policy_loss + value_loss - coefficient * entropy.mean()",
    source="Williams and Peng, Connection Science 1991; Mnih et al., ICML 2016, section 4; read off the gradient",
)


def _less_likely(facts: Facts) -> list[Finding]:
    """A policy gradient with the wrong sign: good outcomes lose probability."""
    if facts.lowered is None:
        return [_TURNED_CLIP] if facts.takes_better else [_SURE_POLICY] if facts.sinks_entropy else []
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
    """A generator that is trained to help its discriminator."""
    if not facts.opponents.same_aim:
        return []
    critic, generator = facts.opponents.same_aim
    return [
        Finding(
            rule="wrong_sign",
            code="wrong_sign.together",
            severity="error",
            seen=f"the losses of {generator} and {critic} want the same output of {critic} for what {generator} generates",
            measurements=(Measurement(name="losses that agree", value=2.0, threshold=1.0),),
            cause=f"the target or sign in the loss of {generator} is the same as in that of {critic}: the two do not compete",
            remedy=f"use the opposite target for the outputs of {generator} in its own loss (ones, where {critic} is given "
            "zeros)",
            source="Goodfellow et al., Generative Adversarial Nets, 2014; signs of gradients compared over eight steps",
        )
    ]


def _uphill(evidence: Evidence) -> list[Finding]:
    """Updates along which the loss rises from the start: the gradient is that of minus the logged loss."""
    rehearsal = evidence.rehearsal
    if rehearsal is None or not goes_uphill(rehearsal) or (evidence.facts or Facts()).asks_itself:
        return []  # targets that the model makes move with each step, so the error may grow though each step is right
    return [
        Finding(
            rule="wrong_sign",
            code="wrong_sign.uphill",
            severity="error",
            seen=f"along each of {len(rehearsal.critical)} updates that were followed, the loss rises at any length",
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
    seen="the loss is the negative log-likelihood of a flow, but its log-determinants are not those of the flow's Jacobian",
    measurements=(Measurement(name="likelihoods with a wrong log-determinant", value=1.0, threshold=0.0),),
    cause="the log-determinant of one step is overwritten by that of the next, or a step has none: volume that is not "
    "counted can shrink at no cost",
    remedy="add up the log-determinants of all steps: log_det = log_det + change in each, starting from zeros",
    source="Dinh, Sohl-Dickstein and Bengio, Density estimation using Real NVP, ICLR 2017, equations (2) and (3)",
)


_VOLUME_TURNED = Finding(
    rule="wrong_sign",
    code="wrong_sign.volume",
    severity="error",
    seen="the loss is -log p(z) + log |det dz/dx| for each example: the log-determinant has the wrong sign",
    measurements=(Measurement(name="likelihoods with the wrong sign of the log-determinant", value=1.0, threshold=0.0),),
    cause="log p(x) is log p(z) plus log |det dz/dx|; with a minus, shrinking all points to one costs nothing, and pays",
    remedy="reverse the sign of the log-determinant where it is added up: of a step z = (x - t) * exp(-s) it is -s.sum(-1), of "
    "z = x * exp(s) + t it is s.sum(-1); log_prob = log_pz + log_det",
    source="Dinh, Sohl-Dickstein and Bengio, Density estimation using Real NVP, ICLR 2017, equation (2); own: Jacobians",
)


def _volume(facts: Facts) -> list[Finding]:
    """A flow that contracts all points to one, because the loss rewards it."""
    if facts.volume_turned and not facts.volume_against:
        return [_VOLUME_TURNED]
    if facts.volume_missing:
        return [_VOLUME_MISSING]
    if not facts.volume_against:
        return []
    return [
        Finding(
            rule="wrong_sign",
            code="wrong_sign.volume",
            severity="error",
            seen="the model returns a log-determinant with its points, and the loss uses it with the wrong sign",
            measurements=(
                Measurement(name="likelihoods with the wrong sign of the log-determinant", value=1.0, threshold=0.0),
            ),
            cause="log p(x) is log p(z) plus log |det dz/dx|: the negative log-likelihood contains it with a minus sign",
            remedy="reverse the sign of the log-determinant in the loss: subtract that of x to z, or add that of z to x",
            source="Dinh, Sohl-Dickstein and Bengio, Density estimation using Real NVP, ICLR 2017, equation (2)",
        )
    ]


def _backward(facts: Facts) -> list[Finding]:
    """Weights that increase the whole loss, before a function that reverses gradients."""
    if not facts.turned_gradients:
        return []
    names = facts.turned_gradients
    return [
        Finding(
            rule="wrong_sign",
            code="wrong_sign.backward",
            severity="error",
            seen=f"the gradient of {', '.join(names[:4])} is minus the slope of the loss: each of its terms is increased",
            measurements=(Measurement(name="weights with a reversed gradient", value=float(len(names)), threshold=0.0),),
            cause="a function that reverses gradients (a custom backward) is applied before all losses, not only before the "
            "adversary's",
            remedy="pass the reversed features only to the adversary's head, and the function's input to all other heads",
            source="Ganin and Lempitsky, Unsupervised Domain Adaptation by Backpropagation, ICML 2015; own: weights moved, "
            "losses compared",
            layers=names,
        )
    ]


def _own_function(facts: Facts) -> list[Finding]:
    """A custom function whose gradient is of another function."""
    if facts.readings.wrong_backward is None:
        return []
    name, ratio = facts.readings.wrong_backward
    return [
        Finding(
            rule="wrong_sign",
            code="wrong_sign.custom",
            severity="error",
            seen=f"the gradient that {name}.backward returns is not the slope of {name}.forward: along random directions it is "
            f"nearest to {ratio:.2g} times the slope",
            measurements=(Measurement(name="gradient over slope", value=ratio, threshold=1.0),),
            cause=f"{name}.backward computes the derivative of another function",
            remedy=f"correct {name}.backward until torch.autograd.gradcheck({name}.apply, x) passes, with x in float64; or "
            "write the function with PyTorch's own operations",
            source="PyTorch, torch.autograd.gradcheck; differences of the function's own values",
            explains=("unreached_parameter", "zero_gradient", "vanishing_gradient"),
        )
    ]


def _quantiles(facts: Facts) -> list[Finding]:
    """A pinball loss of prediction minus target."""
    if facts.turned_quantiles is None:
        return []
    name, levels, trained, is_sure = facts.turned_quantiles
    held, meant = (", ".join(f"{level:.3g}" for level in each[:4]) for each in (levels, trained))
    return [
        Finding(
            rule="wrong_sign",
            code="wrong_sign.quantiles",
            severity="warning" if is_sure else "hint",
            seen=f"the loss holds {name} = {held}, and its slopes train the outputs for the quantiles {meant}: one minus each",
            measurements=(
                Measurement(name="level of the first quantile", value=levels[0]),
                Measurement(name="level that its output is trained for", value=trained[0], threshold=levels[0]),
            ),
            cause="the error in the quantile loss is prediction minus target, or the weights of its two sides are exchanged"
            + ("" if is_sure else "; all is right where the outputs are meant to be in the opposite order"),
            remedy="error = target - prediction, and torch.max(q * error, (q - 1) * error) for the quantile q",
            source="Koenker and Bassett, Regression Quantiles, Econometrica 1978; slopes on both sides of the targets",
        )
    ]
