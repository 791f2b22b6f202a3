"""Targets beside outputs and inputs: their scale, and whether the input already holds them."""

import math

from trainability.doctor import reading
from trainability.doctor.best_constant import best_constant, standing
from trainability.doctor.evidence import Evidence
from trainability.doctor.facts import Facts
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.rules import asked_tokens
from trainability.doctor.rules.imbalance import filled_in, ignored_class
from trainability.doctor.rules.inputs import SYMPTOMS
from trainability.doctor.rules.lone_targets import lone_targets
from trainability.doctor.rules.loss_arguments import weights_against_rare
from trainability.doctor.rules.padding import padding_asked
from trainability.doctor.rules.rule import rule

TINY_TARGETS = 1e-4
STAYS = 0.8  # of what the mean of the targets costs


_MASKED_ANSWERS = Finding(
    rule="masked_targets",
    code="masked_targets.answers",
    severity="warning",
    seen="the next token is asked for at the beginning of every sequence and never at its end, and what stands there varies",
    measurements=(Measurement(name="ends that are asked for", value=0.0, threshold=1.0),),
    cause="the mask of what counts is inverted: prompts are learned, and answers left out",
    remedy="turn the mask round: ignore_index at the places of the prompt, and the tokens themselves at those of the answer",
    source="own; the gradient of the loss by the logits",
)


_SHOWN_VALUES = Finding(
    rule="masked_targets",
    code="masked_targets.shown",
    severity="warning",
    seen="a part of the batch is hidden from the model at random, and the loss asks for nothing but what was not hidden: each "
    "answer that counts goes by the very number that it is to tell",
    measurements=(Measurement(name="hidden places that are asked for", value=0.0, threshold=1.0),),
    cause="the mask is 1 for what is kept where the loss takes it for what was hidden, or the other way round",
    remedy="take the loss where the input was hidden: ((output - target) ** 2 * hidden).sum() / hidden.sum(), with hidden = "
    "1 - mask where the mask marks what is kept, and hidden = mask where it marks what is taken away",
    source="He et al., Masked Autoencoders Are Scalable Vision Learners, CVPR 2022, section 3; gradients by the batch",
)
_SHOWN_WORDS = Finding(
    rule="masked_targets",
    code="masked_targets.shown",
    severity="warning",
    seen="every token that the loss asks for is the one that the model is given at that place, and most are one and the same, "
    "which stands nowhere else: a mask's own token",
    measurements=(Measurement(name="hidden tokens that are asked for", value=0.0, threshold=1.0),),
    cause="labels and input are one tensor: tokens were replaced by the mask in place, and so in the labels",
    remedy="labels = input_ids.clone() before input_ids[mask] = mask_token_id",
    source="Devlin et al., BERT, NAACL 2019, section 3.1; the gradient of the logits beside the tokens",
)
_SHOWN_OTHERS = Finding(
    rule="masked_targets",
    code="masked_targets.shown",
    severity="warning",
    seen="every token that the loss asks for is the one that the model is given at that place, and the places amid them that "
    "it leaves out hold one and the same token, which stands nowhere else: a mask's own",
    measurements=(Measurement(name="hidden tokens that are asked for", value=0.0, threshold=1.0),),
    cause="ignore_index is written where tokens were masked, in place of everywhere else",
    remedy="labels[~mask] = -100, where mask is True for the tokens that were replaced by the mask",
    source="Devlin et al., BERT, NAACL 2019, section 3.1; the gradient of the logits beside the tokens",
)
_SHOWN = {"words": _SHOWN_WORDS, "values": _SHOWN_VALUES, "others": _SHOWN_OTHERS}


