"""Training images compared with validation images: overlap, labels and other differences."""

import math

from trainability.doctor import reading
from trainability.doctor.audit_results import LabelsCompared
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.rules.channel_order import in_another_order, other_axes, other_channels, other_statistics
from trainability.doctor.rules.drowned import drowned
from trainability.doctor.rules.learns import learns_all_the_same
from trainability.doctor.rules.mirrored_alone import crossed_corners, mirrored_alone
from trainability.doctor.rules.missing_classes import missing_classes
from trainability.doctor.rules.rule import rule
from trainability.doctor.rules.split_meaning import means_otherwise, words_change, words_mean_otherwise, words_unknown
from trainability.doctor.rules.unread_examples import too_few_weights
from trainability.doctor.rules.watched_validation import renamed_in_run, unlike_training

_SAME_STATISTICS = "normalise both with the training set's statistics, as the last step"
_SHIFT, _SPREAD = 0.5, 2.0  # standard deviations of a channel; times
_CHANCE = 5.0  # standard errors
_BY_NATURE = 0.2  # of validation, that occurs in training too: a split with replacement shares more


@rule(
    severities=("warning",),
    explains=(
        "split_shift",
        "class_order",
        "overfit",
        "evaluation_path",
        "constant_as_good",
        "prediction_collapse",
        "split_size",
        "repeated_batch",
    ),
)
def short_length(evidence: Evidence) -> list[Finding]:
    """The data set's length is its number of batches, or its sampler lacks weights.

    Fires: `dataset[len(dataset)]` is an example like the first, and so are all up to an index that raises; and the length is
        that index divided by the loader's batch size, rounded up or down, or by a number of the data set with "batch" in its
        name. Code `weights`: the loader's `WeightedRandomSampler` has fewer weights than the data set has examples.
    Why: a DataLoader counts examples and requests no index from the length on, so only the first `len(dataset)` examples are
        read. With images sorted by folder, these are of one class or two, and the loss falls to zero. A sampler with one weight
        per class draws only as many examples as there are classes, the first ones.
    What fools it: nothing known; a data set that accepts any index, such as one that generates its examples, is left alone.
    Fix: in `__len__`, return the number of examples: return len(self.samples). One weight per example:
        WeightedRandomSampler(class_weights[labels], len(labels)).
    Source: PyTorch, `torch.utils.data.Dataset`; own check. Keras' `Sequence` counts batches.
    """
    found = reading.facts(evidence).readings.short
    if found is None:
        return []
    if found.batch_size is None:
        return [too_few_weights(found)]
    return [
        Finding(
            rule="short_length",
            severity="warning",
            seen=f"len(dataset) is {found.declared}, but dataset[i] is an example for every i below {found.held}, which is "
            f"that many batches of {found.batch_size}: {found.held - found.declared} examples are never read",
            measurements=(
                Measurement(name="examples in the data set", value=float(found.held), threshold=float(found.declared)),
            ),
            cause="__len__ of the data set counts batches; a DataLoader takes it as the number of examples",
            remedy="in __len__, return the number of examples: the length of the list or array that __getitem__ reads",
            source="PyTorch, torch.utils.data.Dataset",
        )
    ]


@rule(severities=("warning", "hint"))
def split_overlap(evidence: Evidence) -> list[Finding]:
    """Validation examples are also training examples, or both loaders share a data set.

    Fires: 1 % or more of the validation examples read occur, value for value, among the training examples read; a hint where
        these are less than a fifth, and at least half as many of the training examples occur in training more than once, as
        short texts do; or both loaders draw from the same data set object. Silent where examples are at most three numbers on
        an evenly spaced grid, unless all of validation occurs in training: such grids share points; and where training has one
        example, which is fitted. Codes: `same_images`, `shared_dataset`.
    Why: an example seen in training says nothing about new ones. With a shared object, a transform set for validation also
        applies to training, and augmentation is silently off.
    What fools it: augmented training images: they equal no validation image, so an overlap is seen only without augmentation. A
        shared object without transforms is harmless.
    Fix: make one data set object per split, each with its own transform; split by a hash of the image, before augmentation.
    Source: own; the log's Caltech-256 trials shared one object between two `Subset`s.
    """
    data = evidence.data
    share = data.overlap_fraction if data is not None and data.overlap_fraction is not None else 0.0
    if data is not None and data.train.num_images == 1:  # an image, or a scene, that is fitted
        return []
    if data is None or (share < 0.01 and not data.shared_dataset):
        return []
    shared = data.shared_dataset
    by_nature = not shared and share < _BY_NATURE and (data.copied_fraction or 0.0) >= share / 2
    return [
        Finding(
            rule="split_overlap",
            code="split_overlap.shared_dataset" if shared else "split_overlap.same_images",
            severity="hint" if by_nature else "warning",
            seen="training and validation draw from the same data set object, so a transform set for one applies to both"
            if shared
            else f"{100 * share:.0f} % of the validation examples are among the training examples",
            measurements=(
                Measurement(name="validation examples seen in training", value=share, threshold=0.01),
                Measurement(name="shared data set objects", value=float(shared), threshold=0.0),
            ),
            cause="two Subsets of one data set"
            if shared
            else "examples of this kind repeat, also within training"
            if by_nature
            else "the split was drawn with replacement, or the data has duplicates",
            remedy="make one data set per split, each with its own transform" if shared else "split by a hash of each example",
            source="own; the log's Caltech-256",
        )
    ]


