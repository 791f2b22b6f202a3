"""Targets compared with outputs and inputs: their scale, and whether the input already holds them."""

import math

from trainability.doctor import reading
from trainability.doctor.best_constant import best_constant, standing
from trainability.doctor.evidence import Evidence
from trainability.doctor.facts import Facts
from trainability.doctor.finding import Finding, Measurement, Severity
from trainability.doctor.rules import asked_tokens
from trainability.doctor.rules.imbalance import filled_in, ignored_class, rare_label, rare_places
from trainability.doctor.rules.inputs import SYMPTOMS
from trainability.doctor.rules.lone_targets import lone_targets
from trainability.doctor.rules.loss_arguments import weights_against_rare
from trainability.doctor.rules.padding import padding_asked
from trainability.doctor.rules.rule import rule
from trainability.doctor.rules.shown_targets import SHOWN

TINY_TARGETS = 1e-4
LEAST_BELOW = 0.1  # share of the targets
_SMALL, _TIMES = 0.1, 10.0  # rms of targets under SGD; of the first outputs over it
STAYS = 0.8  # of what the mean of the targets costs
_OVERCOME = 0.25  # of the same, below which targets of any size have been reached


_MASKED_ANSWERS = Finding(
    rule="masked_targets",
    code="masked_targets.answers",
    severity="warning",
    seen="the loss counts next tokens at the beginning of every sequence and never at its end, although the tokens there vary",
    measurements=(Measurement(name="sequence ends that the loss counts", value=0.0, threshold=1.0),),
    cause="the loss mask is inverted: prompts are learned, and answers are ignored",
    remedy="invert the mask: ignore_index at the positions of the prompt, and the tokens themselves at those of the answer",
    source="own; the gradient of the loss with respect to the logits",
)


@rule(severities=("warning", "hint"), explains=("constant_as_good", "overfit"))
def masked_targets(evidence: Evidence) -> list[Finding]:
    """The loss uses targets only where they are all the same.

    Fires: in a channel of the targets, the gradient of the loss with respect to them is zero where they differ, permuting these
        values leaves the loss unchanged, all values that the loss uses are equal, and it uses no other target for the outputs
        there. Code `answers`: the loss counts next tokens at the beginning of every sequence and never at its end, and less
        than 0.9 of the tokens ignored there are the same, as padding would be. Code `shown`: values of the batch on which no
        output depends change with the random numbers; the loss counts none of these and 0.95 or more of the others, which the
        model receives unchanged, also beside a mask in further columns or channels, and the model returns as many numbers as
        there are; or the loss counts words at some positions, the model receives each of them there, and most are a token that
        occurs nowhere else, or they lie amid others that it does not count, a twentieth of all or more, and in a check the
        outputs there change with them; in a watched loop, numbers are hidden by the same value, and the loss counts only the
        others. Code `below_zero`: in a channel of the targets, a tenth or more lie below zero and differ, the loss reads none
        of them, permuting them leaves it unchanged, and it reads those above zero. Code `class`, a hint: for pixels,
        `ignore_index` of the loss is a class that the model has an output for, and that masks contain.
    Why: an inverted mask trains on the filler and ignores everything that should be learned. The loss falls to zero all the
        same. The loss itself is tested, so this is certain.
    What fools it: values passed along that are not targets, under a loss that wants a constant in their channel; sequences that
        end in random tokens instead of padding. For pixels, the class may stand for those that nobody labelled.
    Fix: invert the mask: compute the loss where there are targets.
    Source: own; the gradient of the loss with respect to its targets.
    """
    if (shown := reading.facts(evidence).asks_shown) is not None:
        return [SHOWN[shown]]
    if (below := reading.facts(evidence).readings.unread_below) is not None:
        return [_above_zero_alone(*below)]
    channels = reading.facts(evidence).unread_targets
    if reading.facts(evidence).masked_answers:
        return [_MASKED_ANSWERS]
    if not channels:
        return _ignored_pixels(reading.facts(evidence))
    shown = ", ".join(map(str, channels[:4])) + (" and more" if len(channels) > 4 else "")
    return [
        Finding(
            rule="masked_targets",
            severity="warning",
            seen=f"in channel {shown} of the targets, the loss depends on entries that are all the same, and on none that "
            "differ",
            measurements=(Measurement(name="channels with an inverted mask", value=float(len(channels)), threshold=0.0),),
            cause="the loss mask is inverted",
            remedy="invert the mask: compute the loss where there are targets, not where the filler is",
            source="own; the gradient of the loss with respect to its targets",
        )
    ]


