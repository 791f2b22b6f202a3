"""Losses of PyTorch that are given the wrong arguments. No rule."""

from trainability.doctor.facts import Facts
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.readings import RareLighter

_TOLD = {
    "probabilities": "probabilities; it expects their logarithms",
    "raw": "numbers above zero; it expects logarithms of probabilities",
    "log_target": "probabilities as target, while log_target=True means that they are logarithms",
    "elsewhere": "numbers that are not log-probabilities of the classes: probabilities sum to 1 over the last dimension",
    "over_steps": "probabilities that sum to 1 over the steps: they must sum to 1 over the classes, the last dimension",
    "over_examples": "probabilities that sum to 1 over the batch: they must sum to 1 over the classes, the last dimension",
    "below_zero": "negative numbers for rates (log_input=False); it takes their logarithms, which are NaN",
    "negative": "a negative soft target: its entries must be probabilities",
}
_BY_COUNTS = "weight = 1 / counts of the classes, divided by its mean"
_CAUSES = {
    "probabilities": "the logarithm is missing",
    "raw": "the logarithm is missing",
    "below_zero": "nothing keeps the outputs above zero",
    "over_steps": "log_softmax runs along the steps instead of the classes",
    "over_examples": "log_softmax runs along the batch instead of the classes",
    "elsewhere": "log_softmax runs along another dimension than the classes, or is missing",
}

_NEAR_ONE = 1.5  # times the deviation: both are 1 where training starts, and what they grow to differs
_SCALES = {  # the deviation of each form
    "log variance": "(0.5 * x).exp()",
    "log deviation": "x.exp()",
    "variance": "x.sqrt()",
    "deviation": "x",
}


def wrong_arguments(facts: Facts) -> list[Finding]:
    """A loss whose argument is not log-probabilities, or not probabilities: its minimum is then elsewhere."""
    function, word = facts.wrong_argument or ("", "")
    if word not in _TOLD:
        return []
    code = {"kl_div": "divergence", "ctc_loss": "ctc", "poisson_nll_loss": "rates"}.get(function, "soft_target")
    remedy = {
        "log_target": "target.log() in place of target, or log_target=False",
        "below_zero": "log_input=True, with outputs that are logarithms of rates; or torch.nn.Softplus() after the last layer",
        "over_steps": "dim=-1 (the classes) instead of that of the steps in the log_softmax whose result ctc_loss gets",
        "over_examples": "dim=-1 (the classes) instead of the batch dimension in the log_softmax whose result ctc_loss gets",
        "negative": "torch.softmax(target, dim=1) instead of target: the target holds logits",
    }.get(word, f"torch.nn.functional.log_softmax(output, dim=-1) in place of what {function} is given as its first argument")
    return [
        Finding(
            rule="wrong_sign",
            code=f"wrong_sign.{code}",
            severity="error",
            seen=f"{function} is given {_TOLD[word]}",
            measurements=(Measurement(name="loss functions called with a wrong argument", value=1.0, threshold=0.0),),
            cause=_CAUSES.get(word, "the target is given in another form"),
            remedy=remedy,
            source=f"PyTorch, torch.nn.functional.{function}; read off the call",
        )
    ]


def refused_label(facts: Facts) -> list[Finding]:
    """A label that is no class, on which a script failed."""
    if facts.refused_label is None:
        return []
    function, label, outputs = facts.refused_label
    last = outputs - 1
    remedy = (
        f"give the last layer {label + 1} outputs or more, if class {label} is meant; subtract 1 from labels that begin at 1"
        if label >= 0
        else f"ignore_index={label} in the call of {function}, if it marks what has no class; else map labels to 0 .. C-1"
    )
    return [
        Finding(
            rule="label_range",
            severity="error",
            seen=f"{function} is given label {label} for {outputs} outputs, whose classes are 0 to {last}",
            measurements=(Measurement(name="label", value=float(label), threshold=0.0 if label < 0 else float(last)),),
            cause="the last layer has fewer outputs than there are classes, or labels begin at 1"
            if label >= 0
            else "a negative label is no class",
            remedy=remedy,
            source=f"PyTorch, torch.nn.functional.{function}; the call that failed",
        )
    ]


def several_classes(facts: Facts) -> list[Finding]:
    """Examples of several classes, under a loss of one."""
    if facts.wrong_argument is None or facts.wrong_argument[1] != "several":
        return []
    return [
        Finding(
            rule="label_range",
            code="label_range.several",
            severity="warning",
            seen="cross_entropy is given targets with ones for several classes of an example; it expects one class, or "
            "probabilities that add up to 1",
            measurements=(Measurement(name="losses of one class for several", value=1.0, threshold=0.0),),
            cause="a softmax shares 1 between the classes of an example: none of several can come near 1, and the loss cannot "
            "come near 0",
            remedy="torch.nn.functional.binary_cross_entropy_with_logits(output, target), which asks of each class by itself; "
            "or target / target.sum(dim=1, keepdim=True), if only their order counts",
            source="PyTorch, torch.nn.CrossEntropyLoss and torch.nn.BCEWithLogitsLoss; read off the call",
        )
    ]


