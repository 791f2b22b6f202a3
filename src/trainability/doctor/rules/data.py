"""Training images and labels, as the loader yields them."""

import math

from trainability.doctor import reading
from trainability.doctor.audit_results import SplitAudit
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.rules.aligned import (
    drawn_target,
    other_targets,
    parted,
    scores_apart,
    strangers,
    turned_images,
    unsorted,
)
from trainability.doctor.rules.bag_offsets import falling_offsets
from trainability.doctor.rules.finite import nonfinite_batch
from trainability.doctor.rules.loss_arguments import blank_labels, refused_label, several_classes, zeros_for_signs
from trainability.doctor.rules.padding import padded_apart
from trainability.doctor.rules.rule import rule
from trainability.doctor.rules.shifted import shifted
from trainability.doctor.rules.targets import moved_targets
from trainability.doctor.rules.unrelated import unrelated
from trainability.doctor.rules.unrelated_pairs import unrelated_pairs

_MOST_LONE, _CONFLICTS = 0.9, 0.1  # of the images; of those that occur again
_TELLS = 6.0  # standard errors of a linear probe above chance
_MASKED = 20  # images that are not finite, in batches whose losses are
_AS_ROUGH = 1.0  # squared differences between neighbours, channels last over first: below 1 for half of the images of noise


def _splits(evidence: Evidence) -> list[SplitAudit]:
    data = evidence.data
    return [split for split in (data.train, data.validation) if split is not None] if data is not None else []


@rule(severities=("error", "warning", "hint"), verdict="broken data", explains=("not_finite",))
def label_range(evidence: Evidence) -> list[Finding]:
    """A label is outside 0 to C - 1.

    Fires: the smallest label of a split is negative, or its largest is at least the number of logits (or of classes, where the
        number of logits is unknown); silent where the loss is not cross-entropy and rehearsed steps accept these labels. In a
        watched script: it failed in `cross_entropy` or `nll_loss`, which were given such a label on the CPU. Code `signs`: a
        loss that takes labels -1 and 1 is given 0 and 1; or, with one output and one target of 0 or 1 for each example, the
        loss has no gradient at any of eight answers, near and far, to the examples with 0, and one for each with 1, and is,
        with all targets 0, the same number at every answer, which is not zero, and more than of the best answer to a 1; these
        are not linear in the targets, as in weights. A hint where that number is zero, if the loss of a 1 is never negative,
        falls with the answer to next to nothing, and depends on no other tensor of the batch. Code `blank`: in a tenth of its
        targets, `ctc_loss` is given the index of the blank between two other labels. A warning with code `several`:
        `cross_entropy` is given a row of zeros and ones for each example, and a twentieth of the rows or more have several
        ones; not where the model is given the same rows, or there are as many classes as rows.
    Why: cross-entropy indexes the logits with the label. A label outside the range raises on the CPU; on a GPU it stops the
        process, often many steps later. CTC's blank is not a symbol: decoders leave it out.
    What fools it: labels that the loss ignores on purpose, other than -100, the default of ignore_index. Labels beyond the part
        that the audit reads are not seen. For the hint, a mask of the examples whose answers are to grow. For `several`, tags
        of which only the order is asked for.
    Fix: map labels to 0 .. C - 1, and give the head C outputs.
    Source: `torch.nn.functional.cross_entropy`; the same check in preflight-ml.
    """
    classes = evidence.probe.num_logits if evidence.probe is not None and evidence.probe.num_logits else None
    classes = classes or reading.num_classes(evidence)
    tried = evidence.rehearsal
    is_other = tried is not None and bool(tried.steps) and tried.task.loss not in ("cross_entropy", "nll_loss")
    for split in _splits(evidence) if not is_other else ():
        if split.label_min is None or split.label_max is None:
            continue
        if split.label_min < 0 or (classes is not None and split.label_max >= classes):
            return [
                Finding(
                    rule="label_range",
                    severity="error",
                    seen=f"{split.name} labels run from {split.label_min} to {split.label_max}; "
                    f"{classes} classes need 0 to {(classes or 1) - 1}",
                    measurements=(
                        Measurement(name="smallest label", value=float(split.label_min), threshold=0.0),
                        Measurement(name="largest label", value=float(split.label_max), threshold=float((classes or 1) - 1)),
                    ),
                    cause="labels count from 1, or the head is too narrow for the data",
                    remedy="map labels to 0 .. C-1, and give the head C outputs",
                    source="preflight-ml",
                )
            ]
    facts = reading.facts(evidence)
    return refused_label(facts) or blank_labels(facts) or several_classes(facts) or zeros_for_signs(facts)


