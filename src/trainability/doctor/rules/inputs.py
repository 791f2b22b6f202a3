"""Inputs and targets of the batch, and their order: what the model is given to learn from."""

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.rules.lone_targets import one_example
from trainability.doctor.rules.lone_words import lone_word
from trainability.doctor.rules.rule import rule

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

_FEWEST_SAMPLES = 5
_BALANCED = 0.9  # share of the batches; of sorted data only those across the border of two classes hold several


@rule(
    severities=("error", "warning", "hint"),
    verdict="broken data",
    explains=(
        *SYMPTOMS,
        "class_imbalance",
        "dead_units",
        "overfit",
        "exploding_gradient",
        "shuffled_labels",
        "loss_divided",
        "constant_as_good",
    ),
)
def class_order(evidence: Evidence) -> list[Finding]:
    """The training loader yields examples in the order of their class.

    Fires: half of the batches read or more, of 8 or more examples and at least two of them, hold one class each. An error
        where they are not all of the same class. Where they are, a hint, unless 256 examples and ten batches were read: then
        a warning. A warning, too, where labels change a fifth as often as in random order, or less, over 64 examples and more,
        unless nine batches in ten hold several classes, and as many examples of each.
        Targets of 0.0 and 1.0 count as classes under a binary loss.
        In a loop, an error where five sampled batches tell their targets by the gradient of the outputs, half of them hold one
        class each, and these are not of the same; a hint where all are, unless they are answers of yes or no.
    Why: such batches teach to name the class of the moment. With ten balanced classes two batches of 8 are of one class by
        chance once in 10^14; labels are counted, so this is certain.
    What fools it: data of which nearly all is one class (silent from nine in ten); batches of one class each that are meant (a
        sampler for metric learning), and a series whose label lasts long.
    Fix: DataLoader(..., shuffle=True).
    Source: Bottou, Stochastic Gradient Descent Tricks, 2012, section 4.1 (shuffle the examples).
    """
    order = evidence.data.train.order if evidence.data is not None else None
    if order is None:
        return _one_class_batches(evidence)
    is_marked = evidence.data is not None and evidence.data.train.target_mean is not None  # yes or no, as 1.0 and 0.0
    if is_marked and not _is_binary(evidence):
        return []
    if order.num_batches < 2 or (not is_marked and (reading.num_classes(evidence) or 2) < 2):
        return []
    rare = 1 - order.expected_changes / max(order.num_examples - 1, 1)  # chance that two labels agree
    pure = (
        order.batch_size >= 8 and (rare < 0.8 or order.num_classes == 1) and order.one_class_batches >= 0.5 * order.num_batches
    )
    only = order.num_classes == 1
    # Batches that each hold as many of every class that is there were drawn so, and within a batch the order does not count.
    drawn = order.balanced_batches >= _BALANCED * order.num_batches
    few_changes = order.num_examples >= 64 and order.num_classes > 1 and order.changes <= 0.2 * order.expected_changes
    sorted_ = few_changes and not drawn
    if not pure and not sorted_:
        return []
    enough = order.num_examples >= 256 and order.num_batches >= 10
    severity = ("warning" if enough else "hint") if only else "error" if pure else "warning"
    return [
        Finding(
            rule="class_order",
            code="class_order.one_class" if only else "class_order",
            severity=severity,
            seen=f"all {order.num_examples} labels read are of one class"
            if only
            else f"{order.one_class_batches} of {order.num_batches} batches hold one class each; labels change "
            f"{order.changes} times in {order.num_examples} examples",
            measurements=(
                Measurement(
                    name="batches of one class", value=float(order.one_class_batches), threshold=0.5 * order.num_batches
                ),
                Measurement(name="changes of the label", value=float(order.changes), threshold=0.2 * order.expected_changes),
                Measurement(name="examples read", value=float(order.num_examples)),
            ),
            cause="examples are stored by class, and the loader does not shuffle them",
            remedy="DataLoader(..., shuffle=True)",
            source="Bottou, Stochastic Gradient Descent Tricks, 2012",
        )
    ]


def _is_binary(evidence: Evidence) -> bool:
    """Whether the loss asks for yes or no, so that targets of 0.0 and 1.0 are classes."""
    facts, task = reading.facts(evidence), evidence.rehearsal.task if evidence.rehearsal is not None else None
    takes = facts.graph.takes if facts.graph is not None else None
    return takes == "sigmoid" or any(
        (loss or "").startswith("binary") for loss in (facts.task_loss, task.loss if task else None)
    )