def zeros_for_signs(facts: Facts) -> list[Finding]:
    """Labels 0 and 1 for a loss that expects -1 and 1."""
    function, word = facts.wrong_argument or ("", "")
    if word != "zeros":
        cost = facts.readings.unread_zeros
        return [_unread_zeros(cost)] if cost is not None else []
    return [
        Finding(
            rule="label_range",
            code="label_range.signs",
            severity="error",
            seen=f"{function} is given labels 0 and 1; it expects -1 and 1",
            measurements=(Measurement(name="smallest label", value=0.0, threshold=-1.0),),
            cause="nothing is learned from a label 0, or the opposite",
            remedy=f"2 * label - 1 in place of label in the call of {function}",
            source=f"PyTorch, torch.nn.functional.{function}; read off the call",
        )
    ]


def _unread_zeros(cost: float) -> Finding:
    """A margin loss of labels 0 and 1, or half of a cross-entropy, whose targets may be weights or rewards."""
    is_margin = cost != 0
    return Finding(
        rule="label_range",
        code="label_range.signs",
        severity="error" if is_margin else "hint",
        seen="the loss has no gradient at any answer to an example whose target is 0, and has one where it is 1"
        + (f"; with all targets 0 it is {cost:.3g} at every answer" if is_margin else ""),
        measurements=(
            Measurement(name="answers to a 0 that have a gradient", value=0.0, threshold=1.0),
            Measurement(name="loss of targets that are all 0", value=cost, threshold=0.0),
        ),
        cause="the loss is a hinge, or another that takes labels -1 and 1"
        if is_margin
        else "the loss lacks the term of the examples whose target is 0, unless the target is a weight or a mask",
        remedy="2 * label - 1 in place of label in the margin label * output"
        if is_margin
        else "-(y * log(p) + (1 - y) * log(1 - p)) in place of -y * log(p), if y is a label",
        source="Cortes and Vapnik, Support-Vector Networks, Machine Learning 1995; own: other answers and targets in place of "
        "the program's",
    )


def blank_labels(facts: Facts) -> list[Finding]:
    """A symbol with the index of CTC's blank."""
    if facts.wrong_argument is None or facts.wrong_argument[1] != "blank":
        return []
    return [
        Finding(
            rule="label_range",
            code="label_range.blank",
            severity="error",
            seen="targets of ctc_loss hold the index of the blank between other labels",
            measurements=(Measurement(name="losses whose targets hold the blank", value=1.0, threshold=0.0),),
            cause="a symbol has the index of the blank: decoders drop it, and merge the symbols on both sides of it",
            remedy="number the symbols from 1, keep 0 for the blank (blank=0), and give the last layer one more output than "
            "there are symbols; or keep the numbers, with that many outputs, and pass blank=number of symbols to ctc_loss "
            "and the decoder",
            source="PyTorch, torch.nn.CTCLoss: targets cannot be blank; Graves et al., Connectionist Temporal Classification, "
            "ICML 2006; read off the call",
        )
    ]


def weights_against_rare(facts: Facts) -> list[Finding]:
    """Weights of a loss that increase the imbalance that they should remove."""
    function, word = facts.wrong_argument or ("", "")
    if facts.readings.balanced_twice is not None:
        return [_balanced_twice(*facts.readings.balanced_twice)]
    if word != "rare_lighter":
        return [_lighter(facts.readings.lighter)] if facts.readings.lighter is not None else []
    binary = function == "binary_cross_entropy_with_logits"
    return [
        Finding(
            rule="class_imbalance",
            code="class_imbalance.weights",
            severity="warning" if facts.weighs_by_share else "hint",  # costs of a false alarm may be meant
            seen=f"{'pos_weight' if binary else 'weight'} of {function} is smaller for what is rare than for what is frequent",
            measurements=(Measurement(name="losses with reversed weights", value=1.0, threshold=0.0),),
            cause="the weights are inverted: shares of the classes instead of their inverse",
            remedy=("pos_weight = number of negatives / number of positives" if binary else _BY_COUNTS)
            + ("" if facts.weighs_by_share else "; unless errors on what is frequent are meant to cost more"),
            source=f"PyTorch, torch.nn.functional.{function}; read off the call",
        )
    ]


def _balanced_twice(fewer: float, heavier: float) -> Finding:
    """Classes that a sampler draws as often, and a loss weighs by their rarity."""
    return Finding(
        rule="class_imbalance",
        code="class_imbalance.twice",
        severity="warning",
        seen=f"the rarest class has {fewer:.3g} times fewer examples than the most frequent one, the sampler draws both about "
        f"equally often, and the loss weighs it {heavier:.3g} times as much",
        measurements=(
            Measurement(name="weight of the rarest class over that of the most frequent", value=heavier, threshold=3.0),
            Measurement(name="examples of the most frequent class over those of the rarest", value=fewer, threshold=3.0),
        ),
        cause="the imbalance is undone twice: the rarest class now counts as much more as it counted less before",
        remedy="one of both: shuffle=True in place of the WeightedRandomSampler, or no weight (pos_weight) in the loss",
        source="PyTorch, torch.utils.data.WeightedRandomSampler; counted over the data set",
    )


