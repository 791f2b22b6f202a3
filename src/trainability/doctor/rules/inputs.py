"""Inputs and targets of the batches."""

from trainability.doctor import reading
from trainability.doctor.best_constant import standing
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.rules.given_twice import given_twice
from trainability.doctor.rules.lone_targets import one_example, repeated_in_turn, sliding_slices
from trainability.doctor.rules.lone_words import lone_word, same_places
from trainability.doctor.rules.placeholders import (
    HALF,
    counted,
    fed_zeros,
    in_place_of_a_constant,
    one_class,
    one_number,
    one_row,
)
from trainability.doctor.rules.rule import rule
from trainability.doctor.rules.same_columns import same_columns, says_nothing

SYMPTOMS = (
    "plateau",
    "oscillation",
    "loss_cliff",
    "prediction_collapse",
    "cannot_overfit",
    "update_ratio",
    "constant_output",
    "vanishing_gradient",
    "unmoved_parameter",
)


@rule(
    severities=("error", "warning", "hint"),
    verdict="broken data",
    explains=(*SYMPTOMS, "overfit", "label_conflict", "split_shift"),
)
def repeated_batch(evidence: Evidence) -> list[Finding]:
    """The training loader yields the same batch again and again.

    Fires: three or more batches with the same examples as the one before, value for value and in the same order. An error where
        the validation data is larger than the batch; else a hint, because training on all data at once looks the same. Code
        `copies`: of eight batches or more, at least four in ten repeat the one before; a warning where two worker processes or
        more read an IterableDataset, else a hint, because a loader may repeat batches on purpose (data echoing). Code
        `example`: of 200 examples or more, half are the same, input and target, and others are not; a warning from 0.85. A
        warning with code `sliding`: in a loader of the program's own, batches are slices of one order (what comes again has
        the same example behind it), and those of a pass hold as many examples as the data, but show half of these or fewer.
    Why: the net sees a handful of examples, memorises them and learns nothing else. Values are compared, so this is certain.
    What fools it: a loader that yields a whole small data set at every step, on purpose; examples of a few numbers that are
        mostly equal by nature. An input that holds a single value, such as an empty row, does not count as a copy.
    Fix: iterate in the loop: for batch in loader, not next(iter(loader)) at every step. Of a repeated example, keep one. Let
        slices begin at i * batch_size.
    Source: own; next(iter(loader)) in the loop, with a loader that is not shuffled, starts again every time.
    """
    data = evidence.data
    order = data.train.order if data is not None else None
    if found := sliding_slices(evidence):
        return found
    if data is not None and (example := one_example(data.train)):
        return example  # batches drawn from little else are equal anyway
    if data is None:
        return []
    repeated, count, size = (
        data.train.repeated_sequences if order is None else (order.repeated_batches, order.num_batches, order.batch_size)
    )
    every = repeated >= count - 1
    if repeated < 2 or (not every and (count < 8 or repeated < 0.4 * count)):
        return []
    measured = Measurement(name="batches equal to the one before", value=float(repeated), threshold=2.0)
    if not every:
        return [repeated_in_turn(order, measured)] if order is not None else []
    larger = data.validation is not None and data.validation.num_images > size
    return [
        Finding(
            rule="repeated_batch",
            severity="error" if larger else "hint",
            seen=f"{repeated + 1} batches in a row hold the same {size} examples",
            measurements=(measured,),
            cause="the loop or the loader starts again for every batch, or draws it with the same seed",
            remedy="for batch in loader, not next(iter(loader)) at every step; and no manual_seed() where batches are drawn",
            source="own",
        )
    ]