@rule(severities=("warning",), explains=("overfit", "evaluation_path", "constant_as_good", "prediction_collapse"))
def validation_labels(evidence: Evidence) -> list[Finding]:
    """Validation numbers its classes differently from training, or its labels are shuffled.

    Fires: a linear classifier on simple features, fitted on training, is right on other training examples (8 standard errors
        above chance), and not on validation. Code `renamed`: a one-to-one renaming of the classes, found on half of validation,
        gains 5 standard errors on the other half (on both, if both halves give the same renaming) and loses as much on
        training; with it the classifier keeps 70 % of its accuracy, and 80 % of that of one fitted on validation. Also if
        simple features carry no signal but the rehearsed net's outputs do. Code `shuffled`: validation's accuracy is lower by 5
        standard errors, no renaming helps, and within validation features are unrelated to labels (2 standard errors), while in
        the same number of training examples they are related (5). In a watched script: `renamed` if, for two classes or more,
        the trained model itself predicts the same other class for seven in ten of ten examples or more, and the labelled class
        for one in ten at most. Silent where the mean features of the two splits are half a standard deviation apart; for
        `shuffled`, also where validation's features have twice the spread of training's, or half.
    Why: classes are numbered when folders are read; if they are read twice, they may be numbered in another order, or from 1.
        The training loss falls all the same. Inputs of another domain also lower the accuracy, but then no renaming restores
        it.
    What fools it: classes that neither simple features nor a rehearsed net separate are not judged, and neither are fewer than
        100 validation examples.
    Fix: create the table from class names to indices once, on training, and use it for both; shuffle images and labels
        together.
    Source: own; Shankar et al., Do ImageNet Classifiers Generalize, ICML 2019, for falls that are a shift and no mistake.
    """
    first = evidence.data.labels_compared if evidence.data is not None else reading.facts(evidence).words_compared
    rehearsed = evidence.rehearsal.labels_compared if evidence.rehearsal is not None else None
    by_net = first is None and _is_renamed(rehearsed)  # a net may have memorised its training examples: no other code
    compared = rehearsed if by_net else first
    if compared is None:
        return renamed_in_run(evidence)
    renamed = by_net or _is_renamed(compared)
    if not renamed and not _is_shuffled(compared):
        return []
    by = "a classifier of the rehearsed net's outputs" if by_net else "a classifier of training"
    pairs = ", ".join(f"{a} is {b}" for a, b in compared.renamed[:4]) + (", ..." if len(compared.renamed) > 4 else "")
    return [
        Finding(
            rule="validation_labels",
            code="validation_labels.renamed" if renamed else "validation_labels.shuffled",
            severity="warning",
            seen=f"class {pairs} in validation: {by} is right on {100 * compared.accuracy_training:.0f} % of training, "
            f"on {100 * compared.accuracy_validation:.0f} % of validation, and after renaming on "
            f"{100 * compared.accuracy_renamed:.0f} %"
            if renamed
            else "in validation, labels have nothing to do with inputs; in training they do",
            measurements=(
                Measurement(
                    name="accuracy on validation", value=compared.accuracy_validation, threshold=compared.accuracy_training
                ),
                Measurement(name="after renaming", value=compared.accuracy_renamed),
                Measurement(name="of a classifier fitted on validation", value=compared.own_accuracy),
                Measurement(name="gain by renaming", value=compared.gain_z, unit="standard errors", threshold=5.0),
                Measurement(
                    name="signal within validation", value=compared.own_signal_z, unit="standard errors", threshold=2.0
                ),
            ),
            cause="class names are numbered separately for each split, in another order or from another number"
            if renamed
            else "validation's inputs or labels are shuffled, one without the other",
            remedy="create the table from class names to indices once, and use it for both splits"
            if renamed
            else "index validation inputs and labels with the same order (one list of pairs, sorted once)",
            source="own",
            explains=("split_shift",),  # which then sees the same in the loop's own evaluations
        )
    ]


