"""Training images and labels, as the loader yields them."""

import math

from trainability.doctor import reading
from trainability.doctor.audit_results import DataAudit, SplitAudit
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.rules.aligned import drawn_target, other_targets, parted, strangers, turned_images
from trainability.doctor.rules.finite import nonfinite_batch
from trainability.doctor.rules.loss_arguments import blank_labels, zeros_for_signs
from trainability.doctor.rules.padding import padded_apart
from trainability.doctor.rules.rule import rule
from trainability.doctor.rules.targets import moved_targets
from trainability.doctor.rules.unrelated import unrelated

_AS_ROUGH = 1.0  # squared differences between neighbours, over the same: half of the images of noise are below


def _splits(evidence: Evidence) -> list[SplitAudit]:
    data = evidence.data
    return [split for split in (data.train, data.validation) if split is not None] if data is not None else []


@rule(severities=("error",), verdict="broken data", explains=("not_finite",))
def label_range(evidence: Evidence) -> list[Finding]:
    """A label is outside 0 to C - 1.

    Fires: the smallest label of a split is negative, or its largest is at least the number of logits (or of classes, where the
        logits are unknown); silent where the loss is no cross-entropy and rehearsed steps take these labels. Code `signs`: a
        loss that takes labels -1 and 1 is given 0 and 1. Code `blank`: in a tenth of its targets `ctc_loss` is given the number
        of the blank between two other labels.
    Why: cross-entropy indexes the logits with the label. Outside the range it raises on the CPU, and on a GPU stops the
        process, often many steps later. CTC's blank is no symbol: decoders leave it out.
    What fools it: labels that the loss ignores on purpose (ignore_index=-100); those beyond what the audit reads are not seen.
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
    return blank_labels(reading.facts(evidence)) or zeros_for_signs(reading.facts(evidence))


@rule(severities=("error", "warning"), verdict="broken data", explains=("split_shift", "shuffled_labels"))
def channels_last(evidence: Evidence) -> list[Finding]:
    """Images have the shape (height, width, channels) instead of (channels, height, width).

    Fires: the last dimension of an image is 1, 3 or 4, and the first two are both larger than 4. A warning with code `view`:
        read as (height, width, channels), the same numbers in the same order differ less between neighbouring pixels, in nine
        of ten images of 2 to 4 channels, of 64 and more.
    Why: a convolution takes the first dimension for channels. Where the number happens to fit it mixes rows as if they were
        colours, and nothing raises. A view or reshape to the right shape keeps the order in memory, so that each row holds
        the colours of a few pixels side by side; noise is as rough either way, and an image that is read rightly is smoother.
    What fools it: data with more than 4 true channels that is 1, 3 or 4 columns wide, such as stacked sensor windows; of
        `view`, textures that repeat every as many pixels as there are channels.
    Fix: images.permute(0, 3, 1, 2) before the model, in place of a view.
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
            seen=f"images have shape {wrong[0]}: the first dimension, {wrong[0][0]}, is taken for channels",
            measurements=(Measurement(name="first dimension", value=float(wrong[0][0]), threshold=4.0),),
            cause="images are stored with channels last",
            remedy="images.permute(0, 3, 1, 2) before the model",
            source="UMLAUT, CHI 2021",
        )
    ]


def _torn(evidence: Evidence) -> list[Finding]:
    """A view in the place of a permute."""
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
            cause="view or reshape was used where the dimensions had to be exchanged",
            remedy="images.permute(0, 3, 1, 2) in place of images.view(batch, channels, height, width)",
            source="own; neighbouring pixels of both readings",
        )
    ]