@rule(severities=("warning",), explains=(*SYMPTOMS, "input_scale", "saturation", "dead_units"))
def numbers_for_words(evidence: Evidence) -> list[Finding]:
    """Indices of words or categories go into a layer as if they were quantities.

    Fires: a tensor of the batch holds non-negative integers, per example and position, over a span above 256 that at least
        half of the positions share; a layer with weights is given it as it is, and the model does not index with it
        (embedding, one-hot, indexing). Amounts are left out: what passes a logarithm, a root, a division or a normalisation
        before, or is a target of a loss of amounts. Floating-point tensors count before recurrent and attention layers
        only. Code `column`: in a table, examples with the same integer in a column have similar targets, by 8 standard
        deviations and by twice what distances between the integers, or between their ranks, explain, also among those
        without the most frequent integer, and also where they were scaled, and the column is not used as an index; or one
        whole number an example goes into a layer, compared as for `codes`, also with targets of many columns, such as
        images. Code `codes`: a sequence of 32 values or more, which many places share, goes into a layer, perhaps divided
        or standardised, and is not used as an index. Each value goes with targets of its own, by 8 standard deviations;
        values next to each other in size are no more alike in this than any two (1 would be equal, 0.35 is excluded), and
        nothing else in their order is regular; counts of each value explain a fifth or more of the held-out targets'
        variance, and sizes at most half of that; and the loss is not below half of the best constant answer's cost; or each
        place has a class, as for a tagger, and places are compared. Code `classes`: at every place, the class that the loss
        asks for is the value at the next one, of ten values or more, whose neighbours are no more alike in size than any
        two.
    Why: word 7,000 is not a thousand times word 7. As a quantity it dominates every other input and saturates the next layer.
    What fools it: integers that are quantities in a common range, such as counts per hour. `codes` takes exact amounts that
        stand for something, as prices do for goods, for names: an embedding serves these, too.
    Fix: torch.nn.Embedding(number of words, width) as the first layer, on integers.
    Source: PyTorch, `torch.nn.Embedding`; own check.
    """
    facts = reading.facts(evidence)
    if facts.numbers_for_words is None:
        return _asked_as_classes(evidence) or _categories_as_numbers(evidence) or _codes_as_amounts(evidence)
    layer = facts.number_layer or "the first layer"
    return [
        Finding(
            rule="numbers_for_words",
            severity="warning",
            seen=f"integers over a span of {facts.numbers_for_words:,.0f} go into {layer} as quantities",
            measurements=(Measurement(name="span of the integers", value=facts.numbers_for_words, threshold=256.0),),
            cause="indices of words or categories, without an embedding",
            remedy=f"torch.nn.Embedding({facts.numbers_for_words + 1:.0f}, 64) before {layer}",
            source="PyTorch, torch.nn.Embedding",
            layers=(facts.number_layer,) if facts.number_layer else (),
        )
    ]


def _asked_as_classes(evidence: Evidence) -> list[Finding]:
    """Words that are read as amounts, and that the loss asks for as classes."""
    found = reading.facts(evidence).readings.asked
    if found is None:
        return []
    layer = found.layer or "the first layer"
    return [
        Finding(
            rule="numbers_for_words",
            code="numbers_for_words.classes",
            severity="warning",
            seen=f"batch{found.place} goes into {layer} as quantities, and the loss asks for its {found.num_values} values as "
            f"classes: at all of {found.num_pairs:,} places the class is the value at the next one",
            measurements=(
                Measurement(name="values that each go with one class", value=float(found.num_values), threshold=10.0),
                Measurement(name="places compared", value=float(found.num_pairs)),
            ),
            cause="indices of words or letters, without an embedding",
            remedy=f"torch.nn.Embedding(number of classes, 64) before {layer}, on the integer indices, neither divided nor "
            "standardised",
            source="own; PyTorch, torch.nn.Embedding",
            layers=(found.layer,) if found.layer else (),
        )
    ]


