"""What the audits found: splits of the data as the loop sees them, and what the metric answers. Data only; no torch."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class BatchOrder:
    """Labels in the order in which a loader yields them.

    Attributes:
        num_batches: batches read.
        batch_size: examples of the first.
        num_examples: labels read.
        num_classes: distinct labels among them.
        one_class_batches: batches in which all labels are equal.
        balanced_batches: batches of several classes, as many examples of each that is there, as a sampler of P classes times K
            examples makes them, or of each its share of all, as a `collate_fn` that adds negatives to each batch.
        changes: places where a label differs from the one before.
        expected_changes: the same, were the labels in random order.
        repeated_batches: batches whose examples are those of the one before, value for value and in the same order.
        stream_workers: worker processes, several, that each read the loader's IterableDataset; None for other loaders.
        is_stream: the loader reads an IterableDataset, whose order is the data set's own.
    """

    num_batches: int
    batch_size: int
    num_examples: int
    num_classes: int
    one_class_batches: int
    changes: int
    expected_changes: float
    repeated_batches: int = 0
    balanced_batches: int = 0
    stream_workers: int | None = None
    is_stream: bool = False


@dataclass(frozen=True, kw_only=True)
class TargetOrder:
    """Float targets that a loader yields sorted, so that batches have ranges of their own.

    Attributes:
        num_batches: batches read; in a watched loop, sampled steps of several passes.
        num_examples: in these.
        explained: share of the targets' variance that lies between the batches, averaged over the numbers of a target.
        by_chance: what that share is on average for examples in random order.
        lowest: smallest target.
        highest: largest target.
        first_mean: mean of the first 64 targets, or of the first batch if it is smaller.
        along: what puts the examples in this order where targets mostly go with it: their "length", or the loader's own
            "sampler"; None where targets are sorted.
    """

    num_batches: int
    num_examples: int
    explained: float
    by_chance: float
    lowest: float
    highest: float
    first_mean: float
    along: str | None = None


@dataclass(frozen=True, kw_only=True)
class SplitAudit:
    """What one split of the data looks like, exactly as the loop sees it (after augmentation and normalisation).

    Attributes:
        name: "train" or "validation".
        num_images: images looked at.
        shapes: distinct image shapes (channels, height, width).
        channel_means: per channel.
        channel_stds: per channel.
        minimum: smallest value seen.
        maximum: largest value seen.
        clipped_fraction: share of values that sit exactly at the split's minimum or maximum.
        blank_fraction: share of images that hold one single value.
        lone_fraction: share of images in which one pixel of a channel at most differs from the least value, and one does.
        blank_target: blank images have the same target, which not all images have; None with fewer than five.
        constant_channel_fraction: share of (image, channel) pairs that hold one single value.
        nonfinite_fraction: share of images with NaN or infinity.
        label_min: smallest label.
        label_max: largest label.
        labels_are_integers: whether labels have an integer type.
        label_counts: images per class, 0 .. label_max; () if labels are not class indices.
        positive: share of the examples whose label is 1, where each has one label, 0 or 1; None where labels are others.
        mirror_asymmetry: how far the left half of the images is from the mirrored right half, in standard deviations
            over images, at the place and channel where it is furthest; None with fewer than 200 images.
        order: of the labels, as they come; None where they are no class indices, one per example.
        target_mean: mean of floating-point targets; None where there are none of up to 256 values an example.
        target_variance: their variance, averaged over the values of an example: the squared error of their mean.
        regrouped_roughness: squared differences between neighbouring pixels where the same numbers are read as (height, width,
            channels), over those as they are: what nine images in ten are below; None where that was not asked.
        most_copied: share of the examples that are one and the same, input and target, value for value; of the most frequent
            one whose input holds more than one value.
        coarse: for float32 tables of at most three columns, the index of a column whose few values are multiples of a power of
            two, 64 or more, while targets have many values; that step; and the number of values. None if there is none.
        same_columns: columns of a table that are one number in all examples, and that number; () with fewer than 256.
        axes: of points with two or three coordinates, the mean over the examples of each coordinate's standard deviation, and
            that mean's standard error; () of other inputs.
        filled_columns: columns of a table in which one number stands far from all others, that number, its share of the rows,
            and its distance to the nearest other, in standard deviations of the others.
        crossed: for images with four numbers as targets, the share of the examples whose first is larger than the third, and
            whose second is larger than the fourth, as in no box of two corners; None with fewer than 64 examples.
        other_classes_later: of training: examples that were not read may be of classes that validation has and those that were
            read lack, because the loader was not read to its end and is not known to draw at random.
        target_order: of training, float targets of up to eight numbers that come sorted, and again in the next pass; else None.
        is_windowed: examples are windows of one series, some of which go on where others begin.
        repeated_sequences: of batches whose targets are several whole numbers an example, those that are the same as the one
            before, value for value and in the same order; how many batches; and examples of the first.
        lone_target: the value that every target has at every place; None where two values occur.
    """

    name: str
    num_images: int
    shapes: tuple[tuple[int, ...], ...]
    channel_means: tuple[float, ...]
    channel_stds: tuple[float, ...]
    minimum: float
    maximum: float
    clipped_fraction: float
    blank_fraction: float
    blank_target: bool | None = None
    constant_channel_fraction: float
    nonfinite_fraction: float
    label_min: int | None = None
    label_max: int | None = None
    labels_are_integers: bool = True
    label_counts: tuple[int, ...] = ()
    positive: float | None = None
    mirror_asymmetry: float | None = None
    order: BatchOrder | None = None
    target_mean: float | None = None
    target_variance: float | None = None
    lone_fraction: float = 0.0
    regrouped_roughness: float | None = None
    most_copied: float | None = None
    coarse: tuple[int, float, int] | None = None
    same_columns: tuple[tuple[int, float], ...] = ()
    filled_columns: tuple[tuple[int, float, float, float], ...] = ()
    axes: tuple[tuple[float, float], ...] = ()
    crossed: tuple[float, float] | None = None
    is_windowed: bool = False
    repeated_sequences: tuple[int, int, int] = (0, 0, 0)
    lone_target: float | None = None
    other_classes_later: bool = False
    target_order: TargetOrder | None = None


@dataclass(frozen=True, kw_only=True)
class LabelsCompared:
    """A linear classifier of simple features, fitted on training and asked about validation.

    Attributes:
        num_validation: validation examples.
        accuracy_training: on training examples that it was not fitted to.
        accuracy_validation: on validation examples.
        accuracy_renamed: on half of them, after renaming the classes as the other half suggests; on all where both suggest the
            same.
        renamed: pairs of a class and what validation calls it, where they differ.
        gain_z: what renaming gains there, in standard errors.
        loss_in_training_z: what the same renaming costs on training examples, in standard errors.
        fall_z: accuracy on training above that on validation, in standard errors.
        own_accuracy: of a classifier fitted on half of validation and asked about the other.
        own_signal_z: its standard scores above chance.
        training_signal_z: the same with as many training examples.
        channel_order: of images in colour, the order of validation's channels under which half of it is told best; () where
            that was not asked.
        accuracy_reordered: on the other half, with the channels in that order.
        reordered_gain_z: what the order gains there, in standard errors.
        domain_shift: largest distance between the mean features of the two splits, in training's standard deviations.
        spread: of validation's features, beside training's: median ratio of their standard deviations.
        chance: share of validation's most frequent class.
    """

    num_validation: int
    accuracy_training: float
    accuracy_validation: float
    accuracy_renamed: float
    renamed: tuple[tuple[int, int], ...] = ()
    gain_z: float = 0.0
    loss_in_training_z: float = 0.0
    fall_z: float = 0.0
    own_accuracy: float = 0.0
    own_signal_z: float = 0.0
    training_signal_z: float = 0.0
    channel_order: tuple[int, ...] = ()
    accuracy_reordered: float = 0.0
    reordered_gain_z: float = 0.0
    domain_shift: float = 0.0
    spread: float = 1.0
    chance: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Redrawn:
    """A few training examples, each drawn several times.

    Attributes:
        num_examples: distinct examples.
        num_draws: of each of them, by each worker.
        is_declared: the data set holds a transform that is random by its name.
        varies: two draws of one example differ.
        workers_alike: two worker processes drew the same, one by one, though each of them drew differently; None without them.
        epochs_alike: a second pass drew the same as the first, one by one; None where that was not asked.
    """

    num_examples: int
    num_draws: int
    is_declared: bool = False
    varies: bool = False
    workers_alike: bool | None = None
    epochs_alike: bool | None = None


@dataclass(frozen=True, kw_only=True)
class AddedNoise:
    """Noise that a data set adds to a training example each time that it is read, and validation's examples do not have.

    Attributes:
        num_examples: examples that were read.
        num_draws: of each of them.
        share: of the variance of an example's values, place by place, that changes from draw to draw.
        noise: its standard deviation.
        spread: standard deviation of validation's values.
    """

    num_examples: int
    num_draws: int
    share: float
    noise: float
    spread: float


@dataclass(frozen=True, kw_only=True)
class DataAudit:
    """Training data, and validation data beside it.

    Attributes:
        train: the training split.
        validation: the validation split; None if there is none.
        num_classes: classes that the data is said to have; None if unknown.
        overlap_fraction: share of validation images that occur, value for value, among the training images seen.
        label_conflict_fraction: share of repeated training images that carry different labels.
        copied_fraction: share of training images that occur more than once.
        shared_dataset: both loaders draw from one and the same data set object.
        repeated_fraction: share of training images that come out the same, value for value, when drawn again; None if
            they were not drawn again.
        class_signal_z: standard scores above chance of a linear probe of simple features; None if too few images.
        class_signal_accuracy: held-out accuracy of that probe.
        labels_compared: what a classifier fitted on training says of validation; None if it says nothing.
        redrawn: a few training examples drawn several times; None if they were not.
        added_noise: on training's inputs, most of what they vary by; None if there is none such, or it was not asked.
        notes: what could not be asked, and how many images it takes.
    """

    train: SplitAudit
    validation: SplitAudit | None = None
    num_classes: int | None = None
    overlap_fraction: float | None = None
    label_conflict_fraction: float | None = None
    copied_fraction: float | None = None
    shared_dataset: bool = False
    repeated_fraction: float | None = None
    class_signal_z: float | None = None
    class_signal_accuracy: float | None = None
    labels_compared: LabelsCompared | None = None
    redrawn: Redrawn | None = None
    added_noise: AddedNoise | None = None
    notes: tuple[str, ...] = ()


BACK_TO_FRONT = "read back to front"
TRANSPOSED = "transposed"


@dataclass(frozen=True, kw_only=True)
class Turned:
    """Images that explain their targets better when they are turned, all of them or some; or sequences that explain their tags.

    Attributes:
        turn: what was done to them: "flipped left to right", "flipped top to bottom", "turned by 180 degrees" or
            `TRANSPOSED`; `BACK_TO_FRONT` of sequences.
        num_examples: that were asked about.
        share: of these, whose target the turned image explains clearly better.
        own: share of the targets' variance that a map of each place's surroundings explains of the images as they are.
        turned: the same, where each image is as it is or turned, whichever explains its target better.
    """

    turn: str
    num_examples: int
    share: float
    own: float
    turned: float


@dataclass(frozen=True, kw_only=True)
class Relation:
    """Inputs beside their own targets, against inputs beside shuffled ones.

    Attributes:
        num_examples: of the training loader that were compared.
        z: the strongest relation found, in standard deviations of the shuffled ones above their mean.
        categories: columns of whole numbers that say more than twice as much by being equal as by being large.
        local: of images with images for targets, the share of the targets' variance that a map of each place's surroundings
            explains; None of anything else.
        local_of_others: likewise of another example's image in place of each, which knows where targets mostly are, and no
            more.
        mixed: a table of whole numbers and of numbers, where what two of them mean only together is not seen.
        turned: a turn that brings such images and targets together; None where there is none.
        held: "windows" or "table", and the place of the input that holds every target, value for value; None if there is none.
        seen: of a loop that is watched, how many examples were seen, and how many different ones they were.
        whole: of a loop that is watched, whether inputs are a table of whole numbers alone, many of which may tell something
            only together, as of parity.
        drawn_evenly: inputs are rows of tokens each drawn as often as another, where what several of them mean together (their
            parity, the value beside a key) is not seen.
        is_plain: inputs are tables of numbers, or images. The meaning of words, series and sets is in their order or in several
            of them together, which few comparisons see.
        held_out_z: `z` of validation; None if it was not compared.
        wide: a table of so many columns that they were not asked together, of more than some examples.
    """

    num_examples: int
    z: float
    categories: tuple[int, ...] = ()
    mixed: bool = False
    local: float | None = None
    local_of_others: float | None = None
    turned: Turned | None = None
    held: tuple[str, str] | None = None
    seen: tuple[int, int] | None = None
    whole: bool = False
    drawn_evenly: bool = False
    is_plain: bool = True
    held_out_z: float | None = None
    wide: bool = False


@dataclass(frozen=True, kw_only=True)
class AnswerForm:
    """Shape of a model's outputs and targets, in which a metric is asked.

    Attributes:
        kind: "classification", "token_classification" (classes in the last dimension), "pixel_classification" (classes in
            dimension 1), "binary" (one answer an example), "multilabel", "pixel_binary", or "regression".
        output: shape of one example's output, without the batch: (10,), (1,), () for a number.
        target: shape of one example's target.
        float_target: whether targets are floating-point.
        probabilities: whether outputs lie in [0, 1].
        levels: of a regression, the numbers that targets take, if these are few, such as -1 and 1, or whole; else ().
    """

    kind: str = "classification"
    output: tuple[int, ...] = (10,)
    target: tuple[int, ...] = ()
    float_target: bool = False
    probabilities: bool = False
    levels: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class MetricCase:
    """One known answer put to the metric.

    Attributes:
        name: what was asked.
        expected: the right value.
        got: what the metric said; NaN if it raised.
        error: the exception's text, if it raised.
    """

    name: str
    expected: float
    got: float
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class MetricAudit:
    """What the metric says to outputs whose right value is known.

    Attributes:
        cases: every question, answer and right answer.
        is_error: the metric is lower where more is right; it was found out from its answers.
        constant_score: what a predictor that always names the most common class scores; None where that has no meaning.
        measure: what the metric computes, found out from its answers: "accuracy", "error", "cross_entropy", "mse", "rmse",
            "mae", "r2", "count" (a count, or a sum over the examples: `expected` is what it said itself), or "unknown": then
            `expected` is what it said itself of the same answers in one batch.
        form: of the outputs and targets that it was asked in.
        asked_as: how they were brought to the metric: "as they are", "squeezed", "flattened", "with ten classes", "surer", "as
            probabilities", or "as classes" (the arg-max).
        raises: it raises when it is given them as they are.
    """

    cases: tuple[MetricCase, ...]
    is_error: bool = False
    constant_score: float | None = None
    measure: str = "accuracy"
    form: AnswerForm = AnswerForm()
    asked_as: str = "as they are"
    raises: bool = False

    @property
    def wrong(self) -> tuple[MetricCase, ...]:
        """Questions answered wrong by 1e-4 or more of the right value, or of 1 where that is larger."""
        return tuple(case for case in self.cases if not abs(case.got - case.expected) < 1e-4 * max(1.0, abs(case.expected)))
