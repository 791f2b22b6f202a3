"""Rules on the data audit and the metric audit."""

import math

from trainability.doctor import reading
from trainability.doctor.audit_results import SplitAudit
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.theory.signal import BUDGET_HIGH, BUDGET_LOW


def _splits(evidence: Evidence) -> list[SplitAudit]:
    if evidence.data is None:
        return []
    return [split for split in (evidence.data.train, evidence.data.validation) if split is not None]


def label_range(evidence: Evidence) -> list[Finding]:
    """A label outside [0, C)."""
    classes = evidence.probe.num_logits if evidence.probe is not None and evidence.probe.num_logits else None
    classes = classes or reading.num_classes(evidence)
    for split in _splits(evidence):
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
    return []


def class_imbalance(evidence: Evidence) -> list[Finding]:
    """One class holds more than half of the training images, of three or more classes."""
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
            severity="warning",
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


def shuffled_labels(evidence: Evidence) -> list[Finding]:
    """Simple features carry no sign of the class.

    Fires when a linear probe on held-out images is less than 2 standard errors above chance, with enough images to see
    a weak signal (the audit leaves the score out otherwise). Fooled by classes that only fine texture tells apart;
    silent once the net itself has learned.
    """
    data = evidence.data
    if data is None or data.class_signal_z is None or data.class_signal_z >= 2 or reading.has_learned(evidence):
        return []
    return [
        Finding(
            rule="shuffled_labels",
            severity="warning",
            seen="a linear probe of coarse pixels cannot tell any class apart",
            measurements=(
                Measurement(name="probe above chance", value=data.class_signal_z, unit="standard errors", threshold=2.0),
                Measurement(name="probe accuracy", value=data.class_signal_accuracy or 0.0),
            ),
            cause="labels do not belong to their images, or the images carry nothing",
            remedy="look at ten images beside their labels, as the loader yields them",
            source="own",
        )
    ]


def input_scale(evidence: Evidence) -> list[Finding]:
    """Inputs far from mean 0 and standard deviation 1.

    Silent where they are looked up in an embedding: numbers of words have no scale. Only a hint where the net's budget
    absorbs it or normalisation does: the paper itself feeds 0 to 255 with the mean subtracted.
    """
    data, probe = evidence.data, evidence.probe
    if probe is not None and probe.layers and probe.layers[0].kind == "embedding":
        return []
    if data is not None:
        means, stds = data.train.channel_means, data.train.channel_stds
    elif probe is not None:
        mean = probe.input_mean
        means, stds = (mean,), (math.sqrt(max(probe.input_mean_square - mean * mean, 0.0)),)
    else:
        return []
    if not means or not stds or any(not math.isfinite(v) for v in (*means, *stds)):
        return []
    far, thin, wide = max(means, key=abs), min(stds), max(stds)
    if abs(far) <= 3 and thin >= 0.05 and wide <= 10:
        return []
    total = reading.total_budget(probe) if probe is not None else None
    absorbed = probe is not None and (
        probe.structure == "normalised" or (total is not None and BUDGET_LOW <= total <= BUDGET_HIGH)
    )
    return [
        Finding(
            rule="input_scale",
            severity="hint" if absorbed else "warning",
            seen=f"channel means reach {far:.3g}, standard deviations {thin:.3g} to {wide:.3g}",
            measurements=(
                Measurement(name="largest channel mean", value=far, threshold=3.0),
                Measurement(name="smallest channel std", value=thin, threshold=0.05),
                Measurement(name="largest channel std", value=wide, threshold=10.0),
            ),
            cause="images are not normalised, or with another data set's statistics",
            remedy="subtract each channel's mean and divide by its standard deviation, measured on the training set",
            source="preflight-ml",
        )
    ]


def channels_last(evidence: Evidence) -> list[Finding]:
    """Images of shape (height, width, channels) where (channels, height, width) is meant."""
    shapes = [shape for split in _splits(evidence) for shape in split.shapes]
    wrong = [s for s in shapes if len(s) == 3 and s[-1] in (1, 3, 4) and s[0] > 4 and s[1] > 4]
    if not wrong:
        return []
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