@rule(severities=("warning", "hint"), explains=("constant_as_good", "overfit"))
def masked_targets(evidence: Evidence) -> list[Finding]:
    """The loss reads targets only where they are all the same.

    Fires: of a channel of the targets, the gradient of the loss by them is zero where they differ, exchanging these values
        among themselves leaves the loss as it is, all that it reads are one number, and it asks nothing else of the outputs
        there. Code `answers`: the loss asks for the next token at the beginning of every sequence and never at its end, and of
        the tokens that it leaves out there less than 0.9 are one and the same, as padding is. Code `shown`: values of the
        batch that no output changes with are others with other random numbers, and the loss asks for none of them and for 0.95
        of the others or more, which the model is given as they are, and returns as many numbers as there are; or the loss
        asks for words at some places, each of which the model is given there, and most are one that stands nowhere else;
        in a watched loop, numbers are hidden behind one and the same, and the loss asks for the others alone. A
        hint with code `class`: of pixels, `ignore_index` of the loss is a class that the model has an output for, and that
        masks hold.
    Why: a mask that is inverted asks for the filler where nothing is, and leaves out everything that is to be learned. The loss
        falls to nothing all the same. Asked of the loss itself, so this is certain.
    What fools it: values that are given along and are no targets, under a loss that wants one constant in their channel;
        sequences that end in random tokens in place of padding. Of pixels that class may stand for those that nobody labelled.
    Fix: turn the mask round: the loss is to be taken where there is something.
    Source: own; the gradient of the loss by its targets.
    """
    if (shown := reading.facts(evidence).asks_shown) is not None:
        return [_SHOWN[shown]]
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
            seen=f"in channel {shown} of the targets the loss goes by the entries that are all the same, and by none that "
            "differ",
            measurements=(Measurement(name="such channels", value=float(len(channels)), threshold=0.0),),
            cause="the mask of what counts is inverted",
            remedy="turn the mask round: take the loss where targets are given, and not where the filler is",
            source="own; the gradient of the loss by its targets",
        )
    ]


def _ignored_pixels(facts: Facts) -> list[Finding]:
    """A background that no pixel is asked for, so that what stands out of it is seen everywhere."""
    if facts.ignored_class is None or len(facts.target_shape) < 3:
        return []
    number, share = facts.ignored_class
    return [
        Finding(
            rule="masked_targets",
            code="masked_targets.class",
            severity="hint",
            seen=f"the loss ignores class {number}, which the model has an output for: {share:.0%} of the masks' pixels",
            measurements=(Measurement(name="share of the pixels that are ignored", value=share, threshold=0.0),),
            cause=f"ignore_index={number} is for pixels that nobody labelled; where class {number} is the background, nothing "
            "says where it is, and the other classes spread over it",
            remedy="leave ignore_index at -100 where that class is to be told; or number what is not labelled by itself, "
            "255, and the loss ignore_index=255",
            source="PyTorch, torch.nn.CrossEntropyLoss (ignore_index)",
        )
    ]