@rule(severities=("error",), verdict="broken data", explains=("not_finite", "plateau", "exploding_gradient"))
def not_finite_data(evidence: Evidence) -> list[Finding]:
    """Images hold NaN or infinity.

    Fires: one image or more of those that the audit reads, in the training or the validation split; or another tensor of the
        first batch, and the loss of that batch (code `batch`).
    Why: one such value makes the loss of its whole batch NaN, and the step after it every weight.
    What fools it: a model that masks missing values itself before the first layer.
    Fix: find the first such image and what makes it, most often a division by a standard deviation of zero or a damaged file.
    Source: IEEE 754 arithmetic; the same check in preflight-ml.
    """
    for split in _splits(evidence):
        if split.nonfinite_fraction > 0:
            return [
                Finding(
                    rule="not_finite_data",
                    severity="error",
                    seen=f"{split.nonfinite_fraction:.1%} of the {split.name} images hold NaN or infinity",
                    measurements=(Measurement(name="such images", value=split.nonfinite_fraction, threshold=0.0),),
                    cause="a division by a zero standard deviation, or a damaged file",
                    remedy="fill them, x = torch.where(torch.isfinite(x), x, mean) with the mean of the column's or channel's "
                    "finite values, or leave these examples out; where a division makes them, add 1e-8 below the line",
                    source="preflight-ml",
                )
            ]
    return nonfinite_batch(evidence)