def _is_renamed(compared: LabelsCompared | None) -> bool:
    """Whether a renaming of the classes, and no other order of the channels, restores validation's accuracy."""
    return (
        compared is not None
        and compared.domain_shift <= 0.5
        and not in_another_order(compared)
        and bool(compared.renamed)
        and compared.gain_z > 5
        and compared.loss_in_training_z > 5
        and compared.accuracy_renamed >= max(0.7 * compared.accuracy_training, 0.8 * compared.own_accuracy)
    )


def _is_shuffled(compared: LabelsCompared) -> bool:
    """Whether features are unrelated to the classes in validation, and related in training."""
    is_alike = compared.domain_shift <= 0.5 and 1 / _SPREAD <= compared.spread <= _SPREAD and not in_another_order(compared)
    return is_alike and compared.fall_z > 5 and compared.own_signal_z < 2 and compared.training_signal_z > 5


@rule(severities=("warning", "hint"))
def split_shift(evidence: Evidence) -> list[Finding]:
    """Training and validation differ in mean, spread or meaning, or training lacks classes.

    Fires: a channel's means differ by more than 0.5 standard deviations, or its standard deviations by more than a factor 2,
        and both by more than five standard errors of a mean over that many examples; silent where the model answers training's
        inputs alike when they are given validation's mean and spread, as one does that standardises each example; a hint where
        examples are overlapping windows of one series. Code `classes`: every training class occurs in validation, together with
        others for which the model has outputs but no training example was read: 20 examples and a twentieth of validation, so
        many that a random split would leave them out less than once in a million. Labels are read to the loader's end, for
        three seconds at most, unless its sampler draws at random; silent where the end was not reached, where training is not
        in random order, and where two training classes are five times rarer in training than in validation, relative to the
        typical class, so that other classes may be rare too. Code `meaning`: ridge regression on training explains three tenths
        or more of the variance of other training targets, and at most a third of that in validation, though inputs look alike
        (means, spreads, names) and validation's own inputs explain its targets. The same where training's word counts predict
        its classes and validation's no better than chance, though validation's own words do, and no renaming of the classes
        helps. In a watched script: within three passes over the training data, cross-entropy is half of the best constant
        answer's cost or less, while in evaluation passes validation is predicted no better than by its most frequent class, at
        a loss above the constant's, then and later; silent where a label stands for several classes, and where the passes skip
        trained layers, as in a comparison of features, or need gradients, as in an attack. Code `chunks`: in the order of the
        data set, pairs of examples close to each other that share words share classes, by 8 standard deviations; of pairs half
        of the data apart that share the same words, at most three tenths of that is left, three standard errors added; all
        words occur all through the data, and none marks a stretch of it; silent where validation is predicted better than by a
        constant. Code `axes`: of points with two or three coordinates, the spread of one differs by 8 standard errors or more,
        and in another order of the coordinates all differ by less than three tenths of that. Code `channels`: for the
        classifier of `validation_labels`, another order of validation's three channels, found on half of it, gains 5 standard
        errors on the other half, and keeps 90 % of the accuracy on training and at least as much as any renaming of the
        classes; or the splits' means and spreads differ, and another order leaves a fifth of the difference or less. Code
        `noise`: where the spread of training's inputs is twice that of validation's or more, 32 training examples are read four
        times; four fifths or more of the variance of their values differs between the reads of one example, at nearly all
        places, by as much in each example and in no direction more than in others, while targets stay the same; and this noise
        has twice the standard deviation of validation's values or more, and a third of their range. A hint below five times.
        Silent where targets are like the inputs, as the examples without noise that a denoiser is asked for. A hint with code
        `unknown`: a fifth of validation's words or more are left out (its texts are shorter by that, by 8 standard errors), or
        have numbers that never occur in training, or one number that is ten times rarer there; and the share of training's
        words that occur once in all of training is the same, to a quarter of it, as with words that are not known; or, of the
        one number, is a quarter of that or less, as where validation is prepared otherwise.
    Why: the net is evaluated on inputs of a scale that it has not seen. Crops, mirroring and colour jitter change both numbers
        by far less than these limits. For a class that it has not seen, no prediction is right.
    What fools it: splits that differ on purpose (another camera, another domain, classes to be detected as new), and examples
        that are parts of one series; for `meaning` and `chunks`, a relation that really changed between the two.
    Fix: normalise both with the training set's statistics, as the last step; shuffle before the split, or split each class. One
        vocabulary for all chunks and both splits.
    Source: own thresholds, far outside of what crops, mirroring and colour jitter do.
    """
    data = evidence.data
    if data is None or data.validation is None:
        return _means_otherwise(evidence)
    if data.added_noise is not None and not reading.carries_over(evidence):
        return [drowned(data.added_noise, learns=learns_all_the_same(evidence))]
    if data.labels_compared is not None and in_another_order(data.labels_compared):
        return [other_channels(data.labels_compared)]
    if (turned := other_axes(data.train, data.validation)) is not None:
        return [turned]
    if lacking := missing_classes(evidence, data.train, data.validation):
        return lacking
    if meant := _means_otherwise(evidence):
        return meant
    if len(data.train.channel_means) != len(data.validation.channel_means):
        return []
    if not data.train.channel_means or data.train.other_classes_later or reading.facts(evidence).readings.same_at_scale:
        return []  # word indices have no scale, what comes later may have another, and the model may standardise by itself
    a, b = data.train, data.validation
    shifts = [
        abs(m - n) / max((s + t) / 2, 1e-12)
        for m, n, s, t in zip(a.channel_means, b.channel_means, a.channel_stds, b.channel_stds, strict=True)
    ]
    ratios = [max(s, 1e-12) / max(t, 1e-12) for s, t in zip(a.channel_stds, b.channel_stds, strict=True)]
    widest = max(ratios, key=lambda r: abs(math.log(r)))
    # An example counts as one number of each channel, as of a series, whose channels are its steps: numbers of one are alike.
    error = math.sqrt(1 / max(a.num_images, 1) + 1 / max(b.num_images, 1))
    limit, factor = max(_SHIFT, _CHANCE * error), max(_SPREAD, math.exp(_CHANCE * error))
    if max(shifts) <= limit and 1 / factor <= widest <= factor:
        return []
    if (reordered := other_statistics(a, b)) is not None:
        return [reordered]
    cause, remedy = "the splits are normalised differently, or augmentation changes more than it should", _SAME_STATISTICS
    if a.is_windowed:
        cause = "the series rises or falls from one split to the next, or the splits are normalised differently"
        remedy = f"subtract from each window, and from its target, the window's last value; and {_SAME_STATISTICS}"
    return [
        Finding(
            rule="split_shift",
            severity="hint" if a.is_windowed else "warning",
            seen=f"training and validation inputs differ: means by {max(shifts):.2f} standard deviations, spread by a "
            f"factor {widest:.2g}",
            measurements=(
                Measurement(name="shift of a channel's mean", value=max(shifts), unit="standard deviations", threshold=limit),
                Measurement(name="train over validation std", value=widest, threshold=factor),
            ),
            cause=cause,
            remedy=remedy,
            source="own",
        )
    ]


