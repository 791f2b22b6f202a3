"""The order of the classes in the batches, or of targets that are numbers."""

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement, Severity
from trainability.doctor.rules.inputs import SYMPTOMS
from trainability.doctor.rules.rule import rule
from trainability.doctor.rules.sorted_targets import sorted_targets

_FEWEST_SAMPLES = 5
_STREAM = (
    "the IterableDataset yields its examples class by class, as one file after the other does, and a shuffle buffer, if there "
    "is one, holds few classes at a time"
)
_MIXED = (
    "mix the classes in the IterableDataset itself: read its files in turn, one example of each, or shuffle the list of all "
    "examples once before it yields any, or make its shuffle buffer as large as the data (shuffle=True of a DataLoader is an "
    "error here)"
)
_FEWEST_CLASSES, _ROTATED = 4, 4  # first classes of sampled batches; how many times fewer a batch holds
_BALANCED = 0.9  # share of the batches; in sorted data only those at the border of two classes hold several


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
    """The training loader yields examples sorted by class.

    Fires: at least half of the batches read (two or more, of 8 or more examples) hold one class each. An error where not all of
        these are of the same class. Where they are, a hint, or a warning if 256 examples and ten batches were read. A warning
        also where labels change at most a fifth as often as in random order, over 64 examples or more, unless nine batches in
        ten hold several classes with the same number of examples each. Code `stream`: the loader reads an IterableDataset; in a
        followed loop, its labels are counted as they come, those of all batches of a step together; silent where a step asks
        for more classes than these hold, as with examples that are replayed from a memory. Targets of 0.0 and 1.0 count as
        classes under a binary loss. In a loop: an error where the gradient of the outputs shows the targets of five sampled
        batches, half of which hold one class each, and not all the same; a warning where each holds at most a quarter as many
        classes as were seen first in these batches (four or more); a hint where all hold the same class, unless the targets are
        yes or no. Code `targets`: float targets of up to eight numbers, ten batches of 8 or more; their means only rise, or
        fall, nine in ten lie wholly beyond the batch before, and so again in the next pass; or the rank of a batch's mean and
        its place have a correlation of 0.9, all batches come again, and examples come from short to long (or from long to
        short; five lengths or more), or a sampler draws them in an order that is not the stored one and the model is not
        recurrent. Half of the targets' variance, and four times what random order gives, lies between batches. In a loop, of 16
        sampled steps: batches of five ranges or more apart from each other, that rise, or fall, through each of two passes or
        more. Silent where the model keeps rows from batch to batch, and where each batch is one sequence (see `batch_leakage`);
        a hint where validation is told better than by one constant. Code `one_class`: all labels read are of one class, and a
        loss of classes reads them.
    Why: such batches teach the net to predict the current class. With ten balanced classes two batches of 8 are of one class by
        chance once in 10^14; labels are counted, so this is certain.
    What fools it: data that is almost all of one class (silent from nine in ten); batches of one class each on purpose (a
        sampler for metric learning), a series whose label lasts long or whose target only rises, and a sampler by date.
    Fix: DataLoader(..., shuffle=True); of an IterableDataset, mix the classes in it, or take a larger shuffle buffer.
    Source: Bottou, Stochastic Gradient Descent Tricks, 2012, section 4.1 (shuffle the examples).
    """
    if found := sorted_targets(evidence):
        return found
    order = evidence.data.train.order if evidence.data is not None else reading.facts(evidence).readings.streamed
    if reading.rows_are_steps(evidence):
        return []  # a label lasts for some steps of a sequence
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
    if only and evidence.rehearsal is not None and evidence.rehearsal.task.kind == "unknown":
        return []  # placeholders beside inputs that are their own targets, say: no loss of classes was seen to read them
    if not only and order.changes >= order.num_batches - 1 and _adds_up(evidence):
        return []  # each batch is of another class than the one before, and an update sees several of them
    # Batches with the same number of each class were drawn that way; within a batch the order does not matter.
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
            code="class_order.one_class" if only else "class_order.stream" if order.is_stream else "class_order",
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
            cause=_STREAM
            if order.is_stream
            else "no example of the other answer is drawn, as where only what happened was recorded; or nothing is shuffled"
            if only and is_marked
            else "examples are stored by class, and the loader does not shuffle them",
            remedy=_MIXED
            if order.is_stream
            else "add examples of the other answer: for recorded pairs, some pairs that were not recorded, drawn anew in every "
            "epoch; or DataLoader(..., shuffle=True), where the data holds both"
            if only and is_marked
            else "DataLoader(..., shuffle=True)",
            source="Bottou, Stochastic Gradient Descent Tricks, 2012",
        )
    ]


def _adds_up(evidence: Evidence) -> bool:
    """Whether the loop makes an update for several batches."""
    steps = evidence.rehearsal.steps if evidence.rehearsal is not None else ()
    updates = sum(step.optimizer_steps for step in steps)
    return 0 < 2 * updates <= len(steps)


def _is_binary(evidence: Evidence) -> bool:
    """Whether the loss is binary, so that targets of 0.0 and 1.0 are classes."""
    facts, task = reading.facts(evidence), evidence.rehearsal.task if evidence.rehearsal is not None else None
    takes = facts.graph.takes if facts.graph is not None else None
    return takes == "sigmoid" or any(
        (loss or "").startswith("binary") for loss in (facts.task_loss, task.loss if task else None)
    )


def _one_class_batches(evidence: Evidence) -> list[Finding]:
    """The same for the batches of a watched loop."""
    read = [sample for sample in evidence.samples if sample.num_classes is not None]
    classes = [sample.first_class for sample in read if sample.num_classes == 1]
    only = len(set(classes)) == 1
    if (only and _is_binary(evidence)) or reading.is_opposed(evidence):
        return []  # a discriminator's real examples come in batches of their own
    if len(read) < _FEWEST_SAMPLES or evidence.steps[0].loss < 0:
        return []  # with a negated loss the gradient shows the outputs, not the targets
    if len(classes) < (len(read) if only else len(read) / 2):
        return _few_classes_at_a_time([(sample.num_classes or 0, sample.first_class) for sample in read])
    measured = Measurement(name="sampled batches of one class", value=float(len(classes)), threshold=len(read) / 2)
    seen = f"{len(classes)} of {len(read)} sampled batches hold one class each, " + ("the same" if only else "not the same")
    return [_of_samples(seen, measured, "hint" if only else "error", code="class_order.one_class" if only else "class_order")]


def _few_classes_at_a_time(read: list[tuple[int, int | None]]) -> list[Finding]:
    """Batches at the borders between classes hold two of them; (classes, first class) of each sampled batch."""
    firsts, most = len({first for _, first in read}), max(held for held, _ in read)
    if firsts < _FEWEST_CLASSES or _ROTATED * most > firsts:
        return []
    seen = f"none of {len(read)} sampled batches holds more than {most} classes, and {firsts} different ones come first in them"
    measured = Measurement(name="classes in a batch", value=float(most), threshold=firsts / _ROTATED)
    return [_of_samples(seen, measured, "warning")]


def _of_samples(seen: str, measured: Measurement, severity: Severity, code: str = "class_order") -> Finding:
    return Finding(
        rule="class_order",
        code=code,
        severity=severity,
        seen=seen,
        measurements=(measured,),
        cause="examples are stored by class, and the loader does not shuffle them",
        remedy="DataLoader(..., shuffle=True)",
        source="Bottou, Stochastic Gradient Descent Tricks, 2012",
    )
