"""What shows where data are read several times, in another order, or later than they are known. Data only; no torch."""

from dataclasses import dataclass

from trainability.doctor.audit_results import BatchOrder, TargetOrder
from trainability.doctor.pair_facts import KeptTargets
from trainability.doctor.rehearsed import SlowAverage

FEWEST_LENGTHS = 3  # of the first batches that each hold one sequence; batches of examples have one, and another at the end


@dataclass(frozen=True, kw_only=True)
class Overwritten:
    """Data that change as they are read.

    Attributes:
        kind: "stored" where what the data set keeps is written to, as by an augmentation in place, and the next reading begins
            from what the one before left; "shared" where all examples are one and the same tensor, filled anew for each; "rows"
            where, of a watched loop, all rows of each batch's input are the same, and their classes are not; "batch" where a
            step adds noise to a tensor of the batch that is the input and the target; "step" where a step writes to a batch
            that the loader keeps, and yields again.
        place: of what is written to: of "stored" its name in the data set, of "shared" its place in an example, of
            "batch" and "step" in the batch.
        num_examples: that were read.
        num_changed: of "stored", those whose stored values two readings changed, each of them; of "shared" and "rows",
            those that show another's values.
        share: of the values of a changed example, those that are others after four readings; of "batch", the noise's rms over
            the standard deviation of the values.
    """

    kind: str
    place: str
    num_examples: int
    num_changed: int
    share: float = 1.0


@dataclass(frozen=True, kw_only=True)
class TurnedApart:
    """Images and targets that are turned or moved at random, each by draws of its own.

    Attributes:
        input: place of the images in a batch.
        target: place of the targets.
        num_pairs: readings of the same example, two by two, of which it is plain what was done to either.
        num_apart: those of which it is not the same.
    """

    input: str
    target: str
    num_pairs: int
    num_apart: int


MOST_GAP = 0.35  # `Circular.gap` of targets that go around; measured are 0.2 and less of circles, 1 to 2 of lines


@dataclass(frozen=True, kw_only=True)
class Circular:
    """Targets that go around, as angles do, under a squared or absolute error of the numbers.

    Attributes:
        examples: that were compared.
        column: of the targets; None where there is one.
        around: from the smallest to the largest of them, about a period.
        gap: between inputs of the largest targets and the nearest of the smallest, over that of targets that are half of the
            way around apart; both less what it is among targets that are alike.
        astray: share of the neighbours whose targets are farther apart than a quarter of the way around; 0.5 by chance.
    """

    examples: int
    column: int | None
    around: float
    gap: float
    astray: float


LEAST_CLEAR, LEAST_UNORDERED = 0.7, 0.1  # `ClassNumbers.clear` and `.ordered`; of 1,900 orders, measured are at most 0.09


@dataclass(frozen=True, kw_only=True)
class ClassNumbers:
    """Whole numbers under a squared or absolute error, of which those that follow each other have no more in common.

    Attributes:
        classes: different numbers.
        examples: that were compared.
        clear: correlation of the distances between the classes' means in two halves of the examples.
        ordered: share of shuffled orders that go with these distances as well as the numbers do, in the way and view in which
            it is least.
    """

    classes: int
    examples: int
    clear: float
    ordered: float


@dataclass(frozen=True, kw_only=True)
class ExchangedClasses:
    """Two classes that are each other's mirror image, in training images that are mirrored at random.

    Attributes:
        sides: what is exchanged, "left and right" or "top and bottom".
        place: of the labels in a batch.
        first: one class.
        second: the other.
        share: of the held-out images of a class, those that a classifier tells right, and takes for the other class when
            they are mirrored; the least of all four.
    """

    sides: str
    place: str
    first: int
    second: int
    share: float


@dataclass(frozen=True, kw_only=True)
class MisreadEdges:
    """Edges of a graph that are edges when they are read two numbers at a time, and not by the two rows of their tensor.

    Attributes:
        num_edges: columns of the tensor.
        how: their property only in memory order: "both ways" if each has its reverse, or "sorted"; "unshifted" for edges of
            several graphs that all lie among the nodes of the first.
        num_graphs: for "unshifted", the number of graphs in the batch.
        num_nodes: their number of nodes in all.
        reach: the number of first nodes among which the edges lie.
    """

    num_edges: int
    how: str
    num_graphs: int = 0
    num_nodes: int = 0
    reach: int = 0