def _means_otherwise(evidence: Evidence) -> list[Finding]:
    facts = reading.facts(evidence)
    found = means_otherwise(facts.values_compared) or words_mean_otherwise(facts.words_compared)
    if not found and not reading.carries_over(evidence):
        found = words_change(facts.readings.changing) or words_unknown(facts.readings.unknown_words)
    return found or unlike_training(evidence)


@rule(severities=("hint",))
def split_size(evidence: Evidence) -> list[Finding]:
    """Training and validation inputs have no shape in common.

    Fires: no shape of an example occurs in both splits.
    Why: objects in images then have another apparent size than the net was trained on, and sequences another length, which
        costs accuracy. A hint, because evaluation at another scale is often intended, as in VGG's own protocol.
    What fools it: nothing known; only the reader knows whether it is intended.
    Fix: crop validation images to the training size, or cut sequences to one length, unless another one is meant.
    Source: Touvron et al., Fixing the Train-Test Resolution Discrepancy, NeurIPS 2019.
    """
    data = evidence.data
    if data is None or data.validation is None or set(data.train.shapes) & set(data.validation.shapes):
        return []
    (a, b) = (split.shapes[0] for split in (data.train, data.validation))
    cause = "the splits hold examples of different sizes, none of them the same"
    remedy = "cut or pad the examples of both splits to the same sizes, unless others are meant"
    if len(a) == len(b) == 3:
        cause = "the splits are cropped or rescaled differently: objects have other sizes than the net was trained on"
        remedy = "crop validation images to the training size, unless another scale is meant"
    return [
        Finding(
            rule="split_size",
            severity="hint",
            seen=f"training inputs have shape {a}, validation inputs {b}",
            measurements=(
                Measurement(name="values per training example", value=float(math.prod(a))),
                Measurement(name="values per validation example", value=float(math.prod(b))),
            ),
            cause=cause,
            remedy=remedy,
            source="own; Touvron et al., Fixing the Train-Test Resolution Discrepancy, NeurIPS 2019",
        )
    ]