@rule(severities=("error", "warning"), verdict="broken data", explains=("split_shift", "shuffled_labels"))
def channels_last(evidence: Evidence) -> list[Finding]:
    """Images have the shape (height, width, channels) instead of (channels, height, width).

    Fires: the last dimension of an image is 1, 3 or 4, and the first two are both larger than 4. A warning with code `view`: in
        nine of ten images of 2 to 4 channels, 64 or more of them, the same numbers in the same order, read as (height, width,
        channels), differ less between neighbouring pixels.
    Why: a convolution takes the first dimension as channels. Where the number happens to fit, it mixes rows as if they were
        colours, and nothing raises. A view or reshape to the right shape keeps the order in memory, so that each row holds the
        colours of a few pixels side by side. Noise is equally rough either way, but an image is smoother when it is read
        correctly.
    What fools it: data with more than 4 real channels that is 1, 3 or 4 columns wide, such as stacked sensor windows; for
        `view`, textures whose period in pixels is the number of channels.
    Fix: images.permute(0, 3, 1, 2) before the model, instead of a view.
    Source: Schoop et al., UMLAUT, CHI 2021.
    """
    shapes = [shape for split in _splits(evidence) for shape in split.shapes]
    wrong = [s for s in shapes if len(s) == 3 and s[-1] in (1, 3, 4) and s[0] > 4 and s[1] > 4]
    if not wrong:
        return _torn(evidence)
    return [
        Finding(
            rule="channels_last",
            severity="error",
            seen=f"images have shape {wrong[0]}: the first dimension, {wrong[0][0]}, is taken as channels",
            measurements=(Measurement(name="first dimension", value=float(wrong[0][0]), threshold=4.0),),
            cause="images are stored with channels last",
            remedy="images.permute(0, 3, 1, 2) before the model",
            source="UMLAUT, CHI 2021",
        )
    ]


def _torn(evidence: Evidence) -> list[Finding]:
    """A view instead of a permute."""
    data = evidence.data
    ratio = data.train.regrouped_roughness if data is not None else None
    if data is None or ratio is None or not ratio < _AS_ROUGH:
        return []
    return [
        Finding(
            rule="channels_last",
            code="channels_last.view",
            severity="warning",
            seen=f"images of shape {data.train.shapes[0]} look scrambled: read with channels last, nine in ten are smoother "
            f"(less than {ratio:.2f} of the squared differences between neighbouring pixels)",
            measurements=(Measurement(name="squared differences, channels last over first", value=ratio, threshold=_AS_ROUGH),),
            cause="view or reshape was used where the dimensions had to be permuted",
            remedy="images.permute(0, 3, 1, 2) instead of images.view(batch, channels, height, width)",
            source="own; neighbouring pixels of both readings",
        )
    ]


@rule(severities=("error", "hint"), verdict="broken data", explains=("not_finite", "plateau", "exploding_gradient"))
def not_finite_data(evidence: Evidence) -> list[Finding]:
    """Images hold NaN or infinity.

    Fires: at least one image that the audit reads, in the training or the validation split; or another tensor of the first
        batch, together with the loss of that batch (code `batch`).
    Why: one such value makes the loss of its whole batch NaN, and the next step makes every weight NaN.
    What fools it: a model that masks missing values by itself: a hint where twenty such images or more are in batches whose
        rehearsed losses are all finite.
    Fix: find the first such image and its origin, most often a division by a standard deviation of zero or a damaged file.
    Source: IEEE 754 arithmetic; the same check in preflight-ml.
    """
    are_masked = _are_masked(evidence)
    for split in _splits(evidence):
        if split.nonfinite_fraction > 0:
            return [
                Finding(
                    rule="not_finite_data",
                    severity="hint" if are_masked else "error",
                    seen=f"{100 * split.nonfinite_fraction:.1f} % of the {split.name} examples hold NaN or infinity"
                    + ("; the losses of batches with them are finite" if are_masked else ""),
                    measurements=(
                        Measurement(
                            name="fraction of examples with NaN or infinity", value=split.nonfinite_fraction, threshold=0.0
                        ),
                    ),
                    cause="missing values, which the model masks"
                    if are_masked
                    else "a division by a zero standard deviation, or a damaged file",
                    remedy="nothing, if missing values are marked in this way on purpose"
                    if are_masked
                    else "replace them, x = torch.where(torch.isfinite(x), x, mean) with the mean of the column's or "
                    "channel's finite values, or leave these examples out; where a division produces them, add 1e-8 to the "
                    "denominator",
                    source="preflight-ml",
                )
            ]
    return nonfinite_batch(evidence)