def _one_class_batches(evidence: Evidence) -> list[Finding]:
    """The same of the batches of a loop that was watched."""
    read = [sample for sample in evidence.samples if sample.num_classes is not None]
    classes = [sample.first_class for sample in read if sample.num_classes == 1]
    only = len(set(classes)) == 1
    if (only and _is_binary(evidence)) or reading.is_opposed(evidence):
        return []  # a judge's real examples come by themselves
    if len(read) < _FEWEST_SAMPLES or len(classes) < (len(read) if only else len(read) / 2) or evidence.steps[0].loss < 0:
        return []  # of a negated loss the gradient tells the answers, and not the targets
    measured = Measurement(name="sampled batches of one class", value=float(len(classes)), threshold=len(read) / 2)
    return [
        Finding(
            rule="class_order",
            code="class_order.one_class" if only else "class_order",
            severity="hint" if only else "error",
            seen=f"{len(classes)} of {len(read)} sampled batches hold one class each, "
            + ("the same" if only else "not the same"),
            measurements=(measured,),
            cause="examples are stored by class, and the loader does not shuffle them",
            remedy="DataLoader(..., shuffle=True)",
            source="Bottou, Stochastic Gradient Descent Tricks, 2012",
        )
    ]


@rule(severities=("error", "warning", "hint"), verdict="broken data", explains=(*SYMPTOMS, "overfit", "label_conflict"))
def repeated_batch(evidence: Evidence) -> list[Finding]:
    """The training loader yields the same batch again and again.

    Fires: three or more batches, each with the examples of the one before, value for value and in the same order. An error
        where the validation data is larger than the batch; else a hint, because training on all data at once looks the same.
        A warning where of eight batches or more at least four in ten are the one before again (code `copies`). Code `example`:
        of 200 examples and more, half are one and the same, input and target, and others are not; a warning from 0.85.
    Why: the net sees a handful of examples, memorises them, and learns nothing else. Values are compared, so this is certain.
    What fools it: a loader that yields the whole of a small data set at every step, on purpose; examples of a few numbers that
        are mostly the same by nature. An input that holds one value alone, as an empty row does, does not count as a copy.
    Fix: draw the batch inside the loop: for batch in loader, not next(iter(loader)) at every step. Of one example, keep one.
    Source: own; next(iter(loader)) in the loop, with a loader that is not shuffled, begins anew every time.
    """
    data = evidence.data
    order = data.train.order if data is not None else None
    if data is not None and (example := one_example(data.train)):
        return example  # batches that are drawn from little else are equal by themselves
    if data is None or order is None or order.repeated_batches < 2:
        return []
    every = order.repeated_batches >= order.num_batches - 1
    if not every and (order.num_batches < 8 or order.repeated_batches < 0.4 * order.num_batches):
        return []
    larger = data.validation is not None and data.validation.num_images > order.batch_size
    return [
        Finding(
            rule="repeated_batch",
            code="repeated_batch" if every else "repeated_batch.copies",
            severity="warning" if not every else "error" if larger else "hint",
            seen=f"{order.repeated_batches + 1} batches in a row hold the same {order.batch_size} examples"
            if every
            else f"{order.repeated_batches} of {order.num_batches} batches are the one before again",
            measurements=(
                Measurement(name="batches equal to the one before", value=float(order.repeated_batches), threshold=2.0),
            ),
            cause="the loop or the loader begins anew for every batch"
            if every
            else "each worker process reads the whole of an IterableDataset",
            remedy="for batch in loader, not next(iter(loader)) at every step"
            if every
            else "in __iter__, take every num_workers-th example (torch.utils.data.get_worker_info())",
            source="own",
        )
    ]