@rule(severities=("warning", "hint"))
def mirrored(evidence: Evidence) -> list[Finding]:
    """Training images are mirrored though left and right differ, or without their targets.

    Fires: at some place, validation images are further than 0.4 standard deviations from their own mirror image, and training
        images less than half as far. A warning with code `alone`: `collate_fn`, given the same examples three times, or
        the data set, read four times where validation is read the same twice, mirrors a tenth or more of the images, while
        targets that are images or numbers (other than only 0 and 1) stay bitwise the same, and a linear map of the difference
        of the images' two sides, as they were taken, explains three tenths of the held-out variance of one of their numbers.
        Silent, as `classes` is, where a number of two values in the batch changes where images are mirrored, and there alone.
        A warning with code `classes`: the data set mirrors a tenth or more of its images and labels stay, or two passes of
        a loader of another kind, of 512 images each, yield a tenth or more of those that both hold, and eight or more, in
        both orientations, value for value, with the same label; and a linear classifier of two classes tells 90 % or more
        of the validation images of each right, and, once mirrored, takes them for the other class, from whose images no
        such classifier tells them (65 % at most), nor one of the differences between neighbours.
        A warning with code `apart`: over five reads of the same examples, images and targets are flipped, rotated by
        quarters or shifted, value for value, and where the image is the same, or only shifted, the target is flipped,
        rotated or shifted differently, in at least eight pairs of reads and a fifth of them. Targets are what the loss
        depends on, row for row, and the model is not given: maps of places, tags of steps, or numbers of which two
        reads have the same sum in all examples, as coordinates have in a mirror image. A warning with code `corners`:
        of targets of four numbers, the first is larger than the third in a tenth to nine tenths of 64 training images
        or more, or the second larger than the fourth, where the other pair and both pairs of validation are in order.
    Why: random mirroring makes training images symmetric on average. Digits and letters are asymmetric (0.53 on handwritten
        digits), photographs are not. A target that is flipped by a separate draw belongs to another place of the image, and no
        weights can know which.
    What fools it: classes that may face either way, for which mirroring is a useful augmentation; hence a hint. For `classes`,
        two that face opposite ways in nearly all photographs, and differ besides in what is seen in neither the averages nor
        the contrast of places. For `alone` and `apart`, nothing known.
    Fix: do not mirror where it changes the meaning of the image, as with a digit; draw once for an image and its target.
    Source: own; the log mirrored MNIST.
    """
    if (alone := mirrored_alone(reading.facts(evidence))) is not None:
        return [alone]
    data = evidence.data
    if data is not None and (crossed := crossed_corners(data.train, data.validation)) is not None:
        return [crossed]
    train = data.train.mirror_asymmetry if data is not None else None
    held_out = data.validation.mirror_asymmetry if data is not None and data.validation is not None else None
    if train is None or held_out is None or held_out <= 0.4 or train >= held_out / 2:
        return []
    return [
        Finding(
            rule="mirrored",
            severity="hint",
            seen="on average the left and right halves of training images look the same, and those of validation images do not",
            measurements=(
                Measurement(name="asymmetry of validation images", value=held_out, unit="standard deviations", threshold=0.4),
                Measurement(
                    name="asymmetry of training images", value=train, unit="standard deviations", threshold=held_out / 2
                ),
            ),
            cause="training images are mirrored at random, though left and right differ in this data",
            remedy="do not mirror where it changes the meaning of the image, as with a digit",
            source="own; the log mirrored MNIST",
        )
    ]