def _are_masked(evidence: Evidence) -> bool:
    """Whether a rehearsal took so many of training's images that are not finite, and its losses are finite."""
    data, rehearsal = evidence.data, evidence.rehearsal
    if data is None or rehearsal is None or data.train.order is None:
        return False
    taken = data.train.nonfinite_fraction * data.train.order.batch_size * len(rehearsal.steps)
    losses = [*(step.loss for step in rehearsal.steps), *(look.loss for look in rehearsal.reference)]
    return taken >= _MASKED and all(math.isfinite(loss) for loss in losses if loss is not None)


@rule(
    severities=("error", "warning", "hint"),
    verdict="broken data",
    explains=(
        "split_shift",
        "mirrored",
        "label_conflict",
        "shuffled_labels",
        "constant_input",
        "prediction_collapse",
        "plateau",
    ),
)
def blank_images(evidence: Evidence) -> list[Finding]:
    """Training images, or their channels, hold a single value.

    Fires: from 1 % blank images or 5 % constant channels; an error from 5 % blank images or 25 % constant channels. A hint
        where five or more blank images all have the same target, and other images have others. Codes: `augmentation` where
        validation's images are not blank, else `source`. Code `cast`, a warning: nine tenths of the images hold one value, but
        for one pixel, a tenth of those that occur again have another label, and a linear probe is less than 6 standard errors
        above chance.
    Why: a blank image says nothing about its class, so its label is noise. Images are counted one by one, because the mean and
        standard deviation of a batch hardly change when a third of it is blank.
    What fools it: data where an empty image, or one figure on a board, has several answers, and grey images stored with three
        channels of which some are unused.
    Fix: shift colours in the range 0 to 255, clip there, and normalise last; if validation images are blank too, look at the
        files and at how they are decoded.
    Source: own; a third of the log's ImageNet training images were blank, from a colour shift that was clipped after
        normalisation.
    """
    if evidence.data is None:
        return []
    train, held_out = evidence.data.train, evidence.data.validation
    blank, channels = train.blank_fraction, train.constant_channel_fraction
    tells = (evidence.data.class_signal_z or 0.0) >= _TELLS  # the place of a figure on a board says something
    if train.lone_fraction >= _MOST_LONE and (evidence.data.label_conflict_fraction or 0.0) >= _CONFLICTS and not tells:
        return [_cut_to_integers(train.lone_fraction)]
    if blank < 0.01 and channels < 0.05:
        return []
    measurements = [
        Measurement(name="blank training images", value=blank, threshold=0.01),
        Measurement(name="constant channels", value=channels, threshold=0.05),
        Measurement(name="values at the extremes", value=train.clipped_fraction),
    ]
    if held_out is not None:
        measurements.append(Measurement(name="blank validation images", value=held_out.blank_fraction))
    only_train = held_out is not None and held_out.blank_fraction < blank / 2
    empty = train.blank_target is True and channels <= 2 * blank  # an empty image, and the target says so
    return [
        Finding(
            rule="blank_images",
            code="blank_images.augmentation" if only_train else "blank_images.source",
            severity="hint" if empty else "error" if blank >= 0.05 or channels >= 0.25 else "warning",
            seen=f"{100 * blank:.0f} % of the training images hold a single value, {100 * channels:.0f} % of their "
            f"channels are constant" + ("; validation images are not blank" if only_train else ""),
            measurements=tuple(measurements),
            cause="they all have the same target: they are empty, or one class cannot be read"
            if empty
            else "augmentation destroys them, for example a colour shift that is clipped after normalisation"
            if only_train
            else "images are empty in the source, or decoding fails silently",
            remedy="shift colours on 0 to 255 before normalising, and clip to that range"
            if only_train
            else "multiply images in 0 to 1 by 255 before casting them to integers; for files, decode a blank one by itself",
            source="own; a third of the log's ImageNet training images",
        )
    ]