@dataclass(frozen=True, kw_only=True)
class ShortPass:
    """A pass over the training loader that ends before half of the loader's length.

    Attributes:
        read: batches of the pass.
        declared: the length.
        is_left: whether the loop leaves the loader, each time at the same batch; else the loader ends by itself.
    """

    read: int
    declared: int
    is_left: bool = False


@dataclass(frozen=True, kw_only=True)
class Sliding:
    """Batches of a pass that are slices of the data, each of which overlaps with others.

    Attributes:
        batches: of the pass.
        batch_size: rows of the first.
        shown: different rows that the pass shows.
        held: rows that there are, which are as many as those of all batches.
    """

    batches: int
    batch_size: int
    shown: int
    held: int


@dataclass(frozen=True, kw_only=True)
class ShortLength:
    """Training data of which a loader reads the first few examples only.

    Attributes:
        declared: its `len`.
        held: the number of indices, from 0 on, with an example.
        batch_size: `held` divided by it, rounded up or down, is `declared`; None where `declared` is the number of weights of
            a `WeightedRandomSampler`, and `held` the length of the data set.
    """

    declared: int
    held: int
    batch_size: int | None


@dataclass(frozen=True, kw_only=True)
class SeriesAhead:
    """Targets that are later values of the model's own input, which its answers go by.

    Attributes:
        by: the fewest steps by which they are ahead of their places.
        share: of the places that the loss counts, those whose target is in the input.
    """

    by: int
    share: float


@dataclass(frozen=True, kw_only=True)
class OwnPlaces:
    """A model that is to predict each number of its input from those before it, and whose answer goes by that number.

    Attributes:
        kind: "mask" where it does not once weights are multiplied by masks that no function goes by; "itself" where it goes by
            no later number; "beside" where it has masks that hide later pixels from other layers.
        change: of the answer for a number when that number is exchanged, over the rms of the answers.
        masks: names of these masks.
    """

    kind: str
    change: float
    masks: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class NamedValues:
    """Values of a sequence that are names, and go into a layer as amounts.

    Attributes:
        num_examples: that were compared.
        num_values: different values that were compared.
        z: by how many standard deviations each value's targets in one half of the examples agree with those in the other half
            better than shuffled targets do.
        like_neighbours: how like the targets of values next to each other in size are, at most: 1 of equals, 0 as of any two
            values.
        told_by_name: share of the variance of held-out targets that a linear map of the counts of each value explains.
        told_by_size: the same of the numbers as they are, of counts of ranges of values and of moments; the best of these.
        place: of the sequences in a batch.
        layer: with weights, that is given them; None where that is not known.
    """

    num_examples: int
    num_values: int
    z: float
    like_neighbours: float
    told_by_name: float
    told_by_size: float
    place: str = ""
    layer: str | None = None


@dataclass(frozen=True, kw_only=True)
class AskedWords:
    """Values of a sequence that go into a layer as amounts, and are asked for as classes.

    Attributes:
        num_values: different values, each of which goes with one class.
        num_pairs: places that were compared.
        place: of the sequences in a batch.
        layer: with weights, that is given them; None where that is not known.
    """

    num_values: int
    num_pairs: int
    place: str = ""
    layer: str | None = None


@dataclass(frozen=True, kw_only=True)
class ChangingWords:
    """How much classes agree where words do, in pairs of examples that lie near each other in the data set, and far apart.

    Attributes:
        num_examples: that were compared, in stretches of the data set.
        block: examples in a row, within which pairs are near.
        z: agreement of near pairs, in standard deviations of shuffled classes above their mean.
        far: agreement of a pair that is half of the data apart or more, over what that of near pairs comes to there where
            words keep their meaning: then 1.
        error: standard error of `far`.
    """

    num_examples: int
    block: int
    z: float
    far: float
    error: float