def blank_images(evidence: Evidence) -> list[Finding]:
    """Images, or channels of them, that hold one single value.

    One image in a hundred is already damage; one in twenty an error. Looked at image by image: the batch's moments
    hardly move when a third of it is blank.
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
    return [
        Finding(
            rule="blank_images",
            severity="error" if blank >= 0.05 or channels >= 0.25 else "warning",
            seen=f"{blank:.0%} of the training images hold one single value, {channels:.0%} of their channels are constant"
            + ("; validation images are whole" if only_train else ""),
            measurements=tuple(measurements),
            cause="augmentation destroys them, such as a colour shift with clipping after normalisation"
            if only_train
            else "images are empty in the source, or decoding fails silently",
            remedy="shift colours on 0 to 255 before normalising, and clip to that range" if only_train else "look at them",
            source="own; a third of the seed's ImageNet training images",
        )
    ]


def not_finite_data(evidence: Evidence) -> list[Finding]:
    """Images with NaN or infinity."""
    for split in _splits(evidence):
        if split.nonfinite_fraction > 0:
            return [
                Finding(
                    rule="not_finite_data",
                    severity="error",
                    seen=f"{split.nonfinite_fraction:.1%} of the {split.name} images hold NaN or infinity",
                    measurements=(Measurement(name="such images", value=split.nonfinite_fraction, threshold=0.0),),
                    cause="a division by a zero standard deviation, or a damaged file",
                    remedy="find the first such image and what makes it; guard the division",
                    source="preflight-ml",
                )
            ]
    return []


def split_shift(evidence: Evidence) -> list[Finding]:
    """Training and validation images differ in mean or spread.

    Half a standard deviation in a channel's mean, or a factor 2 in its spread: augmentation moves both by far less.
    """
    data = evidence.data
    if data is None or data.validation is None or len(data.train.channel_means) != len(data.validation.channel_means):
        return []
    a, b = data.train, data.validation
    shifts = [
        abs(m - n) / max((s + t) / 2, 1e-12)
        for m, n, s, t in zip(a.channel_means, b.channel_means, a.channel_stds, b.channel_stds, strict=True)
    ]
    ratios = [max(s, 1e-12) / max(t, 1e-12) for s, t in zip(a.channel_stds, b.channel_stds, strict=True)]
    widest = max(ratios, key=lambda r: abs(math.log(r)))
    if max(shifts) <= 0.5 and 0.5 <= widest <= 2:
        return []
    return [
        Finding(
            rule="split_shift",
            severity="warning",
            seen=f"training and validation images differ: means by {max(shifts):.2f} standard deviations, spread by a "
            f"factor {widest:.2g}",
            measurements=(
                Measurement(name="shift of a channel's mean", value=max(shifts), unit="standard deviations", threshold=0.5),
                Measurement(name="train over validation std", value=widest, threshold=2.0),
            ),
            cause="the two are normalised differently, or augmentation changes more than it should",
            remedy="normalise both with the training set's statistics, as the last step",
            source="own",
        )
    ]


def split_size(evidence: Evidence) -> list[Finding]:
    """Training and validation images have no shape in common. A hint: evaluation at another scale is often meant."""
    data = evidence.data
    if data is None or data.validation is None or set(data.train.shapes) & set(data.validation.shapes):
        return []
    (a, b) = (split.shapes[0] for split in (data.train, data.validation))
    return [
        Finding(
            rule="split_size",
            severity="hint",
            seen=f"training images have shape {a}, validation images {b}",
            measurements=(
                Measurement(name="values per training image", value=float(math.prod(a))),
                Measurement(name="values per validation image", value=float(math.prod(b))),
            ),
            cause="the two are cropped or rescaled differently: objects have other sizes than the net was trained on",
            remedy="crop validation images to the training size, unless another scale is meant",
            source="own; Touvron et al., Fixing the Train-Test Resolution Discrepancy, NeurIPS 2019",
        )
    ]


def mirrored(evidence: Evidence) -> list[Finding]:
    """Training images are mirrored at random, and left and right are not alike in the validation images.

    Fires when validation images are further than 0.4 standard deviations from their own mirror image somewhere and
    training images less than half as far: digits and letters, not photographs. A hint: where a class may face either way it
    is what augmentation is for.
    """
    data = evidence.data
    train = data.train.mirror_asymmetry if data is not None else None
    held_out = data.validation.mirror_asymmetry if data is not None and data.validation is not None else None
    if train is None or held_out is None or held_out <= 0.4 or train >= held_out / 2:
        return []
    return [
        Finding(
            rule="mirrored",
            severity="hint",
            seen="training images are alike left and right, validation images are not",
            measurements=(
                Measurement(name="asymmetry of validation images", value=held_out, unit="standard deviations", threshold=0.4),
                Measurement(
                    name="asymmetry of training images", value=train, unit="standard deviations", threshold=held_out / 2
                ),
            ),
            cause="training images are mirrored at random, though left and right differ in this data",
            remedy="leave mirroring out where it makes another thing of the image, as of a digit (`--data.flip False`)",
            source="own; the seed mirrored MNIST",
        )
    ]


def label_conflict(evidence: Evidence) -> list[Finding]:
    """The same training image occurs with different labels, more than once in a hundred."""
    share = evidence.data.label_conflict_fraction if evidence.data is not None else None
    if share is None or share <= 0.01:
        return []
    return [
        Finding(
            rule="label_conflict",
            severity="warning",
            seen=f"{share:.1%} of the training images occur again, value for value, with another label",
            measurements=(Measurement(name="images with two labels", value=share, threshold=0.01),),
            cause="duplicates labelled by different hands, or labels read in another order than images",
            remedy="keep one of each, with the label that is right",
            source="own",
        )
    ]


def split_overlap(evidence: Evidence) -> list[Finding]:
    """Validation images that are also training images, or one data set object behind both loaders."""
    data = evidence.data
    share = data.overlap_fraction if data is not None and data.overlap_fraction is not None else 0.0
    if data is None or (share < 0.01 and not data.shared_dataset):
        return []
    shared = data.shared_dataset
    return [
        Finding(
            rule="split_overlap",
            severity="warning",
            seen="training and validation draw from one data set object, so a transform set for one holds for both"
            if shared
            else f"{share:.0%} of the validation images are among the training images",
            measurements=(
                Measurement(name="validation images seen in training", value=share, threshold=0.01),
                Measurement(name="shared data set objects", value=float(shared), threshold=0.0),
            ),
            cause="two Subsets of one data set" if shared else "the split was drawn with replacement, or duplicates",
            remedy="make one data set per split, each with its own transform" if shared else "split by image hash",
            source="own; the seed's Caltech-256",
        )
    ]


def augmentation_missing(evidence: Evidence) -> list[Finding]:
    """Training images that are meant to be augmented at random come out the same every time.

    Fires when more than three quarters of them do: mirroring alone repeats half of them, crops of a few pixels' margin one in
    tens.
    """
    share = evidence.data.repeated_fraction if evidence.data is not None else None
    if share is None or share <= 0.75:
        return []
    return [
        Finding(
            rule="augmentation_missing",
            severity="warning",
            seen=f"{share:.0%} of the training images come out the same when they are drawn again",
            measurements=(Measurement(name="images without augmentation", value=share, threshold=0.75),),
            cause="training and validation share one data set object, and validation's transform, set last, holds for both",
            remedy="make one data set per split, each with its own transform",
            source="own; the seed's Caltech-256",
        )
    ]


def metric_wrong(evidence: Evidence) -> list[Finding]:
    """The metric misses a known answer, or its value depends on how the same data is batched."""
    audit = evidence.metric
    wrong = [case for case in audit.cases if not abs(case.got - case.expected) < 1e-4] if audit is not None else []
    if not wrong:
        return []
    batching = [case for case in wrong if case.name.startswith("batch")]
    only_batching = len(batching) == len(wrong)
    raised = next((case.error for case in wrong if case.error), None)
    return [
        Finding(
            rule="metric_wrong",
            severity="error",
            seen=f"{wrong[0].name}: the metric says {wrong[0].got:.4g}, right is {wrong[0].expected:.4g}"
            + (f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""),
            measurements=tuple(Measurement(name=case.name, value=case.got, threshold=case.expected) for case in wrong[:4]),
            cause=raised
            or (
                "counts of one batch are divided by another number than that batch's, or means of batches are averaged"
                if only_batching
                else "the metric does not compute what its name says"
            ),
            remedy="sum correct counts and examples over all batches, and divide once",
            source="own; the seed divided the last batch's count by the whole set's size",
        )
    ]