def _above_zero_alone(channel: int, share: float) -> Finding:
    """A mask for missing numbers that came after the targets were standardised."""
    return Finding(
        rule="masked_targets",
        code="masked_targets.below_zero",
        severity="warning",
        seen=f"in channel {channel} of the targets, {100 * share:.0f} % of the numbers lie below zero, and the loss reads only "
        "those above",
        measurements=(Measurement(name="share of the targets below zero", value=share, threshold=LEAST_BELOW),),
        cause="a mask such as target > 0, which is meant for what is missing, leaves out real targets, which were standardised "
        "or shifted before",
        remedy="compute the mask before the targets are standardised, or mark what is missing with NaN and use ~target.isnan()",
        source="own; the gradient of the loss with respect to its targets, and the loss with these exchanged",
    )


def _ignored_pixels(facts: Facts) -> list[Finding]:
    """A background class that the loss ignores, so that the other classes spread over it."""
    if facts.ignored_class is None or len(facts.target_shape) < 3:
        return []
    number, share = facts.ignored_class
    return [
        Finding(
            rule="masked_targets",
            code="masked_targets.class",
            severity="hint",
            seen=f"the loss ignores class {number}, for which the model has an output: {100 * share:.0f} % of the "
            "masks' pixels",
            measurements=(Measurement(name="share of the pixels that are ignored", value=share, threshold=0.0),),
            cause=f"ignore_index={number} is for unlabelled pixels; if class {number} is the background, nothing teaches "
            "where it is, and the other classes spread over it",
            remedy="leave ignore_index at -100 if that class should be predicted; or give unlabelled pixels a number of "
            "their own, 255, and use ignore_index=255",
            source="PyTorch, torch.nn.CrossEntropyLoss (ignore_index)",
        )
    ]


@rule(
    severities=("error", "warning", "hint"),
    verdict="broken data",
    explains=(*SYMPTOMS, "exploding_gradient", "not_finite", "clipping", "loss_at_start", "gain_budget_high"),
)
def target_scale(evidence: Evidence) -> list[Finding]:
    """Targets are far larger or smaller than the model's outputs.

    Fires: floating-point targets have an rms 100 times the larger of 1 and the outputs' rms, under a loss of their difference;
        in a loop that only Monitor saw, at its first step. A warning from 1,000 times, and where a run of 100 steps or more, or
        a rehearsal of 50, is not below 0.8 of the cost of the targets' mean, or is not finite after a first step that was; an
        error from 10,000 times. A hint where the loss has come below a quarter of that cost. Code `small`, a warning: their rms
        is 1e-4 or less; under another loss only where they have both signs, and the first loss is as large as that of the
        outputs alone, which are 100 times as large. With SGD also from 0.1 on, where the first outputs are ten times as large,
        and the loss is no better than above.
    Why: a net with healthy weights has outputs near 1 and changes them by about the learning rate per step; the squared error's
        gradient grows with the targets, so that SGD overshoots and Adam is far too slow.
    What fools it: a last layer or loss that applies the scale after the output that is measured here.
    Fix: train on (target - mean) / std, both of the training set, and undo it where predictions are read.
    Source: LeCun et al., Efficient BackProp, 1998, section 4.5; own limits.
    """
    facts = reading.facts(evidence)
    if facts.target_rms is None or facts.output_rms is None:
        return []
    is_distance = facts.task_loss in ("mse_loss", "l1_loss", "smooth_l1_loss")
    if 0 < facts.target_rms <= TINY_TARGETS and (is_distance or _is_of_outputs(facts)):
        return [_tiny_targets(facts)]
    if not is_distance:
        return []
    small = facts.output_rms >= _TIMES * facts.target_rms and 0 < facts.target_rms <= _SMALL
    if small and not reading.is_adaptive(evidence) and _stays(evidence):
        return [_tiny_targets(facts)]
    ratio = facts.target_rms / max(facts.output_rms, 1.0)
    if not ratio >= 100 or math.isinf(ratio):
        return []
    return [
        Finding(
            rule="target_scale",
            severity=_severity_of(ratio, evidence),
            seen=f"targets have rms {facts.target_rms:.3g}, outputs {facts.output_rms:.3g}",
            measurements=(
                Measurement(name="rms of targets over outputs", value=ratio, threshold=100.0),
                Measurement(name="mean of the targets", value=facts.target_mean or 0.0),
            ),
            cause="targets are not normalised",
            remedy=f"train on {_standardised(evidence)}, measured on the training set, and undo it where predictions are read",
            source="Efficient BackProp, 1998; own limits",
        )
    ]