@rule(
    severities=("error", "warning"),
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
    """Training images, or channels of them, hold one single value.

    Fires: from 1 % blank images or 5 % constant channels; an error from 5 % blank images or 25 % constant channels. A hint
        where five blank images and more all have one and the same target, and others have others.
    Why: a blank image says nothing of its class, so its label is noise. Counted image by image, because the mean and standard
        deviation of a batch hardly move when a third of it is blank.
    What fools it: data where an empty image has several answers, and grey images stored as three channels of which some are
        unused.
    Fix: shift colours on the range 0 to 255, clip there, and normalise last; if validation images are blank too, look at the
        files and at what decodes them.
    Source: own; a third of the log's ImageNet training images were blank, from a colour shift that was clipped after
        normalisation.
    """
    if evidence.data is None:
        return []
    train, held_out = evidence.data.train, evidence.data.validation
    blank, channels = train.blank_fraction, train.constant_channel_fraction
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
    empty = train.blank_target is True and channels <= 2 * blank  # nothing is to be found there, and the target says so
    return [
        Finding(
            rule="blank_images",
            code="blank_images.augmentation" if only_train else "blank_images.source",
            severity="hint" if empty else "error" if blank >= 0.05 or channels >= 0.25 else "warning",
            seen=f"{blank:.0%} of the training images hold one single value, {channels:.0%} of their channels are constant"
            + ("; validation images are whole" if only_train else ""),
            measurements=tuple(measurements),
            cause="they have one target: nothing is in them, or one class cannot be read"
            if empty
            else "augmentation destroys them, such as a colour shift with clipping after normalisation"
            if only_train
            else "images are empty in the source, or decoding fails silently",
            remedy="shift colours on 0 to 255 before normalising, and clip to that range"
            if only_train
            else "multiply images from 0 to 1 by 255 before they are cast to whole numbers; of files, decode a blank one alone",
            source="own; a third of the log's ImageNet training images",
        )
    ]


@rule(severities=("warning",), explains=("prediction_collapse", "plateau", "overfit", "label_conflict", "evaluation_path"))
def shuffled_labels(evidence: Evidence) -> list[Finding]:
    """Targets have nothing to do with their inputs.

    Fires: inputs beside their own targets are related no more strongly than beside shuffled ones, within 3.5 standard
        deviations, of 100 examples or more (code `unrelated`), of a watched run alone after 100 steps that have not learned, or
        whose loss stood at chance, or at what one answer costs, for 20 steps and until each example had come twice, unless
        inputs are tables of whole numbers; of
        targets that are images each place's surroundings explain, too, less than a twentieth of their variance more than
        another example's do. So of a target that the training step makes, if 50 rehearsed steps leave nine tenths of the loss.
        Code `moved`: the step gives the loss all targets of the batch in another order, and the model its inputs as they are.
        Where that was not looked at: a linear probe of coarse pixels, scored on images that it was not fitted to, is less than
        2 standard errors above chance, and the net has not learned. In experiments: the program learned, and was at no look
        ahead of a copy whose labels were exchanged between examples. Code `misaligned`: of rows of a batch that are exchanged
        one by one, three in four and more change the answer in one place and what is asked in another; of sequences places of
        their targets are changed, too, and a watched loop is asked by the gradient of its answers. Code `collated`:
        `collate_fn`, given 16 examples and more, returns one part of them in an order that has nothing to do with that of
        another part, by their values. Code `padded`: sequences of words are padded at one end, and of targets, a number for
        each place, all have one and the same number at the other end for as many places and more, a fifth exactly as many, and
        another one beside a tenth of the padding and more. Code `turned`: of images whose targets are images, too, a linear map
        of each place's surroundings explains a tenth of the targets' variance and more, and more by a twentieth of what is
        left, where it is given each image as it is or turned (flipped, by 180 degrees, transposed), whichever is
        better; and by three times what it gains where it is given another example's image in place of the turned one; and
        sequences with a tag for each step, of whose tags the steps about each explain no more than another sequence's do, and
        by a tenth of the variance more in the other order. Code `strangers`: of ten pairs a name and more that the loss pulls
        together, two go with the same two others as often as by chance, and as many occur again, within 3.5 standard
        deviations. Of tables of whole numbers beside numbers only where 50 rehearsed steps and more get no lower than one
        answer for every example makes the loss. Code `drawn`: in a watched run, a squared, absolute or Huber loss holds the
        outputs against what is drawn at random after the model was called; in a check, the target holds random numbers of the
        step, in full or taken from data, and other numbers in their place change nothing that a layer is given.
    Why: distances between inputs, single columns, products of two, word counts and spectra are each compared with targets
        under 99 shuffles; of sequences of whole numbers also which places are equal, what their sum leaves and how often
        the target is in its row. Even an exclusive or of three features out of seven lies 10 standard deviations above; what
        is not related in any of these ways is hardly learned. A net may memorise such pairs: its training loss falls all
        the same.
    What fools it: a relation in the fine texture of images alone, or between many parts of an input at once; where inputs are
        rows of tokens each drawn as often as another (bits, digits, keys) `unrelated` is therefore silent. Silent where
        validation predictions were handed over and are better than one constant answer.
    Fix: look at ten inputs beside their targets, as the loader yields them; the usual bug is a shuffle of one alone.
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
                measurements=(Measurement(name="loss with exchanged labels", value=tried.loss),),
                cause="labels do not belong to their examples, or the examples carry nothing",
                remedy="look at ten examples beside their labels, as the loader yields them",
                source="own; the experiment itself",
            )
        ]
    facts = reading.facts(evidence)
    if (
        found := padded_apart(facts)
        or parted(facts)
        or other_targets(facts)
        or drawn_target(facts)
        or moved_targets(evidence)
        or turned_images(evidence.relation)
        or strangers(facts)
    ):
        return found
    return unrelated(evidence)


@rule(severities=("warning", "hint"))
def label_conflict(evidence: Evidence) -> list[Finding]:
    """The same training image occurs with different labels.

    Fires: more than 1 % of the training images read occur again, value for value, with another label. A hint where they hold
        fewer than 64 values: a few words, or columns of a table, occur again by themselves; and where half of the images and
        more occur again, as where several people labelled each.
    Why: each such pair keeps the mean loss of its two images at ln 2 or above. Large data sets hold a few; more than one in a
        hundred points at how the labels were made or read.
    What fools it: an image that truly has several labels, and images so small or so blank that equal values mean nothing.
    Fix: keep one of each, with the label that is right; or train with soft or multiple labels.
    Source: own threshold; Northcutt et al., Pervasive Label Errors in Test Sets, NeurIPS 2021, for how common wrong labels
        are.
    """
    share = evidence.data.label_conflict_fraction if evidence.data is not None else None
    if evidence.data is None or share is None or share <= 0.01:
        return []
    return [
        Finding(
            rule="label_conflict",
            severity="warning" if _num_values(evidence.data) >= 64 and not _repeats(evidence.data) else "hint",
            seen=f"{share:.1%} of the training images occur again, value for value, with another label",
            measurements=(Measurement(name="images with two labels", value=share, threshold=0.01),),
            cause="duplicates labelled by different hands, or labels read in another order than images",
            remedy="keep one of each, with the label that is right",
            source="own",
        )
    ]


def _repeats(data: DataAudit) -> bool:
    """Whether most images occur more than once: so is a data set made that several people labelled, and not by mistake."""
    return (data.copied_fraction or 0.0) >= 0.5


def _num_values(data: DataAudit) -> int:
    return max((math.prod(shape) for shape in data.train.shapes), default=0)  # of one example; the most where they differ