@rule(severities=("warning",), explains=(*SYMPTOMS, "input_scale", "saturation", "dead_units"))
def numbers_for_words(evidence: Evidence) -> list[Finding]:
    """Numbers of words or categories go into a layer as if they were quantities.

    Fires: a tensor of the batch holds whole numbers that are not negative, per example and position, over a span above 256 that
        at least half of the positions share; the model makes floats of it, and looks nothing up by it (embedding, one-hot,
        indexing). Floating-point tensors count before recurrent and attention layers only. Code `column`: of a table, examples
        with the same whole number in a column have targets alike, by 8 standard deviations and twice what distances between the
        numbers tell, and nothing is looked up.
    Why: word 7,000 is not a thousand times word 7. As a number it drowns every other input and saturates the layer behind it.
    What fools it: integers that are quantities, all of one range, such as counts per hour.
    Fix: torch.nn.Embedding(number of words, width) as the first layer, on integers.
    Source: PyTorch, `torch.nn.Embedding`; own check.
    """
    facts = reading.facts(evidence)
    if facts.numbers_for_words is None:
        return _categories_as_numbers(evidence)
    layer = facts.number_layer or "the first layer"
    return [
        Finding(
            rule="numbers_for_words",
            severity="warning",
            seen=f"integers over a span of {facts.numbers_for_words:,.0f} go into {layer} as quantities",
            measurements=(Measurement(name="span of the integers", value=facts.numbers_for_words, threshold=256.0),),
            cause="numbers of words or categories, without an embedding",
            remedy=f"torch.nn.Embedding({facts.numbers_for_words + 1:.0f}, 64) before {layer}",
            source="PyTorch, torch.nn.Embedding",
            layers=(facts.number_layer,) if facts.number_layer else (),
        )
    ]


def _categories_as_numbers(evidence: Evidence) -> list[Finding]:
    """A column of a table that holds names of categories, and is multiplied by a weight."""
    relation = evidence.relation
    if relation is None or not relation.categories or evidence.facts is None or evidence.facts.looks_up:
        return []
    columns = ", ".join(map(str, relation.categories))
    return [
        Finding(
            rule="numbers_for_words",
            code="numbers_for_words.column",
            severity="warning",
            seen=f"whole numbers in column {columns} of the inputs tell the target by being equal, not by being large, and "
            "nothing looks them up",
            measurements=(Measurement(name="such columns", value=float(len(relation.categories)), threshold=0.0),),
            cause="numbers of categories go into a layer as quantities",
            remedy=f"torch.nn.Embedding(number of categories, width) for column {columns}, beside the other inputs",
            source="own; PyTorch, torch.nn.Embedding",
        )
    ]


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
    """A layer gets one and the same number everywhere as its input.

    Fires: in every call of a layer with weights its input, which no trainable parameter had a part in making, is a single value
        over all examples and features; or one word alone is looked up in a table, beside padding at one end, or one place for
        all of a sequence; or, of a loop that is watched, the model's first input is a single value at its first step. An error
        where the value leaves the layer's
        weight without gradient, as zeros do. Code `zeros`: a recurrent layer that is given a state gets nothing but zeros
        beside it; a hint where the loss has come down to half of chance. A warning with code `row`: in every call a model gets
        one row for all of 8 examples and more, which is none of the batch's, and answers all of them alike. A warning with code
        `counted`: beside its data the model is given one number for all examples, and on a half and on three quarters of the
        batch it is a half and three quarters of that number. A warning with code `class`: of several models, one is told one
        and the same class for 16 examples and more in every call of six passes with other random numbers, and another the
        batch's own, which differ. Code `unknown`: at half of the places or more one and the same word is looked up, and of
        the table's words a tenth or fewer; a warning where inputs do not tell their targets, or the run stays at chance, else
        a hint.
    Why: what is the same for every example tells nothing about any. A decoder that is fed zeros in place of the target learns
        from its positions alone.
    What fools it: a part that is switched off on purpose, such as a condition that is dropped for the whole batch. Tables of
        eight rows and fewer (kinds of segments) are left out.
    Fix: look at what the loop hands to the layer that is named; for a decoder, the target shifted by one.
    Source: own; Vaswani et al., Attention Is All You Need, 2017, section 3.1, for the shifted target.
    """
    facts = reading.facts(evidence)
    if not facts.constant_inputs:
        found = _one_number(evidence) or _fed_zeros(evidence) or _one_row(facts.one_row) or _counted(facts.counted_condition)
        return found or _one_class(facts.one_class_asked) or lone_word(evidence)
    name = facts.constant_inputs[0]
    dead = any(p.startswith(f"{name}.weight") for p in facts.zero_gradient)
    return [
        Finding(
            rule="constant_input",
            severity="error" if dead else "warning",
            seen=f"the input of {name or 'the model'} is one value everywhere"
            + (", and its weight has no gradient" if dead else ""),
            measurements=(
                Measurement(name="layers with a constant input", value=float(len(facts.constant_inputs)), threshold=0.0),
            ),
            cause="a placeholder, such as zeros, is handed over in place of data or places, or no word is in the vocabulary",
            remedy=f"hand {name or 'the model'} the data of the batch in place of that constant, of places in a sequence "
            "torch.arange(length); a decoder gets the target shifted by one, torch.cat([start, target[:, :-1]], dim=1); of "
            "words, look at their numbers and at the table",
            source="own",
            layers=facts.constant_inputs,
        )
    ]