def _severity_of(ratio: float, evidence: Evidence) -> Severity:
    """Severity from the ratio; a hint where the loss is already below a quarter of what the targets' mean costs."""
    if (left := _left(evidence)) is not None and left < _OVERCOME:
        return "hint"
    return "error" if ratio >= 1e4 else "warning" if ratio >= 1e3 or _stays(evidence) else "hint"


def _is_of_outputs(facts: Facts) -> bool:
    """Whether an unrecognised loss is that of the outputs alone, because its targets, of both signs, are negligible.

    A link function (a logarithm) has targets of one sign, and a scale in the loss makes the loss as small as the targets.
    """
    output, loss = facts.output_rms or 0.0, facts.loss or 0.0
    both_signs = facts.target_below_zero is not None and 0.1 <= facts.target_below_zero <= 0.9
    as_large = output > 100 * (facts.target_rms or 0.0) and loss >= 0.1 * min(output, output**2)
    return both_signs and as_large and facts.output_shape == facts.target_shape and facts.task_form == "values"


def _stays(evidence: Evidence) -> bool:
    """Whether steps have hardly lowered the loss below that of the mean of the targets, which needs outputs of that size.

    Also true where the rehearsal diverged: the gradient of a squared error grows with its targets.
    """
    return reading.diverged(evidence) or ((left := _left(evidence)) is not None and left > STAYS)


def _left(evidence: Evidence) -> float | None:
    """The loss of the run, or else of 50 rehearsed steps or more, over the cost of the targets' mean; None if unknown."""
    if evidence.steps:
        at = standing(evidence)
        return at.loss / at.cost if at is not None else None
    looks, constant = evidence.rehearsal.reference if evidence.rehearsal is not None else (), best_constant(evidence)
    if constant is None or not constant[0] > 0 or len(looks) < 2 or looks[-1].step < 50:
        return None
    return looks[-1].loss / constant[0]


def moved_targets(evidence: Evidence) -> list[Finding]:
    """Targets that the step itself reorders, and not the inputs."""
    if not reading.facts(evidence).moved_targets:
        return []
    return [
        Finding(
            rule="shuffled_labels",
            code="shuffled_labels.moved",
            severity="warning",
            seen="the loss gets the batch's targets in another order, while the model's answers are in the batch's own order",
            measurements=(Measurement(name="reordered targets", value=1.0, threshold=0.0),),
            cause="targets are rolled, sorted, flipped or permuted in the step, and the inputs are not",
            remedy="give the loss the targets as the batch holds them, or bring inputs and targets into the same order",
            source="own; compared value for value, and exchanged row by row",
        )
    ]


def _standardised(evidence: Evidence) -> str:
    train = evidence.data.train if evidence.data is not None else None
    if train is None or train.target_mean is None or not train.target_variance:
        return "(target - mean) / std"
    return f"(target - {train.target_mean:.3g}) / {math.sqrt(train.target_variance):.3g}"


def _tiny_targets(facts: Facts) -> Finding:
    """Targets so small that any output near zero has a small loss."""
    return Finding(
        rule="target_scale",
        code="target_scale.small",
        severity="warning",
        seen=f"targets have rms {facts.target_rms:.3g}, outputs {facts.output_rms:.3g}",
        measurements=(Measurement(name="rms of the targets", value=facts.target_rms or 0.0),),
        cause="targets are not normalised: steps of a usual size are larger than the targets",
        remedy="train on (target - mean) / std, measured on the training set, and undo it where predictions are read",
        source="Efficient BackProp, 1998; own limits",
    )