def _categories_as_numbers(evidence: Evidence) -> list[Finding]:
    """A column of a table that holds category indices, and is multiplied by a weight."""
    relation = evidence.relation
    if relation is None or not relation.categories or evidence.facts is None or evidence.facts.looks_up:
        return []
    columns = ", ".join(map(str, relation.categories))
    return [
        Finding(
            rule="numbers_for_words",
            code="numbers_for_words.column",
            severity="warning",
            seen=f"integers in column {columns} of the inputs predict the target by being equal, not by their size, and no "
            "layer indexes with them",
            measurements=(Measurement(name="columns of categories", value=float(len(relation.categories)), threshold=0.0),),
            cause="category indices go into a layer as quantities",
            remedy=f"torch.nn.Embedding(number of categories, width) for column {columns}, and for every other column of "
            "indices, concatenated with the other inputs",
            source="own; PyTorch, torch.nn.Embedding",
        )
    ]


def _codes_as_amounts(evidence: Evidence) -> list[Finding]:
    """A sequence of names that a layer is given as amounts, or one name an example."""
    readings = reading.facts(evidence).readings
    found = readings.named or readings.numbered
    if found is None or _is_well_below_constant(evidence):
        return []
    layer = found.layer or "the first layer"
    of_name, of_size = 100 * found.told_by_name, 100 * max(found.told_by_size, 0.0)
    if readings.named is not None:
        told = f"counts of each explain {of_name:.0f} % of the variance of held-out targets, their sizes {of_size:.0f} %"
        remedy = (
            f"torch.nn.Embedding(number of codes, 32) before {layer}, on the integer codes, neither divided nor standardised; "
            "a convolution takes embedding(codes).transpose(1, 2), with 32 input channels"
        )
    else:
        told = f"which one it is explains {of_name:.0f} % of the variance of held-out targets, its size {of_size:.0f} %"
        remedy = (
            f"torch.nn.Embedding(number of categories, 32) on batch{found.place} as integers; concatenate its result with the "
            f"other inputs, in place of the number; {layer} then has 31 inputs more"
        )
    return [
        Finding(
            rule="numbers_for_words",
            code="numbers_for_words.codes" if readings.named is not None else "numbers_for_words.column",
            severity="warning",
            seen=f"batch{found.place} goes into {layer} as quantities, but its {found.num_values} values are codes of "
            f"categories: {told}, and neighbouring values are no more alike in this than any two",
            measurements=(
                Measurement(name="likeness of values next to each other", value=found.like_neighbours, threshold=0.35),
                Measurement(name="variance explained by sizes", value=found.told_by_size, threshold=found.told_by_name / 2),
                Measurement(name="variance explained by each value", value=found.told_by_name, threshold=0.2),
                Measurement(name="examples compared", value=float(found.num_examples)),
            ),
            cause="codes of categories (words, letters, numbers of products) are given to a layer as quantities, without an "
            "embedding",
            remedy=remedy,
            source="own; targets by value, in two halves of the examples; PyTorch, torch.nn.Embedding",
            layers=(found.layer,) if found.layer else (),
        )
    ]


def _is_well_below_constant(evidence: Evidence) -> bool:
    """Whether a run, or else its rehearsal, has come below half of what the best constant answer costs."""
    at, tried = standing(evidence), evidence.rehearsal
    if at is not None:
        return at.loss < HALF * at.cost
    if tried is None or tried.task.chance is None or not tried.reference:
        return False
    return tried.reference[-1].loss < HALF * tried.task.chance