def _counted(condition: tuple[str, float] | None) -> list[Finding]:
    """The number of examples in the place of a stage, a time or a class of each."""
    if condition is None:
        return []
    name, number = condition
    return [
        Finding(
            rule="constant_input",
            code="constant_input.counted",
            severity="warning",
            seen=f"input {name} of the model is {number:.4g} for every example, and goes with how many the batch has",
            measurements=(Measurement(name="different numbers", value=1.0, threshold=1.0),),
            cause="the number of examples is handed over in place of a number of each, and tells nothing about any of them",
            remedy="a number of each example's own: torch.randint(stages, (len(x),)) in place of torch.full((len(x),), len(x))",
            source="own; asked with fewer examples",
        )
    ]


def _one_class(asked: tuple[str, int] | None) -> list[Finding]:
    """A generator that is asked for one class, whatever the batch holds."""
    if asked is None:
        return []
    name, number = asked
    return [
        Finding(
            rule="constant_input",
            code="constant_input.class",
            severity="warning",
            seen=f"{name} gets class {number} for every example, while another model gets those of the batch, which differ",
            measurements=(Measurement(name="different classes", value=1.0, threshold=1.0),),
            cause="the class that is asked for is a constant of the loop: no other class is ever made, or judged as made",
            remedy=f"tell {name} the classes of the batch, or torch.randint(classes, (len(x),)), and the other the same for "
            "what it made",
            source="Mirza and Osindero, Conditional Generative Adversarial Nets, 2014, section 3.1; read off the calls",
            layers=(name,),
        )
    ]


def _one_row(names: tuple[str, ...]) -> list[Finding]:
    """Noise that is drawn once for a batch."""
    if not names:
        return []
    called = names[0] or "the model"
    return [
        Finding(
            rule="constant_input",
            code="constant_input.row",
            severity="warning",
            seen=f"all rows of what {called} is given are equal, and so are all its answers",
            measurements=(Measurement(name="different rows", value=1.0, threshold=1.0),),
            cause="one row is drawn or made, and repeated or expanded over the batch",
            remedy="draw a row for each example: torch.randn(batch_size, width) in place of torch.randn(1, width).expand(...)",
            source="own; rows compared",
            layers=names,
        )
    ]


def _one_number(evidence: Evidence) -> list[Finding]:
    """The whole first batch of a loop that was watched holds one number."""
    facts = reading.facts(evidence)
    if facts.input_std != 0.0 or facts.input_mean is None or evidence.data is not None or evidence.probe is not None:
        return []
    return [
        Finding(
            rule="constant_input",
            severity="warning",
            seen=f"every number of the model's first input is {facts.input_mean:.3g}",
            measurements=(Measurement(name="standard deviation of the input", value=0.0, threshold=0.0),),
            cause="a placeholder, such as zeros for randn, is handed over in place of data or noise",
            remedy="hand the model the data of the batch, or numbers that are drawn anew (torch.randn), in place of it",
            source="own",
        )
    ]


def _fed_zeros(evidence: Evidence) -> list[Finding]:
    """A decoder that starts from a state and is fed zeros: it may be meant so, and then it has learned."""
    facts, rehearsal = reading.facts(evidence), evidence.rehearsal
    if not facts.zeros_beside_state:
        return []
    chance = rehearsal.task.chance if rehearsal is not None else None
    tried = [seen.loss for seen in rehearsal.reference] if rehearsal is not None else []
    now = reading.recent_loss(evidence) or (tried[-1] if tried else None)
    long = len(rehearsal.steps) >= 50 if rehearsal is not None else False
    stuck = chance is not None and now is not None and long and now > 0.5 * chance
    name = facts.zeros_beside_state[0]
    return [
        Finding(
            rule="constant_input",
            code="constant_input.zeros",
            severity="warning" if stuck else "hint",
            seen=f"{name or 'the model'} is given a state, and zeros at every place of its input",
            measurements=(Measurement(name="such layers", value=float(len(facts.zeros_beside_state)), threshold=0.0),),
            cause="a placeholder, such as zeros_like, is handed over in place of the data",
            remedy=f"look at what goes into {name or 'the model'}; for a decoder, the target shifted by one",
            source="own",
            layers=facts.zeros_beside_state,
        )
    ]