@rule(severities=("error", "warning", "hint"), verdict="broken data", explains=("overfit",))
def sees_future(evidence: Evidence) -> list[Finding]:
    """The output for a token depends on later tokens, which are the targets.

    Fires: the targets are an input shifted by one, and in eval mode the outputs for earlier tokens that the loss counts change
        by more than 1e-4 of their rms when later tokens are replaced, though they do not change when the same batch is run
        twice. In a loop that only Monitor saw: the gradient of the logits shows next tokens as targets, and the loss at the
        first half of the positions, sent back through the loop's own graph, has a gradient on the second half of the words.
        Silent on a model that also returns numbers for each sequence as a whole, like a variational autoencoder of sentences.
        Code `unshifted`: the outputs do not change, and the targets are the input tokens themselves, all of them, unlike those
        of a text with a few mistakes to be corrected. In a loop that only Monitor saw, a warning: the gradient of the logits
        shows the input token as the target, and reaches the last token of a sequence, where attention or recurrence is causal;
        a hint where that is not known. With several sequences of indices, as in translation, a warning where outputs depend on
        the token that is their target and on those before it, and on none after it, sent back through the loop's own graph.
        Codes `backward` and `twice`: the outputs do not change, and the target of every token is the previous token, or the one
        after the next. Code `fed`: the model is given its target as well as its input, and the output for a step depends on the
        target of the same step and on none after it. The output for a token must depend on that token: a decoder that shifts
        its input itself, like T5's, reads up to the previous token, and its target is rightly the token itself. A warning with
        code `present` or `given`: in 100 examples or more, each input contains its target, a number, value for value, at the
        same place: inputs are overlapping windows of a series, or a table of related columns. Code `copy`, a hint: outputs are
        compared with the model's own input, and linear layers, none narrower than the input, can copy it. Code `series`: of a
        series of numbers, the target at each place that the loss counts is the input one or several steps later, in all
        examples and value for value, up to the end of the input, where it is new; and at most places the output changes by
        more than 1e-4 of the outputs' rms when that value is exchanged with the last one of the same series. Layers that
        normalise over steps are held at their scale meanwhile. In a loop that only Monitor saw: the gradient of the output has
        the sign of its difference to that step of the input wherever it is not zero, to no other, and what one place asks for,
        sent back through the loop's own graph, has a gradient where the first layer reads that step. A hint where half of the
        targets at most are in the input. Of images, and other inputs that are their own targets number by number: the outputs
        whose gradient goes by a target change when that number of the input is exchanged between examples. Code `mask`: they
        no longer do once weights are multiplied by tensors of zeros and ones of the same shape, which the loss does not go by;
        of a script, asked of the trained weights as well. Code `itself`: they change with earlier pixels and with no later
        one; or, as a warning, the model has other masks that hide all later pixels of a kernel, and makes nothing that has
        fewer numbers than the input, and nothing at random.
    Why: the answer is in the input: the loss falls to almost zero, but text that the model generates is meaningless, because
        then there is no later token to copy. Tokens are replaced and outputs compared, so this is certain.
    What fools it: a model whose mask is an argument that only the loop passes; an autoencoder of sentences that returns only
        logits; a model that hides the place of the target itself.
    Fix: a causal mask: is_causal=True, or torch.nn.Transformer.generate_square_subsequent_mask(length); no bidirectional
        layers; convolutions padded on the left alone.
    Source: Vaswani et al., Attention Is All You Need, 2017, section 3.2.3; own check.
    """
    facts = reading.facts(evidence)
    future, shift, ahead = facts.future, facts.shifted_by, facts.reaches_ahead
    if shift is not None:
        return [asked_tokens.shifted(shift)]
    if facts.fed_answer:
        return [asked_tokens.fed()]
    if evidence.relation is not None and evidence.relation.held is not None:
        return [asked_tokens.held(*evidence.relation.held, evidence.relation.num_examples)]
    if facts.readings.own is not None:
        return [asked_tokens.own(facts.readings.own)]
    if facts.can_copy:
        return [asked_tokens.copy()]
    if facts.unshifted or facts.own_tokens is not None:
        return [asked_tokens.unshifted(facts)]
    if future is None and ahead is not None and ahead > asked_tokens.AHEAD:
        return [asked_tokens.reached(ahead)]
    if future is None or not future > 1e-4:
        return [asked_tokens.series(facts.readings.ahead)] if facts.readings.ahead is not None else []
    return [
        Finding(
            rule="sees_future",
            severity="error",
            seen="outputs for earlier tokens change when later tokens are replaced, and those are the targets",
            measurements=(Measurement(name="change over rms of the output", value=future, threshold=1e-4),),
            cause="attention without a causal mask, or another operation over all positions",
            remedy="a causal mask (is_causal=True), and no bidirectional layers; torch.nn.TransformerDecoder takes the target "
            "first: decoder(target, memory, tgt_mask=mask)",
            source="Attention Is All You Need, 2017, section 3.2.3",
        )
    ]


_RARE = 0.85  # share of the largest class: at three quarters or less a net learns the other classes without help