@dataclass(frozen=True, kw_only=True)
class UnknownWords:
    """Words of validation that training's vocabulary does not know.

    Attributes:
        becomes: of them: "left out" (validation's texts are shorter by that share), "new" (numbers that training never has), or
            "one word" (a number that is rare in training).
        unknown: their share of validation's words.
        once: share of training's words that occur once in all of training.
        num_words: of training's texts.
        num_kinds: different ones of them.
        is_prepared_otherwise: the one word is far more frequent in validation than words that occur once are in training, so
            that texts of training's kind would not have it as often.
    """

    becomes: str
    unknown: float
    once: float
    num_words: int
    num_kinds: int
    is_prepared_otherwise: bool = False


@dataclass(frozen=True, kw_only=True)
class BehindPadding:
    """Sequences that end in padding of different lengths, all of which a recurrent model reads.

    Attributes:
        share: of the sequences of a batch, those of which a third or more is padding.
        steps: of padding, in the typical one of these.
        are_words: the sequences are whole numbers, and the padding's number is at their ends alone.
        told_by: a tensor of the batch, lengths or a mask, that tells where they end; "" if there is none.
    """

    share: float
    steps: int
    are_words: bool = False
    told_by: str = ""


@dataclass(frozen=True, kw_only=True)
class FilledEnds:
    """Targets of different lengths that are filled up with one number, which the loss counts.

    Attributes:
        target: tensor of the batch, by its place.
        told_by: the tensor of the batch, a mask or lengths, that tells where the filler stands.
        value: the number.
        share: of the targets that are filler.
        sudden: rows leap to the filler, by three times what they move from one place to the next, or more.
        shown: the model is shown where rows end, by the mask, by the lengths or by another input, one that lengths go with.
    """

    target: str
    told_by: str
    value: float
    share: float
    sudden: bool
    shown: bool


@dataclass(frozen=True, kw_only=True)
class RareMarks:
    """Marks of 0 and 1 at many places of each example, that a binary cross-entropy is asked for.

    Attributes:
        share: of the places, that are 1.
        num_examples: that were counted.
        num_places: of an example.
        is_of_logits: the loss is `binary_cross_entropy_with_logits`.
    """

    share: float
    num_examples: int
    num_places: int
    is_of_logits: bool = True


@dataclass(frozen=True, kw_only=True)
class CodeSpread:
    """A drawn code, mean + deviation * noise, whose deviation is another number in the loss's divergence.

    Attributes:
        taken_for: what the divergence takes the encoder's output for: "log variance", "log deviation", "variance" or
            "deviation"; "" where it goes by the mean alone.
        ratio: deviation over that of the divergence, the median over all numbers.
    """

    taken_for: str
    ratio: float


@dataclass(frozen=True, kw_only=True)
class NeighbourSums:
    """Sums over the neighbours in a graph that multiply the signal.

    Attributes:
        count: of one forward pass.
        gain: the product of all: the rms of what a sum makes over that of its rows.
    """

    count: int
    gain: float


@dataclass(frozen=True, kw_only=True)
class RareLighter:
    """A loss of yes and no in which an example of the rarer answer counts for less.

    Attributes:
        label: the rarer one, 0 or 1.
        share: of the batch's examples, that have it.
        pull: gradient of the loss at the output of such an example over that of another, for the same error.
    """

    label: int
    share: float
    pull: float


@dataclass(frozen=True, kw_only=True)
class AffineWhole:
    """A model that is an affine function of its input, and trained layers of it that act one behind the other.

    Attributes:
        layers: names of these layers, two or more, in the order in which they run; of a weight that a module holds by itself,
            its own name.
        gap: largest distance of the outputs from an affine function, for moves of 0.1 to 100 times the input's size, of how far
            the output moves.
        mixed: what scaling two of the layers together does to the output beyond what scaling each does, of what one does; of
            the two for which it is most. 0 for layers beside each other.
    """

    layers: tuple[str, ...]
    gap: float
    mixed: float