@rule(
    severities=("error", "warning", "hint"),
    verdict="broken data",
    explains=(*SYMPTOMS, "exploding_gradient", "not_finite", "clipping", "loss_at_start", "gain_budget_high"),
)
def target_scale(evidence: Evidence) -> list[Finding]:
    """Targets are far larger or smaller than anything that the model puts out.

    Fires: floating-point targets whose rms is 100 times the larger of 1 and the rms of the outputs, under a loss of their
        difference; of a loop that Monitor alone saw, of its first step. A warning from 1,000 times, and where a run of 100
        steps or more, or a rehearsal of 50, is not below 0.8 of what the mean of the targets costs, or is not finite after a
        first step that was; an error from 10,000
        times. Code `small`: their rms is 1e-4 or less, a warning; under a loss of another kind where they have both
        signs, and the first loss is as large as that of the outputs alone, which are 100 times as large.
    Why: a net with healthy weights puts out numbers near 1 and moves them by about the learning rate a step; the squared
        error's gradient grows with the targets, so that SGD overshoots and Adam crawls.
    What fools it: a last layer or loss that brings the scale in by itself after the output that is seen here.
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
    ratio = facts.target_rms / max(facts.output_rms, 1.0)
    if not ratio >= 100 or math.isinf(ratio):
        return []
    return [
        Finding(
            rule="target_scale",
            severity="error" if ratio >= 1e4 else "warning" if ratio >= 1e3 or _stays(evidence) else "hint",
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


def _is_of_outputs(facts: Facts) -> bool:
    """Whether a loss that is not recognised is that of the outputs alone, beside which its targets, of both signs, are nothing.

    A link (a logarithm) has targets of one sign, and a scale that the loss brings in makes the loss as small as the targets.
    """
    output, loss = facts.output_rms or 0.0, facts.loss or 0.0
    both_signs = facts.target_below_zero is not None and 0.1 <= facts.target_below_zero <= 0.9
    as_large = output > 100 * (facts.target_rms or 0.0) and loss >= 0.1 * min(output, output**2)
    return both_signs and as_large and facts.output_shape == facts.target_shape and facts.task_form == "values"


def _stays(evidence: Evidence) -> bool:
    """Whether steps have brought the loss hardly below that of the mean of the targets, which needs outputs as large.

    So they have where the very rehearsal diverged: the gradient of a squared error grows as its targets do.
    """
    if evidence.steps:
        at = standing(evidence)
        return reading.diverged(evidence) or (at is not None and at.loss > STAYS * at.cost)
    if reading.diverged(evidence):
        return True
    looks, constant = evidence.rehearsal.reference if evidence.rehearsal is not None else (), best_constant(evidence)
    return constant is not None and len(looks) > 1 and looks[-1].step >= 50 and looks[-1].loss > STAYS * constant[0]


def moved_targets(evidence: Evidence) -> list[Finding]:
    """Targets that the step itself brings into another order than the inputs."""
    if not reading.facts(evidence).moved_targets:
        return []
    return [
        Finding(
            rule="shuffled_labels",
            code="shuffled_labels.moved",
            severity="warning",
            seen="the loss is given the targets of the batch in another order, and the model its inputs in the batch's own",
            measurements=(Measurement(name="targets in another order", value=1.0, threshold=0.0),),
            cause="targets are rolled, sorted, flipped or permuted in the step, and the inputs are not",
            remedy="give the loss the targets as the batch holds them, or bring inputs and targets into one and the same order",
            source="own; compared value for value",
        )
    ]


def _standardised(evidence: Evidence) -> str:
    train = evidence.data.train if evidence.data is not None else None
    if train is None or train.target_mean is None or not train.target_variance:
        return "(target - mean) / std"
    return f"(target - {train.target_mean:.3g}) / {math.sqrt(train.target_variance):.3g}"


def _tiny_targets(facts: Facts) -> Finding:
    """Targets of which any output near zero makes a small loss."""
    return Finding(
        rule="target_scale",
        code="target_scale.small",
        severity="warning",
        seen=f"targets have rms {facts.target_rms:.3g}, outputs {facts.output_rms:.3g}",
        measurements=(Measurement(name="rms of the targets", value=facts.target_rms or 0.0, threshold=TINY_TARGETS),),
        cause="targets are not normalised: steps of a usual size are larger than what is to be learned",
        remedy="train on (target - mean) / std, measured on the training set, and undo it where predictions are read",
        source="Efficient BackProp, 1998; own limits",
    )


@rule(severities=("error", "warning", "hint"), verdict="broken data", explains=("overfit",))
def sees_future(evidence: Evidence) -> list[Finding]:
    """The output for a token depends on later tokens, which are the targets.

    Fires: the targets are an input shifted by one, and in eval mode the outputs for earlier tokens, of which the loss asks
        something, change by more than 1e-4 of their rms when later tokens are exchanged, though they do not change when the
        same is asked twice. Of a loop that
        Monitor alone saw: the gradient of the logits asks for the next token, and what the first half of the places asks for,
        sent back through the loop's own graph, comes to the second half of the words. Silent on a model that also returns
        numbers for each sequence as a whole, as a variational autoencoder of sentences does. Code `unshifted`:
        they do not change, and the targets are the input tokens themselves, all of them, as those of a text with a few
        mistakes, which is to be corrected, are not. Of a loop
        that Monitor alone saw, a warning: the gradient of the logits asks for the token that is given, and comes back to the
        last one of a sequence, where attention or recurrence is causal; a hint where that is not known. Of several sequences
        that a model looks up, as a translation's, a warning where places go by the token there that they are asked for and by
        those before it, and by none behind, sent back through the loop's own graph. Codes
        `backward` and `twice`: they do not change, and every token is asked for the one before it, or for the next but one of
        those that the model reads. Code `fed`: the model is given its target beside its input, and the output for a step goes
        by the target of the same step and of none behind it. The output for a token must depend on it: a decoder that shifts
        its input by itself, as T5's does, reads up to the token before, and is rightly asked for the token itself. A warning
        with code `present` or `given`: of 100 examples or more, each input holds its target, a number, value for value, at one
        and the same place: inputs are windows of a series, some of which overlap, or a table of columns that go together. A
        hint with code `copy`: answers are held against the model's own input, and linear layers, none narrower than it, can
        copy it.
    Why: the answer is in the input: the loss goes to nearly zero, and what the model writes by itself is babble, because there
        is no later token to copy. Exchanged and compared, so this is certain.
    What fools it: a model whose mask is set outside, by an argument that only the loop passes; an autoencoder of sentences
        that returns nothing but logits; a model that hides the place that holds the target by itself.
    Fix: a causal mask: is_causal=True, or torch.nn.Transformer.generate_square_subsequent_mask(length); no bidirectional
        layers.
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
    if facts.can_copy:
        return [asked_tokens.copy()]
    if facts.unshifted or facts.own_tokens is not None:
        return [asked_tokens.unshifted(facts)]
    if future is None and ahead is not None and ahead > asked_tokens.AHEAD:
        return [asked_tokens.reached(ahead)]
    if future is None or not future > 1e-4:
        return []
    return [
        Finding(
            rule="sees_future",
            severity="error",
            seen="outputs for earlier tokens change when later tokens are exchanged, and those are the targets",
            measurements=(Measurement(name="change over rms of the output", value=future, threshold=1e-4),),
            cause="attention without a causal mask, or another operation over all positions",
            remedy="a causal mask (is_causal=True), and no bidirectional layers",
            source="Attention Is All You Need, 2017, section 3.2.3",
        )
    ]