def _lighter(found: RareLighter) -> Finding:
    """A loss of the program's own, which counts an error on the rarer of two labels for less."""
    right = "weight = alpha * target + (1 - alpha) * (1 - target)"
    return Finding(
        rule="class_imbalance",
        code="class_imbalance.weights",
        severity="hint",  # costs of a false alarm may be meant
        seen=f"{100 * found.share:.0f} % of the batch have label {found.label}; in the loss each of them counts for "
        f"{found.pull:.2g} of what an example with the other label does, for the same error",
        measurements=(
            Measurement(name="pull of the rarer label over the other's", value=found.pull, threshold=0.25),
            Measurement(name="share of the rarer label", value=found.share, threshold=0.25),
        ),
        cause="the weights of the two labels are exchanged: the large one is given to the label that is frequent",
        remedy=f"give the larger weight to label {found.label}: {right}, with alpha "
        f"{'above' if found.label == 1 else 'below'} 0.5; unless errors on the other label are meant to cost more",
        source="Lin et al., Focal Loss for Dense Object Detection, ICCV 2017, section 3.1 (alpha weighs the label 1); the loss "
        "was asked with outputs of its own choice",
    )


def smoothed_labels(facts: Facts) -> list[Finding]:
    """Label smoothing that leaves half of the target or less to the true class."""
    function, word = facts.wrong_argument or ("", "")
    if word != "smoothed":
        return []
    return [
        Finding(
            rule="capped_loss",
            code="capped_loss.smoothing",
            severity="warning",
            seen=f"label_smoothing of {function} leaves half of each target or less to the true class, and spreads the rest",
            measurements=(Measurement(name="losses smoothed by half", value=1.0, threshold=0.0),),
            cause="label smoothing is so strong that a sure answer costs more than one that is half undecided",
            remedy="label_smoothing=0.1, or 0.0",
            source="Szegedy et al., Rethinking the Inception Architecture, CVPR 2016, section 7 (0.1); read off the call",
        )
    ]


def deviation_for_variance(facts: Facts) -> list[Finding]:
    """A standard deviation in the place of a variance."""
    function, word = facts.wrong_argument or ("", "")
    if word != "deviation":
        return []
    return [
        Finding(
            rule="wrong_sign",
            code="wrong_sign.variance",
            severity="warning",
            seen=f"{function} is given what the program calls a standard deviation; it takes a variance",
            measurements=(Measurement(name="losses given a standard deviation", value=1.0, threshold=0.0),),
            cause="the standard deviation is not squared: what is learned under its name is a variance",
            remedy=f"std ** 2 in place of std in the call of {function}",
            source=f"PyTorch, torch.nn.functional.{function}; Nix and Weigend, Estimating the Mean and Variance of the Target "
            "Probability Distribution, 1994; read off the call and the names of variables",
        )
    ]


def spread_of_code(facts: Facts) -> list[Finding]:
    """A variational autoencoder whose noise has another deviation than its divergence says."""
    found = facts.readings.code_spread
    if found is None:
        return []
    source = "Kingma and Welling, Auto-Encoding Variational Bayes, 2014, appendix B; own: gradients beside those of the formula"
    if not found.taken_for:
        return [
            Finding(
                rule="wrong_sign",
                code="wrong_sign.spread",
                severity="warning",
                seen="the noise of the code is scaled by what the encoder returns, and the divergence does not depend on that, "
                "only on the mean",
                measurements=(Measurement(name="terms that hold the noise up", value=0.0, threshold=1.0),),
                cause="the divergence lacks the exponential of the log-variance, or is of the mean alone: the noise shrinks to "
                "nothing, and what is drawn from the prior is decoded to no example",
                remedy="-0.5 * (1 + log_variance - mean ** 2 - log_variance.exp()), where the noise is multiplied by "
                "(0.5 * log_variance).exp()",
                source=source,
            )
        ]
    return [
        Finding(
            rule="wrong_sign",
            code="wrong_sign.spread",
            severity="hint" if 1 / _NEAR_ONE < found.ratio < _NEAR_ONE else "warning",
            seen=f"the divergence takes what the encoder returns for a {found.taken_for}, and the noise of the code is not "
            f"multiplied by the deviation that this stands for, but by {found.ratio:.3g} times as much",
            measurements=(Measurement(name="scale of the noise over its deviation", value=found.ratio, threshold=1.0),),
            cause="a logarithm, a variance and a standard deviation are taken for each other",
            remedy=f"mean + {_SCALES[found.taken_for]} * noise, where x is what the divergence takes for the {found.taken_for}",
            source=source,
        )
    ]