@dataclass(frozen=True, kw_only=True)
class GivenTwice:
    """A tensor of the batch of which a model gets two copies, while nothing reads another of the same kind.

    Attributes:
        given: its place in the batch.
        unread: place of the other.
        layer: module that gets the copies; "" is the model.
        how: "joined" to one input, as two "arguments", in two "calls", or in two "tables" of embeddings.
    """

    given: str
    unread: str
    layer: str
    how: str


@dataclass(frozen=True, kw_only=True)
class SameWithin:
    """A tensor of the batch that says nothing about its examples.

    Attributes:
        place: in the batch.
        examples: that were read.
        batches: that were read.
        channel: the one that is a single number in all of them; None where each batch has one row for all of its examples.
        value: that number.
    """

    place: str
    examples: int
    batches: int
    channel: int | None = None
    value: float = 0.0


@dataclass(frozen=True, kw_only=True)
class EmptyTerm:
    """A loss or sum of outputs that is given no number.

    Attributes:
        name: of the function.
        file: of the program, with its directory.
        line: that calls it.
        batches: that were read.
        is_enough: they are all batches of a pass, or hold a thousand examples.
        silent: trainable parameters that the numbers would be made by, and whose gradient is zero.
    """

    name: str
    file: str
    line: int
    batches: int
    is_enough: bool
    silent: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class LastNoise:
    """What is left of the data at the noisiest time steps of a diffusion.

    Attributes:
        kept: square of the weight of the data, alpha_bar: 1 less the mean square of the noise.
        least: and two standard errors less.
        share: of the data in the mean square of what the model is given.
        step: the last one seen.
        steps: how many were seen.
        rows: of the noisiest steps, that this was read from.
    """

    kept: float
    least: float
    share: float
    step: float
    steps: int
    rows: int


@dataclass(frozen=True, kw_only=True)
class LevelBlind:
    """A model whose answers do not go by the mean or the spread of an example, and targets that do.

    Attributes:
        given: place of the inputs in a batch.
        target: place of the targets.
        kinds: "mean" and "spread", which of them changes no answer.
        examples: that were compared.
        levelled: share of the targets' variance in held-out examples that these explain.
        free: the share that the rest of the input explains.
    """

    given: str
    target: str
    kinds: tuple[str, ...]
    examples: int
    levelled: float
    free: float


@dataclass(frozen=True, kw_only=True)
class PlaceBlind:
    """A model whose answers do not go by where something is in its input, and targets that do.

    Attributes:
        given: place of the inputs in a batch.
        target: place of the targets.
        shape: of an example.
        dims: of the inputs, along which places do not count.
        moved: change of the answer to a small piece of an example as it is moved out of the middle, over what the piece adds.
        examples: that were compared.
        column: of the targets, of which places tell the most.
        placed: share of its variance in held-out examples that is explained by where examples stand out.
        free: the share that is explained by what is there, wherever it is.
    """

    given: str
    target: str
    shape: tuple[int, ...]
    dims: tuple[int, ...]
    moved: float
    examples: int
    column: int
    placed: float
    free: float


@dataclass(frozen=True, kw_only=True)
class ShrunkInput:
    """What a model makes of its input before the first layer.

    Attributes:
        layer: that is given it.
        factor: between the loader's numbers and those.
        given: their standard deviation.
        loaded: that of the loader's.
    """

    layer: str
    factor: float
    given: float
    loaded: float


@dataclass(frozen=True, kw_only=True)
class OrderPooled:
    """A model whose answers stay the same as the places of its sequences are exchanged, and targets that go by their order.

    Attributes:
        given: place of the sequences in a batch.
        target: place of the targets.
        examples: that were compared.
        ordered: share of the targets' variance in held-out examples that is explained by the order of the sequences.
        free: the share that is explained by what is in them, in whatever order.
        pools: class of a module that takes the mean or the sum over places; None where it is no such module.
        is_for_each: the answers are for each place, exchanged as the places are, and so are the targets.
    """

    given: str
    target: str
    examples: int
    ordered: float
    free: float
    pools: str | None = None
    is_for_each: bool = False