def _cut_to_integers(share: float) -> Finding:
    """Numbers from 0 to 1 that were written to an array of integers."""
    return Finding(
        rule="blank_images",
        code="blank_images.cast",
        severity="warning",
        seen=f"in {100 * share:.0f} % of the training images one pixel differs from all others, which are the same",
        measurements=(Measurement(name="images with one pixel", value=share, threshold=_MOST_LONE),),
        cause="pixels from 0 to 1 were written to an array of integers (dtype=np.uint8), which cuts all below 1 to 0",
        remedy="make the array with dtype=np.float32, or multiply by 255 before the pixels become integers",
        source="NumPy, assigning values to indexed arrays; own: pixels counted",
        explains=("input_scale", "gain_budget_low"),
    )


@rule(
    severities=("warning", "hint"),
    explains=("prediction_collapse", "plateau", "constant_as_good", "overfit", "label_conflict", "evaluation_path"),
)
def shuffled_labels(evidence: Evidence) -> list[Finding]:
    """Targets have nothing to do with their inputs.

    Fires: code `unrelated`: over 100 examples or more, inputs are related to their own targets no more strongly than to
        shuffled ones, within 3.5 standard deviations; where targets are images, the surroundings of each place also explain
        less than a twentieth more of their variance than another example's do. Of a table whose first 600 examples say little,
        up to 10,000 are read, from all over a loader that goes through its data in order; the columns are asked together, and
        products of each two of up to 64, of each three of up to 24 and of each four of up to 12; of more than 1,024 columns it
        is a hint, as it is at 2 to 3.5 standard deviations over fewer than 600 examples, where no run failed. For tables of
        integers with numbers beside them, only where 50 rehearsed steps or more get no lower than the cost of the best constant
        answer. In a watched run alone: after 100 steps that have not learned, (of words and series a hint before step 500); or,
        unless inputs are tables of integers, where the loss stood at chance, or at the best constant answer's cost, for 20
        steps and until each example had come twice. The same is asked of a target that the training step makes, if 50 rehearsed
        steps leave nine tenths of the loss. Where none of this was measured: a linear probe of coarse pixels, scored on images
        that it was not fitted to, is less than 2 standard errors above chance, and the net has not learned. In experiments: the
        program learned, and was never ahead of a copy whose labels were shuffled between examples. Code `moved`: the step
        passes all targets of the batch to the loss in another order; with other outputs too, and with one target replaced at a
        time, targets are held against the answers of other examples, and each example makes the answer in its own place; a
        watched loop is asked where model and loss are given what the script's `DataLoader` has yielded, the model nothing that
        the order was made of. Code `misaligned`: rows of a batch are replaced one by one, and for three in four or more the
        output changes at one place and the target at another; where one tensor of the batch has several rows for each row of
        another, the gradients of only other examples' rows change; for sequences, places of the targets are replaced too, and a
        watched loop is tested by the gradient of its outputs. Code `collated`: `collate_fn`, given 16 examples or more, returns
        one part of them in an order that is unrelated to that of another part, judged by values. Code `bags`: offsets of an
        `nn.EmbeddingBag` are smaller than the ones before. Code `padded`: sequences of words are padded at one end, and their
        targets, a number for each place, hold the same number at the other end: for as many places or more in all, exactly as
        many in a fifth, and another number at a tenth or more of the padding. Code `turned`: images have images as targets, and
        a linear map of each place's surroundings explains a tenth of the targets' variance or more; it explains more by a
        twentieth of the rest if it may use each image as it is or transformed (flipped, rotated by 180 degrees, transposed),
        whichever is better, and by three times the gain of using another example's image instead of the transformed one. Also
        sequences with a tag for each step, whose tags are explained by the steps around them no better than another sequence's,
        but by a tenth of the variance more in reverse order. Code `strangers`: of the pairs of names that the loss pulls
        together, ten or more per name, two names share partners, and pairs repeat, as often as by chance, within 3.5 standard
        deviations. Code `drawn`: in a watched run, a squared, absolute or Huber loss compares the outputs with numbers drawn at
        random after the model was called; in a check, the target holds random numbers of the step, alone or mixed with data,
        and other numbers in their place change no input of any layer; or one of several models is given the batch's examples
        with classes drawn in the step, and none the batch's own. Code `uniform`: in a check, the target of a distance is what
        `rand`, `rand_like` or `uniform_` draws from [0, 1) in the step, and the model's input is a times the data plus b times
        these numbers, where b differs between examples and a / sqrt(1 - b * b) does not. Code `noise_alone`: in a check, the
        target of a distance is noise drawn in the step, an input of a layer is computed from the batch and this noise, and for
        95 % of the examples less than a thousandth of it, in squares, is of the batch. Code `noised_input`: in a check, what a
        module returns is held against the very numbers that a module is given, a times the batch's data plus b times noise of
        the step, which is a twentieth of them or more, in squares; a hint where b is the same for all examples and the noise is
        not uniform, as some add noise to what an autoencoder is shown. Code `scores`: in a check, labels and scores of as many
        classes are both targets for the same outputs; inputs are related to the labels, by 8 standard deviations, and scores to
        neither, within 3.5. Code `kept`: the loader shuffles, a step is given targets of its own besides its batch, and over
        several steps in a row the inputs are related to the batch's targets, by 8 standard deviations, and to these by less
        than 3.5, or than a sixteenth of that up to 8. Code `unsorted`: the loss takes a cumulative sum over the examples
        (`cumsum`, `logcumsumexp`), is another for the same examples in another order, and is the same where some numbers of the
        examples, different for most and in no order, are exchanged. Code `shifted`: sequences, of whole numbers or of up to 64
        columns, have a label for each step; in 400 or more steps the input one or two steps later, or earlier, explains half of
        the labels' variance or more in held-out sequences, and four times what the input of the same step does, which is 15 %
        at most; an exchange of that input leaves the model's answer for the step as it is; all inputs near by that the answer
        does depend on explain a quarter at most; and 50 rehearsed steps leave four fifths of the loss (a hint if they are
        fewer, and where a later step tells the label and the answer depends on an earlier one, as in a forecast). Silent where
        the label is the later token itself, or a class of one of its numbers, and where such a forecast has something to go by:
        a step three to 32 before explains a tenth or more. Code `pairs`: the loss wants the two inputs of each example, which
        are each embedded by itself, nearer to each other, and those of unlike examples further apart; own pairs are related no
        more strongly than shuffled ones, within 3.5 standard deviations; and 50 rehearsed steps or more, or in a run all steps
        of the first pass, do not get clearly below what one score for all pairs costs. A hint for words, series and others that
        are neither tables nor images, unless validation's pairs are related by 8 standard deviations.
    Why: distances between inputs, single columns, products of two columns, word counts and spectra are each compared with
        targets under 99 shuffles; for sequences of integers, also which places are equal, the remainders of their sum, and how
        often the target occurs in its row; and of a table that shows little, up to 10,000 examples by a ridge regression on all
        columns and their squares, of which 3,000 show one that explains 4 % of the variance. Even an exclusive or of three
        features out of seven is 10 standard deviations above; a relation that none of these shows is hardly learned. A net may
        memorise such pairs, so its training loss can fall all the same.
    What fools it: a relation only in the fine texture of images, or between many parts of an input at once; `unrelated` is
        therefore silent where inputs are rows of tokens that are all equally frequent (bits, digits, keys). Silent where
        validation predictions are recorded and are better than the best constant answer, and where the loss goes by all targets
        of the batch and not by which example has which, as a distance of two distributions does.
    Fix: look at ten inputs with their targets, as the loader yields them; the usual bug is to shuffle only one of the two. For
        `uniform`: torch.randn_like(x) for the noise of a diffusion model.
    Source: Székely, Rizzo and Bakirov, Annals of Statistics 2007 (distance correlation); own views of the inputs and limits.
    """
    arms = evidence.experiments.arms if evidence.experiments is not None else ()
    tried = next((arm for arm in arms if arm.bears_out and "shuffled_labels" in arm.suspects), None)
    if tried is not None and tried.loss is not None:
        return [
            Finding(
                rule="shuffled_labels",
                severity="warning",
                seen=tried.reason,
                measurements=(Measurement(name="loss with shuffled labels", value=tried.loss),),
                cause="labels do not belong to their examples, or the examples carry no information about them",
                remedy="look at ten examples with their labels, as the loader yields them",
                source="own; the experiment itself",
            )
        ]
    facts = reading.facts(evidence)
    if (
        found := falling_offsets(facts)
        or padded_apart(facts)
        or parted(facts)
        or other_targets(facts)
        or scores_apart(facts)
        or unsorted(facts)
        or drawn_target(facts)
        or moved_targets(evidence)
        or shifted(evidence)
        or turned_images(evidence.relation)
        or strangers(facts)
        or unrelated_pairs(evidence)
    ):
        return found
    return unrelated(evidence)