@rule(severities=("warning", "hint"), explains=("prediction_collapse",))
def class_imbalance(evidence: Evidence) -> list[Finding]:
    """One class holds more than half of the training images.

    Fires: three classes or more, 100 images or more, and one class with a share above 0.5; a hint below 0.85, and where the
        loss weights classes or examples (`weight`, `reduction="none"`). A hint where one of two labels, 0 and 1, has a share
        below 0.1. Code `ignored`: each example has one label, and `ignore_index` of the loss is a class that examples of the
        batch have and for which the model has an output; or each word has one label, and words of many kinds, between others,
        have that class and begin sequences, or have it sometimes, some more often than others, and the targets are not words
        themselves. Code `filled`: in a column of numeric targets, 30 % or more are one number between the others, none of which
        is a sixth as frequent; the others depend on the input (8 standard deviations above shuffled ones), the places of that
        number do not (3.5, also with products of three columns), and the loss depends on it. Code `one_class`: under
        cross-entropy with several targets per example (pixels, tokens, marks), or under a difference with any number of
        targets, all targets of 64 examples or more are the same value. Code `weights`: `pos_weight` is 1/2 or less though at
        most a quarter of the batch's targets are positive (2 or more where three quarters are), or cross-entropy's class
        weights are larger for the more frequent class in any two classes of which one is three times as frequent; a hint unless
        a check finds that they are the shares of the whole data set to a hundredth (positives over negatives, or over all;
        class weights in proportion to counts, or inverse counts in another order, with twice the weight for the most frequent
        class that the rarest has), and the loader draws by PyTorch's samplers of indices without weights; it is asked so as
        well where a batch is too small to show each class. A warning with code `twice`: a class has a third or less of the
        examples of another, a `WeightedRandomSampler` draws both equally often, and the loss weighs them by the inverse of
        their counts, each to a factor of 2. A hint where a loss of 0 and 1, whatever its form, is asked with answers of its
        own: that of an example with the label that a quarter of the batch or less has moves it, at the same error, by a quarter
        or less of what another's does. Code `padding`: targets hold a negative number where sequences of words are padding, and
        the gradient of the loss is not zero there; a hint where they hold a class that words have too, and half of the places
        that the loss counts are padding. The same code: a tenth of float targets or more are one number behind the ends that a
        mask (batch, length) or lengths of the batch tell, nine tenths of the rows have another in front of it, and the loss has
        a slope there; a hint unless rows leap to it by three times what they move from one place to the next, and the model is
        shown no ends, by the mask, the lengths or a channel of an input that is constant behind them, and lengths are not
        related to an input (5 standard deviations above shuffled ones). A hint with code `places`: the loss is a binary
        cross-entropy alone, without weights, of eight places or more in each example, which a layer with one output answers and
        the model is not given, and a twentieth of them or less is 1 (two standard errors added, over 16 examples or more);
        silent where every example has as many of them, as one right candidate has.
    Why: always predicting that class is then right more often than wrong, so accuracy rises before anything is learned.
    What fools it: a loader that is sorted by class, of which the audit reads only the first images; for `ignored`, windows cut
        from running text in which later word pieces have the ignored class, and which may begin with such a piece.
    Fix: sample classes evenly (`torch.utils.data.WeightedRandomSampler`) or weight the loss, and look at errors per class.
    Source: Schoop et al., UMLAUT, CHI 2021; own threshold.
    """
    facts = reading.facts(evidence)
    if facts.ignored_class is not None and len(facts.target_shape) < 3:
        return [ignored_class(*facts.ignored_class)]
    if turned := weights_against_rare(facts):
        return turned
    if found := padding_asked(facts) or lone_targets(evidence):
        return found
    if facts.filled_targets is not None:
        return [filled_in(*facts.filled_targets)]
    if facts.readings.rare_marks is not None:
        return [rare_places(facts.readings.rare_marks)]
    data = evidence.data
    counts = data.train.label_counts if data is not None else ()
    total = sum(counts)
    if data is not None and data.train.positive is not None and not facts.weighs_examples:
        return rare_label(data.train.positive, data.train.num_images, are_classes=bool(data.train.label_counts))
    if len([c for c in counts if c]) < 3 or total < 100:
        return []
    share = max(counts) / total
    if share <= 0.5:
        return []
    return [
        Finding(
            rule="class_imbalance",
            severity="warning" if share >= _RARE and not facts.weighs_examples else "hint",
            seen=f"class {counts.index(max(counts))} holds {100 * share:.0f} % of the training images",
            measurements=(
                Measurement(name="share of the largest class", value=share, threshold=0.5),
                Measurement(name="accuracy of always predicting it", value=share),
            ),
            cause="imbalanced data: predicting one class is already good",
            remedy="sample classes evenly (torch.utils.data.WeightedRandomSampler) and look at per-class errors",
            source="UMLAUT, CHI 2021",
        )
    ]