@dataclass(frozen=True, kw_only=True)
class ShiftedLabels:
    """Labels for each step of sequences that are told by the input of another step, which the model does not see there.

    Attributes:
        given: place of the sequences in a batch.
        target: place of the labels.
        by: how many steps later the input stands that tells a label; below 0 of an earlier one.
        sees_earlier: the model sees one of the two steps before a label's own, as a forecast does.
        told: the share of the labels' variance in held-out sequences that it explains.
        own: the share that the input of the label's own step explains.
        places: labels that were compared.
        cost: cross-entropy of the labels' frequencies, in nats.
    """

    given: str
    target: str
    by: int
    sees_earlier: bool
    told: float
    own: float
    places: int
    cost: float


@dataclass(frozen=True, kw_only=True)
class Readings:
    """What several readings of the same data showed.

    Attributes:
        overwritten: data that change as they are read; None if there are none.
        exchanged: two classes that random mirroring exchanges; None if there are none.
        apart: targets that are turned otherwise than their images; None if there are none.
        edges: that are read across; None if there are none.
        short: a length that is the number of batches; None if it is not.
        sliding: batches that overlap, so that a pass shows the first part of the data only; None if there are none.
        ahead: of series, targets that the model sees; None if it sees none.
        own: of an input that is its own target, what shows that the model is not to see it; None if nothing does.
        same_at_scale: the model answers training's inputs alike when they are given validation's mean and spread, which differ.
        unsorted: numbers of the examples, by name, that a loss of risk sets was to sort them by, the loss, and the loss of the
            same examples in another order; None if there are none.
        coarse: in a watched loop, `SplitAudit.coarse` and the number of examples.
        streamed: in a watched loop, the order of the classes of a stream, the batches of each step joined.
        named: sequences of names that are taken for amounts; None if there are none.
        numbered: the same of one whole number an example.
        asked: sequences that go into a layer as amounts, and are asked for as classes; None if there are none.
        kept: targets that the loop holds beside its batches, and that belong to other inputs; None if there are none.
        sorted_targets: in a watched loop, `SplitAudit.target_order`, of its sampled steps.
        one_sequence: a recurrent layer takes the rows that the model is given for the steps of one sequence.
        lengths_differ: and the loader's first batches have three lengths or more, as sequences have and batches have not.
        keeps_rows: the model keeps a tensor with a row for each example from one batch to the next, as a state may be.
        only_pools: maxima of pooling are all that is nonlinear in the model, in evaluation.
        boxes_crossed: of boxes whose first two numbers a loss subtracts from the last two, the share of those with a negative
            width or height; None where it does not.
        odd_likelihood: of a binary cross-entropy of probabilities, the share of the targets outside [0, 1]; None without one.
        shrunk: what the first layer is given of the input, which the model has scaled down; None where it has not.
        limited: the least and the largest answer that a clamp allows, the share of the targets beyond, and what clipping them
            costs of their variance; None of others.
        normed_answers: numbers of an answer that a layer normalisation makes, and how uneven the targets are; None of others.
        through_zero: of a net whose answers double with its inputs, pairs of examples in one direction, and the share of their
            targets' square that no such net explains; None of others.
        circular: targets that go around, beside a loss that takes them for numbers on a line; None of others.
        class_numbers: targets that are numbers of classes, beside a loss that takes them for amounts; None of others.
        on_a_line: in a watched loop, whether the loss is a squared or absolute error of targets of one number an example.
        far_mark: the greater of two values of the targets, of which the other is 0, beside outputs between 0 and 1 under a loss
            that goes by its size; None without one.
        smeared_edges: in maps of classes, of the edges that go through other classes, the share of those that go through what
            is numbered between, and how many there are; None where that does not show interpolation.
        idle_norms: normalisations with fixed mean 0 and variance 1, in a network into which nothing was loaded.
        balanced_twice: of classes that a sampler balances, how many times as many examples the most frequent one has as the
            rarest, and how many times as much the loss weighs one of the latter; None where only one of both does.
        cut_targets: whether the loss goes by the targets, and its gradient does not.
        turned_term: what right and wrong answers cost by a term of the loss that costs more for right ones, beside others.
        overwritten_losses: of losses that one line computes several times in a step, of which only the last counts: the
            function, the file, the line and how often; None where there are none.
        frozen_head: a frozen last layer as PyTorch drew it, behind frozen layers that were trained before; None without one.
        is_fine_tuned: half of the layers or more look as if they had been trained before.
        is_new: half of the layers or more cannot have been trained: their weights are as drawn, or their biases are equal.
        has_only_scalars: no trainable parameter holds more than one number, so that no layer sums over columns.
        floored_log_scale: the function, never below zero, whose result two exponentials are taken of; None if there is none.
        wrong_backward: the class of a function of the program's own whose `backward` is not the slope of its `forward`, and the
            multiple of the slope that is nearest to it; None if there is none.
        idle_term: of a term of the loss that has no gradient, the step function of the outputs that it is computed by, and its
            share of the loss; None if there is none.
        empty_term: a term of the loss that is computed from no numbers; None if there is none.
        last_noise: of a diffusion whose last time step still shows the data, how much of them; None of any other.
        kept_noise: of noise that is the target at every step, its share of the input, in squares; None if there is none.
        target_slope: the discount of a temporal difference whose target has a gradient; None if there is none.
        teacher_mode: of a frozen network whose answers are targets, its class, how many of its layers drop or normalise in
            train mode, and by how much its answers differ from those in eval mode; None if there is none.
        soft_mask: shape of attention weights, and the weight of a masked key over that of another; None where masks hide.
        sharp_attention: shape of attention weights at the start, and the share of their rows in which one key of four or more
            has 0.99; None where that is less than 0.4, or was not looked at.
        free_weights: of the tensors that the model returns, the place of one with log-weights of a mixture that are not
            normalised, and how many; None where there are none.
        level_blind: of targets that go by the mean or the spread of each example, a model that does not; None of any other.
        place_blind: of targets that go by places, a model that does not; None of any other.
        order_pooled: of targets that go by the order of sequences, a model that does not; None of any other.
        weight_penalty: of a term that depends on the weights alone and pulls them to zero, its gradient over that of the rest
            of the loss, for the typical weight, and its share of the loss; None if there is none.
        unread_below: a channel of the targets in which the loss reads the numbers above zero alone, and the share of those
            below, which differ; None if there is none.
        told_by_a_line: a linear map of the input explains the targets of a model whose trace shows that nothing in it bends.
        affine: of a model that is affine as a whole, what its trace does not show; None of any other.
        changing: whether words keep their meaning through the data set; None where it cannot be compared.
        unknown_words: a fifth of validation's words or more, which training's vocabulary lacks; None of fewer.
        behind_padding: of a recurrent model that is given sequences with padding behind them, what is known of it; None of any
            other. Whether its answer is read behind the padding, `Facts.drowned` says.
        filled_ends: of targets of different lengths, the filler that the loss counts; None where it counts none.
        edges_away: of a graph, how many edges bring no message to any node that the loss counts, and by how much the loss
            changes with them in the other direction, over its size; None where some bring one.
        node_order: of a graph network, how much its answers change with the order of nodes, over their rms; None elsewhere.
        same_members: names of one module at several places of a list, which is given one input there and answers the same.
        neighbour_sums: of a graph network, by how much sums over neighbours multiply the signal; None if they do not.
        code_spread: of a drawn code whose deviation is not what the divergence takes it for; None of any other.
        unread_zeros: of a loss of yes and no that has no gradient at any answer to an example whose target is 0, what such an
            example costs at all of them; None of any other.
        lighter: of a loss of yes and no, that the rarer answer counts for a quarter or less; None where it does not.
        rare_marks: of targets with many places of one kind, a twentieth of which or fewer are 1; None of any other.
        same_within: a tensor of the batch that says nothing about its examples; None if there is none.
        one_way: of a model that answers an exchanged pair with the opposite, by how many standard errors the distance of the
            inputs differs between both labels; None of any other.
        twice: of a batch with two tensors of a kind, that the step takes one in the place of both; None where it does not.
        drawn_teacher: the class of a network outside the model that makes its targets with PyTorch's initial weights, and how
            many layers it has; None if there is none.
        empty_ends: a recurrent layer that is given packed sequences, how many of them the answers have zeros of, by which the
            loss has a slope, and how many there are; None where there are none.
        backward_ends: a recurrent layer of both directions, and the steps of its sequences, where the loss has a slope by the
            last step alone; None where there is none.
        shifted: labels that belong to a neighbouring step; None if there are none.
        slow_average: in a watched loop, `Rehearsal.slow_average`, of a part of the model.
    """

    overwritten: Overwritten | None = None
    exchanged: ExchangedClasses | None = None
    apart: TurnedApart | None = None
    edges: MisreadEdges | None = None
    short: ShortLength | None = None
    sliding: Sliding | None = None
    ahead: SeriesAhead | None = None
    own: OwnPlaces | None = None
    same_at_scale: bool = False
    unsorted: tuple[str, float, float] | None = None
    coarse: tuple[int, float, int, int] | None = None
    streamed: BatchOrder | None = None
    named: NamedValues | None = None
    numbered: NamedValues | None = None
    asked: AskedWords | None = None
    changing: ChangingWords | None = None
    unknown_words: UnknownWords | None = None
    behind_padding: BehindPadding | None = None
    filled_ends: FilledEnds | None = None
    rare_marks: RareMarks | None = None
    edges_away: tuple[int, float] | None = None
    node_order: float | None = None
    same_members: tuple[str, ...] = ()
    neighbour_sums: NeighbourSums | None = None
    code_spread: CodeSpread | None = None
    unread_zeros: float | None = None
    lighter: RareLighter | None = None
    one_way: float | None = None
    twice: GivenTwice | None = None
    drawn_teacher: tuple[str, int] | None = None
    same_within: SameWithin | None = None
    kept: KeptTargets | None = None
    only_pools: bool = False
    affine: AffineWhole | None = None
    unread_below: tuple[int, float] | None = None
    told_by_a_line: bool = False
    wrong_backward: tuple[str, float] | None = None
    idle_term: tuple[str, float] | None = None
    empty_term: EmptyTerm | None = None
    last_noise: LastNoise | None = None
    kept_noise: float | None = None
    target_slope: float | None = None
    teacher_mode: tuple[str, int, float] | None = None
    place_blind: PlaceBlind | None = None
    level_blind: LevelBlind | None = None
    sharp_attention: tuple[tuple[int, ...], float] | None = None
    soft_mask: tuple[tuple[int, ...], float] | None = None
    free_weights: tuple[int, int] | None = None
    order_pooled: OrderPooled | None = None
    weight_penalty: tuple[float, float] | None = None
    boxes_crossed: float | None = None
    odd_likelihood: float | None = None
    shrunk: ShrunkInput | None = None
    normed_answers: tuple[int, float] | None = None
    limited: tuple[float, float, float, float] | None = None
    through_zero: tuple[int, float] | None = None
    circular: Circular | None = None
    class_numbers: ClassNumbers | None = None
    on_a_line: bool = False
    far_mark: float | None = None
    smeared_edges: tuple[float, int] | None = None
    idle_norms: tuple[str, ...] = ()
    overwritten_losses: tuple[str, str, int, int] | None = None
    turned_term: tuple[float, float] | None = None
    cut_targets: bool = False
    balanced_twice: tuple[float, float] | None = None
    frozen_head: str | None = None
    is_fine_tuned: bool = False
    is_new: bool = False
    has_only_scalars: bool = False
    floored_log_scale: str | None = None
    sorted_targets: TargetOrder | None = None
    one_sequence: bool = False
    lengths_differ: bool = False
    keeps_rows: bool = False
    empty_ends: tuple[str, int, int] | None = None
    backward_ends: tuple[str, int] | None = None
    shifted: ShiftedLabels | None = None
    slow_average: SlowAverage | None = None