@rule(
    severities=("error", "warning", "hint"),
    verdict="broken data",
    explains=(
        *SYMPTOMS,
        "unreached_parameter",
        "untrained_parameter",
        "unmoved_parameter",
        "input_scale",
        "dead_units",
        "saturation",
        "constant_as_good",
        "shuffled_labels",
    ),
)
def constant_input(evidence: Evidence) -> list[Finding]:
    """The input of a layer is the same number everywhere.

    Fires: in every call of a layer with trainable weights, its input, which no trainable parameter helped to compute, is a
        single value over all examples and features; or a table is indexed by a single word, apart from padding at one end, or
        by one place for a whole sequence; or a layer of one column gets a column of the batch that is one number in eight
        batches of the loader; or, in a watched loop, all inputs of its first step are a single value. An error where the value
        leaves the layer's weight without a gradient, as zeros do. Code `zeros`: a recurrent layer is given a state and an input
        of only zeros, or one input of the model has the shape of its answers for each place of a sequence, holds zeros, and
        others do not; a hint where the loss has come down to half of chance. A warning with code `row`: in every call a model
        gets the same row for all of 8 examples or more, which is not from the batch, and its outputs are all equal. A warning
        with code `counted`: besides its data, the model is given one number for all examples, and on a half and on three
        quarters of the batch it is a half and three quarters of that number. A warning with code `class`: one of several models
        is given the same class for 16 examples or more, in every call of six passes with different random numbers, and another
        model is given the batch's own classes, which differ. Code `position`: a model with attention holds a table with "pe",
        "pos" or "position" in its name, and its answers stay the same when the places of its input are exchanged. Code
        `unknown`: half of the places or more look up the same word, and a tenth of the table's words or fewer are looked up at
        all; a warning where inputs do not determine their targets, or the run stays at chance, else a hint. Code `twice`: a
        module is given two copies of a tensor of the batch, as halves of one input, as two arguments, or in two calls whose
        outputs the loss sets against each other, or two tables of one width are looked up by the same column, whatever values
        are in it; other values in another tensor of the batch, of the same shape and size, or with the same words, change
        neither the loss nor the input of any module; and beside its copies the loss does not depend on the first; an error
        where no weight has a gradient. Code `columns`: columns of a table hold one number in 256 examples or more; a warning
        where several hold another number than 0 and the loss stays above half of chance, else a hint; the same of a channel of
        a series, with any number. Code `batch`: a tensor of the batch holds one row for all of its examples, and another in
        other batches; a warning and a hint likewise.
    Why: an input that is the same for every example carries no information. A decoder that is fed zeros instead of the target
        learns from its positions alone.
    What fools it: a part that is switched off on purpose, such as a condition dropped for the whole batch, or a second view
        that only later epochs use. Tables of eight rows or fewer (segment types) are left out; so are nodes of a graph without
        features, where the batch holds its edges and the answers differ.
    Fix: look at what the loop passes to the layer in the finding; for a decoder, pass the target shifted by one.
    Source: own; Vaswani et al., Attention Is All You Need, 2017, section 3.1, for the shifted target.
    """
    facts = reading.facts(evidence)
    if not facts.constant_inputs:
        found = one_number(evidence) or fed_zeros(evidence) or one_row(facts.one_row) or counted(facts.counted_condition)
        unused = any(p.name == facts.order_blind for p in facts.unreached)  # unreached_parameter says this of a table
        found = found or one_class(facts.one_class_asked) or same_places(None if unused else facts.order_blind)
        found = found or lone_word(evidence)
        found = found or given_twice(facts.readings.twice, is_flat=facts.no_weight_moves)
        return found or same_columns(evidence) or says_nothing(evidence)
    name = facts.constant_inputs[0]
    dead = any(p.startswith(f"{name}.weight") for p in facts.zero_gradient)
    return [
        Finding(
            rule="constant_input",
            severity="error" if dead else "warning",
            seen=f"the input of {name or 'the model'} is a single value everywhere"
            + (", and its weight has no gradient" if dead else ""),
            measurements=(
                Measurement(name="layers with a constant input", value=float(len(facts.constant_inputs)), threshold=0.0),
            ),
            cause="a placeholder, such as zeros, is passed instead of data or positions; or what is made of them is one "
            "number, as by an integer division, or where values are written into a copy; or no word is in the vocabulary",
            remedy=in_place_of_a_constant(name),
            source="own",
            layers=facts.constant_inputs,
        )
    ]