_RARE = 0.85  # share of the largest class: a net learns the others of three quarters or less without help


@rule(severities=("warning", "hint"), explains=("prediction_collapse",))
def class_imbalance(evidence: Evidence) -> list[Finding]:
    """One class holds more than half of the training images.

    Fires: three classes or more, 100 images or more, and one class with a share above 0.5; a hint below 0.85, and where the
        loss weighs classes or examples (`weight`, `reduction="none"`). Code `ignored`: each example has one label, and
        `ignore_index` of the loss is a class that examples of the batch have and the model has an output for; or each
        word has one, and words of many kinds that stand between others have that class and begin sequences, or have it
        now and then, some more often than others, where words themselves are not asked for. Code `filled`: of a column
        of numbers as targets, 30 % or more are one number that lies between the others, of which none is a sixth as
        frequent; these go with the input (8 standard deviations above shuffled ones), where that number stands does not
        (3.5, nor with products of three columns), and the loss changes with it. Code `one_class`: cross-entropy is
        asked of targets with several places each (pixels, tokens, marks), or a loss of their difference of targets with
        any, and all places of 64 examples or more hold one and the same value. Code `weights`: `pos_weight` is 1/2 or
        less though a quarter of the batch's targets are positive at most (2 or more where three quarters are), or the
        class weights of cross-entropy are larger for the more frequent of any two classes of which one is three times
        as frequent. Code `padding`: targets hold a number below zero where sequences of words are padding, and the
        gradient of the loss is not zero there; a hint, where they hold a class that words have, too, and half of what
        is asked is padding.
    Why: naming that class always is then right more often than wrong, so accuracy rises before anything is learned.
    What fools it: a loader that is sorted by class, of which the audit reads only the first images; of `ignored`, windows cut
        out of running text, in which later pieces of words have the ignored class, and which may begin with such a piece.
    Fix: sample classes evenly (`torch.utils.data.WeightedRandomSampler`) or weight the loss, and read errors per class.
    Source: Schoop et al., UMLAUT, CHI 2021; own threshold.
    """
    ignored = reading.facts(evidence).ignored_class
    if ignored is not None and len(reading.facts(evidence).target_shape) < 3:
        return [ignored_class(*ignored)]
    if turned := weights_against_rare(reading.facts(evidence)):
        return turned
    if found := padding_asked(reading.facts(evidence)) or lone_targets(evidence):
        return found
    if (number := reading.facts(evidence).filled_targets) is not None:
        return [filled_in(*number)]
    data = evidence.data
    counts = data.train.label_counts if data is not None else ()
    total = sum(counts)
    if len([c for c in counts if c]) < 3 or total < 100:
        return []
    share = max(counts) / total
    if share <= 0.5:
        return []
    return [
        Finding(
            rule="class_imbalance",
            severity="warning" if share >= _RARE and not reading.facts(evidence).weighs_examples else "hint",
            seen=f"class {counts.index(max(counts))} holds {share:.0%} of the training images",
            measurements=(
                Measurement(name="share of the largest class", value=share, threshold=0.5),
                Measurement(name="accuracy of always naming it", value=share),
            ),
            cause="imbalanced data: naming one class is already a good answer",
            remedy="sample classes evenly (torch.utils.data.WeightedRandomSampler) and read per-class errors",
            source="UMLAUT, CHI 2021",
        )
    ]
